"""Every estimator on an accelerator: fitted, asked, compared with the host, its reads counted.

The accelerator is the one of `standin`, so this runs on any machine. Registering it changes torch
for the whole process: the tests below run in a process of their own, which the one test that is
seen from outside starts.
"""

import copy
import os
import pickle
import subprocess
import sys
from threading import Event

import numpy as np
import pytest
import standin
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_nets import (
    Autoencoder,
    CNNClassifier,
    DetectionNet,
    EmbeddingNet,
    KNeighborsClassifier,
    LinearSVC,
    MemoryClassifier,
    MemoryRegressor,
    MLPClassifier,
    MLPRegressor,
    RandomFlipShift,
    RandomZoom,
    SegmentationNet,
    ViTClassifier,
)
from sklearn_nets._training.stacked import Stack
from sklearn_nets.neighbors import KNeighborsRegressor, NearestNeighbors

INSIDE = os.environ.get("SKLEARN_NETS_STANDIN") == "1"
inside = pytest.mark.skipif(not INSIDE, reason="runs in a process of its own: test_on_the_stand_in")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.skipif(INSIDE, reason="this is that process")
def test_on_the_stand_in():
    """All other tests of this file, in a process where torch has one device more."""
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            __file__,
            "-q",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SKLEARN_NETS_STANDIN": "1", "SCIPY_ARRAY_API": "1"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert not hasattr(torch, standin.NAME)


@pytest.fixture(scope="module", autouse=True)
def registered():
    if INSIDE:
        standin.register()


@pytest.fixture(autouse=True)
def mode(registered):
    if INSIDE:
        with standin.StandIn():
            yield
    else:
        yield


# ------------------------------------------------------------------------------------ the data
rng = np.random.default_rng(0)
ROWS = rng.normal(size=(60, 6)).astype(np.float32)
LABELS = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0)
NUMBERS = ROWS @ rng.normal(size=6).astype(np.float32)
COUNTS = rng.poisson(np.exp(0.5 * ROWS[:, 0])).astype(np.float32)
SEVERAL = np.stack([ROWS[:, 0] > 0, ROWS[:, 1] > 0], 1).astype(int)
WEIGHTS = rng.uniform(0.5, 2.0, 60)
IMAGES = rng.integers(0, 256, (24, 3, 8, 8), dtype=np.uint8)
KINDS = np.arange(24) % 2
IMAGES[KINDS == 1, :, :4] //= 4
MASKS = (IMAGES.mean(1) > 100).astype(int)
BOXES = [{"boxes": [[0, 0, 8, 4 + k], [2, 2, 6, 6]], "labels": [int(k), 1]} for k in KINDS]


def mlp(**parameters):
    return MLPClassifier((8,), max_iter=4, batch_size=16, random_state=0, **parameters)


def regressor(**parameters):
    return MLPRegressor(
        hidden_layer_sizes=(8,), max_iter=4, batch_size=16, random_state=0, **parameters
    )


# precision 'auto' is autocast to bfloat16, for which this device has no kernels; its random
# numbers are not the host's, so that nothing is augmented where both are compared
IMAGE = {
    "max_iter": 2,
    "batch_size": 8,
    "random_state": 0,
    "precision": "float32",
    "augment": None,
}
SMALL = {"max_iter": 2, "random_state": 0, "precision": "float32"}
EARLY = {"early_stopping": True, "validation_fraction": 0.25}


def cnn(**parameters):
    return CNNClassifier((4, 8), **{**IMAGE, **parameters})


# Each: the estimator, X, y, whether it is fitted with sample weights.
CASES = {
    "adam": (mlp(), ROWS, LABELS, False),
    "sgd": (mlp(solver="sgd"), ROWS, LABELS, False),
    "lbfgs": (mlp(solver="lbfgs"), ROWS, LABELS, False),
    "early stopping": (mlp(**EARLY), ROWS, LABELS, False),
    "weights": (mlp(class_weight="balanced"), ROWS, LABELS, True),
    "lbfgs, weights": (mlp(solver="lbfgs"), ROWS, LABELS, True),
    "binary": (mlp(), ROWS, LABELS > 0, False),
    "multilabel": (mlp(), ROWS, SEVERAL, False),
    "regression": (regressor(), ROWS, NUMBERS, False),
    "regression, sgd": (regressor(solver="sgd"), ROWS, NUMBERS, False),
    "regression, lbfgs": (regressor(solver="lbfgs"), ROWS, NUMBERS, False),
    "regression, early stopping": (regressor(**EARLY), ROWS, NUMBERS, True),
    "poisson": (regressor(loss="poisson"), ROWS, COUNTS, False),
    "cnn": (cnn(), IMAGES, KINDS, False),
    "cnn, weights": (cnn(class_weight="balanced", solver="adamw"), IMAGES, KINDS, True),
    "cnn, one-cycle": (
        cnn(learning_rate="onecycle", learning_rate_init=0.01),
        IMAGES,
        KINDS,
        False,
    ),
    "cnn, early stopping": (cnn(**EARLY), IMAGES, KINDS, False),
    "vit": (ViTClassifier(embed_dim=8, depth=1, num_heads=2, **IMAGE), IMAGES, KINDS, False),
    "segmentation": (SegmentationNet((4, 8), depth=1, **IMAGE), IMAGES, MASKS, False),
    "segmentation, early stopping": (
        SegmentationNet((4, 8), depth=1, class_weight="balanced", **EARLY, **IMAGE),
        IMAGES,
        MASKS,
        False,
    ),
    "hinge": (mlp(loss="hinge"), ROWS, LABELS, True),
    "focal": (mlp(loss="focal", label_smoothing=0.1), ROWS, LABELS, True),
    "huber": (regressor(loss="huber"), ROWS, NUMBERS, True),
    "quantile": (regressor(loss="quantile"), ROWS, NUMBERS, True),
    "gradient descent": (mlp(solver="gd"), ROWS, LABELS, False),
    "autoencoder": (Autoencoder(3, **SMALL), ROWS, LABELS, False),
    "autoencoder, images": (Autoencoder(3, channels=(4,), **IMAGE), IMAGES, KINDS, False),
    "embedding": (EmbeddingNet(3, width=8, **SMALL), ROWS, LABELS, False),
    "embedding, triplet": (EmbeddingNet(3, loss="triplet", width=8, **SMALL), ROWS, LABELS, False),
    "memory": (MemoryClassifier(width=8, dropout=0, **SMALL), ROWS, LABELS, True),
    "memory, early stopping": (
        MemoryRegressor(width=8, dropout=0, **SMALL, **EARLY),
        ROWS,
        NUMBERS,
        False,
    ),
    "memory, exact": (
        MemoryClassifier(3, embedding="identity", temperature=0, **SMALL),
        ROWS,
        LABELS,
        False,
    ),
    "neighbors": (KNeighborsClassifier(), ROWS, LABELS, False),
    "neighbors, distance": (KNeighborsClassifier(weights="distance"), ROWS, SEVERAL, False),
    "neighbors, regression": (KNeighborsRegressor(), ROWS, NUMBERS, False),
    "svm": (LinearSVC(), ROWS, LABELS, False),
    "svm, wide": (LinearSVC(), ROWS[:5], LABELS[:5], False),
    "svm, weights": (LinearSVC(class_weight="balanced"), ROWS, LABELS > 0, True),
}


def on_both(X, y):
    """X and y on the device, and on the host."""
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    return [tuple(standin.to_device(t) for t in tensors), tensors]


def answers(model, X):
    methods = "predict", "predict_proba", "decision_function", "transform"
    found = [getattr(model, name)(X) for name in methods if hasattr(model, name)]
    return [part for answer in found for part in (answer if isinstance(answer, list) else [answer])]


def assert_same(there, here, X_there, X_here):
    """Answers of `there` are tensors of the device and, up to rounding, those of `here`."""
    for mine, reference in zip(answers(there, X_there), answers(here, X_here), strict=True):
        assert mine.device.type == standin.NAME
        assert_allclose(mine.cpu().double(), reference.double(), rtol=1e-3, atol=1e-5)


# --------------------------------------------------------------------------------------- the device
@inside
def test_host_and_device_do_not_mix():
    X = standin.to_device(ROWS)
    for mixed in (
        lambda: X + torch.from_numpy(ROWS),
        lambda: torch.zeros(60, 6).add_(X),
        lambda: X @ torch.ones(6),
        lambda: torch.cat([X, torch.ones(1, 6)]),
        lambda: X[torch.arange(3)],
        lambda: torch.nn.Linear(6, 2)(X),
    ):
        with pytest.raises(RuntimeError, match="host tensor meets a tensor on 'standin'"):
            mixed()
    assert (X + torch.tensor(1.0)).device.type == standin.NAME  # numbers may come from anywhere
    assert (X @ torch.ones(6, device=X.device)).cpu().device.type == "cpu"
    assert_array_equal(X[[0, 2]].cpu(), ROWS[[0, 2]])
    module = torch.nn.Linear(6, 2).to(X.device)
    assert module(X).device.type == copy.deepcopy(module)(X).device.type == standin.NAME


@inside
@pytest.mark.parametrize(
    ("read", "times"),
    [
        (lambda X: X.sum().item(), 1),
        (lambda X: float(X[0, 0]), 1),
        (lambda X: X.cpu(), 1),
        (lambda X: X.tolist(), 1),
        (lambda X: bool((X > 0).all()), 1),
        (lambda X: torch.empty(60, 6).copy_(X), 1),
        (lambda X: X[X > 0], 1),
        (lambda X: X.nonzero(), 1),
        (lambda X: torch.equal(X, X), 1),
        (lambda X: X.relu().sum(), 0),
        (lambda X: X[torch.arange(3, device=X.device)], 0),
        (lambda X: torch.from_numpy(ROWS).to(X.device), 0),
        (lambda X: X.copy_(torch.from_numpy(ROWS)), 0),
    ],
)
def test_reads_are_counted(read, times):
    X = standin.to_device(ROWS)
    with standin.record() as counts:
        read(X)
    assert counts["reads"] == times


# ----------------------------------------------------------------------------------- the estimators
@inside
@pytest.mark.parametrize("case", CASES)
def test_the_device_answers_as_the_host(case):
    estimator, X, y, weighted = CASES[case]
    weights = {"sample_weight": WEIGHTS[: len(X)]} if weighted else {}
    (X_there, y_there), (X_here, y_here) = on_both(X, y)
    there = clone(estimator).fit(X_there, y_there, **weights)
    here = clone(estimator).set_params(device="cpu").fit(X_here, y_here, **weights)
    assert torch.device(there.device_).type == standin.NAME
    assert_same(there, here, X_there, X_here)
    if hasattr(there, "score"):
        assert_allclose(there.score(X_there, y_there), here.score(X_here, y_here), rtol=1e-3)
    for twin in (copy.deepcopy(there), pickle.loads(pickle.dumps(there))):
        assert torch.equal(answers(twin, X_there)[0], answers(there, X_there)[0])


@inside
@pytest.mark.parametrize(
    "estimator", [mlp(), mlp(solver="sgd"), regressor(), cnn()], ids=lambda e: type(e).__name__
)
def test_further_fits(estimator):
    """`partial_fit`, a warm start and a validation set of one's own."""
    X, y = (IMAGES, KINDS) if isinstance(estimator, CNNClassifier) else (ROWS, LABELS)
    y = y if is_classifier(estimator) else NUMBERS
    models = []
    for data in on_both(X, y):
        model = clone(estimator).set_params(warm_start=True).fit(*data)
        model.fit(*data, X_val=data[0][:20], y_val=data[1][:20])
        model.partial_fit(*data)
        models.append((model, data[0]))
    (there, X_there), (here, X_here) = models
    assert there.validation_scores_ == pytest.approx(here.validation_scores_, rel=1e-3)
    assert_same(there, here, X_there, X_here)


@inside
@pytest.mark.parametrize("settings", [{}, {**EARLY, "class_weight": "balanced"}], ids=str)
def test_boxes(settings):
    """Answers are lists of dicts of tensors, on the device of X."""
    X_there, X_here = (images[0] for images in on_both(IMAGES, KINDS))
    net = DetectionNet(channels=(4, 8), score_threshold=0.0, **{**IMAGE, **settings})
    there = clone(net).fit(X_there, BOXES, WEIGHTS[:24])
    here = clone(net).set_params(device="cpu").fit(X_here, BOXES, WEIGHTS[:24])
    assert_allclose(there.loss_curve_, here.loss_curve_, rtol=1e-3)
    for found, expected in zip(there.predict(X_there), here.predict(X_here), strict=True):
        assert all(values.device.type == standin.NAME for values in found.values())
        assert_allclose(found["scores"].cpu(), expected["scores"], rtol=1e-3, atol=1e-5)
    zoomed = clone(net).set_params(augment=RandomZoom(hflip=0.5, vflip=0.5)).fit(X_there, BOXES)
    assert np.isfinite(zoomed.loss_)


@inside
def test_neighbors_alone():
    X, _ = on_both(ROWS, LABELS)[0]
    model, reference = NearestNeighbors().fit(X), NearestNeighbors().fit(ROWS)
    for there, here in zip(model.kneighbors(X), reference.kneighbors(ROWS)):
        assert there.device.type == standin.NAME
        assert_allclose(there.cpu(), here)
    assert model.radius_neighbors_graph(X).shape == (60, 60)


@inside
def test_augmentation():
    """What an accelerator draws is not what the host draws, so the answers cannot be compared."""
    X, y = on_both(IMAGES, KINDS)[0]
    model = cnn(augment=RandomFlipShift()).fit(X, y)
    assert model.predict_proba(X).device.type == standin.NAME
    assert torch.isfinite(model.predict_proba(X).cpu()).all()


@inside
@pytest.mark.parametrize(
    "estimator", [mlp(), LinearSVC(), KNeighborsClassifier()], ids=lambda e: type(e).__name__
)
def test_pipeline(estimator):
    (X_there, y_there), (X_here, y_here) = on_both(ROWS, LABELS)
    pipeline = make_pipeline(StandardScaler(), estimator)
    with config_context(array_api_dispatch=True):
        there = clone(pipeline).fit(X_there, y_there)
        here = clone(pipeline).fit(X_here, y_here)
        assert_same(there, here, X_there, X_here)


@inside
@pytest.mark.parametrize(
    "estimator",
    [
        mlp(),
        mlp(solver="sgd"),
        mlp(class_weight="balanced"),
        regressor(),
        regressor(loss="poisson"),
        cnn(),
        cnn(augment=RandomFlipShift(), solver="adamw", learning_rate="onecycle"),
        ViTClassifier(embed_dim=8, depth=1, num_heads=2, **IMAGE),
        SegmentationNet((4, 8), depth=1, **IMAGE),
        Autoencoder(3, channels=(4,), **IMAGE),
        EmbeddingNet(3, channels=(4,), **IMAGE),
        MemoryClassifier(channels=(4,), **IMAGE),
        DetectionNet(channels=(4, 8), **IMAGE),
    ],
    ids=lambda e: type(e).__name__,
)
def test_no_read_within_an_epoch(estimator):
    """As many reads in a fit of one batch an epoch as in one of many."""
    reads = []
    tabular = isinstance(estimator, MLPClassifier | MLPRegressor)
    X, y = (ROWS, LABELS) if tabular else (IMAGES, KINDS)
    y = MASKS if isinstance(estimator, SegmentationNet) else y
    (X, y), _ = on_both(X, y)
    y = BOXES if isinstance(estimator, DetectionNet) else y
    for batch_size in (len(X), 6):
        with standin.record() as counts:
            clone(estimator).set_params(batch_size=batch_size).fit(X, y)
        reads.append(counts["reads"])
    assert reads[0] == reads[1]


@inside
def test_reads_of_a_search_do_not_grow_with_the_queries():
    (X, y), _ = on_both(ROWS, LABELS)
    model = KNeighborsClassifier().fit(X, y)
    reads = []
    for n_queries in (2, 60):
        with standin.record() as counts:
            model.kneighbors(X[:n_queries])
        reads.append(counts["reads"])
    assert reads[0] == reads[1]


@inside
def test_nets_that_train_together_are_read_once_an_epoch():
    rng = np.random.RandomState(0)
    X, y = rng.randn(90, 5).astype(np.float32), rng.randint(3, size=90)
    options = {"hidden_layer_sizes": 6, "max_iter": 4, "batch_size": 32, "random_state": 0}
    models = [MLPClassifier(**options, alpha=alpha) for alpha in (0.1, 1.0, 2.0)]
    data = [(standin.to_device(X[i:]), y[i:]) for i in range(3)]  # three sources, of other lengths
    runs = [model._make_run(X, y, None) for model, (X, y) in zip(models, data)]
    stack = Stack(runs, Event())  # in this thread, which alone has the stand-in
    with standin.record() as seen:
        stack.train()
    assert list(stack.outcomes.values()) == [False] * 3
    assert seen["reads"] == 4
    for run, (X, y), alpha in zip(runs, data, (0.1, 1.0, 2.0)):
        alone = MLPClassifier(**options, alpha=alpha).fit(X, y)
        assert_allclose(run.progress.loss_curve, alone.loss_curve_, rtol=1e-4)
