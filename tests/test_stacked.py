"""Nets trained together by `stacked`: equal to the same nets alone, and no fit in another's way."""

import io
import threading
import time
import warnings
from collections import Counter
from contextlib import nullcontext

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import get_config
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_nets import CNNClassifier, MLPClassifier, MLPRegressor, compare, stacked
from sklearn_nets._training import stacked as stacked_module
from sklearn_nets._training import stacked_batches
from sklearn_nets._training.admission import SharedTensors
from sklearn_nets._training.loader import BatchLoader, DeviceData
from sklearn_nets._utils.device import threads
from sklearn_nets.modules.classification_losses import Hinge
from sklearn_nets.modules.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HalfPoissonDeviance,
    HalfSquaredError,
)
from sklearn_nets.modules.regression_losses import PinballLoss
from sklearn_nets.modules.stacked_mlp import has_stacked_residual

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("host"),  # equal in float64
]
X, Y = load_digits(return_X_y=True)
X, Y = X[:303] / 16, Y[:303]  # folds of 101 and 102
Y_REAL = X[:, 20:22] @ [[1.0, 2.0], [0.5, -1.0]]
WEIGHT = np.random.RandomState(0).randint(0, 4, len(X)).astype(float)


@pytest.fixture
def stacks(monkeypatch):
    """The sizes of all stacks that were trained, as on one core: none is cut for another one."""
    monkeypatch.setattr(stacked_module, "n_worker_threads", lambda: 1)
    sizes = []
    init = stacked_module.Stack.__init__

    def noting(self, runs, *args):
        sizes.append(len(runs))
        init(self, runs, *args)

    monkeypatch.setattr(stacked_module.Stack, "__init__", noting)
    return sizes


def fitted(search):
    """Every net of a cross-validation, and what is compared of it."""
    return [model[-1] if hasattr(model, "steps") else model for model in search["estimator"]]


def assert_equal_nets(ours, theirs, tolerance):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.n_iter_ == b.n_iter_
        assert a.t_ == b.t_
        assert_allclose(a.loss_curve_, b.loss_curve_, rtol=tolerance, atol=tolerance)
        assert_allclose(a.history_[:, "train_loss"], b.history_[:, "train_loss"], rtol=tolerance)
        for name in ("validation_scores_", "validation_loss_curve_"):
            if getattr(a, name, None) is not None:
                assert_allclose(getattr(a, name), getattr(b, name), rtol=tolerance)
        for x, y in zip(a.net_.module_.parameters(), b.net_.module_.parameters()):
            assert_allclose(x.detach().numpy(), y.detach().numpy(), atol=tolerance)


def outputs(model, data):
    method = getattr(model, "predict_proba", model.predict)
    return method(data)


BASE = {"max_iter": 6, "batch_size": 32, "random_state": 0}
CLASSIFIERS = {
    "adam": {},
    "float32": {"precision": "float32"},
    "logistic": {"activation": "logistic"},
    "tanh": {"activation": "tanh", "hidden_layer_sizes": (9, 7)},
    "identity": {"activation": "identity"},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "betas": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1},
    "plain momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "no momentum": {"solver": "sgd", "momentum": 0.0},
    "no momentum, invscaling": {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling"},
    "no momentum, adaptive": {"solver": "sgd", "momentum": 0.0, "learning_rate": "adaptive", "tol": 9, "n_iter_no_change": 1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 9, "n_iter_no_change": 1},
    "one cycle": {"learning_rate": "onecycle"},
    "early stopping": {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 2, "learning_rate_init": 0.01},
    "converged": {"tol": 0.3, "n_iter_no_change": 1, "max_iter": 40},
    "class weight": {"class_weight": "balanced"},
    "in order": {"shuffle": False},
    "one batch": {"batch_size": "auto"},
}  # fmt: skip


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_stacked_classifiers_equal_those_alone(case, stacks):
    options = {"hidden_layer_sizes": 9} | BASE | CLASSIFIERS[case]
    single = options.pop("precision", "") == "float32"
    data = X.astype(np.float32) if single else X
    model = make_pipeline(StandardScaler(), MLPClassifier(**options))
    alone = cross_validate(model, data, Y, cv=4, return_estimator=True)
    with stacked():
        together = cross_validate(model, data, Y, cv=4, return_estimator=True)
    assert sum(stacks) == 4
    tolerance = 1e-4 if single else 1e-9
    assert_equal_nets(fitted(together), fitted(alone), tolerance)
    assert_array_equal(together["test_score"], alone["test_score"])
    for ours, theirs in zip(together["estimator"], alone["estimator"]):
        assert_allclose(outputs(ours, data), outputs(theirs, data), atol=tolerance)


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (MLPClassifier(9, **BASE), Y % 2),
        (MLPClassifier(9, **BASE), np.stack([Y % 2, Y > 4], 1)),
        (MLPRegressor(hidden_layer_sizes=9, **BASE), Y_REAL[:, 0]),
        (MLPRegressor(hidden_layer_sizes=9, **BASE), Y_REAL),
        (MLPRegressor(hidden_layer_sizes=9, loss="poisson", **BASE), np.abs(Y_REAL[:, 0])),
        (MLPRegressor(hidden_layer_sizes=9, loss="quantile", **BASE), Y_REAL),
        (MLPClassifier(9, loss="hinge", **BASE), Y),
        (MLPClassifier(9, label_smoothing=0.2, **BASE), Y),
        (MLPClassifier(9, label_smoothing=0.2, **BASE), Y % 2),
    ],
    ids=[
        "binary",
        "multilabel",
        "squared error",
        "two outputs",
        "poisson",
        "quantile",
        "hinge",
        "smoothing",
        "binary smoothing",
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_stacked_losses_equal_those_alone(model, target, weighted, stacks):
    fit_params = {"params": {"sample_weight": WEIGHT}} if weighted else {}
    alone = cross_validate(model, X, target, cv=4, return_estimator=True, **fit_params)
    with stacked():
        together = cross_validate(model, X, target, cv=4, return_estimator=True, **fit_params)
    assert sum(stacks) == 4
    assert_equal_nets(fitted(together), fitted(alone), 1e-9)
    for ours, theirs in zip(together["estimator"], alone["estimator"]):
        assert_allclose(outputs(ours, X), outputs(theirs, X), atol=1e-9)


@pytest.mark.parametrize("copied_bytes", [0, 2**20])
def test_every_net_sees_rows_of_its_own_data(copied_bytes, monkeypatch):
    """Data that is too large to be copied behind other data is gathered net by net."""
    monkeypatch.setattr(stacked_batches, "COPIED_BYTES", copied_bytes)
    one, other = torch.arange(10.0).view(5, 2), -torch.arange(14.0).view(7, 2)
    rows = torch.tensor([[0, 4], [4, 2], [6, 1]])
    stacked_rows = stacked_batches.StackedRows([one, one, other])
    assert stacked_rows.together == bool(copied_bytes)
    expected = torch.stack([one[rows[0]], one[rows[1]], other[rows[2]]])
    assert torch.equal(stacked_rows.gather(rows), expected)
    same = torch.stack([one[[3, 1]], one[[3, 1]], other[[3, 1]]])
    assert torch.equal(stacked_rows.gather(torch.tensor([[3, 1]])), same)


def test_plain_losses_of_several_nets_are_computed_together():
    for cls in (CrossEntropy, BinaryCrossEntropy, HalfSquaredError, HalfPoissonDeviance):
        assert has_stacked_residual(cls())
    for loss in (CrossEntropy(0.1), BinaryCrossEntropy(0.1), PinballLoss(0.5), Hinge()):
        assert not has_stacked_residual(loss)


GRIDS = {
    "smoothing": ({"label_smoothing": [0.0, 0.1, 0.4]}, {}),
    "losses": ({"loss": ["log_loss", "focal"]}, {}),
    "alpha": ({"alpha": [0.0, 0.1, 1.0]}, {}),
    "rates": ({"learning_rate_init": [0.1, 0.01, 0.001]}, {}),
    "sgd rates": ({"learning_rate_init": [0.1, 0.01], "momentum": [0.5, 0.9]}, {"solver": "sgd"}),
    "momentum or not": ({"momentum": [0.9, 0.0]}, {"solver": "sgd", "nesterovs_momentum": False}),
    "no momentum first": ({"momentum": [0.0, 0.9], "max_iter": [2, 5]}, {"solver": "sgd", "nesterovs_momentum": False}),
    "betas": ({"beta_1": [0.5, 0.9], "beta_2": [0.9, 0.99]}, {}),
    "seeds": ({"random_state": [0, 1, 2]}, {}),
    "epochs": ({"max_iter": [2, 5]}, {}),
    "patience": ({"n_iter_no_change": [1, 3]}, {"early_stopping": True, "max_iter": 30}),
    "solvers": ({"solver": ["adam", "sgd", "lbfgs"]}, {}),
    "epsilon": ({"epsilon": [1e-8, 1e-2]}, {}),
    "activations": ({"activation": ["relu", "tanh", "identity"]}, {}),
    "batches of two sizes": ({"batch_size": [68, 96]}, {}),  # three of either
    "sizes": ({"hidden_layer_sizes": [4, 9, (5, 3)]}, {}),
    "balanced or not": ({"class_weight": ["balanced", None]}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", GRIDS)
def test_searches_give_the_same_results(case, stacks):
    grid, options = GRIDS[case]
    search = GridSearchCV(MLPClassifier(9, **BASE).set_params(**options), grid, cv=3)
    alone = search.fit(X, Y).cv_results_
    best = search.best_estimator_.coefs_ if hasattr(search.best_estimator_, "coefs_") else None
    with stacked():
        together = search.fit(X, Y).cv_results_
    assert stacks
    for name, values in alone.items():
        if "time" not in name:
            assert_array_equal(np.array(together[name]), np.array(values), err_msg=name)
    assert best is None or all(map(np.array_equal, best, search.best_estimator_.coefs_))


def test_what_is_read_of_a_net_is_its_own():
    model = MLPClassifier(9, **BASE)
    with stacked():
        nets = cross_validate(model, X, Y, cv=3, return_estimator=True)["estimator"]
    for net in nets:
        for p in net.net_.module_.parameters():
            assert p.untyped_storage().nbytes() == p.nbytes
            for value in net.net_.optimizer_.state[p].values():
                assert value.untyped_storage().nbytes() == value.nbytes


def test_nothing_changes_outside():
    threads, filters, show = torch.get_num_threads(), list(warnings.filters), warnings.showwarning
    before, config = threading.active_count(), get_config()
    with stacked():
        cross_val_predict(MLPClassifier(9, **BASE), X, Y, cv=3)
    assert torch.get_num_threads() == threads
    assert warnings.filters == filters
    assert warnings.showwarning is show
    assert get_config() == config
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_ensembles_train_as_one(stacks):
    bagging = BaggingClassifier(MLPClassifier(9, **BASE), 8, random_state=0)
    alone = bagging.fit(X, Y).predict_proba(X)
    with stacked():
        together = bagging.fit(X, Y).predict_proba(X)
    assert sum(stacks) == 8
    assert_allclose(together, alone, atol=1e-9)


def learned(model):
    """The first weights of a net, and how long it was trained."""
    return model.net_.module_.layers[0].weight.detach().numpy(), model.n_iter_, model.t_


def test_partial_fit_goes_on(stacks):
    def rounds(context):
        models = [
            MLPClassifier(9, **BASE, alpha=a, solver=s) for a in (0.1, 1) for s in ("adam", "sgd")
        ]
        for i in range(3):
            some = slice(90 * i, 90 * i + 100)
            with context():
                joblib.Parallel()(
                    joblib.delayed(m.partial_fit)(X[some], Y[some], classes=np.unique(Y))
                    for m in models
                )
        return models

    alone = rounds(nullcontext)
    assert_equal_nets(rounds(stacked), alone, 1e-9)
    assert stacks == [2, 2] * 3


def test_nets_without_momentum_go_on_at_another_rate(stacks):
    def twice(context):
        settings = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1}
        models = [MLPClassifier(9, **BASE, alpha=a, **settings) for a in (0.1, 1.0)]
        with context():
            joblib.Parallel()(joblib.delayed(m.fit)(X, Y) for m in models)
        return [m.set_params(learning_rate="invscaling").partial_fit(X, Y) for m in models]

    assert_equal_nets(twice(stacked), twice(nullcontext), 1e-9)
    assert stacks == [2]


def test_warm_starts_go_on():
    def twice(context):
        models = [MLPClassifier(9, **BASE, alpha=a, warm_start=True) for a in (0.1, 1.0)]
        for n in (200, 300):
            with context():
                joblib.Parallel()(joblib.delayed(m.fit)(X[:n], Y[:n]) for m in models)
        return models

    assert_equal_nets(twice(stacked), twice(nullcontext), 1e-9)


def test_validation_sets_of_their_own(stacks):
    def fit(context):
        with context():
            return joblib.Parallel()(
                joblib.delayed(MLPClassifier(9, **BASE, early_stopping=early).fit)(
                    X[:200], Y[:200], X_val=X[200:], y_val=Y[200:], sample_weight_val=WEIGHT[200:]
                )
                for early in (True, False, True)
            )

    ours = fit(stacked)
    assert stacks == [3]
    assert_equal_nets(ours, fit(nullcontext), 1e-9)


FUNCTIONS = {
    "random search": lambda m: RandomizedSearchCV(m, {"alpha": [0.1, 1.0, 2.0]}, n_iter=2, cv=3, random_state=0).fit(X, Y).cv_results_["mean_test_score"],
    "halving search": lambda m: HalvingGridSearchCV(m, {"alpha": [0.1, 1.0, 2.0]}, cv=3, min_resources=120, random_state=0).fit(X, Y).cv_results_["mean_test_score"],
    "cross_val_predict": lambda m: cross_val_predict(m, X, Y, cv=3, method="predict_proba"),
    "learning_curve": lambda m: np.array(learning_curve(m, X, Y, cv=3, train_sizes=[0.4, 0.7, 1.0])[1:]),
    "validation_curve": lambda m: np.array(validation_curve(m, X, Y, param_name="alpha", param_range=[0.1, 1.0], cv=3)),
    "permutation_test_score": lambda m: permutation_test_score(m, X, Y, cv=3, n_permutations=3, random_state=0)[1],
    "one vs rest": lambda m: OneVsRestClassifier(m).fit(X, Y).predict_proba(X),
    "multi-output": lambda m: MultiOutputClassifier(m).fit(X, np.stack([Y % 3, Y // 4], 1)).predict_proba(X)[1],
    "calibration": lambda m: CalibratedClassifierCV(m, cv=3).fit(X, Y).predict_proba(X),
}  # fmt: skip


@pytest.mark.parametrize("case", FUNCTIONS)
def test_all_that_fits_many_nets(case, stacks):
    model = MLPClassifier(9, **BASE | {"batch_size": 64, "max_iter": 3})
    alone = FUNCTIONS[case](model)
    assert not stacks
    with stacked():
        together = FUNCTIONS[case](model)
    assert max(stacks) > 1
    assert_allclose(together, alone, atol=1e-9)


WIDTHS = {
    "adam": {},
    "tanh, two layers": {"activation": "tanh", "hidden_layer_sizes": [(5, 9), (9, 5), (7, 7)]},
    "identity": {"activation": "identity"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1},
    "early stopping": {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 2},
    "weights": {"class_weight": "balanced", "alpha": 1.0},
    "binary": {},
}


@pytest.mark.parametrize("case", WIDTHS)
def test_nets_of_similar_width_are_one_stack(case, stacks):
    options = BASE | {"hidden_layer_sizes": [5, 9, 7, 5]} | WIDTHS[case]
    sizes, target = options.pop("hidden_layer_sizes"), Y > 4 if case == "binary" else Y

    def fit(context):
        with context():
            return joblib.Parallel()(
                joblib.delayed(MLPClassifier(size, **options).fit)(X, target) for size in sizes
            )

    ours, theirs = fit(stacked), fit(nullcontext)
    assert stacks == [len(sizes)] if torch.get_num_threads() == 1 else sum(stacks) == len(sizes)
    assert_equal_nets(ours, theirs, 1e-9)
    if case in ("adam", "sgd"):  # goes on with weights and states of its own
        assert_equal_nets(
            *([net.partial_fit(X, Y) for net in nets] for nets in (ours, theirs)), 1e-9
        )
    assert all(p.is_contiguous() for net in ours for p in net.net_.module_.parameters())


def test_widths_that_would_not_pay_are_stacks_of_their_own(stacks):
    for activation, sizes, expected in (
        ("logistic", (5, 9, 5, 9), [2, 2]),  # a unit without weights would answer 1/2
        ("relu", (100, 300, 100, 300), [2, 2]),
        ("relu", (300, 310, 320, 300), [4]),
    ):
        stacks.clear()
        with stacked(), threads(1):
            joblib.Parallel()(
                joblib.delayed(MLPClassifier(size, activation=activation, **BASE).fit)(X, Y)
                for size in sizes
            )
        assert sorted(stacks) == expected


def test_compare_says_the_same(stacks):
    settings = BASE | {"batch_size": 64, "max_iter": 3}
    models = {f"alpha={a}": MLPClassifier(9, **settings, alpha=a) for a in (0.1, 1.0)}
    models["CNN"] = CNNClassifier((4,), image_shape=(1, 4, 4), max_iter=1, random_state=0)
    rows = np.random.default_rng(0).normal(size=(len(X), 16))
    alone = compare(models, rows, Y, cv=3, random_state=0)
    with stacked():
        together = compare(models, rows, Y, cv=3, random_state=0)
    assert sum(stacks) == 6
    shown = ["estimator", "fold", "accuracy", "log_loss", "train_score", "n_iter"]
    columns = [name for name in shown if name in alone.folds]
    assert len(columns) > 3
    pd.testing.assert_frame_equal(together.folds[columns], alone.folds[columns], atol=1e-9)


class Listener(Callback):
    def initialize(self):
        self.heard = []
        return self

    def on_epoch_end(self, net, **kwargs):
        weight = net.module_.layers[0].weight.detach().numpy().copy()
        self.heard.append((net.history[-1, "train_loss"], weight))


def test_skorch_callbacks_see_their_own_net():
    model = MLPClassifier(9, **BASE, callbacks=[Listener()])

    def heard():
        nets = cross_validate(model, X, Y, cv=3, return_estimator=True)["estimator"]
        return [dict(net.net_.callbacks_)["Listener"].heard for net in nets]

    alone = heard()
    with stacked():
        together = heard()
    for ours, theirs in zip(together, alone):
        assert len(ours) == len(theirs) == BASE["max_iter"]
        for (loss, weight), (loss_alone, weight_alone) in zip(ours, theirs):
            assert_allclose(loss, loss_alone)
            assert_allclose(weight, weight_alone, atol=1e-9)


class Counts:
    """A callback of scikit-learn that counts the tasks of every estimator."""

    max_propagation_depth = None

    def __init__(self):
        self.begun = Counter()

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun[type(estimator).__name__, context.task_name] += 1

    def on_fit_task_end(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass


def test_callbacks_of_scikit_learn_hear_every_estimator():
    def counts(context):
        counter = Counts()
        models = [MLPClassifier(9, **BASE, alpha=a).set_callbacks(counter) for a in (0.1, 0.2, 0.3)]
        with context():
            joblib.Parallel()(joblib.delayed(model.fit)(X, Y) for model in models)
        return counter.begun

    expected = counts(nullcontext)
    assert expected["MLPClassifier", "epoch"] == 3 * BASE["max_iter"]
    assert counts(stacked) == expected


def test_the_bar_shows_the_epochs_of_all(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    with stacked(progress=True):
        cross_validate(MLPClassifier(9, **BASE), X, Y, cv=3)
    assert f"{3 * BASE['max_iter']}/{3 * BASE['max_iter']}" in written.getvalue()


def test_equal_data_is_held_once():
    shared, one = SharedTensors(), torch.arange(12.0).view(6, 2)
    assert shared.share(one) is one
    for equal in (torch.from_numpy(one.numpy()), one.clone()):
        assert shared.share(equal) is one
    for other in (one[:5], one.view(2, 6), one.double(), one.t().clone(), -one):
        assert shared.share(other) is other
    assert shared.n_bytes == one.nbytes * (1 + 5 / 6 + 1 + 2 + 1 + 1)
    assert shared.share(None) is None


def loaders_of(states, rows=None):
    data = DeviceData(torch.zeros(12, 2), torch.zeros(12))
    return [BatchLoader(data, rows=rows, batch_size=5, random_state=state) for state in states]


@pytest.mark.parametrize("rows", [None, np.arange(1, 12)])
def test_orders_are_those_of_their_own_loaders(rows):
    seeds = [0, 1, 0, 0, None]  # None does not shuffle
    own, together = (
        loaders_of([None if s is None else np.random.RandomState(s) for s in seeds], rows)
        for _ in range(2)
    )
    batches = stacked_batches.StackedBatches(together)
    for _ in range(3):
        orders = batches.next_orders()
        for loader, places in zip(own, orders, strict=True):
            expected = loader.next_permutation()
            assert_array_equal(places, np.arange(12) if expected is None else expected)
    batches.release()
    for one, other in zip(own, together):
        if one.random_state is not None:
            assert one.random_state.rand() == other.random_state.rand()
        assert_array_equal(one.next_permutation(), other.next_permutation())


def test_nets_of_one_generator_have_orders_of_their_own():
    """As random_state=None, which is NumPy's generator for all of them."""
    shared = np.random.RandomState(0)
    batches = stacked_batches.StackedBatches(loaders_of([shared] * 3))
    orders = batches.next_orders()
    assert len(np.unique(orders, axis=0)) == 3
    state = shared.get_state()
    batches.release()
    assert_array_equal(shared.get_state()[1], state[1])


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_any_number_of_threads_and_size_of_stacks(n_threads, stacks, monkeypatch):
    model = MLPClassifier(9, **BASE | {"early_stopping": True, "n_iter_no_change": 1})
    search = GridSearchCV(
        model, {"alpha": [0.1, 1.0, 2.0], "random_state": [0, 1]}, cv=2, refit=False
    )
    alone = search.fit(X, Y).cv_results_["mean_test_score"]
    monkeypatch.setattr(stacked_module, "n_worker_threads", lambda: n_threads)
    for cache in (1, 2**17, 2**30):
        monkeypatch.setattr(stacked_module, "CACHE", cache)
        with stacked():
            together = search.fit(X, Y).cv_results_["mean_test_score"]
        assert_array_equal(together, alone)
    assert sum(stacks) == 3 * 12
    assert max(stacks) <= -(-12 // n_threads)
