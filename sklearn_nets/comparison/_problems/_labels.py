"""What labels of samples and of pixels share: counts of hits, predictions and truths per class."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import ClassVar

import numpy as np

from ...metrics._labels import count_pairs
from .._bootstrap import bca_interval, bootstrap_sums
from ._base import Problem, interval_columns


def split_counts(sums: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, predicted and true counts of every class, each of shape (..., n_classes)."""
    counts = sums[..., : 3 * n_classes]
    return tuple(np.moveaxis(counts.reshape(*counts.shape[:-1], 3, n_classes), -2, 0))


def class_counts(confusion: np.ndarray) -> np.ndarray:
    """The same counts from a confusion matrix."""
    return np.stack([np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)])


def ratio(a, b):
    """a / b, with 0/0 counted as 0, as in scikit-learn."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) > 0)


def class_ratio(hits, predicted, true, score: str):
    """Precision, recall, F1 or IoU of every class."""
    totals = {
        "precision": (hits, predicted),
        "recall": (hits, true),
        "f1": (2 * hits, predicted + true),
        "iou": (hits, predicted + true - hits),
    }
    return ratio(*totals[score])


def averaged(sums, *, n_classes: int, score: str, average: str):
    """A score averaged over classes.

    ``"macro"``: over the classes that occur in truth or prediction; ``"weighted"``: by their true
    counts; ``"true"``: over the classes that occur in the truth. scikit-learn's conventions.
    """
    hits, predicted, true = split_counts(sums, n_classes)
    values = class_ratio(hits, predicted, true, score)
    weights = {"macro": predicted + true > 0, "weighted": true, "true": true > 0}[average]
    return ratio((values * weights).sum(axis=-1), weights.sum(axis=-1))


def class_columns(cases, n_classes: int, scores, n_repeats: float, confidence: float) -> dict:
    """Columns of scores of every class, with their intervals by the bootstrap over the cases."""
    total, resampled = cases.sum(axis=0), bootstrap_sums(cases)
    if n_repeats > 1:  # an image that was tested r times is evidence of one image
        resampled = total + (resampled - total) * np.sqrt(n_repeats)
    columns = {}
    for score in scores:
        observed, resamples, without_one = (
            class_ratio(*split_counts(sums, n_classes), score)
            for sums in (total, resampled, total - cases)
        )
        intervals = [
            bca_interval(observed[c], resamples[:, c], without_one[:, c], confidence)
            for c in range(n_classes)
        ]
        columns |= interval_columns(score, observed, *np.array(intervals).T)
    return columns


def hit_rate(sums, *, n_classes: int):
    """Accuracy: hits over all."""
    hits, _, true = split_counts(sums, n_classes)
    return ratio(hits.sum(axis=-1), true.sum(axis=-1))


class LabelProblem(Problem):
    """Labels of samples or of pixels: most is read off confusion matrices."""

    unit: ClassVar[str]  # of which a class has so many
    counted: ClassVar[str]  # how the page shows it
    class_scores: ClassVar[tuple[str, ...]] = ("precision", "recall", "f1")

    def __init__(self, y, ignore_index=None, scoring=None):
        y = np.asarray(y)
        classes = np.unique(y)
        self.classes = classes if ignore_index is None else classes[classes != ignore_index]
        super().__init__(y, ignore_index, scoring)

    def _average(self, score: str, average: str):
        return partial(averaged, n_classes=len(self.classes), score=score, average=average)

    def _hit_rate(self):
        return partial(hit_rate, n_classes=len(self.classes))

    def count_classes(self) -> np.ndarray:
        """How often every class occurs in each sample, of shape (n_samples, n_classes)."""
        flat = self.y.reshape(len(self.y), -1)
        return np.stack([np.count_nonzero(flat == c, axis=1) for c in self.classes], axis=1)

    def confusion(self, evidence):
        def count():
            counts, _ = count_pairs(
                evidence.y,
                evidence.answer.predicted,
                classes=self.classes,
                ignore_index=self.ignore_index,
            )
            return counts

        return evidence.cached("confusion", count)

    def judge(self, evidence, names=None):
        self.confusion(evidence)  # refuses wrong shapes and labels that do not exist
        return super().judge(evidence, names)

    @abstractmethod
    def cell_text(self, count, share) -> str:
        """What a cell of a confusion matrix says."""
