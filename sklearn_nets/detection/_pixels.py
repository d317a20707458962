"""A detector without a net: a classifier of pixels, and a box around each region that it makes."""

from __future__ import annotations

from numbers import Integral
from typing import ClassVar

import numpy as np
from scipy import ndimage
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.neighbors import KNeighborsClassifier

from .._base.boxes import box_classes, validate_boxes
from .._base.images import to_channels_first
from .._utils.array_api import convert_like, to_numpy
from .._utils.sklearn_compat import HasMethods, Interval, fit_context
from .._utils.validation import validate_weight
from ..segmentation import PixelClassifier
from ._mixin import DetectorMixin

OUTSIDE = -1  # of an image that was padded to the size of a larger one


class PixelDetector(DetectorMixin, MetaEstimatorMixin, BaseEstimator):
    """Turn any classifier into a detector: pixels are classified, regions of a class get a box.

    A `PixelClassifier` learns for every pixel which box it lies in, the smaller of two, or none. A
    predicted box is drawn around every connected region of one class; its score is the share of
    its pixels that are in the region. Objects that touch are found as one: a baseline.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Fitted on rows of ``channels * patch_size ** 2`` values, one row a pixel; None is
        `KNeighborsClassifier()`.
    patch_size : int, default=5
        Height and width of the patch around a pixel, odd.
    max_pixels : int or None, default=10_000
        Pixels to learn from, drawn at random; None takes all.
    min_pixels : int, default=9
        Regions of fewer pixels are left out.
    random_state : int, RandomState instance or None, default=None
        Draws the pixels.

    Attributes
    ----------
    pixels_ : PixelClassifier
        The fitted segmenter; it predicts 0 for the background and i + 1 for ``classes_[i]``.
    estimator_ : classifier
        The fitted classifier of pixels.
    classes_ : ndarray of shape (n_classes,)
        The labels of boxes.
    n_channels_in_ : int
        Channels of the images of `fit`.

    Raises
    ------
    ValueError
        If boxes do not fit their images: the message names the image and the row.

    See Also
    --------
    DetectionNet : A net for the same task.

    Examples
    --------
    >>> from sklearn_nets.datasets import make_digit_scenes
    >>> from sklearn_nets.detection import PixelDetector
    >>> scenes = make_digit_scenes(4, random_state=0)
    >>> y = [{"boxes": b, "labels": l} for b, l in zip(scenes.boxes, scenes.labels)]
    >>> model = PixelDetector(max_pixels=1000, random_state=0).fit(scenes.images, y)
    >>> len(model.predict(scenes.images))
    4
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "max_pixels": [Interval(Integral, 1, None, closed="left"), None],
        "min_pixels": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, estimator=None, *, patch_size=5, max_pixels=10_000, min_pixels=9, random_state=None
    ):
        self.estimator = estimator
        self.patch_size = patch_size
        self.max_pixels = max_pixels
        self.min_pixels = min_pixels
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the classifier to the pixels of boxes and background.

        Parameters
        ----------
        X : array-like, torch.Tensor or list of images
            Images, in any layout that `DetectionNet` reads.
        y : list of n_samples dicts, or DataFrame
            Boxes, as in `DetectionNet.fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images, handed to the estimator for each of their pixels.

        Returns
        -------
        self : object
        """
        X, sizes = self._read_images(X, reset=True)
        y = validate_boxes(self, y, sizes)
        weight = validate_weight(sample_weight, len(X))
        self.classes_ = box_classes(y)
        masks = np.full((len(X), *X.shape[2:]), OUTSIDE)
        for mask, image in zip(masks, y):
            _paint(mask, image, self.classes_)
        estimator = KNeighborsClassifier() if self.estimator is None else self.estimator
        self.pixels_ = PixelClassifier(
            estimator, patch_size=self.patch_size, max_pixels=self.max_pixels,
            ignore_index=OUTSIDE, random_state=self.random_state,
        ).fit(X, masks, weight)  # fmt: skip
        self.estimator_ = self.pixels_.estimator_
        return self

    def _predict_boxes(self, X):
        images = self._read_images(to_numpy(X), reset=False)[0]
        masks = self.pixels_.predict(to_channels_first(images))
        answers = map(self._boxes_of, masks)
        return [{k: convert_like(v, like=X) for k, v in answer.items()} for answer in answers]

    def _boxes_of(self, mask):
        """A box around each region of one class."""
        boxes, labels, scores = [], [], []
        for code, label in enumerate(self.classes_, start=1):
            regions, _ = ndimage.label(mask == code)
            for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
                region = regions[rows, columns] == number
                if region.sum() < self.min_pixels:
                    continue
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                labels.append(label)
                scores.append(region.mean())
        order = np.argsort(-np.array(scores), kind="stable").astype(int)
        return {
            "boxes": np.array(boxes, dtype=float).reshape(-1, 4)[order],
            "labels": np.array(labels, dtype=self.classes_.dtype)[order],
            "scores": np.array(scores, dtype=float)[order],
        }


def _paint(mask, image, classes) -> None:
    """Paint the boxes of one image, the smaller over the larger, on background, in place."""
    height, width = image.size
    mask[:height, :width] = 0
    sides = image.boxes[:, 2:] - image.boxes[:, :2]
    for i in np.argsort(-sides.prod(1), kind="stable"):
        x0, y0 = np.floor(image.boxes[i, :2]).astype(int)
        x1, y1 = np.ceil(image.boxes[i, 2:]).astype(int)
        mask[y0:y1, x0:x1] = np.searchsorted(classes, image.labels[i]) + 1
