"""Metrics of labels, masks, boxes and instances."""

from ._boxes import box_scores, map_50_scorer, map_scorer, mean_average_precision_score
from ._instances import instance_average_precision_score
from ._labels import (
    class_scores,
    confusion_matrix,
    dice_score,
    macro_precision_score,
    macro_recall_score,
    mean_iou_score,
    pixel_accuracy_score,
)
from ._scorers import get_scorer

__all__ = [
    "box_scores",
    "class_scores",
    "confusion_matrix",
    "dice_score",
    "get_scorer",
    "instance_average_precision_score",
    "macro_precision_score",
    "macro_recall_score",
    "map_50_scorer",
    "map_scorer",
    "mean_average_precision_score",
    "mean_iou_score",
    "pixel_accuracy_score",
]
