"""Several estimators on several data sets: ranks, and whether they differ."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats


class Friedman(NamedTuple):
    """Average ranks (1 is best), and the tests that all estimators are equal."""

    ranks: np.ndarray
    chi2: float
    chi2_p: float
    f: float
    p: float


def friedman_test(scores: np.ndarray) -> Friedman:
    """Friedman's test with Iman and Davenport's correction [1]_.

    Unlike `scipy.stats.friedmanchisquare`, the statistic is that of [1]_, not corrected for ties.

    Parameters
    ----------
    scores : ndarray of shape (n_datasets, n_estimators)
        The greater the better.

    Returns
    -------
    Friedman
        Average ranks, chi-squared and its p-value, F and its p-value. Where all data sets rank
        alike, F is infinite, and p the probability that they do so by chance: 1 / k! for each of
        them but the first.

    References
    ----------
    .. [1] J. Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", Journal of
       Machine Learning Research 7, 2006, section 3.2.2.
    """
    n, k = scores.shape
    ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    chi2 = 12 * n / (k * (k + 1)) * (np.sum(ranks**2) - k * (k + 1) ** 2 / 4)
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-12 else np.inf
    if n < 2:
        p = np.nan
    elif np.isinf(f):
        p = float(math.factorial(k)) ** (1 - n)
    else:
        p = stats.f.sf(f, k - 1, (k - 1) * (n - 1))
    return Friedman(ranks, float(chi2), float(stats.chi2.sf(chi2, k - 1)), float(f), float(p))


def nemenyi_critical_difference(k: int, n: int, alpha: float = 0.05) -> float:
    """How far the average ranks of two among `k` estimators on `n` data sets must be apart.

    ``q sqrt(k (k + 1) / (6 n))`` with q the quantile of the studentized range over sqrt(2) (Demšar
    2006, section 3.2.2).
    """
    q = stats.studentized_range.isf(alpha, k, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * n)))


def bayesian_signed_rank(
    differences, rope: float, n_samples: int = 50_000, seed: int = 0
) -> tuple[float, float, float]:
    """The Bayesian signed rank test of two estimators over several data sets [1]_.

    Parameters
    ----------
    differences : array-like of shape (n_datasets,)
        First minus second estimator, one value for each data set.
    rope : float
        Differences between -`rope` and `rope` count as practically equal.
    n_samples : int, default=50000
        Samples drawn from the posterior, a Dirichlet distribution over the data sets and one
        pseudo-observation of no difference, of prior weight 0.5.
    seed : int, default=0
        Of the sampling.

    Returns
    -------
    worse, equal, better : float
        The posterior probabilities that on most pairs of data sets the mean difference is so.

    References
    ----------
    .. [1] A. Benavoli, G. Corani, J. Demšar, M. Zaffalon, "Time for a Change: a Tutorial for
       Comparing Multiple Classifiers Through Bayesian Analysis", Journal of Machine Learning
       Research 18, 2017, section 4.2.
    """
    values = np.append(0.0, np.asarray(differences, dtype=float))
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet([0.5] + [1.0] * (len(values) - 1), n_samples)
    sums = values[:, None] + values
    shares = [
        np.einsum("si,ij,sj->s", weights, region.astype(float), weights, optimize=True)
        for region in (sums < -2 * rope, abs(sums) <= 2 * rope, sums > 2 * rope)
    ]
    winners = np.bincount(np.argmax(shares, axis=0), minlength=3) / n_samples
    worse, equal, better = winners.tolist()
    return worse, equal, better
