"""One label per pixel: a segmentation net, and any classifier turned into a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import check_random_state

from ._base.estimator import FITTED, BaseNet, available_if_stochastic
from ._base.images import ImageNetMixin, check_channels, validate_images
from ._base.instances import label_instances
from ._base.masks import Segmentation, mask_classes, validate_masks
from ._base.parameters import POSITIVE_INT, net_class, parameter
from ._base.precision import image_precision
from ._utils.array_api import convert_like, to_numpy
from ._utils.sklearn_compat import HasMethods, Interval, StrOptions, check_is_fitted, fit_context
from ._utils.validation import validate_weight
from .metrics import mean_iou_score
from .modules.augment import RandomZoom
from .modules.unet import UNet

__all__ = ["PixelClassifier", "SegmentationNet"]


class _SegmenterMixin:
    """What both segmenters share: labels of every pixel out, and the mean IoU as score."""

    def score(self, X, y, sample_weight=None):
        """Mean intersection over union of the predicted masks.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images.
        y : array-like of shape (n_samples, height, width)
            True masks; pixels labelled `ignore_index` are not judged.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images.

        Returns
        -------
        float
            The mean over the classes that occur in truth or prediction.
        """
        prediction = self.predict(X)
        y = to_numpy(y)
        return mean_iou_score(
            y, prediction, ignore_index=self.ignore_index, sample_weight=sample_weight
        )

    def predict_instances(self, X, *, background=None, min_distance=None, min_pixels=1):
        """Predict which object each pixel belongs to.

        Every connected region of one class is an object. With `min_distance`, regions are split by
        watersheds where objects of one class touch, from the points farthest from their borders.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images, as in `predict`.
        background : label, default=None
            Label of pixels that belong to no object; None is the first of `classes_`.
        min_distance : int, default=None
            Pixels between the centers of two objects at least, about the radius of the smallest.
        min_pixels : int, default=1
            Objects of fewer pixels are left out.

        Returns
        -------
        instances : ndarray or torch.Tensor of shape (n_samples, height, width)
            0 for the background; the objects of every image are numbered 1, 2, ...

        See Also
        --------
        sklearn_nets.metrics.instance_average_precision_score : Judges the answer.
        """
        masks = to_numpy(self.predict(X))
        background = self.classes_[0] if background is None else background
        instances = label_instances(masks, background, min_distance, min_pixels)
        return convert_like(instances, like=X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = False
        return tags


@net_class(fitted=FITTED)
class SegmentationNet(_SegmenterMixin, ImageNetMixin, BaseNet):
    """Semantic segmentation: one label for every pixel of images of any size.

    A U-Net: an encoder, a decoder that fuses its maps of every resolution, and a head. The defaults
    are a recipe that needs no tuning: cross-entropy and Dice loss, AdamW along one cycle, batches
    of eight images, and an augmentation that zooms and changes brightness and contrast
    (``augment=RandomZoom(hflip=0.5)`` mirrors, too).
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
    loss: str = parameter(
        "cross_entropy+dice",
        [StrOptions({"cross_entropy", "dice", "focal", "cross_entropy+dice"})],
        """Loss of the labelled pixels. 'dice' (Milletari et al. 2016) counts every class of a batch
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

    _predict_batch_size: ClassVar[int] = 32
    _max_batch_size: ClassVar[int] = 8
    _peak_learning_rate: ClassVar[float] = 2e-3

    def _auto_augmentation(self, source, random_state):
        return RandomZoom()

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

    def _validate_data(self, X, y="no_validation", *, reset):
        X = validate_images(self, X, reset=reset)
        if reset:
            self.n_channels_in_ = X.shape[1]
        elif X.shape[1] != self.n_channels_in_:
            raise ValueError(
                f"SegmentationNet was fitted on images of {self.n_channels_in_} channel(s), got "
                f"{X.shape[1]} (shape {tuple(X.shape)} read as n, channels, height, width)."
            )
        return X if isinstance(y, str) else (X, validate_masks(self, y, X))

    def _make_task(self, y, classes=None):
        classes = mask_classes(y, self.ignore_index) if classes is None else classes
        return Segmentation(classes, self.ignore_index, self.loss)

    def _apply_class_weight(self, target, weight):
        # by the loss, pixel by pixel
        self.class_weight_ = self._task.pixel_class_weight(self.class_weight, target)
        self._task.class_weight = self.class_weight_
        return weight

    def _choose_precision(self, X, device):
        return image_precision(self.precision, X, device)

    def _make_architecture(self):
        return UNet(self.n_channels_in_, self.n_outputs_, check_channels(self.channels), self.depth)

    def predict_proba(self, X):
        """Predict the probability of each class at every pixel.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images of as many channels as in `fit`, of any size.

        Returns
        -------
        proba : ndarray or torch.Tensor of shape (n_samples, n_classes, height, width)
            Classes in the order of `classes_`; they sum to one at every pixel.
        """
        return convert_like(self._probabilities(X, "predict_proba"), like=X)


class PixelClassifier(_SegmenterMixin, MetaEstimatorMixin, BaseEstimator):
    """Turn any classifier into a segmenter: every pixel is classified by the patch around it.

    Parameters
    ----------
    estimator : classifier
        Fitted on rows of ``channels * patch_size ** 2`` values, one row a pixel.
    patch_size : int, default=5
        Height and width of the patch in pixels, odd; images are mirrored at their borders.
    max_pixels : int or None, default=10_000
        Pixels to learn from, drawn at random without replacement; None takes all.
    ignore_index : label, default=None
        Pixels of this label are neither learned from nor judged.
    random_state : int, RandomState instance or None, default=None
        Draws the pixels.

    Attributes
    ----------
    estimator_ : classifier
        The fitted clone.
    classes_ : ndarray of shape (n_classes,)
    n_channels_in_ : int

    Raises
    ------
    ValueError
        If `patch_size` is even, or masks do not fit their images.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_nets.datasets import make_digit_scenes
    >>> from sklearn_nets.segmentation import PixelClassifier
    >>> scenes = make_digit_scenes(4, random_state=0)
    >>> model = PixelClassifier(KNeighborsClassifier(), max_pixels=1000, random_state=0)
    >>> model.fit(scenes.images, scenes.masks).predict(scenes.images).shape == scenes.masks.shape
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "max_pixels": [Interval(Integral, 1, None, closed="left"), None],
        "ignore_index": "no_validation",
        "random_state": ["random_state"],
    }

    def __init__(
        self, estimator, *, patch_size=5, max_pixels=10_000, ignore_index=None, random_state=None
    ):
        self.estimator = estimator
        self.patch_size = patch_size
        self.max_pixels = max_pixels
        self.ignore_index = ignore_index
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the classifier to the patches of the labelled pixels.

        Parameters
        ----------
        X : array-like
            Images, in any layout that `SegmentationNet` reads.
        y : array-like of shape (n_samples, height, width)
            Masks of integers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images, handed to the estimator for each of their pixels.

        Returns
        -------
        self : object
        """
        if self.patch_size % 2 == 0:
            raise ValueError(f"patch_size must be odd, got {self.patch_size}.")
        X = self._images(X, reset=True)
        y = validate_masks(self, y, X)
        weight = validate_weight(sample_weight, len(X))
        labelled = np.arange(y.size)
        if self.ignore_index is not None:
            labelled = np.flatnonzero(y.ravel() != self.ignore_index)
        self.classes_ = mask_classes(y, self.ignore_index)
        if self.max_pixels is not None and len(labelled) > self.max_pixels:
            random_state = check_random_state(self.random_state)
            labelled = np.sort(random_state.choice(labelled, self.max_pixels, replace=False))
        image, row, column = np.unravel_index(labelled, y.shape)
        rows = self._patches(X)[image, row, column].reshape(len(image), -1)
        fit_params = {} if weight is None else {"sample_weight": weight[image]}
        self.estimator_ = clone(self.estimator).fit(rows, y[image, row, column], **fit_params)
        return self

    def predict(self, X):
        """Predict the class of every pixel.

        Parameters
        ----------
        X : array-like
            Images of as many channels as in `fit`, of any size.

        Returns
        -------
        masks : ndarray of shape (n_samples, height, width)
        """
        check_is_fitted(self)
        X = self._images(X, reset=False)
        patches = self._patches(X)
        shape = patches.shape[1:3]
        masks = [
            self.estimator_.predict(image.reshape(shape[0] * shape[1], -1)).reshape(shape)
            for image in patches
        ]
        return np.stack(masks)

    def _images(self, X, *, reset):
        X = np.asarray(to_numpy(validate_images(self, to_numpy(X), reset=reset)))
        if reset:
            self.n_channels_in_ = X.shape[1]
        elif X.shape[1] != self.n_channels_in_:
            raise ValueError(
                f"PixelClassifier was fitted on images of {self.n_channels_in_} channel(s), got "
                f"{X.shape[1]} (shape {X.shape} read as n, channels, height, width)."
            )
        return X

    def _patches(self, X):
        """Patches around every pixel, a view: (n, height, width, channels, size, size)."""
        margin = self.patch_size // 2
        pad = [(0, 0), (0, 0), (margin, margin), (margin, margin)]
        X = np.pad(X, pad, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(
            X, (self.patch_size, self.patch_size), axis=(2, 3)
        )
        return windows.transpose(0, 2, 3, 1, 4, 5)
