"""Random cases on our classes and on scikit-learn's: the same answers, or the same kind of error."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn.neighbors
import sklearn.neural_network
import sklearn.svm
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_nets import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LinearSVC,
    MLPClassifier,
    MLPRegressor,
)
from sklearn_nets.neighbors import _base as neighbors_base

REFERENCE = {
    KNeighborsClassifier: sklearn.neighbors.KNeighborsClassifier,
    KNeighborsRegressor: sklearn.neighbors.KNeighborsRegressor,
    LinearSVC: sklearn.svm.LinearSVC,
    MLPClassifier: sklearn.neural_network.MLPClassifier,
    MLPRegressor: sklearn.neural_network.MLPRegressor,
}
REGRESSORS = (KNeighborsRegressor, MLPRegressor)

CONTAINERS = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "integers": lambda X: np.rint(10 * X).astype(int),
    "Fortran": np.asfortranarray,
    "reversed": lambda X: X[::-1].copy()[::-1],
    "big-endian": lambda X: X.astype(">f8"),
    "object": lambda X: X.astype(object),
    "list": lambda X: X.tolist(),
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "CSR": sp.csr_matrix,
    "CSC": sp.csc_array,
    "DOK": sp.dok_matrix,
    "with NaN": lambda X: np.where(np.arange(X.size).reshape(X.shape) == 1, np.nan, X),
    "one axis": lambda X: X[:, 0],
    "three axes": lambda X: X[:, :, None],
    "no rows": lambda X: X[:0],
    "words": lambda X: np.full(X.shape, "a"),
    "complex": lambda X: X + 1j,
}
LABELS = {
    "integers": lambda codes: codes,
    "words": lambda codes: np.array(["no", "yes", "maybe"])[codes],
    "objects": lambda codes: np.array(["no", "yes", "maybe"], object)[codes],
    "booleans": lambda codes: codes > 0,
    "floats": lambda codes: codes - 1.0,
    "list": lambda codes: codes.tolist(),
    "pandas": pd.Series,
    "column": lambda codes: codes[:, None],
    "one class": np.zeros_like,
    "too few": lambda codes: codes[:-1],
    "none": lambda codes: None,
    "real": lambda codes: codes + 0.5,
}
NUMBERS = {
    "float64": lambda y: y,
    "float32": lambda y: y.astype(np.float32),
    "integers": lambda y: np.rint(10 * y).astype(int),
    "two outputs": lambda y: np.column_stack([y, 2 * y]),
    "list": lambda y: y.tolist(),
    "pandas": pd.Series,
    "too few": lambda y: y[:-1],
    "none": lambda y: None,
    "with NaN": lambda y: np.where(np.arange(len(y)) == 1, np.nan, y),
}
PERCEPTRON = {
    "hidden_layer_sizes": [(8,), (6, 4), ()],
    "activation": ["identity", "logistic", "tanh", "relu"],
    "solver": ["adam", "sgd", "lbfgs"],
    "alpha": [0.0, 1e-4, 1.0],
    "batch_size": ["auto", 8, 7],
    "learning_rate": ["constant", "invscaling", "adaptive"],
    "shuffle": [True, False],
    "early_stopping": [False, True],
    "nesterovs_momentum": [True, False],
    "max_iter": [3, 0],
    "tol": [1e-4, -1.0],
}
PARAMETERS = {
    MLPClassifier: PERCEPTRON,
    MLPRegressor: {**PERCEPTRON, "loss": ["squared_error", "poisson"]},
    KNeighborsClassifier: {
        "n_neighbors": [1, 3, 5, 100, 0],
        "weights": ["uniform", "distance", "nearest"],
        "algorithm": ["auto", "brute", "kd_tree"],
        "metric": ["minkowski", "euclidean", "manhattan", "cosine", "sqeuclidean"],
        "p": [2, 1],
    },
    LinearSVC: {
        "C": [1.0, 0.01, -1.0],
        "loss": ["squared_hinge", "hinge"],
        "penalty": ["l2", "l1"],
        "dual": ["auto", True, False],
        "fit_intercept": [True, False],
        "intercept_scaling": [1.0, 10.0],
        "class_weight": [None, "balanced", {0: 2.0}],
        "multi_class": ["ovr", "crammer_singer"],
    },
}
PARAMETERS[KNeighborsRegressor] = PARAMETERS[KNeighborsClassifier]


def make_case(cls, rng):
    """Parameters, training data, targets, queries and weights; most of them ordinary."""

    def choose(options, usual):
        return usual if rng.random() < 0.5 else options[rng.integers(len(options))]

    n, d = int(rng.integers(20, 60)), int(rng.integers(1, 8))
    X, Q = rng.normal(size=(n, d)), rng.normal(size=(9, d))
    score = X @ rng.normal(size=(d, 3)) + 0.1 * rng.normal(size=(n, 3))
    codes = score.argmax(1)
    codes[:3] = range(3)
    targets, values = (NUMBERS, score[:, 0]) if cls in REGRESSORS else (LABELS, codes)
    params = {
        name: choices[rng.integers(len(choices))]
        for name, choices in PARAMETERS[cls].items()
        if rng.random() < 0.4
    }
    if params.get("solver") == "lbfgs":
        targets = {k: v for k, v in targets.items() if k != "two outputs"}  # MLPRegressor's Notes
    if params.get("loss") == "poisson":
        values = np.abs(values)
    if "random_state" in cls().get_params():
        params["random_state"] = int(rng.integers(100))
    if cls in (MLPClassifier, MLPRegressor):
        params.setdefault("max_iter", 3)
    if cls is LinearSVC:
        params |= {"tol": 1e-10, "max_iter": 100_000}  # liblinear's answer, not where it stopped
    container, target = (
        choose(list(CONTAINERS), "float64"),
        choose(list(targets), next(iter(targets))),
    )
    query = container if rng.random() < 0.7 else choose(list(CONTAINERS), "float64")
    weight = rng.random(n) + 0.5 if rng.random() < 0.3 and "Neighbors" not in cls.__name__ else None
    named = f"{cls.__name__}({params}), X {container}, y {target}, query {query}, weight {weight is not None}"
    return (
        named,
        params,
        CONTAINERS[container](X),
        targets[target](values),
        CONTAINERS[query](Q),
        weight,
    )


def outcome(cls, params, X, y, Q, weight):
    """Answers by name, and the type of the error that ended the case."""
    answers, error = {}, None
    try:
        model = cls(**params)
        model.fit(X, y, **({} if weight is None else {"sample_weight": weight}))
        answers["predict"] = model.predict(Q)
        for name in ("predict_proba", "decision_function"):
            if hasattr(model, name):
                answers[name] = getattr(model, name)(Q)
        answers["n_features_in_"] = model.n_features_in_
    except (ValueError, TypeError, AttributeError, NotImplementedError) as e:
        error = type(e)
    return answers, error


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("cls", REFERENCE, ids=lambda cls: cls.__name__)
def test_as_scikit_learn(cls, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    named, *case = make_case(cls, rng)
    if seed % 2:  # so that small data reaches the search in torch
        monkeypatch.setattr(neighbors_base, "MIN_QUERIES", 1)
        monkeypatch.setattr(neighbors_base, "MIN_DISTANCES", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, expected_error = outcome(REFERENCE[cls], *case)
        found, error = outcome(cls, *case)
    assert error == expected_error, named
    assert found.keys() == expected.keys(), named
    for name, value in expected.items():
        ours, theirs = np.asarray(found[name]), np.asarray(value)
        assert ours.dtype == theirs.dtype, (named, name)
        if theirs.dtype.kind == "f":
            scale = max(1.0, np.abs(theirs).max(initial=0))
            tolerance = 1e-4 if theirs.dtype == np.float32 or cls is LinearSVC else 1e-6
            assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale, err_msg=f"{named} {name}")
        else:
            assert_array_equal(ours, theirs, err_msg=f"{named} {name}")
