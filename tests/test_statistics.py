"""The statistics of the comparison, held to published examples, to identities and to simulations."""

import time

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from sklearn_nets.comparison import _bootstrap, _ranks, _statistics


@pytest.fixture(scope="module")
def moons():
    """scikit-learn's example "Statistical comparison of models using grid search"."""
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), X, y, cv=cv, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    return rbf - linear, 10 / 90


def test_corrected_t_test_equals_scikit_learns_example(moons):
    differences, ratio = moons
    found = _statistics.corrected_t_interval(differences, ratio)
    t = found.mean / _statistics.corrected_std(differences, ratio)
    assert (round(t, 3), round(found.p / 2, 3)) == (0.750, 0.227)
    t = found.mean / _statistics.corrected_std(differences, 0)
    assert (round(t, 3), round(stats.t.sf(t, 99), 3)) == (2.611, 0.005)
    assert (round(found.low, 4), round(found.high, 4)) == (-0.0164, 0.0364)


def test_bayesian_t_test_equals_scikit_learns_example(moons):
    _, _, better = _statistics.correlated_bayes(*moons, rope=0)
    assert round(better, 3) == 0.773
    found = _statistics.correlated_bayes(*moons, rope=0.01)
    assert [round(p, 3) for p in found] == [0.068, 0.432, 0.500]
    baycomp = pytest.importorskip("baycomp")
    differences, _ = moons
    theirs = baycomp.two_on_single(differences * 0, differences, rope=0.01, runs=10)
    np.testing.assert_allclose(found, theirs, rtol=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "wilson", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0, 0.1611), (0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_of_proportions_equal_newcombe_and_scipy(k, n, wilson, exact):
    for interval, published, name in [
        (_statistics.wilson_interval, wilson, "wilson"),
        (_statistics.exact_interval, exact, "exact"),
    ]:
        for hits, flip in [(k, False), (n - k, True)]:
            found = np.array(interval(hits, n))
            np.testing.assert_allclose(
                found, stats.binomtest(hits, n).proportion_ci(method=name), atol=1e-12
            )
            low, high = (1 - found[::-1]) if flip else found
            assert (round(low, 4), round(high, 4)) == published


def test_intervals_of_proportions_take_arrays_and_know_nothing_of_no_trials():
    for interval in (_statistics.wilson_interval, _statistics.exact_interval):
        low, high = interval([0, 3], [0, 5])
        assert (low[0], high[0]) == (0, 1)
        assert 0 < low[1] < 0.6 < high[1] < 1


@pytest.mark.parametrize(("b", "c", "p"), [(121, 59, 0.000004), (70, 59, 0.378688)])
def test_mcnemar_equals_r(b, c, p):
    assert _statistics.mcnemar_test(b, c) == pytest.approx(p, abs=5e-7)
    assert _statistics.mcnemar_test(c, b) == _statistics.mcnemar_test(b, c)
    assert _statistics.mcnemar_test(0, 0) == 1


DEMSAR = np.array(
    """.763 .768 .771 .798 / .599 .591 .590 .569 / .954 .971 .968 .967 / .628 .661 .654 .657 /
    .882 .888 .886 .898 / .936 .931 .916 .931 / .661 .668 .609 .685 / .583 .583 .563 .625 /
    .775 .838 .866 .875 / 1 1 1 1 / .940 .962 .965 .962 / .619 .666 .614 .669 /
    .972 .981 .97501 .975 / .957 .978 .946 .970""".replace("/", "").split(),
    dtype=float,
).reshape(14, 4)


def test_friedman_and_nemenyi_equal_demsar():
    found = _ranks.friedman_test(DEMSAR)
    assert found.ranks.round(3).tolist() == [3.143, 2.000, 2.893, 1.964]
    assert (round(found.chi2, 2), round(found.f, 2), round(found.p, 4)) == (9.28, 3.69, 0.0198)
    assert round(_ranks.nemenyi_critical_difference(4, 14), 2) == 1.25
    assert round(_ranks.nemenyi_critical_difference(4, 14, 0.10), 2) == 1.12
    # scipy's is corrected for ties; without ties both are the same.
    assert round(stats.friedmanchisquare(*DEMSAR.T).statistic, 2) == 10.23
    untied = np.random.default_rng(0).random((9, 5))
    expected = stats.friedmanchisquare(*untied.T)
    found = _ranks.friedman_test(untied)
    np.testing.assert_allclose((found.chi2, found.chi2_p), (expected.statistic, expected.pvalue))


def test_signed_ranks_of_demsars_table():
    differences = DEMSAR[:, 1] - DEMSAR[:, 0]
    differences = differences.round(4)  # the table has three digits: equal ones are ties
    plus = stats.wilcoxon(differences, zero_method="zsplit", alternative="greater").statistic
    assert (plus, 14 * 15 / 2 - plus) == (93, 12)
    worse, equal, better = _ranks.bayesian_signed_rank(differences, rope=0)
    assert worse + equal + better == pytest.approx(1)
    assert better > 0.95
    assert _ranks.bayesian_signed_rank(-differences, rope=0)[0] == pytest.approx(better, abs=0.01)
    assert _ranks.bayesian_signed_rank(differences, rope=0.2)[1] == 1
    baycomp = pytest.importorskip("baycomp")
    theirs = baycomp.two_on_multiple(DEMSAR[:, 0], DEMSAR[:, 1], rope=0.01, random_state=0)
    found = _ranks.bayesian_signed_rank(differences, rope=0.01)
    np.testing.assert_allclose(found, theirs, atol=0.01)


def test_holm():
    adjusted = _statistics.holm([0.01, 0.04, 0.03, np.nan])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, np.nan])
    assert _statistics.holm([0.9, 0.8]).tolist() == [1, 1]


def test_hoeffding():
    assert _statistics.hoeffding_bound(0.1, 1000, 0.05) == pytest.approx(
        0.1 + np.sqrt(np.log(20) / 2000)
    )
    assert _statistics.hoeffding_bound(0.9, 3) == 1


def test_delong_is_the_two_sample_jackknife():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3 == 0
    scores = y * 0.8 + rng.normal(size=(2, 60))
    scores[1] = scores[1].round(1)  # with ties
    areas, influences = zip(*[_statistics.auc_components(y, s) for s in scores])
    np.testing.assert_allclose(areas, [roc_auc_score(y, s) for s in scores], rtol=1e-12)
    variance = np.sum((influences[0] - influences[1]) ** 2)

    def difference(kept):
        return roc_auc_score(y[kept], scores[0][kept]) - roc_auc_score(y[kept], scores[1][kept])

    jackknife = 0
    for group in (y, ~y):
        left_out = [difference(np.arange(60) != i) for i in np.flatnonzero(group)]
        m = len(left_out)
        jackknife += (m - 1) / m * np.sum((left_out - np.mean(left_out)) ** 2)
    assert variance == pytest.approx(jackknife, rel=1e-9)


# -- bootstrap

LAW_SCHOOLS = np.array(
    [
        [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594],
        [3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96],
    ]
)


def bca(cases, statistic, confidence=0.95, n_resamples=2000, seed=0):
    total, resampled = cases.sum(axis=0), _bootstrap.bootstrap_sums(cases, n_resamples, seed)
    return _bootstrap.bca_interval(
        statistic(total), statistic(resampled), statistic(total - cases), confidence
    )


def test_bca_bootstrap_equals_efron_and_tibshirani_and_scipy():
    x, y = LAW_SCHOOLS
    cases = np.stack([np.ones(15), x, y, x * x, y * y, x * y], axis=1)

    def correlation(sums):
        n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
        return (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y))

    assert round(float(correlation(cases.sum(axis=0))), 3) == 0.776
    low, high = bca(cases, correlation, 0.90, n_resamples=20_000)
    assert (low, high) == pytest.approx((0.43, 0.92), abs=0.015)
    scipys = stats.bootstrap(
        (x, y), lambda x, y: stats.pearsonr(x, y).statistic, paired=True, vectorized=False,
        confidence_level=0.90, n_resamples=3000, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((scipys.low, scipys.high), abs=0.02)


def mean_iou(sums):
    hits, predicted, true = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    return (hits / np.maximum(predicted + true - hits, 1)).mean(axis=-1)


def test_two_thousand_resamples_of_a_thousand_images_in_two_seconds():
    rng = np.random.default_rng(0)
    hits = rng.integers(0, 500, (1000, 12))
    cases = np.hstack([hits, hits + rng.integers(0, 200, (1000, 12)), hits + 100])
    _bootstrap.bootstrap_sums(cases, 10)
    start = time.process_time()
    low, high = bca(cases, mean_iou)
    assert time.process_time() - start < 2
    assert low < mean_iou(cases.sum(axis=0)) < high


def test_bootstrap_p_values():
    values = np.arange(-10, 1990)
    assert _bootstrap.bootstrap_p(values) == _bootstrap.bootstrap_p(-values) == 2 * 12 / 2001
    assert _bootstrap.bootstrap_p(np.zeros(100)) == 1
    assert np.isnan(_bootstrap.bootstrap_p(np.ones(100)))
    with_nan = np.concatenate([values, [np.nan] * 50])
    assert _bootstrap.bootstrap_p(with_nan) == _bootstrap.bootstrap_p(values)


@pytest.mark.parametrize("distance", [0.5, 2, 3, 6])
def test_the_bootstrap_p_is_that_of_the_normal_distribution_also_far_out(distance):
    """Of a mean of normal values, resampled 2,000 times: within the chance of the resampling."""
    draws = np.random.default_rng(0).normal(distance, 1, 2000)
    expected = 2 * stats.norm.sf(distance)
    assert 0.3 < _bootstrap.bootstrap_p(draws) / expected < 3


def test_nothing_is_known_of_the_spread_of_equal_values():
    for values in ([0.1], [0.1, 0.1, 0.1], [0.3, 0.1 + 0.2], [1.0, np.nan], [np.inf, 1.0]):
        found = _statistics.corrected_t_interval(values, 0.25)
        assert np.isnan([found.low, found.high, found.p]).all()
        assert np.isnan(_statistics.correlated_bayes(values, 0.25, 0.01)).all()
    assert np.isnan(_bootstrap.bca_interval(1.0, np.ones(50), np.ones(9))).all()


@pytest.mark.parametrize(("n", "k"), [(2, 2), (3, 2), (2, 3), (3, 3)])
def test_data_sets_that_all_rank_alike_have_the_p_of_all_rankings(n, k):
    from itertools import permutations, product

    found = _ranks.friedman_test(np.tile(np.arange(k), (n, 1)) + np.arange(n)[:, None])
    alike = [len(set(rows)) == 1 for rows in product(permutations(range(k)), repeat=n)]
    assert found.p == pytest.approx(np.mean(alike))


# -- simulations (at a larger size in benchmarks/coverage.py)


def test_simulated_intervals_of_a_test_set_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    k = rng.binomial(200, 0.9, 20_000)
    low, high = _statistics.wilson_interval(k, 200)
    assert 0.93 < np.mean((low <= 0.9) & (high >= 0.9)) < 0.97
    low, high = _statistics.exact_interval(k, 200)
    assert np.mean((low <= 0.9) & (high >= 0.9)) >= 0.95


def test_simulated_paired_proportions_cover_the_true_difference():
    rng = np.random.default_rng(0)
    b, c, _ = rng.multinomial(300, [0.08, 0.05, 0.87], 4000).T
    found = [_statistics.paired_proportions(*counts, 300) for counts in zip(b, c)]
    assert 0.93 < np.mean([d.low <= 0.03 <= d.high for d in found]) < 0.97
    b, c, _ = rng.multinomial(300, [0.06, 0.06, 0.88], 2000).T
    assert np.mean([_statistics.paired_proportions(*p, 300).p < 0.05 for p in zip(b, c)]) <= 0.05


def test_simulated_delong_covers_the_true_area():
    rng, covered, truth = np.random.default_rng(0), [], stats.norm.cdf(1.5 / np.sqrt(2))
    y = np.arange(150) < 60
    for _ in range(1500):
        auc, influence = _statistics.auc_components(y, 1.5 * y + rng.normal(size=150))
        covered.append(abs(auc - truth) < 1.96 * np.sqrt(np.sum(influence**2)))
    assert 0.93 < np.mean(covered) < 0.97


def test_simulated_bootstrap_covers_the_true_iou():
    rng, covered = np.random.default_rng(0), []

    def draw(n):  # images differ in how hard they are
        skill = rng.beta(8, 2, (n, 1))
        true = np.full((n, 3), 100)
        hits = rng.binomial(true, skill)
        return np.hstack([hits, hits + rng.binomial(true, 0.1), true])

    truth = mean_iou(draw(1_000_000).sum(axis=0))
    for seed in range(400):
        low, high = bca(draw(60), mean_iou, n_resamples=500, seed=seed)
        covered.append(low <= truth <= high)
    assert 0.92 < np.mean(covered) < 0.98


def test_simulated_equal_models_are_called_different_in_at_most_five_percent():
    rng, called = np.random.default_rng(0), []
    for _ in range(2000):  # ten folds of a repeated split that share most of what they train on
        shared = rng.normal(size=1)
        folds = np.sqrt(1 / 10) * shared + np.sqrt(9 / 10) * rng.normal(size=10)
        called.append(_statistics.corrected_t_interval(folds, 1 / 9).p < 0.05)
    assert np.mean(called) <= 0.055
