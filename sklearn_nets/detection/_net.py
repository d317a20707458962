"""A net that says what is in an image and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from .._base.boxes import (
    Detection,
    Limits,
    box_classes,
    object_crops,
    typical_side,
    validate_boxes,
)
from .._base.estimator import TRAINED, BaseNet, available_if_stochastic
from .._base.image_nets import ImageNetMixin
from .._base.labels import factors_of_classes
from .._base.parameters import POSITIVE_INT, check_sizes, net_class, parameter
from .._base.precision import image_precision
from .._utils.array_api import to_numpy
from .._utils.optional import require
from .._utils.sklearn_compat import Interval, Options, StrOptions, fit_context
from ..modules.augment import RandomZoom
from ..modules.detector import DenseDetector
from ..modules.mirroring import mirroring_keeps_targets
from ._mixin import DetectorMixin

STRIDES = {6: 2, 48: 4}  # by the side of a class's boxes, in pixels, that is less; 8 of larger ones


@net_class(fitted=TRAINED)
class DetectionNet(DetectorMixin, ImageNetMixin, BaseNet):
    """Object detection: the boxes and labels of what is in images of any size.

    The default is a small dense net: an encoder, a feature pyramid and, at every fourth pixel, a
    score for each class and a box. It is trained from scratch by a recipe that needs no tuning:
    focal loss and generalized IoU, AdamW along one cycle, batches of eight images, and an
    augmentation that zooms, changes brightness and contrast, and mirrors where the training data
    shows that labels bear it; boxes go along. Images are read as (n, channels, height, width), (n,
    height, width) for gray ones or (n, height, width, channels) with 1, 3 or 4 channels, uint8 or
    floating point, or as a list of images of several sizes.

    y is a list with one dict for each image, as in torchvision: ``"boxes"`` of shape (k, 4), x0 y0
    x1 y1 in pixels, 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height, and ``"labels"`` of shape
    (k,), integers or strings; k may be 0. Or a DataFrame of one row for each box with the columns
    image (position of the image in X), x0, y0, x1, y1 and label.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of boxes.
    n_channels_in_ : int
        Channels of the images of `fit`.
    mirrored_ : bool
        Whether training images were mirrored left to right.
    stride_ : int or None
        Pixels between the points of the map of the small net.
    class_weight_ : ndarray of shape (n_classes,) or None
        Factors for the weight of each class's boxes, made of `class_weight`.
    {fitted}

    Raises
    ------
    ImportError
        If torchvision is not installed.
    ValueError
        If boxes do not fit their images: the message names the image and the row; if images have
        another number of channels than in `fit`.

    See Also
    --------
    PixelDetector : A baseline: a classifier of pixels, and the regions that it makes.
    sklearn_nets.segmentation.SegmentationNet : One label for every pixel.
    sklearn_nets.metrics.mean_average_precision_score : The score, at any IoU.

    References
    ----------
    Zhou et al. (2019), "Objects as points". Tian et al. (2019), "FCOS: Fully convolutional
    one-stage object detection". Lin et al. (2017), "Focal loss for dense object detection". Ren et
    al. (2015), "Faster R-CNN". Smith & Topin (2018), "Super-convergence".

    Examples
    --------
    >>> from sklearn_nets.datasets import make_digit_scenes
    >>> from sklearn_nets.detection import DetectionNet
    >>> scenes = make_digit_scenes(8, random_state=0)
    >>> y = [{"boxes": b, "labels": l} for b, l in zip(scenes.boxes, scenes.labels)]
    >>> net = DetectionNet(channels=(8, 16, 16), max_iter=2, random_state=0).fit(scenes.images, y)
    >>> sorted(net.predict(scenes.images)[0])
    ['boxes', 'labels', 'scores']
    """

    architecture: str = parameter(
        "small", [StrOptions({"small", "fcos", "retinanet", "fasterrcnn"})],
        """The net. 'small' is the dense net described above. 'fcos' (Tian et al. 2019), 'retinanet'
        (Lin et al. 2017) and 'fasterrcnn' (Ren et al. 2015) are torchvision's on a ResNet-18 with a
        feature pyramid of 64 channels, without pretrained weights.""",
        kw_only=False,
    )  # fmt: skip
    channels: Sequence[int] = parameter(
        (32, 64, 128, 160, 160), ["array-like"],
        """Channels of each stage of the small net's encoder; every stage halves height and
        width.""",
        words="sequence of int",
    )  # fmt: skip
    stride: int | str = parameter(
        "auto", [StrOptions({"auto"}), Options(Integral, {2, 4, 8})],
        """Pixels between the points of the small net's map. 'auto' takes the class of the smallest
        boxes: 2 where half of its boxes are narrower than 6 pixels, 4 below 48, else 8.""",
    )  # fmt: skip
    score_threshold: float = parameter(
        0.05, [Interval(Real, 0, 1, closed="both")],
        "`predict` leaves out boxes of a lower score.",
    )  # fmt: skip
    nms_threshold: float = parameter(
        0.5, [Interval(Real, 0, 1, closed="both")],
        """Of two boxes of a class that overlap by a greater IoU, `predict` leaves out the one of
        the lower score.""",
    )  # fmt: skip
    detections_per_img: int = parameter(
        300, [POSITIVE_INT],
        """Boxes of an image at most, those of the highest scores; of torchvision's nets never more
        than when they were made.""",
    )  # fmt: skip
    class_weight: Any = parameter(
        None, [dict, StrOptions({"balanced"}), None],
        """Factor for the weight of each class's boxes; 'balanced' makes all classes weigh the same.
        For architecture='small'.""",
    )  # fmt: skip
    pretrained: bool = parameter(
        False, [Options(bool, {False})], "Only False: detectors start from random weights."
    )
    freeze: None = parameter(None, [None], "Only None: the whole net is trained.")
    test_time_augment: bool = parameter(
        False, [Options(bool, {False})], "Only False: boxes of mirror images are not averaged."
    )
    progressive_resizing: bool = parameter(
        False, [Options(bool, {False})], "Only False: detectors see images of full size."
    )
    augment: Callable | str | None = parameter(
        "auto", [StrOptions({"auto"}), callable, None],
        """Changes every training batch: ``augment(X, y)`` takes X of shape (n, channels, height,
        width) as it was read, on the device, and y of shape (n, k, 5), the boxes of every image,
        x0 y0 x1 y1 in pixels and class index; rows of class -1 are no objects, and the last of them
        holds the size of the image, 0 0 width height. 'auto' is `RandomZoom`, which takes boxes
        along and mirrors where the training data shows that labels bear it.""",
        words="callable(X, y) -> (X, y), 'auto' or None",
    )  # fmt: skip
    max_iter: int = parameter(40, [POSITIVE_INT], "Number of epochs, passes over the data.")

    _max_batch_size: ClassVar[int] = 8
    _targets_in_image: ClassVar[str] = "boxes"
    _peak_learning_rate: ClassVar[float] = 2e-3

    @available_if_stochastic
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train one more epoch on the given images.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; `y` need not hold every class.
        classes : array-like of shape (n_classes,), default=None
            All labels of all calls; by default those of the first call.

        Returns
        -------
        self : object
            The estimator after one epoch more.

        Raises
        ------
        ValueError
            If ``class_weight="balanced"``, which needs all boxes, or `early_stopping` is set; if
            `y` holds a label that is not known since the first call.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit, which does not see all "
                "boxes. Pass a dict of one factor for each class."
            )
        classes = None if classes is None else np.unique(np.asarray(to_numpy(classes)))
        run = self._make_run(X, y, sample_weight, incremental=True, classes=classes)
        return self._train(run, X, y, sample_weight)

    def _validate_data(self, X, y="no_validation", *, reset):
        X, sizes = self._read_images(X, reset=reset)
        return X if isinstance(y, str) else (X, validate_boxes(self, y, sizes))

    def _make_task(self, y, classes=None):
        require("torchvision", type(self).__name__)
        classes = box_classes(y) if classes is None else classes
        self._side, smallest = typical_side(y)
        self.stride_ = None
        if self.architecture == "small":
            auto = next((stride for side, stride in STRIDES.items() if smallest < side), 8)
            self.stride_ = auto if self.stride == "auto" else self.stride
        return Detection(classes, self.stride_, self._limits())

    def _limits(self):
        return Limits(self.detections_per_img, self.score_threshold, self.nms_threshold)

    def _update_task(self):
        self._task.limits = self._limits()
        return False

    def _apply_class_weight(self, target, weight):
        # by the loss, box by box
        if self.class_weight is not None and self.stride_ is None:
            raise ValueError(
                f"class_weight is not supported by architecture={self.architecture!r}, whose loss "
                "is torchvision's. Use architecture='small', or sample_weight."
            )
        codes = target[..., 4]
        self.class_weight_ = factors_of_classes(self.class_weight, codes, self.classes_, weight)
        self._task.class_weight = self.class_weight_
        return weight

    def _find_flips(self, source, random_state):
        """Mirror where the crops of the boxes keep their labels in the mirror."""
        if len(self.classes_) == 1:  # the mirror image of an object has no other label
            return {"hflip": 0.5, "vflip": 0.0}
        crops, labels = object_crops(source)
        return {
            name: 0.5 * mirroring_keeps_targets(images, labels, random_state)
            for name, images in (("hflip", crops), ("vflip", crops.transpose(2, 3)))
        }

    def _make_augmentation(self, size, hflip, vflip):
        return RandomZoom(hflip=hflip, vflip=vflip)

    def _choose_precision(self, X, device):
        return image_precision(self.precision, X, device)

    def _make_architecture(self):
        if self.architecture == "small":
            channels = check_sizes("channels", self.channels)
            if 2 ** len(channels) < self.stride_:
                raise ValueError(
                    f"channels={self.channels!r} has {len(channels)} stage(s), too few for a map "
                    f"of stride {self.stride_}: every stage halves the image. Add stages."
                )
            return DenseDetector(
                self.n_channels_in_, self.n_outputs_, channels, stride=self.stride_, side=self._side
            )
        from ..modules.torchvision_detectors import TorchvisionDetector

        return TorchvisionDetector(
            self.architecture, self.n_channels_in_, self.n_outputs_,
            detections_per_img=self.detections_per_img, nms_threshold=self.nms_threshold,
        )  # fmt: skip

    def _predict_boxes(self, X):
        def read(z, dtype):
            return self._task.predict(z, self._limits()).to(dtype)

        return self._task.decode(self._forward(X, read, "predict"), like=X)
