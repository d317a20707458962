"""The image classifiers in scikit-learn's company."""

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_nets._base import estimator as base_estimator
from sklearn_nets.vision import CNNClassifier, ViTClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {
    CNNClassifier: {"channels": (8, 16), "learning_rate_init": 0.01, "max_iter": 12},
    ViTClassifier: {"embed_dim": 16, "depth": 1, "num_heads": 2, "learning_rate_init": 0.01,
                    "max_iter": 30},
}  # fmt: skip
each = pytest.mark.parametrize("cls", SMALL)


def small(cls, **settings):
    return cls(random_state=0, **{**SMALL[cls], **settings})


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.images[:300], data.target[:300]


@each
def test_pipelines_with_scaler_and_pca(cls, digits):
    X, y = digits
    rows = X.reshape(300, -1)
    scaled = make_pipeline(StandardScaler(), small(cls, image_shape=(1, 8, 8)))
    reduced = make_pipeline(PCA(49, random_state=0), small(cls, image_shape=(1, 7, 7)))
    for pipe in (scaled, reduced):
        assert pipe.fit(rows, y).score(rows, y) > 0.6


@each
def test_cross_validate_and_grid_search_on_images(cls, digits):
    X, y = digits
    scores = cross_validate(small(cls), X, y, cv=2, return_train_score=True, error_score="raise")
    assert len(scores["test_score"]) == 2
    architecture = {"channels": [(4,), (8, 16)]} if cls is CNNClassifier else {"depth": [1, 2]}
    search = GridSearchCV(
        small(cls, max_iter=2), {**architecture, "learning_rate_init": [1e-3, 1e-2]}, cv=2,
        error_score="raise",
    )  # fmt: skip
    search.fit(X, y)
    assert search.best_estimator_.n_parameters_ > 0
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@each
def test_pandas_rows_keep_feature_names(cls, digits):
    X, y = digits
    frame = pd.DataFrame(X.reshape(300, -1), columns=[f"pixel{i}" for i in range(64)])
    model = small(cls, image_shape=(1, 8, 8), max_iter=2).fit(frame, y)
    assert_array_equal(model.feature_names_in_, frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])
    assert not hasattr(model.fit(torch.from_numpy(X), y), "feature_names_in_")


@each
def test_early_stopping_and_own_validation_set(cls, digits):
    X, y = digits
    model = small(cls, early_stopping=True).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert model.score(X[200:], y[200:]) == model.best_validation_score_
    assert len(model.validation_loss_curve_) == model.n_iter_


@each
def test_tensors_in_tensors_out(cls, digits, device):
    X, y = digits
    X_t = torch.from_numpy(X).to(device)
    model = small(cls, max_iter=2).fit(X_t, y)
    assert model.predict(X_t).device == X_t.device
    proba = model.predict_proba(X_t)
    assert proba.dtype == torch.float64  # as scikit-learn answers for float64 X
    assert_allclose(proba.cpu().numpy(), model.predict_proba(X), rtol=1e-3, atol=1e-5)


@each
def test_uint8_pixels_and_float_pixels_are_one(cls, digits):
    X, y = digits
    from_bytes = small(cls, max_iter=2).fit(X.astype(np.uint8), y)
    from_floats = small(cls, max_iter=2).fit(X.astype(np.float32), y)
    assert_allclose(
        from_bytes.predict_proba(X.astype(np.uint8)), from_floats.predict_proba(X), rtol=1e-4
    )


@pytest.mark.usefixtures("host")
@each
@pytest.mark.filterwarnings("ignore:Rows of 64 values")
def test_precision(cls, digits):
    X, y = digits
    types = {"auto": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
    for precision, expected in types.items():
        model = small(cls, max_iter=2, precision=precision).fit(X, y)
        assert {p.dtype for p in model.net_.module_.parameters()} == {expected}
        assert np.isfinite(model.loss_)
        outputs = model.net_.infer(torch.from_numpy(X).unflatten(1, (1, -1)))
        assert not torch.equal(outputs, outputs.bfloat16().to(outputs.dtype))  # they keep digits
    flat = X.reshape(300, -1)
    tabular = small(cls, max_iter=1).fit(flat, y)
    assert next(tabular.net_.module_.parameters()).dtype == torch.float64


@each
def test_class_weight_partial_fit_and_multilabel(cls, digits):
    X, y = digits
    model = small(cls, class_weight={0: 2.0})
    for _ in range(2):
        model.partial_fit(X, y, classes=np.arange(10))
    assert model.predict_proba(X).shape == (300, 10)
    with pytest.raises(ValueError, match="class_weight='balanced' is not supported by partial_fit"):
        small(cls, class_weight="balanced").partial_fit(X, y, classes=np.arange(10))
    Y = np.c_[y > 4, y % 2]
    prediction = small(cls).fit(X, Y).predict(X)
    assert prediction.shape == (300, 2)
    assert np.mean(prediction == Y) > 0.7


@each
def test_unseen_image_size(cls, digits):
    X, y = digits
    model = small(cls, max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match=r"fitted on images of .* \(1, 8, 8\), got \(1, 7, 8\)"):
        model.predict(X[:, 1:])


@each
@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_integer_weight_is_repetition(cls, digits):
    """Exact in float64: batch norm counts weights."""
    X, y = digits[0][:40], digits[1][:40]
    weight = np.random.RandomState(0).randint(0, 3, 40)
    settings = {"max_iter": 5, "precision": "float64", "augment": None, "batch_size": 80}
    weighted = small(cls, **settings).fit(X, y, weight)
    repeated = small(cls, **settings).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-6)


@each
@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_no_weight_is_absence(cls, digits):
    """Also where the training data says how to augment it."""
    X, y = digits
    settings = {"max_iter": 2, "precision": "float64", "batch_size": 100}
    few = small(cls, **settings).fit(X[:100], y[:100])
    weighted = small(cls, **settings).fit(X, y, np.arange(300) < 100)
    assert weighted.mirrored_ == few.mirrored_
    assert_allclose(weighted.predict_proba(X), few.predict_proba(X), rtol=1e-6)


def test_partial_fit_decides_once_about_mirroring():
    """Of bright and dark images, which bear it; of a few of one class nothing can be told."""
    rng = np.random.RandomState(0)
    y = np.arange(200) % 2
    X = rng.uniform(size=(200, 8, 8)) + y[:, None, None]
    model = small(CNNClassifier).partial_fit(X, y, classes=[0, 1])
    assert model.mirrored_
    model.partial_fit(X[:2], y[:2])
    assert model.mirrored_
    assert not small(CNNClassifier).partial_fit(X[:2], y[:2], classes=[0, 1]).mirrored_
    assert not model.fit(X[:2], y[:2]).mirrored_


@each
def test_batch_callbacks_change_nothing(cls, digits):
    X, y = digits
    norms = []

    class Spy(skorch.callbacks.Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            norms.append(sum(float(p.grad.norm()) for _, p in named_parameters))

    spied = small(cls, max_iter=2, batch_size=150, callbacks=[Spy()]).fit(X, y)
    plain = small(cls, max_iter=2, batch_size=150).fit(X, y)
    assert len(norms) == 4
    assert_array_equal(spied.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 9}, "patch_size"),
        ({"embed_dim": 10, "num_heads": 4}, "num_heads"),
        ({"pool": "max"}, "The 'pool' parameter"),
    ],
)
def test_bad_transformer(digits, settings, message):
    with pytest.raises(ValueError, match=message):
        ViTClassifier(**settings).fit(*digits)


def test_the_transformer_learns_slower_from_small_batches(digits):
    X, y = digits
    rates = [
        ViTClassifier(
            embed_dim=8, depth=1, num_heads=2, batch_size=size, max_iter=1, random_state=0
        )
        .fit(X[:128].reshape(-1, 8, 8), y[:128])
        .net_.lr
        for size in (32, 128)
    ]
    assert rates[0] == rates[1] / 2


@pytest.mark.parametrize("fill", [0, 7])
def test_images_of_one_color_train_a_net(fill):
    """They have no covariance to whiten, and one class is as likely as its share."""
    X, y = np.full((40, 8, 8), fill, dtype=np.uint8), np.arange(40) % 4 == 0
    model = CNNClassifier(channels=(4, 8), label_smoothing=0, random_state=0).fit(X, y)
    assert_allclose(model.predict_proba(X)[:, 1], 0.25, atol=0.1)


@pytest.mark.usefixtures("host")
def test_large_images_are_predicted_a_few_at_a_time(monkeypatch):
    X = np.random.RandomState(0).rand(20, 24, 32).astype(np.float32)
    net = CNNClassifier(channels=(4,), max_iter=1, random_state=0).fit(X, np.arange(20) % 2)
    expected, sizes = net.predict_proba(X), []
    net.net_.module_.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    views = []
    for pixels, most in ((5 * 24 * 32, 5), (24 * 32 - 1, 1), (10**9, 20)):
        monkeypatch.setattr(base_estimator, "PREDICT_PIXELS", pixels)
        sizes.clear()
        assert_allclose(net.predict_proba(X), expected, rtol=1e-5)
        assert max(sizes) == most
        views.append(sum(sizes) / 20)
    assert views == [views[0]] * 3  # of every image as many as before
