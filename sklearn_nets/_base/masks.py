"""Masks: one label for every pixel, of any integers or strings, and the task of predicting them."""

from __future__ import annotations

import numpy as np
import torch

from .._utils.array_api import decode_labels, dtype_of, to_numpy
from .._utils.validation import check_ignore_index, check_target_given
from ..metrics import mean_iou_score
from ..modules.losses import PixelLoss
from .tasks import Task


def validate_masks(estimator, y, X):
    """Check that y holds one label for each pixel of X, (n, channels, height, width)."""
    check_target_given(estimator, y)
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
        if np.abs(y).max(initial=0) >= 2.0**63:
            largest = np.abs(y).max()
            raise ValueError(f"Masks hold labels below 2**63, got numbers up to {largest:.3g}.")
        y = y.astype(np.int64)
    elif y.dtype.kind not in "biuUSO":
        raise ValueError(f"Unknown label type: masks must hold integers or strings, got {y.dtype}.")
    if y.dtype.kind == "O" and len({type(label) for label in y.flat}) > 1:
        kinds = sorted({type(label).__name__ for label in y.flat})
        raise ValueError(
            f"Masks must hold labels of one type, integers or strings, got {' and '.join(kinds)}."
        )
    return y


def check_one_mask_each(estimator, images, masks) -> None:
    """Check that a list of masks is as long as one of images."""
    check_target_given(estimator, masks)
    if len(masks) != len(images):
        raise ValueError(
            f"y must hold one mask for each of {len(images)} images, got {len(masks)}."
        )


def mask_classes(y, ignore_index):
    """The sorted classes of masks, without the label that means "no label"."""
    if isinstance(y, list):
        y = np.concatenate([mask.ravel() for mask in y])
    check_ignore_index(y, ignore_index)
    if y.dtype.kind in "bui" and y.size and y.min() >= 0 and y.max() < 1 << 16:
        classes = np.flatnonzero(np.bincount(y.ravel())).astype(y.dtype)  # no sort of every pixel
    else:
        classes = np.unique(y)
    if ignore_index is not None:
        classes = classes[classes != ignore_index]
    if not len(classes):
        raise ValueError(f"y holds no labeled pixel: every one is ignore_index={ignore_index!r}.")
    return classes


def code_dtype(classes):
    """The type of class indices: two bytes wherever they suffice."""
    return np.int16 if len(classes) < 1 << 15 else np.int32


def _find(y, classes, ignore_index):
    """Class indices, -1 for the label that means "no label", and what is neither."""
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1).astype(code_dtype(classes))
    unknown = classes[codes] != y
    if ignore_index is not None:
        ignored = y == ignore_index
        codes[ignored] = -1
        unknown &= ~ignored
    return codes, unknown


def encode_masks(y, classes, ignore_index):
    """Class indices, -1 where the pixel has no label."""
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


def _pad(masks, fill) -> np.ndarray:
    """One array of encoded masks of several sizes; what is added holds `fill`."""
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (0, 1))
    out = np.full((len(masks), height, width), fill, dtype=masks[0].dtype)
    for row, mask in zip(out, masks):
        row[: mask.shape[0], : mask.shape[1]] = mask
    return out


class Segmentation(Task):
    """One label for every pixel.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    ignore_index : label or None
        Of pixels without a label.
    loss : str
        As in `PixelLoss`.

    Attributes
    ----------
    class_weight : ndarray of shape (n_classes,) or None
        Factors of the loss of each class's pixels.
    """

    class_weight = None

    def __init__(self, classes, ignore_index, loss="cross_entropy"):
        self.classes, self.ignore_index, self.loss = classes, ignore_index, loss
        self.n_outputs = len(classes)

    @property
    def target_dtype(self):
        return dtype_of(np.dtype(code_dtype(self.classes)).name)

    def encode(self, y):
        if isinstance(y, list):  # of several sizes: what fills them up has no label
            return _pad([encode_masks(m, self.classes, self.ignore_index) for m in y], -1)
        return encode_masks(y, self.classes, self.ignore_index)

    def make_loss(self):
        weight = self.class_weight
        return PixelLoss(self.loss, None if weight is None else torch.from_numpy(weight))

    def predict(self, z):
        return z.argmax(1).to(self.target_dtype)

    def decode(self, prediction, like):
        return decode_labels(self.classes, prediction, like)

    def probabilities(self, p):
        """One map for each class, of the loss's activation."""
        return p

    def score(self, y, prediction, sample_weight=None):
        return mean_iou_score(
            y, prediction, ignore_index=self.ignore_index, sample_weight=sample_weight
        )

    def check_eval_target(self, target):
        if (target < 0).all():
            raise ValueError(
                f"The validation set holds no labeled pixel: every one is ignore_index="
                f"{self.ignore_index!r}. Pass X_val and y_val with labels, or increase "
                "validation_fraction."
            )

    def score_encoded(self, target, prediction, sample_weight=None):
        return mean_iou_score(target, prediction, ignore_index=-1, sample_weight=sample_weight)

    def check_same_classes(self, y):
        classes = mask_classes(y, self.ignore_index)
        if set(classes) - set(self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes}, `y` has {classes}"
            )
