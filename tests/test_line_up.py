"""The line-up for the data at hand: ordinary pipelines that fit, and clear refusals."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.pipeline import Pipeline
from small_boxes import as_frame, squares

from sklearn_nets import default_models

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
MASKS = RNG.integers(0, 2, (24, 8, 8))
BOXES = {"boxes": [[0, 0, 4, 4]], "labels": ["a"]}
LABELS = np.repeat(["no", "yes", "?"], 8)
TABULAR = ["dummy", "kNN", "linear SVM", "MLP", "HistGradientBoosting"]


def quick(estimator):
    """One epoch, where there are epochs."""
    names = [key for key in estimator.get_params() if key.split("__")[-1] == "max_iter"]
    return estimator.set_params(**dict.fromkeys(names, 1))


def messy_table(n=60):
    table = pd.DataFrame({
        "number": RNG.normal(size=n),
        "category": RNG.choice(["a", "b", "c"], n),
        "many": [f"word {i}" for i in range(n)],
        "date": pd.date_range("2020-01-01", periods=n),
        "flag": RNG.integers(0, 2, n).astype(bool),
    })  # fmt: skip
    table.loc[::7, ["number", "category", "many"]] = None
    return table


def test_what_is_no_array_is_read_as_one_or_named():
    X, y = load_iris(return_X_y=True)
    hole = np.where(np.arange(len(X))[:, None] == 3, np.nan, X)
    for rows in (X, hole, X.reshape(150, 2, 2)):
        expected = default_models(rows, y, random_state=0)
        found = default_models(torch.from_numpy(rows), torch.from_numpy(y), random_state=0)
        assert str(found) == str(expected)
    with pytest.raises(ValueError, match=r"no sparse X, got csr_matrix.*X.toarray\(\)"):
        default_models(csr_matrix(X), y)
    polars = pytest.importorskip("polars")
    with pytest.raises(ValueError, match=r"tables of pandas, got polars.*X.to_pandas\(\)"):
        default_models(polars.DataFrame(X), y)


@pytest.mark.parametrize(
    ("X", "y", "names"),
    [
        (*load_iris(return_X_y=True), TABULAR),
        (*load_diabetes(return_X_y=True), TABULAR),
        (np.where(RNG.random((60, 3)) < 0.1, np.nan, 1.0), np.repeat([0, 1], 30), TABULAR),
        (IMAGES, LABELS, ["dummy", "kNN", "linear SVM", "MLP", "CNN", "ViT"]),
        (IMAGES, np.linspace(0, 1, 24), ["dummy", "kNN", "linear SVM", "MLP"]),
        (IMAGES[..., 0], MASKS, ["dummy", "kNN", "linear SVM", "SegmentationNet"]),
    ],
    ids=["rows", "regression", "missing", "images", "images-regression", "masks"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_model_of_a_line_up_fits_and_predicts(X, y, names):
    estimators = default_models(X, y, random_state=0)
    assert list(estimators) == names
    for name, estimator in estimators.items():
        model = quick(clone(estimator)).fit(X, y)
        predicted = model.predict(X)
        assert predicted.shape == y.shape, name
        assert predicted.dtype.kind == y.dtype.kind, name


@pytest.mark.parametrize("several_sizes", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_detector_of_a_line_up_fits_and_predicts(several_sizes):
    X, y = squares(6, size=24, most=1)
    X = [image[:, : 23 if i == 0 else 24] for i, image in enumerate(X)] if several_sizes else X
    estimators = default_models(X, y, random_state=0)
    assert list(estimators) == ["dummy", "kNN", "linear SVM", "DetectionNet"]
    assert list(default_models(X, as_frame(y), random_state=0)) == list(estimators)
    estimators |= default_models(X, y, models=["hgb"], random_state=0)
    for name, estimator in estimators.items():
        found = quick(clone(estimator)).fit(X, y).predict(X)
        assert len(found) == 6, name
        assert all(set(image) == {"boxes", "labels", "scores"} for image in found), name


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_tables_of_mixed_columns_are_encoded_and_filled(task):
    pytest.importorskip("skrub")
    X = messy_table()
    y = X["number"].fillna(0).to_numpy() if task == "regression" else np.repeat(["p", "q"], 30)
    estimators = default_models(X, y, random_state=0)
    assert list(estimators) == TABULAR
    for name, estimator in estimators.items():
        model = quick(clone(estimator)).fit(X[:50], y[:50])
        assert np.isfinite(model.score(X[50:], y[50:])), name
        if name != "dummy":
            assert isinstance(estimator, Pipeline)
            assert estimator.steps[0][0] == "tablevectorizer"


def test_models_are_chosen_in_order_with_the_dummy_first():
    X, y = load_iris(return_X_y=True)
    chosen = default_models(X, y, models=["mlp", "knn", "mlp", "dummy"])
    assert list(chosen) == ["dummy", "MLP", "kNN"]
    assert "HistGradientBoosting" in default_models(IMAGES, LABELS, models=["hgb"])
    assert "HistGradientBoosting" in default_models(IMAGES, MASKS, models=["hgb"])


def test_seed_device_and_ignored_label_reach_every_part():
    for X, y in [load_iris(return_X_y=True), (IMAGES, LABELS), (IMAGES, MASKS)]:
        ignored = 1 if y is MASKS else None
        found = set()
        estimators = default_models(X, y, random_state=7, device="cpu", ignore_index=ignored)
        for name, estimator in estimators.items():
            for key, value in estimator.get_params().items():
                last = key.split("__")[-1]
                found.add(last)
                if last == "random_state" and name != "dummy":
                    assert value == 7, (name, key)
                if last == "device":
                    assert value == "cpu"
                if last == "ignore_index":
                    assert value == ignored
        assert {"random_state", "device"} <= found
        assert ("ignore_index" in found) == (y is MASKS)
    generator = np.random.RandomState(0)
    svm = default_models(*load_iris(return_X_y=True), random_state=generator)["linear SVM"]
    assert isinstance(svm[-1].random_state, int)


def test_large_data_stops_the_perceptron_early():
    X, y = np.zeros((2000, 2)), np.repeat([0, 1], 1000)
    assert default_models(X, y)["MLP"][-1].early_stopping
    assert not default_models(X[:1999], y[:1999])["MLP"][-1].early_stopping
    y[:995] = 1  # too few of a class to hold any out
    assert not default_models(X, y)["MLP"][-1].early_stopping


def test_task_overrides():
    X, y = load_iris(return_X_y=True)
    assert hasattr(default_models(X, y)["HistGradientBoosting"], "predict_proba")
    regressors = default_models(X, y, task="regression")
    assert not hasattr(regressors["HistGradientBoosting"], "predict_proba")


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        (IMAGES, LABELS, {"models": ["forest"]}, "Unknown model 'forest': choose from dummy, knn"),
        (*load_iris(return_X_y=True), {"models": ["cnn"]}, "cnn does not suit classification of a table: choose from knn"),
        (IMAGES, MASKS, {"models": ["vit"]}, "vit does not suit segmentation of images: choose from knn, svm, cnn"),
        (IMAGES, LABELS[:5], {}, "as many samples, got 24 and 5"),
        (IMAGES, LABELS, {"task": "guess"}, "task must be one of auto"),
        (IMAGES, LABELS, {"task": "segmentation"}, r"y must hold .* got shape \(24,\) for task 'segmentation'"),
        (IMAGES, MASKS, {"task": "classification"}, r"y must hold .* got shape \(24, 8, 8\)"),
        (IMAGES, LABELS, {"task": "detection"}, "'detection' does not suit y, which holds no dicts"),
        (IMAGES, [BOXES] * 24, {"task": "regression"}, "'regression' does not suit y, which holds boxes"),
        (IMAGES, [BOXES] * 24, {"models": ["vit"]}, "vit does not suit detection of images"),
        (IMAGES.reshape(24, -1), [BOXES] * 24, {}, "Boxes need images of 3 or 4 axes"),
        (IMAGES.reshape(24, -1), MASKS, {}, "Masks need images of 3 or 4 axes"),
    ],
)  # fmt: skip
def test_what_does_not_suit_is_said(X, y, options, message):
    with pytest.raises(ValueError, match=message):
        default_models(X, y, **options)


def test_without_skrub_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skrub", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-nets\[data\]'"):
        default_models(pd.DataFrame({"a": [1, 2]}), ["x", "y"])
