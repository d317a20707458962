"""One label per pixel: a segmentation net."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch

from .._base.estimator import TRAINED, BaseNet, available_if_stochastic
from .._base.image_nets import ImageNetMixin
from .._base.images import check_n_channels, stack_tensors, to_channels_first, validate_images
from .._base.labels import factors_of_classes
from .._base.masks import Segmentation, check_one_mask_each, mask_classes, validate_masks
from .._base.parameters import POSITIVE_INT, check_sizes, net_class, parameter
from .._base.precision import image_precision
from .._base.ragged import as_arrays, by_size, cut_tiles, forward_tiles, naming_image, pad_images
from .._training.loader import gather_some
from .._training.run import TrainingRun
from .._utils.array_api import convert_like, from_array_api, to_numpy
from .._utils.images import as_images
from .._utils.sklearn_compat import Interval, StrOptions, fit_context
from .._utils.validation import is_ragged, validate_weight
from ..modules.augment import RandomZoom
from ..modules.mirroring import mirroring_keeps_masks
from ..modules.segmenters import build_segmenter
from ..modules.unet import UNet
from ._base import SegmenterMixin

MIRROR_IMAGES = 200  # at most, whose patches tell whether labels bear mirroring


@net_class(fitted=TRAINED)
class SegmentationNet(SegmenterMixin, ImageNetMixin, BaseNet):
    """Semantic segmentation: one label for every pixel of images of any size.

    A U-Net: an encoder, a decoder that fuses its maps of every resolution, and a head. The defaults
    are a recipe that needs no tuning: cross-entropy and Dice loss, AdamW along one cycle, batches
    of four to eight images, and an augmentation that zooms, changes brightness and contrast, and
    mirrors where the training data shows that labels bear it.
    Images are read as (n, channels, height, width), (n, height, width) for gray ones or (n,
    height, width, channels) with 1, 3 or 4 channels, uint8 or floating point; masks as (n, height,
    width), integers or strings. Sizes that the encoder cannot halve are padded inside and cropped
    back.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels, without `ignore_index`.
    n_channels_in_ : int
        Channels of the images of `fit`.
    mirrored_ : bool
        Whether training images were mirrored left to right.
    class_weight_ : ndarray of shape (n_classes,) or None
        Factors for the weight of each class's pixels, made of `class_weight`.
    {fitted}

    Raises
    ------
    ValueError
        If masks and images differ in number or size, or hold labels not seen in `fit`; if images
        have another number of channels than in `fit`.

    See Also
    --------
    PixelClassifier : Any classifier as a segmenter, one patch at a time.

    References
    ----------
    Ronneberger et al. (2015), "U-Net: Convolutional networks for biomedical image segmentation".
    Milletari et al. (2016), "V-Net". Smith & Topin (2018), "Super-convergence".

    Examples
    --------
    >>> from sklearn_nets.datasets import make_digit_scenes
    >>> from sklearn_nets.segmentation import SegmentationNet
    >>> scenes = make_digit_scenes(8, random_state=0)
    >>> net = SegmentationNet((8, 16), max_iter=2, random_state=0)
    >>> net.fit(scenes.images, scenes.masks).predict(scenes.images).shape
    (8, 64, 64)
    """

    channels: Sequence[int] = parameter(
        (32, 64, 128, 256), ["array-like"],
        "Channels of each stage of the encoder; every stage halves height and width.",
        words="sequence of int", kw_only=False,
    )  # fmt: skip
    depth: int = parameter(2, [POSITIVE_INT], "Convolutions in each stage of the encoder.")
    architecture: Any = parameter(
        "small", [str, callable],
        """The net: 'small' is our own U-Net, made of `channels` and `depth`; or one of
        segmentation_models_pytorch's: 'unet', 'fpn', 'deeplabv3plus', 'segformer', 'unetplusplus',
        'manet', 'linknet', 'pspnet', 'pan', 'upernet', 'dpt'; or a callable ``(in_channels,
        n_outputs) -> nn.Module``.""",
        words="str or callable",
    )  # fmt: skip
    encoder: str = parameter(
        "resnet18", [str],
        """The encoder of an architecture of segmentation_models_pytorch: one of that library's, or
        any name of timm's.""",
    )  # fmt: skip
    freeze: str | None = parameter(
        None, [StrOptions({"backbone"}), None],
        "'backbone' leaves the encoder as it is, and trains what follows it.",
    )  # fmt: skip
    loss: str = parameter(
        "cross_entropy+dice",
        [StrOptions({"cross_entropy", "dice", "focal", "cross_entropy+dice"})],
        """Loss of the labeled pixels. 'dice' (Milletari et al. 2016) counts every class of a batch
        alike, however small it is; 'focal' (Lin et al. 2017) counts the pixels most that are
        predicted worst.""",
    )  # fmt: skip
    ignore_index: Any = parameter(
        None, "no_validation",
        "Label of pixels without a label: left out of classes, loss and score.",
        words="label or None",
    )  # fmt: skip
    class_weight: Any = parameter(
        None, [dict, StrOptions({"balanced"}), None],
        """Factor for the weight of each class's pixels; 'balanced' makes all classes weigh the
        same.""",
    )  # fmt: skip

    tile_size: int | None = parameter(
        None, [Interval(Integral, 8, None, closed="left"), None],
        """Side in pixels of the tiles that larger images are cut into by `fit`, and predicted in,
        where tiles overlap by a quarter; None takes images as a whole. Early stopping holds out
        all tiles of an image, if there are several images.""",
    )  # fmt: skip

    progressive_resizing: bool = parameter(
        False, ["boolean"],
        """Whether images and masks are smaller in the first half of the epochs, as for the other
        image nets. Saves a sixth of the time, and loses what is small: off by default.""",
    )  # fmt: skip
    max_iter: int = parameter(40, [POSITIVE_INT], "Number of epochs, passes over the data.")

    _min_batch_size: ClassVar[int] = 4
    _max_batch_size: ClassVar[int] = 8
    _targets_in_image: ClassVar[str] = "masks"
    _peak_learning_rate: ClassVar[float] = 2e-3

    def _find_flips(self, source, random_state):
        X, masks, _ = gather_some(source, MIRROR_IMAGES)
        return {"hflip": 0.5 * mirroring_keeps_masks(X, masks, random_state)}

    def _make_augmentation(self, size, hflip):
        return RandomZoom(hflip=hflip)

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the net to images and masks.

        Parameters
        ----------
        X : array-like or torch.Tensor, or list of images of several sizes
            Images, in any layout that is read.
        y : array-like of shape (n_samples, height, width), or list of masks
            Masks of integers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images; an integer weight counts like repetition.
        X_val, y_val : array-like, default=None
            A validation set of one's own, scored after each epoch. With ``early_stopping=True``
            it takes the place of the split by `validation_fraction`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of the validation set.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If images, masks or weights do not fit each other, hold NaN or infinity, or if the loss
            turns NaN.
        """
        return super().fit(
            X, y, sample_weight, X_val=X_val, y_val=y_val, sample_weight_val=sample_weight_val
        )

    @available_if_stochastic
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train one more epoch on the given images.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; `y` need not hold every class.
        classes : array-like of shape (n_classes,), default=None
            All classes of all calls; by default those of the first call.

        Returns
        -------
        self : object
            The estimator after one epoch more.

        Raises
        ------
        ValueError
            If ``class_weight="balanced"``, which needs all masks, or `early_stopping` is set; if
            `y` holds a class that is not known since the first call.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit, which does not see all "
                "masks. Pass a dict of one factor for each class."
            )
        if classes is not None:
            classes = mask_classes(np.asarray(to_numpy(classes)), self.ignore_index)
        run = self._make_run(X, y, sample_weight, incremental=True, classes=classes)
        return self._train(run, X, y, sample_weight)

    def _make_run(
        self, X, y, sample_weight, eval_data=None, *, incremental=False, classes=None
    ) -> TrainingRun:
        X = stack_tensors(X)
        if self.tile_size is not None and not incremental:
            X, y, sample_weight = self._cut_tiles(X, y, sample_weight)
        return super()._make_run(
            X, y, sample_weight, eval_data, incremental=incremental, classes=classes
        )

    def _cut_tiles(self, X, y, sample_weight):
        """Tiles of images, masks and weights, which are checked as they are without tiles."""
        reset = not (self.warm_start and hasattr(self, "net_"))
        several, given = is_ragged(X), X
        if several:  # one at a time: padded to the largest they would take its memory
            check_one_mask_each(self, X, y)
            X, y = as_arrays(as_images(X)), as_arrays(y)
            for i, (image, mask) in enumerate(zip(X, y)):
                with naming_image(i, image):
                    self._validate_data(image[None], to_numpy(mask)[None], reset=reset)
        else:
            X, y = self._validate_data(from_array_api(X), y, reset=reset)
        weight = validate_weight(sample_weight, len(X))
        X, y, self._image_of_tile = cut_tiles(X, y, self.tile_size)
        weight = None if weight is None else weight[self._image_of_tile]
        return X if several else convert_like(X, like=given), y, weight

    def _hold_out(self, rows, stratify, random_state):
        if self.tile_size is None or len(images := np.unique(self._image_of_tile[rows])) == 1:
            return super()._hold_out(rows, stratify, random_state)
        # whole images: tiles of one are too much alike to tell what was learned by heart
        return [
            np.concatenate([rows[self._image_of_tile[rows] == i] for i in part])
            for part in super()._hold_out(images, None, random_state)
        ]

    def _validate_data(self, X, y="no_validation", *, reset):
        X = as_images(X)
        if is_ragged(X):
            return self._validate_lists(X, y, reset=reset)
        X = validate_images(self, X, reset=reset)
        check_n_channels(self, X, reset=reset)
        return X if isinstance(y, str) else (X, validate_masks(self, y, X))

    def _validate_lists(self, X, y, *, reset):
        """One tensor of images of several sizes, and a list of their masks."""
        if not isinstance(y, str):
            check_one_mask_each(self, X, y)
        padded = pad_images(X, lambda image: validate_images(self, image, reset=reset))
        check_n_channels(self, padded, reset=reset)
        if isinstance(y, str):
            return padded
        return padded, [
            validate_masks(self, to_numpy(mask)[None], to_channels_first(image[None]))[0]
            for mask, image in zip(*map(as_arrays, (y, X)))
        ]

    def _make_task(self, y, classes=None):
        classes = mask_classes(y, self.ignore_index) if classes is None else classes
        return Segmentation(classes, self.ignore_index, self.loss)

    def _update_task(self):
        before, self._task.loss = self._task.loss, self.loss
        return before != self.loss

    def _apply_class_weight(self, target, weight):
        # by the loss, pixel by pixel
        self.class_weight_ = factors_of_classes(self.class_weight, target, self.classes_, weight)
        self._task.class_weight = self.class_weight_
        return weight

    def _choose_precision(self, X, device):
        return image_precision(self.precision, X, device)

    def _make_architecture(self):
        def own(in_channels, n_outputs):
            channels = check_sizes("channels", self.channels)
            return UNet(in_channels, n_outputs, channels, self.depth)

        return build_segmenter(
            self.architecture, self.encoder, self.n_channels_in_, self.n_outputs_,
            self.pretrained, own,
        )  # fmt: skip

    def _output_shape(self, X):
        return len(X), self.n_outputs_, *X.shape[2:]

    def predict(self, X):
        """Predict the class of every pixel.

        Parameters
        ----------
        X : array-like or torch.Tensor, or list of images of several sizes
            Images of as many channels as in `fit`, of any size.

        Returns
        -------
        masks : ndarray or torch.Tensor of shape (n_samples, height, width), or list of masks
        """
        return by_size(super().predict, X) if is_ragged(X) else super().predict(stack_tensors(X))

    def _forward(self, X, decode, method, through=None):
        size = self.tile_size
        if size is None:
            return super()._forward(X, decode, method, through)
        X = X if hasattr(X, "ndim") else np.asarray(as_images(X))
        forward, images = super()._forward, to_channels_first(X)
        if max(images.shape[2:]) <= size:
            return forward(X, decode, method, through)

        def forward_tile(tile):
            return forward(convert_like(tile, like=X), decode, method, through)

        return torch.cat([forward_tiles(forward_tile, image[None], size) for image in images])

    def predict_proba(self, X):
        """Predict the probability of each class at every pixel.

        Parameters
        ----------
        X : array-like or torch.Tensor, or list of images of several sizes
            Images of as many channels as in `fit`, of any size.

        Returns
        -------
        proba : ndarray or torch.Tensor of shape (n_samples, n_classes, height, width)
            Classes in the order of `classes_`; they sum to one at every pixel.
        """
        if is_ragged(X):
            return by_size(self.predict_proba, X)
        X = stack_tensors(X)
        return convert_like(self._probabilities(X, "predict_proba"), like=X)
