"""`stacked` beside what belongs to the process: warnings, prints, interrupts, forks, open calls."""

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from skorch.callbacks import Callback
from test_stacked_safety import BASE, SECONDS, X, Y, heard_interrupts, in_time, scores  # noqa: F401

from sklearn_nets import MLPClassifier, compare, stacked
from sklearn_nets._training.process_state import ProcessState

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("host"),
]


def inside(work):
    """What work returns inside a block, in time."""

    def run():
        with stacked():
            return work()

    return in_time(run)


def losses_of(nets, *data):
    return [net.loss_ for net in joblib.Parallel()(joblib.delayed(n.fit)(*data) for n in nets)]


def nets(**options):
    return [MLPClassifier(**BASE | options, alpha=alpha) for alpha in (0.1, 0.2, 0.3)]


def test_a_parallel_that_is_kept_open_beside_another_call():
    def work():
        with joblib.Parallel() as parallel:
            once = [n.loss_ for n in parallel(joblib.delayed(n.fit)(X, Y) for n in nets())]
            between = scores(MLPClassifier(**BASE))
            return [*once, *between, *(n.loss_ for n in parallel(joblib.delayed(n.fit)(X, Y) for n in nets()))]  # fmt: skip

    assert_allclose(inside(work), work())


@pytest.mark.parametrize("options", [{}, {"pre_dispatch": 1}, {"n_jobs": 2, "pre_dispatch": 2}])
@pytest.mark.parametrize("searches", [False, True])
def test_tasks_that_are_made_by_fits(options, searches):
    def make():
        for net in nets():
            first = scores(net).mean() if searches else net.fit(X, Y).loss_
            yield joblib.delayed(lambda net, first: net.fit(X, Y).loss_ + first)(net, first)

    def work():
        return joblib.Parallel(**options)(make())

    assert_allclose(inside(work), work())


def test_generators_of_results():
    def work():
        tasks = [joblib.delayed(net.fit)(X, Y) for net in nets()]
        return [net.loss_ for net in joblib.Parallel(return_as="generator")(tasks)]

    assert_allclose(inside(work), work())


def fit_and_search(alpha):
    net = MLPClassifier(**BASE, alpha=alpha)
    return net.fit(X, Y).loss_, *scores(net)


class Forks(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            self.scores_ = pool.map_async(fit_and_search, [0.1]).get(SECONDS / 4)
        return self


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_fork_of_a_fit_is_alone():
    (net,) = inside(lambda: joblib.Parallel()([joblib.delayed(Forks().fit)(X, Y)]))
    assert net.scores_ == [fit_and_search(0.1)]


class ListensToBatches(Callback):
    def on_batch_end(self, net, **kwargs):
        pass


@pytest.mark.usefixtures("heard_interrupts")
@pytest.mark.parametrize("options", [{"callbacks": [ListensToBatches()]}, {"solver": "gd"}, {}])
def test_an_interrupt_is_heard_by_a_net_that_trains_alone(options):
    options = {"max_iter": 10**7, "tol": 0.0, "n_iter_no_change": np.inf} | options
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    timer.start()
    split = [(np.arange(100), np.arange(100, 200))]
    with pytest.raises(KeyboardInterrupt), stacked():
        cross_val_score(MLPClassifier(**BASE | options), X, Y, cv=split)
    assert time.perf_counter() - start < 10


def test_a_rate_that_overflows_ends_its_own_fit_only():
    net = MLPClassifier(**BASE, solver="sgd", learning_rate="invscaling")
    search = GridSearchCV(net, {"power_t": [0.5, 1000.0]}, cv=3, refit=False)

    def work():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return search.fit(X, Y).cv_results_["mean_test_score"]

    assert_array_equal(inside(work), work())
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


@pytest.mark.parametrize("layer", [0, 1])
def test_frozen_weights_stay(layer):
    def work():
        trained = [net.set_params(warm_start=True).fit(X, Y) for net in nets()]
        for net in trained:
            net.net_.module_.layers[layer].requires_grad_(False)
        before = [net.coefs_[layer].copy() for net in trained]
        losses = losses_of(trained, X, Y)
        assert_array_equal([net.coefs_[layer] for net in trained], before)
        return losses

    assert_allclose(inside(work), work())


@pytest.mark.parametrize(("name", "value"), [("betas", (0.1, 0.2)), ("momentum", 0.1)])
def test_hyperparameters_that_a_callback_sets(name, value):
    class Sets(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.optimizer_.param_groups[0][name] = value

    solver = "adam" if name == "betas" else "sgd"

    def work():
        return losses_of(nets(callbacks=[Sets()], solver=solver), X, Y)

    assert_allclose(inside(work), work())


class Warns(ClassifierMixin, BaseEstimator):
    """Warns between two nets, some with filters of their own."""

    def __init__(self, own_filters):
        self.own_filters = own_filters

    def fit(self, X, y):
        with warnings.catch_warnings(record=True) if self.own_filters else contextlib.nullcontext() as caught:  # fmt: skip
            if self.own_filters:
                warnings.simplefilter("always")
            MLPClassifier(**BASE).fit(X, y)
            time.sleep(0.02)
            warnings.warn("own", stacklevel=1)
        self.caught_ = None if caught is None else len(caught)
        return self


def test_no_warning_is_lost_to_others_that_were_shown():
    def work():
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            tasks = [joblib.delayed(Warns(own).fit)(X, Y) for own in (False, True) * 3]
            return [model.caught_ for model in joblib.Parallel()(tasks)]

    with warnings.catch_warnings(record=True):
        assert inside(work) == work() == [None, 2] * 3


def test_no_warning_is_lost_to_the_thread_that_takes_results():
    models = {str(alpha): MLPClassifier(**BASE, alpha=alpha) for alpha in (0.1, 0.2, 0.3)}

    def counts():
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            return told()

    def told():
        told = compare(models, X, Y, cv=3, random_state=0).warnings
        return {name: len(warned) for name, warned in told.items()}

    for _ in range(3):
        assert inside(counts) == counts()


class WarnsEveryEpoch(Callback):
    def on_epoch_end(self, net, **kwargs):
        warnings.warn("epoch", stacklevel=1)


@pytest.mark.parametrize(("outer", "inner"), [("ignore", "error"), ("error", "ignore")])
def test_callbacks_warn_by_the_filters_of_their_fit(outer, inner):
    class Filters(MLPClassifier):
        def fit(self, X, y):
            with warnings.catch_warnings():
                warnings.simplefilter(inner)
                return super().fit(X, y)

    def work():
        with warnings.catch_warnings():
            warnings.simplefilter(outer)
            net = Filters(**BASE, callbacks=[WarnsEveryEpoch()])
            return cross_val_score(net, X, Y, cv=3, error_score="raise")

    if inner == "error":
        with pytest.raises(UserWarning, match="epoch"):
            inside(work)
    else:
        assert_array_equal(inside(work), work())


def test_what_is_printed_in_a_fit_goes_where_it_says():
    class Silent(MLPClassifier):
        def fit(self, X, y):
            with contextlib.redirect_stdout(io.StringIO()) as text:
                super().fit(X, y)
            self.n_lines_ = len(text.getvalue().splitlines())
            return self

    before = sys.stdout
    search = inside(
        lambda: cross_validate(Silent(**BASE, verbose=True), X, Y, cv=3, return_estimator=True)
    )
    assert sys.stdout is before
    assert [net.n_lines_ for net in search["estimator"]] == [4, 4, 4]


def test_errors_of_numpy_are_as_outside():
    def divide(x):
        return np.array([1.0]) / x

    def work():
        with np.errstate(divide="raise"):
            joblib.Parallel()([joblib.delayed(divide)(0.0)])

    with pytest.raises(FloatingPointError):
        inside(work)


@pytest.mark.parametrize("n_threads", [3, 5])
def test_no_thread_is_left_to_train_in(n_threads, monkeypatch):
    expected = scores(MLPClassifier(**BASE))
    start, before = threading.Thread.start, threading.active_count()

    def refuse(thread):
        if threading.active_count() >= before + n_threads:
            raise RuntimeError("can't start new thread")
        start(thread)

    def work():
        with stacked():
            return scores(MLPClassifier(**BASE))

    def limited():
        monkeypatch.setattr(threading.Thread, "start", refuse)
        return work()

    assert_array_equal(in_time(limited), expected)


def test_state_of_the_process_compares_as_scikit_learn_builds_filters():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="some")
        one = ProcessState()
        warnings.filters = [*warnings.filters, warnings.filters[-1]]
        assert ProcessState() == one
