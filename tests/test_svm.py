"""LinearSVC against liblinear: the same minimum, reached more closely."""

import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn import svm as reference
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_info

from sklearn_nets.svm import LinearSVC, _newton
from sklearn_nets.svm._newton import squared_hinge


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def tall():
    return make_classification(2000, 20, n_informative=8, n_classes=3, random_state=0)


def wide():
    return make_classification(60, 100, n_informative=10, n_classes=3, random_state=0)


def twice():
    """Wide, every row and every feature there twice: singular without the penalty."""
    X, y = wide()
    return np.tile(X, (2, 2)), np.tile(y, 2)


def few_active():
    """Tall, but with fewer samples on the wrong side of the margin than features."""
    rng = np.random.RandomState(0)
    X = rng.randn(300, 80)
    return X, X @ rng.randn(80) > 0


DATA = {f.__name__: f() for f in (digits, cancer, tall, wide, twice, few_active)}
DATA["iris"] = load_iris(return_X_y=True)
every = pytest.mark.parametrize("name", DATA)

SETTINGS = [
    {},
    {"C": 100.0},
    {"C": 1e-3},
    {"fit_intercept": False},
    {"intercept_scaling": 10.0},
    {"class_weight": "balanced"},
    {"class_weight": {0: 3.0, 1: 0.5}},
]


def objectives(model, X, y, sample_weight=1.0):
    """What liblinear minimizes, for each class."""
    scaling = model.intercept_scaling if model.fit_intercept else 1.0
    w = np.c_[model.coef_, np.broadcast_to(model.intercept_ / scaling, len(model.coef_))]
    X = np.c_[X, np.full(len(X), scaling)]
    weight = {} if model.class_weight is None else model.class_weight
    if weight == "balanced":
        n = np.bincount(np.searchsorted(model.classes_, y))
        weight = {label: len(y) / len(n) / n[i] for i, label in enumerate(model.classes_)}
    values = []
    for k, row in enumerate(w):
        positive = model.classes_[1] if len(w) == 1 else model.classes_[k]
        others = weight.get(model.classes_[0], 1.0) if len(w) == 1 else 1.0
        factor = np.where(y == positive, weight.get(positive, 1.0), others) * sample_weight
        slack = np.maximum(0, 1 - np.where(y == positive, 1, -1) * (X @ row))
        values.append(0.5 * row @ row + model.C * np.sum(factor * slack**2))
    return np.array(values)


def exactly(**settings):
    """scikit-learn's class, with a tolerance that leaves nothing to be gained."""
    return reference.LinearSVC(dual=False, tol=1e-12, max_iter=10**6, random_state=0, **settings)


@every
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_minimum(name, settings):
    X, y = DATA[name]
    ours = LinearSVC(**settings).fit(X, y)
    theirs = exactly(**settings).fit(X, y)
    assert_allclose(objectives(ours, X, y), objectives(theirs, X, y), rtol=1e-7)
    scale = np.abs(theirs.coef_).max()
    assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-4 * scale)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=1e-3 * scale)
    assert ours.coef_.dtype == np.float64
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)


@every
@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
@pytest.mark.parametrize("dual", [True, False])
def test_never_worse_than_liblinear(name, tol, dual):
    X, y = DATA[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = reference.LinearSVC(tol=tol, dual=dual, random_state=0).fit(X, y)
    ours = LinearSVC(tol=tol).fit(X, y)
    assert np.all(objectives(ours, X, y) <= objectives(theirs, X, y) * (1 + 1e-12))


@every
@pytest.mark.parametrize("tol", [1.0, 1e-2, 1e-4])
def test_tol_bounds_the_distance_to_the_minimum(name, tol):
    X, y = DATA[name]
    best = objectives(LinearSVC(tol=1e-12).fit(X, y), X, y)
    found = objectives(LinearSVC(tol=tol).fit(X, y), X, y)
    assert np.all(found <= best + tol**2 * found + 1e-12 * best)


@every
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_any_scale(name, scale):
    X, y = DATA[name]
    model = LinearSVC().fit(scale * X, y)  # a ConvergenceWarning would be an error
    assert model.n_iter_ < 100
    best = objectives(LinearSVC(tol=1e-10).fit(scale * X, y), scale * X, y)
    assert_allclose(objectives(model, scale * X, y), best, rtol=1e-6)


@every
def test_twice_the_same_bitwise(name):
    X, y = DATA[name]
    model = LinearSVC().fit(X, y)
    again = LinearSVC(random_state=7).fit(X, y)
    assert_array_equal(model.coef_, again.coef_)
    assert_array_equal(model.intercept_, again.intercept_)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


# ---------------------------------------------------------------------------------------- weights
@every
def test_integer_weights_are_repetitions(name):
    X, y = DATA[name]
    weight = np.random.RandomState(0).randint(0, 4, len(y))
    weighted = LinearSVC().fit(X, y, weight)
    repeated = LinearSVC().fit(X.repeat(weight, axis=0), y.repeat(weight))
    scores = repeated.decision_function(X)
    assert_allclose(weighted.decision_function(X), scores, atol=1e-7 * np.abs(scores).max())


@every
def test_class_weight_of_two_classes_is_a_sample_weight(name):
    X, y = DATA[name]
    y = y == y[0]
    weight = compute_sample_weight("balanced", y)
    of_class = LinearSVC(class_weight="balanced").fit(X, y).decision_function(X)
    assert_allclose(of_class, LinearSVC().fit(X, y, weight).decision_function(X), atol=1e-7)


def test_weights_like_liblinear():
    X, y = DATA["tall"]
    weight = np.random.RandomState(0).uniform(0, 3, len(y))
    for class_weight in ("balanced", {0: 0.2, 2: 5.0}):
        ours = LinearSVC(class_weight=class_weight).fit(X, y, weight)
        theirs = exactly(class_weight=class_weight).fit(X, y, weight)
        assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5, atol=1e-7)


# --------------------------------------------------------------------------------------- messages
def test_like_scikit_learn_when_it_does_not_converge():
    X, y = DATA["digits"]
    for max_iter in (0, 1, 3):
        with pytest.warns(ConvergenceWarning, match="Liblinear failed to converge, increase"):
            model = LinearSVC(max_iter=max_iter).fit(X, y)
        assert model.n_iter_ == max_iter
        assert isinstance(model.n_iter_, int)


def test_one_class():
    X = np.ones((3, 2))
    for y in ([1, 1, 1], ["a", "a", "a"]):
        messages = []
        for estimator in (LinearSVC(), reference.LinearSVC()):
            with pytest.raises(ValueError) as error:
                estimator.fit(X, y)
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_numbers_too_large():
    X = np.random.RandomState(0).rand(20, 3) * 1e200
    with pytest.raises(ValueError, match=r"X holds values as large as 9\.\de\+199"):
        LinearSVC().fit(X, np.arange(20) % 2)


def test_device_is_a_parameter():
    assert clone(LinearSVC(device="cpu")).device == "cpu"
    with pytest.raises(ValueError, match="The 'device' parameter"):
        LinearSVC(device=1).fit(*DATA["iris"])
    with pytest.raises(ValueError, match="device must be"):
        LinearSVC(device="tpu").fit(*DATA["iris"])
    assert LinearSVC(device="cpu").fit(*DATA["iris"]).device_ == "cpu"


def test_a_gpu_takes_what_is_large_or_there_or_asked_for(monkeypatch):
    gpu = torch.device("cuda:0")
    monkeypatch.setattr("sklearn_nets._utils.device.fastest_device", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    small, large = np.ones((1797, 64)), np.empty((20_000, 200))
    choose = LinearSVC()._choose_device
    assert choose(large) == choose(pd.DataFrame(large)) == gpu
    assert {choose(X).type for X in (small, small.tolist(), csr_matrix(small), np.ones(3))} == {
        "cpu"
    }
    assert LinearSVC(device="cuda:0")._choose_device(small) == gpu
    assert choose(torch.from_numpy(large)) == torch.device("cpu")


def test_verbose(capfd):
    LinearSVC(verbose=1, device="cpu").fit(*DATA["iris"])
    assert "Newton steps on cpu" in capfd.readouterr().out


# ------------------------------------------------------------------------------------ scikit-learn
FALLBACKS = [{"loss": "hinge"}, {"penalty": "l1"}, {"multi_class": "crammer_singer"}]
fallbacks = pytest.mark.parametrize("settings", FALLBACKS, ids=str)


@fallbacks
def test_the_rest_is_scikit_learns(settings):
    X, y = DATA["iris"]
    settings = {"random_state": 0, "max_iter": 10**5, **settings}
    ours, theirs = LinearSVC(**settings).fit(X, y), reference.LinearSVC(**settings).fit(X, y)
    assert_array_equal(ours.coef_, theirs.coef_)
    assert_array_equal(ours.intercept_, theirs.intercept_)
    assert (ours.n_iter_, ours.device_) == (theirs.n_iter_, "cpu")
    key = next(k for k in ("loss", "penalty", "multi_class") if k in settings)
    assert ours.fallback_ == f"{key}={settings[key]!r}"


def test_sparse_data():
    X, y = DATA["digits"]
    X = X * (X > 8)
    ours = LinearSVC(random_state=0).fit(csr_array(X), y)
    theirs = reference.LinearSVC(random_state=0).fit(csr_array(X), y)
    assert ours.fallback_ == "sparse X"
    assert_array_equal(ours.coef_, theirs.coef_)


def test_sparse_in_name_only():
    X, y = DATA["tall"]
    sparse, dense = LinearSVC().fit(csr_array(X), y), LinearSVC().fit(X, y)
    assert (sparse.fallback_, dense.fallback_) == (None, None)
    assert_array_equal(sparse.coef_, dense.coef_)
    assert_array_equal(sparse.predict(csr_array(X)), dense.predict(X))


def test_negative_weights_are_scikit_learns():
    X, y = DATA["tall"]
    weight = np.where(np.arange(len(y)) % 50, 1.0, -0.1)
    ours = LinearSVC(random_state=0).fit(X, y, weight)
    theirs = reference.LinearSVC(random_state=0).fit(X, y, weight)
    assert ours.fallback_ == "negative sample_weight"
    assert_array_equal(ours.coef_, theirs.coef_)


# ----------------------------------------------------------------------------------------- tensors
def problems(name):
    X, y = DATA[name]
    classes = np.unique(y)
    Y = np.where(y == classes[:, None], 1.0, -1.0)
    return X, Y, np.random.RandomState(0).uniform(0, 2, Y.shape)


@every
def test_solver_in_torch(name):
    X, Y, c = problems(name)
    W, n_iter = squared_hinge(X, Y, c, tol=1e-4, max_iter=100)
    tensors = map(torch.from_numpy, (X, Y, c))
    V, n_iter_torch = squared_hinge(*tensors, tol=1e-4, max_iter=100)
    assert_allclose(V.numpy(), W, atol=1e-6 * np.abs(W).max())
    assert max(np.abs(np.subtract(n_iter, n_iter_torch))) <= 2


@every
def test_solver_in_blocks_of_classes(name, monkeypatch):
    X, Y, c = problems(name)
    W, _ = squared_hinge(X, Y, c, tol=1e-4, max_iter=100)
    monkeypatch.setattr(_newton, "MEMORY", 1)
    V, n_iter = squared_hinge(X, Y, c, tol=1e-4, max_iter=100)
    assert_allclose(V, W, atol=1e-6 * np.abs(W).max())
    assert len(n_iter) == len(Y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize("two", [False, True])
def test_tensors_in_tensors_out(device, dtype, two):
    X, y = DATA["digits"]
    y = y > 4 if two else y
    model = LinearSVC().fit(torch.tensor(X, dtype=dtype, device=device), torch.tensor(y))
    reference = LinearSVC(device="cpu").fit(X, y)
    assert model.device_.startswith(device)
    for name in ("coef_", "intercept_"):
        weights = getattr(model, name)
        assert (weights.device.type, weights.dtype) == (device, torch.float64)
        assert_allclose(weights.cpu(), getattr(reference, name), atol=1e-6)
    Q = torch.tensor(X[:99], dtype=dtype, device=device)
    scores, labels = model.decision_function(Q), model.predict(Q)
    assert (scores.device.type, labels.device.type) == (device, device)
    assert_allclose(scores.cpu(), reference.decision_function(X[:99]), atol=1e-5)
    assert_array_equal(labels.cpu(), reference.predict(X[:99]))
    assert model.score(Q, torch.tensor(y[:99])) == reference.score(X[:99], y[:99])
    # the kind may change between fit and predict
    assert_allclose(model.decision_function(X[:99]), scores.cpu(), atol=1e-12)
    assert_array_equal(model.predict(X[:99]), labels.cpu())
    assert_allclose(reference.decision_function(Q).cpu(), scores.cpu(), atol=1e-5)
    assert torch.equal(reference.predict(Q), labels)


def test_tensor_with_string_labels(device):
    X, y = load_iris(return_X_y=True)
    words = np.array(["setosa", "versicolor", "virginica"])[y]
    model = LinearSVC().fit(torch.tensor(X, device=device), words)
    assert_array_equal(
        model.predict(torch.tensor(X, device=device)), LinearSVC().fit(X, words).predict(X)
    )


@fallbacks
def test_tensors_where_torch_does_not_solve(settings):
    X, y = DATA["iris"]
    settings = {"random_state": 0, "max_iter": 10**5, **settings}
    model = LinearSVC(**settings).fit(torch.tensor(X), torch.tensor(y))
    assert_array_equal(model.coef_.numpy(), LinearSVC(**settings).fit(X, y).coef_)
    assert isinstance(model.predict(torch.tensor(X)), torch.Tensor)
    elsewhere = torch.empty(X.shape, device="meta")  # stands for an accelerator
    with pytest.raises(ValueError, match=r"solved by scikit-learn.*on meta\. Pass X\.cpu\(\)"):
        LinearSVC(**settings).fit(elsewhere, y)


def test_bad_tensors(device):
    X, y = DATA["iris"]
    X = torch.tensor(X, device=device)
    model = LinearSVC().fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but LinearSVC is expecting 4"):
        model.predict(X[:, :3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LinearSVC().fit(X, y[:-1])
    with pytest.raises(NotFittedError):
        LinearSVC().predict(X)
    X[0, 0] = torch.nan
    for call in (lambda: model.predict(X), lambda: LinearSVC().fit(X, y)):
        with pytest.raises(ValueError, match="contains NaN"):
            call()


def test_array_api_dispatch():
    code = """if True:
        import torch, sklearn
        from sklearn.datasets import load_iris
        from sklearn_nets.svm import LinearSVC
        X, y = map(torch.tensor, load_iris(return_X_y=True))
        with sklearn.config_context(array_api_dispatch=True):
            for loss in ("squared_hinge", "hinge"):
                model = LinearSVC(loss=loss, random_state=0, max_iter=10**5).fit(X, y)
                assert isinstance(model.coef_, torch.Tensor)
                assert isinstance(model.decision_function(X), torch.Tensor)
                assert isinstance(model.predict(X), torch.Tensor)
                assert model.score(X, y) > 0.9
        print("passed")
    """
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert out.stdout.strip() == "passed", out.stderr


def test_other_names_are_scikit_learns():
    import sklearn.svm

    import sklearn_nets.svm as ours
    from sklearn_nets.svm import SVC

    assert SVC is sklearn.svm.SVC
    assert set(ours.__all__) == set(sklearn.svm.__all__) <= set(dir(ours))
    for name in ours.__all__:
        same = getattr(ours, name) is getattr(sklearn.svm, name)
        assert same != (name == "LinearSVC"), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ours.nothing  # noqa: B018


# ------------------------------------------------------------------------- as liblinear has it
@pytest.mark.usefixtures("host")
def test_far_more_features_than_samples_take_few_steps_and_small_matrices(monkeypatch):
    """No system of the 4,000 features is solved, nor a copy of X made at every step."""
    rng = np.random.RandomState(0)
    y = rng.randint(0, 5, 100)
    X = rng.randn(100, 4000) + 0.3 * rng.randn(5, 4000)[y]
    sizes, solve = [], np.linalg.solve
    monkeypatch.setattr(np.linalg, "solve", lambda H, b: sizes.append(len(H)) or solve(H, b))
    ours = LinearSVC().fit(X, y)
    monkeypatch.undo()
    assert max(sizes) <= 100
    assert ours.n_iter_ <= 5
    theirs = exactly().fit(X, y)
    assert_allclose(objectives(ours, X, y), objectives(theirs, X, y), rtol=1e-8)
    assert_allclose(ours.coef_, theirs.coef_, atol=1e-6 * np.abs(theirs.coef_).max())
    tensors = LinearSVC(device="cpu").fit(torch.from_numpy(X), torch.from_numpy(y))
    assert_allclose(tensors.coef_, ours.coef_, atol=1e-9)


@every
def test_dual_and_primal_forms_agree(name):
    X, Y, c = problems(name)
    space = _newton._Dual(np, X)
    A, _ = _newton._solve(np, space, Y[:2], c[:2], 1e-6, 200)
    start = _newton._add(0.0, X, c[0]), c[0]
    W, _ = _newton._solve(np, _newton._Primal(np, X, [start] * 2), Y[:2], c[:2], 1e-6, 200)
    assert_allclose(A @ X, W, atol=1e-5 * np.abs(W).max())


def test_a_class_of_zero_weight():
    X, y = DATA["iris"]
    weight = np.where(y == 1, 0.0, 1.0)
    ours = LinearSVC(random_state=0).fit(X, y, weight)
    theirs = reference.LinearSVC(random_state=0).fit(X, y, weight)
    assert ours.fallback_ == "a class of zero weight"
    assert_array_equal(ours.coef_, theirs.coef_)
    assert_array_equal(ours.decision_function(X), theirs.decision_function(X))


def test_weights_that_are_differentiated_are_read_where_the_range_is_too_wide():
    X, y = load_iris(return_X_y=True)
    X[0] *= 1e18
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    asked = torch.from_numpy(weight).requires_grad_()
    models = [LinearSVC(random_state=0, max_iter=20) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for model, given in zip(models, (weight, asked)):
            model.fit(X, y, sample_weight=given)
            assert "too wide a range" in model.fallback_
    assert_array_equal(models[1].coef_, models[0].coef_)


def test_kinds_of_sparse_matrices():
    X, y = DATA["tall"]
    expected = LinearSVC().fit(X, y).coef_
    for form in ("csr", "csc", "coo", "dok", "lil"):  # a warning would be an error
        assert_array_equal(LinearSVC().fit(csr_array(X).asformat(form), y).coef_, expected)
    large = csr_array(X)
    large.indices, large.indptr = large.indices.astype(np.int64), large.indptr.astype(np.int64)
    for estimator in (LinearSVC(), reference.LinearSVC()):
        with pytest.raises(ValueError, match="int64 indices"):
            estimator.fit(large, y)


def test_one_value_near_the_largest_of_float32_does_not_give_a_wrong_net():
    left = []
    for seed in range(10):
        rng = np.random.RandomState(seed)
        X, y = rng.randn(5, 4), rng.permutation(np.arange(5) % 2)
        X[0, 0] = np.finfo(np.float32).max
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # liblinear's own of not having converged
            ours = LinearSVC(random_state=0).fit(X, y)
            theirs = reference.LinearSVC(random_state=0).fit(X, y)
        left.append(ours.fallback_)
        if ours.fallback_:
            assert_allclose(ours.coef_, theirs.coef_)
        else:
            rest = np.maximum(0, 1 - np.where(y, 1, -1) * ours.decision_function(X))
            assert 0.5 * (ours.coef_**2).sum() + (rest**2).sum() <= len(y)  # that of no weights
    assert any(left)


def test_what_one_large_value_added_to_the_hessian_is_not_subtracted():
    """Once its sample is inactive: rounding would be all that is left, so it is made anew."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 5))
        y = (X[:, 1] + 0.3 * rng.normal(size=60) > 0).astype(int)
        X[0, 0] = 1e15
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # liblinear's own of not having converged
            ours = LinearSVC(random_state=0).fit(X, y)
            theirs = reference.LinearSVC(max_iter=10_000, random_state=0).fit(X, y)
        assert ours.fallback_ is None
        assert ours.n_iter_ < 200
        assert objectives(ours, X, y)[0] <= objectives(theirs, X, y)[0] * (1 + 1e-6)


def test_weights_that_leave_nothing_of_the_penalty_are_scikit_learns():
    X, y = np.random.default_rng(0).normal(size=(3, 33))[[0, 0, 1]], [0, 1, 1]
    weight = np.full(3, 1e300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # liblinear's own of not having converged
        ours = LinearSVC(random_state=0).fit(X, y, weight)
        theirs = reference.LinearSVC(random_state=0).fit(X, y, weight)
    assert_array_equal(ours.coef_, theirs.coef_)


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("C", [1.0, 1e4])
def test_repeated_rows_of_many_features(scale, C):
    """Their inner products are singular; in a basis of the rows it is a problem of two features."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rows = scale * rng.normal(size=(2, 40))
        drawn, y = rng.integers(0, 2, 12), rng.permutation(12) % 2
        X, few = rows[drawn], rows[drawn] @ np.linalg.qr(rows.T)[0]
        model = LinearSVC(C=C, fit_intercept=False)
        (found,), (least,) = (objectives(clone(model).fit(Z, y), Z, y) for Z in (X, few))
        assert found <= least * (1 + 1e-6)


def test_few_numbers_are_multiplied_by_one_thread(monkeypatch):
    """Beside a busy process two threads would wait for each other; what is large has all."""

    def numbers():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    seen, solve = [], _newton._solve
    monkeypatch.setattr(_newton, "_solve", lambda *args: (seen.append(numbers()), solve(*args))[1])
    before = numbers()
    LinearSVC().fit(*tall())
    monkeypatch.setattr(_newton, "SINGLE_THREAD_MULTIPLICATIONS", 0)
    LinearSVC().fit(*tall())
    assert seen == [[1] * len(before), before]
    assert numbers() == before
