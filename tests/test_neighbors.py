"""The neighbors that torch finds are scikit-learn's, wherever the data lives."""

import os
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn import neighbors as reference
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_nets.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from sklearn_nets.neighbors import _base as neighbors
from sklearn_nets.neighbors import _exact_search as _search
from sklearn_nets.neighbors._exact_search import nearest


def blobs(n=3000, n_queries=200, d=20, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X, Q = rng.normal(size=(n, d)), rng.normal(size=(n_queries, d))
    return X.astype(dtype), (X[:, 0] > 0).astype(int) + (X[:, 1] > 0), Q.astype(dtype)


@pytest.fixture
def in_torch(monkeypatch):
    """Search on the CPU as on an accelerator."""
    monkeypatch.setattr(neighbors, "_computes_on_host", lambda device: False)


@pytest.fixture
def filtered(monkeypatch):
    """Count the queries filtered in each dtype, in whatever pieces."""
    seen, original = Counter(), _search._filter_candidates

    def note(X, Q, k, origin, dtype):
        seen[dtype] += len(Q)
        return original(X, Q, k, origin, dtype)

    monkeypatch.setattr(_search, "_filter_candidates", note)
    return seen


def brute(X, Q, k):
    """Squared distances and indices, coordinate by coordinate in float64."""
    distances = ((Q.double()[:, None] - X.double()) ** 2).sum(2)
    return distances.sort(dim=1, stable=True)[0][:, :k], distances.sort(dim=1, stable=True)[1][
        :, :k
    ]


# ------------------------------------------------------------------------------------- the search


@pytest.mark.parametrize(
    ("n", "d", "k"), [(1, 1, 1), (5, 3, 5), (17, 2, 4), (700, 33, 1), (2100, 300, 6)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_search_is_brute_force(n, d, k, dtype):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, d, generator=generator, dtype=dtype)
    Q = torch.randn(30, d, generator=generator, dtype=dtype)
    distances, indices = nearest(X, Q, k)
    expected, where = brute(X, Q, k)
    assert_array_equal(indices, where)
    assert_allclose(distances, expected, rtol=1e-12)


def test_search_over_several_blocks_and_passes(monkeypatch):
    monkeypatch.setattr(_search, "_block_shape", lambda n, d, device: (16, 256))
    monkeypatch.setattr(_search, "MAX_QUERIES", 50)
    X, _, Q = map(torch.from_numpy, blobs(n=1000, n_queries=120, d=5))
    distances, indices = nearest(X, Q, 3)
    expected, where = brute(X, Q, 3)
    assert_array_equal(indices, where)
    assert_allclose(distances, expected, rtol=1e-12)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1e7), (1e-30, 0.0), (1e25, 0.0), (1e-6, 1.0)])
def test_search_survives_offsets_and_extremes(scale, offset):
    X, _, Q = blobs(n=500, n_queries=40)
    X, Q = torch.from_numpy(X * scale + offset), torch.from_numpy(Q * scale + offset)
    distances, indices = nearest(X, Q, 4)
    expected, where = brute(X, Q, 4)
    assert_array_equal(indices, where)
    assert_allclose(distances, expected, rtol=1e-12)


def test_certificate_fails_where_float32_cannot_tell(filtered):
    """Tight clusters far apart: float32 would mix up neighbors, float64 does not."""
    X, _, Q = blobs(n=400, n_queries=20)
    X, Q = X * 1e-3, Q * 1e-3
    X[::2] += 1e3
    Q[::2] += 1e3
    X, Q = torch.from_numpy(X), torch.from_numpy(Q)
    assert_array_equal(nearest(X, Q, 3)[1], brute(X, Q, 3)[1])
    # the origin lies in one of the clusters, where float32 can tell
    assert filtered == {torch.float32: 20, torch.float64: 10}


def outliers(X, Q):
    X[7] = 1e12
    X[8, 3] = -1e37


def one_sentinel(X, Q):
    X[0, 3] = 1e12


def far_pairs(X, Q):
    """Neighbors that even the products of float64 cannot tell apart."""
    X *= 1e-5
    Q *= 1e-5
    for points in (X, Q):
        points[::2] += 1e6
        points[1::4] -= 1e7


@pytest.mark.parametrize("spoil", [outliers, one_sentinel, far_pairs])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_search_survives_outliers_and_cancellation(spoil, dtype):
    X, _, Q = blobs(n=1500, n_queries=60, d=30)
    spoil(X, Q)
    X, Q = torch.from_numpy(X.astype(dtype)), torch.from_numpy(Q.astype(dtype))
    distances, indices = nearest(X, Q, 4)
    expected, where = brute(X, Q, 4)
    assert_allclose(distances, expected, rtol=1e-11)
    if dtype == np.float64 or spoil is not far_pairs:  # float32 rounds those pairs into ties
        assert_array_equal(indices, where)


@pytest.mark.parametrize("types", [("f4", "f8"), ("f8", "f4"), ("i8", "f4"), ("f4", "i8")])
def test_search_of_two_types_far_from_zero(types):
    """Both are shifted by the same, though one type rounds it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 20)) + 1e7 + 1e6 * rng.normal(size=20)
    Q = X[:200] + rng.normal(size=(200, 20))
    X, Q = (torch.from_numpy(a.astype(t)) for a, t in zip((X, Q), types))
    assert_array_equal(nearest(X, Q, 3)[0], brute(X, Q, 3)[0])


def test_every_possible_neighbor_is_measured_where_no_filter_can_tell(monkeypatch):
    asked, measure = [], _search._rank_all_possible
    monkeypatch.setattr(
        _search, "_rank_all_possible", lambda X, Q, *a: asked.append(len(Q)) or measure(X, Q, *a)
    )
    X, _, Q = blobs(n=1500, n_queries=60, d=30)
    far_pairs(X, Q)
    nearest(torch.from_numpy(X), torch.from_numpy(Q), 4)
    assert sum(asked) > 0
    asked.clear()
    X = torch.from_numpy(X[:9].round()).repeat(40, 1)  # ties, but no cancellation
    assert_array_equal(nearest(X, X, 5)[0], brute(X, X, 5)[0])
    assert not asked


@pytest.mark.parametrize("scale", [1e39, 1e60, 1e150])
def test_search_of_values_beyond_float32(scale):
    X, _, Q = blobs(n=600, n_queries=40)
    expected, where = brute(torch.from_numpy(X), torch.from_numpy(Q), 4)
    distances, indices = nearest(torch.from_numpy(X * scale), torch.from_numpy(Q * scale), 4)
    assert_array_equal(indices, where)
    assert_allclose(distances / scale**2, expected, rtol=1e-10)


def test_certificate_holds_on_ordinary_data(filtered):
    X, _, Q = map(torch.from_numpy, blobs())
    nearest(X, Q, 5)
    assert filtered == {torch.float32: 200}


def test_first_of_equals_wins():
    X = torch.tensor([[1.0], [0.0], [1.0], [-1.0]]).repeat(10, 1)
    distances, indices = nearest(X, torch.tensor([[0.5]]), 3)
    assert_array_equal(distances, [[0.25, 0.25, 0.25]])
    assert_array_equal(X[indices[0]].abs() <= 1, [[True]] * 3)
    few = nearest(X[:4], torch.tensor([[0.5]]), 3)[1]
    assert_array_equal(few, [[0, 1, 2]])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float16])
def test_search_takes_any_dtype(dtype):
    X, _, Q = blobs(n=300, n_queries=20)
    X, Q = (torch.from_numpy(a * 3).abs().to(dtype) for a in (X, Q))
    assert_allclose(nearest(X, Q, 3)[0], brute(X, Q, 3)[0], rtol=1e-12)


def test_reduced_matmul_precision_changes_nothing(filtered):
    X, _, Q = map(torch.from_numpy, blobs(dtype=np.float32))
    before = nearest(X, Q, 5)
    filtered.clear()
    torch.set_float32_matmul_precision("medium")
    try:
        after = nearest(X, Q, 5)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert_array_equal(before[1], after[1])
    assert filtered == {torch.float64: 200}


def test_memory_is_bounded(monkeypatch):
    """No tensor of the search is as large as the matrix of distances."""
    largest = 0
    product = _search.product

    def watch(a, b, out):
        nonlocal largest
        largest = max(largest, out.numel())
        return product(a, b, out=out)

    monkeypatch.setattr(_search, "product", watch)
    nearest(torch.rand(70_000, 2), torch.rand(300, 2), 1)
    assert 0 < largest <= 2**21 + 128 * _search.TILE < 70_000 * 300


# ---------------------------------------------------------------------------------- the classifier


@parametrize_with_checks([KNeighborsClassifier(algorithm="brute")])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda d: np.exp(-d)])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "manhattan"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_accelerator_equals_scikit_learn(in_torch, weights, metric, dtype):
    X, y, Q = blobs(dtype=dtype)
    theirs = reference.KNeighborsClassifier(weights=weights, metric=metric, algorithm="brute")
    ours = KNeighborsClassifier(weights=weights, metric=metric).fit(X, y)
    theirs.fit(X, y)
    assert_array_equal(ours.predict(Q), theirs.predict(Q))
    # scikit-learn's own distances of float32 data are only that exact
    rtol = 1e-6 if dtype == np.float32 else 1e-10
    assert_allclose(ours.predict_proba(Q), theirs.predict_proba(Q), rtol=rtol)
    for mine, his in zip(ours.kneighbors(Q), theirs.kneighbors(Q)):
        assert mine.dtype == his.dtype
        assert_allclose(mine, his, rtol=rtol)


def test_large_searches_run_in_torch_on_the_cpu(filtered):
    X, y, Q = blobs(n=60_000, n_queries=150, d=32)
    ours = KNeighborsClassifier(device="cpu").fit(X, y)
    theirs = reference.KNeighborsClassifier().fit(X, y)
    assert_array_equal(ours.kneighbors(Q)[1], theirs.kneighbors(Q)[1])
    assert filtered
    assert_array_equal(ours.predict(Q), theirs.predict(Q))


def test_times_are_numbers(in_torch):
    X, y, _ = blobs(n=300, d=3)
    Q = (10 * X[:5]).astype("datetime64[ns]")
    ours, theirs = KNeighborsClassifier().fit(X, y), reference.KNeighborsClassifier().fit(X, y)
    for mine, his in zip(ours.kneighbors(Q), theirs.kneighbors(Q)):
        assert_allclose(mine, his)


@pytest.mark.parametrize("k", [1, 4])
def test_no_point_is_its_own_neighbor(in_torch, k):
    X, y, _ = blobs(n=300)
    X[5] = X[6] = X[7]  # duplicates
    ours = KNeighborsClassifier(k).fit(X, y)
    theirs = reference.KNeighborsClassifier(k, algorithm="brute").fit(X, y)
    distances, indices = ours.kneighbors()
    assert not (indices == np.arange(300)[:, None]).any()
    # scikit-learn's own zeros between duplicates are square roots of rounding errors
    assert_allclose(distances, theirs.kneighbors()[0], rtol=1e-10, atol=1e-6)
    assert ours.score(None, y) == theirs.score(None, y)


@pytest.mark.parametrize("X_tensor", [True, False])
def test_tensors_in_tensors_out(in_torch, X_tensor):
    X, y, Q = blobs()
    theirs = KNeighborsClassifier().fit(X, y)
    ours = KNeighborsClassifier().fit(*map(torch.from_numpy, (X, y))) if X_tensor else theirs
    t = torch.from_numpy(Q)
    for method in (ours.predict, ours.predict_proba, lambda q: ours.kneighbors(q)[0]):
        assert isinstance(method(t), torch.Tensor)
        assert isinstance(method(Q), np.ndarray)
        assert_array_equal(method(t), method(Q))
    assert ours.score(t, torch.from_numpy(theirs.predict(Q))) == 1.0
    assert_array_equal(ours.kneighbors_graph(t).toarray(), theirs.kneighbors_graph(Q).toarray())


@pytest.mark.parametrize("dispatch", [False, True])
@pytest.mark.parametrize("metric", ["minkowski", "manhattan"])
def test_tensors_on_the_host(metric, dispatch):
    X, y, Q = (torch.from_numpy(a) for a in blobs(n=200, n_queries=10, d=4))
    if dispatch and os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("SCIPY_ARRAY_API is not set")
    with config_context(array_api_dispatch=dispatch):
        ours = KNeighborsClassifier(metric=metric, weights="distance").fit(X, y)
        assert ours._fit_method == "kd_tree"
        assert ours._fit_X.ctypes.data == X.data_ptr()
        labels, shares = ours.predict(Q), ours.predict_proba(Q)
        assert ours.score(Q, labels) == 1.0
    theirs = reference.KNeighborsClassifier(metric=metric, weights="distance")
    theirs.fit(X.numpy(), y.numpy())
    assert isinstance(labels, torch.Tensor)
    assert_array_equal(labels, theirs.predict(Q.numpy()))
    assert_allclose(shares, theirs.predict_proba(Q.numpy()), rtol=1e-12)


def test_string_labels_and_several_outputs(in_torch):
    X, y, Q = blobs()
    names = np.array(["no", "maybe", "yes"])[y]
    assert_array_equal(
        KNeighborsClassifier().fit(X, names).predict(torch.from_numpy(Q)),
        reference.KNeighborsClassifier().fit(X, names).predict(Q),
    )
    both = np.stack([y, 1 - y], 1)
    ours = KNeighborsClassifier().fit(X, both)
    theirs = reference.KNeighborsClassifier().fit(X, both)
    assert_array_equal(ours.predict(Q), theirs.predict(Q))
    for mine, his in zip(ours.predict_proba(Q), theirs.predict_proba(Q)):
        assert_array_equal(mine, his)


def test_ties_of_votes_go_to_the_first_class(in_torch):
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    ours = KNeighborsClassifier(4).fit(X, [7, 3, 7, 3])
    assert_array_equal(ours.predict([[0.0]]), [3])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_digits(in_torch, dtype):
    X, y = load_digits(return_X_y=True)
    X = X.astype(dtype)
    theirs = reference.KNeighborsClassifier(3).fit(X[:1400], y[:1400])
    ours = KNeighborsClassifier(3).fit(X[:1400], y[:1400])
    assert ours._fit_X.dtype == getattr(torch, np.dtype(dtype).name)
    assert_allclose(ours.kneighbors(X[1400:])[0], theirs.kneighbors(X[1400:])[0], rtol=1e-6)


def test_sparse_and_trees_stay_scikit_learns(in_torch):
    X, y, Q = blobs(n=300, n_queries=20)
    expected = reference.KNeighborsClassifier().fit(X, y).predict(Q)
    sparse = KNeighborsClassifier().fit(csr_array(X), y)
    assert_array_equal(sparse.predict(csr_array(Q)), expected)
    tree = KNeighborsClassifier(algorithm="ball_tree").fit(X, y)
    assert tree._fit_method == "ball_tree"
    assert_array_equal(tree.predict(torch.from_numpy(Q)), expected)


def test_feature_names_reach_the_accelerator(in_torch):
    pd = pytest.importorskip("pandas")
    X, y, _ = blobs(n=50, d=3)
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    ours = KNeighborsClassifier().fit(table, y)
    assert ours.n_features_in_ == 3
    assert_array_equal(ours.feature_names_in_, ["a", "b", "c"])
    with pytest.raises(ValueError, match="feature names should match"):
        ours.predict(table[["b", "a", "c"]])


def test_errors(in_torch):
    X, y, Q = blobs(n=30, n_queries=3)
    with pytest.raises(ValueError, match="device"):
        KNeighborsClassifier(device="gpu").fit(X, y)
    ours = KNeighborsClassifier().fit(X, y)
    with pytest.raises(ValueError, match="Expected n_neighbors <= n_samples_fit"):
        ours.kneighbors(Q, 31)
    with pytest.raises(ValueError, match="Expected n_neighbors > 0"):
        ours.kneighbors(torch.from_numpy(Q), 0)
    with pytest.raises(TypeError, match="enter integer value"):
        ours.kneighbors(Q, 2.5)
    with pytest.raises(ValueError, match="X has 2 features"):
        ours.predict(torch.from_numpy(Q[:, :2]))
    with pytest.raises(ValueError, match="contains NaN"):
        ours.predict(torch.full((1, 20), torch.nan))
    with pytest.raises(ValueError, match="zero weights"):
        KNeighborsClassifier(weights=np.zeros_like).fit(X, y).predict(Q)


def test_twice_the_same_and_after_pickling(in_torch):
    X, y, Q = blobs()
    ours = KNeighborsClassifier().fit(X, y)
    copy = pickle.loads(pickle.dumps(ours))
    assert_array_equal(ours.kneighbors(Q)[0], copy.kneighbors(Q)[0])


@pytest.mark.parametrize("scale", [1e150, 1e160])
def test_scores_where_squares_overflow(in_torch, scale):
    X, y, Q = blobs(n=28, n_queries=28, d=2)
    X[:9] *= scale
    model = KNeighborsClassifier().fit(X, y)
    assert model.predict(Q * scale).shape == (28,)
    assert model.kneighbors(X)[1].shape == (28, 5)


def test_no_jobs_is_an_error_as_in_scikit_learn(in_torch):
    X, y, Q = blobs(n=30, n_queries=3)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        KNeighborsClassifier(n_jobs=0).fit(X, y).kneighbors(Q)


# ------------------------------------------------------------------------- regressor, neighbors alone


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda d: np.exp(-d), None])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("n_outputs", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regressor_equals_scikit_learn(in_torch, weights, metric, n_outputs, dtype):
    X, _, Q = blobs(dtype=dtype)
    y = (X[:, : max(n_outputs, 1)] ** 2).reshape((len(X), n_outputs) if n_outputs else len(X))
    settings = {"weights": weights, "metric": metric, "algorithm": "brute"}
    ours = KNeighborsRegressor(**settings).fit(X, y)
    theirs = reference.KNeighborsRegressor(**settings).fit(X, y)
    for rows in (Q, None):
        assert ours.predict(rows).dtype == theirs.predict(rows).dtype
        assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=1e-5)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-6)
    t = torch.from_numpy(Q)
    assert isinstance(ours.predict(t), torch.Tensor)
    assert_array_equal(ours.predict(t), ours.predict(Q))
    assert ours.score(t, torch.from_numpy(ours.predict(Q))) == 1.0


@pytest.mark.parametrize("y_dtype", [object, np.float32, np.int64])
@pytest.mark.parametrize(
    "weights",
    [
        "distance",
        lambda D: (1 / (1 + D)).tolist(),
        lambda D: (1 / (1 + D)).astype(np.float32),
        lambda D: None,
    ],
    ids=["distance", "list", "float32", "none"],
)
def test_weighted_means_have_scikit_learns_type(in_torch, weights, y_dtype):
    X, _, Q = blobs()
    y = np.round(100 * X[:, :2]).astype(y_dtype)
    settings = {"weights": weights, "algorithm": "brute"}
    theirs = reference.KNeighborsRegressor(**settings).fit(X, y).predict(Q)
    ours = KNeighborsRegressor(**settings).fit(X, y).predict(Q)
    assert ours.dtype == theirs.dtype
    assert_allclose(ours.astype(float), theirs.astype(float), rtol=1e-5)


@pytest.mark.parametrize("estimator", [KNeighborsClassifier, KNeighborsRegressor])
@pytest.mark.parametrize("answer", [lambda D: D[:, :1], lambda D: D[:, 0], lambda D: 1.0])
def test_weights_that_are_not_one_for_each_distance(in_torch, estimator, answer):
    X, y, Q = blobs()
    with pytest.raises(ValueError, match="one weight for each distance"):
        estimator(weights=answer).fit(X, y).predict(Q)


def test_large_regressions_search_in_torch_on_the_cpu(filtered):
    X, y, Q = blobs(n=60_000, n_queries=150, d=32)
    ours = KNeighborsRegressor(device="cpu").fit(X, y).predict(Q)
    assert filtered
    assert_array_equal(ours, reference.KNeighborsRegressor().fit(X, y).predict(Q))


@pytest.mark.parametrize("algorithm", ["auto", "kd_tree"])
def test_neighbors_equal_scikit_learns(in_torch, algorithm):
    X, _, Q = blobs(n=500, n_queries=50, d=4)
    ours = NearestNeighbors(radius=0.8, algorithm=algorithm).fit(torch.from_numpy(X))
    theirs = reference.NearestNeighbors(radius=0.8, algorithm="brute").fit(X)
    for rows in (Q, torch.from_numpy(Q), None):
        like = None if rows is None else Q
        distances, indices = ours.kneighbors(rows)
        assert isinstance(distances, torch.Tensor) == isinstance(rows, torch.Tensor)
        assert_array_equal(indices, theirs.kneighbors(like)[1])
        assert_allclose(distances, theirs.kneighbors(like)[0], rtol=1e-10)
        within = ours.radius_neighbors(rows, sort_results=True)
        expected = theirs.radius_neighbors(like, sort_results=True)
        for mine, his in zip(within, expected, strict=True):
            for few, same in zip(mine, his, strict=True):
                assert_allclose(few, same, rtol=1e-10)
        for graph in ("kneighbors_graph", "radius_neighbors_graph"):
            mine, his = getattr(ours, graph)(rows), getattr(theirs, graph)(like)
            assert type(mine) is type(his)
            assert_array_equal(mine.toarray(), his.toarray())


def test_neighbors_errors(in_torch):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        NearestNeighbors().radius_neighbors([[1.0]])
    with pytest.raises(ValueError, match="device"):
        NearestNeighbors(device="gpu").fit([[1.0]])
    with pytest.raises(ValueError, match="requires y"):
        KNeighborsRegressor().fit(np.ones((9, 2)), None)


def test_other_names_are_scikit_learns():
    import sklearn.neighbors

    import sklearn_nets.neighbors as ours

    own = {"KNeighborsClassifier", "KNeighborsRegressor", "NearestNeighbors"}
    added = {"EmbeddingNet", "MemoryClassifier", "MemoryRegressor"}
    assert set(ours.__all__) == set(sklearn.neighbors.__all__) | added <= set(dir(ours))
    for name in set(ours.__all__) - added:
        same = getattr(ours, name) is getattr(sklearn.neighbors, name)
        assert same != (name in own), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ours.nothing  # noqa: B018
