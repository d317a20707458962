"""Layouts of images: every accepted one becomes (n, channels, height, width), without a copy."""

from __future__ import annotations

from .array_api import is_tensor

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
