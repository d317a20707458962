"""Any classifier as a segmenter."""

from __future__ import annotations

from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import check_random_state

from .._base.images import check_n_channels, stack_tensors, validate_images
from .._base.masks import check_one_mask_each, mask_classes, validate_masks
from .._base.ragged import as_arrays, by_size, naming_image
from .._utils.array_api import convert_like, to_numpy
from .._utils.images import as_images
from .._utils.sklearn_compat import HasMethods, Interval, check_is_fitted, fit_context
from .._utils.validation import is_ragged, validate_weight
from ._base import SegmenterMixin


class PixelClassifier(SegmenterMixin, MetaEstimatorMixin, BaseEstimator):
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
        """Fit the classifier to the patches of the labeled pixels.

        Parameters
        ----------
        X : array-like, or list of images of several sizes
            Images, in any layout that `SegmentationNet` reads.
        y : array-like of shape (n_samples, height, width), or list of masks
            Masks of integers or strings.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images, handed to the estimator for each of their pixels.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `patch_size` is even, masks do not fit their images, no pixel has a label, or weights
            do not fit the images.
        """
        if self.patch_size % 2 == 0:
            raise ValueError(f"patch_size must be odd, got {self.patch_size}.")
        X, y = self._read(X, y)
        weight = validate_weight(sample_weight, len(X))
        labels = np.concatenate([mask.ravel() for mask in y])
        labeled = np.arange(len(labels))
        if self.ignore_index is not None:
            labeled = np.flatnonzero(labels != self.ignore_index)
        self.classes_ = mask_classes(labels, self.ignore_index)
        ends = np.cumsum([mask.size for mask in y])
        if weight is not None:  # no weight is absence
            labeled = labeled[weight[np.searchsorted(ends, labeled, side="right")] > 0]
        if self.max_pixels is not None and len(labeled) > self.max_pixels:
            random_state = check_random_state(self.random_state)
            labeled = np.sort(random_state.choice(labeled, self.max_pixels, replace=False))
        image = np.searchsorted(ends, labeled, side="right")
        rows = []
        for i in np.unique(image):
            pixels = labeled[image == i] - (ends[i] - y[i].size)
            at = np.unravel_index(pixels, y[i].shape)
            patches = self._patches(X[i] if isinstance(X, list) else X[i : i + 1])[0]
            rows.append(patches[at].reshape(len(pixels), -1))
        fit_params = {} if weight is None else {"sample_weight": weight[image]}
        estimator = clone(self.estimator)
        self.estimator_ = estimator.fit(np.concatenate(rows), labels[labeled], **fit_params)
        return self

    def _read(self, X, y):
        """Images and masks that were checked; lists of them where sizes differ."""
        if not is_ragged(X):
            X = self._images(X, reset=True)
            return X, validate_masks(self, y, X)
        check_one_mask_each(self, X, y)
        images, masks = [], []
        for i, (image, mask) in enumerate(zip(*map(as_arrays, (X, y)))):
            with naming_image(i, image):
                images.append(self._images(image[None], reset=i == 0))
                masks.append(validate_masks(self, to_numpy(mask)[None], images[i])[0])
        return images, masks

    def predict(self, X):
        """Predict the class of every pixel.

        Parameters
        ----------
        X : array-like, or list of images of several sizes
            Images of as many channels as in `fit`, of any size.

        Returns
        -------
        masks : ndarray or tensor of shape (n_samples, height, width), or list of masks
            Of the kind that X is, but numpy for strings.
        """
        check_is_fitted(self)
        if is_ragged(X):
            return by_size(self.predict, X)
        X = stack_tensors(X)
        patches = self._patches(self._images(X, reset=False))
        shape = patches.shape[1:3]
        masks = [
            self.estimator_.predict(image.reshape(shape[0] * shape[1], -1)).reshape(shape)
            for image in patches
        ]
        return convert_like(np.stack(masks), like=X)

    def _images(self, X, *, reset):
        X = np.asarray(to_numpy(validate_images(self, to_numpy(as_images(X)), reset=reset)))
        check_n_channels(self, X, reset=reset)
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
