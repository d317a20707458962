"""What is wrong with models and data, in sentences, each with its evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from scipy import stats

from ._diagnosis_data import check_data, check_labels
from ._findings import Finding, baselines
from ._statistics import corrected_difference
from ._tables import label

__all__ = ["Finding", "diagnose"]

LARGE_GAP = 0.05  # of a score that is 1 at best
STILL_FALLING = 0.1  # of all that the loss fell, in the last tenth of the epochs
DIVERGED = 0.5  # of all that the loss fell, it rose again
MOST_NEEDED = 10_000_000  # samples; beyond, two models are equal for all purposes
Z = float(stats.norm.isf(0.025))


def diagnose(comparison, X=None) -> list[Finding]:
    """Look for what makes scores poor, or not to be believed.

    Models: under-fit (worse on its training data than the best model is on unseen data), over-fit
    (much better on its training data than on unseen data), not converged, and leaders that this
    test set cannot tell apart. Data: classes too small for the folds or rare, and, if X is given,
    samples that are in training and test data, features that are constant or that alone predict y,
    and labels that most similar samples contradict.

    Parameters
    ----------
    comparison : Comparison
    X : DataFrame or array-like of n_samples rows or images, optional
        What ``comparison.splits`` counts in. Sparse matrices are not looked into.

    Returns
    -------
    list of Finding
        Warnings first.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_nets.comparison import compare
    >>> from sklearn_nets.comparison._diagnosis import diagnose
    >>> X, y = load_iris(return_X_y=True)
    >>> X = np.column_stack([X, np.ones(150), y])
    >>> result = compare({"kNN": KNeighborsClassifier()}, X, y, random_state=0)
    >>> for finding in diagnose(result, X):
    ...     print(finding.kind, finding.evidence.get("features"))
    duplicates None
    leaking features [5]
    constant features [4]
    """
    findings = [
        *check_labels(comparison),
        *_check_fit(comparison),
        *_check_convergence(comparison),
        *_check_leaders(comparison),
        *(check_data(comparison, X) if X is not None else []),
    ]
    return sorted(findings, key=lambda finding: finding.severity != "warning")


# --- models --------------------------------------------------------------------------------------


def _scores(comparison, column: str) -> dict[str, np.ndarray]:
    """A column of every fold, by estimator; empty where it was not measured."""
    if column not in comparison.folds:
        return {}
    by_estimator = comparison.folds.groupby("estimator", sort=False)[column]
    scores = {name: values.to_numpy(np.float64) for name, values in by_estimator}
    return {name: values for name, values in scores.items() if np.isfinite(values).all()}


def _gap(higher, lower, comparison) -> tuple[float, float, float]:
    """The mean difference of two scores over the folds, and its interval."""
    n_train, n_test = comparison.folds["n_train"], comparison.folds["n_test"]
    difference = higher - lower
    if len(difference) > 1:
        ratio = float((n_test / n_train).mean())
        return float(difference.mean()), *corrected_difference(difference, ratio)[1:3]
    # one test set: scores as proportions, whose variance is largest for the lower bound's sake
    p, q = np.clip([higher[0], lower[0]], 0, 1)
    error = np.sqrt(p * (1 - p) / n_train.iloc[0] + q * (1 - q) / n_test.iloc[0])
    return float(difference[0]), float(difference[0] - Z * error), float(difference[0] + Z * error)


def _check_fit(comparison) -> Iterator[Finding]:
    metric = comparison.problem.main_metric
    test, train = _scores(comparison, metric), _scores(comparison, "train_score")
    dummies = baselines(comparison)
    test = {name: scores for name, scores in test.items() if name not in dummies}
    if not test:
        return
    best = max(test, key=lambda name: test[name].mean())
    words = label(metric)
    for name in test:
        if name not in train:
            continue
        gap, low, high = _gap(train[name], test[name], comparison)
        numbers = {"estimator": name, "metric": metric, "train_score": float(train[name].mean())}
        numbers |= {"test_score": float(test[name].mean())}
        on_train = f"{words} {numbers['train_score']:.3f} on its training data"
        if low > LARGE_GAP:
            but = ". It is the best model all the same" if name == best else ""
            worse = name != best and _gap(test[best], test[name], comparison)[1] > 0
            yield Finding(
                "over-fit",
                "warning" if worse else "note",
                f"{name} over-fits: {on_train}, {numbers['test_score']:.3f} on unseen data; the "
                f"gap is {gap:.3f} (95 % interval {low:.3f} to {high:.3f}){but}. More data, "
                "augmentation or stronger regularization would help.",
                {**numbers, "gap": gap, "interval": (low, high)},
            )
        behind, low, high = _gap(test[best], train[name], comparison)
        if name != best and low > 0:
            yield Finding(
                "under-fit",
                "warning",
                f"{name} under-fits: {on_train} is less than {best} reaches on unseen data "
                f"({test[best].mean():.3f}; {behind:.3f} more, 95 % interval {low:.3f} to "
                f"{high:.3f}). A larger model, weaker regularization or longer training would "
                "help.",
                {**numbers, "best": best, "gap": behind, "interval": (low, high)},
            )
    yield from _check_against_dummies(comparison, test, dummies)


def _check_against_dummies(comparison, test, dummies) -> Iterator[Finding]:
    metric = comparison.problem.main_metric
    constant = {k: v for k, v in _scores(comparison, metric).items() if k in dummies}
    if not constant:
        return
    dummy = max(constant, key=lambda name: constant[name].mean())
    for name, scores in test.items():
        gap, low, high = _gap(scores, constant[dummy], comparison)
        fewer_errors = sample_errors(comparison, dummy) - sample_errors(comparison, name)
        if low <= 0 and _normal_interval(fewer_errors)[0] <= 0:
            yield Finding(
                "under-fit",
                "warning",
                f"{name} is not clearly better than {dummy}, which says the same of every sample: "
                f"{label(metric)} {scores.mean():.3f} against "
                f"{constant[dummy].mean():.3f} (difference {gap:.3f}, 95 % interval {low:.3f} to "
                f"{high:.3f}).",
                {"estimator": name, "baseline": dummy, "gap": gap, "interval": (low, high)},
            )


def _check_convergence(comparison) -> Iterator[Finding]:
    warned = set()
    for name, messages in getattr(comparison, "warnings", {}).items():
        told = [(fold, text) for fold, text in messages if re.search("converge", text, re.I)]
        folds = sorted({fold for fold, _ in told})
        if folds:
            warned.add(name)
            yield Finding(
                "not converged",
                "warning",
                f"{name} has not converged on {len(folds)} of {len(comparison.splits)} folds: "
                f'"{told[0][1]}" More iterations or a larger learning rate would help.',
                {"estimator": name, "folds": folds, "message": told[0][1]},
            )
    for name, curves in getattr(comparison, "curves", {}).items():
        losses = [np.asarray(curve.get("loss", []), np.float64) for curve in curves]
        diverged = [fold for fold, loss in enumerate(losses) if _diverged(loss)]
        falling = [fold for fold, loss in enumerate(losses) if _still_falling(loss)]
        if diverged:
            yield Finding(
                "not converged",
                "warning",
                f"{name}: the training loss went up again on {len(diverged)} of {len(losses)} "
                "folds. A smaller learning rate would help.",
                {"estimator": name, "folds": diverged},
            )
        elif falling and name not in warned:
            yield Finding(
                "not converged",
                "note",
                f"{name}: the training loss was still falling when training ended, on "
                f"{len(falling)} of {len(losses)} folds. More epochs may help.",
                {"estimator": name, "folds": falling},
            )


def _diverged(loss: np.ndarray) -> bool:
    if not np.isfinite(loss).all():
        return True
    if len(loss) < 3:
        return False
    lowest = loss.min()
    return bool(loss[-1] - lowest > DIVERGED * max(loss[0] - lowest, 1e-12 * abs(lowest)))


def _still_falling(loss: np.ndarray) -> bool:
    if len(loss) < 10 or _diverged(loss):
        return False
    late = len(loss) - max(1, len(loss) // 10) - 1
    return bool(loss[late] - loss[-1] > STILL_FALLING * (loss[0] - loss[-1]) > 0)


def _check_leaders(comparison) -> Iterator[Finding]:
    metric = comparison.problem.main_metric
    dummies = baselines(comparison)
    scores = {k: v.mean() for k, v in _scores(comparison, metric).items() if k not in dummies}
    if len(scores) < 2:
        return
    first, second = sorted(scores, key=scores.get, reverse=True)[:2]
    difference = sample_errors(comparison, second) - sample_errors(comparison, first)
    n, mean, (low, high) = len(difference), float(difference.mean()), _normal_interval(difference)
    if low > 0 or high < 0:
        return
    needed = n * ((mean - low) / mean) ** 2 if mean > 0 else np.inf
    if needed < MOST_NEEDED:
        digits = 10 ** max(0, int(np.log10(needed)) - 1)  # two of them: it is a guess
        needed = int(np.ceil(needed / digits) * digits)
        cure = f"If the difference is as large as it looks, about {needed:,} samples would do."
    else:
        needed, cure = None, "No number of samples that one could collect would do."
    yield Finding(
        "test set too small",
        "warning",
        f"{first} and {second}, the leaders by {label(metric)} ({scores[first]:.3f} and "
        f"{scores[second]:.3f}), cannot be told apart on {n:,} test samples. {cure}",
        {
            "estimators": (first, second),
            "difference_of_errors": mean,
            "interval": (low, high),
            "n_samples": n,
            "n_needed": needed,
        },
    )


def _normal_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of many independent values."""
    if len(values) < 2:
        return -np.inf, np.inf
    half = Z * float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def sample_errors(comparison, name: str) -> np.ndarray:
    """The error on each tested sample (`Problem.errors`), the mean where it was tested again."""
    problem, n = comparison.problem, len(comparison.y)
    total, count = np.zeros(n), np.zeros(n)
    for (_, test), predicted in zip(comparison.splits, comparison.predictions[name]):
        np.add.at(total, test, problem.errors(problem.take(test), predicted))
        np.add.at(count, test, 1)
    return total[count > 0] / count[count > 0]
