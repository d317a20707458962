"""Nets trained together by `stacked`: equal to the same nets alone, and no fit in another's way."""

import threading
import time
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_nets import MLPClassifier, MLPRegressor, stacked
from sklearn_nets._training import stacked as stacked_module

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:303] / 16, Y[:303]  # folds of 101 and 102
Y_REAL = X[:, 20:22] @ [[1.0, 2.0], [0.5, -1.0]]
WEIGHT = np.random.RandomState(0).randint(0, 4, len(X)).astype(float)


@pytest.fixture
def stacks(monkeypatch):
    """The sizes of all stacks that were trained."""
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
    ],
    ids=["binary", "multilabel", "squared error", "two outputs", "poisson"],
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


GRIDS = {
    "alpha": ({"alpha": [0.0, 0.1, 1.0]}, {}),
    "rates": ({"learning_rate_init": [0.1, 0.01, 0.001]}, {}),
    "sgd rates": ({"learning_rate_init": [0.1, 0.01], "momentum": [0.5, 0.9]}, {"solver": "sgd"}),
    "betas": ({"beta_1": [0.5, 0.9], "beta_2": [0.9, 0.99]}, {}),
    "seeds": ({"random_state": [0, 1, 2]}, {}),
    "epochs": ({"max_iter": [2, 5]}, {}),
    "patience": ({"n_iter_no_change": [1, 3]}, {"early_stopping": True, "max_iter": 30}),
    "solvers": ({"solver": ["adam", "sgd", "lbfgs"]}, {}),
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
    before, config = threading.active_count(), dict(__import__("sklearn").get_config())
    with stacked():
        cross_val_predict(MLPClassifier(9, **BASE), X, Y, cv=3)
    assert torch.get_num_threads() == threads
    assert warnings.filters == filters
    assert warnings.showwarning is show
    assert dict(__import__("sklearn").get_config()) == config
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
