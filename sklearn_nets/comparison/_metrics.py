"""Metrics: a score of one test set, its interval, and the difference of two estimators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import get_scorer

from . import _bootstrap, _statistics
from ._statistics import NO_INTERVAL, Difference, Interval, no_interval


@dataclass
class Answer:
    """What a fitted estimator says of a test set.

    Attributes
    ----------
    predicted : ndarray of shape (n_test, ...)
        What ``predict`` returned.
    probabilities, decision_values : ndarray of shape (n_test, n_classes) or None
        Of every class that occurs in the data, in sorted order, if the estimator has them.
    """

    predicted: Any
    probabilities: np.ndarray | None = None
    decision_values: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray | None:
        """By which samples are ranked, class by class."""
        return self.decision_values if self.probabilities is None else self.probabilities


@dataclass
class Evidence:
    """One test set, what an estimator answered, and what is computed of both once for all metrics.

    Attributes
    ----------
    problem : Problem
    y : array of the true targets
    answer : Answer
    """

    problem: Any
    y: Any
    answer: Answer
    _kept: dict = field(default_factory=dict, repr=False)

    def cached(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` computes, once for each key."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @cached_property
    def sums(self) -> np.ndarray:
        """The sums that most metrics are a function of, of shape (d,)."""
        return self.problem.sums(self)

    @cached_property
    def cases(self) -> np.ndarray:
        """What each case adds to the sums, of shape (n_cases, d)."""
        return self.problem.cases(self)

    @cached_property
    def resampled(self) -> np.ndarray:
        """The sums of 2,000 bootstrap resamples, the same for all estimators."""
        return _bootstrap.bootstrap_sums(self.cases)


LOSS = (0.0, np.inf)  # the bounds of losses


@dataclass(frozen=True, eq=False)
class Metric(ABC):
    """A score of one test set.

    Attributes
    ----------
    name : str
    greater_is_better : bool
    bounds : tuple of float
        The least and the greatest value that it can have.
    """

    name: str
    greater_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def in_points(self) -> bool:
        """Whether it lies between 0 and 1, so that differences are told in points (hundredths)."""
        return self.bounds == (0.0, 1.0)

    @abstractmethod
    def score(self, evidence: Evidence) -> float:
        """The score, NaN where the estimator does not give what it takes."""

    def interval(self, evidence: Evidence, confidence: float) -> Interval:
        """The interval of the score on one test set; without a method for it, NaN."""
        return NO_INTERVAL

    def difference(self, first: Evidence, second: Evidence, confidence: float) -> Difference:
        """First minus second on one test set."""
        return no_interval(self.score(first) - self.score(second))


@dataclass(frozen=True, eq=False)
class SumMetric(Metric):
    """A function of sums over the cases; its intervals come from the bootstrap over the cases.

    Attributes
    ----------
    of_sums : callable
        From sums of shape (..., d) to scores of shape (...).
    """

    of_sums: Callable[[np.ndarray], np.ndarray] = None

    def score(self, evidence):
        return float(self.of_sums(evidence.sums))

    def _without_one(self, evidence):
        return self.of_sums(evidence.sums - evidence.cases)

    def interval(self, evidence, confidence):
        observed = self.score(evidence)
        if np.isnan(observed):
            return NO_INTERVAL
        low, high = _bootstrap.bca_interval(
            observed, self.of_sums(evidence.resampled), self._without_one(evidence), confidence
        )
        return Interval(low, high, f"bootstrap over {evidence.problem.unit_of_cases}")

    def difference(self, first, second, confidence):
        mean = self.score(first) - self.score(second)
        if np.isnan(mean):
            return no_interval(mean)
        resampled = self.of_sums(first.resampled) - self.of_sums(second.resampled)
        without_one = self._without_one(first) - self._without_one(second)
        low, high = _bootstrap.bca_interval(mean, resampled, without_one, confidence)
        method = f"paired bootstrap over {first.problem.unit_of_cases}"
        return Difference(mean, low, high, _bootstrap.bootstrap_p(resampled), method)


@dataclass(frozen=True, eq=False)
class HitRate(SumMetric):
    """The share of right answers: a proportion of independent cases."""

    def interval(self, evidence, confidence):
        n = len(evidence.y)
        low, high = _statistics.wilson_interval(round(self.score(evidence) * n), n, confidence)
        return Interval(float(low), float(high), "Wilson")

    def difference(self, first, second, confidence):
        hit, hit_too = (e.problem.right(e) for e in (first, second))
        b, c = np.count_nonzero(hit & ~hit_too), np.count_nonzero(~hit & hit_too)
        return _statistics.paired_proportions(b, c, len(hit), confidence)


@dataclass(frozen=True, eq=False)
class RocAuc(Metric):
    """The area under the ROC curve; of several classes, the mean of each against the rest."""

    def score(self, evidence):
        if evidence.answer.scores is None:
            return np.nan
        scores, positive = one_against_rest(evidence)
        n_positive = positive.sum(axis=0)
        n_pairs = n_positive * (len(positive) - n_positive)
        # Mann and Whitney: a sum of ranks counts the pairs in the right order.
        ranks = np.where(positive, rankdata(scores, axis=0), 0).sum(axis=0)
        hits = ranks - n_positive * (n_positive + 1) / 2
        known = n_pairs > 0  # only classes that occur, and not alone
        return float(np.mean(hits[known] / n_pairs[known])) if known.any() else np.nan

    def _influence(self, evidence):
        """How much each sample moves the score."""
        scores, positive = one_against_rest(evidence)
        known = positive.any(axis=0) & ~positive.all(axis=0)
        return np.mean(
            [
                _statistics.auc_components(positive[:, k], scores[:, k])[1]
                for k in np.flatnonzero(known)
            ],
            axis=0,
        )

    def interval(self, evidence, confidence):
        auc = self.score(evidence)
        if np.isnan(auc):
            return NO_INTERVAL
        std = np.sqrt(np.sum(self._influence(evidence) ** 2))
        _, low, high, *_ = _statistics.normal_difference(auc, std, confidence, "DeLong")
        return Interval(max(low, 0.0), min(high, 1.0), "DeLong")

    def difference(self, first, second, confidence):
        mean = self.score(first) - self.score(second)
        if np.isnan(mean):
            return super().difference(first, second, confidence)
        std = np.sqrt(np.sum((self._influence(first) - self._influence(second)) ** 2))
        return _statistics.normal_difference(mean, std, confidence, "DeLong")


@dataclass(frozen=True, eq=False)
class ResampledMetric(Metric):
    """A metric that is no function of sums: computed anew for every one of fewer resamples."""

    n_resamples = 200

    @abstractmethod
    def of_resamples(self, evidence: Evidence, rows: np.ndarray) -> np.ndarray:
        """The scores, of shape (n_resamples,), of samples `rows` of shape (n_resamples, n)."""

    def _resampled(self, evidence):
        def resample():
            n = len(evidence.y)
            rows = np.random.default_rng(0).integers(0, n, (self.n_resamples, n))
            return self.of_resamples(evidence, rows)

        return evidence.cached(self.name, resample)

    def score(self, evidence):
        return float(self.of_resamples(evidence, np.arange(len(evidence.y))[None])[0])

    def interval(self, evidence, confidence):
        if np.isnan(self.score(evidence)):
            return NO_INTERVAL
        levels = [(1 - confidence) / 2, (1 + confidence) / 2]
        resampled = _bootstrap.finite(self._resampled(evidence))
        if _statistics.are_equal(resampled):
            return NO_INTERVAL
        low, high = np.quantile(resampled, levels)
        return Interval(float(low), float(high), f"bootstrap over {evidence.problem.unit_of_cases}")

    def difference(self, first, second, confidence):
        mean = self.score(first) - self.score(second)
        if np.isnan(mean):
            return super().difference(first, second, confidence)
        resampled = _bootstrap.finite(self._resampled(first) - self._resampled(second))
        if _statistics.are_equal(resampled):
            return no_interval(mean)
        low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
        p = _bootstrap.bootstrap_p(resampled)
        method = f"paired bootstrap over {first.problem.unit_of_cases}"
        return Difference(mean, float(low), float(high), p, method)


@dataclass(frozen=True, eq=False)
class AveragePrecision(ResampledMetric):
    """scikit-learn's average precision; of several classes, the mean of each against the rest."""

    def of_resamples(self, evidence, rows):
        n = rows.shape[1]
        if evidence.answer.scores is None:
            return np.full(len(rows), np.nan)
        weights = np.stack([np.bincount(r, minlength=n) for r in rows])
        found = []
        for scores, positive in zip(*(part.T for part in one_against_rest(evidence))):
            order = np.argsort(-scores, kind="stable")
            # Samples of equal score come in together: counts are read where a group ends.
            ends = np.append(np.flatnonzero(np.diff(scores[order])), n - 1)
            called = np.cumsum(weights[:, order], axis=1)[:, ends]
            hits = np.cumsum(weights[:, order] * positive[order], axis=1)[:, ends]
            precision = hits / np.maximum(called, 1)
            area = np.sum(np.diff(hits, prepend=0, axis=1) * precision, axis=1)
            with np.errstate(invalid="ignore"):
                found.append(area / hits[:, -1])  # NaN where the class does not occur
        known = ~np.isnan(found)
        with np.errstate(invalid="ignore"):
            return np.where(known, found, 0).sum(axis=0) / known.sum(axis=0)


# scorers whose values lie between 0 and 1
IN_POINTS = ("average_precision", "f1", "jaccard", "precision", "recall", "roc_auc", "top_k")


@dataclass(frozen=True, eq=False)
class Scorer(ResampledMetric):
    """A scorer of scikit-learn's, by its name, applied to the answers that were kept."""

    @classmethod
    def named(cls, name: str) -> Scorer:
        """The metric of a scorer."""
        bounds = (0.0, 1.0) if name.startswith(IN_POINTS) else (-np.inf, np.inf)
        return cls(name, True, bounds)

    def of_resamples(self, evidence, rows):
        replay, scorer = Replay(evidence), get_scorer(self.name)

        def score(sample):
            try:
                return scorer(replay, sample, evidence.y[sample])
            except ValueError:
                if len(rows) == 1:
                    raise
                return np.nan  # a resample without some class

        return np.array([score(sample) for sample in rows], dtype=float)


class Replay:
    """A fitted estimator that answers from a list: its X are positions in the test set."""

    def __init__(self, evidence: Evidence):
        self._answer = evidence.answer
        self.__sklearn_tags__ = evidence.problem.tags
        self.classes_ = getattr(evidence.problem, "classes", None)
        self._available = {"predict": self._answer.predicted}
        if self._answer.probabilities is not None:
            self._available["predict_proba"] = self._answer.probabilities
        if self._answer.decision_values is not None:
            values = self._answer.decision_values
            self._available["decision_function"] = values[:, 1] if values.shape[1] == 2 else values

    def fit(self, X, y):
        raise NotImplementedError("An estimator that answers from a list cannot be fitted.")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getattr__(self, name):
        values = self.__dict__.get("_available", {}).get(name)
        if values is None:
            raise AttributeError(name)

        def answer(rows):
            return values[rows]

        answer.__name__ = name  # scikit-learn asks which method it was given
        return answer


def one_against_rest(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth of each class against the others; of two classes, of the second only."""
    scores, classes = evidence.answer.scores, evidence.problem.classes
    kept = slice(1 if len(classes) == 2 else 0, None)
    return scores[:, kept], evidence.y[:, None] == classes[kept]
