"""What comparisons on several data sets found together."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from ._judgment import default_rope
from ._ranks import Friedman, bayesian_signed_rank, friedman_test, nemenyi_critical_difference
from ._statistics import holm
from ._tables import label, p_value

if TYPE_CHECKING:
    from ._result import Comparison

ALPHA = 0.05  # the level of the verdict, as of the critical difference


@dataclass(eq=False, repr=False)
class ComparisonAcrossDatasets:
    """Several data sets at once: what :func:`compare` returns for ``{name: (X, y)}``.

    Parameters
    ----------
    comparisons : dict of str to Comparison
        One for each data set.

    Raises
    ------
    ValueError
        If the data sets are not ranked by the same metric, or no estimator was judged on all.

    Examples
    --------
    >>> from sklearn.datasets import load_iris, load_wine
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_nets.comparison import compare
    >>> data = {"iris": load_iris(return_X_y=True), "wine": load_wine(return_X_y=True)}
    >>> result = compare({"Bayes": GaussianNB(), "dummy": DummyClassifier()}, data, random_state=0)
    >>> result.ranks().to_dict()
    {'Bayes': 1.0, 'dummy': 2.0}
    """

    comparisons: dict[str, Comparison]

    def __post_init__(self):
        metrics = {c.problem.main_metric for c in self.comparisons.values()}
        if len(metrics) != 1:
            raise ValueError(
                "The data sets must be ranked by one metric: expected targets of one kind, got "
                f"{sorted(metrics)}."
            )
        (self.main_metric,) = metrics
        everywhere = [set(c.names) for c in self.comparisons.values()]
        first = next(iter(self.comparisons.values()))
        self.names = [name for name in first.names if all(name in names for names in everywhere)]
        if not self.names:
            raise ValueError("No estimator was judged on every data set.")
        self.metric = first.problem.metrics[self.main_metric]

    def __repr__(self) -> str:
        return (
            f"ComparisonAcrossDatasets({', '.join(map(str, self.names))}: "
            f"{len(self.comparisons)} data sets)"
        )

    def __str__(self) -> str:
        parts = [label(self.main_metric), self._table().to_string(), self.verdict()]
        return "\n".join([*parts, *self.remarks()])

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{escape(text)}</p>" for text in (self.verdict(), *self.remarks()))
        return f"{self._table().to_html()}{told}"

    def _table(self) -> pd.DataFrame:
        table = self.scores()
        table.loc["average rank"] = self.ranks()
        return table.round(3).rename(columns=str)

    def remarks(self) -> list[str]:
        """What could not be judged, and why, and what is odd about the data sets.

        Returns
        -------
        list of str
            A sentence of the estimators that are not ranked, if there are any, and the remarks of
            each data set.
        """
        told = [f"{name}: {text}" for name, c in self.comparisons.items() for text in c.remarks()]
        return self._not_ranked() + told

    def _not_ranked(self) -> list[str]:
        judged = dict.fromkeys(name for c in self.comparisons.values() for name in c.names)
        left_out = ", ".join(str(name) for name in judged if name not in self.names)
        return [f"Not judged on every data set, so not ranked: {left_out}."] if left_out else []

    def frame(self) -> pd.DataFrame:
        """Every score of every estimator on every data set.

        Returns
        -------
        DataFrame
            One row per data set, estimator and metric: ``dataset`` and the columns of
            ``Comparison.frame("long")``.
        """
        tables = [c.frame("long").assign(dataset=n) for n, c in self.comparisons.items()]
        table = pd.concat(tables, ignore_index=True)
        return table[["dataset", *table.columns.drop("dataset")]]

    def scores(self) -> pd.DataFrame:
        """The mean of the main metric: data sets in rows, estimators in columns.

        Returns
        -------
        DataFrame of shape (n_datasets, n_estimators)
            The estimators that were judged on every data set.
        """
        rows = {
            name: [c.fold_scores(e, self.main_metric).mean() for e in self.names]
            for name, c in self.comparisons.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=self.names)

    def _finite_scores(self) -> pd.DataFrame:
        """The data sets on which every estimator has a score."""
        scores = self.scores()
        return scores[np.isfinite(scores).all(axis=1)]

    def friedman(self) -> Friedman:
        """Friedman's test that all estimators are equal, with Iman and Davenport's correction.

        Returns
        -------
        Friedman
            ``ranks``, ``chi2`` with ``chi2_p``, and Iman and Davenport's ``f`` with ``p``.
        """
        scores = self._finite_scores().to_numpy()
        return friedman_test(scores if self.metric.greater_is_better else -scores)

    def ranks(self) -> pd.Series:
        """The average rank of every estimator; 1 is best.

        Returns
        -------
        Series of shape (n_estimators,)
        """
        return pd.Series(self.friedman().ranks, index=self.names, name="average rank")

    def critical_difference(self, alpha: float = 0.05) -> float:
        """Nemenyi's critical difference of average ranks.

        Parameters
        ----------
        alpha : float, default=0.05
            The level.

        Returns
        -------
        float
            Estimators whose average ranks are farther apart differ.
        """
        n = len(self._finite_scores())
        return nemenyi_critical_difference(len(self.names), n, alpha)

    def pairs(self, *, rope: float | None = None) -> pd.DataFrame:
        """All pairs of estimators, the better ranked one first.

        Parameters
        ----------
        rope : float, optional
            Mean differences of at most so much count as practically equal. By default 0.01, or 1
            percent of the mean score of a metric without bounds.

        Returns
        -------
        DataFrame
            ``first``, ``second``, the mean ``difference`` of the main metric, ``rank_difference``,
            whether Nemenyi's test calls them different (``nemenyi``), Wilcoxon's signed rank test
            (``p_wilcoxon``, and ``p_holm`` over the pairs), and the Bayesian signed rank test:
            ``p_better``, ``p_equal``, ``p_worse``.
        """
        scores, ranks = self._finite_scores(), self.ranks()
        rope = default_rope(self.metric, scores) if rope is None else rope
        names = list(ranks.sort_values(kind="stable").index)
        sign, rows = 1 if self.metric.greater_is_better else -1, []
        for first, second in combinations(names, 2):
            differences = (scores[first] - scores[second]).to_numpy()
            worse, equal, better = bayesian_signed_rank(sign * differences, rope)
            apart = ranks[second] - ranks[first]
            wilcoxon = (
                stats.wilcoxon(differences, zero_method="zsplit").pvalue
                if differences.any()
                else 1.0
            )
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "difference": differences.mean(),
                    "rank_difference": apart,
                    "nemenyi": bool(apart > self.critical_difference()),
                    "p_wilcoxon": wilcoxon,
                    "p_better": better,
                    "p_equal": equal,
                    "p_worse": worse,
                }
            )
        table = pd.DataFrame(rows)
        if rows:
            table.insert(6, "p_holm", holm(table["p_wilcoxon"]))
        return table

    def verdict(self) -> str:
        """What the ranks say, in sentences.

        Returns
        -------
        str
        """
        if len(self.names) < 2:
            return f"Only {self.names[0]} was judged on every data set."
        n = len(self._finite_scores())
        if n < 2:
            return (
                f"On {n} of {len(self.comparisons)} data sets every estimator has a score: it "
                "takes two or more to tell estimators apart by their ranks."
            )
        test, ranks = self.friedman(), self.ranks()
        best = ranks.idxmin()
        first = [str(name) for name in self.names if ranks[name] == ranks[best]]
        has, beats, it = ("has", "beats", "it") if len(first) == 1 else ("have", "beat", "them")
        said = (
            f"{' and '.join(first)} {has} the best average rank, {ranks[best]:.2f} over {n} data "
            "sets"
        )
        friedman = f"Friedman, p {p_value(test.p)}"
        if not test.p < ALPHA:
            return f"{said}, but the estimators cannot be told apart ({friedman})."
        beaten = [
            name for name in self.names if ranks[name] - ranks[best] > self.critical_difference()
        ]
        distance = self.critical_difference()
        if not beaten:
            return (
                f"{said}; the estimators differ ({friedman}), but none is beyond the "
                f"critical difference of {distance:.2f} from {it}."
            )
        return (
            f"{said}, and {beats} {', '.join(map(str, beaten))} (critical difference "
            f"{distance:.2f}; {friedman})."
        )

    def to_html(self, path, *, title: str = "Comparison") -> None:
        """Write one page with a section for each data set.

        Parameters
        ----------
        path : str or path-like
            The file to write; an existing one is replaced.
        title : str, default="Comparison"
            The heading.
        """
        from . import _html

        lead = " ".join([self.verdict(), *self._not_ranked()])  # why, the sections say
        sections = [(str(name), c, None) for name, c in self.comparisons.items()]
        _html.write_html(path, sections, heading=title, lead=lead)
