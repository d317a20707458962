"""What a kind of targets has to say for itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold
from sklearn.utils import Tags

from ..._utils.array_api import to_numpy
from .._metrics import Answer, Evidence, Metric, Scorer


class Problem(ABC):
    """One kind of targets: its metrics, splitter, unit and pictures.

    A new kind of targets is one subclass, named in ``PROBLEMS``; nothing else asks what y is.

    Parameters
    ----------
    y : array-like
        The targets of all samples.
    ignore_index : int or str, optional
        The value of entries that are not judged, where targets have several entries.
    scoring : str or list of str, optional
        scikit-learn scorers, or metrics of the problem, to judge by; the first ranks the
        estimators.

    Attributes
    ----------
    name : str
        By which it is asked for as ``task``.
    unit_of_cases : str
        What the bootstrap resamples, in the plural.
    metrics : dict of str to Metric
        Every metric, the main one included.
    main_metric : str
        The metric by which estimators are ranked.
    shown : list of str
        The metrics that the short tables show.
    plots : tuple of str
        The kinds of figures that the page shows.
    one_per_sample : bool
        Whether a sample has a single label or amount.
    """

    name: ClassVar[str]
    unit_of_cases: ClassVar[str] = "samples"
    default_metric: ClassVar[str]
    default_shown: ClassVar[tuple[str, ...]]
    class_note: ClassVar[str] = ""  # what the page says of the table of classes
    one_per_sample: ClassVar[bool] = False  # whether a sample has one label, or one amount
    estimator_type: ClassVar[str | None] = None  # in scikit-learn's tags
    plots: ClassVar[tuple[str, ...]] = ("loss", "score", "learning_curve", "cost")

    def __init__(self, y, ignore_index=None, scoring=None):
        self.y, self.ignore_index = y, ignore_index
        self.metrics = {metric.name: metric for metric in self.make_metrics()}
        self.main_metric, self.shown = self.default_metric, list(self.default_shown)
        names = [scoring] if isinstance(scoring, str) else scoring or []
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
            raise TypeError(
                "scoring must be a name or a list of names, since a comparison is stored without "
                f"code, got {scoring!r}. It names metrics of the comparison "
                f"({', '.join(self.metrics)}) or scorers of scikit-learn's: "
                "sklearn.metrics.get_scorer_names() lists them."
            )
        self.scoring = names = list(names)
        for name in names:
            if name not in self.metrics:
                if name not in get_scorer_names():
                    raise ValueError(
                        f"scoring must name metrics of the comparison ({', '.join(self.metrics)}) "
                        f"or scorers of scikit-learn's, got {name!r}. "
                        "sklearn.metrics.get_scorer_names() lists them."
                    )
                self.metrics[name] = Scorer.named(name)
        if names:
            self.main_metric, self.shown = names[0], names

    def rank_by(self, metric: str) -> None:
        """Make a metric the main one, which the short tables show."""
        self.main_metric = metric
        if metric not in self.shown:
            self.shown = [metric, *self.shown]

    @classmethod
    @abstractmethod
    def recognizes(cls, y, estimators) -> bool:
        """Whether y, judged for these estimators, is of this kind."""

    @abstractmethod
    def make_metrics(self) -> list[Metric]:
        """The metrics, in the order of the tables."""

    @abstractmethod
    def splitter(self, n_splits: int, random_state, n_repeats: int = 1, grouped: bool = False):
        """The splitter for a number of folds, with all samples of a group in one fold if asked."""

    @abstractmethod
    def describe(self) -> str:
        """What is judged, in a few words."""

    @abstractmethod
    def errors(self, y, predicted) -> np.ndarray:
        """How wrong each answer is, of shape (n_samples,), 0 where it is right."""

    def constant_answer(self, y) -> tuple[Any, str] | None:
        """The best answer to give of every sample, judged by some, and words for it."""
        return None

    def says_the_same(self, predicted) -> bool:
        """Whether all samples have the same answer, as those of dummies have."""
        predicted = np.asarray(predicted)
        return bool(np.all(predicted == predicted.flat[0]))

    def read_predictions(self, predicted) -> Any:
        """What ``predict`` returned, on the host."""
        # Reading the answer back from an accelerator is part of the time it takes.
        return np.asarray(to_numpy(predicted))

    def read_scores(self, model, X) -> dict[str, np.ndarray]:
        """Probabilities or decision values of a fitted estimator, by the names of `Answer`'s."""
        return {}

    def cases(self, evidence: Evidence) -> np.ndarray:
        """What each case adds to the sums that metrics are functions of, shape (n_cases, d)."""
        raise NotImplementedError(
            f"{type(self).__name__} has no metric that is a function of sums."
        )

    def sums(self, evidence: Evidence) -> np.ndarray:
        """The sum of `cases`, of shape (d,)."""
        return evidence.cases.sum(axis=0)

    def take(self, rows) -> Any:
        """The targets of some samples."""
        return self.y[rows]

    def judge(self, evidence: Evidence, names=None) -> dict[str, float]:
        """The metrics of one test set."""
        names = self.metrics if names is None else names
        return {name: self.metrics[name].score(evidence) for name in names}

    def confusion(self, evidence: Evidence) -> np.ndarray | None:
        """The confusion matrix of one test set, where there are classes."""
        return None

    def pool(self, evidence: list[Evidence], kept: np.ndarray) -> Evidence:
        """The test sets of several folds as one, of which some rows are kept."""

        def joined(part):
            folds = [getattr(e.answer, part) for e in evidence]
            return None if folds[0] is None else np.concatenate(folds)[kept]

        answer = Answer(*map(joined, ("predicted", "probabilities", "decision_values")))
        return Evidence(self, np.concatenate([e.y for e in evidence])[kept], answer)

    def right(self, evidence: Evidence) -> np.ndarray | None:
        """Which test cases were predicted right, where a case is right or wrong as a whole."""
        return None

    def class_table(self, evidence: list[Evidence], n_repeats: float, confidence: float):
        """Scores of every class with their intervals, from the test sets of all folds."""
        raise ValueError(f"There are no classes in a {self.name} problem: per_class() has no rows.")

    def pictures(self, comparison, images: np.ndarray) -> dict:
        """What the page shows of images of the samples: a block of the template and its data."""
        return {}

    def pack(self, answers: list) -> np.ndarray:
        """Predictions of one fold, or targets, as an array that numpy stores without pickle."""
        return np.array(list(answers)) if answers.dtype == object else answers

    @staticmethod
    def unpack(array: np.ndarray):
        """The predictions, or targets, again from what `pack` made."""
        return array

    def tags(self) -> Tags:
        """scikit-learn's tags of an estimator of this problem."""
        tags = BaseEstimator().__sklearn_tags__()
        tags.estimator_type = self.estimator_type
        return tags


def plain_splitter(n_splits, random_state, n_repeats, grouped):
    """Folds that do not look at y."""
    if grouped:
        return GroupKFold(n_splits, shuffle=True, random_state=random_state)
    if n_repeats > 1:
        return RepeatedKFold(n_splits=n_splits, n_repeats=n_repeats, random_state=random_state)
    return KFold(n_splits, shuffle=True, random_state=random_state)


def interval_columns(name: str, values, low, high) -> dict[str, np.ndarray]:
    """A column of a table, and those of its interval."""
    return {name: values, f"{name}_low": low, f"{name}_high": high}


def class_frame(classes, columns, support) -> pd.DataFrame:
    """The table of classes."""
    index = pd.Index(classes, name="class")
    return pd.DataFrame({**columns, "support": support}, index=index)
