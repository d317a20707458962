"""Layouts of images, each of which becomes (n, channels, height, width), and how they are shown."""

from __future__ import annotations

import numpy as np

from .array_api import from_array_api, is_tensor

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
    X : ndarray, tensor or array of another library of 3 or 4 axes

    Returns
    -------
    ndarray or, of all but numpy's arrays, tensor of shape (n, channels, height, width), sharing
    X's memory
    """
    X = from_array_api(X)
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


def to_display(image):
    """An image of any values as a picture, the same wherever it is drawn.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)

    Returns
    -------
    ndarray of uint8 and shape (height, width) or (height, width, 3)
        Of bytes, the values themselves; of others, their range is stretched from 0 to 255. Of three
        or more channels the first three, else the first.
    """
    if image.ndim == 3:
        image = image[..., :3] if image.shape[2] >= 3 else image[..., 0]
    if image.dtype == np.uint8:
        return image
    image = image.astype(np.float64)  # the range of integers overflows, true and false have none
    finite = image[np.isfinite(image)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    scaled = 255 * (np.clip(image, low, high) - low) / ((high - low) or 1)
    return np.nan_to_num(scaled).astype(np.uint8)
