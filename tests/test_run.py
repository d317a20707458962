"""A training run on its own: resumed, heard by callbacks, and apart from the rest of the process."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EpochScoring,
    Freezer,
    LRScheduler,
    PassthroughScoring,
    Unfreezer,
)
from threadpoolctl import threadpool_info, threadpool_limits
from torch.utils.flop_counter import FlopCounterMode

from sklearn_nets import (
    Autoencoder,
    CNNClassifier,
    MLPClassifier,
    MLPRegressor,
    RandomFlipShift,
    ViTClassifier,
    decomposition,
)
from sklearn_nets._base import estimator as base_estimator
from sklearn_nets._training.loop import train
from sklearn_nets._training.threads import count_multiplications
from sklearn_nets._utils.array_api import concatenate
from sklearn_nets._utils.device import blas_threads, threads
from sklearn_nets._utils.random import TorchRandom, draws_from_default

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:200] / 16, Y[:200]
IMAGES = X.reshape(-1, 8, 8)


class StopAfter(Callback):
    """Ends training after some epochs, as skorch's own EarlyStopping does, and keeps its state."""

    run = state = None

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epochs:
            if self.run is not None:
                self.state = pickle.dumps(self.run.state_dict())
            raise KeyboardInterrupt


RESUMED = {
    "adam": (MLPClassifier(9), X),
    "sgd": (MLPClassifier(9, solver="sgd", learning_rate="invscaling", power_t=0.1), X),
    "adaptive": (MLPClassifier(9, solver="sgd", learning_rate="adaptive", tol=9, n_iter_no_change=1), X),
    "one cycle": (MLPClassifier(9, learning_rate="onecycle"), X),
    "early stopping": (MLPClassifier(9, early_stopping=True), X),
    "cnn": (CNNClassifier((4,), solver="adamw", augment=RandomFlipShift(0.5, 1)), IMAGES),
    "vit": (ViTClassifier(embed_dim=8, depth=1, num_heads=2, dropout=0.3), IMAGES),
}  # fmt: skip


@pytest.mark.parametrize("case", RESUMED)
def test_a_resumed_run_ends_as_the_uninterrupted_one(case):
    estimator, data = RESUMED[case]
    estimator.set_params(max_iter=6, batch_size=32, random_state=0)
    whole = estimator._make_run(data, Y, None)
    train(whole)
    stop = StopAfter(2)
    stop.run = first = estimator.set_params(callbacks=[stop])._make_run(data, Y, None)
    train(first)
    assert first.epoch == 2
    second = estimator.set_params(callbacks=None)._make_run(data, Y, None)
    second.load_state_dict(pickle.loads(stop.state))
    torch.manual_seed(99)  # no part of it
    train(second)
    assert second.epoch == whole.epoch
    assert second.progress.loss_curve == whole.progress.loss_curve
    assert second.net.history[:, "train_loss"] == whole.net.history[:, "train_loss"]
    for name, weight in second.module.state_dict().items():
        assert torch.equal(weight, whole.module.state_dict()[name]), name


@pytest.mark.parametrize(
    ("estimator", "data", "target"),
    [
        (MLPClassifier(9, max_iter=3, random_state=0), X.astype(np.float32), Y),
        (
            CNNClassifier((4,), max_iter=2, random_state=0, test_time_augment=False),
            IMAGES[:, None],
            Y,
        ),
        (
            MLPRegressor(hidden_layer_sizes=9, max_iter=3, random_state=0),
            X,
            Y[:, None].astype(float),
        ),
    ],
    ids=["mlp", "cnn", "regressor"],
)
def test_net_is_a_skorch_net(estimator, data, target):
    net = estimator.fit(data, target.ravel()).net_
    if hasattr(estimator, "predict_proba"):
        assert_allclose(net.predict_proba(data), estimator.predict_proba(data), rtol=1e-6)
    else:
        assert_allclose(net.predict(data)[:, 0], estimator.predict(data))
    net.set_params(max_epochs=4, batch_size=32, verbose=0)
    net.partial_fit(data, target)
    losses = np.mean(net.history[-4:, "batches", :, "train_loss"], axis=1)
    assert losses[-1] < losses[0]


def test_losses_of_batches_are_means_that_make_up_the_epochs():
    heard = []

    class OfBatches(Callback):
        def on_batch_end(self, net, batch, training, loss, **kwargs):
            heard.append(float(loss))

    model = MLPClassifier(5, batch_size=len(X) // 3 + 1, max_iter=2, callbacks=[OfBatches()])
    history = model.set_params(alpha=0.5, random_state=0).fit(X, Y).history_
    for row in history:
        losses, sizes = (
            [batch[name] for batch in row["batches"]] for name in ("train_loss", "train_batch_size")
        )
        assert len(set(sizes)) == 2  # the last batch is smaller
        assert_allclose(np.average(losses, weights=sizes), row["train_loss"], rtol=1e-6)
    assert_allclose(heard, np.ravel(history[:, "batches", :, "train_loss"]))
    assert_allclose(history[:, "train_loss"], model.loss_curve_)


class Listener(Callback):
    def initialize(self):
        self.heard = []
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.heard.append("begin")

    def on_epoch_end(self, net, **kwargs):
        self.heard.append(net.history[-1, "train_loss"])


def test_callbacks_hear_iterations_of_lbfgs_as_epochs():
    listener = Listener()
    model = MLPClassifier(5, solver="lbfgs", max_iter=7, callbacks=[listener], random_state=0)
    model.fit(X, Y)
    assert listener.heard[::2] == ["begin"] * 7
    assert listener.heard[1::2] == model.history_[:, "train_loss"]
    assert len(model.history_) == model.n_iter_ == 7
    stopped = MLPClassifier(5, solver="lbfgs", max_iter=7, callbacks=[StopAfter(3)], random_state=0)
    assert len(stopped.fit(X, Y).history_) == 3


@pytest.mark.parametrize(
    "callback",
    [
        EpochScoring("accuracy"), BatchScoring("accuracy"), PassthroughScoring("train_loss"),
        Freezer("*"), Unfreezer("*"), LRScheduler(), LRScheduler, ("named", LRScheduler()),
    ],
)  # fmt: skip
def test_callbacks_that_would_do_nothing_are_refused(callback):
    for model, data in ((MLPClassifier(5), X), (CNNClassifier((4,)), IMAGES)):
        with pytest.raises(ValueError, match=r"skorch's own training loop alone\. Leave it out; "):
            model.set_params(callbacks=[callback]).fit(data, Y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "gd"])
def test_a_checkpoint_saves_the_epochs_of_the_lowest_validation_loss(solver, tmp_path):
    name = "epoch_{last_epoch[epoch]}.pt"
    saver = Checkpoint(f_params=name, dirname=tmp_path, load_best=True)
    model = MLPRegressor(
        hidden_layer_sizes=5, solver=solver, learning_rate_init=0.1, max_iter=60,
        callbacks=[saver], random_state=0,
    )  # fmt: skip
    model.fit(X[:30], Y[:30], X_val=X[30:60], y_val=Y[30:60])
    losses = model.validation_loss_curve_
    best = [i for i, loss in enumerate(losses) if loss < min(losses[:i], default=np.inf)]
    assert 1 <= len(best) < len(losses)
    saved = {int(path.stem.split("_")[1]) for path in tmp_path.glob("epoch_*.pt")}
    assert saved == {i + 1 for i in best}
    residuals = model.predict(X[30:60]) - Y[30:60]
    assert_allclose(np.mean(residuals**2) / 2, min(losses), rtol=1e-6)  # the best was loaded


def test_nothing_is_left_of_an_earlier_fit():
    model = MLPClassifier(5, max_iter=2, random_state=0).fit(X, Y, X_val=X, y_val=Y)
    assert len(model.validation_scores_) == len(model.loss_curve_) == 2
    model.set_params(solver="lbfgs").fit(X, Y)
    for name in ("validation_scores_", "validation_loss_curve_", "loss_curve_", "best_loss_"):
        assert not hasattr(model, name), name


# --------------------------------------------------------------------- beside others in the process


@pytest.mark.parametrize(
    "net",
    [
        CNNClassifier((4,), max_iter=2, random_state=0),
        CNNClassifier((4,), max_iter=2, random_state=0, augment=RandomFlipShift(0.5, 1)),
        CNNClassifier(
            (4,), max_iter=2, random_state=0, augment=lambda X, y: (X + torch.rand(()), y)
        ),
        ViTClassifier(embed_dim=8, depth=1, num_heads=2, dropout=0.3, max_iter=2, random_state=0),
    ],
    ids=["plain", "augmented", "own augmentation", "dropout"],
)
def test_fits_in_threads_are_reproducible(net):
    def predictions(n_jobs):
        with joblib.parallel_backend("threading"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return cross_val_predict(net, IMAGES, Y, cv=4, n_jobs=n_jobs, method="predict_proba")

    before = torch.get_rng_state()
    one_by_one = predictions(1)
    for _ in range(3):
        assert_array_equal(predictions(4), one_by_one)
    assert torch.equal(torch.get_rng_state(), before)


def test_overlapping_limits_of_threads_leave_none_behind():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    barrier = Barrier(4)

    def limited(i):
        barrier.wait()
        for _ in range(100):
            with threads(1):
                assert torch.get_num_threads() == 1
                with threads(2):
                    assert torch.get_num_threads() == 1
                assert torch.get_num_threads() == 1

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(limited, range(4)))
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_a_limit_holds_in_a_thread_that_has_run_no_operation_yet():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    inside, left = Event(), Event()

    def limited():
        with threads(1):
            inside.set()
            left.wait()
            return torch.get_num_threads()

    try:
        with ThreadPoolExecutor(1) as pool:
            with threads(1):
                seen = pool.submit(limited)
                inside.wait()
            left.set()
            assert seen.result() == 1
    finally:
        torch.set_num_threads(before)


def blas_numbers():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_overlapping_limits_of_blas_leave_none_behind():
    with threadpool_limits(3, "blas"):
        before = blas_numbers()
        barrier = Barrier(4)

        def limited(i):
            barrier.wait()
            for _ in range(100):
                with blas_threads(1 + i % 2):
                    with blas_threads(1):
                        assert set(blas_numbers()) == {1}
                    assert max(blas_numbers()) <= 1 + i % 2

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(limited, range(4)))
        assert blas_numbers() == before
        with pytest.raises(KeyError), blas_threads(1):
            raise KeyError
        with blas_threads(None):
            assert blas_numbers() == before
        assert blas_numbers() == before


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    "settings", [{"early_stopping": True}, {"solver": "lbfgs"}, {"solver": "gd"}], ids=str
)
def test_training_leaves_numpys_products_one_thread(settings):
    seen = []

    class Threads(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.extend(blas_numbers())
            if len(net.history) == 2:
                raise ZeroDivisionError

    with threadpool_limits(2, "blas"):
        net = MLPClassifier(9, max_iter=3, random_state=0, callbacks=[Threads()], **settings)
        with pytest.raises(ZeroDivisionError):
            net.fit(X, Y)
        assert set(seen) == {1}
        assert set(blas_numbers()) == {2}


def test_which_modules_draw_from_the_default_generators():
    nn = torch.nn
    quiet = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.0))
    assert not draws_from_default(quiet)

    class Own(nn.Module):
        pass

    for module in (nn.Dropout(0.1), nn.Dropout2d(0.1), nn.RReLU(), nn.LSTM(2, 2), Own()):
        assert draws_from_default(nn.Sequential(nn.Linear(2, 2), module))


def test_default_generators_are_lent_and_put_back():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    lent = TorchRandom(0, torch.device("cpu"))
    with lent.as_default():
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    whole = TorchRandom(0, torch.device("cpu"))
    with whole.as_default():
        assert torch.equal(torch.rand(3), inside)
        more = torch.rand(3)
    with lent.as_default():  # goes on where it was
        assert torch.equal(torch.rand(3), more)


def few_of_each_row(n_features):
    """Sparse rows of two values each."""
    columns = np.random.RandomState(0).randint(0, n_features, (len(X), 2))
    starts = np.arange(0, columns.size + 1, 2)
    return csr_array((np.ones(columns.size), columns.ravel(), starts), (len(X), n_features))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("estimator", "data", "one"),
    [
        (MLPClassifier(9, batch_size=32), X, True),
        (MLPClassifier(2000, batch_size=200), X, False),
        # of sparse rows what is stored counts, but the optimizer moves all weights
        (MLPClassifier(20, batch_size=len(X)), few_of_each_row(2_000), True),
        (MLPClassifier(20, batch_size=len(X)), few_of_each_row(2_000).toarray(), False),
        (MLPClassifier(20, batch_size=len(X)), few_of_each_row(200_000), False),
        (CNNClassifier((4, 8)), IMAGES, True),
        (CNNClassifier((64, 128)), np.tile(IMAGES, (1, 4, 4)), False),
    ],
)
def test_small_nets_train_with_one_thread(estimator, data, one):
    seen = []

    class Threads(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        estimator.set_params(max_iter=1, random_state=0, callbacks=[Threads()]).fit(data, Y)
        assert seen == [1 if one else min(2, joblib.cpu_count())]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("estimator", "methods", "n_threads"),
    [
        (MLPClassifier(9), ("predict", "predict_proba", "predict_log_proba"), 1),
        (Autoencoder(2), ("transform", "inverse_transform", "reconstruction_error"), 1),
        (CNNClassifier((4, 8)), ("predict", "predict_proba"), 2),
    ],
)
def test_numpys_threads_and_torchs_do_not_take_turns(estimator, methods, n_threads, monkeypatch):
    """Where numpy multiplies, torch has one thread for all that comes between two products."""
    seen = set()

    def noted(parts, n):
        def counted():
            for part in parts:
                seen.add(torch.get_num_threads())
                yield part

        return concatenate(counted(), n)

    for module in (base_estimator, decomposition):
        monkeypatch.setattr(module, "concatenate", noted)
    data = X if n_threads == 1 else IMAGES
    estimator.set_params(max_iter=1, random_state=0).fit(data, Y)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for method in methods:
            seen.clear()
            getattr(estimator, method)(data[:, :2] if method == "inverse_transform" else data)
            assert seen == {n_threads}
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("host")
def test_multiplications_are_those_of_torchs_counter():
    net = CNNClassifier((4, 8), max_iter=1, random_state=0).fit(IMAGES, Y).net_.module_
    batch = torch.from_numpy(IMAGES[:3, None])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(batch)
    assert 2 * count_multiplications(net, batch) == counter.get_total_flops()


class InterruptsFit(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupted_net_is_no_result_of_a_cross_validation(solver):
    model = MLPClassifier(9, solver=solver, callbacks=[InterruptsFit()], random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, Y)
    assert model.predict(X).shape == Y.shape
    with pytest.raises(KeyboardInterrupt):
        cross_validate(model, X, Y, cv=2)
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
