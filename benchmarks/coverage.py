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
        different.append(_statistics.corrected_difference(scores[:, 0] - scores[:, 1], ratio).p)
        naive.append(_statistics.corrected_difference(scores[:, 0] - scores[:, 1], 0).p)
        found = _statistics.corrected_difference(scores[:, 0], ratio)
        covered.append(found.low <= truth <= found.high)
    return np.mean(np.array(different) < 0.05), np.mean(covered), np.mean(np.array(naive) < 0.05)


if __name__ == "__main__":
    n_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(
        "cross-validation: n, folds, repeats, equal models called different, coverage, uncorrected"
    )
    for n in (100, 400):
        for n_splits, n_repeats in [(5, 1), (10, 1), (5, 2), (5, 10)]:
            found = cross_validated(n, n_splits, n_repeats, n_runs)
            print(n, n_splits, n_repeats, *(f"{share:.3f}" for share in found), flush=True)
