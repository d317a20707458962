"""The auto-encoder: PCA as its linear case, images, noise, anomalies, pipelines."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_nets import Autoencoder
from sklearn_nets._base import estimator as base_estimator
from sklearn_nets.modules.autoencoder import GaussianNoise, ReconstructionLoss, conv_coders

X, Y = load_digits(return_X_y=True)
X, Y = X[:400], Y[:400]
IMAGES = X.reshape(-1, 8, 8)
LINEAR = Autoencoder(
    5, hidden_layer_sizes=(), activation="identity", alpha=0, learning_rate_init=0.02,
    max_iter=600, random_state=0,
)  # fmt: skip


@pytest.mark.usefixtures("host")
def test_the_linear_one_spans_the_subspace_of_pca():
    ours, pca = clone(LINEAR).fit(X), PCA(5).fit(X)
    assert_allclose(ours.score(X), pca.explained_variance_ratio_.sum(), atol=1e-3)
    decoder = ours.net_.module_.decoder.layers[0].weight.detach().numpy()  # (64, 5)
    basis = np.linalg.qr(decoder)[0]
    cosines = np.linalg.svd(basis.T @ pca.components_.T, compute_uv=False)
    assert_allclose(cosines, 1, atol=1e-2)
    assert_allclose(
        ours.inverse_transform(ours.transform(X)),
        pca.inverse_transform(pca.transform(X)),
        atol=0.5,  # of pixels from 0 to 16
    )


def test_hidden_layers_keep_more_than_pca():
    ours = Autoencoder(5, max_iter=150, random_state=0).fit(X)
    assert ours.score(X) > PCA(5).fit(X).explained_variance_ratio_.sum() + 0.05


@pytest.mark.usefixtures("host")
def test_score_and_error_are_those_of_the_reconstruction():
    ours = Autoencoder(4, max_iter=5, random_state=0).fit(X)
    back = ours.inverse_transform(ours.transform(X))
    assert_allclose(ours.score(X), r2_score(X, back, multioutput="variance_weighted"))
    assert_allclose(ours.reconstruction_error(X), ((X - back) ** 2).mean(1))


@pytest.mark.parametrize("n_components", [0.5, 0.9, 0.99])
def test_a_share_of_the_variance_counts_components_as_pca(n_components):
    ours = Autoencoder(n_components, max_iter=1, random_state=0).fit(X)
    assert ours.n_components_ == PCA(n_components, svd_solver="full").fit(X).n_components_
    assert Autoencoder(None, max_iter=1).fit(X[:30]).n_components_ == 30


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("layout", ["gray", "first", "last", "rows"])
def test_images_come_back_in_their_layout(layout):
    color = np.stack([IMAGES, IMAGES[:, ::-1], 16 - IMAGES], 1).astype(np.uint8)
    data, shape = {
        "gray": (IMAGES, None),
        "first": (color, None),
        "last": (np.ascontiguousarray(color.transpose(0, 2, 3, 1)), None),
        "rows": (color.reshape(len(color), -1), (3, 8, 8)),
    }[layout]
    ours = Autoencoder(8, channels=(8, 16), image_shape=shape, max_iter=25, random_state=0)
    ours.fit(data)
    codes = ours.transform(data)
    assert codes.shape == (400, 8)
    back = ours.inverse_transform(codes)
    assert back.shape == data.shape
    flat = [a.reshape(400, -1).astype(float) for a in (data, back)]
    assert_allclose(ours.score(data), r2_score(*flat, multioutput="variance_weighted"), rtol=1e-4)
    assert ours.score(data) > 0.5


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 13), (2, 1, 9), (1, 5, 1)])
def test_coders_of_any_size(shape):
    encoder, decoder = conv_coders(shape, 3, (4, 6))
    images = torch.randn(2, *shape)
    assert encoder(images).shape == (2, 3)
    assert decoder(encoder(images)).shape == images.shape


def test_anomalies_have_a_greater_error():
    zeros, others = X[Y == 0], X[Y != 0]
    ours = Autoencoder(4, max_iter=150, random_state=0).fit(zeros[:30])
    strange = np.r_[np.zeros(len(zeros) - 30), np.ones(len(others))]
    error = ours.reconstruction_error(np.r_[zeros[30:], others])
    assert roc_auc_score(strange, error) > 0.95


def test_noise_is_of_the_data_s_scale_and_learned_away():
    noise = GaussianNoise(3.0)
    batch, target = noise(torch.zeros(2000, 5), torch.ones(2000), torch.Generator().manual_seed(0))
    assert_allclose(batch.std(), 3, rtol=0.05)
    assert (target == 1).all()
    noisy = X + np.random.RandomState(0).normal(0, X.std(), X.shape)
    plain, denoising = (
        Autoencoder(None, hidden_layer_sizes=(64,), noise=s, max_iter=60, random_state=0).fit(X)
        for s in (0.0, 0.8)
    )
    errors = [
        ((m.inverse_transform(m.transform(noisy)) - X) ** 2).mean() for m in (plain, denoising)
    ]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_losses_are_torchs(loss):
    rng = torch.Generator().manual_seed(0)
    z, y = torch.randn(2, 6, 3, generator=rng), torch.randn(2, 6, 3, generator=rng)
    ours = ReconstructionLoss(loss, 2.0).per_sample(z, y)
    reference = {
        "squared_error": lambda a, b: torch.nn.functional.mse_loss(a, b) / 2,
        "absolute_error": torch.nn.functional.l1_loss,
        "huber": torch.nn.functional.huber_loss,
    }[loss]
    assert_allclose(ours, [float(reference(a / 2, b / 2)) for a, b in zip(z, y)], rtol=1e-6)
    assert Autoencoder(3, loss=loss, max_iter=40, random_state=0).fit(X).score(X) > 0.3


@pytest.mark.usefixtures("host")
def test_the_same_bits_again_and_weights_are_repetition():
    ours = Autoencoder(3, noise=0.1, max_iter=3, random_state=0)
    assert_array_equal(clone(ours).fit(X).transform(X), clone(ours).fit(X).transform(X))
    weight = np.arange(60) % 3
    plain = clone(ours).set_params(noise=0.0)
    weighted = clone(plain).fit(X[:60], sample_weight=weight).transform(X)
    repeated = clone(plain).fit(X[:60].repeat(weight, 0)).transform(X)
    assert_allclose(weighted, repeated, rtol=1e-6, atol=1e-8)


def test_tensors_in_tensors_out_and_pandas_out():
    ours = Autoencoder(3, max_iter=2, random_state=0).fit(torch.from_numpy(X))
    codes = ours.transform(torch.from_numpy(X))
    assert torch.is_tensor(codes)
    assert torch.is_tensor(ours.inverse_transform(codes))
    assert_allclose(codes.numpy(), ours.transform(X))
    assert ours.get_feature_names_out().tolist() == [f"autoencoder{i}" for i in range(3)]
    frame = ours.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == ours.get_feature_names_out().tolist()


def test_before_nearest_neighbors_in_a_search():
    pipeline = make_pipeline(Autoencoder(max_iter=40, random_state=0), KNeighborsClassifier(3))
    search = GridSearchCV(pipeline, {"autoencoder__n_components": [1, 12]}, cv=3).fit(X, Y)
    assert search.best_params_["autoencoder__n_components"] == 12
    assert search.best_score_ > 0.85


def test_early_stopping_keeps_the_best():
    ours = Autoencoder(5, early_stopping=True, max_iter=30, random_state=0).fit(X)
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    own = Autoencoder(5, early_stopping=True, max_iter=20, random_state=0).fit(X, X_val=X[:50])
    assert_allclose(own.score(X[:50]), own.best_validation_score_)


def test_codes_of_another_length():
    ours = Autoencoder(3, max_iter=1).fit(X)
    with pytest.raises(ValueError, match=r"shape \(n_samples, 3\), got \(400, 64\)"):
        ours.inverse_transform(X)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        Autoencoder(3, hidden_layer_sizes=(0,)).fit(X)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("data", "most"), [(IMAGES, 5), (X, 256)], ids=["images", "rows"])
def test_large_images_are_coded_a_few_at_a_time(data, most, monkeypatch):
    """Rows go through linear layers, which a few at a time make slow."""
    ours = Autoencoder(3, channels=(4,), max_iter=1, random_state=0).fit(data)
    codes, sizes = ours.transform(data), []
    back = ours.inverse_transform(codes)
    for coder in (ours.net_.module_.encoder, ours.net_.module_.decoder):
        coder.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    monkeypatch.setattr(base_estimator, "PREDICT_PIXELS", 5 * 64)
    assert_allclose(ours.transform(data), codes, rtol=1e-4, atol=1e-4)
    assert max(sizes) == most
    sizes.clear()
    assert_allclose(ours.inverse_transform(codes), back, rtol=1e-4, atol=1e-4)
    assert max(sizes) == most
