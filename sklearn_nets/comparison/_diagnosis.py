"""What is wrong with models and data, in sentences, each with its evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import stats

from ._diagnosis_data import check_data, check_labels
from ._findings import Finding, baselines
from ._judgment import difference, interval, rounded, rows_of, test_train_ratio
from ._metrics import Answer, Evidence
from ._statistics import are_equal, corrected_t_interval, normal_difference
from ._tables import label

__all__ = ["Finding", "diagnose"]

ALPHA = 0.05  # of what is told apart
LARGE_GAP = 0.05  # of a score that is 1 at best, or of the loss of who has learned nothing
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
    """A column of every fold, by estimator, the greater the better; empty if it was not measured.

    So losses are negative here.
    """
    if column not in comparison.folds:
        return {}
    sign = _sign(comparison)
    by_estimator = comparison.folds.groupby("estimator", sort=False)[column]
    scores = {name: sign * values.to_numpy(np.float64) for name, values in by_estimator}
    return {name: values for name, values in scores.items() if np.isfinite(values).all()}


def _main(comparison):
    return comparison.problem.metrics[comparison.problem.main_metric]


def _sign(comparison) -> int:
    return 1 if _main(comparison).greater_is_better else -1


def _number(comparison, score: float) -> str:
    """A score as the metric has it."""
    return _size(comparison, _sign(comparison) * score + 0.0)  # 0, and not -0


def _size(comparison, gap: float) -> str:
    """A difference of two scores, positive where the first is better."""
    return f"{gap:.3f}" if _main(comparison).bounds[1] == 1 else f"{gap:.4g}"


def _scale(comparison, test, dummies) -> float:
    """What a gap is large against: 1, or of a loss that of who has learned nothing."""
    if _main(comparison).bounds[1] == 1:
        return 1.0
    constant = [abs(test[name].mean()) for name in test if name in dummies]
    return min(constant) if constant else max(abs(scores.mean()) for scores in test.values())


def _ahead(comparison, first, second) -> tuple[float, float, float]:
    """How far an estimator is ahead of another on unseen data, and the interval of that."""
    metric = comparison.problem.main_metric
    mean, low, high, *_ = difference(comparison, first, second, metric, 0.95)
    return (mean, low, high) if _main(comparison).greater_is_better else (-mean, -high, -low)


def _gap(comparison, trained, tested) -> tuple[float, float, float]:
    """Score on training data minus that of an estimator on unseen data, and the interval of that.

    NaN where nothing is known of the spread.
    """
    metric = comparison.problem.main_metric
    values = _scores(comparison, "train_score")[trained] - _scores(comparison, metric)[tested]
    if not are_equal(values):
        return corrected_t_interval(values, test_train_ratio(comparison))[:3]
    # one test set, or equal folds: two independent samples, of which that of the training data,
    # whose answers were not kept, is taken to vary as unseen data do; who never varies, not at all
    n_train, n_test = comparison.folds["n_train"].iloc[0], comparison.folds["n_test"].iloc[0]
    unseen = _variance(comparison, tested)
    seen = _variance(comparison, trained) * max(1.0, n_test / n_train)
    return normal_difference(values.mean(), np.sqrt(np.nansum([seen, unseen])), 0.95, "")[:3]


def _variance(comparison, name) -> float:
    """The squared standard error of a score on unseen data, by its interval."""
    found = interval(comparison, name, comparison.problem.main_metric, 0.95)
    return ((found.high - found.low) / (2 * Z)) ** 2


def _check_fit(comparison) -> Iterator[Finding]:
    metric = comparison.problem.main_metric
    test, train = _scores(comparison, metric), _scores(comparison, "train_score")
    dummies = baselines(comparison)
    judged = {name: scores for name, scores in test.items() if name not in dummies}
    if not judged:
        return
    scale, test, sign = _scale(comparison, test, dummies), judged, _sign(comparison)
    best = max(test, key=lambda name: test[name].mean())
    number, size = partial(_number, comparison), partial(_size, comparison)
    for name in test:
        if name not in train:
            continue
        gap, low, high = _gap(comparison, name, name)
        seen, unseen = float(train[name].mean()), float(test[name].mean())
        numbers = {"estimator": name, "metric": metric, "train_score": sign * seen}
        numbers |= {"test_score": sign * unseen}
        on_train = f"{label(metric)} {number(seen)} on its training data"
        if low > LARGE_GAP * scale:
            but = ". It is the best model all the same" if name == best else ""
            worse = name != best and _ahead(comparison, best, name)[1] > 0
            yield Finding(
                "over-fit",
                "warning" if worse else "note",
                f"{name} over-fits: {on_train}, {number(unseen)} on unseen data; the gap is "
                f"{size(gap)} (95 % interval {size(low)} to {size(high)}){but}. More data, "
                "augmentation or stronger regularization would help.",
                {**numbers, "gap": gap, "interval": (low, high)},
            )
        if name == best:
            continue
        behind, high, low = (-value for value in _gap(comparison, name, best))
        if low > 0:
            yield Finding(
                "under-fit",
                "warning",
                f"{name} under-fits: {on_train} is worse than {best} on unseen data "
                f"({number(test[best].mean())}; by {size(behind)}, 95 % interval {size(low)} to "
                f"{size(high)}). A larger model, weaker regularization or longer training would "
                "help.",
                {**numbers, "best": best, "gap": behind, "interval": (low, high)},
            )
    yield from _check_against_dummies(comparison, test, dummies)


def _check_against_dummies(comparison, test, dummies) -> Iterator[Finding]:
    """Whether estimators are better than the best dummy, or else than the best constant answer."""
    metric = comparison.problem.main_metric
    constant = {k: v for k, v in _scores(comparison, metric).items() if k in dummies}
    if constant:
        baseline = max(constant, key=lambda name: constant[name].mean())
        words, scores = f"{baseline}, which says the same of every sample", constant[baseline]
        errors = sample_errors(comparison, comparison.predictions[baseline])
    else:
        answers = _constant_answers(comparison)
        if answers is None:
            return
        baseline, predictions, scores = answers
        words, errors = baseline, sample_errors(comparison, predictions)
    for name in test:
        if constant:
            ahead, low, high = _ahead(comparison, name, baseline)
        else:
            ratio = test_train_ratio(comparison)
            ahead, low, high, *_ = corrected_t_interval(test[name] - scores, ratio)
        fewer_errors = errors - sample_errors(comparison, comparison.predictions[name])
        if not low > 0 and _normal_interval(fewer_errors)[0] <= 0:
            found = ""
            if np.isfinite(low):
                ends = f"{_size(comparison, low)} to {_size(comparison, high)}"
                found = f" (a difference of {_size(comparison, ahead)}, 95 % interval {ends})"
            yield Finding(
                "under-fit",
                "warning",
                f"{name} is not clearly better than {words}: "
                f"{label(metric)} {_number(comparison, test[name].mean())} against "
                f"{_number(comparison, scores.mean())}{found}.",
                {"estimator": name, "baseline": baseline, "gap": ahead, "interval": (low, high)},
            )


def _constant_answers(comparison):
    """Words, predictions and scores of the best constant answer on every fold.

    None where the main metric is another than the problem's own, which needs more than predictions.
    """
    problem, metric = comparison.problem, comparison.problem.main_metric
    if metric != problem.default_metric or problem.constant_answer(comparison.y) is None:
        return None
    predictions, scores = [], []
    for train, test in comparison.splits:
        y = problem.take(test)
        answer, words = problem.constant_answer(problem.take(train))
        predictions.append(np.full(len(y), answer))
        evidence = Evidence(problem, y, Answer(predictions[-1]))
        scores.append(problem.judge(evidence, [metric])[metric])
    return words, predictions, _sign(comparison) * np.array(scores)


def _check_convergence(comparison) -> Iterator[Finding]:
    warned = set()
    for name, messages in comparison.warnings.items():
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
    for name, curves in comparison.curves.items():
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
    both = {first, second}
    (pair,) = (row for row in rows_of(comparison.pairs()) if {row.first, row.second} == both)
    if not pair.p_holm >= ALPHA:
        return
    n, more = len(np.unique(np.concatenate([t for _, t in comparison.splits]))), None
    cure = "No number of samples that one could collect would do."
    if pair.more_samples < MOST_NEEDED:
        more = pair.more_samples
        cure = f"If the difference is as large as it looks, about {rounded(more)} more would do."
    yield Finding(
        "test set too small",
        "warning",
        f"{first} and {second}, the leaders by {label(metric)} "
        f"({_number(comparison, scores[first])} and {_number(comparison, scores[second])}), cannot "
        f"be told apart on {n:,} test samples. {cure}",
        {
            "estimators": (first, second),
            "difference": pair.difference,
            "interval": (pair.low, pair.high),
            "n_samples": n,
            "more_samples": more,
        },
    )


def _normal_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of many independent values."""
    if len(values) < 2:
        return -np.inf, np.inf
    half = Z * float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def sample_errors(comparison, predictions: list) -> np.ndarray:
    """The error on each tested sample (`Problem.errors`), the mean where it was tested again.

    Of the predictions of every fold.
    """
    problem, n = comparison.problem, len(comparison.y)
    total, count = np.zeros(n), np.zeros(n)
    for (_, test), predicted in zip(comparison.splits, predictions):
        np.add.at(total, test, problem.errors(problem.take(test), predicted))
        np.add.at(count, test, 1)
    return total[count > 0] / count[count > 0]
