"""Boxes: what is in an image and where, of any integers or strings, and the task of finding it."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch

from .._training.loader import gather_some
from .._utils.array_api import convert_like, decode_labels, is_tensor, to_numpy
from .._utils.validation import check_target_given
from ..metrics._boxes import frame_to_boxes, mean_average_precision_score
from ..modules.box_loss import DenseBoxLoss, ModuleLoss
from ..modules.boxes import NO_OBJECT
from ..modules.detector import decode_points
from .images import to_channels_first
from .tasks import Task

EXPECTED = (
    "y must hold one dict for each image, {'boxes': (k, 4) x0 y0 x1 y1 in pixels, 'labels': (k,)}, "
    "or be a DataFrame with the columns image, x0, y0, x1, y1, label"
)
ONE_TYPE = "Labels must be of one type, integers or strings"


class ImageBoxes(NamedTuple):
    """The objects of one image, checked.

    Attributes
    ----------
    boxes : ndarray of shape (k, 4), float64
        x0, y0, x1, y1 in pixels.
    labels : ndarray of shape (k,)
    size : (int, int)
        Height and width of the image.
    """

    boxes: np.ndarray
    labels: np.ndarray
    size: tuple[int, int]


def validate_boxes(estimator, y, sizes) -> list[ImageBoxes]:
    """Check that y says what is in each image.

    Parameters
    ----------
    estimator : estimator
        Named in errors.
    y : list of dicts, or DataFrame
    sizes : sequence of (int, int)
        Height and width of each image.

    Raises
    ------
    ValueError
        Names the image and the row of the box that does not fit.
    """
    check_target_given(estimator, y)
    if hasattr(y, "columns"):
        y = frame_to_boxes(y, len(sizes))
    if not hasattr(y, "__len__") or isinstance(y, str | dict) or is_tensor(y):
        raise ValueError(f"{EXPECTED}; got {type(y).__name__}.")
    if len(y) != len(sizes):
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{len(sizes)}, {len(y)}]"
        )
    images = [_validate_image(i, image, size) for i, (image, size) in enumerate(zip(y, sizes))]
    kinds = {image.labels.dtype.kind for image in images if len(image.labels)}
    if "U" in kinds and len(kinds) > 1:
        raise ValueError(f"{ONE_TYPE}; got both.")
    highest = max((image.boxes.max(initial=0) for image in images), default=0)
    if 0 < highest <= 1 < min(map(min, sizes)):
        warnings.warn(
            "All boxes lie between 0 and 1, which is the first pixel of each image. If they are "
            "shares of width and height, as in YOLO's files, multiply them: boxes are x0, y0, x1, "
            "y1 in pixels.",
            stacklevel=6,
        )
    return images


def _validate_image(i, image, size) -> ImageBoxes:
    if not hasattr(image, "keys"):
        raise ValueError(f"{EXPECTED}; y[{i}] is a {type(image).__name__}.")
    for name, other in (("boxes", "labels"), ("labels", "boxes")):
        if name not in image:
            have = f"has {other} without {name}" if other in image else f"has no {name}"
            raise ValueError(f"{EXPECTED}; image {i} {have}.")
    boxes, labels = (to_numpy(image[name]) for name in ("boxes", "labels"))
    try:
        boxes = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Image {i} has boxes that are no rows of four numbers: {error}") from None
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"Image {i} has boxes of shape {boxes.shape}, expected (k, 4).")
    given, labels = labels, np.asarray(labels)
    if labels.dtype.kind == "U":  # as numpy makes of integers beside strings, too
        labels = np.asarray(given, dtype=object)
    if labels.shape != (len(boxes),):
        raise ValueError(
            f"Image {i} has {len(boxes)} box(es) and labels of shape {labels.shape}, expected "
            f"({len(boxes)},)."
        )
    _check_corners(i, boxes, size)
    return ImageBoxes(boxes, _validate_labels(i, labels), size)


def _check_corners(i, boxes, size) -> None:
    height, width = size
    x0, y0, x1, y1 = boxes.T
    for bad, what in (
        (~np.isfinite(boxes).all(1), "NaN or infinity"),
        (x1 <= x0, "x1 <= x0"),
        (y1 <= y0, "y1 <= y0"),
        (
            (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height),
            f"a corner outside of the image of height {height} and width {width}",
        ),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"Image {i}, row {row}: the box {boxes[row].tolist()} has {what}. Boxes are x0, "
                "y0, x1, y1 in pixels, 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height; those "
                "given as x, y, width, height are converted by torchvision.ops.box_convert."
            )


def _validate_labels(i, labels):
    if not len(labels):
        return labels
    if labels.dtype.kind == "O":
        if len({isinstance(v, str) for v in labels}) > 1:
            raise ValueError(f"{ONE_TYPE}; image {i} has both.")
        labels = np.array([str(v) if isinstance(v, str) else v for v in labels])
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ValueError(f"Image {i} has labels that are NaN or infinity.")
        whole = (labels == np.floor(labels)) & (np.abs(labels) < 2.0**63)
        labels = labels.astype(np.int64) if whole.all() else labels
    if labels.dtype.kind not in "biuU":
        raise ValueError(
            f"Unknown label type: image {i} has labels of type {labels.dtype}, expected integers "
            "or strings."
        )
    return labels


def box_classes(y: list[ImageBoxes]) -> np.ndarray:
    """The sorted labels of all boxes."""
    labels = [image.labels for image in y if len(image.labels)]
    if not labels:
        raise ValueError("y holds no box in any image: there is nothing to learn to find.")
    return np.unique(np.concatenate(labels))


def encode_boxes(y: list[ImageBoxes], classes: np.ndarray) -> np.ndarray:
    """Rows x0, y0, x1, y1, class index; class -1 where an image has fewer boxes than others.

    The last row of every image is no object: it holds the size of the image, (0, 0, width, height).

    Returns
    -------
    ndarray of shape (n_samples, k, 5), float64
    """
    rows = max(len(image.boxes) for image in y) + 1
    target = np.zeros((len(y), rows, 5))
    target[..., 4] = NO_OBJECT
    for i, (row, image) in enumerate(zip(target, y)):
        n = len(image.boxes)
        row[:n, :4] = image.boxes
        row[-1, 2:4] = image.size[::-1]
        if not n:
            continue
        codes = np.minimum(np.searchsorted(classes, image.labels), len(classes) - 1)
        unknown = classes[codes] != image.labels
        if unknown.any():
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. Image {i} "
                f"has {np.unique(image.labels[unknown]).tolist()} besides."
            )
        row[:n, 4] = codes
    return target


def clip_to_image(found: dict, size) -> dict:
    """Boxes cut at the borders of an image; those whose centers lie outside of it are left out."""
    height, width = size
    boxes = found["boxes"]
    center = boxes.reshape(-1, 2, 2).mean(1)
    inside = ((center >= 0) & (center < (width, height))).all(1)
    boxes = np.clip(boxes[inside], 0, np.tile([width, height], 2))
    return {"boxes": boxes, **{name: found[name][inside] for name in ("labels", "scores")}}


class Limits(NamedTuple):
    """Which of the boxes that a net finds in an image are predicted.

    Attributes
    ----------
    n_boxes : int
        So many at most.
    score_threshold : float
        Least score of a box.
    nms_threshold : float
        IoU above which the lower of two boxes of a class is left out.
    """

    n_boxes: int
    score_threshold: float
    nms_threshold: float


class Detection(Task):
    """What is in an image and where.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    stride : int or None
        Pixels between the points of a dense detector's maps; None for modules that know their own
        loss and decode their own outputs.
    limits : Limits
        Of the boxes that are predicted.
    """

    class_weight = None

    def __init__(self, classes, stride, limits):
        self.classes, self.n_outputs = classes, len(classes)
        self.stride, self.limits = stride, limits

    def encode(self, y):
        return encode_boxes(y, self.classes)

    def make_loss(self):
        if self.stride is None:
            return ModuleLoss()
        weight = self.class_weight
        return DenseBoxLoss(self.stride, None if weight is None else torch.from_numpy(weight))

    def predict(self, z, limits=None):
        """Boxes, class index and score of raw outputs, (n, n_boxes, 6); score 0 where is no box."""
        n_boxes, *thresholds = limits or self.limits
        if self.stride is None:
            found = z[:, :n_boxes]  # the best first
        else:
            found = decode_points(z, self.stride, n_boxes)
        return suppress(found, *thresholds)

    def decode(self, prediction, like):
        """Boxes of images of one size, as large as `like`'s."""
        size = tuple(to_channels_first(like).shape[2:])
        return decode_boxes(prediction, self.classes, size, like)

    def score(self, y, prediction, sample_weight=None):
        return mean_average_precision_score(
            y, prediction, iou_threshold=0.5, sample_weight=sample_weight
        )

    def score_encoded(self, target, prediction, sample_weight=None):
        true = [{"boxes": t[t[:, 4] >= 0, :4], "labels": t[t[:, 4] >= 0, 4]} for t in target]
        found = [
            clip_to_image(split_row(row), tuple(t[-1, 3:1:-1]))
            for t, row in zip(target, prediction.astype(np.float64))
        ]
        return self.score(true, found, sample_weight)

    def check_eval_target(self, target):
        if (target[..., 4] < 0).all():
            raise ValueError(
                "The validation set holds no box. Pass X_val and y_val with boxes, or increase "
                "validation_fraction."
            )

    def check_same_classes(self, y):
        classes = box_classes(y)
        if set(classes) - set(self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes}, `y` has {classes}"
            )


def suppress(found: torch.Tensor, score_threshold: float, nms_threshold: float) -> torch.Tensor:
    """Set the score to 0 of boxes that score too low, or overlap a better one of their class."""
    from torchvision.ops import batched_nms

    scores = torch.where(found[..., 5] >= score_threshold, found[..., 5], 0.0)
    best = torch.zeros_like(scores)
    for boxes, score, keep in zip(found, scores, best):
        rows = batched_nms(boxes[:, :4].float(), score.float(), boxes[:, 4].long(), nms_threshold)
        keep[rows] = score[rows]
    return torch.cat([found[..., :5], best[..., None]], dim=2)


def split_row(row: np.ndarray) -> dict:
    """The boxes of one image of encoded predictions, (n_boxes, 6), the best first."""
    row = row[row[:, 5] > 0]
    row = row[np.argsort(-row[:, 5], kind="stable")]
    return {"boxes": row[:, :4], "labels": row[:, 4].astype(int), "scores": row[:, 5]}


def decode_boxes(prediction: torch.Tensor, classes, size, like) -> list[dict]:
    """Encoded predictions of images of one size in the user's terms."""
    answer = []
    for row in to_numpy(prediction):
        found = clip_to_image(split_row(row), size)
        codes = torch.from_numpy(found["labels"])
        numbers = {n: convert_like(torch.from_numpy(found[n]), like) for n in ("boxes", "scores")}
        answer.append({**numbers, "labels": decode_labels(classes, codes, like)})
    return answer


def typical_side(y: list[ImageBoxes]) -> tuple[float, float]:
    """Median side of all boxes, and of the class of the smallest ones, in pixels.

    The side of a box is the square root of its area.
    """
    boxes = np.concatenate([image.boxes for image in y])
    if not len(boxes):
        return 16.0, 16.0
    labels = np.concatenate([image.labels for image in y if len(image.labels)])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    by_class = [np.median(sides[labels == label]) for label in np.unique(labels)]
    return float(np.median(sides)), float(min(by_class))


def object_crops(source, size: int = 16, n_images: int = 1000):
    """What the boxes show, (n_boxes, channels, size, size), and their class indices.

    Of at most `n_images` images of training data that have boxes.
    """
    from torchvision.ops import roi_align

    X, y, _ = gather_some(source, n_images, (source.y[..., 4] >= 0).any(1))
    image, row = torch.nonzero(y[..., 4] >= 0, as_tuple=True)
    boxes = y[image, row]
    X = X if X.is_floating_point() else X.float()
    where = torch.cat([image[:, None].to(X.dtype), boxes[:, :4].to(X.dtype)], dim=1)
    return roi_align(X, where, size, aligned=True), boxes[:, 4].long()
