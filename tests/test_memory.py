"""Embeddings and memory networks: exact neighbors, formulas, what is learned."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from torch.nn import functional as F

from sklearn_nets import EmbeddingNet, MemoryClassifier, MemoryRegressor
from sklearn_nets.modules.embedding_losses import (
    EMBEDDING_LOSSES,
    NCALoss,
    pairwise_distances,
)
from sklearn_nets.modules.losses import BinaryCrossEntropy, CrossEntropy, HalfSquaredError
from sklearn_nets.modules.memory import MemoryLoss, MemoryNet
from sklearn_nets.modules.rows import RowEncoder

X, Y = load_digits(return_X_y=True)
X, Y = X[:500] / 16, Y[:500]
LOSSES = pytest.mark.parametrize("loss", EMBEDDING_LOSSES)


def embeddings(n=12, k=3, seed=0):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --------------------------------------------------------------------------------- losses of pairs
@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_distances_are_torchs(distance):
    A, B = embeddings(), embeddings(7, seed=1)
    expected = {
        "l1": lambda: torch.cdist(A, B, p=1),
        "l2": lambda: torch.cdist(A, B),
        "cosine": lambda: 1 - F.cosine_similarity(A[:, None], B[None], dim=2),
    }[distance]()
    assert_allclose(pairwise_distances(A, B, distance), expected, atol=1e-12)


def pairs(n):
    return [(i, j) for i in range(n) for j in range(n) if i != j]


def by_hand(loss, z, y, distance="l2"):
    """Each loss from its formula, one pair after the other."""
    n, values = len(z), []
    for i in range(n):

        def d(j, i=i):
            return float(pairwise_distances(z[i : i + 1], z[j : j + 1], distance))

        positive = [d(j) for j in range(n) if j != i and y[j] == y[i]]
        negative = [d(j) for j in range(n) if y[j] != y[i]]
        if loss == "nca":
            power = {"l2": lambda x: x**2, "l1": lambda x: x, "cosine": lambda x: 10 * x}[distance]
            near, far = (sum(np.exp(-power(x)) for x in part) for part in (positive, negative))
            values.append(-np.log(near / (near + far)) if positive else 0.0)
        elif loss == "triplet":
            semi_hard = [
                min([n for n in negative if n > p], default=max(negative)) for p in positive
            ]
            hinges = [max(0, 1 + p - n) for p, n in zip(positive, semi_hard)]
            values.append(np.mean(hinges) if positive else 0.0)
        elif loss == "contrastive":
            values.append(
                (np.mean(np.square(positive)) if positive else 0.0)
                + np.mean([max(0, 1 - x) ** 2 for x in negative])
            )
        else:
            values.append(
                (np.mean(positive) if positive else 0.0)
                + np.mean([max(0, 1 - x) for x in negative])
            )
    return values


@LOSSES
@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_losses_of_embeddings_are_their_formulas(loss, distance):
    z, y = 0.5 * embeddings(), torch.tensor([0, 0, 1, 1, 1, 2, 2, 0, 1, 2, 2, 3])  # 3 is alone
    ours = EMBEDDING_LOSSES[loss](distance).per_sample(z, y)
    assert_allclose(ours, by_hand(loss, z, y, distance), rtol=1e-5, atol=1e-6)


def test_cosine_loss_is_torchs_of_all_pairs():
    z, y = embeddings(), torch.arange(12) % 3
    ours = EMBEDDING_LOSSES["cosine"]("cosine", margin=0.7).per_sample(z, y)
    i, j = (torch.tensor(index) for index in zip(*pairs(12)))
    target = torch.where(y[i] == y[j], 1, -1)
    each = F.cosine_embedding_loss(z[i], z[j], target, margin=0.3, reduction="none").view(12, 11)
    same = (target == 1).view(12, 11)
    mean = (each * same).sum(1) / same.sum(1) + (each * ~same).sum(1) / (~same).sum(1)
    assert_allclose(ours, mean, rtol=1e-10)


@LOSSES
def test_equal_samples_and_a_batch_of_one_give_finite_gradients(loss):
    for z, y in ((torch.ones(4, 3), torch.arange(4) % 2), (torch.ones(1, 3), torch.zeros(1))):
        z.requires_grad_()
        EMBEDDING_LOSSES[loss]("l2")(z, y).backward()
        assert torch.isfinite(z.grad).all()


# -------------------------------------------------------------------------------------- EmbeddingNet
@LOSSES
@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_neighbors_in_a_learned_embedding(loss, distance):
    """Of 30 features 3 tell the class: neighbors in all of them are poor."""
    data, target = make_classification(
        600, 30, n_informative=3, n_redundant=0, n_classes=3, n_clusters_per_class=1,
        random_state=3,
    )  # fmt: skip
    a, b, ya, yb = train_test_split(data.astype(np.float32), target, random_state=0)
    metric = "manhattan" if distance == "l1" else "euclidean"
    knn = KNeighborsClassifier(metric=metric)
    net = EmbeddingNet(4, loss=loss, distance=distance, width=32, random_state=0)
    learned = make_pipeline(net, knn).fit(a, ya)
    assert learned.score(b, yb) > clone(knn).fit(a, ya).score(b, yb) + 0.03
    if distance == "cosine":
        assert_allclose(np.linalg.norm(learned[0].transform(b), axis=1), 1, rtol=1e-5)


@pytest.mark.usefixtures("host")
def test_embedding_images_names_and_tensors():
    images = X.reshape(-1, 8, 8)
    net = EmbeddingNet(3, channels=(8, 16), max_iter=12, random_state=0).fit(images, Y)
    z = net.transform(images)
    assert z.shape == (500, 3)
    assert cross_val_score(KNeighborsClassifier(), z, Y).mean() > 0.9
    assert net.get_feature_names_out().tolist() == [f"embeddingnet{i}" for i in range(3)]
    tensor = net.transform(torch.from_numpy(images))
    assert_array_equal(tensor.numpy(), z)
    frame = net.set_output(transform="pandas").transform(images)
    assert frame.shape == (500, 3)


def test_embedding_one_class_is_refused():
    with pytest.raises(ValueError, match="two or more classes.*got one class, 3"):
        EmbeddingNet(3).fit(X, np.full(len(X), 3))


def test_embedding_early_stopping_scores_nearest_neighbors():
    net = EmbeddingNet(4, early_stopping=True, max_iter=10, random_state=0)
    net.fit(X, Y, X_val=X[:100], y_val=Y[:100])
    z = net.transform(X[:100])
    nearest = KNeighborsClassifier(1).fit(z, Y[:100]).kneighbors(return_distance=False)[:, 0]
    assert_allclose(net.best_validation_score_, np.mean(Y[:100][nearest] == Y[:100]))
    with pytest.raises(ValueError, match="which the y of fit did not"):
        clone(net).fit(X[:50], Y[:50] % 3, X_val=X[:5], y_val=Y[:5] + 7)
    with pytest.raises(ValueError, match="go together"):
        clone(net).fit(X, Y, X_val=X)


# ------------------------------------------------------------------------------- memory networks
@pytest.mark.parametrize("k", [1, 5])
def test_at_temperature_zero_it_is_nearest_neighbors(k):
    exact = {"embedding": "identity", "temperature": 0, "max_iter": 1, "random_state": 0}
    a, b, ya, _ = train_test_split(X, Y, random_state=0)
    ours = MemoryClassifier(k, **exact).fit(a, ya)
    reference = KNeighborsClassifier(k).fit(a, ya)
    assert_allclose(ours.predict_proba(b), reference.predict_proba(b), atol=1e-12)
    two = MemoryClassifier(k, **exact).fit(a, ya > 4)
    assert_allclose(
        two.predict_proba(b), KNeighborsClassifier(k).fit(a, ya > 4).predict_proba(b), atol=1e-12
    )
    numbers = np.stack([ya, ya**2], 1).astype(float)
    ours = MemoryRegressor(n_neighbors=k, **exact).fit(a, numbers)
    assert_allclose(ours.predict(b), KNeighborsRegressor(k).fit(a, numbers).predict(b))
    if k == 1:
        default = MemoryClassifier(**exact).fit(a, ya)
        assert_array_equal(default.predict(b), reference.predict(b))


def test_reading_is_the_softmax_of_distances():
    keys, values, query = embeddings(9), embeddings(9, 2, 1), embeddings(4, seed=2)
    weight = torch.arange(1.0, 10, dtype=torch.float64)
    net = MemoryNet(torch.nn.Identity(), 2, "identity", temperature=0.5, scale=3.0).double()
    net.memorize(keys, values, weight)
    share = torch.softmax(weight.log() - torch.cdist(query, keys) * 3 / 0.5, 1)
    with torch.no_grad():
        assert_allclose(net.eval()(query), share @ values)
        net.n_neighbors = 9  # the nearest of all are all
        assert_allclose(net(query), share @ values)


@pytest.mark.parametrize("kind", ["numbers", "classes", "outputs"])
def test_training_reads_from_the_other_samples(kind):
    E = embeddings()
    y, base = {
        "numbers": (embeddings(12, 2, 5), HalfSquaredError()),
        "classes": (torch.arange(12) % 3, CrossEntropy()),
        "outputs": ((embeddings(12, 2, 5) > 0).double(), BinaryCrossEntropy()),
    }[kind]
    values = F.one_hot(y).double() if kind == "classes" else y
    total = 0.0
    for i in range(12):
        others = [j for j in range(12) if j != i]
        share = torch.softmax(-torch.cdist(E[i : i + 1], E[others]), 1)
        v = share @ values[others]
        z = {"numbers": v, "classes": v.log(), "outputs": (v / (1 - v)).log()}[kind]
        total += float(base.per_sample(z, y[i : i + 1])) / 12
    n_outputs = 3 if kind == "classes" else 2
    assert_allclose(float(MemoryLoss(base, n_outputs)(E, y)), total, rtol=1e-4)


def test_integer_weights_are_repetition_in_training():
    E, y = embeddings().requires_grad_(), torch.arange(12) % 3
    weight = torch.arange(12, dtype=torch.float64) % 4
    loss = MemoryLoss(CrossEntropy(), 3)
    rows = torch.arange(12).repeat_interleave(weight.long())
    assert_allclose(
        float(loss(E, y, weight).detach()), float(loss(E[rows], y[rows]).detach()), rtol=1e-6
    )


def test_memory_learns_which_features_matter():
    data, target = make_friedman1(600, n_features=12, random_state=0)  # 5 of 12 features matter
    data = data.astype(np.float32)
    a, b, ya, yb = train_test_split(data, target, random_state=0)
    ours = MemoryRegressor(random_state=0).fit(a, ya)
    assert ours.score(b, yb) > KNeighborsRegressor().fit(a, ya).score(b, yb) + 0.15
    prediction = ours.predict(b)
    assert ya.min() <= prediction.min() <= prediction.max() <= ya.max()


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson", "gamma", "quantile"])
def test_memory_regressor_takes_the_losses(loss):
    data, target = make_friedman1(300, random_state=0)
    target = np.abs(target) + 0.1
    ours = MemoryRegressor(loss=loss, max_iter=40, random_state=0).fit(data, target)
    assert ours.score(data, target) > 0.5


def test_strings_multilabel_images_and_tensors():
    names = np.array(["a", "b", "c"])[Y % 3]
    ours = MemoryClassifier(max_iter=15, random_state=0).fit(X, names)
    assert ours.score(X, names) > 0.9
    many = np.stack([Y % 2, Y > 4, Y % 3 == 0], 1).astype(int)
    ours = clone(ours).fit(X, many)
    assert ours.score(X, many) > 0.8
    images = X.reshape(-1, 8, 8)
    ours = MemoryClassifier(channels=(8, 16), max_iter=8, random_state=0).fit(images, Y)
    assert ours.score(images, Y) > 0.9
    assert torch.is_tensor(ours.predict(torch.from_numpy(images)))


def test_the_held_out_are_not_in_the_memory():
    ours = MemoryClassifier(early_stopping=True, max_iter=5, random_state=0).fit(X, Y)
    assert len(ours.net_.module_.samples) == 450
    a, b, ya, yb = train_test_split(X, Y, random_state=0)
    own = MemoryClassifier(early_stopping=True, max_iter=8, random_state=0)
    own.fit(a, ya, X_val=b, y_val=yb)
    assert_allclose(own.score(b, yb), own.best_validation_score_)


@pytest.mark.usefixtures("host")
def test_partial_fit_adds_to_the_memory():
    ours = MemoryClassifier(random_state=0)
    ours.partial_fit(X[:200], Y[:200], classes=range(10))
    ours.partial_fit(X[200:], Y[200:])
    assert len(ours.net_.module_.samples) == 500
    assert_array_equal(ours.net_.module_.samples.flatten(1).numpy(), X)
    exact = MemoryClassifier(embedding="identity", temperature=0)
    exact.partial_fit(X[:200], Y[:200], classes=range(10)).partial_fit(X[200:], Y[200:])
    assert exact.score(X, Y) == 1  # each finds itself


@pytest.mark.parametrize("settings", [{"temperature": 0.1}, {"n_neighbors": 3}])
def test_a_warm_start_takes_another_way_of_reading(settings):
    """What is learned does not depend on it."""
    before, after = (MemoryClassifier(max_iter=1, warm_start=True, random_state=0) for _ in "ab")
    before.fit(X, Y).set_params(**settings).fit(X, Y)
    after.set_params(**settings).fit(X, Y).fit(X, Y)
    unchanged = clone(after).set_params(temperature=1.0, n_neighbors=None).fit(X, Y).fit(X, Y)
    assert_array_equal(before.predict_proba(X), after.predict_proba(X))
    assert not np.allclose(before.predict_proba(X), unchanged.predict_proba(X))


def test_the_same_bits_again_and_in_a_search():
    ours = MemoryClassifier(max_iter=3, random_state=0)
    first = clone(ours).fit(X, Y).predict_proba(X)
    assert_array_equal(clone(ours).fit(X, Y).predict_proba(X), first)
    search = GridSearchCV(
        MemoryClassifier(embedding="identity", max_iter=1), {"temperature": [0.01, 100.0]}, cv=3
    ).fit(X, Y)
    assert search.best_params_["temperature"] == 0.01


def test_row_encoder_standardizes():
    torch.manual_seed(0)
    data = embeddings(50, 4)
    mean, scale = data.mean(0), data.std(0, correction=0)
    encoder = RowEncoder(mean, scale, 3).double()
    standard = RowEncoder(torch.zeros(4), torch.ones(4), 3).double()
    standard.load_state_dict({**encoder.state_dict(), "mean": mean * 0, "scale": scale * 0 + 1})
    assert_allclose(
        encoder(data).detach(), standard((data - mean) / scale).detach(), rtol=1e-6, atol=1e-8
    )
    constant = RowEncoder(torch.zeros(4), torch.zeros(4), 3)
    assert torch.isfinite(constant(torch.zeros(2, 4))).all()


def test_nca_pulls_a_class_together():
    torch.manual_seed(0)
    z, y = torch.randn(30, 2, requires_grad=True), torch.arange(30) % 3
    optimizer, loss = torch.optim.Adam([z], 0.1), NCALoss("l2")
    for _ in range(200):
        optimizer.zero_grad()
        loss(z, y).backward()
        optimizer.step()
    D = torch.cdist(z, z).fill_diagonal_(np.inf)
    assert (y[D.argmin(1)] == y).all()


def test_what_is_written_into_the_arrays_of_fit_does_not_reach_the_memory():
    data, numbers, weight = X.astype(np.float32), Y.astype(np.float32), np.ones(500)
    images = data.reshape(-1, 8, 8)
    for rows in (data, torch.from_numpy(data), images):
        model = MemoryRegressor(max_iter=1, random_state=0).fit(rows, numbers, sample_weight=weight)
        expected = model.predict(X[:20].reshape(-1, *rows.shape[1:]))
        saved = [a.copy() for a in (data, numbers, weight)]
        data[:], numbers[:], weight[:] = 0, 0, 0
        assert_array_equal(model.predict(X[:20].reshape(-1, *rows.shape[1:])), expected)
        data[:], numbers[:], weight[:] = saved
