"""Problem types: what y is, how predictions of it are judged, split, counted and shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.multiclass import type_of_target

from ..metrics import class_scores, confusion_matrix
from ._pictures import mask_overlays, misclassified


class Problem(ABC):
    """One kind of targets.

    Attributes
    ----------
    main_metric : str
        The metric by which estimators are ranked.
    """

    main_metric: ClassVar[str]

    def __init__(self, y: np.ndarray, ignore_index=None):
        self.y, self.ignore_index = y, ignore_index

    @abstractmethod
    def splitter(self, n_splits: int, random_state):
        """The splitter for a number of folds."""

    @abstractmethod
    def judge(self, y_true, y_pred) -> tuple[dict[str, float], Any]:
        """The metrics of one fold, and what they were computed from."""

    @abstractmethod
    def describe(self) -> str:
        """What is judged, in a few words."""

    @abstractmethod
    def pictures(self, comparison, images: np.ndarray) -> dict:
        """What the page shows of images of the samples: a block of the template and its data."""


class LabelProblem(Problem):
    """What labels of samples and of pixels share: everything is read off confusion matrices."""

    unit: ClassVar[str]  # what a confusion matrix counts
    counted: ClassVar[str]  # how the page shows it
    accuracy: ClassVar[str]
    class_columns: ClassVar[tuple[str, ...]] = ("precision", "recall")

    def __init__(self, y, ignore_index=None):
        super().__init__(y, ignore_index)
        classes = np.unique(y)
        self.classes = classes if ignore_index is None else classes[classes != ignore_index]

    def judge(self, y_true, y_pred):
        """Accuracy and means over the classes that occur in the fold's truth or prediction."""
        confusion = confusion_matrix(
            y_true, y_pred, classes=self.classes, ignore_index=self.ignore_index
        )
        occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
        means = {name: float(v[occurs].mean()) for name, v in class_scores(confusion).items()}
        metrics = {
            self.accuracy: float(np.trace(confusion) / confusion.sum()),
            "mean_iou": means["iou"],
            "macro_precision": means["precision"],
            "macro_recall": means["recall"],
        }
        if "iou" not in self.class_columns:
            del metrics["mean_iou"]
        return metrics, confusion

    def class_table(self, confusion: np.ndarray) -> pd.DataFrame:
        """Scores of every class from a confusion matrix, and its support."""
        scores = class_scores(confusion)
        columns = {name: scores[name] for name in self.class_columns}
        index = pd.Index(self.classes, name="class")
        return pd.DataFrame({**columns, "support": confusion.sum(axis=1)}, index=index)

    @abstractmethod
    def cell_text(self, count, share) -> str:
        """What a cell of a confusion matrix says."""


class Classification(LabelProblem):
    """One label for each sample."""

    main_metric = accuracy = "accuracy"
    unit, counted = "samples", "Counts of samples"

    def splitter(self, n_splits, random_state):
        return StratifiedKFold(n_splits, shuffle=True, random_state=random_state)

    def describe(self):
        return f"{len(self.y):,} samples, {len(self.classes)} classes"

    def cell_text(self, count, share):
        return str(count)

    def pictures(self, comparison, images):
        return {"misclassified": misclassified(comparison, images)}


class Segmentation(LabelProblem):
    """One label for each pixel."""

    main_metric, accuracy = "mean_iou", "pixel_accuracy"
    unit, counted = "pixels", "Percent of the pixels of a class"
    class_columns = ("precision", "recall", "iou")

    def splitter(self, n_splits, random_state):
        return KFold(n_splits, shuffle=True, random_state=random_state)

    def describe(self):
        n, height, width = self.y.shape
        return f"{n:,} masks of {height} x {width} pixels, {len(self.classes)} classes"

    def cell_text(self, count, share):
        return "<1" if share < 0.005 else f"{100 * share:.0f}"

    def pictures(self, comparison, images):
        return {"masks": mask_overlays(comparison, images)}


def choose_problem(y: np.ndarray, ignore_index=None) -> Problem:
    """The problem type of targets: the one place that asks what y is."""
    if y.ndim == 1 and type_of_target(y) in ("binary", "multiclass"):
        if ignore_index is not None:
            raise ValueError("ignore_index is for masks, and y holds one label per sample.")
        return Classification(y)
    if y.ndim == 3 and y.dtype.kind != "f":
        return Segmentation(y, ignore_index)
    raise ValueError(
        "y must hold labels of shape (n_samples,) or integer or string masks of shape "
        f"(n_samples, height, width), got shape {y.shape} of dtype {y.dtype}."
    )
