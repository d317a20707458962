"""A net wherever scikit-learn takes an estimator: one test for each neighbor."""

import importlib
import os
import pickle
import subprocess
import sys
from unittest import mock

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix, issparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.inspection import (
    DecisionBoundaryDisplay,
    PartialDependenceDisplay,
    permutation_importance,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    LearningCurveDisplay,
    TunedThresholdClassifierCV,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_nets import (
    CNNClassifier,
    KNeighborsClassifier,
    LinearSVC,
    MLPClassifier,
    MLPRegressor,
)
from sklearn_nets._base.callbacks import EstimatorCallbacks

mpl.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)


def net(**settings):
    return MLPClassifier(
        **{"max_iter": 60, "learning_rate_init": 0.02, "random_state": 0, **settings}
    )


@pytest.mark.parametrize(
    "meta",
    [
        CalibratedClassifierCV(net(), cv=3),
        OneVsRestClassifier(net()),
        StackingClassifier([("net", net()), ("line", LogisticRegression())], cv=3),
        VotingClassifier([("net", net()), ("line", LogisticRegression())], voting="soft"),
        BaggingClassifier(net(), n_estimators=3, random_state=0),
        AdaBoostClassifier(net(max_iter=20), n_estimators=3, random_state=0),
    ],
    ids=lambda meta: type(meta).__name__,
)
def test_inside_a_meta_estimator(meta):
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    assert clone(meta).fit(X, names).score(X, names) > 0.9


def test_tuned_threshold():
    y = Y == 2
    tuned = TunedThresholdClassifierCV(net(), scoring="balanced_accuracy", cv=3).fit(X, y)
    assert tuned.score(X, y) > 0.9


def test_multi_output():
    y = np.c_[Y, Y == 1]
    assert (MultiOutputClassifier(net()).fit(X, y).predict(X) == y).all(1).mean() > 0.9


def test_permutation_importance_finds_the_columns_that_matter():
    rng = np.random.RandomState(0)
    noisy = np.c_[X, rng.randn(len(X), 2)]
    result = permutation_importance(net().fit(noisy, Y), noisy, Y, random_state=0)
    assert result.importances_mean[2:4].sum() > result.importances_mean[4:].sum()


def test_displays():
    model = net(max_iter=20).fit(X, Y)
    PartialDependenceDisplay.from_estimator(model, X, [0], target=0)
    LearningCurveDisplay.from_estimator(net(max_iter=5), X, Y, cv=2, train_sizes=[0.5, 1.0])
    display = DecisionBoundaryDisplay.from_estimator(
        net(max_iter=20).fit(X[:, :2], Y), X[:, :2], grid_resolution=20
    )
    assert display.response.shape[:2] == (20, 20)
    mpl.pyplot.close("all")


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_and_set_output(frame):
    columns = list("abcd")
    data = frame({c: X[:, i] for i, c in enumerate(columns)})
    pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), net()).fit(data, Y)
    assert_array_equal(pipe[-1].feature_names_in_, columns)
    direct = net().fit(data, Y)
    assert_array_equal(direct.feature_names_in_, columns)
    assert_array_equal(direct.predict(data), net().fit(X, Y).predict(X))


def test_metadata_routing():
    weight = np.random.RandomState(0).randint(0, 3, len(Y))
    with sklearn.config_context(enable_metadata_routing=True):
        routed = net().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed.set_partial_fit_request(sample_weight=True)
        scores = cross_validate(
            routed, X, Y, cv=3, params={"sample_weight": weight}, error_score="raise"
        )
    with pytest.raises(AssertionError):
        assert_allclose(scores["test_score"], cross_validate(net(), X, Y, cv=3)["test_score"])
    assert np.isfinite(scores["test_score"]).all()


def test_validation_set_through_a_pipeline():
    with sklearn.config_context(enable_metadata_routing=True):
        inner = net(early_stopping=True).set_fit_request(X_val=True, y_val=True)
        pipe = make_pipeline(StandardScaler(), inner)
        pipe.set_params(transform_input=["X_val"])
        pipe.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    assert pipe.score(X[1::2], Y[1::2]) == pipe[-1].best_validation_score_


@pytest.mark.parametrize("wrap", ["alone", "pipeline", "search"])
def test_callbacks_reach_the_epochs(wrap, capsys):
    monitor = ScoringMonitor(scoring="accuracy")
    model = net(max_iter=4)
    if wrap == "pipeline":
        model.set_callbacks(monitor)
        make_pipeline(StandardScaler(), model).fit(X, Y)
    elif wrap == "search":
        model.set_callbacks(monitor)
        GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2).fit(X, Y)
    else:
        model.set_callbacks(monitor, ProgressBar())
        model.fit(X, Y)
        assert "MLPClassifier" in capsys.readouterr().out
    log = monitor.get_logs().data_as_pandas
    epochs = log[log.task_name == "epoch"]
    assert len(epochs) == 4 * {"alone": 1, "pipeline": 1, "search": 5}[wrap]
    if wrap == "alone":
        assert epochs.accuracy.iloc[-1] == model.score(X, Y)
        one = net(max_iter=1).fit(X, Y)
        assert epochs.accuracy.iloc[0] == one.score(X, Y)


def test_a_callback_may_stop_the_training():
    class Stop:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 2

    model = net().set_callbacks(Stop()).fit(X, Y)
    assert model.n_iter_ == 3


def test_lbfgs_tells_callbacks_of_its_iterations():
    monitor = ScoringMonitor(scoring="accuracy")
    model = net(solver="lbfgs", max_iter=7).set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data_as_pandas
    assert (log.task_name == "epoch").sum() == model.n_iter_ == len(model.history_)


ARRAY_API = """
import numpy as np, sklearn, torch
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import (
    _yield_array_api_checks, check_array_api_input, check_array_api_input_and_values)
from sklearn_nets import CNNClassifier, MLPClassifier, MLPRegressor, ViTClassifier
from sklearn_nets.modules import mlp
import warnings
warnings.simplefilter("ignore")
devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])

def present(check):
    # scikit-learn's own skip of an absent CUDA fails with torch's CUDA build
    said = str(check.keywords)
    return not any(name in said for name in ("cupy", "dpnp", "xpu", "mps")) and (
        "cuda" in devices or "cuda" not in said)
ran = set()
for device in devices:
    for est in (MLPClassifier(max_iter=9), MLPRegressor(max_iter=9), CNNClassifier((8,), max_iter=2),
                ViTClassifier(embed_dim=8, depth=1, num_heads=2, max_iter=2)):
        assert est.__sklearn_tags__().array_api_support
        for check in filter(present, _yield_array_api_checks(est)):
            with sklearn.config_context(array_api_dispatch=True):
                check(type(est).__name__, est)
            ran.add((check.func.__name__, str(check.keywords)))
        for weighted in (False, True):
            for dtype in ("float32", "float64")[: 1 + (device == "cpu")]:
                check_array_api_input(type(est).__name__, est, "torch", device, dtype,
                                      check_sample_weight=weighted)
    if device == "cpu":
        check_array_api_input_and_values(
            "MLPClassifier", MLPClassifier(max_iter=9, device="cpu"), "torch", device)

    moved = []
    class Counting(torch.Tensor):
        def cpu(self, *a, **k):
            moved.append(self.shape)
            return super().cpu(*a, **k)
        def numpy(self, *a, **k):
            moved.append(self.shape)
            return super().numpy(*a, **k)
        def __array__(self, *a, **k):
            moved.append(self.shape)
            return super().__array__(*a, **k)
    # a stand-in for an accelerator, where no product is numpy's
    mlp.multiplies_by_numpy = lambda X: False
    X, y = load_iris(return_X_y=True)
    X_t = torch.from_numpy(X.astype(np.float32)).to(device)
    y_t = torch.from_numpy(y).to(device)
    with sklearn.config_context(array_api_dispatch=True):
        pipe = make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, random_state=0))
        pipe.fit(X_t.as_subclass(Counting), y_t)
        prediction = pipe.predict(X_t)
        assert prediction.device == X_t.device and prediction.dtype == torch.int64
        assert not [s for s in moved if len(s) > 1], moved
        assert isinstance(accuracy_score(y_t, prediction), float)
        search = GridSearchCV(MLPClassifier(max_iter=20, random_state=0), {"alpha": [1e-4, 1.0]}, cv=2)
        search.fit(X_t, y_t)
        assert search.predict(X_t).device == X_t.device
        assert np.isfinite(search.best_score_)
assert len(ran) >= 7, ran
print("passed")
"""


def test_array_api_dispatch():
    env = {**os.environ, "SCIPY_ARRAY_API": "1"}
    out = subprocess.run(
        [sys.executable, "-c", ARRAY_API], env=env, capture_output=True, text=True, check=False
    )
    assert out.stdout.strip() == "passed", out.stderr


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("where", ["CPU_DEVICE", "device1"])
def test_arrays_of_another_library(where):
    """Another library's arrays go in, and answers come back in it, on the same device."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device(where)
    X_s, y_s = (strict.asarray(a, device=device) for a in (X, Y))
    weight = strict.asarray(np.ones(len(Y)), device=device)
    for model in (
        net(),
        LinearSVC(),
        KNeighborsClassifier(),
        MLPRegressor(max_iter=20, random_state=0),
    ):
        if isinstance(model, KNeighborsClassifier):
            model.fit(X_s, y_s)
        else:
            model.fit(X_s, y_s, sample_weight=weight)
        plain = clone(model).fit(X, Y).predict(X)
        prediction = model.predict(X_s)
        assert prediction.device == device
        assert_allclose(np.from_dlpack(prediction), plain)
        assert model.score(X_s, y_s) == model.score(X, Y)
        assert_allclose(model.predict(X), plain)  # numpy in, numpy out
    first = net().partial_fit(X_s, y_s, classes=strict.asarray(np.unique(Y), device=device))
    assert_array_equal(first.classes_, np.unique(Y))


def test_dispatch_refuses_another_namespace_than_that_of_fit():
    script = """
import sklearn, torch, numpy as np
from sklearn_nets import MLPClassifier
X, y = np.eye(9), np.arange(9) % 2
model = MLPClassifier(max_iter=2, tol=1.0).fit(torch.from_numpy(X), torch.from_numpy(y))
model.predict(X)
with sklearn.config_context(array_api_dispatch=True):
    try:
        model.predict_log_proba(X)
    except ValueError as error:
        print(error)
"""
    env = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONWARNINGS": "ignore"}
    out = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert "MLPClassifier.predict_log_proba() must use the same namespace" in out.stdout
    assert "fit() got torch on cpu, predict_log_proba() got numpy on cpu" in out.stdout


@pytest.mark.parametrize("labels", [np.zeros(40), np.array(["only"] * 40)])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_one_class_alone(labels, early_stopping):
    model = net(max_iter=2, early_stopping=early_stopping).fit(X[:40], labels)
    assert_array_equal(model.predict(X[:40] * 100), labels)
    assert model.score(X[:40], labels) == 1.0


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "sgd"}])
def test_zero_weight_is_absence_in_every_batch(settings):
    """The very same net, also where whole batches would weigh nothing."""
    weight = (np.arange(len(Y)) % 7 > 3) * 1.5
    settings = {"batch_size": 3, "max_iter": 5, **settings}
    weighted = net(**settings).fit(X, Y, sample_weight=weight)
    absent = net(**settings).fit(X[weight > 0], Y[weight > 0], sample_weight=weight[weight > 0])
    assert weighted.loss_curve_ == absent.loss_curve_
    assert_array_equal(weighted.predict_proba(X), absent.predict_proba(X))
    by_class = net(**settings, class_weight={1: 0.0}).fit(X, Y)
    assert np.isfinite(by_class.loss_)
    assert not (by_class.predict(X) == 1).any()


def test_weights_that_leave_no_sample():
    with pytest.raises(ValueError, match="leave no sample of any weight"):
        net(class_weight={0: 0.0, 1: 0.0, 2: 0.0}).fit(X, Y)


def test_bagging_leaves_batches_without_weight():
    rng = np.random.RandomState(0)
    data = rng.randn(201, 3)
    target = (data[:, 0] > 0) * 1
    bagged = BaggingClassifier(net(max_iter=20), n_estimators=5, random_state=0).fit(data, target)
    assert bagged.score(data, target) > 0.8


def test_balanced_weights_of_classes_without_samples():
    weight = (Y > 0) * 1.0
    model = net(max_iter=5, class_weight="balanced").fit(X, Y, sample_weight=weight)
    absent = net(max_iter=5, class_weight="balanced")
    assert np.isfinite(model.loss_curve_).all()
    assert absent.fit(X[Y > 0], Y[Y > 0]).score(X[Y > 0], Y[Y > 0]) > 0.3
    with pytest.raises(ValueError, match="'balanced' is not supported by partial_fit"):
        net(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


@pytest.mark.parametrize("target", [Y, np.c_[Y > 0, Y == 2] * 1], ids=["classes", "several"])
def test_balanced_weights_count_samples_by_their_weight(target):
    weight = np.arange(len(Y)) % 3
    model = net(max_iter=5, class_weight="balanced")
    repeated = clone(model).fit(np.repeat(X, weight, 0), np.repeat(target, weight, 0))
    model.fit(X, target, sample_weight=weight)
    assert_allclose(model.loss_curve_, repeated.loss_curve_, rtol=1e-9)


def test_class_weights_of_several_labels():
    several = np.c_[Y > 0, Y == 2] * 1
    by_label = net(max_iter=3, class_weight=[{0: 2.0, 1: 1.0}, {0: 1.0, 1: 3.0}]).fit(X, several)
    weight = np.where(several[:, 0] == 0, 2.0, 1.0) * np.where(several[:, 1] == 1, 3.0, 1.0)
    by_sample = net(max_iter=3).fit(X, several, sample_weight=weight)
    assert_allclose(by_label.loss_curve_, by_sample.loss_curve_, rtol=1e-12)


def test_sparse_labels_like_scikit_learn():
    several = csr_matrix(np.c_[Y > 0, Y == 2] * 1)
    ours = net(max_iter=9).fit(X, several)
    theirs = sklearn.neural_network.MLPClassifier(
        max_iter=9, learning_rate_init=0.02, random_state=0
    ).fit(X, several)
    assert issparse(ours.predict(X))
    assert_array_equal(ours.predict(X).toarray(), theirs.predict(X).toarray())
    assert ours.score(X, several) == theirs.score(X, several)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (np.c_[Y > 0, Y == 2, Y > 1], np.c_[Y > 0, Y == 2], r"3 labels a sample.*got \(150, 2\)"),
        (np.c_[Y > 0, Y == 2], Y, r"2 labels a sample.*got \(150,\)"),
        (Y, np.c_[Y > 0, Y == 2], r"one class a sample.*got \(150, 2\)"),
    ],
)
def test_targets_of_another_shape(first, then, message):
    first, then = first * 1, then * 1
    labels = [0, 1, 2] if first.ndim == 1 else np.arange(first.shape[1])
    model = net(max_iter=1).partial_fit(X, first, classes=labels)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, then)
    with pytest.raises(ValueError, match=message):
        net(max_iter=1).fit(X, first, X_val=X, y_val=then)


def test_validation_with_lbfgs_and_without_leftovers():
    model = net(solver="lbfgs", max_iter=7).fit(X, Y, X_val=X, y_val=Y)
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    assert model.validation_scores_[-1] == model.score(X, Y)
    plain = net(solver="lbfgs", max_iter=7).fit(X, Y)
    assert_array_equal(plain.predict_proba(X), model.predict_proba(X))
    for solver in ("adam", "lbfgs"):
        model = net(solver=solver, max_iter=3).fit(X, Y, X_val=X, y_val=Y)
        assert not hasattr(model.fit(X, Y), "validation_loss_curve_")


def test_layers_can_be_replaced_one_by_one():
    model = net(max_iter=2).fit(X, Y)
    model.coefs_[0] = model.coefs_[0] * 0
    model.intercepts_[0] = np.full(100, -1.0)
    assert not model.coefs_[0].any()
    assert len(np.unique(model.predict_proba(X), axis=0)) == 1
    model.coefs_[:] = [W + 1 for W in model.coefs_]
    assert model.coefs_[0].min() == 1.0
    before = [W.copy() for W in model.coefs_ + model.intercepts_]
    for name, wrong in (("coefs_", np.ones((4, 1))), ("intercepts_", 0.5), ("intercepts_", [0.5])):
        with pytest.raises(ValueError, match="must keep its shape"):
            getattr(model, name)[0] = wrong
        with pytest.raises(ValueError, match="must keep its shape"):
            setattr(model, name, [wrong, getattr(model, name)[1]])
    assert all(map(np.array_equal, before, model.coefs_ + model.intercepts_))
    assert type(pickle.loads(pickle.dumps(model.coefs_))) is list


def test_callbacks_copy_the_net_without_the_data():
    bridges = []
    fitted = EstimatorCallbacks._fitted_so_far

    def spy(self):
        bridges.append(fitted(self)["net_"].callbacks_)
        return fitted(self)

    with mock.patch.object(EstimatorCallbacks, "_fitted_so_far", spy):
        net(max_iter=2).set_callbacks(ScoringMonitor(scoring="accuracy")).fit(X, Y)
    assert bridges
    assert not any(isinstance(c, EstimatorCallbacks) for named in bridges for _, c in named)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.uint8, torch.bool])
@pytest.mark.parametrize("make", [net, LinearSVC, KNeighborsClassifier], ids=lambda m: m.__name__)
def test_tensors_of_narrow_types(make, kind):
    X_t, y_t = torch.from_numpy(X).abs().to(kind), torch.from_numpy(Y)
    model = make().fit(X_t, y_t)
    wide = make().fit(X_t.double(), y_t)
    assert_array_equal(model.predict(X_t), wide.predict(X_t.double()))
    assert is_fitted_in_float64(model)


def is_fitted_in_float64(model):
    return not hasattr(model, "coefs_") or model.coefs_[0].dtype == np.float64


@pytest.mark.usefixtures("host")
def test_weights_and_targets_of_bfloat16():
    X_t, weight = torch.from_numpy(X), torch.ones(len(X)).bfloat16()
    model = MLPRegressor(max_iter=3, random_state=0).fit(
        X_t, torch.from_numpy(Y).bfloat16(), weight
    )
    assert_allclose(model.loss_, MLPRegressor(max_iter=3, random_state=0).fit(X, Y).loss_)


def test_data_that_asks_for_a_gradient_gets_none():
    images = torch.rand(60, 8, 8, requires_grad=True)
    model = CNNClassifier((4,), max_iter=2).fit(images, np.arange(60) % 2)
    assert not model.predict_proba(images).requires_grad
    rows = torch.from_numpy(X).requires_grad_()
    assert not LinearSVC().fit(rows, Y).decision_function(rows).requires_grad


def test_odd_inputs_are_read_or_named():
    assert_array_equal(net().fit(X, Y).predict(X.astype(np.longdouble)), net().fit(X, Y).predict(X))
    with pytest.raises(TypeError, match=r"sparse tensor.*X.to_dense\(\)"):
        net().fit(torch.from_numpy(X).to_sparse(), Y)
    with pytest.raises(ValueError, match="requires y to be passed"):
        CNNClassifier((4,)).fit(np.zeros((9, 8, 8)), None)
    assert_allclose(
        LinearSVC().fit(X, Y, sample_weight=3.0).coef_, LinearSVC(C=3.0).fit(X, Y).coef_
    )


def test_scores_of_tensors_without_dispatch():
    X_t, y_t = torch.from_numpy(X), torch.from_numpy(Y)
    model = net().fit(X_t, y_t)
    assert model.score(X_t, y_t) == accuracy_score(Y, model.predict(X))
    regressor = MLPRegressor(max_iter=30, random_state=0).fit(X_t, y_t)
    assert_allclose(regressor.score(X_t, y_t), r2_score(Y, regressor.predict(X)))


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("neighbors", {"EmbeddingNet", "MemoryClassifier", "MemoryRegressor"}),
        ("neural_network", set()),
        ("svm", set()),
        ("decomposition", {"Autoencoder"}),
        (
            "inspection",
            {"AttentionDisplay", "FilterDisplay", "LossCurveDisplay", "WeightRecorder"},
        ),
        (
            "datasets",
            {"load_images", "load_masks", "load_table", "make_digit_scenes"}
            | {"from_coco", "to_coco"},
        ),
        (
            "metrics",
            {"mean_iou_score", "dice_score", "pixel_accuracy_score", "class_scores"}
            | {"macro_precision_score", "macro_recall_score", "map_scorer", "map_50_scorer"}
            | {"box_scores", "mean_average_precision_score", "instance_average_precision_score"},
        ),
    ],
)
def test_every_public_name_of_a_mirrored_module(name, added):
    ours = importlib.import_module(f"sklearn_nets.{name}")
    theirs = importlib.import_module(f"sklearn.{name}")
    assert set(ours.__all__) == set(dir(ours)) == set(theirs.__all__) | added
    own = [n for n in ours.__all__ if getattr(ours, n) is not getattr(theirs, n, None)]
    assert own
    for n in own:
        found = getattr(ours, n)
        assert getattr(found, "_score_func", found).__module__.startswith("sklearn_nets.")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ours.nothing  # noqa: B018


@pytest.mark.parametrize("make", [net, LinearSVC, KNeighborsClassifier], ids=lambda m: m.__name__)
def test_the_notebook_box_links_to_the_page_of_the_class_replaced(make):
    model = make()
    page = type(model).__module__.split(".")[1] + "." + type(model).__name__
    assert f"scikit-learn.org/{'.'.join(sklearn.__version__.split('.')[:2])}" in model._repr_html_()
    assert f"generated/sklearn.{page}.html" in model._repr_html_()
