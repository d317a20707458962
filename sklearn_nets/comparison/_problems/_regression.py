"""One amount for each sample."""

from __future__ import annotations

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.multiclass import type_of_target

from .._metrics import LOSS, SumMetric
from ._base import Problem, plain_splitter


def r2(sums):
    """1 - squared errors over squared deviations from the mean, as `sklearn.metrics.r2_score`.

    Where y is constant, 1 if there is no error, else 0; NaN of a single sample.
    """
    n, _, squared, total, total_squared = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = total_squared - total**2 / n
        constant = ~(spread > 1e-12 * total_squared)  # but for rounding
        found = np.where(constant, np.where(squared > 0, 0.0, 1.0), 1 - squared / spread)
    return np.where(n < 2, np.nan, found)


def mean_absolute_error(sums):
    return sums[..., 1] / sums[..., 0]


def root_mean_squared_error(sums):
    return np.sqrt(sums[..., 2] / sums[..., 0])


class Regression(Problem):
    """One amount for each sample."""

    name = "regression"
    one_per_sample = True
    estimator_type = "regressor"
    default_metric = "r2"
    default_shown = ("r2", "mae", "rmse")
    plots = ("predicted", "loss", "score", "learning_curve", "cost")

    @classmethod
    def recognizes(cls, y, estimators):
        y = np.asarray(y)
        if y.ndim != 1 or y.dtype.kind not in "iuf":
            return False
        if type_of_target(y) != "continuous":
            return all(map(is_regressor, estimators))
        return not estimators or not all(map(is_classifier, estimators))

    def __init__(self, y, ignore_index=None, scoring=None):
        if ignore_index is not None:
            raise ValueError("ignore_index is for masks, and y holds one amount per sample.")
        y = np.asarray(y)
        if y.dtype.kind not in "iuf" or not np.isfinite(y).all():
            raise ValueError(
                "y must hold finite numbers for a regression, got dtype "
                f"{y.dtype} with {np.count_nonzero(y != y)} missing values."
            )
        y = y.astype(np.float64)  # differences of small or unsigned integers would wrap around
        self.center = float(y.mean())
        super().__init__(y, None, scoring)

    def make_metrics(self):
        return [
            SumMetric("r2", bounds=(-np.inf, 1.0), of_sums=r2),
            SumMetric("mae", False, LOSS, of_sums=mean_absolute_error),
            SumMetric("rmse", False, LOSS, of_sums=root_mean_squared_error),
        ]

    def splitter(self, n_splits, random_state, n_repeats=1, grouped=False):
        return plain_splitter(n_splits, random_state, n_repeats, grouped)

    def describe(self):
        low, high = self.y.min(), self.y.max()
        return f"{len(self.y):,} samples, amounts from {low:.4g} to {high:.4g}"

    def read_predictions(self, predicted):
        predicted = super().read_predictions(predicted)
        return predicted.astype(np.float64) if predicted.dtype.kind in "iufb" else predicted

    def judge(self, evidence, names=None):
        predicted = evidence.answer.predicted
        if predicted.shape != evidence.y.shape or predicted.dtype.kind not in "iufb":
            raise ValueError(
                f"predict must give one number per sample: expected shape {evidence.y.shape}, got "
                f"{predicted.shape} of dtype {predicted.dtype}."
            )
        if not np.isfinite(predicted).all():
            n_bad = np.count_nonzero(~np.isfinite(predicted))
            raise ValueError(f"predict must give finite numbers: {n_bad} are NaN or infinite.")
        return super().judge(evidence, names)

    def errors(self, y, predicted):
        return (predicted - y) ** 2.0

    def constant_answer(self, y):
        return y.mean(), "always answering the mean"

    def cases(self, evidence):
        # Centered, so that squares of large amounts with a small spread keep their digits.
        y = evidence.y - self.center
        error = evidence.answer.predicted - evidence.y
        return np.stack([np.ones(len(y)), abs(error), error**2, y, y**2], axis=1)
