"""How often the intervals of the comparison hold the truth, and how often equal models "differ".

Nearest-centroid classifiers on normal data, where the truth of every fitted model has a formula.
Two of them see other columns of equal worth: they are equal on average, and each run of one is as
good as chance decides. Run as ``python -m benchmarks.coverage [n_runs]``; it prints a table.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.stats import norm
from sklearn.model_selection import RepeatedStratifiedKFold

from sklearn_nets.comparison import _statistics
from sklearn_nets.comparison._metrics import Answer, Evidence
from sklearn_nets.comparison._problems import Classification

N_COLUMNS = 5  # of each of the two models
SEPARATION = 0.45  # of the class means, in each column


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of two classes, as often one as the other."""
    y = np.arange(n) % 2
    X = rng.normal(size=(n, 2 * N_COLUMNS)) + SEPARATION * (y[:, None] - 0.5)
    return X, y


def fit(X, y):
    """The line between the two centroids, for both halves of the columns."""
    one, zero = X[y == 1].mean(axis=0), X[y == 0].mean(axis=0)
    halves = [slice(0, N_COLUMNS), slice(N_COLUMNS, None)]
    return [(h, one[h] - zero[h], ((one[h] + zero[h]) / 2) @ (one[h] - zero[h])) for h in halves]


def hits(models, X, y) -> np.ndarray:
    """Which samples each model gets right, shape (2, n)."""
    return np.array([(X[:, h] @ w > b) == y for h, w, b in models])


def true_accuracy(models) -> np.ndarray:
    """The accuracy of each model on all samples there could be."""
    found = []
    for _, w, b in models:
        center, length = SEPARATION / 2 * w.sum(), np.linalg.norm(w)
        found.append((norm.cdf((center - b) / length) + norm.cdf((center + b) / length)) / 2)
    return np.array(found)


def cross_validated(n: int, n_splits: int, n_repeats: int, n_runs: int, seed: int = 0):
    """Type I error of the corrected t-test, and coverage of the interval of one model's mean."""
    rng = np.random.default_rng(seed)
    n_train = n - n // n_splits
    truth = np.mean([true_accuracy(fit(*draw(rng, n_train))) for _ in range(4000)])
    different, covered, naive = [], [], []
    for run in range(n_runs):
        X, y = draw(rng, n)
        cv = RepeatedStratifiedKFold(n_splits=n_splits, n_repeats=n_repeats, random_state=run)
        scores = np.array(
            [hits(fit(X[a], y[a]), X[b], y[b]).mean(axis=1) for a, b in cv.split(X, y)]
        )
        ratio = 1 / (n_splits - 1)
        different.append(_statistics.corrected_t_interval(scores[:, 0] - scores[:, 1], ratio).p)
        naive.append(_statistics.corrected_t_interval(scores[:, 0] - scores[:, 1], 0).p)
        found = _statistics.corrected_t_interval(scores[:, 0], ratio)
        covered.append(found.low <= truth <= found.high)
    return np.mean(np.array(different) < 0.05), np.mean(covered), np.mean(np.array(naive) < 0.05)


def on_a_test_set(n: int, n_runs: int, seed: int = 0) -> dict[str, float]:
    """Coverage of the intervals of one test set, and type I errors of the tests of a pair."""
    rng = np.random.default_rng(seed)
    models = fit(*draw(rng, 60))
    # Equal on average over what they were fitted to, not each for itself: make them so.
    models[1] = (slice(N_COLUMNS, None), *models[0][1:])
    metrics = Classification(np.arange(4) % 2).metrics
    truths = _truths(models, metrics, draw(rng, 1_000_000))
    found = {}
    for _ in range(n_runs):
        pair = [_evidence(model, *draw_once) for draw_once in [draw(rng, n)] for model in models]
        for name in ("accuracy", "macro_f1", "roc_auc", "log_loss"):
            low, high, _ = metrics[name].interval(pair[0], 0.95)
            found.setdefault(f"{name} covered", []).append(low <= truths[name] <= high)
            p = metrics[name].difference(*pair, 0.95).p
            found.setdefault(f"{name} called different", []).append(p < 0.05)
    return {what: float(np.mean(runs)) for what, runs in found.items()}


def _evidence(model, X, y) -> Evidence:
    columns, w, b = model
    p = 1 / (1 + np.exp(-(X[:, columns] @ w - b)))
    answer = Answer((p > 0.5).astype(int), np.stack([1 - p, p], axis=1))
    return Evidence(Classification(y), y, answer)


def _truths(models, metrics, data) -> dict[str, float]:
    evidence = _evidence(models[0], *data)
    return {name: metric.score(evidence) for name, metric in metrics.items()}


if __name__ == "__main__":
    n_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for n in (100, 400):
        print(f"a test set of {n}")
        for what, share in on_a_test_set(n, n_runs).items():
            print(f"  {what} {share:.3f}", flush=True)
    print(
        "cross-validation: n, folds, repeats, equal models called different, coverage, uncorrected"
    )
    for n in (100, 400):
        for n_splits, n_repeats in [(5, 1), (10, 1), (5, 2), (5, 10)]:
            shares = cross_validated(n, n_splits, n_repeats, n_runs)
            print(n, n_splits, n_repeats, *(f"{share:.3f}" for share in shares), flush=True)
