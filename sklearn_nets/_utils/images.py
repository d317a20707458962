"""Layouts of images, each of which becomes (n, channels, height, width), and how they are shown."""

from __future__ import annotations

import numpy as np

from .array_api import from_array_api, is_tensor

DEEP = ("I", "I;16", "I;16B", "F")  # pillow's modes of gray of more than 8 bits
CHANNELS_LAST_COUNTS = (1, 3, 4)
LAYOUTS = (
    "(n, channels, height, width), (n, height, width) for gray images, (n, height, width, "
    "channels) with 1, 3 or 4 channels, or flat rows (n, channels * height * width) with "
    "image_shape=(channels, height, width)"
)


def as_images(X):
    """A list, tuple, Series or array of objects as a list of images; anything else passes through.

    Pictures of pillow become arrays of 1, 3 or 4 channels, whatever their mode.
    """
    if getattr(getattr(X, "dtype", None), "kind", "") == "O" and X.ndim == 1:
        X = list(X)
    if not isinstance(X, list | tuple) or not any(hasattr(image, "getbands") for image in X):
        return X
    return [_pixels(image) if hasattr(image, "getbands") else image for image in X]


def _pixels(picture):
    if picture.mode not in ("1", "L", "RGB", "RGBA", *DEEP):
        picture = opaque(picture, gray=picture.mode == "LA")
    return np.asarray(picture)


def opaque(picture, gray: bool):
    """A picture of pillow in gray or RGB, over white where it is transparent."""
    from PIL import Image

    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L" if gray else "RGB")


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
