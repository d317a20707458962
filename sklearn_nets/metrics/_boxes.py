"""Metrics of boxes: COCO's mean average precision, and precision and recall of every class.

A prediction is a hit if it overlaps a true box of its class and image enough, each true box being
hit once, by the prediction of the highest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics import make_scorer

from .._utils.array_api import to_numpy
from .._utils.validation import validate_weight

COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10))
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100  # of a class in an image that COCO counts, those of the highest scores


class Matches(NamedTuple):
    """What became of the predictions of one class, ordered by descending score.

    Attributes
    ----------
    scores : ndarray of shape (n_predictions,)
    hits : ndarray of shape (n_thresholds, n_predictions), bool
    images : ndarray of shape (n_predictions,)
        The positions of their images.
    true : ndarray of shape (n_images,)
        The number of true boxes in each image.
    """

    scores: np.ndarray
    hits: np.ndarray
    images: np.ndarray
    true: np.ndarray

    def average_precision(self, weight: np.ndarray) -> float:
        """The mean over thresholds, for weights of the images; NaN without any true box."""
        n_true, own, values = weight @ self.true, weight[self.images], []
        if not n_true:
            return np.nan
        # sums of fractions that differ by rounding are one recall; whole numbers as COCO's own code
        slack = 1 + 1e-12 * bool((weight % 1).any())
        for hits in self.hits:
            hit, miss = np.cumsum(hits * own), np.cumsum(~hits * own)
            precision = hit / np.maximum(hit + miss, np.spacing(1))
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(hit / n_true * slack, RECALLS, side="left")
            values.append(np.append(precision, 0.0)[at].mean())
        return float(np.mean(values))


def mean_average_precision_score(
    y_true,
    y_pred,
    *,
    iou_threshold: float | Sequence[float] = COCO_THRESHOLDS,
    sample_weight=None,
) -> float:
    """COCO's mean average precision (mAP) of predicted boxes.

    The average precision of a class is the mean, over the recalls 0, 0.01, ..., 1, of the best
    precision that is reached at that recall or a greater one when predictions are accepted in the
    order of their scores. It is averaged over IoU thresholds and over the classes that occur in
    `y_true`. Of every class and image the 100 predictions of the highest scores count.

    Parameters
    ----------
    y_true : list of n_samples dicts, or DataFrame
        True boxes: ``"boxes"`` of shape (k, 4), x0 y0 x1 y1 in pixels, and ``"labels"`` of shape
        (k,); or one row for each box with the columns image, x0, y0, x1, y1 and label.
    y_pred : list of n_samples dicts, or DataFrame
        Predicted boxes: the same with ``"scores"`` of shape (k,), or a column score. Corners are
        sorted, so that a box of negative width counts as its mirror image (COCO's code drops it).
    iou_threshold : float or sequence of float, default=(0.5, 0.55, ..., 0.95)
        Least intersection over union (IoU) of a hit; the score is the mean over several.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the images: 2 counts as having the image twice.

    Returns
    -------
    float
        Between 0 and 1. Without any true box it is not defined: NaN.

    Raises
    ------
    ValueError
        If `y_true` and `y_pred` differ in length, or a dict lacks boxes, labels or scores.

    References
    ----------
    Lin et al. (2014), "Microsoft COCO: Common objects in context", and its `COCOeval`.

    Examples
    --------
    >>> from sklearn_nets.metrics import mean_average_precision_score
    >>> true = [{"boxes": [[0, 0, 10, 10]], "labels": ["cell"]}]
    >>> found = [{"boxes": [[0, 0, 10, 8]], "labels": ["cell"], "scores": [0.9]}]
    >>> mean_average_precision_score(true, found, iou_threshold=0.5)
    1.0
    >>> mean_average_precision_score(true, found)  # of ten thresholds it passes seven
    0.7
    """
    thresholds = np.atleast_1d(np.asarray(iou_threshold, dtype=float))
    matches, n_images = match_boxes(y_true, y_pred, thresholds)
    weight = _weight_of_images(sample_weight, n_images)
    scores = [m.average_precision(weight) for m in matches.values()]
    scores = [score for score in scores if not np.isnan(score)]
    return float(np.mean(scores)) if scores else float("nan")


def box_scores(y_true, y_pred, *, iou_threshold=0.5, score_threshold=0.5, sample_weight=None):
    """Precision, recall and average precision of every class of boxes.

    Parameters
    ----------
    y_true, y_pred, sample_weight
        As in `mean_average_precision_score`.
    iou_threshold : float, default=0.5
        Least IoU of a hit.
    score_threshold : float, default=0.5
        Predictions of a lower score are left out of precision and recall.

    Returns
    -------
    dict of str to ndarray of shape (n_classes,)
        ``"classes"``, sorted, of truth and prediction together; ``"precision"``, ``"recall"`` and
        ``"f1"``, where 0/0 counts as 0; ``"average_precision"`` over all scores, NaN for a class
        without true boxes; ``"support"``, the number of true boxes, and ``"n_predicted"``.

    Examples
    --------
    >>> from sklearn_nets.metrics import box_scores
    >>> true = [{"boxes": [[0, 0, 10, 10], [20, 20, 30, 30]], "labels": ["a", "a"]}]
    >>> found = [{"boxes": [[0, 0, 10, 8]], "labels": ["a"], "scores": [0.9]}]
    >>> scores = box_scores(true, found)
    >>> scores["precision"], scores["recall"]
    (array([1.]), array([0.5]))
    """
    matches, n_images = match_boxes(y_true, y_pred, np.array([float(iou_threshold)]))
    weight, rows = _weight_of_images(sample_weight, n_images), []
    for m in matches.values():
        accepted = weight[m.images] * (m.scores >= score_threshold)
        hits, n_predicted = float(accepted @ m.hits[0]), float(accepted.sum())
        n_true = float(weight @ m.true)
        precision = hits / n_predicted if n_predicted else 0.0
        recall = hits / n_true if n_true else 0.0
        f1 = 2 * hits / (n_predicted + n_true) if n_predicted + n_true else 0.0
        rows.append((precision, recall, f1, m.average_precision(weight), n_true, n_predicted))
    names = ("precision", "recall", "f1", "average_precision", "support", "n_predicted")
    columns = np.array(rows, dtype=float).reshape(-1, len(names)).T
    return {"classes": np.array(list(matches)), **dict(zip(names, columns))}


def _weight_of_images(sample_weight, n_images: int) -> np.ndarray:
    weight = validate_weight(sample_weight, n_images)
    return np.ones(n_images) if weight is None else weight


def match_boxes(y_true, y_pred, thresholds) -> tuple[dict, int]:
    """Match predictions to true boxes: the `Matches` of every class, and the number of images."""
    true, found = read_boxes(y_true, len(y_pred)), read_boxes(y_pred, len(y_true), scores=True)
    if len(true) != len(found):
        raise ValueError(
            f"y_true holds the boxes of {len(true)} images, y_pred those of {len(found)}. Pass one "
            "dict of boxes for each image in both."
        )
    labels = [image["labels"] for image in true + found if len(image["labels"])]
    if len({isinstance(label, str) for of_image in labels for label in of_image.tolist()}) > 1:
        raise ValueError("Labels must be of one type, integers or strings; got both.")
    classes = np.unique(np.concatenate(labels)) if labels else np.array([])
    matches = {c: _match_class(true, found, c, thresholds) for c in classes.tolist()}
    return matches, len(true)


def _match_class(true, found, label, thresholds) -> Matches:
    scores, hits, images, n_true = [], [], [], np.zeros(len(true), int)
    for i, (t, f) in enumerate(zip(true, found)):
        boxes = t["boxes"][t["labels"] == label]
        own = f["labels"] == label
        n_true[i] = len(boxes)
        if not own.any():
            continue
        order = np.argsort(-f["scores"][own], kind="stable")[:MAX_DETECTIONS]
        scores.append(f["scores"][own][order])
        hits.append(match_image(boxes, f["boxes"][own][order], thresholds))
        images.append(np.full(len(order), i))
    if not scores:
        return Matches(np.empty(0), np.empty((len(thresholds), 0), bool), np.empty(0, int), n_true)
    scores = np.concatenate(scores)
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate(hits, axis=1)[:, order]
    return Matches(scores[order], hits, np.concatenate(images)[order], n_true)


def match_image(true, found, thresholds) -> np.ndarray:
    """Which predictions hit, (n_thresholds, n_found): each the free true box it covers best.

    Both are boxes of one class in one image; predictions come in descending order of their scores.
    """
    hits = np.zeros((len(thresholds), len(found)), bool)
    if not len(true):
        return hits
    iou = box_iou(found, true)
    for row, threshold in zip(hits, thresholds):
        free = np.ones(len(true), bool)
        for i in np.flatnonzero((iou >= threshold).any(1)):
            candidates = np.where(free, iou[i], -1.0)
            best = len(true) - 1 - candidates[::-1].argmax()  # of equals the last, as in COCOeval
            if candidates[best] >= threshold:
                row[i], free[best] = True, False
    return hits


def hit_boxes(true: dict, found: dict, threshold: float = 0.5) -> np.ndarray:
    """Which predictions of one image hit a true box of their label, as `read_boxes` gives both."""
    hits, labels = np.zeros(len(found["labels"]), bool), found["labels"]
    order = np.argsort(-found["scores"], kind="stable")
    for label in np.unique(labels):
        own = order[labels[order] == label]
        boxes = true["boxes"][true["labels"] == label]
        (hits[own],) = match_image(boxes, found["boxes"][own], [threshold])
    return hits


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of a with every box of b, shape (len(a), len(b))."""
    a, b = a[:, None], b[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.maximum(sides, 0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (a, b)]
    union = areas[0] + areas[1] - both
    return np.divide(both, union, out=np.zeros(both.shape), where=union > 0)


def holds_boxes(y) -> bool:
    """Whether y holds a dict of boxes for each image."""
    return len(y) > 0 and all(hasattr(image, "keys") and "boxes" in image for image in y)


def read_boxes(y, n_samples: int | None = None, scores: bool = False) -> list[dict]:
    """Boxes of every image as float64 arrays with sorted corners.

    Parameters
    ----------
    y : list of dicts, or DataFrame
    n_samples : int, optional
        Images that a frame tells of; by default up to the last that it names.
    scores : bool
        Whether scores are needed.
    """
    if hasattr(y, "columns"):
        y = frame_to_boxes(y, n_samples)
    names = ("boxes", "labels", "scores") if scores else ("boxes", "labels")
    images = []
    for i, image in enumerate(y):
        missing = [name for name in names if not hasattr(image, "keys") or name not in image]
        if missing:
            raise ValueError(
                f"Expected a dict with {', '.join(names)} for every image; number {i} lacks "
                f"{', '.join(missing)}."
            )
        boxes = np.asarray(to_numpy(image["boxes"]), dtype=float).reshape(-1, 4)
        arrays = {name: np.asarray(to_numpy(image[name])).reshape(-1) for name in names[1:]}
        if any(len(a) != len(boxes) for a in arrays.values()):
            lengths = {"boxes": len(boxes), **{name: len(a) for name, a in arrays.items()}}
            raise ValueError(f"Image {i} has different numbers of boxes and labels: {lengths}.")
        corners = np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        images.append({"boxes": corners, **arrays})
    return images


def frame_to_boxes(frame, n_samples: int | None = None) -> list[dict]:
    """One row for each box as a dict of boxes for each image.

    Parameters
    ----------
    frame : DataFrame
        Columns image (position of the image, from 0), x0, y0, x1, y1, label and perhaps score.
    n_samples : int, optional
        Number of images; by default up to the last that has a box.
    """
    needed = ["image", "x0", "y0", "x1", "y1", "label"]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ValueError(
            f"A frame of boxes needs the columns {', '.join(needed)}; {', '.join(missing)} is "
            f"missing. It has {', '.join(map(str, frame.columns))}."
        )
    image = frame["image"].to_numpy()
    if image.dtype.kind not in "biu":
        raise ValueError(
            "The column image must hold positions of images in X, integers from 0, got "
            f"{image.dtype}. Number the images, as frame['image'].map(position) does."
        )
    image = image.astype(np.int64)
    last = image.max(initial=-1)
    n_samples = last + 1 if n_samples is None else n_samples
    bad = np.flatnonzero((image < 0) | (image >= n_samples))
    if len(bad):
        raise ValueError(
            f"The column image must hold positions from 0 to {n_samples - 1}; row {bad[0]} of the "
            f"frame has {image[bad[0]]}."
        )
    corners = [np.asarray(frame[name], dtype=float) for name in ("x0", "y0", "x1", "y1")]
    columns = {"boxes": np.stack(corners, axis=1), "labels": frame["label"].to_numpy()}
    if "score" in frame.columns:
        columns["scores"] = np.asarray(frame["score"], dtype=float)
    order = np.argsort(image, kind="stable")
    cuts = np.searchsorted(image[order], np.arange(1, n_samples))
    parts = {name: np.split(column[order], cuts) for name, column in columns.items()}
    return [{name: part[i] for name, part in parts.items()} for i in range(n_samples)]


def boxes_as_dicts(y, X):
    """A DataFrame of boxes as a dict for each image of X; other targets as they are."""
    if not {"x0", "y0", "x1", "y1"} <= set(getattr(y, "columns", ())):
        return y
    return frame_to_boxes(y, len(X))


def _map_50(y_true, y_pred, sample_weight=None):
    return mean_average_precision_score(
        y_true, y_pred, iou_threshold=0.5, sample_weight=sample_weight
    )


map_scorer = make_scorer(mean_average_precision_score)
map_50_scorer = make_scorer(_map_50)
BOX_SCORERS = {"map": map_scorer, "map_50": map_50_scorer}
