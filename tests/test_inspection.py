"""Training made visible: displays, recorded weights, gradient descent step by step."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier as Reference
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping

from sklearn_nets import (
    AttentionDisplay,
    CNNClassifier,
    FilterDisplay,
    FlattenImages,
    KNeighborsClassifier,
    LinearSVC,
    LossCurveDisplay,
    MLPClassifier,
    MLPRegressor,
    ViTClassifier,
    WeightRecorder,
)
from sklearn_nets.inspection import PartialDependenceDisplay
from sklearn_nets.modules.attention_maps import attention_maps
from sklearn_nets.modules.lecture import LectureCNN
from sklearn_nets.modules.vit import VisionTransformer

matplotlib.use("agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]
IMAGES = X.reshape(-1, 8, 8)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


# ------------------------------------------------------------------------------ gradient descent
def line(**settings):
    defaults = {"hidden_layer_sizes": (), "solver": "gd", "alpha": 0, "random_state": 0}
    return MLPRegressor(**{**defaults, **settings})


@pytest.mark.usefixtures("host")
def test_the_line_of_the_lecture():
    """y = a · x + b: every recorded step is the last one minus its length times the gradient."""
    x = np.linspace(-1, 2, 15)
    y = 2 * x + 1 + np.sin(9 * x) / 5
    recorder = WeightRecorder()
    model = line(callbacks=[recorder], tol=1e-8).fit(x[:, None], y)
    path, history = recorder.path_, model.history_
    assert path.shape == (model.n_iter_ + 1, 2)
    for i, ((a, b), after) in enumerate(pairwise(path)):
        residual = a * x + b - y
        gradient = np.array([residual @ x, residual.sum()]) / len(x)
        assert_allclose(after, [a, b] - history[i, "step_size"] * gradient, atol=1e-12)
        assert_allclose(history[i, "grad_norm"], np.linalg.norm(gradient))
        residual = after[0] * x + after[1] - y
        assert_allclose(history[i, "train_loss"], residual @ residual / (2 * len(x)))
    assert (np.diff(recorder.loss_) < 0).all()
    assert_array_equal(recorder.loss_, model.loss_curve_)
    reference = LinearRegression().fit(x[:, None], y)
    assert_allclose(path[-1], [reference.coef_[0], reference.intercept_], atol=1e-6)


def test_steps_double_and_are_halved_until_they_help():
    x = np.linspace(-1, 2, 15)
    model = line(learning_rate_init=1e6, tol=1e-6).fit(x[:, None], 3 * x)
    steps = np.array(model.history_[:, "step_size"])
    halvings = np.log2(1e6 / steps[0])
    assert halvings == int(halvings) > 10
    ratios = steps[1:] / steps[:-1]
    assert set(np.log2(ratios)) <= {1.0, 0.0, -1.0, -2.0, -3.0}
    assert_allclose(model.predict(x[:, None]), 3 * x, atol=1e-4)


@pytest.mark.usefixtures("host")
def test_plain_gradient_descent_of_a_constant_rate():
    x = np.linspace(-1, 2, 15)
    plain = {"batch_size": 15, "momentum": 0, "learning_rate": "constant", "shuffle": False}
    recorder = WeightRecorder()
    model = line(solver="sgd", **plain, learning_rate_init=0.1, max_iter=9, callbacks=[recorder])
    model.fit(x[:, None], 3 * x)
    for (a, b), after in pairwise(recorder.path_):
        residual = a * x + b - 3 * x
        gradient = np.array([residual @ x, residual.sum()]) / len(x)
        assert_allclose(after, [a, b] - 0.1 * gradient, atol=1e-12)


def test_one_layer_by_gradient_descent_is_the_perceptron_of_its_loss():
    y = (Y > 4).astype(int)
    ours = MLPClassifier((), solver="gd", alpha=1.0, max_iter=3000, tol=1e-4, random_state=0)
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(X, y)
    ours.fit(X, y)
    assert ours.n_iter_ < 3000
    assert_allclose(ours.predict_proba(X), reference.predict_proba(X), atol=0.01)


def test_gradient_descent_says_that_it_was_cut_short_and_stops_when_asked():
    for settings in ({}, {"learning_rate": "onecycle"}, {"early_stopping": True}):
        with pytest.warns(ConvergenceWarning, match="after 3 steps the gradient is not below"):
            line(max_iter=3, **settings).fit(X, Y)
    stopper = EarlyStopping(monitor="train_loss", patience=2, threshold=0.5)
    assert line(callbacks=[stopper], max_iter=100).fit(X, Y).n_iter_ < 20
    weighted = line(max_iter=20).fit(X[:30], Y[:30], np.arange(30) % 3)
    repeated = line(max_iter=20).fit(
        X[:30].repeat(np.arange(30) % 3, 0), Y[:30].repeat(np.arange(30) % 3)
    )
    assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-6)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_weights_of_every_step_are_recorded(solver):
    recorder = WeightRecorder()
    model = MLPClassifier(
        (), solver=solver, batch_size=100, max_iter=4, callbacks=[recorder], random_state=0
    ).fit(X, Y)
    steps = model.n_iter_ * (1 if solver == "lbfgs" else 3)
    assert recorder.path_.shape == (steps + 1, model.n_parameters_)
    assert len(recorder.loss_) == steps
    last = np.r_[model.coefs_[0].T.ravel(), model.intercepts_[0]]
    assert_array_equal(recorder.path_[-1], last)
    plain = MLPClassifier((), solver=solver, batch_size=100, max_iter=4, random_state=0).fit(X, Y)
    assert_array_equal(plain.coefs_[0], model.coefs_[0])


# -------------------------------------------------------------------------------------- displays
def test_loss_curve_is_the_estimators():
    clf = MLPClassifier(early_stopping=True, max_iter=15, random_state=0)
    pipeline = make_pipeline(StandardScaler(), clf).fit(X, Y)
    display = LossCurveDisplay.from_estimator(pipeline, color="red")
    assert_array_equal(display.lines_[0].get_ydata(), pipeline[-1].loss_curve_)
    assert display.lines_[0].get_color() == "red"
    assert display.best_iter == int(np.argmax(pipeline[-1].validation_scores_)) + 1
    drawn = [line.get_label() for line in display.lines_]
    best = f"best: {display.best_iter}"
    assert drawn == ["training loss", "validation loss", "validation score", best]
    assert "15 epochs" in display.ax_.get_xlabel()


@pytest.mark.parametrize(
    "estimator",
    [
        Reference(max_iter=5, random_state=0),
        MLPClassifier(max_iter=5, solver="lbfgs"),
        MLPClassifier(max_iter=5, tol=10, n_iter_no_change=1),
    ],
)
def test_loss_curves_of_other_estimators(estimator):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    display = LossCurveDisplay.from_estimator(estimator.fit(X, Y), ax=ax)
    assert display.ax_ is ax
    assert len(display.loss_curve) == estimator.n_iter_
    assert display.best_iter == int(np.argmin(display.loss_curve)) + 1
    assert display.stopped == (estimator.n_iter_ < 5)


def test_the_best_epoch_of_scores_that_begin_with_a_later_fit():
    model = MLPClassifier(max_iter=4, warm_start=True, random_state=0).fit(X, Y)
    model.fit(X, Y, X_val=X, y_val=Y)
    display = LossCurveDisplay.from_estimator(model)
    best = model.history_[display.best_iter - 1, "valid_score"]
    assert best == max(model.history_[4:, "valid_score"]) == model.score(X, Y)


def test_what_has_no_curve_no_filters_and_no_attention():
    knn = KNeighborsClassifier().fit(X, Y)
    for display, message in (
        (LossCurveDisplay, "KNeighborsClassifier keeps no loss"),
        (FilterDisplay, "KNeighborsClassifier has no first layer"),
    ):
        with pytest.raises(ValueError, match=message):
            display.from_estimator(knn)
    with pytest.raises(ValueError, match="draws a ViTClassifier of our own, got KNeighb"):
        AttentionDisplay.from_estimator(knn, X)


@pytest.mark.usefixtures("host")
def test_filters_are_the_first_weights():
    mlp = MLPClassifier(5, max_iter=2).fit(X, Y)
    display = FilterDisplay.from_estimator(mlp)
    assert_array_equal(display.filters.reshape(5, 64), mlp.coefs_[0].T)
    assert FilterDisplay.from_estimator(mlp, image_shape=(1, 4, 16), max_filters=2).filters.shape == (
        2, 1, 4, 16,
    )  # fmt: skip
    for shape in ((1, 8, 9), (8, 8)):
        with pytest.raises(ValueError, match=r"image_shape must be .* inputs, 64; got"):
            FilterDisplay.from_estimator(mlp, image_shape=shape)
    cnn = CNNClassifier((4,), max_iter=1).fit(IMAGES, Y)
    conv = next(m for m in cnn.net_.module_.modules() if isinstance(m, torch.nn.Conv2d))
    assert_array_equal(FilterDisplay.from_estimator(cnn).filters, conv.weight.detach().numpy())
    color = np.stack([IMAGES] * 3, 1)
    vit = ViTClassifier(patch_size=(4, 2), embed_dim=8, depth=1, num_heads=2, max_iter=1)
    display = FilterDisplay.from_estimator(vit.fit(color, Y))
    assert display.filters.shape == (8, 3, 4, 2)
    assert len(display.axes_) >= 8


@pytest.mark.usefixtures("host")
def test_filters_of_linear_models_and_of_images_that_were_flattened():
    color = np.stack([IMAGES, 1 - IMAGES, IMAGES**2], 3)
    for last in (LinearSVC(), LogisticRegression(), Ridge(), MLPClassifier(5, max_iter=2)):
        model = make_pipeline(FlattenImages(), StandardScaler(), last).fit(color, Y)
        weights = last.coefs_[0].T if hasattr(last, "coefs_") else np.atleast_2d(last.coef_)
        filters = FilterDisplay.from_estimator(model, max_filters=100).filters
        assert_array_equal(filters, weights.reshape(-1, 3, 8, 8))
    reduced = make_pipeline(FlattenImages(), PCA(9), LinearSVC()).fit(color, Y)
    assert FilterDisplay.from_estimator(reduced).filters.shape[1:] == (1, 3, 3)


@pytest.mark.parametrize("pool", ["attention", "token", "mean"])
def test_attention_is_a_share_of_every_token(pool):
    vit = ViTClassifier(
        patch_size=(2, 4), embed_dim=8, depth=2, num_heads=2, pool=pool, max_iter=2, random_state=0
    ).fit(IMAGES, Y)
    before = vit.predict_proba(IMAGES)
    display = AttentionDisplay.from_estimator(vit, IMAGES[:7])
    assert display.maps.shape == (7, 4, 2)
    assert_allclose(display.maps.sum((1, 2)), 1, rtol=1e-5)
    assert (display.maps >= 0).all()
    assert_array_equal(display.images, IMAGES[:7, None])
    assert_array_equal(vit.predict_proba(IMAGES), before)  # no hook is left


def test_attention_of_a_pipeline_is_that_of_what_its_net_sees():
    vit = ViTClassifier(image_shape=(1, 8, 8), embed_dim=8, depth=1, max_iter=2, random_state=0)
    model = make_pipeline(StandardScaler(), vit).fit(X, Y)
    display = AttentionDisplay.from_estimator(model, X[:4])
    seen = model[0].transform(X[:4])
    expected = AttentionDisplay.from_estimator(model[-1], seen)
    assert_array_equal(display.maps, expected.maps)
    assert_array_equal(display.images, expected.images)


@pytest.mark.parametrize(
    ("patch_size", "extent"),
    [((20, 12), (-0.5, 35.5, 39.5, -0.5)), ("auto", (-0.5, 31.5, 39.5, -0.5))],
)
def test_attention_lies_where_its_tokens_are(patch_size, extent):
    images = np.random.default_rng(0).random((12, 33, 30))
    vit = ViTClassifier(patch_size, embed_dim=8, depth=1, max_iter=1, random_state=0)
    display = AttentionDisplay.from_estimator(vit.fit(images, np.arange(12) % 2), images[:1])
    assert tuple(display.axes_[0].images[1].get_extent()) == extent
    assert display.axes_[0].get_xlim() == (-0.5, 29.5)
    assert display.axes_[0].get_ylim() == (32.5, -0.5)


def test_attention_is_drawn_over_images_of_true_and_false():
    images = np.random.RandomState(0).uniform(size=(1, 3, 8, 8)) > 0.5
    shown = [AttentionDisplay(X, np.ones((1, 2, 2))).plot() for X in (images, 1.0 * images)]
    one, other = (display.axes_[0].images[0].get_array() for display in shown)
    assert_array_equal(one, other)


def test_attention_finds_what_the_net_was_built_to_look_at():
    """One head whose query and key pick the bright patch, wherever it is."""
    torch.manual_seed(0)
    vit = VisionTransformer(
        (1, 4, 4), 2, patch_size=1, embed_dim=4, depth=1, num_heads=1, pool="mean"
    ).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.zero_()
        vit.tokenizer.embed.weight[0] = 1.0
        block = vit.blocks[0].attention
        block[0].weight.fill_(1.0)  # the norm of (1, 0, 0, 0) has a large first entry
        block[1].qkv.bias[0] = 5.0  # every query asks for it
        block[1].qkv.weight[4, 0] = 5.0  # and the bright patch has it
    images = torch.zeros(3, 1, 4, 4)
    for i, place in enumerate([(0, 0), (1, 2), (3, 3)]):
        images[i, 0][place] = 1.0
    maps = attention_maps(vit, lambda: vit(images))
    for image, tokens in zip(images[:, 0], maps):
        assert tokens.argmax() == image.argmax()
        assert tokens.max() > 0.5


def test_scikit_learns_displays_are_handed_on():
    assert PartialDependenceDisplay.__module__.startswith("sklearn.inspection")


# --------------------------------------------------------------------------- the lecture's CNN
@pytest.mark.parametrize("size", [(40, 40), (20, 80)])
def test_the_lectures_cnn_has_53_300_weights(size):
    net = LectureCNN((3, *size), 10)
    counts = [p.numel() for p in net.parameters()]
    assert counts == [270, 10, 2500, 10, 50_000, 500, 10]
    assert sum(counts) == 53_300
    assert net(torch.zeros(2, 3, *size)).shape == (2, 10)
    X = np.zeros((4, 3, *size), np.uint8)
    clf = CNNClassifier(architecture="lecture", max_iter=1).fit(X, [0, 1, 2, 3])
    assert clf.n_parameters_ == 53_300 - 6 * 51  # four classes for ten
    assert clf.features(X).shape == (4, 50)


def test_the_lectures_cnn_on_other_images():
    assert LectureCNN((1, 5, 7), 3)(torch.zeros(2, 1, 5, 7)).shape == (2, 3)
    with pytest.raises(ValueError, match="4x4 pixels or more, got 3x9"):
        LectureCNN((1, 3, 9), 2)
