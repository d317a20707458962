"""Losses by name: their written gradients, scikit-learn's linear models, and what they answer."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
)
from sklearn.metrics import d2_pinball_score, mean_pinball_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import LinearSVC

from sklearn_nets import (
    Autoencoder,
    CNNClassifier,
    CNNRegressor,
    EmbeddingNet,
    MemoryClassifier,
    MLPClassifier,
    MLPRegressor,
    SegmentationNet,
    ViTClassifier,
)
from sklearn_nets.modules import classification_losses as of_labels
from sklearn_nets.modules import losses
from sklearn_nets.modules import regression_losses as of_numbers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NUMBERS = {
    "squared": losses.HalfSquaredError(),
    "absolute": of_numbers.AbsoluteError(),
    "pinball": of_numbers.PinballLoss(0.3),
    "huber": of_numbers.HuberLoss(0.7),
    "poisson": losses.HalfPoissonDeviance(),
    "gamma": of_numbers.HalfGammaDeviance(),
}
CLASSES = {
    "log_loss": losses.CrossEntropy,
    "hinge": of_labels.Hinge,
    "squared_hinge": of_labels.SquaredHinge,
    "focal": of_labels.Focal,
}
OUTPUTS = {
    "log_loss": losses.BinaryCrossEntropy,
    "hinge": of_labels.Hinge,
    "squared_hinge": of_labels.SquaredHinge,
    "focal": of_labels.BinaryFocal,
}
CASES = [
    *(("numbers", name, 0.0) for name in NUMBERS),
    *((kind, name, s) for kind in ("classes", "outputs") for name in CLASSES for s in (0.0, 0.2)),
]


def make_case(kind, name, smoothing):
    """A loss, raw outputs of 20 samples with 3 outputs each, targets and weights."""
    rng = np.random.RandomState(0)
    z = torch.from_numpy(1.5 * rng.randn(20, 3))
    weight = torch.from_numpy(rng.uniform(size=20))
    if kind == "numbers":
        return NUMBERS[name], z, torch.from_numpy(rng.gamma(2, size=(20, 3))), weight
    if kind == "classes":
        return CLASSES[name](smoothing), z, torch.from_numpy(rng.randint(0, 3, 20)), weight
    return OUTPUTS[name](smoothing), z, torch.from_numpy(rng.randint(0, 2, (20, 3)) * 1.0), weight


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_written_gradient_is_autograds(case, weighted):
    loss, z, y, weight = make_case(*case)
    weight = weight if weighted else None
    z.requires_grad_()
    each = loss.per_sample(z, y)
    total = each.sum() if weight is None else each @ weight
    total.backward()
    with torch.no_grad():
        value, gradient = loss.residual(z.detach().t().clone(), y, weight)
    assert_allclose(float(value), float(total.detach()), rtol=1e-12)
    assert_allclose(gradient.t().numpy(), z.grad.numpy(), rtol=1e-9, atol=1e-12)
    share = 1 / 20 if weight is None else weight / weight.sum()
    assert_allclose(float(loss(z, y, weight).detach()), float((each * share).sum().detach()))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_losses_are_torchs_or_their_formulas(case):
    kind, name, smoothing = case
    loss, z, y, _ = make_case(*case)
    if kind == "numbers":
        if name == "squared":
            expected = torch.nn.functional.mse_loss(z, y, reduction="none") / 2
        elif name == "absolute":
            expected = torch.nn.functional.l1_loss(z, y, reduction="none")
        elif name == "huber":
            expected = torch.nn.functional.huber_loss(z, y, reduction="none", delta=0.7)
        elif name == "pinball":
            expected = torch.maximum(0.3 * (y - z), -0.7 * (y - z))
        elif name == "poisson":
            expected = torch.nn.functional.poisson_nll_loss(z, y, reduction="none")
            expected = expected + torch.xlogy(y, y) - y
        else:
            expected = y / z.exp() - (y / z.exp()).log() - 1
        assert_allclose(loss.per_sample(z, y).numpy(), expected.sum(1).numpy(), atol=1e-12)
        return
    # a smoothed target is the mean of the losses of all classes
    K = 3 if kind == "classes" else 2
    by_class = []
    for k in range(K):
        if kind == "classes":
            exact, target = CLASSES[name](0.0), torch.full((20,), k)
        else:
            exact, target = OUTPUTS[name](0.0), torch.full((20, 3), k).double()
        by_class.append(exact.per_sample(z, target))
    hard = type(loss)(0.0).per_sample(z, y)
    if kind == "classes" or name in ("hinge", "squared_hinge"):
        t = 2 * (torch.nn.functional.one_hot(y, 3) if kind == "classes" else y) - 1
        p = torch.softmax(z, 1).gather(1, y[:, None])[:, 0] if kind == "classes" else None
        formula = {
            "log_loss": lambda: -p.log(),
            "focal": lambda: -((1 - p) ** 2) * p.log(),
            "hinge": lambda: (1 - t * z).clamp(min=0).sum(1),
            "squared_hinge": lambda: (1 - t * z).clamp(min=0).square().sum(1),
        }[name]()
        assert_allclose(hard.numpy(), formula.numpy(), rtol=1e-10)
    if kind == "outputs" or name in ("log_loss", "focal"):
        mean = torch.stack(by_class).mean(0)
        expected = (1 - smoothing) * hard + smoothing * mean
        assert_allclose(loss.per_sample(z, y).numpy(), expected.numpy(), rtol=1e-10)


# -------------------------------------------------------------- scikit-learn's linear models
@pytest.fixture(scope="module")
def numbers():
    rng = np.random.RandomState(0)
    X = rng.randn(300, 4)
    y = X @ [1.0, -0.5, 0.3, 0.0] + 0.4 + 0.5 * rng.standard_t(2, 300)
    counts = rng.poisson(np.exp(0.5 * X[:, 0] - 0.3 * X[:, 1] + 0.5)).astype(float)
    return X, y, counts


@pytest.fixture(scope="module")
def labels():
    X, y = make_classification(
        300, 5, n_informative=4, n_redundant=0, flip_y=0.2, n_classes=3, n_clusters_per_class=1,
        random_state=0,
    )  # fmt: skip
    return (X - X.mean(0)) / X.std(0), y


SMOOTH = {"solver": "lbfgs", "tol": 1e-9, "max_iter": 5000}
CORNERED = {  # a descent whose steps go down to zero finds the corner
    "solver": "adam", "learning_rate": "onecycle", "learning_rate_init": 0.1, "max_iter": 3000,
    "batch_size": 300, "shuffle": False, "beta_2": 0.99,
}  # fmt: skip
LINEAR = {"hidden_layer_sizes": (), "alpha": 0.0, "random_state": 0}


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson", "gamma"])
def test_one_layer_is_scikit_learns_linear_model(numbers, loss):
    X, y, counts = numbers
    y = {"poisson": counts, "gamma": counts + 0.5}.get(loss, y)
    reference = {
        "squared_error": LinearRegression(),
        "huber": HuberRegressor(alpha=0, tol=1e-8, max_iter=1000),
        "poisson": PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000),
        "gamma": GammaRegressor(alpha=0, tol=1e-8, max_iter=1000),
    }[loss].fit(X, y)
    # HuberRegressor finds a scale together with its coefficients: its corner is at 1.35 scales
    delta = 1.35 * getattr(reference, "scale_", 1.0)
    ours = MLPRegressor(loss=loss, delta=delta, **SMOOTH, **LINEAR).fit(X, y)
    assert_allclose(ours.coefs_[0][:, 0], reference.coef_, rtol=1e-3, atol=1e-4)
    assert_allclose(ours.intercepts_[0][0], reference.intercept_, rtol=1e-3, atol=1e-4)
    assert_allclose(ours.predict(X), reference.predict(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
def test_one_layer_reaches_the_quantile_regression(numbers, quantile):
    X, y, _ = numbers
    reference = QuantileRegressor(quantile=quantile, alpha=0).fit(X, y)
    names = ["quantile"] + (["absolute_error"] if quantile == 0.5 else [])
    for loss in names:
        ours = MLPRegressor(loss=loss, quantile=quantile, **CORNERED, **LINEAR).fit(X, y)
        assert_allclose(ours.coefs_[0][:, 0], reference.coef_, atol=0.02)
        mine, best = (
            d2_pinball_score(y, model.predict(X), alpha=quantile) for model in (ours, reference)
        )
        assert best - mine < 1e-4
        below = np.mean(y < ours.predict(X))
        assert abs(below - quantile) < 0.03


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge", "hinge"])
def test_one_layer_is_scikit_learns_linear_classifier(labels, loss, n_classes):
    X, y = labels[0][labels[1] < n_classes], labels[1][labels[1] < n_classes]
    if loss == "log_loss":
        reference = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    else:
        # next to no penalty, also on the intercept
        reference = LinearSVC(
            loss=loss, C=1e3, tol=1e-6, intercept_scaling=30, max_iter=500_000, random_state=0
        )
    reference.fit(X, y)
    options = CORNERED if loss == "hinge" else SMOOTH
    ours = MLPClassifier(loss=loss, **{**options, "batch_size": len(X)}, **LINEAR).fit(X, y)
    if loss == "log_loss":
        assert_allclose(ours.predict_proba(X), reference.predict_proba(X), atol=1e-3)
        return
    scores, theirs = ours.decision_function(X), reference.decision_function(X)
    assert scores.shape == theirs.shape
    signs = 2 * (y[:, None] == np.unique(y)) - 1 if n_classes > 2 else 2 * (y == 1) - 1
    power = 2 if loss == "squared_hinge" else 1
    mine, best = (np.mean(np.maximum(0, 1 - signs * s) ** power) for s in (scores, theirs))
    assert mine <= best * (1 + 1e-3)
    if loss == "squared_hinge":  # the minimum of the hinge is flat
        assert_allclose(scores, theirs, atol=0.01)
        assert_array_equal(ours.predict(X), reference.predict(X))


# ------------------------------------------------------------------------------------- estimators
@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "gamma"])
def test_weights_of_numbers_are_repetition(numbers, loss):
    X, y, counts = numbers
    X, y = X[:40], counts[:40] + 0.5 if loss == "gamma" else y[:40]
    weight = np.arange(40) % 3
    model = MLPRegressor(loss=loss, hidden_layer_sizes=(5,), max_iter=20, random_state=0)
    weighted = clone(model).fit(X, y, weight).predict(X)
    repeated = clone(model).fit(X.repeat(weight, 0), y.repeat(weight)).predict(X)
    assert_allclose(weighted, repeated, rtol=1e-9)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "focal"])
@pytest.mark.parametrize("kind", ["two", "three", "multilabel"])
def test_weights_of_labels_are_repetition(labels, loss, kind):
    X, y = labels[0][:60], labels[1][:60]
    y = {"two": y > 0, "three": y, "multilabel": np.stack([y > 0, y > 1], 1).astype(int)}[kind]
    weight = np.arange(60) % 3
    model = MLPClassifier((5,), loss=loss, label_smoothing=0.1, max_iter=20, random_state=0)
    method = "predict_proba" if loss == "focal" else "decision_function"
    weighted, repeated = (
        getattr(clone(model).fit(*data), method)(X)
        for data in ((X, y, weight), (X.repeat(weight, 0), y.repeat(weight, axis=0)))
    )
    assert_allclose(weighted, repeated, rtol=1e-8)


def test_probabilities_only_where_the_loss_gives_them(labels):
    X, y = labels
    for loss in ("hinge", "squared_hinge"):
        model = MLPClassifier(loss=loss, max_iter=5, random_state=0)
        assert not hasattr(model, "predict_proba")
        assert not hasattr(model, "predict_log_proba")
        model.fit(X, y)
        scores = model.decision_function(X)
        assert_array_equal(model.predict(X), model.classes_[scores.argmax(1)])
        assert torch.is_tensor(model.decision_function(torch.from_numpy(X)))
        with pytest.raises(AttributeError, match="predict_proba") as error:
            model.predict_proba(X)
        assert "decision_function" in str(error.value.__cause__)
    for loss in ("log_loss", "focal"):
        model = MLPClassifier(loss=loss, max_iter=5, random_state=0).fit(X, y)
        assert not hasattr(model, "decision_function")
        assert_allclose(model.predict_proba(X).sum(1), 1)


def test_binary_scores_are_positive_for_the_second_class(labels):
    X, y = labels[0], np.array(["no", "yes"])[(labels[1] > 0).astype(int)]
    model = MLPClassifier(loss="hinge", max_iter=50, random_state=0).fit(X, y)
    scores = model.decision_function(X)
    assert scores.shape == (len(X),)
    assert_array_equal(model.predict(X) == "yes", scores > 0)
    assert cross_val_score(model, X, y, scoring="roc_auc", cv=3).mean() > 0.8


@pytest.mark.usefixtures("host")
def test_label_smoothing_moves_the_shares_of_classes():
    """Of a constant X the log-loss finds the classes' shares in the smoothed targets."""
    y = np.repeat([0, 1, 2], [70, 20, 10])
    X = np.zeros((100, 1))
    options = {**SMOOTH, "alpha": 0.0, "random_state": 0, "label_smoothing": 0.3}
    three = MLPClassifier((), **options).fit(X, y).predict_proba(X)[0]
    assert_allclose(three, 0.7 * np.array([0.7, 0.2, 0.1]) + 0.1, atol=1e-4)
    two = MLPClassifier((), **options).fit(X, y > 0).predict_proba(X)[0]
    assert_allclose(two, 0.7 * np.array([0.7, 0.3]) + 0.15, atol=1e-4)


def test_image_nets_take_the_losses():
    rng = np.random.RandomState(0)
    X, y = rng.rand(60, 8, 8), np.arange(60) % 3
    X[y == 1, :4] += 1
    X[y == 2, :, :4] += 1
    for loss in ("hinge", "focal"):
        model = CNNClassifier((8,), loss=loss, max_iter=25, random_state=0).fit(X, y)
        assert model.score(X, y) > 0.9
        assert hasattr(model, "predict_proba") == (loss == "focal")


@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"]
)
def test_image_regressors_take_the_losses(loss):
    rng = np.random.RandomState(0)
    X = rng.rand(80, 8, 8)
    X[:, :4] *= rng.uniform(0, 4, (80, 1, 1))
    y = 10 * X.sum((1, 2))
    model = CNNRegressor(loss=loss, channels=(8,), max_iter=25, augment=None, random_state=0)
    model.fit(X, y)
    assert model.score(X, y) > 0.7
    if loss in ("poisson", "gamma"):
        assert (model.predict(X) > 0).all()


def test_losses_are_searched(numbers):
    X, y, _ = numbers
    grid = {"loss": ["squared_error", "huber", "absolute_error"]}
    search = GridSearchCV(
        MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", random_state=0), grid, cv=3,
        scoring="neg_median_absolute_error", error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert search.best_params_["loss"] != "squared_error"  # the noise has heavy tails


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [("poisson", [-1.0, 1, 2], "y >= 0"), ("gamma", [0.0, 1, 2], "loss='gamma' needs y > 0")],
)
def test_targets_that_a_loss_does_not_take(loss, y, message):
    with pytest.raises(ValueError, match=message):
        MLPRegressor(loss=loss).fit(np.eye(3), y)


def test_focal_loss_is_less_sure():
    """Of a constant X the log-loss finds the classes' shares, focal loss a flatter answer."""
    y = np.repeat([0, 1, 2], [70, 20, 10])
    X = np.zeros((100, 1))
    exact, flat = (
        MLPClassifier((), loss=loss, **SMOOTH, alpha=0.0).fit(X, y).predict_proba(X)[0]
        for loss in ("log_loss", "focal")
    )
    assert_allclose(exact, [0.7, 0.2, 0.1], atol=1e-4)
    assert 0.4 < flat[0] < 0.7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_classes", [1, 2, 15, 16, 17, 300])
def test_softmax_of_rows(n_classes, dtype):
    z = torch.from_numpy(20 * np.random.RandomState(0).randn(50, n_classes)).to(dtype)
    expected = softmax(z.double().numpy(), axis=1)
    for layout in (z, z.t().contiguous().t(), torch.stack([z, z], 2)[:, :, 0]):
        p = losses.softmax_of_rows(layout)
        rtol, tiny = (1e-5, 1e-37) if dtype == torch.float32 else (1e-13, 0)  # below its least
        assert_allclose(p.numpy(), expected, rtol=rtol, atol=tiny)


GOING_ON = [
    (SegmentationNet(channels=(4,), augment=None), {"loss": "dice"}),
    (Autoencoder(2), {"loss": "absolute_error"}),
    (Autoencoder(2, hidden_layer_sizes=(8,), activation="relu"), {"activation": "tanh"}),
    (EmbeddingNet(2), {"loss": "triplet"}),
    (EmbeddingNet(2, loss="triplet"), {"margin": 3.0}),
    (EmbeddingNet(2), {"dropout": 0.5}),
    (ViTClassifier(image_shape=(1, 2, 3)), {"dropout": 0.5}),
]


@pytest.mark.parametrize(("estimator", "changed"), GOING_ON)
def test_a_warm_start_goes_on_with_a_changed_loss_or_dropout(estimator, changed):
    """With the weights so far, as a new net that is given them."""
    rng = np.random.RandomState(0)
    X, y = rng.rand(24, 6), np.arange(24) % 3
    if isinstance(estimator, SegmentationNet):
        X, y = rng.rand(24, 8, 8), rng.randint(0, 2, (24, 8, 8))
    going_on = clone(estimator).set_params(max_iter=1, warm_start=True, random_state=0).fit(X, y)
    new = clone(going_on).set_params(**changed).fit(X, y)  # of the same shapes
    weights = going_on.net_.module_.state_dict()
    new.net_.module_.load_state_dict(weights)
    same = copy.deepcopy(going_on).fit(X, y)
    going_on.set_params(**changed).fit(X, y)
    new.fit(X, y)
    for name, value in going_on.net_.module_.state_dict().items():
        assert_array_equal(value, new.net_.module_.state_dict()[name])
    assert going_on.loss_ == new.loss_ != same.loss_


def test_a_quantile_loss_of_float64_is_one_of_float64():
    z, y = torch.zeros(3, 1, dtype=torch.float64), torch.tensor([[1.0], [2.0], [-3.0]]).double()
    value, slope = (getattr(of_numbers.PinballLoss(0.9), name)(z, y) for name in ("value", "slope"))
    assert_allclose(value.mean(), mean_pinball_loss(y, z, alpha=0.9), rtol=1e-15)
    assert_allclose(slope[:, 0], [-0.9, -0.9, 1 - 0.9], rtol=1e-15)


def test_delta_of_images_is_in_standard_deviations_of_y():
    X, y = np.random.RandomState(0).rand(24, 8, 8), np.random.RandomState(1).rand(24)
    model = CNNRegressor((4,), loss="huber", delta=0.5, max_iter=1, random_state=0)
    plain, scaled = (clone(model).fit(X, unit * y) for unit in (1, 1000))
    assert_allclose(scaled.loss_curve_, plain.loss_curve_, rtol=1e-5)
    assert plain.loss_ != clone(model).set_params(delta=1.0).fit(X, y).loss_


@pytest.mark.parametrize(
    ("estimator", "changed"),
    [
        (MLPClassifier(5), {"hidden_layer_sizes": (50,)}),
        (MLPRegressor(hidden_layer_sizes=(5,)), {"hidden_layer_sizes": (5, 5)}),
        (CNNClassifier((4,)), {"depth": 2}),
        (CNNClassifier((4,)), {"architecture": "lenet"}),
        (CNNClassifier((4,)), {"freeze": "backbone"}),
        (EmbeddingNet(2), {"n_components": 3}),
        (EmbeddingNet(2), {"width": 9}),
        (MemoryClassifier(n_components=4), {"embedding": "identity"}),
    ],
    ids=str,
)
def test_a_net_that_goes_on_keeps_its_shape(estimator, changed):
    X, y = np.random.RandomState(0).rand(24, 12, 12), np.arange(24) % 3
    X = X if isinstance(estimator, CNNClassifier) else X.reshape(24, 144)
    model = clone(estimator).set_params(max_iter=1, warm_start=True, random_state=0).fit(X, y)
    (name,) = changed
    if isinstance(getattr(model, name), tuple):  # the same in other words
        model.set_params(**{name: np.array(getattr(model, name))}).fit(X, y)
    model.set_params(**changed)
    for go_on in (model.fit, getattr(model, "partial_fit", model.fit)):
        with pytest.raises(ValueError, match=f"cannot go on with {name}=.*warm_start=False"):
            go_on(X, y)
    model.set_params(warm_start=False).fit(X, y)
