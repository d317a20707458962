"""Components rule out most points, and no neighbor: the answer is the plain search's, to the bit."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sklearn_nets.neighbors import KNeighborsClassifier
from sklearn_nets.neighbors import _exact_search as exact
from sklearn_nets.neighbors import _projected_search as projected
from sklearn_nets.neighbors._exact_search import nearest

SMALL = {
    "MIN_FEATURES": 150,
    "MIN_QUERIES": 1,
    "MIN_POINTS": 1,
    "MIN_PRODUCTS": 0,
    "MAX_SHARE": 0.5,
    "MAX_POINTS": 700,
    "MAX_QUERIES": 150,
    "QUERIES": 64,
    "POINTS": 100,
}


@pytest.fixture
def small(monkeypatch):
    """Let small data be searched by components, in several blocks."""
    for name, value in SMALL.items():
        monkeypatch.setattr(projected, name, value)


@pytest.fixture
def answers(monkeypatch):
    """What the search by components answered, None where it declined."""
    seen, search = [], projected.nearest_by_components
    monkeypatch.setattr(
        exact, "nearest_by_components", lambda *args: seen.append(search(*args)) or seen[-1]
    )
    return seen


def few_factors(n=2000, n_queries=170, d=200, seed=0):
    """Features that are mixtures of twelve numbers, and noise."""
    rng = np.random.default_rng(seed)
    mixture = rng.normal(size=(12, d))
    Z = rng.normal(size=(n + n_queries, 12)) @ mixture + 0.3 * rng.normal(size=(n + n_queries, d))
    return torch.from_numpy(Z[:n]), torch.from_numpy(Z[n:])


def plain(X, Q, k):
    """The search without components."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "nearest_by_components", lambda *args: None)
        return nearest(X, Q, k)


def assert_same(found, expected):
    for one, other in zip(found, expected):
        assert_array_equal(one, other)


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize(
    "types", [("f4", "f4"), ("f8", "f8"), ("f8", "f4"), ("f4", "f8"), ("i8", "f4"), ("u1", "u1")]
)
def test_answer_of_the_plain_search(small, answers, types, k):
    X, Q = few_factors()
    X, Q = (
        torch.from_numpy((a.numpy() * 9 + 128).clip(0, 255).astype(t))
        for a, t in zip((X, Q), types)
    )
    assert_same(nearest(X, Q, k), plain(X, Q, k))
    assert all(answer is not None for answer in answers)


@pytest.mark.parametrize(("n", "k"), [(1999, 3), (1400, 3), (701, 3), (700, 9), (690, 3), (62, 19)])
def test_blocks_of_any_length(small, answers, monkeypatch, n, k):
    monkeypatch.setattr(projected, "MAX_SHARE", 1.0)
    X, Q = few_factors(n)
    assert_same(nearest(X, Q, k), plain(X, Q, k))
    assert answers[0] is not None


def test_several_threads_and_other_layouts(small, answers):
    X, Q = few_factors()
    expected = plain(X, Q, 4)
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            assert_same(nearest(X.T.contiguous().T, Q.repeat(1, 2)[:, : X.shape[1]], 4), expected)
    finally:
        torch.set_num_threads(before)
    assert len(answers) == 2


def test_first_of_equals(small, answers):
    X, Q = few_factors(500)
    X = X.repeat(3, 1)
    distances, indices = nearest(X, Q, 5)
    assert_same((distances, indices), plain(X, Q, 5))
    assert_array_equal(distances[:, 0], distances[:, 2])
    assert_array_equal(indices[:, :3] % 500, indices[:, [0, 0, 0]])
    assert_array_equal(indices[:, :3].sort(1).values, indices[:, :3])
    assert answers[0] is not None


@pytest.mark.parametrize("scale", [1e-16, 1e-3, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_are_on_the_safe_side(scale, offset, dtype):
    X, Q = few_factors(300, 40)
    X[::7] = X[1::7][: len(X[::7])] * (1 + 1e-6)  # hardly any distance
    Q[:20] = X[:20]
    X, Q = (((a + offset) * scale).to(dtype) for a in (X, Q))
    origin = X.double().median(0).values.float().double()
    projection = projected.Projection(X, origin)
    rows, _ = projection.points(X)
    queries, offsets, *_ = projection.queries(Q)
    true = ((Q.double()[:, None] - X.double()) ** 2).sum(2)
    bound = (queries @ rows.T)[:, : len(X)].double() + offsets[:, None]
    assert (bound <= (1 + projected.SHRINKAGE) * true).all()
    if scale > 1e-10 and offset == 0:  # and tell something
        assert (bound[20:] > 0.5 * true[20:]).float().mean() > 0.9


def test_lengths_along_directions_are_no_greater():
    X, _ = few_factors()
    directions = projected._principal_directions(X, X.median(0).values).double()
    assert torch.linalg.matrix_norm(directions, 2) <= 1
    assert torch.linalg.matrix_norm(directions, 2) > 1 - 1e-4


@pytest.mark.parametrize(
    "spoil", ["far point", "too far", "far query", "far everything", "large", "tiny", "equal"]
)
def test_outliers(small, answers, spoil):
    X, Q = few_factors()
    if spoil == "far point":
        X[7] = 1e6
    elif spoil == "too far":
        X[7, 3] = 1e30
    elif spoil == "far query":
        Q[7] = -1e25
    elif spoil == "far everything":
        X[:, 0] = 1e30
        Q[:, 0] = 1e30
    elif spoil == "equal":
        X[:], Q[:] = 1.5, 1.25
    else:
        scale = 1e16 if spoil == "large" else 1e-22
        X *= scale
        Q *= scale
    assert_same(nearest(X, Q, 4), plain(X, Q, 4))
    assert (answers[0] is None) == (spoil in ("too far", "far query", "tiny", "equal"))


def test_declines_what_components_say_nothing_of(small, answers):
    X, Q = torch.randn(2000, 200), torch.randn(100, 200)
    assert_same(nearest(X, Q, 4), plain(X, Q, 4))
    assert answers == [None]
    X, Q = (a.float() for a in few_factors(300, 20, 150))
    assert projected.nearest_by_components(X[:, :149], Q[:, :149], 1, X[0, :149].double()) is None
    assert projected.nearest_by_components(X, Q, projected.MAX_NEIGHBORS + 1, X[0].double()) is None


def test_estimators_use_it_and_draw_nothing(answers):
    """At the sizes it is made for, with the thresholds as they are."""
    X, Q = few_factors(20_000, 2_000, 800)
    y = np.arange(len(X)) % 3
    state = torch.get_rng_state()
    model = KNeighborsClassifier(4, device="cpu", algorithm="brute").fit(X.numpy(), y)
    distances, indices = model.kneighbors(Q.numpy())
    assert answers[0] is not None
    assert_array_equal(torch.get_rng_state(), state)
    expected, where = plain(X, Q, 4)
    assert_array_equal(indices, where)
    assert_array_equal(distances, expected.sqrt())
    assert_same(nearest(X, Q, 4), answers[0])  # twice the same


def test_memory_is_bounded(small, monkeypatch):
    largest, product = 0, projected.product

    def watch(a, b, out):
        nonlocal largest
        largest = max(largest, out.numel())
        return product(a, b, out=out)

    monkeypatch.setattr(projected, "product", watch)
    monkeypatch.setattr(projected, "SAMPLED_POINTS", 500)
    X, Q = few_factors()
    nearest(X, Q, 3)
    assert 0 < largest <= 64 * (700 + projected.TILE) < len(X) * len(Q)
