"""Intervals and tests for scores: of one estimator, and of two on the same data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A confidence interval, and the method that gave it."""

    low: float
    high: float
    method: str


class Difference(NamedTuple):
    """The difference of two scores, its interval, and the two-sided p-value of no difference."""

    mean: float
    low: float
    high: float
    p: float
    method: str


NO_INTERVAL = Interval(np.nan, np.nan, "none")


def no_interval(mean: float) -> Difference:
    """A difference of whose spread nothing is known."""
    return Difference(float(mean), np.nan, np.nan, np.nan, "none")


# -- proportions


def wilson_interval(k, n, confidence: float = 0.95):
    """Wilson's score interval of a proportion [1]_.

    Parameters
    ----------
    k, n : array-like
        Hits among `n` independent trials; arrays are handled entry by entry. Where `n` is 0 nothing
        is known, and the interval is 0 to 1.
    confidence : float, default=0.95
        The confidence level.

    Returns
    -------
    low, high : ndarray

    References
    ----------
    .. [1] R. G. Newcombe, "Two-sided confidence intervals for the single proportion: comparison of
       seven methods", Statistics in Medicine 17, 1998, method 3.
    """
    k, n = np.asarray(k, dtype=float), np.asarray(n, dtype=float)
    z = stats.norm.isf((1 - confidence) / 2)
    center = k + z**2 / 2
    # k (n - k) / n, without dividing by 0
    half = z * np.sqrt(k * (n - k) / np.maximum(n, 1e-300) + z**2 / 4)
    low, high = (center - half) / (n + z**2), (center + half) / (n + z**2)
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def exact_interval(k, n, confidence: float = 0.95):
    """Clopper and Pearson's interval of a proportion, which covers at least as often as it says.

    Parameters and returns are those of `wilson_interval`; the formula by quantiles of the beta
    distribution is in [1]_.

    References
    ----------
    .. [1] L. D. Brown, T. T. Cai, A. DasGupta, "Interval Estimation for a Binomial Proportion",
       Statistical Science 16, 2001, section 4.2.1.
    """
    k, n = np.asarray(k, dtype=float), np.asarray(n, dtype=float)
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):
        low, high = stats.beta.ppf(tail, k, n - k + 1), stats.beta.isf(tail, k + 1, n - k)
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def hoeffding_bound(error: float, n: int, delta: float = 0.05) -> float:
    """An upper bound on the true error that holds with probability 1 - `delta`.

    ``error + sqrt(log(1 / delta) / (2 n))``, from Hoeffding's inequality [1]_, for the error on `n`
    samples that were used for nothing else.

    References
    ----------
    .. [1] W. Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", Journal of
       the American Statistical Association 58, 1963.
    """
    return min(1.0, error + np.sqrt(np.log(1 / delta) / (2 * n)))


def mcnemar_test(b: int, c: int) -> float:
    """McNemar's exact test of two classifiers on the same samples.

    Parameters
    ----------
    b, c : int
        How many samples only the first, and only the second classifier got right.

    Returns
    -------
    p : float
        Two-sided, of the binomial distribution [1]_; 1 where no sample tells them apart.

    References
    ----------
    .. [1] T. G. Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification
       Learning Algorithms", Neural Computation 10, 1998.
    """
    return float(stats.binomtest(min(b, c), b + c).pvalue) if b + c else 1.0


# -- cross-validated means


def corrected_std(values: np.ndarray, test_train_ratio: float) -> float:
    """The standard error of a mean over folds that share training data [1]_.

    The variance of the mean of n values is ``var (1/n + n_test/n_train)`` and not ``var / n``.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52,
       2003.
    """
    n = len(values)
    return float(np.sqrt(np.var(values, ddof=1) * (1 / n + test_train_ratio))) if n > 1 else np.nan


def corrected_t_interval(values, test_train_ratio: float, confidence: float = 0.95) -> Difference:
    """Nadeau and Bengio's corrected resampled t-test and interval (see `corrected_std`).

    Parameters
    ----------
    values : array-like of shape (n_folds,)
        One difference, or one score, of every fold.
    test_train_ratio : float
        Test samples over training samples of the actual folds.
    confidence : float, default=0.95
        The confidence level.

    Returns
    -------
    Difference
        Its `p` is two-sided, for a mean of 0. Of one fold, of equal values and of values that are
        not finite, interval and p are NaN.
    """
    values = np.asarray(values, dtype=float)
    mean, df = float(values.mean()), len(values) - 1
    if not np.isfinite(values).all() or are_equal(values):
        return no_interval(mean)
    std = corrected_std(values, test_train_ratio)
    half = stats.t.isf((1 - confidence) / 2, df) * std
    p = 2 * stats.t.sf(abs(mean) / std, df)
    return Difference(mean, mean - half, mean + half, float(p), "corrected t")


def are_equal(values: np.ndarray) -> bool:
    """Whether values differ by no more than rounding: nothing is known of their spread then."""
    return len(values) < 2 or bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def correlated_bayes(values, test_train_ratio: float, rope: float) -> tuple[float, float, float]:
    """The Bayesian correlated t-test [1]_: is the mean difference of two estimators negligible?

    Parameters
    ----------
    values : array-like of shape (n_folds,)
        The difference of the two estimators on every fold.
    test_train_ratio : float
        Test samples over training samples of the actual folds.
    rope : float
        Differences between -`rope` and `rope` count as practically equal (the region of practical
        equivalence).

    Returns
    -------
    worse, equal, better : float
        Posterior probabilities, which add up to 1; NaN where nothing is known of the spread.

    References
    ----------
    .. [1] A. Benavoli, G. Corani, J. Demšar, M. Zaffalon, "Time for a Change: a Tutorial for
       Comparing Multiple Classifiers Through Bayesian Analysis", Journal of Machine Learning
       Research 18, 2017.
    """
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all() or are_equal(values):
        return np.nan, np.nan, np.nan
    mean, std = values.mean(), corrected_std(values, test_train_ratio)
    posterior = stats.t(len(values) - 1, mean, std)
    worse, better = float(posterior.cdf(-rope)), float(posterior.sf(rope))
    return worse, 1 - worse - better, better


def holm(p_values) -> np.ndarray:
    """p-values adjusted for their number by Holm's step-down method; NaN stays NaN.

    Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal
    of Statistics 6, 1979.
    """
    p = np.array(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    p[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return p


# -- areas under ROC curves


def auc_components(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """The area under a ROC curve, and how much each sample moves it.

    Parameters
    ----------
    positive : ndarray of bool and shape (n_samples,)
        Which samples are of the positive class; both classes must occur.
    scores : ndarray of shape (n_samples,)
        The greater, the more positive.

    Returns
    -------
    auc : float
    influence : ndarray of shape (n_samples,)
        DeLong's structural components [1]_, centered and scaled such that the sum of squares is
        the variance of the area; differences and means of areas on the same samples have the
        differences and means of their influences.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More
       Correlated Receiver Operating Characteristic Curves", Biometrics 44, 1988; by ranks as in
       X. Sun, W. Xu, IEEE Signal Processing Letters 21, 2014.
    """
    influence = np.zeros(len(scores))
    ranks = stats.rankdata(scores)
    m, n = np.count_nonzero(positive), np.count_nonzero(~positive)
    above = (ranks[positive] - stats.rankdata(scores[positive])) / n  # negatives below a positive
    below = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / m
    auc = float(above.mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        influence[positive] = (above - auc) / np.sqrt(m * (m - 1.0))
        influence[~positive] = (below - auc) / np.sqrt(n * (n - 1.0))
    return auc, influence


def paired_proportions(b: int, c: int, n: int, confidence: float = 0.95) -> Difference:
    """The difference of two proportions on the same samples.

    Parameters
    ----------
    b, c : int
        How many of the samples only the first, and only the second got right.
    n : int
        The number of samples.
    confidence : float, default=0.95
        The confidence level.

    Returns
    -------
    Difference
        The interval is Bonett and Price's adjusted Wald interval [1]_, the p-value McNemar's exact.

    References
    ----------
    .. [1] D. G. Bonett, R. M. Price, "Adjusted Wald Confidence Interval for a Difference of
       Binomial Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics
       37, 2012.
    """
    first, second = (b + 1) / (n + 2), (c + 1) / (n + 2)
    half = stats.norm.isf((1 - confidence) / 2) * np.sqrt(
        (first + second - (first - second) ** 2) / (n + 2)
    )
    center, p = first - second, mcnemar_test(b, c)
    return Difference((b - c) / n, float(center - half), float(center + half), p, "McNemar")


def normal_difference(mean: float, std: float, confidence: float, method: str) -> Difference:
    """A difference whose estimate is normally distributed."""
    if not (np.isfinite(mean) and 0 < std < np.inf):
        return no_interval(mean)
    half = stats.norm.isf((1 - confidence) / 2) * std
    p = 2 * stats.norm.sf(abs(mean) / std)
    return Difference(float(mean), float(mean - half), float(mean + half), float(p), method)
