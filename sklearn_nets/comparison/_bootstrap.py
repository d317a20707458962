"""Intervals by resampling: for whatever is a function of sums over cases."""

from __future__ import annotations

import numpy as np
from scipy import stats


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

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, section 14.3.
    """
    n = len(resampled)
    if np.ptp(resampled) == 0:
        return float(resampled[0]), float(resampled[0])
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
    """The two-sided p-value of no difference: twice the smaller share of resamples beyond 0."""
    tail = min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    return min(1.0, 2 * (tail + 1) / (len(resampled) + 1))
