"""One label for each pixel."""

from __future__ import annotations

import numpy as np

from ..._utils.validation import check_ignore_index
from .._metrics import SumMetric
from .._pictures import mask_overlays
from ._base import class_frame, plain_splitter
from ._labels import LabelProblem, class_columns, class_counts, split_counts


class Segmentation(LabelProblem):
    """One label for each pixel; the pixels of an image are no independent samples."""

    name = "segmentation"
    default_metric = "mean_iou"
    default_shown = ("pixel_accuracy", "mean_iou", "macro_precision", "macro_recall")
    unit, counted = "pixels", "Percent of the pixels of a class"
    unit_of_cases = "images"
    class_scores = ("precision", "recall", "f1", "iou")

    def __init__(self, y, ignore_index=None, scoring=None):
        y = np.asarray(y)
        if y.ndim != 3 or y.dtype.kind == "f":
            raise ValueError(
                "y must hold integer or string masks of shape (n_samples, height, width), got "
                f"shape {y.shape} of dtype {y.dtype}."
            )
        check_ignore_index(y, ignore_index)
        super().__init__(y, ignore_index, scoring)

    @classmethod
    def recognizes(cls, y, estimators):
        y = np.asarray(y)
        return y.ndim == 3 and y.dtype.kind != "f"

    def make_metrics(self):
        return [
            SumMetric("pixel_accuracy", of_sums=self._hit_rate()),
            SumMetric("mean_iou", of_sums=self._average("iou", "macro")),
            SumMetric("dice", of_sums=self._average("f1", "macro")),
            SumMetric("macro_precision", of_sums=self._average("precision", "macro")),
            SumMetric("macro_recall", of_sums=self._average("recall", "macro")),
        ]

    def splitter(self, n_splits, random_state, n_repeats=1, grouped=False):
        return plain_splitter(n_splits, random_state, n_repeats, grouped)

    def describe(self):
        n, height, width = self.y.shape
        return f"{n:,} masks of {height} x {width} pixels, {len(self.classes)} classes"

    def sums(self, evidence):
        return class_counts(self.confusion(evidence)).ravel()

    def cases(self, evidence):
        """Hits, predicted and true pixels of every class, image by image."""
        y, predicted = evidence.y, evidence.answer.predicted
        n, k = len(y), len(self.classes)
        judged = np.ones(y.shape, bool) if self.ignore_index is None else y != self.ignore_index
        image = np.broadcast_to(np.arange(n)[:, None, None], y.shape)[judged] * k
        true, predicted = (np.searchsorted(self.classes, v[judged]) for v in (y, predicted))
        counted = [(image + true)[true == predicted], image + predicted, image + true]
        return np.hstack([np.bincount(c, minlength=n * k).reshape(n, k) for c in counted])

    def class_table(self, evidence, n_repeats, confidence):
        k, cases = len(self.classes), np.concatenate([e.cases for e in evidence])
        columns = class_columns(cases, k, self.class_scores, n_repeats, confidence)
        return class_frame(self.classes, columns, split_counts(cases.sum(axis=0), k)[2])

    def errors(self, y, predicted):
        """The share of wrong pixels."""
        judged = np.ones(y.shape, bool) if self.ignore_index is None else y != self.ignore_index
        wrong = (predicted != y) & judged
        return wrong.sum(axis=(1, 2)) / np.maximum(judged.sum(axis=(1, 2)), 1)

    def cell_text(self, count, share):
        return "<1" if share < 0.005 else f"{100 * share:.0f}"

    def pictures(self, comparison, images):
        return {"masks": mask_overlays(comparison, images)}
