"""One label for each sample."""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.base import is_regressor
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.multiclass import type_of_target

from ..._utils.array_api import to_numpy
from .._metrics import LOSS, AveragePrecision, HitRate, RocAuc, SumMetric
from .._pictures import misclassified
from .._statistics import wilson_interval
from ._base import class_frame, interval_columns
from ._labels import LabelProblem, class_counts, class_ratio, split_counts


def mean_of_column(sums, *, column: int, n_classes: int):
    """A sum over samples, over their number."""
    _, _, true = split_counts(sums, n_classes)
    return sums[..., column] / true.sum(axis=-1)


class Classification(LabelProblem):
    """One label for each sample."""

    name = "classification"
    one_per_sample = True
    estimator_type = "classifier"
    default_metric = "accuracy"
    default_shown = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    unit, counted = "samples", "Counts of samples"
    plots = (
        "precision_recall", "calibration", "loss", "score", "learning_curve", "cost"
    )  # fmt: skip

    @classmethod
    def recognizes(cls, y, estimators):
        y = np.asarray(y)
        if y.ndim != 1 or type_of_target(y) not in ("binary", "multiclass"):
            return False
        # Whole numbers may be amounts: then it takes a regressor to mean them so.
        return not (y.dtype.kind in "iuf" and all(map(is_regressor, estimators)))

    def __init__(self, y, ignore_index=None, scoring=None):
        if ignore_index is not None:
            raise ValueError("ignore_index is for masks, and y holds one label per sample.")
        super().__init__(y, None, scoring)

    def make_metrics(self):
        average = self._average
        return [
            HitRate("accuracy", of_sums=self._hit_rate()),
            SumMetric("balanced_accuracy", of_sums=average("recall", "true")),
            SumMetric("macro_precision", of_sums=average("precision", "macro")),
            SumMetric("macro_recall", of_sums=average("recall", "macro")),
            SumMetric("macro_f1", of_sums=average("f1", "macro")),
            SumMetric("weighted_precision", of_sums=average("precision", "weighted")),
            SumMetric("weighted_recall", of_sums=average("recall", "weighted")),
            SumMetric("weighted_f1", of_sums=average("f1", "weighted")),
            SumMetric("log_loss", False, LOSS, of_sums=self._mean_of(-2)),
            SumMetric("brier_score", False, LOSS, of_sums=self._mean_of(-1)),
            RocAuc("roc_auc"),
            AveragePrecision("average_precision"),
        ]

    def _mean_of(self, column):
        return partial(mean_of_column, column=column, n_classes=len(self.classes))

    def splitter(self, n_splits, random_state, n_repeats=1, grouped=False):
        if grouped:
            return StratifiedGroupKFold(n_splits, shuffle=True, random_state=random_state)
        if n_repeats > 1:
            return RepeatedStratifiedKFold(
                n_splits=n_splits, n_repeats=n_repeats, random_state=random_state
            )
        return StratifiedKFold(n_splits, shuffle=True, random_state=random_state)

    def describe(self):
        return f"{len(self.y):,} samples, {len(self.classes)} classes"

    def read_scores(self, model, X):
        """Probabilities if there are any, else decision values, of the classes of the data."""
        for method, name in [
            ("predict_proba", "probabilities"),
            ("decision_function", "decision_values"),
        ]:
            if hasattr(model, method) and hasattr(model, "classes_"):
                values = np.asarray(to_numpy(getattr(model, method)(X)), dtype=float)
                seen = np.asarray(model.classes_)
                if values.ndim == 1:
                    values = np.stack([-values, values], axis=1)
                if values.ndim != 2 or values.shape[1] != len(seen):
                    continue  # one-against-one votes, several outputs
                # A class that was not in the training fold has no probability, and ranks last.
                rest = 0.0 if name == "probabilities" else values.min() - 1
                columns = np.full((len(values), len(self.classes)), rest)
                columns[:, np.searchsorted(self.classes, seen)] = values
                return {name: columns}
        return {}

    def sums(self, evidence):
        # From the confusion matrix: no indicator of every sample and class is needed.
        counts = class_counts(self.confusion(evidence))
        return np.concatenate([counts.ravel(), self._losses(evidence).sum(axis=0)])

    def cases(self, evidence):
        true, predicted = (
            np.searchsorted(self.classes, y) for y in (evidence.y, evidence.answer.predicted)
        )
        one_hot = np.eye(len(self.classes))
        hits = one_hot[true] * (true == predicted)[:, None]
        return np.hstack([hits, one_hot[predicted], one_hot[true], self._losses(evidence)])

    def _losses(self, evidence):
        """Log loss and Brier score of every sample, as scikit-learn computes them."""
        p = evidence.answer.probabilities
        if p is None:
            return np.full((len(evidence.y), 2), np.nan)
        true = np.searchsorted(self.classes, evidence.y)
        if p.shape[1] == 2:  # scorers hand on the second column only
            p = np.stack([1 - p[:, 1], p[:, 1]], axis=1)
        p = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-300)
        eps = np.finfo(p.dtype).eps
        log_loss = -np.log(np.clip(p[np.arange(len(p)), true], eps, 1 - eps))
        brier = np.sum((p - np.eye(p.shape[1])[true]) ** 2, axis=1)
        return np.stack([log_loss, brier / 2 if len(self.classes) <= 2 else brier], axis=1)

    def errors(self, y, predicted):
        return (predicted != y).astype(float)

    def constant_answer(self, y):
        labels, counts = np.unique(y, return_counts=True)
        return labels[counts.argmax()], "always answering the most frequent class"

    def right(self, evidence):
        return evidence.answer.predicted == evidence.y

    def class_table(self, evidence, n_repeats, confidence):
        confusion = np.sum([self.confusion(e) for e in evidence], axis=0)
        hits, predicted, true = class_counts(confusion)
        columns = {}
        for score, total in [("precision", predicted), ("recall", true)]:
            # A sample that was tested r times is evidence of one sample.
            low, high = wilson_interval(hits / n_repeats, total / n_repeats, confidence)
            columns |= interval_columns(score, class_ratio(hits, predicted, true, score), low, high)
        # F1 is 2 J / (1 + J) of the proportion J = TP / (TP + FP + FN).
        union = (predicted + true - hits) / n_repeats
        low, high = (2 * j / (1 + j) for j in wilson_interval(hits / n_repeats, union, confidence))
        columns |= interval_columns("f1", class_ratio(hits, predicted, true, "f1"), low, high)
        return class_frame(self.classes, columns, true)

    def cell_text(self, count, share):
        return str(count)

    def pictures(self, comparison, images):
        return {"misclassified": misclassified(comparison, images)}
