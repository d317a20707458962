"""`sklearn.metrics`, and metrics of masks, boxes and instances."""

from .._utils.sklearn_compat import mirror
from ._boxes import box_scores, mean_average_precision_score
from ._boxes import map_50_scorer as map_50_scorer
from ._boxes import map_scorer as map_scorer
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

__getattr__, __dir__, __all__ = mirror(
    "metrics",
    [
        box_scores,
        class_scores,
        confusion_matrix,
        dice_score,
        get_scorer,
        instance_average_precision_score,
        macro_precision_score,
        macro_recall_score,
        mean_average_precision_score,
        mean_iou_score,
        pixel_accuracy_score,
    ],
    instances=["map_50_scorer", "map_scorer"],
)
