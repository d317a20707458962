"""Which estimator is better: intervals, all pairs, and the verdict in sentences."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from ._statistics import (
    NO_INTERVAL,
    Difference,
    Interval,
    are_equal,
    corrected_t_interval,
    correlated_bayes,
    holm,
    mcnemar_test,
    no_interval,
)
from ._tables import label

SHARED_MODELS = (
    "McNemar's test pools the out-of-fold predictions; the samples of a fold share a model, which "
    "the test does not know."
)


def test_train_ratio(comparison) -> float:
    """Test samples over training samples of the actual folds."""
    return float((comparison.folds["n_test"] / comparison.folds["n_train"]).mean())


def interval(comparison, name, metric: str, confidence: float) -> Interval:
    """The interval of one metric of one estimator."""
    kind = comparison.problem.metrics[metric]
    values = comparison.fold_scores(name, metric)
    if np.isnan(values).any():
        return NO_INTERVAL
    if are_equal(values):  # one test set, or folds that say nothing of the spread
        return kind.interval(all_evidence(comparison, name), confidence)
    found = corrected_t_interval(values, test_train_ratio(comparison), confidence)
    least, greatest = kind.bounds
    return Interval(max(found.low, least), min(found.high, greatest), "Nadeau-Bengio")


def default_rope(metric, scores) -> float:
    """One point, or one percent of the mean score of a metric without bounds."""
    if metric.bounds[1] == 1:  # r2 is among them
        return 0.01
    return 0.01 * float(pd.Series(np.ravel(scores)).abs().mean())


def fold_differences(comparison, first, second, metric: str) -> np.ndarray:
    """First minus second estimator on every fold; what is only rounding is 0."""
    a, b = (comparison.fold_scores(name, metric) for name in (first, second))
    return np.where(abs(a - b) <= 1e-12 * np.maximum(abs(a), abs(b)), 0.0, a - b)


def difference(comparison, first, second, metric: str, confidence: float) -> Difference:
    """First minus second estimator, on the same folds."""
    values = fold_differences(comparison, first, second, metric)
    if not np.isfinite(values).all():
        return no_interval(values.mean())
    if not are_equal(values):
        return corrected_t_interval(values, test_train_ratio(comparison), confidence)
    evidence = (all_evidence(comparison, name) for name in (first, second))
    found = comparison.problem.metrics[metric].difference(*evidence, confidence)
    return found._replace(mean=float(values.mean()))


def all_evidence(comparison, name):
    """The one test set, or all folds together."""
    if len(comparison.splits) == 1:
        return comparison.evidence(name, 0)
    return comparison.pooled_evidence(name)


def _posterior(comparison, first, second, metric, rope, found, confidence):
    """Probabilities that the first is worse, practically equal, better."""
    sign = 1 if comparison.problem.metrics[metric].greater_is_better else -1
    values = sign * fold_differences(comparison, first, second, metric)
    if not are_equal(values):
        return correlated_bayes(values, test_train_ratio(comparison), rope)
    # One test set, or equal folds: a normal posterior as wide as the interval, under a flat prior.
    std = (found.high - found.low) / (2 * stats.norm.isf((1 - confidence) / 2))
    if not std > 0:
        return np.nan, np.nan, np.nan
    posterior = stats.norm(values.mean(), std)
    worse, better = float(posterior.cdf(-rope)), float(posterior.sf(rope))
    return worse, 1 - worse - better, better


def _mcnemar_p(comparison, first, second) -> float:
    """McNemar's exact p of the predictions of all folds together, one for each sample."""
    hit, hit_too = (
        comparison.problem.right(comparison.pooled_evidence(name)) for name in (first, second)
    )
    if hit is None:
        return np.nan
    return mcnemar_test(np.sum(hit & ~hit_too), np.sum(~hit & hit_too))


def pairs(comparison, metric: str, rope: float | None, confidence: float) -> pd.DataFrame:
    """The table of ``Comparison.pairs``."""
    if rope is None:
        rope = default_rope(comparison.problem.metrics[metric], comparison.folds[metric])
    names, rows = ranking(comparison, metric), []
    for first, second in combinations(names, 2):
        found = difference(comparison, first, second, metric, confidence)
        worse, equal, better = _posterior(
            comparison, first, second, metric, rope, found, confidence
        )
        rows.append(
            {
                "first": first,
                "second": second,
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
                "p": found.p,
                "p_better": better,
                "p_equal": equal,
                "p_worse": worse,
                "p_mcnemar": _mcnemar_p(comparison, first, second),
                "method": found.method,
            }
        )
    columns = [
        "first", "second", "difference", "low", "high", "p", "p_holm", "p_better", "p_equal",
        "p_worse", "p_mcnemar", "more_samples", "method",
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    table["p_holm"] = holm(table["p"].astype(float))
    table["more_samples"] = [_more_samples(comparison, row, confidence) for row in rows_of(table)]
    return table


def rows_of(table: pd.DataFrame):
    return table.itertuples(index=False)


def ranking(comparison, metric: str) -> list:
    """The estimators, best first."""
    means = comparison.folds.groupby("estimator", sort=False)[metric].mean()
    ascending = not comparison.problem.metrics[metric].greater_is_better
    return list(means.sort_values(ascending=ascending, kind="stable").index)


def _more_samples(comparison, row, confidence) -> float:
    """How many more samples it would take to tell a pair apart: 0 if it is, NaN if unknown.

    The standard error falls as the square root of the number of samples, at the same difference.
    """
    if np.isnan(row.p) or np.isnan(row.low):
        return np.nan
    alpha = 1 - confidence
    if row.p_holm < alpha:
        return 0.0
    if row.difference == 0:
        return np.inf
    n_judged = len(np.unique(np.concatenate([test for _, test in comparison.splits])))
    # Holm asks more of a pair among several: p_holm / p times the evidence.
    level = alpha * row.p / row.p_holm if row.p_holm > 0 else alpha
    n_folds = len(comparison.splits)
    t = stats.t(n_folds - 1) if n_folds > 1 else stats.norm()
    std = (row.high - row.low) / (2 * t.isf(alpha / 2))
    needed = n_judged * (t.isf(level / 2) * std / abs(row.difference)) ** 2
    return max(needed - n_judged, 1.0)


# -- in words


def verdict(comparison, table: pd.DataFrame, metric: str, confidence: float) -> str:
    """The text of ``Comparison.verdict``, from the table of pairs."""
    failed = f" {', '.join(map(str, comparison.failures))} failed." if comparison.failures else ""
    if table.empty:
        only = comparison.names[0]
        return f"Only {only} was judged: there is nothing to compare it with.{failed}"
    leader = ranking(comparison, metric)[0]
    rows = list(rows_of(table[table["first"] == leader]))
    apart = [row for row in rows if not _is_open(row, 1 - confidence)]
    told = [_sentence(comparison, row, metric, confidence) for row in apart]
    told.sort(key=lambda sentence: " beats " not in sentence)  # what is certain comes first
    undecided = [row for row in rows if _is_open(row, 1 - confidence)]
    if len(undecided) > 3:  # as many sentences would not be read
        told.append(_joint_sentence(undecided))
    else:
        told += [_sentence(comparison, row, metric, confidence) for row in undecided]
    return "; ".join(told) + "." + failed


def _is_open(row, alpha: float) -> bool:
    """Whether a pair is neither told apart nor practically equal."""
    return not (np.isnan(row.p) or row.p_equal > 1 - alpha or row.p_holm < alpha)


def _joint_sentence(rows) -> str:
    """One sentence for several that cannot be told from the leader."""
    names = ", ".join(str(row.second) for row in rows)
    least = min(rows, key=lambda row: row.more_samples)
    told = f"{least.first} cannot be told apart from {names} on this data"
    if not np.isfinite(least.more_samples):
        return told
    more = rounded(least.more_samples)
    return f"{told}: it would take about {more} more samples for {least.second}, more for the rest"


def _sentence(comparison, row, metric, confidence) -> str:
    kind = comparison.problem.metrics[metric]

    def number(value, sign=""):
        return f"{100 * value:{sign}.1f}" if kind.in_points else f"{value:{sign}.3g}"

    scores = {name: comparison.fold_scores(name, metric) for name in (row.first, row.second)}
    for name, values in scores.items():
        unknown, n_folds = np.count_nonzero(~np.isfinite(values)), len(values)
        if unknown:
            where = f" on {unknown} of {n_folds} folds" if unknown < n_folds else ""
            return (
                f"{row.first} and {row.second} cannot be compared: {name} has no "
                f"{label(metric)}{where}"
            )
    unit = "points" if kind.in_points else label(metric)
    found = f"{number(row.difference, '+')} {unit}"
    if np.isnan(row.p):
        return (
            f"{row.first} and {row.second} differ by {found}, with no interval: nothing is known "
            "of its spread"
        )
    found += f" ({100 * confidence:g} % interval {number(row.low)} to {number(row.high)})"
    if row.p_equal > confidence:
        return f"{row.first} and {row.second} are practically equal: {found}"
    if row.p_holm < 1 - confidence:
        return f"{row.first} beats {row.second}: {found}"
    told = f"{row.first} and {row.second} cannot be told apart on this data"
    if not np.isfinite(row.more_samples) or row.more_samples > 1000 * len(comparison.y):
        return f"{told}, nor would any number of samples within reach tell them apart"
    return f"{told}: it would take about {rounded(row.more_samples)} more samples"


def rounded(value: float) -> str:
    """Two digits: more would pretend to be known."""
    digits = max(0, int(np.floor(np.log10(value))) - 1)
    return f"{int(round(value / 10**digits) * 10**digits):,}"
