"""How images of one size come in, also as flat rows."""

from __future__ import annotations

import math
import warnings
from numbers import Integral
from typing import ClassVar

import numpy as np

from .._utils.images import CHANNELS_LAST_COUNTS, as_images
from .._utils.validation import check_one_size, validate_rows, validate_target
from .images import check_image_shape, validate_images
from .parameters import net_class, parameter
from .precision import image_precision


@net_class
class ImageReadingMixin:
    """Images of one size in, also as flat rows."""

    image_shape: tuple[int, int, int] | None = parameter(
        None, [tuple, list, None],
        """What a flat row of X stands for, so that StandardScaler or PCA can stand before the net.
        Rows without it are read as images of one channel and one row.""",
        words="tuple (channels, height, width) or None",
    )  # fmt: skip

    _predict_batch_size: ClassVar[int] = 256

    def _validate_data(self, X, y="no_validation", *, reset):
        X = as_images(X)
        check_one_size(X, type(self).__name__)
        given = tuple(X.shape if hasattr(X, "shape") else np.asarray(X).shape)
        predicting = isinstance(y, str)
        if not reset and _is_single(given, self.image_shape_):
            raise ValueError(
                f"{type(self).__name__} takes an array of images, got a single one, of shape "
                f"{given}. Pass X[None]."
            )
        if len(given) > 2:
            X = validate_images(self, X, reset=reset)
            if not predicting:
                y = validate_target(self, y, len(X), y_numeric=self._y_numeric)
        else:
            out = validate_rows(self, X, y, reset=reset, y_numeric=self._y_numeric)
            X, y = (out, y) if predicting else out
            if not (reset or self.image_shape) and self._channels_last and self.image_shape_[0] > 1:
                channels, height, width = self.image_shape_
                raise ValueError(
                    f"{type(self).__name__} was fitted on images of (height, width, channels) = "
                    f"{(height, width, channels)}, got rows, whose order of values is not known. "
                    f"Pass images, or set image_shape={self.image_shape_} before fit where rows "
                    "are channels first."
                )
            X = X.reshape(len(X), *self._row_shape(X.shape[1], reset))
        check_image_shape(self, X, reset=reset)
        if reset:
            self._channels_last = len(given) == 4 and given[1:] != self.image_shape_
        return X if predicting else (X, y)

    def _row_shape(self, n_features, reset):
        """The image that one flat row stands for."""
        if self.image_shape is None:
            if reset:
                _warn_of_square_rows(n_features)
            return (1, 1, n_features) if reset else self.image_shape_
        shape = tuple(self.image_shape)
        integers = len(shape) == 3 and all(isinstance(side, Integral) for side in shape)
        if not integers or min(shape) < 1 or int(np.prod(shape)) != n_features:
            raise ValueError(
                f"image_shape must be (channels, height, width) with as many values as a row of X: "
                f"{n_features}; got image_shape={shape}."
            )
        if reset and shape[2] in CHANNELS_LAST_COUNTS and shape[0] not in CHANNELS_LAST_COUNTS:
            warnings.warn(
                f"image_shape={shape} is read as {shape[0]} channels of {shape[1]}x{shape[2]} "
                f"pixels. For images of {shape[0]}x{shape[1]} pixels pass "
                f"image_shape={(shape[2], *shape[:2])}, channels first.",
                stacklevel=6,
            )
        return shape

    def _choose_precision(self, X, device):
        # rows that are no images are tabular data and keep their own type, as in the MLP
        return image_precision(self.precision, X, device, tabular=self._is_tabular())

    def _is_tabular(self):
        return self.image_shape_[:2] == (1, 1) and self.image_shape is None


def _is_single(given, image_shape) -> bool:
    """Whether an array of this shape is one image like those of `fit`, and cannot be several."""
    channels, height, width = image_shape
    layouts = [image_shape, (height, width, channels)]
    if channels == 1:  # (1, height, width) is an array of one image, (1, n_features) of one row
        layouts = [(height, width), (height, width, 1)] if height > 1 else []
    return given in layouts


def _warn_of_square_rows(n_features):
    """Say how flat rows are read that may well be square images."""
    for channels in (1, 3):
        side = math.isqrt(n_features // channels)
        if channels * side * side == n_features and side >= 8:
            warnings.warn(
                f"Rows of {n_features} values are read as images of one row, 1x{n_features} "
                f"pixels. If they are images of {side}x{side} pixels, pass "
                f"image_shape=({channels}, {side}, {side}).",
                stacklevel=7,
            )
