"""What a comparison found."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

from . import _html, _plots, _tables
from ._problems import Problem


@dataclass(eq=False, repr=False, kw_only=True)
class Comparison:
    """What :func:`compare` found: raw results of every fold, and the tables made of them.

    Attributes
    ----------
    folds : DataFrame
        One row per estimator and fold: ``estimator``, ``fold``, ``n_train``, ``n_test``, the
        metrics, ``fit_time`` and ``predict_time`` in seconds, ``n_parameters``, ``device``.
    metrics : list of str
        The metrics, in the order of the tables.
    confusion_matrices : dict of str to ndarray of shape (n_folds, n_classes, n_classes)
        Counts of samples (labels) or pixels (masks): true classes in rows, predicted in columns.
    predictions : dict of str to list of ndarray
        Out-of-fold predictions: entry k belongs to the samples ``splits[k][1]``.
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
    """

    folds: pd.DataFrame
    metrics: list[str]
    confusion_matrices: dict[str, np.ndarray]
    predictions: dict[str, list[np.ndarray]]
    splits: list[tuple[np.ndarray, np.ndarray]]
    problem: Problem
    provenance: dict[str, str]
    failures: dict[str, Exception] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def y(self) -> np.ndarray:
        """The truth, of shape (n_samples,) or (n_samples, height, width)."""
        return self.problem.y

    @property
    def classes(self) -> np.ndarray:
        """The sorted classes in `y`, without `ignore_index`."""
        return self.problem.classes

    @property
    def ignore_index(self) -> int | str | None:
        """The value in masks that is not judged."""
        return self.problem.ignore_index

    def __repr__(self) -> str:
        return (
            f"Comparison({', '.join(self.confusion_matrices)}: n={len(self.y)}, "
            f"{len(self.splits)} folds, {len(self.classes)} classes)"
        )

    def __str__(self) -> str:
        parts = [_tables.describe(self), _tables.summary(self).to_string(), *self.remarks()]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        remarks = "".join(f"<p>{escape(remark)}</p>" for remark in self.remarks())
        described = escape(_tables.describe(self))
        return f"<p>{described}</p>{_tables.summary(self).to_html()}{remarks}"

    def remarks(self) -> list[str]:
        """What could not be judged, and why.

        Returns
        -------
        list of str
            A sentence for each estimator that failed, and one for an interrupted run.
        """
        remarks = [
            f"{name} failed: {type(error).__name__}: {error} {' '.join(error.__notes__)}"
            for name, error in self.failures.items()
        ]
        if self.left_out:
            remarks.append(f"Interrupted; not judged on every fold: {', '.join(self.left_out)}.")
        return remarks

    def frame(self) -> pd.DataFrame:
        """One row per estimator: mean and standard deviation over the folds.

        Returns
        -------
        DataFrame
            Indexed by estimator. ``mean_<metric>`` and ``std_<metric>`` for each metric,
            ``fit_time`` and ``predict_time`` (seconds), with numpy's standard deviation (divided
            by the number of folds), as in scikit-learn's ``cv_results_``; then ``n_parameters``
            (the largest over the folds, missing where unknown) and ``device``.
        """
        by_estimator = self.folds.groupby("estimator", sort=False)
        columns = {}
        for name in [*self.metrics, "fit_time", "predict_time"]:
            columns[f"mean_{name}"] = by_estimator[name].mean()
            columns[f"std_{name}"] = by_estimator[name].std(ddof=0)
        columns["n_parameters"] = by_estimator["n_parameters"].max()
        columns["device"] = by_estimator["device"].first()
        return pd.DataFrame(columns)

    def per_class(self) -> pd.DataFrame:
        """Precision and recall of every class, from the confusion matrix summed over the folds.

        Returns
        -------
        DataFrame
            Indexed by estimator and class: ``precision``, ``recall``, for masks ``iou``, and
            ``support``, the number of samples (pixels) of that class in the test folds.
        """
        tables = {
            name: self.problem.class_table(matrices.sum(axis=0))
            for name, matrices in self.confusion_matrices.items()
        }
        return pd.concat(tables, names=["estimator"])

    def plot(self, metric: str | None = None, *, ax=None):
        """Draw one metric of every fold, with its mean and standard deviation.

        Parameters
        ----------
        metric : str, optional
            One of ``metrics``; by default the accuracy, for masks the mean IoU.
        ax : matplotlib Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If `metric` is not among ``metrics``.
        """
        metric = metric or self.problem.main_metric
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {self.metrics}, got {metric!r}.")
        return _plots.draw(self, metric, ax)

    def to_html(self, path, *, title: str = "Comparison", images=None) -> None:
        """Write tables and confusion matrices as one page that needs no other file and no network.

        Parameters
        ----------
        path : str or path-like
            The file to write; an existing one is replaced.
        title : str, default="Comparison"
            The heading.
        images : array-like of shape (n_samples, height, width) or (n_samples, height, width, 3), \
                optional
            Pictures of the samples, to show the most misclassified (labels) or the first (masks).
        """
        _html.write_html(path, [(title, self, images)])
