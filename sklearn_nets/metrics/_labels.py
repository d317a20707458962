"""Metrics of labels and masks, each derived from one confusion matrix."""

from __future__ import annotations

import numpy as np

from .._utils.array_api import to_numpy
from .._utils.validation import is_ragged, validate_weight

__all__ = [
    "class_scores",
    "confusion_matrix",
    "dice_score",
    "macro_precision_score",
    "macro_recall_score",
    "mean_iou_score",
    "pixel_accuracy_score",
]


def confusion_matrix(
    y_true, y_pred, *, labels=None, sample_weight=None, normalize=None, ignore_index=None
):
    """Count pairs of true and predicted labels, of samples or of pixels.

    Of labels of samples it is :func:`sklearn.metrics.confusion_matrix`.

    Parameters
    ----------
    y_true, y_pred : array-like or torch.Tensor of equal shape
        Labels, shape (n_samples,), or masks, shape (n_samples, height, width); also lists of masks
        of several sizes.
    labels : array-like of shape (n_classes,), default=None
        The classes of rows and columns, in this order, by default all that occur, sorted; pairs
        with another are left out.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of every entry of a sample.
    normalize : {'true', 'pred', 'all'}, default=None
        Divide by the sums of the rows (true classes), of the columns, or of all; 0/0 is 0.
    ignore_index : label, default=None
        Entries of `y_true` with this label are left out.

    Returns
    -------
    ndarray of shape (n_classes, n_classes)
        True classes in rows, predicted classes in columns.

    Raises
    ------
    ValueError
        If the shapes differ, nothing is left to judge, no true label is among `labels`, `normalize`
        is another, or weights are not one number for each sample, not negative, not all of them
        zero.

    Examples
    --------
    >>> from sklearn_nets.metrics import confusion_matrix
    >>> confusion_matrix([[[0, 0], [1, 1]]], [[[0, 1], [1, 1]]])
    array([[1, 1],
           [0, 2]])
    """
    if normalize not in (None, "true", "pred", "all"):
        raise ValueError(f"normalize must be 'true', 'pred', 'all' or None, got {normalize!r}.")
    counts, classes = count_pairs(
        y_true, y_pred, ignore_index=ignore_index, sample_weight=sample_weight
    )
    if labels is not None:
        labels = np.asarray(labels)
        at = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        at = np.where(classes[at] == labels, at, len(classes))  # of what does not occur: zeros
        counts = np.pad(counts, (0, 1))
        if not counts[at].any():
            raise ValueError(f"No label of y_true is among labels={labels.tolist()}.")
        counts = counts[np.ix_(at, at)]
    if normalize is None:
        return counts
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    total = counts.sum(axis=axis, keepdims=True)
    return np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)


def count_pairs(y_true, y_pred, *, classes=None, ignore_index=None, sample_weight=None):
    """The confusion matrix, and its classes: those that occur, or `classes`, sorted, and no other.

    Parameters are those of `confusion_matrix`.
    """
    if is_ragged(y_true) or is_ragged(y_pred):
        return _of_several_sizes(y_true, y_pred, classes, ignore_index, sample_weight)
    y_true, y_pred = np.asarray(to_numpy(y_true)), np.asarray(to_numpy(y_pred))
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "y_pred must hold one label for each entry of y_true: expected shape "
            f"{y_true.shape}, got {y_pred.shape}."
        )
    weight = validate_weight(sample_weight, len(y_true))
    if weight is not None:
        weight = np.broadcast_to(weight.reshape(-1, *[1] * (y_true.ndim - 1)), y_true.shape)
    if ignore_index is not None:
        judged = y_true != ignore_index
        y_true, y_pred = y_true[judged], y_pred[judged]
        weight = None if weight is None else weight[judged]
    if not y_true.size or (weight is not None and not weight.any()):
        raise ValueError(
            "There is nothing to judge: y_true is empty, or all of it is ignored or without weight."
        )
    if classes is None:
        classes = np.union1d(y_true, y_pred)
    classes = np.asarray(classes)
    pairs = _codes(y_true, classes) * len(classes) + _codes(y_pred, classes)
    counts = np.bincount(
        pairs, None if weight is None else weight.ravel(), minlength=len(classes) ** 2
    )
    return counts.reshape(len(classes), -1), classes


def _of_several_sizes(y_true, y_pred, classes, ignore_index, sample_weight):
    """The confusion matrix of masks of several sizes."""
    if len(y_true) != len(y_pred):
        raise ValueError(f"Expected {len(y_true)} predicted masks, got {len(y_pred)}.")
    pairs = []
    for true, predicted in zip(y_true, y_pred, strict=True):
        true, predicted = np.asarray(to_numpy(true)), np.asarray(to_numpy(predicted))
        if true.shape != predicted.shape:
            raise ValueError(
                f"y_pred must hold one label for each entry of y_true: expected shape "
                f"{true.shape}, got {predicted.shape}."
            )
        pairs.append((true.ravel(), predicted.ravel()))
    weight = validate_weight(sample_weight, len(y_true))
    if weight is not None:
        weight = np.repeat(weight, [len(true) for true, _ in pairs])
    return count_pairs(
        *map(np.concatenate, zip(*pairs)), classes=classes, ignore_index=ignore_index,
        sample_weight=weight,
    )  # fmt: skip


def _codes(labels, classes):
    labels = labels.ravel()
    codes = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    strange = np.unique(labels[classes[codes] != labels])
    if strange.size:
        raise ValueError(
            f"Found the labels {strange[:5].tolist()}, but the classes are {classes.tolist()}. "
            "Compare classifiers or segmenters; if the labels stand for entries without one, "
            "name them as ignore_index."
        )
    return codes


def class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and intersection over union (IoU) of every class.

    With TP, FP, FN counted for one class against all others: precision = TP / (TP + FP),
    recall = TP / (TP + FN), IoU = TP / (TP + FP + FN); 0/0 counts as 0, as in scikit-learn.

    Parameters
    ----------
    confusion : ndarray of shape (n_classes, n_classes)
        Counts, true classes in rows, predicted classes in columns.

    Returns
    -------
    dict of str to ndarray of shape (n_classes,)
        ``"precision"``, ``"recall"`` and ``"iou"``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_nets.metrics import class_scores
    >>> class_scores(np.array([[3, 1], [0, 0]]))["precision"]
    array([1., 0.])
    """
    hits = np.diagonal(confusion).astype(float)
    predicted, true = confusion.sum(axis=0), confusion.sum(axis=1)
    totals = {"precision": predicted, "recall": true, "iou": predicted + true - hits}
    return {
        name: np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        for name, total in totals.items()
    }


def mean_iou_score(y_true, y_pred, *, ignore_index=None, sample_weight=None) -> float:
    """Mean intersection over union, over the classes that occur in truth or prediction.

    Parameters
    ----------
    y_true, y_pred, ignore_index, sample_weight
        As in `confusion_matrix`.

    Returns
    -------
    float
        Between 0 and 1, the greater the better.

    References
    ----------
    Everingham et al. (2010), "The PASCAL Visual Object Classes (VOC) Challenge", section 4.4.

    Examples
    --------
    >>> from sklearn_nets.metrics import mean_iou_score
    >>> mean_iou_score([[[0, 0], [1, 1]]], [[[0, 1], [1, 1]]])
    0.5833333333333333
    """
    return float(_of_classes("iou", y_true, y_pred, ignore_index, sample_weight).mean())


def pixel_accuracy_score(y_true, y_pred, *, ignore_index=None, sample_weight=None) -> float:
    """Share of pixels with the right label.

    Parameters
    ----------
    y_true, y_pred, ignore_index, sample_weight
        As in `confusion_matrix`.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> from sklearn_nets.metrics import pixel_accuracy_score
    >>> pixel_accuracy_score([[[0, 0], [1, 1]]], [[[0, 1], [1, 1]]])
    0.75
    """
    confusion = confusion_matrix(
        y_true, y_pred, ignore_index=ignore_index, sample_weight=sample_weight
    )
    return float(np.trace(confusion) / confusion.sum())


def dice_score(y_true, y_pred, *, ignore_index=None, sample_weight=None) -> float:
    """Mean Dice coefficient 2 TP / (2 TP + FP + FN), over the classes that occur.

    It is the F1 score of a class, and orders masks as its IoU does, 2 IoU / (1 + IoU).

    Parameters
    ----------
    y_true, y_pred, ignore_index, sample_weight
        As in `confusion_matrix`.

    Returns
    -------
    float
        Between 0 and 1, the greater the better.

    References
    ----------
    Dice (1945), "Measures of the amount of ecologic association between species".

    Examples
    --------
    >>> from sklearn_nets.metrics import dice_score
    >>> dice_score([[[0, 0], [1, 1]]], [[[0, 1], [1, 1]]])
    0.7333333333333334
    """
    iou = _of_classes("iou", y_true, y_pred, ignore_index, sample_weight)
    return float((2 * iou / (1 + iou)).mean())


def macro_precision_score(y_true, y_pred, *, ignore_index=None, sample_weight=None) -> float:
    """Mean precision TP / (TP + FP) over the classes that occur, of labels or of pixels.

    Parameters
    ----------
    y_true, y_pred, ignore_index, sample_weight
        As in `confusion_matrix`.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> from sklearn_nets.metrics import macro_precision_score
    >>> macro_precision_score([[[0, 0], [1, 1]]], [[[0, 1], [1, 1]]])
    0.8333333333333333
    """
    return float(_of_classes("precision", y_true, y_pred, ignore_index, sample_weight).mean())


def macro_recall_score(y_true, y_pred, *, ignore_index=None, sample_weight=None) -> float:
    """Mean recall TP / (TP + FN) over the classes that occur, of labels or of pixels.

    Parameters
    ----------
    y_true, y_pred, ignore_index, sample_weight
        As in `confusion_matrix`.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> from sklearn_nets.metrics import macro_recall_score
    >>> macro_recall_score([[[0, 0], [1, 1]]], [[[0, 1], [1, 1]]])
    0.75
    """
    return float(_of_classes("recall", y_true, y_pred, ignore_index, sample_weight).mean())


def _of_classes(score, y_true, y_pred, ignore_index, sample_weight):
    confusion = confusion_matrix(
        y_true, y_pred, ignore_index=ignore_index, sample_weight=sample_weight
    )
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return class_scores(confusion)[score][occurs]
