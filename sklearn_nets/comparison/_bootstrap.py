"""Intervals by resampling: for whatever is a function of sums over cases."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ._statistics import are_equal


def bootstrap_sums(cases: np.ndarray, n_resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Resample cases (samples or images) with replacement, and add up what they hold.

    Parameters
    ----------
    cases : ndarray of shape (n_cases, d)
        What each case adds to the sums that a metric is a function of.
    n_resamples : int, default=2000
        How often.
    seed : int, default=0
        Of the resampling: with the same seed, two estimators on the same cases are resampled alike.

    Returns
    -------
    ndarray of shape (n_resamples, d)
    """
    n, rng, sums = len(cases), np.random.default_rng(seed), []
    chunk = max(1, 4_000_000 // n)
    cases = np.asarray(cases, dtype=float)
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        # One product of matrices instead of 2,000 gathers.
        sums.append(weights.astype(float) @ cases)
    return np.concatenate(sums)


def bca_interval(
    observed: float, resampled: np.ndarray, without_one: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval [1]_.

    Parameters
    ----------
    observed : float
        The statistic of the cases themselves.
    resampled : ndarray of shape (n_resamples,)
        The statistic of every resample.
    without_one : ndarray of shape (n_cases,)
        The statistic with each of the cases left out.
    confidence : float, default=0.95
        The confidence level.

    Returns
    -------
    low, high : float
        NaN where the resamples do not differ, and so say nothing of the spread. Resamples without
        a value, such as those without a sample of some class, do not count.

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, section 14.3.
    """
    resampled, without_one = finite(resampled), finite(without_one)
    n = len(resampled)
    if are_equal(resampled) or not np.isfinite(observed):
        return np.nan, np.nan
    share = (np.mean(resampled < observed) + np.mean(resampled <= observed)) / 2
    bias = stats.norm.ppf(np.clip(share, 0.5 / n, 1 - 0.5 / n))
    centered = without_one.mean() - without_one
    spread = np.sum(centered**2) ** 1.5
    acceleration = np.sum(centered**3) / (6 * spread) if spread > 0 else 0.0
    z = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = stats.norm.cdf(bias + z / (1 - acceleration * z))
    low, high = np.quantile(resampled, levels)
    return float(low), float(high)


def bootstrap_p(resampled: np.ndarray) -> float:
    """The two-sided p-value of no difference: twice the smaller share of resamples beyond 0.

    Where no resample lies there, their number says no more than that the share is less than one of
    them: the tail is then that of the normal distribution of their mean and standard deviation, if
    it is smaller. So a difference of many standard errors remains one among many pairs.
    """
    resampled = finite(resampled)
    if are_equal(resampled):
        return 1.0 if len(resampled) and not resampled.any() else np.nan
    tail = min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    p = min(1.0, 2 * (tail + 1) / (len(resampled) + 1))
    if tail:
        return p
    return min(p, float(2 * stats.norm.sf(abs(resampled.mean()) / resampled.std())))


def finite(values: np.ndarray) -> np.ndarray:
    """Those of the values that are finite."""
    return values[np.isfinite(values)]
