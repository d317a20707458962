"""Reading images, and what nets need to know of them."""

from __future__ import annotations

import math

import torch

from .._utils.array_api import is_tensor
from .._utils.images import to_channels_first
from .._utils.sklearn_compat import validate_data
from .._utils.validation import check_finite, is_ragged, stand_in

VALUES_AT_ONCE = 2**22  # 32 MB of float64
SOME_IMAGES, SOME_PIXELS = 64, 2**18  # at most, which tell how bright all are


def stack_tensors(X):
    """A list of tensors of one size as one tensor, which is answered in tensors; else X itself."""
    if not isinstance(X, list | tuple) or not len(X) or not all(map(is_tensor, X)) or is_ragged(X):
        return X
    return torch.stack(list(X))


def validate_images(estimator, X, *, reset):
    """Check images of 3 or 4 axes: finite, not empty."""
    X = stack_tensors(X)
    if is_tensor(X):
        if min(X.shape) < 1:
            raise ValueError(f"Found images of shape {tuple(X.shape)}: every axis needs 1 or more.")
        check_finite(estimator, X)
        options = {"ensure_2d": False, "skip_check_array": True, "reset": reset}
        validate_data(estimator, stand_in(X), **options)
    else:
        X = validate_data(
            estimator, X, ensure_2d=False, allow_nd=True, dtype="numeric", reset=reset
        )
        if min(X.shape) < 1:
            raise ValueError(f"Found images of shape {X.shape}: every axis needs 1 or more.")
    return to_channels_first(X)


def check_n_channels(estimator, X, *, reset) -> None:
    """Remember the channels of checked images of any size, or compare them with those of fit."""
    if reset:
        estimator.n_channels_in_ = X.shape[1]
    elif X.shape[1] != estimator.n_channels_in_:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on images of {estimator.n_channels_in_} "
            f"channel(s), got {X.shape[1]} (shape {tuple(X.shape)} read as n, channels, height, "
            "width). Convert them, as PIL.Image.Image.convert does; a single image is X[None]."
        )


def check_image_shape(estimator, X, *, reset) -> None:
    """Remember the shape of checked images, or compare it with that of fit."""
    shape = tuple(X.shape[1:])
    if reset:
        estimator.image_shape_, estimator.n_features_in_ = shape, math.prod(shape)
    elif shape != estimator.image_shape_:
        advice = "Resize or crop them first"
        if shape[1:] == estimator.image_shape_[1:]:
            advice = "Convert their channels, as PIL.Image.Image.convert does"
        raise ValueError(
            f"{type(estimator).__name__} was fitted on images of (channels, height, width) = "
            f"{estimator.image_shape_}, got {shape}. {advice}."
        )


def rows_at_once(X) -> int:
    """How many samples of X may become float64 at once: as many as keep their memory small."""
    return max(1, min(512, VALUES_AT_ONCE // X[0].numel()))


def brightness(X) -> tuple[float, float, float]:
    """Least and greatest, and mean plus standard deviation, of some pixels of the images X."""
    some = X[:: math.ceil(len(X) / SOME_IMAGES)]
    step = math.ceil(math.sqrt(some.numel() / SOME_PIXELS))
    some = some[:, :, ::step, ::step].float()
    deviation, mean = torch.std_mean(some, correction=0)
    return float(some.amin()), float(some.amax()), float(mean + deviation)


def white_of(X) -> float:
    """The value of white in images: 1, 255, or 65535 where integers are above 255."""
    if X.dtype == torch.uint8:
        return 255.0
    if X.is_floating_point():  # up to 1 or, where any is above, as bytes
        return 1.0 if float(X.amax()) <= 1 else 255.0
    # as float32: torch knows no maximum of unsigned integers of 16 bits
    largest = max(float(images.float().amax()) for images in X.split(64))
    if largest > 65535:
        raise ValueError(
            f"Pretrained nets read integer pixels up to 255, or up to 65535, got {largest:.0f}. "
            "Divide X by its value of white."
        )
    return 255.0 if largest <= 255 else 65535.0


def input_statistics(X, weight=None):
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
    moments, few = [], rows_at_once(X)
    for power in (1, 2):  # two passes: one pass of squares cancels when the mean is large
        total = torch.zeros(X.shape[1], dtype=dtype, device=X.device)
        for rows, w in zip(X.split(few), weight.split(few), strict=True):
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
