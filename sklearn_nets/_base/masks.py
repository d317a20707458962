"""Reading masks: one label for every pixel, of any integers or strings."""

from __future__ import annotations

import numpy as np

from .._utils.array_api import to_numpy


def validate_masks(y, X):
    """Check that y holds one label for each pixel of X, (n, channels, height, width)."""
    y = np.asarray(to_numpy(y))
    expected = (len(X), *X.shape[2:])
    if y.shape != expected:
        raise ValueError(
            f"y must hold one label for each pixel of X: expected masks of shape {expected} "
            f"(n_samples, height, width), got {y.shape}."
        )
    if y.dtype.kind == "f":
        if not np.isfinite(y).all() or (y != np.floor(y)).any():
            raise ValueError(
                "Unknown label type: masks must hold integers or strings, got floating point "
                "numbers that are no integers (or NaN, or infinity)."
            )
        y = y.astype(np.int64)
    elif y.dtype.kind not in "biuUSO":
        raise ValueError(f"Unknown label type: masks must hold integers or strings, got {y.dtype}.")
    return y


def mask_classes(y, ignore_index):
    """The sorted classes of masks, without the label that means "no label"."""
    if y.dtype.kind in "bu" or (y.dtype.kind == "i" and y.min() >= 0 and y.max() < 1 << 16):
        classes = np.flatnonzero(np.bincount(y.ravel())).astype(y.dtype)  # no sort of every pixel
    else:
        classes = np.unique(y)
    if ignore_index is not None:
        classes = classes[classes != ignore_index]
    if not len(classes):
        raise ValueError(f"y holds no labelled pixel: every one is ignore_index={ignore_index!r}.")
    return classes


def _find(y, classes, ignore_index):
    """Class indices, -1 for the label that means "no label", and what is neither."""
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1).astype(np.int16)
    unknown = classes[codes] != y
    if ignore_index is not None:
        ignored = y == ignore_index
        codes[ignored] = -1
        unknown &= ~ignored
    return codes, unknown


def encode_masks(y, classes, ignore_index):
    """Class indices as int16, -1 where the pixel has no label."""
    if y.dtype in (np.uint8, np.uint16):  # few enough values for a table of them all
        values = np.arange(np.iinfo(y.dtype).max + 1, dtype=y.dtype)
        codes, unknown = (table[y] for table in _find(values, classes, ignore_index))
    else:
        codes, unknown = _find(y, classes, ignore_index)
    if unknown.any():
        strange = np.unique(y[unknown])[:5].tolist()
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has "
            f"{strange} besides. If they stand for pixels without a label, name one label for "
            "them as ignore_index."
        )
    return codes
