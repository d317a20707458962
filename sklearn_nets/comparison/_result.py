"""What a comparison found."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from . import _judgment, _learning_curve
from ._diagnosis import Finding, diagnose
from ._display import DisplayMixin
from ._metrics import Answer, Evidence
from ._problems import Problem
from ._statistics import Interval, exact_interval, hoeffding_bound

COSTS = ["fit_time", "predict_time"]
SIZES = ["latency", "peak_memory", "peak_device_memory", "size_on_disk"]


@dataclass(eq=False, repr=False, kw_only=True)
class Comparison(DisplayMixin):
    """What :func:`compare` found: raw results of every fold, and the tables made of them.

    Attributes
    ----------
    folds : DataFrame
        One row per estimator and fold: ``estimator``, ``fold``, ``n_train``, ``n_test``, the
        metrics, ``fit_time`` and ``predict_time`` in seconds, ``train_score`` (the main metric on
        as many random training samples as there are test samples), ``peak_memory`` (by how much
        resident memory grew during ``fit``) and ``peak_device_memory`` in bytes, on the first fold
        ``latency`` (seconds to predict a single sample) and ``size_on_disk`` (bytes, pickled),
        ``n_parameters``, ``device``. What is unknown is missing.
    metrics : list of str
        The metrics that at least one estimator has, in the order of the tables.
    confusion_matrices : dict of str to ndarray of shape (n_folds, n_classes, n_classes)
        Counts of samples (labels) or pixels (masks): true classes in rows, predicted in columns.
        Empty where there are no classes.
    predictions : dict of str to list of ndarray
        Out-of-fold predictions: entry k belongs to the samples ``splits[k][1]``.
    probabilities, decision_values : dict of str to list of ndarray of shape (n_test, n_classes)
        The same of the estimators that give them; probabilities go before decision values.
    curves : dict of str to list of dict
        For every fold the ``"loss"`` and the validation ``"score"`` of each epoch; empty lists
        where an estimator has no such curve.
    warnings : dict of str to list of (int, str)
        The warnings of an estimator's fits: fold and message.
    splits : list of (ndarray, ndarray)
        Train and test indices of every fold, the same for all estimators.
    problem : Problem
        What `y` is, and how predictions of it are judged.
    provenance : dict of str to str
        Date, splitter, machine and library versions of the run.
    failures : dict of str to Exception
        What estimators raised that could not be judged; its notes name the fold.
    left_out : list of str
        Estimators that were not judged on every fold because the run was interrupted.
    design_remarks : list of str
        What is odd about the folds.
    X : array-like or None
        The samples; None after `load`.
    estimators : dict of str to estimator, or None
        Those that were given, unfitted; None after `load`.
    learning_curves : DataFrame or None
        Scores by size of the training set, once `learning_curve` was called; see there.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_nets import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> result = compare({"Bayes": GaussianNB(), "dummy": DummyClassifier()}, X, y, random_state=0)
    >>> result.names, len(result.splits)
    (['Bayes', 'dummy'], 5)
    >>> bool((result.fold_scores("Bayes", "accuracy") > 0.8).all())
    True
    """

    folds: pd.DataFrame
    metrics: list[str]
    confusion_matrices: dict[str, np.ndarray]
    predictions: dict[str, list[np.ndarray]]
    splits: list[tuple[np.ndarray, np.ndarray]]
    problem: Problem
    provenance: dict[str, str]
    probabilities: dict[str, list[np.ndarray]] = field(default_factory=dict)
    decision_values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    curves: dict[str, list[dict[str, list[float]]]] = field(default_factory=dict)
    warnings: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    design_remarks: list[str] = field(default_factory=list)
    X: Any = None
    estimators: dict[str, Any] | None = None
    learning_curves: pd.DataFrame | None = None
    _kept: dict = field(default_factory=dict)

    # -- what was judged

    @property
    def names(self) -> list[str]:
        """The estimators that were judged, in the order in which they were given."""
        return list(self.predictions)

    @property
    def y(self) -> np.ndarray:
        """The truth, of shape (n_samples,) or (n_samples, height, width); of boxes, dicts."""
        return self.problem.y

    @property
    def classes(self) -> np.ndarray:
        """The sorted classes in `y`, without `ignore_index`."""
        return self.problem.classes

    @property
    def ignore_index(self) -> int | str | None:
        """The value in masks that is not judged."""
        return self.problem.ignore_index

    @property
    def n_repeats(self) -> float:
        """How often a sample was tested, on average."""
        tested = np.concatenate([test for _, test in self.splits])
        return len(tested) / len(np.unique(tested))

    # -- numbers

    def fold_scores(self, name: str, metric: str) -> np.ndarray:
        """One metric of one estimator on every fold.

        Parameters
        ----------
        name : str
            An estimator.
        metric : str
            A column of ``folds``.

        Returns
        -------
        ndarray of shape (n_folds,)
        """
        key = ("scores", name, metric)
        if key not in self._kept:
            rows = self.folds["estimator"] == name
            self._kept[key] = self.folds.loc[rows, metric].to_numpy(dtype=float)
        return self._kept[key]

    def evidence(self, name: str, fold: int) -> Evidence:
        """Truth and answers of one estimator on one fold, as metrics take them.

        Parameters
        ----------
        name : str
            An estimator.
        fold : int
            The fold, counted from 0.

        Returns
        -------
        Evidence
        """
        key = ("evidence", name, fold)
        if key not in self._kept:
            scores = {
                part: getattr(self, part)[name][fold]
                for part in ("probabilities", "decision_values")
                if name in getattr(self, part)
            }
            answer = Answer(self.predictions[name][fold], **scores)
            y_true = self.problem.take(self.splits[fold][1])
            self._kept[key] = Evidence(self.problem, y_true, answer)
        return self._kept[key]

    def pooled_evidence(self, name: str) -> Evidence:
        """Truth and answers of one estimator on all folds together, one for each sample.

        Parameters
        ----------
        name : str
            An estimator.

        Returns
        -------
        Evidence
            In the order of the samples; of one tested several times, the first answer.
        """
        folds = [self.evidence(name, fold) for fold in range(len(self.splits))]
        tested = np.concatenate([test for _, test in self.splits])
        _, once = np.unique(tested, return_index=True)  # repeated folds test a sample again
        return self.problem.pool(folds, once)

    def interval(self, name: str, metric: str | None = None, confidence: float = 0.95) -> Interval:
        """The confidence interval of one metric of one estimator.

        Parameters
        ----------
        name : str
            An estimator.
        metric : str, optional
            One of ``metrics``; by default the one that ranks the estimators.
        confidence : float, default=0.95
            The confidence level.

        Returns
        -------
        Interval
            ``low``, ``high`` and ``method``; NaN where there is none.
        """
        metric = self._metric(metric)
        key = ("interval", name, metric, confidence)
        if key not in self._kept:
            self._kept[key] = _judgment.interval(self, name, metric, confidence)
        return self._kept[key]

    def frame(self, layout: str = "wide", *, confidence: float = 0.95) -> pd.DataFrame:
        """The scores of every estimator.

        Parameters
        ----------
        layout : {"wide", "long"}, default="wide"
            One row per estimator, or per estimator and metric.
        confidence : float, default=0.95
            The level of the intervals in the long layout.

        Returns
        -------
        DataFrame
            Wide: indexed by estimator. ``mean_<metric>`` and ``std_<metric>`` for each metric,
            ``fit_time`` and ``predict_time`` (seconds), with numpy's standard deviation (divided
            by the number of folds), as in scikit-learn's ``cv_results_``; ``train_score``; then the
            largest over the folds of ``latency`` (seconds), ``peak_memory``,
            ``peak_device_memory``, ``size_on_disk`` (bytes) and ``n_parameters``, missing where
            unknown, and ``device``.

            Long: ``estimator``, ``metric``, ``mean``, ``std``, ``low``, ``high``, ``method``.

        Raises
        ------
        ValueError
            If `layout` is neither.
        """
        by_estimator = self.folds.groupby("estimator", sort=False)
        if layout == "long":
            rows = [
                {"estimator": name, "metric": metric}
                | {"mean": scores.mean(), "std": scores.std()}
                | self.interval(name, metric, confidence)._asdict()
                for name in self.names
                for metric in self.metrics
                for scores in [self.fold_scores(name, metric)]
            ]
            return pd.DataFrame(rows)
        if layout != "wide":
            raise ValueError(f"layout must be 'wide' or 'long', got {layout!r}.")
        columns = {}
        for name in [*self.metrics, *COSTS]:
            columns[f"mean_{name}"] = by_estimator[name].mean()
            columns[f"std_{name}"] = by_estimator[name].std(ddof=0)
        columns["train_score"] = by_estimator["train_score"].mean()
        for name in [*SIZES, "n_parameters"]:
            columns[name] = by_estimator[name].max()
        columns["device"] = by_estimator["device"].first()
        return pd.DataFrame(columns)

    def per_class(self, *, confidence: float = 0.95) -> pd.DataFrame:
        """Scores of every class with their intervals, from all folds together.

        Parameters
        ----------
        confidence : float, default=0.95
            The level of the intervals: Wilson's of labels, of masks and boxes the bootstrap over
            images.

        Returns
        -------
        DataFrame
            Indexed by estimator and class: ``precision``, ``recall``, ``f1``, for masks ``iou``,
            for boxes ``average_precision`` (at an IoU of 0.5), each followed by ``<score>_low`` and
            ``<score>_high``; and ``support``, the number of samples (pixels, boxes) of that class
            in the test folds. Of predicted boxes those of a score of at least 0.5 are counted.

        Raises
        ------
        ValueError
            If there are no classes, as in a regression.
        """
        key = ("per_class", confidence)
        if key not in self._kept:
            tables = []
            for name in self.names:
                evidence = [self.evidence(name, fold) for fold in range(len(self.splits))]
                tables.append(self.problem.class_table(evidence, self.n_repeats, confidence))
            # by number first: names that are tuples would become several levels
            table = pd.concat(tables, keys=range(len(tables)), names=["estimator"])
            names = pd.Index(self.names, tupleize_cols=False)
            table.index = table.index.set_levels([names, *table.index.levels[1:]])
            self._kept[key] = table
        return self._kept[key].copy()

    def error_bounds(self, *, delta: float = 0.05) -> pd.DataFrame:
        """Upper bounds on the true error from the errors on a held-out test set.

        Parameters
        ----------
        delta : float, default=0.05
            A bound holds with probability 1 - `delta`.

        Returns
        -------
        DataFrame
            Indexed by estimator: ``n_test``, the empirical ``error``, the bound of ``hoeffding``,
            error + sqrt(log(1 / delta) / (2 n_test)), and the ``exact`` one (Clopper and Pearson's,
            one-sided), which is smaller.

        Raises
        ------
        ValueError
            If the scores are cross-validated, or cases are not right or wrong as a whole.
        """
        if len(self.splits) != 1:
            raise ValueError(
                "Bounds of the true error need a held-out test set, compare(..., test=(X, y)); "
                f"here are {len(self.splits)} folds."
            )
        rows = {}
        for name in self.names:
            right = self.problem.right(self.evidence(name, 0))
            if right is None:
                raise ValueError(f"In a {self.problem.name} problem no case is right or wrong.")
            n, wrong = len(right), int(np.sum(~right))
            _, exact = exact_interval(wrong, n, 1 - 2 * delta)
            bounds = {"hoeffding": hoeffding_bound(wrong / n, n, delta), "exact": float(exact)}
            rows[name] = {"n_test": n, "error": wrong / n} | bounds
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("estimator")

    # -- which is better

    def _metric(self, metric: str | None) -> str:
        metric = metric or self.problem.main_metric
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {self.metrics}, got {metric!r}.")
        return metric

    def pairs(
        self, metric: str | None = None, *, rope: float | None = None, confidence: float = 0.95
    ) -> pd.DataFrame:
        """All pairs of estimators: the difference of their scores, and what it means.

        Parameters
        ----------
        metric : str, optional
            One of ``metrics``; by default the one that ranks the estimators.
        rope : float, optional
            The region of practical equivalence: smaller differences do not matter. By default 0.01,
            or 1 percent of the mean score of a metric without bounds.
        confidence : float, default=0.95
            The confidence level.

        Returns
        -------
        DataFrame
            ``first`` and ``second`` (the first is ranked higher), their ``difference`` with ``low``
            and ``high``, the ``p`` of no difference and ``p_holm``, adjusted for the number of
            pairs; the Bayesian probabilities that the first is better, practically equal or worse
            (``p_better``, ``p_equal``, ``p_worse``); ``p_mcnemar`` of the pooled out-of-fold
            predictions of labels (samples of one fold share a model, which this test does not
            know); ``more_samples``, how many it would take to tell the pair apart, 0 if it is;
            and the ``method`` of interval and p.
        """
        metric = self._metric(metric)
        key = ("pairs", metric, rope, confidence)
        if key not in self._kept:
            self._kept[key] = _judgment.pairs(self, metric, rope, confidence)
        return self._kept[key].copy()

    def verdict(
        self, metric: str | None = None, *, rope: float | None = None, confidence: float = 0.95
    ) -> str:
        """Which estimator is better, in a sentence: the leader against each of the others.

        Parameters
        ----------
        metric, rope, confidence
            As in `pairs`. One beats another where ``p_holm < 1 - confidence``, and both are
            practically equal where ``p_equal > confidence``.

        Returns
        -------
        str
        """
        metric = self._metric(metric)
        table = self.pairs(metric, rope=rope, confidence=confidence)
        return _judgment.verdict(self, table, metric, confidence)

    @cached_property
    def best_estimator_(self):
        """The estimator with the best mean score, fitted on everything.

        Raises
        ------
        AttributeError
            After `load`, which brings back no estimators and no samples.
        """
        if self.estimators is None or self.X is None:
            raise AttributeError(
                "best_estimator_ needs the estimators and samples, which are not stored: fit "
                f"{_judgment.ranking(self, self.problem.main_metric)[0]!r} yourself."
            )
        best = _judgment.ranking(self, self.problem.main_metric)[0]
        return clone(self.estimators[best]).fit(self.X, self.y)

    def learning_curve(self, train_sizes=(0.1, 0.25, 0.5, 1.0)) -> pd.DataFrame:
        """Fit all estimators again on parts of the training samples of every fold.

        Parameters
        ----------
        train_sizes : sequence of float, default=(0.1, 0.25, 0.5, 1.0)
            Fractions of the training samples of a fold.

        Returns
        -------
        DataFrame
            ``estimator``, ``fold``, ``n_train`` and ``score`` (the main metric on the test
            samples); kept as ``learning_curves``, and from then on a figure of the page. A score is
            missing where so few samples cannot be learned from; a warning says why.

        Raises
        ------
        ValueError
            If a fraction is not above 0 and at most 1, or after `load`.
        """
        self.learning_curves = _learning_curve.learning_curve(self, train_sizes)
        return self.learning_curves

    def diagnose(self) -> list[Finding]:
        """What makes scores poor, or not to be believed, in words, each with its evidence.

        Models: under-fit, over-fit, not converged, leaders that cannot be told apart. Data: classes
        too small for the folds or rare, samples in training and test data, features that are
        constant or that alone predict `y`, labels that most similar samples contradict. After
        `load`, which brings no samples back, only what can be told without them.

        Returns
        -------
        list of Finding
            With ``kind``, ``severity`` (``"warning"`` or ``"note"``), ``sentence`` and
            ``evidence``; warnings first.
        """
        if "findings" not in self._kept:
            self._kept["findings"] = diagnose(self, self.X)
        return list(self._kept["findings"])
