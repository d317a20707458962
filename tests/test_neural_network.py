"""The perceptrons against scikit-learn's: the same seed gives the same net."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skorch
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_matrix, csc_matrix, csr_array, csr_matrix
from scipy.sparse import random as sparse_random
from sklearn import neural_network as reference
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_nets import CNNRegressor, MemoryRegressor, neural_network
from sklearn_nets._training import lbfgs
from sklearn_nets.modules import losses
from sklearn_nets.modules.mlp import MLP
from sklearn_nets.neural_network import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:500] / 16, y[:500]


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X, y / 100


SETTINGS = [
    {},
    {"solver": "sgd"},
    {"solver": "sgd", "nesterovs_momentum": False},
    {"solver": "sgd", "momentum": 0.0},
    {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 1e-2},
    {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2},
    {"early_stopping": True, "n_iter_no_change": 3},
    {"solver": "lbfgs"},
    {"activation": "logistic", "hidden_layer_sizes": (30, 20)},
    {"activation": "tanh", "batch_size": 32},
    {"activation": "identity", "shuffle": False},
    {"alpha": 1.0, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4},
]


def assert_same_net(ours, theirs, X):
    """Same weights, losses and predictions up to the rounding of the order of sums."""
    assert ours.n_iter_ == theirs.n_iter_
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)
    if theirs.solver != "lbfgs":
        assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        assert ours.t_ == theirs.t_
        assert ours.best_loss_ == pytest.approx(theirs.best_loss_)
        if theirs.early_stopping:
            assert_allclose(ours.validation_scores_, theirs.validation_scores_)
            assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("task", ["ten classes", "two classes", "weighted"])
def test_same_seed_same_classifier(digits, settings, task):
    X, y = digits
    y = y > 4 if task == "two classes" else y
    weight = None
    if task == "weighted":
        weight = np.random.RandomState(0).uniform(0.1, 2, len(y))
    settings = {"max_iter": 12, "random_state": 3, **settings}
    theirs = reference.MLPClassifier(**settings).fit(X, y, weight)
    ours = MLPClassifier(**settings).fit(X, y, weight)
    assert_same_net(ours, theirs, X)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6, atol=1e-12)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("settings", [*SETTINGS, {"loss": "poisson"}], ids=str)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_same_seed_same_regressor(diabetes, settings, n_outputs):
    X, y = diabetes
    if n_outputs == 2:
        if settings.get("solver") == "lbfgs":
            pytest.skip("scikit-learn's line search sees another function than its gradient")
        y = np.c_[y, y[::-1]]
    settings = {"max_iter": 12, "random_state": 3, "learning_rate_init": 0.01, **settings}
    theirs = reference.MLPRegressor(**settings).fit(X, y)
    ours = MLPRegressor(**settings).fit(X, y)
    assert_same_net(ours, theirs, X)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("data", ["digits", "iris", "diabetes"])
def test_same_learning_curves_over_twenty_seeds(data):
    """Not only the distribution: every single curve and score is scikit-learn's."""
    load = {"digits": load_digits, "iris": load_iris, "diabetes": load_diabetes}[data]
    X, y = load(return_X_y=True)
    X, y = X[::2] / X.max(), y[::2] / (100 if data == "diabetes" else 1)
    ours_class, theirs_class = (
        (MLPRegressor, reference.MLPRegressor)
        if data == "diabetes"
        else (MLPClassifier, reference.MLPClassifier)
    )
    for seed in range(20):
        settings = {"random_state": seed, "max_iter": 20, "learning_rate_init": 0.01}
        ours = ours_class(**settings, hidden_layer_sizes=(20,)).fit(X, y)
        theirs = theirs_class(**settings, hidden_layer_sizes=(20,)).fit(X, y)
        assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        assert_allclose(ours.score(X, y), theirs.score(X, y), rtol=1e-9)


def test_lbfgs_with_several_outputs_finds_a_lower_loss(diabetes):
    X, y = diabetes
    y = np.c_[y, y[::-1]]
    settings = {"solver": "lbfgs", "max_iter": 100, "random_state": 0, "alpha": 0}
    theirs = reference.MLPRegressor(**settings).fit(X, y)
    ours = MLPRegressor(**settings).fit(X, y)
    assert ours.loss_ <= theirs.loss_ * 1.05
    assert ours.loss_ == pytest.approx(0.5 * np.mean((ours.predict(X) - y) ** 2))


@pytest.mark.usefixtures("host")
def test_multilabel_like_scikit_learn():
    X, y = make_multilabel_classification(n_samples=200, random_state=0)
    settings = {"max_iter": 15, "random_state": 0}
    theirs = reference.MLPClassifier(**settings).fit(X, y)
    ours = MLPClassifier(**settings).fit(X, y)
    assert_same_net(ours, theirs, X)
    assert ours.predict(X).dtype == theirs.predict(X).dtype


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("estimator", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_and_warm_start_like_scikit_learn(digits, estimator, solver):
    X, y = digits
    ours_class = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[estimator]
    theirs_class = getattr(reference, estimator)
    classes = {"classes": np.arange(10)} if estimator == "MLPClassifier" else {}
    ours, theirs = (c(random_state=1, solver=solver) for c in (ours_class, theirs_class))
    for start in range(0, 500, 125):
        for model in (ours, theirs):
            model.partial_fit(X[start : start + 125], y[start : start + 125], **classes)
        classes = {}
    assert_same_net(ours, theirs, X)
    ours, theirs = (
        c(random_state=1, solver=solver, warm_start=True, max_iter=4)
        for c in (ours_class, theirs_class)
    )
    for max_iter in (4, 3):
        for model in (ours, theirs):
            model.set_params(max_iter=max_iter).fit(X, y)
    assert len(ours.loss_curve_) == 7
    assert_same_net(ours, theirs, X)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("batch_size", [np.int64(64), np.uint8(64), True])
def test_batch_size_of_any_integer_type(digits, batch_size):
    X, y = digits
    settings = {"batch_size": batch_size, "max_iter": 2, "random_state": 1}
    theirs = reference.MLPClassifier(**settings).fit(X[:200], y[:200])
    assert_same_net(MLPClassifier(**settings).fit(X[:200], y[:200]), theirs, X)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    "settings",
    [
        {"beta_1": 0},
        {"beta_2": 0, "learning_rate_init": 1e-5},
        {"beta_1": np.float32(0.5), "beta_2": np.float32(0.75), "epsilon": np.float32(2**-20)},
        {"beta_1": 0, "solver": "lbfgs"},
        {"momentum": np.float32(0.5), "solver": "sgd"},
    ],
    ids=str,
)
def test_numbers_of_the_optimizer_of_any_type(digits, settings):
    X, y = digits
    ours = MLPClassifier(max_iter=3, random_state=1, **settings).fit(X[:200], y[:200])
    # scikit-learn would round by the type of a scalar
    settings = {name: np.array(value).item() for name, value in settings.items()}
    theirs = reference.MLPClassifier(max_iter=3, random_state=1, **settings).fit(X[:200], y[:200])
    assert_same_net(ours, theirs, X)


def goes_on(model, way, *data):
    """Fit a net, and let it go on with what `set_params` changes."""
    model.set_params(warm_start=True).fit(*data)
    return lambda **settings: getattr(model.set_params(**settings), way)(*data)


WAYS_ON = pytest.mark.parametrize("way", ["fit", "partial_fit"])


@pytest.mark.usefixtures("host")
@WAYS_ON
@pytest.mark.parametrize("estimator", ["MLPClassifier", "MLPRegressor"])
def test_nets_go_on_with_another_activation_like_scikit_learn(digits, estimator, way):
    X, y = digits
    ours, theirs = (
        goes_on(
            getattr(module, estimator)(hidden_layer_sizes=9, random_state=1, max_iter=3), way, X, y
        )
        for module in (neural_network, reference)
    )
    for settings in ({"activation": "tanh"}, {"activation": "logistic"}):
        assert_same_net(ours(**settings), theirs(**settings), X)


@WAYS_ON
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"loss": "hinge"}),
        ({"loss": "hinge"}, {"loss": "log_loss"}),
        ({}, {"label_smoothing": 0.3}),
        ({"loss": "quantile", "quantile": 0.1}, {"quantile": 0.9}),
        ({"loss": "huber"}, {"delta": 0.1}),
        ({"loss": "poisson"}, {"loss": "gamma"}),
        ({"loss": "squared_error"}, {"loss": "absolute_error"}),
    ],
    ids=str,
)
def test_nets_go_on_with_another_loss(digits, before, after, way):
    """They take the step from the same weights that a net takes which had the loss before."""
    X, y = digits
    numbers = {"quantile", "delta"} & {*after} or "error" in str(after) or "gamma" in str(after)
    model = (MLPRegressor if numbers else MLPClassifier)(
        hidden_layer_sizes=9, solver="sgd", momentum=0, random_state=1, max_iter=1, **before
    )
    start = clone(model).fit(X, y + 1)
    other = clone(model).set_params(**after).fit(X, y + 1)
    results = goes_on(model, way, X, y + 1)(**after)
    other.coefs_, other.intercepts_ = start.coefs_, start.intercepts_
    other.partial_fit(X, y + 1)
    for ours, theirs in zip(results.coefs_, other.coefs_):
        assert_allclose(ours, theirs)
    assert results.loss_ == pytest.approx(other.loss_)
    assert results.best_loss_ == results.loss_  # that of another loss is no measure
    assert results.out_activation_ == other.out_activation_


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("after", ["sgd", "adam"])
@pytest.mark.parametrize("before", ["adam", "sgd", "lbfgs", "gd"])
def test_partial_fit_by_another_solver(digits, before, after):
    """It takes the steps that scikit-learn's net takes from the same weights."""
    X, y = digits
    settings = {"random_state": 1, "max_iter": 3}
    ours = MLPClassifier(solver=before, **settings).fit(X, y)
    theirs = reference.MLPClassifier(solver=after, **settings).fit(X, y)
    if before != after:
        del theirs._optimizer  # `partial_fit` makes a new one
        theirs.coefs_ = [W.copy() for W in ours.coefs_]
        theirs.intercepts_ = [b.copy() for b in ours.intercepts_]
    n_rows = len(ours.history_)
    for _ in range(2):
        for model in (ours, theirs):
            model.set_params(solver=after).partial_fit(X, y)
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    assert len(ours.history_) == n_rows + 2


@WAYS_ON
def test_nets_do_not_go_on_where_outputs_mean_something_else(digits, way):
    model = MLPRegressor(hidden_layer_sizes=9, random_state=1, max_iter=1)
    on = goes_on(model, way, *digits)
    before = model.predict(digits[0])
    with pytest.raises(ValueError, match="loss='poisson'"):
        on(loss="poisson")
    assert_array_equal(model.predict(digits[0]), before)


def test_partial_fit_refuses_and_takes_what_scikit_learn_does(digits):
    X, y = digits
    columns = np.eye(3, dtype=bool)[y[:30] % 3]
    for cls in (MLPClassifier, reference.MLPClassifier):
        with pytest.raises(ValueError, match=r"has \[0 1\]. 'y' has \[0 1 2\]"):
            cls().partial_fit(X[:30], columns, classes=[0, 1])
        assert cls().partial_fit(X[:30], columns, classes=[0, 1, 2]).n_outputs_ == 3
    for cls in (MLPRegressor, reference.MLPRegressor):
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
            cls(early_stopping=True).partial_fit(X, y)
        assert cls(solver="lbfgs", early_stopping=True, max_iter=2).partial_fit(X, y).n_iter_ == 2


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("estimator", ["MLPClassifier", "MLPRegressor"])
def test_warm_start_with_early_stopping(digits, estimator):
    """Like scikit-learn's on the same data; on other data what was found before does not count."""
    X, y = digits
    ours, theirs = (
        c(random_state=1, warm_start=True, early_stopping=True, max_iter=5, n_iter_no_change=2)
        for c in (
            {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[estimator],
            getattr(reference, estimator),
        )
    )
    for _ in range(4):
        for model in (ours, theirs):
            model.fit(X[:300], y[:300])
        assert_same_net(ours, theirs, X)
        assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    ours.max_iter = 30
    ours.fit(X[:300], y[:300])
    shuffled = np.random.RandomState(0).permutation(y[300:])
    ours.fit(X[300:], shuffled)
    assert ours.best_validation_score_ == max(ours.validation_scores_[-ours.n_iter_ :])
    assert ours.n_iter_ > 1


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("schedule", ["adaptive", "invscaling"])
def test_a_warm_start_has_the_initial_rate_again(digits, schedule):
    """However small 'adaptive' has made it: after eight epochs without progress, a 125th."""
    settings = {"solver": "sgd", "learning_rate": schedule, "tol": 9, "n_iter_no_change": 1}
    if schedule == "invscaling":
        settings |= {"power_t": 0.2, "n_iter_no_change": 9}
    ours, theirs = (
        c(**settings, warm_start=True, max_iter=8, random_state=1)
        for c in (MLPClassifier, reference.MLPClassifier)
    )
    for _ in range(3):
        for model in (ours, theirs):
            model.fit(*digits)
        assert_same_net(ours, theirs, digits[0])


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("tol", [0.1, 0.03])
def test_lbfgs_ends_where_the_gradient_is_below_tol(tol):
    X, y = load_iris(return_X_y=True)
    settings = {"solver": "lbfgs", "alpha": 1.0, "tol": tol, "random_state": 0}
    ours, theirs = (
        c(hidden_layer_sizes=(), **settings).fit(X, y)
        for c in (MLPClassifier, reference.MLPClassifier)
    )
    assert 1 < ours.n_iter_ < 100
    assert_same_net(ours, theirs, X)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["cross", "binary", "squared", "poisson"])
def test_gradient_equals_autograd(activation, weighted, loss):
    random_state = np.random.RandomState(0)
    n, n_outputs = 30, 3
    net = MLP([5, 7, 6, n_outputs], activation, torch.float64).initialize(random_state)
    X = torch.from_numpy(random_state.randn(n, 5))
    weight = torch.from_numpy(random_state.uniform(size=n)) if weighted else None
    counts = torch.from_numpy(random_state.poisson(2, (n, n_outputs)).astype(float))
    criterion, y = {
        "cross": (losses.CrossEntropy(), torch.from_numpy(random_state.randint(0, 3, n))),
        "binary": (losses.BinaryCrossEntropy(), (counts > 1).double()),
        "squared": (losses.HalfSquaredError(), counts),
        "poisson": (losses.HalfPoissonDeviance(), counts),
    }[loss]
    penalty = 0.5 * 0.3 * sum(p.square().sum() for p in net.parameters() if p.ndim > 1)
    penalty = penalty / (n if weight is None else weight.sum())
    expected = criterion(net(X), y, weight) + penalty
    expected.backward()
    by_autograd = [p.grad.clone() for p in net.parameters()]
    with torch.no_grad():
        value = net.make_gradient(criterion, alpha=0.3)(X, y, weight)
    assert_allclose(float(value), n * float(expected.detach()), rtol=1e-12)
    for p, grad in zip(net.parameters(), by_autograd):
        assert_allclose(p.grad.numpy(), grad.numpy(), rtol=1e-9, atol=1e-14)


def test_module_takes_hand_built_weights_that_separate_any_points():
    """relu(1 - Σ(relu(x - xᵢ) + relu(xᵢ - x))) is 1 at the integer point xᵢ, 0 at all others."""
    rng = np.random.RandomState(0)
    D, N = 3, 20
    points = np.unique(rng.randint(-5, 6, (4 * N, D)), axis=0)
    points = points[rng.permutation(len(points))[:N]]
    labels = rng.randint(0, 4, N)
    net = MLP([D, 2 * N * D, N, 4], "relu", torch.float64)
    eye = np.eye(D)
    first = np.concatenate([np.r_[eye, -eye] for _ in points])  # (2ND, D)
    bias = np.concatenate([np.r_[-p, p] for p in points])
    second = -np.kron(np.eye(N), np.ones(2 * D))  # (N, 2ND)
    last = np.eye(4)[labels].T  # (4, N)
    state = {
        "layers.0.weight": first, "layers.0.bias": bias, "layers.1.weight": second,
        "layers.1.bias": np.ones(N), "layers.2.weight": last, "layers.2.bias": np.zeros(4),
    }  # fmt: skip
    net.load_state_dict({name: torch.from_numpy(w.astype(float)) for name, w in state.items()})
    with torch.no_grad():
        z = net(torch.from_numpy(points.astype(float)))
    assert_array_equal(z.argmax(1).numpy(), labels)
    assert_array_equal(z.numpy(), np.eye(4)[labels])


def test_bitwise_reproducible_whatever_the_global_seeds(digits):
    X, y = digits
    fits = []
    for seed in (0, 1):
        np.random.seed(seed)
        torch.manual_seed(seed)
        fits.append(MLPClassifier(max_iter=5, random_state=7, early_stopping=True).fit(X, y))
    for a, b in zip(fits[0].coefs_, fits[1].coefs_):
        assert_array_equal(a, b)


@pytest.mark.usefixtures("host")
def test_integer_weight_is_repetition_and_zero_weight_is_absence(digits):
    X, y = digits[0][:60], digits[1][:60]
    weight = np.random.RandomState(0).randint(0, 4, 60)
    settings = {"max_iter": 30, "random_state": 0}
    weighted = MLPClassifier(**settings).fit(X, y, weight)
    repeated = MLPClassifier(**settings).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix, torch.from_numpy])
@pytest.mark.parametrize("solver", ["lbfgs", "gd"])
def test_zero_weight_is_absence_for_solvers_of_all_samples(digits, solver, kind, monkeypatch):
    monkeypatch.setattr(lbfgs, "DENSE_VALUES", 64 * 40)  # the first pieces have no weight
    (X, y), weight = digits, np.arange(500) % 3 * (np.arange(500) > 100)
    settings = {"solver": solver, "max_iter": 5, "random_state": 0}
    odd = np.where((np.arange(500) < 9)[:, None], 1e200, X)
    with_odd = MLPRegressor(**settings).fit(kind(odd), y, weight)
    without = MLPRegressor(**settings).fit(kind(X[weight > 0]), y[weight > 0], weight[weight > 0])
    assert with_odd.loss_ == without.loss_
    assert_array_equal(with_odd.coefs_[0], without.coefs_[0])
    if solver == "lbfgs":
        assert_same_net(with_odd, reference.MLPRegressor(**settings).fit(X, y, weight), kind(X))
    with pytest.raises(ValueError, match="leave no sample of any weight"):
        MLPClassifier(class_weight=dict.fromkeys(range(10), 0), **settings).fit(kind(X), y)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5}])
def test_class_weight_is_the_product(digits, class_weight):
    X, y = digits[0][:100], digits[1][:100]
    by_class = MLPClassifier(class_weight=class_weight, max_iter=10, random_state=0).fit(X, y)
    factor = {c: len(y) / (10 * np.sum(y == c)) for c in range(10)}
    factor = factor if class_weight == "balanced" else class_weight
    weight = np.array([factor.get(c, 1.0) for c in y])
    by_sample = MLPClassifier(max_iter=10, random_state=0).fit(X, y, weight)
    assert_allclose(by_class.predict_proba(X), by_sample.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_own_validation_set(digits, early_stopping):
    X, y = digits
    names = np.array(list("abcdefghij"))[y]
    model = MLPClassifier(max_iter=8, random_state=0, early_stopping=early_stopping)
    model.fit(X[:400], names[:400], X_val=X[400:], y_val=names[400:])
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    score = model.score(X[400:], names[400:])
    if early_stopping:  # the best weights are back
        assert score == max(model.validation_scores_) == model.best_validation_score_
    else:
        assert score == model.validation_scores_[-1]
        without = MLPClassifier(max_iter=8, random_state=0).fit(X[:400], names[:400])
        assert_array_equal(model.coefs_[0], without.coefs_[0])


def test_validation_set_must_be_whole(digits):
    X, y = digits
    with pytest.raises(ValueError, match="X_val is provided, but y_val was not"):
        MLPClassifier().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="not in `self.classes_`"):
        MLPClassifier().fit(X[y < 5], y[y < 5], X_val=X, y_val=y)


def test_history_and_skorch_callbacks(digits):
    X, y = digits
    seen = []

    class Spy(skorch.callbacks.Callback):
        def on_batch_end(self, net, **kwargs):
            seen.append(float(kwargs["loss"]))

    stopper = skorch.callbacks.EarlyStopping("train_loss", patience=1, threshold=10, sink=None)
    model = MLPClassifier(max_iter=50, random_state=0, callbacks=[Spy()]).fit(X, y)
    assert isinstance(model.net_, skorch.NeuralNet)
    assert len(model.history_) == model.n_iter_ == 50
    assert_array_equal(model.history_[:, "train_loss"], model.loss_curve_)
    assert len(seen) == 50 * 3
    plain = MLPClassifier(max_iter=50, random_state=0).fit(X, y)
    assert_array_equal(plain.coefs_[0], model.coefs_[0])
    stopped = MLPClassifier(max_iter=50, random_state=0, callbacks=[stopper]).fit(X, y)
    assert stopped.n_iter_ < 5


def test_interrupt_keeps_the_weights_so_far(digits):
    X, y = digits

    class Interrupt(skorch.callbacks.Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 3:
                raise KeyboardInterrupt

    model = MLPClassifier(random_state=0, callbacks=[Interrupt()])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert model.n_iter_ == 2
    assert model.predict_proba(X).shape == (500, 10)


@pytest.mark.parametrize("solver", ["lbfgs", "gd"])
def test_an_interrupted_line_search_leaves_no_trial_behind(digits, monkeypatch, solver):
    """Wherever it is cut short, the net is that of as many iterations as are complete."""
    X, y = digits
    settings = {"hidden_layer_sizes": 5, "solver": solver, "learning_rate_init": 9, "alpha": 1}
    evaluate = lbfgs.Objective.evaluate

    def interrupted(objective):
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return evaluate(objective)

    iterations = set()
    for last in range(2, 9):
        left = last
        with monkeypatch.context() as patched, pytest.warns(UserWarning, match="interrupted"):
            patched.setattr(lbfgs.Objective, "evaluate", interrupted)
            model = MLPClassifier(**settings, random_state=0).fit(X, y)
        iterations.add(model.n_iter_)
        if not model.n_iter_:
            initial = MLPClassifier(**settings, max_iter=1, random_state=0)
            initial._make_run(X, y, None)
            assert_array_equal(model.coefs_[0], initial.coefs_[0])
            continue
        whole = MLPClassifier(**settings, max_iter=model.n_iter_, random_state=0).fit(X, y)
        assert_array_equal(model.coefs_[0], whole.coefs_[0])
        assert model.loss_ == whole.loss_
    assert iterations > {0, 1}


def test_a_loss_that_turns_nan_names_epoch_and_learning_rate(digits):
    X, y = digits
    model = MLPRegressor(solver="sgd", learning_rate_init=1e6, activation="identity")
    with pytest.raises(ValueError, match=r"in epoch \d+ with learning_rate_init=1000000"):
        model.fit(X, y)


def test_unconverged_training_warns(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
            MLPClassifier(max_iter=2).fit(*digits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device must be 'auto', 'cpu', 'cuda'"),
        ({"precision": "bfloat16"}, "The 'precision' parameter"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
        ({"solver": "newton"}, "The 'solver' parameter"),
        ({"n_iter_no_change": -1}, "The 'n_iter_no_change' parameter"),
    ],
)
def test_bad_parameters(digits, settings, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**settings).fit(*digits)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(digits):
    with pytest.raises(ValueError, match="torch finds 0 cuda device"):
        MLPClassifier(device="cuda").fit(*digits)


@pytest.mark.parametrize("kind", [str, bytes, "datetime64[D]"])
@pytest.mark.parametrize("cls", [MLPRegressor, CNNRegressor, MemoryRegressor])
def test_regressors_say_that_targets_must_be_numbers(digits, cls, kind):
    X, y = digits[0][:, :60], digits[1].astype(kind)
    for rows in (X, torch.from_numpy(X)):
        for targets in (y, list(y), np.stack([y, y], 1)):
            with pytest.raises(ValueError, match="numbers.* take .*Classifier"):
                cls(max_iter=1).fit(rows, targets)
    model = cls(max_iter=1).fit(X[:20], digits[1][:20])
    with pytest.raises(ValueError, match="numbers"):
        model.partial_fit(X[:20], y[:20])
    with pytest.raises(ValueError, match="numbers"):
        model.fit(X[:20], digits[1][:20], X_val=X[20:40], y_val=y[20:40])


@pytest.mark.parametrize("weight", [np.zeros(500), -np.ones(500), np.ones(3), np.full(500, np.nan)])
def test_bad_weights(digits, weight):
    with pytest.raises(ValueError, match=r"[Ww]eight"):
        MLPClassifier().fit(*digits, sample_weight=weight)


def test_tensors_in_tensors_out(digits, device):
    X, y = digits
    X_t = torch.from_numpy(X).to(device)
    model = MLPClassifier(max_iter=5, random_state=0).fit(X_t, torch.from_numpy(y).to(device))
    proba, labels = model.predict_proba(X_t), model.predict(X_t)
    assert isinstance(labels, torch.Tensor)
    assert labels.device == proba.device == X_t.device
    assert proba.dtype == torch.float64
    on_numpy = MLPClassifier(max_iter=5, random_state=0, device="cpu").fit(X, y)
    tolerance = 1e-9 if device == "cpu" else 1e-3
    assert_allclose(proba.cpu().numpy(), on_numpy.predict_proba(X), rtol=tolerance, atol=tolerance)
    assert model.score(X_t, y) == model.score(X, y)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (torch.zeros(5), "Expected 2D array, got 1D tensor"),
        (torch.full((4, 2), torch.nan), "Input X contains NaN"),
        (torch.full((4, 2), torch.inf), "Input X contains infinity"),
        (torch.zeros(0, 3), "0 sample"),
        (torch.zeros(4, 2, dtype=torch.complex64), "Complex data not supported"),
        (torch.zeros(3, 2), "inconsistent numbers of samples"),
    ],
)
def test_bad_tensors(X, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier().fit(X, [0, 1, 0, 1])


def test_coefs_can_be_set_and_pickle_is_small(digits):
    X, y = digits
    model = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    other = MLPClassifier(max_iter=1, random_state=1).fit(X, y)
    other.coefs_, other.intercepts_ = model.coefs_, model.intercepts_
    assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    data = pickle.dumps(model)
    assert_array_equal(pickle.loads(data).predict_proba(X), model.predict_proba(X))
    weights = 8 * model.n_parameters_
    assert model.n_parameters_ == 64 * 100 + 100 + 100 * 10 + 10
    assert len(data) < 3.6 * weights  # the weights and Adam's two moments
    more = pickle.loads(data)
    for m in (model, more):
        m.partial_fit(X, y)
    assert_array_equal(more.coefs_[0], model.coefs_[0])


def test_clone_and_repr(digits):
    model = MLPClassifier((5, 4), "tanh", alpha=0.1)
    assert clone(model).get_params() == model.get_params()
    assert repr(model) == "MLPClassifier(activation='tanh', alpha=0.1, hidden_layer_sizes=(5, 4))"
    assert MLPRegressor("poisson", (3,)).get_params()["loss"] == "poisson"
    ours, theirs = MLPClassifier().get_params(), reference.MLPClassifier().get_params()
    assert {name: ours[name] for name in theirs} == theirs


# ------------------------------------------------------------------------------------- sparse rows


@pytest.mark.parametrize("kind", [csr_array, csr_matrix, csc_matrix, coo_matrix])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_sparse_rows_make_the_net_of_dense_ones(digits, kind, solver, early_stopping):
    X, y = digits
    settings = {
        "solver": solver, "early_stopping": early_stopping, "max_iter": 5, "random_state": 0,
    }  # fmt: skip
    weight = np.arange(len(y)) % 3
    dense = MLPClassifier(**settings).fit(X, y, sample_weight=weight)
    sparse = MLPClassifier(**settings).fit(kind(X), y, sample_weight=weight)
    assert_allclose(sparse.predict_proba(kind(X)), dense.predict_proba(X), rtol=1e-7)
    theirs = reference.MLPClassifier(**settings).fit(kind(X), y)
    ours = MLPClassifier(**settings).fit(kind(X), y)
    assert_allclose(ours.predict_proba(kind(X)), theirs.predict_proba(kind(X)), rtol=1e-5)


FEW = sparse_random(600, 400, density=0.02, format="csr", random_state=0)
FEW_Y = np.asarray(FEW @ np.random.RandomState(0).randn(400, 3)).argmax(1)


@pytest.mark.parametrize("kind", [csr_array, csr_matrix, csc_matrix])
@pytest.mark.parametrize(
    "settings",
    [*SETTINGS, {"hidden_layer_sizes": ()}, {"batch_size": 600}],
    ids=str,
)
def test_few_values_make_scikit_learns_net(kind, settings):
    """Of these rows products are taken as they are."""
    X, y = kind(FEW), FEW_Y
    models = [
        M(**{"max_iter": 8, "random_state": 0, **settings})
        for M in (MLPClassifier, reference.MLPClassifier)
    ]
    for model in models:
        model.fit(X, y)
    assert_same_net(*models, X)
    assert_allclose(models[0].predict_proba(X), models[1].predict_proba(X), rtol=1e-7)
    assert models[0].score(X, y) == models[1].score(X, y)


@pytest.mark.parametrize("settings", [{}, {"solver": "gd"}, {"loss": "hinge"}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_few_values_make_the_net_of_dense_rows(settings, dtype):
    X = (10 * FEW).astype(dtype)
    weight = np.arange(600) % 3
    nets = []
    for rows in (X.toarray(), X):
        net = MLPClassifier(max_iter=4, random_state=0, **settings)
        net.fit(rows, FEW_Y, sample_weight=weight)
        if settings.get("solver") != "gd":
            net.partial_fit(rows[:300], FEW_Y[:300])
        nets.append(net)
    tolerance = {"rtol": 1e-3, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-8}
    assert_allclose(nets[0].loss_, nets[1].loss_, **tolerance)
    for a, b in zip(nets[0].coefs_, nets[1].coefs_):
        assert_allclose(a, b, atol=1e-4 if dtype == np.float32 else 1e-9)
    for batch_size in (7, 2048):
        for net in nets:
            net._predict_batch_size = batch_size
        expected = nets[0].predict(X.toarray())
        assert_array_equal(nets[1].predict(X), expected)
        assert_array_equal(nets[1].predict(X.toarray()), expected)


def test_sparse_rows_of_any_form():
    """Values out of order, twice in a place or zero, empty rows, memory that is read only."""
    rng = np.random.RandomState(0)
    rows, columns = rng.randint(0, 90, 500), rng.randint(0, 200, 500)
    ends = np.r_[0, np.bincount(rows, minlength=100).cumsum()]
    odd = csr_matrix((np.r_[rng.randn(499), 0.0], columns, ends), shape=(100, 200))
    assert not odd.has_sorted_indices
    assert not odd.has_canonical_format
    for part in (odd.data, odd.indices, odd.indptr):
        part.flags.writeable = False
    dense = odd.toarray()
    y = np.arange(100) % 2
    a, b = (MLPClassifier(max_iter=3, random_state=0).fit(X, y) for X in (odd, dense))
    assert_allclose(a.predict_proba(odd), b.predict_proba(dense), rtol=1e-9)


@pytest.mark.parametrize("layer_sizes", [(30, 8, 4), (30, 4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_sparse_rows_equals_that_of_dense_ones(layer_sizes, weighted):
    rng = np.random.RandomState(0)
    module = MLP(layer_sizes, "tanh", torch.float64).initialize(rng)
    X = sparse_random(20, 30, density=0.1, format="csr", random_state=0)
    y = torch.from_numpy(rng.randint(0, 4, 20))
    weight = torch.from_numpy(rng.rand(20)) if weighted else None
    found = []
    for rows in (torch.from_numpy(X.toarray()), X):
        gradient = module.make_gradient(losses.CrossEntropy(), alpha=0.1)
        with torch.no_grad():
            found.append([gradient(rows, y, weight), *(p.grad for p in module.parameters())])
    for dense, sparse in zip(*found):
        torch.testing.assert_close(sparse, dense, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("density", [0.002, 0.2])
def test_sparse_rows_become_dense_a_few_at_a_time_or_not_at_all(density, monkeypatch):
    X = sparse_random(3000, 2000, density=density, format="csr", random_state=0)
    y = np.arange(3000) % 2
    largest = [0]
    toarray = csr_matrix.toarray

    def noted(self, *arguments, **settings):
        largest.append(self.shape[0])
        return toarray(self, *arguments, **settings)

    for name in ("csr_matrix", "csr_array"):
        monkeypatch.setattr(getattr(scipy.sparse, name), "toarray", noted)
    monkeypatch.setattr(lbfgs, "DENSE_VALUES", 2000 * 500)
    for solver, most in (("adam", 200), ("lbfgs", 500)):
        largest[:] = [0]
        model = MLPRegressor(hidden_layer_sizes=4, solver=solver, max_iter=2, random_state=0)
        model.fit(X, y)
        assert max(largest) == (0 if density < 0.1 else most)
        model.predict(X)
        assert max(largest) == (0 if density < 0.1 else model._predict_batch_size)
    assert model._predict_batch_size < X.shape[0]


def test_encoded_categories_in_a_pipeline():
    frame = pd.DataFrame({"color": ["red", "green", "blue", "red"] * 20, "size": range(80)})
    y = (frame.color == "red") ^ (frame["size"] > 40)
    encode = ColumnTransformer(
        [("onehot", OneHotEncoder(), ["color"])], remainder=StandardScaler(), sparse_threshold=1.0
    )
    model = make_pipeline(encode, MLPClassifier(solver="lbfgs", random_state=0)).fit(frame, y)
    assert model.score(frame, y) == 1.0
