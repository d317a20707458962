"""Reading images: every accepted layout becomes (n, channels, height, width), without a copy."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from .._utils.array_api import is_tensor
from .._utils.random import TorchRandom
from .._utils.sklearn_compat import validate_data
from .._utils.validation import check_finite, validate_rows, validate_target
from ..modules.layers import Normalize
from .parameters import net_class, parameter
from .precision import image_precision

CHANNELS_LAST_COUNTS = (1, 3, 4)
LAYOUTS = (
    "(n, channels, height, width), (n, height, width) for gray images, (n, height, width, "
    "channels) with 1, 3 or 4 channels, or flat rows (n, channels * height * width) with "
    "image_shape=(channels, height, width)"
)


def to_channels_first(X):
    """View images of any accepted layout as (n, channels, height, width).

    Parameters
    ----------
    X : ndarray or tensor of 3 or 4 axes

    Returns
    -------
    ndarray or tensor of shape (n, channels, height, width), sharing X's memory
    """
    if X.ndim == 3:
        return X[:, None]
    if X.ndim != 4:
        raise ValueError(
            f"Expected images as {LAYOUTS}, got shape {tuple(X.shape)}. Reshape your data."
        )
    last, second = X.shape[3], X.shape[1]
    if last in CHANNELS_LAST_COUNTS and second not in CHANNELS_LAST_COUNTS:
        return X.permute(0, 3, 1, 2) if is_tensor(X) else X.transpose(0, 3, 1, 2)
    return X


def validate_images(estimator, X, *, reset):
    """Check images of 3 or 4 axes: finite, not empty."""
    if is_tensor(X):
        if min(X.shape) < 1:
            raise ValueError(f"Found images of shape {tuple(X.shape)}: every axis needs 1 or more.")
        check_finite(estimator, X)
    else:
        X = validate_data(
            estimator, X, ensure_2d=False, allow_nd=True, dtype="numeric", reset=reset
        )
        if min(X.shape) < 1:
            raise ValueError(f"Found images of shape {X.shape}: every axis needs 1 or more.")
    return to_channels_first(X)


def input_statistics(X, weight=None, chunk=512):
    """Weighted mean and standard deviation of every channel, in memory that does not grow with X.

    Parameters
    ----------
    X : tensor of shape (n, channels, height, width)
    weight : tensor of shape (n,) or None

    Returns
    -------
    mean, scale : tensors of shape (channels,), float64 (float32 on mps)
    """
    dtype = torch.float32 if X.device.type == "mps" else torch.float64
    if weight is None and X.dtype == torch.uint8 and X.device.type != "mps":
        return _pixel_statistics(X)
    weight = torch.ones(len(X), device=X.device) if weight is None else weight
    weight = weight.to(dtype) / weight.sum() / (X.shape[2] * X.shape[3])
    moments = []
    for power in (1, 2):  # two passes: one pass of squares cancels when the mean is large
        total = torch.zeros(X.shape[1], dtype=dtype, device=X.device)
        for rows, w in zip(X.split(chunk), weight.split(chunk), strict=True):
            rows = rows.to(dtype)
            if power == 2:
                rows = (rows - moments[0][:, None, None]).square()
            total += torch.einsum("n,nchw->c", w, rows)
        moments.append(total)
    return moments[0], moments[1].sqrt()


def _pixel_statistics(X):
    """The same of bytes, whose sums and sums of squares are whole numbers, in one pass."""
    at_a_time = 2**18 if X.device.type == "cpu" else 2**26  # pixels: of a cache's size, or a GPU's
    sums = torch.zeros(2, X.shape[1], dtype=torch.float64, device=X.device)
    for rows in X.split(max(1, at_a_time // X[0].numel())):
        rows = rows.float()
        sums[0] += rows.sum((0, 2, 3), dtype=torch.float64)
        sums[1] += rows.square_().sum((0, 2, 3), dtype=torch.float64)
    mean, square = sums / (X.numel() / X.shape[1])
    return mean, (square - mean.square()).clamp_(min=0).sqrt()


def _warn_of_square_rows(n_features):
    """Say how flat rows are read that may well be square images."""
    side = math.isqrt(n_features)
    if side * side == n_features and side >= 8:
        warnings.warn(
            f"Rows of {n_features} values are read as images of one row, 1x{n_features} pixels. If "
            f"they are images of {side}x{side} pixels, pass image_shape=(1, {side}, {side}).",
            stacklevel=7,
        )


def check_channels(channels) -> list[int]:
    """Refuse channels of stages that are no positive integers."""
    sizes = list(channels)
    if not sizes or not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(
            f"channels must hold one positive integer for each stage, such as (16, 32, 64), got "
            f"{channels!r}."
        )
    return sizes


@net_class
class ImageNetMixin(ABC):
    """What every net over images shares: raw pixels in, and how its module is made and trained."""

    augment: Callable | None = parameter(
        None, [callable, None],
        """Changes every training batch: ``augment(X, y)`` takes X of shape (n, channels, height,
        width) as it was read, on the device, and y, class indices, or masks of them.
        `RandomFlipShift`, or transforms of ``torchvision.transforms.v2`` (which take class indices
        along, but not masks).""",
        words="callable(X, y) -> (X, y) or None",
    )  # fmt: skip
    compile: bool = parameter(
        False, ["boolean"],
        """Whether `torch.compile` translates the net, which takes a minute or so and needs a C++
        compiler; pays for itself in long trainings on an accelerator. The numbers may differ by
        rounding.""",
    )  # fmt: skip

    @abstractmethod
    def _make_architecture(self) -> nn.Module:
        """The module for standardized images, of the sizes that reading X has left."""

    def _make_module(self, X, weight, random_state):
        module = nn.Sequential(Normalize(*input_statistics(X, weight)), self._make_architecture())
        if self.compile:
            module.compile()
        return module

    def _input_dtype(self):
        return None  # pixels stay as they are (uint8) until the net reads them

    def _torch_random(self, random_state, device):
        return TorchRandom(int(random_state.randint(np.iinfo(np.int32).max)), device)

    def _augmentation(self):
        return self.augment


@net_class
class ImageInputMixin(ImageNetMixin):
    """Images of one size in, also as flat rows."""

    image_shape: tuple[int, int, int] | None = parameter(
        None, [tuple, list, None],
        """What a flat row of X stands for, so that StandardScaler or PCA can stand before the net.
        Rows without it are read as images of one channel and one row.""",
        words="tuple (channels, height, width) or None",
    )  # fmt: skip

    _predict_batch_size: ClassVar[int] = 256

    def _validate_data(self, X, y="no_validation", *, reset):
        ndim = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        predicting = isinstance(y, str)
        if ndim > 2:
            X = validate_images(self, X, reset=reset)
            if not predicting:
                y = validate_target(self, y, len(X), y_numeric=self._y_numeric)
        else:
            out = validate_rows(self, X, y, reset=reset, y_numeric=self._y_numeric)
            X, y = (out, y) if predicting else out
            X = X.reshape(len(X), *self._row_shape(X.shape[1], reset))
        if reset:
            self.image_shape_ = tuple(X.shape[1:])
            self.n_features_in_ = int(np.prod(self.image_shape_))
        elif tuple(X.shape[1:]) != self.image_shape_:
            raise ValueError(
                f"{type(self).__name__} was fitted on images of (channels, height, width) = "
                f"{self.image_shape_}, got {tuple(X.shape[1:])}. Resize or crop them first."
            )
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
        tabular = X.shape[1:3] == (1, 1) and self.image_shape is None
        return image_precision(self.precision, X, device, tabular=tabular)
