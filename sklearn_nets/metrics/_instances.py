"""Metrics of instances: one number per object."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from .._utils.array_api import to_numpy
from .._utils.validation import is_ragged, validate_weight


def instance_average_precision_score(y_true, y_pred, *, iou_threshold=0.5, sample_weight=None):
    """Share of objects that are found as one, TP / (TP + FP + FN), over all images.

    A predicted object is a hit (TP) if it overlaps a true one by an intersection over union (IoU)
    of at least `iou_threshold`; pairs are chosen so that hits are as many as possible.

    Parameters
    ----------
    y_true, y_pred : array-like or torch.Tensor of shape (n_samples, height, width)
        0 for the background, every object of an image its own number; also lists of masks of
        several sizes.
    iou_threshold : float, default=0.5
        Least IoU of a hit.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the images.

    Returns
    -------
    float
        Between 0 and 1; NaN where neither holds an object.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Schmidt et al. (2018), "Cell detection with star-convex polygons", section 3.2.

    Examples
    --------
    >>> from sklearn_nets.metrics import instance_average_precision_score
    >>> instance_average_precision_score([[[1, 1, 0, 2]]], [[[1, 1, 0, 0]]])
    0.5
    """
    y_true, y_pred = _masks(y_true), _masks(y_pred)
    shapes = [[mask.shape for mask in masks] for masks in (y_true, y_pred)]
    if shapes[0] != shapes[1] or any(len(shape) != 2 for shape in shapes[0]):
        raise ValueError(
            "y_true and y_pred must hold numbers of objects, (n_samples, height, width), or lists "
            f"of masks of equal sizes: got {len(y_true)} of shapes {shapes[0][:3]} and "
            f"{len(y_pred)} of shapes {shapes[1][:3]}."
        )
    weight = validate_weight(sample_weight, len(y_true))
    weight = np.ones(len(y_true)) if weight is None else weight
    hits, total = 0.0, 0.0
    for true, found, w in zip(y_true, y_pred, weight):
        iou = _overlaps(true, found)
        right = iou >= iou_threshold
        rows, columns = linear_sum_assignment(-right.astype(float))
        n_hits = right[rows, columns].sum()
        hits += w * n_hits
        total += w * (sum(iou.shape) - n_hits)
    return float(hits / total) if total else float("nan")


def _masks(y) -> list[np.ndarray]:
    """One array for each image, of several sizes where y is a list of them."""
    return [np.asarray(to_numpy(mask)) for mask in (y if is_ragged(y) else to_numpy(y))]


def _overlaps(true, found):
    """IoU of every true with every predicted object, (n_true, n_found)."""
    true_ids, true = np.unique(true, return_inverse=True)
    found_ids, found = np.unique(found, return_inverse=True)
    pairs = np.bincount(
        true.ravel() * len(found_ids) + found.ravel(), minlength=len(true_ids) * len(found_ids)
    ).reshape(len(true_ids), len(found_ids))
    union = pairs.sum(1, keepdims=True) + pairs.sum(0) - pairs
    return (pairs / union)[np.ix_(true_ids != 0, found_ids != 0)]
