"""What `stacked` must survive: failing fits, interrupts, fits inside fits, too few threads."""

import logging
import os
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_nets import CNNClassifier, MLPClassifier, ViTClassifier, stacked, stacked_training
from sklearn_nets._training import admission

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:200] / 16, Y[:200]
BASE = {"hidden_layer_sizes": 6, "max_iter": 4, "batch_size": 32, "random_state": 0}
SECONDS = 60  # far more than any of this takes


def in_time(work, *arguments):
    """What `work` returns, or a failure if it takes too long: a deadlock must not hang the tests."""
    results = []

    def run():
        try:
            results.append((work(*arguments), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), f"not done after {SECONDS} s"
    result, error = results[0]
    if error is not None:
        raise error
    return result


def scores(model, **kwargs):
    return cross_val_score(model, X, Y, cv=3, **kwargs)


def stacked_scores(model, **kwargs):
    with stacked():
        return scores(model, **kwargs)


def stacked_fit(model):
    with stacked():
        return model.fit(X, Y)


class Fails(Callback):
    def __init__(self, name="on_epoch_end", error=None):
        self.name, self.error = name, error or RuntimeError("of this fit alone")

    def on_epoch_end(self, net, **kwargs):
        if self.name == "on_epoch_end" and len(net.history) == 2:
            raise self.error

    def on_epoch_begin(self, net, **kwargs):
        if self.name == "on_epoch_begin" and len(net.history) == 1:
            raise self.error


@pytest.mark.parametrize(
    "failing",
    [
        {"callbacks": [Fails()]},
        {"callbacks": [Fails("on_epoch_begin")]},
        {"learning_rate_init": 1e300},
        {"alpha": -1.0},
    ],
    ids=["callback", "at the beginning", "weights not finite", "parameter"],
)
def test_an_exception_reaches_its_own_fit_only(failing):
    ((name, value),) = failing.items()
    before = getattr(MLPClassifier(**BASE), name)
    search = GridSearchCV(MLPClassifier(**BASE), {name: [before, value]}, cv=3, refit=False)

    def work():
        with stacked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return search.fit(X, Y).cv_results_

    good, bad = in_time(work)["mean_test_score"]
    assert good == scores(MLPClassifier(**BASE)).mean()
    assert np.isnan(bad)
    with pytest.raises((RuntimeError, ValueError), match="alone|non-finite|'alpha' parameter"):
        in_time(stacked_fit, clone(search).set_params(error_score="raise"))


class Interrupts(Callback):
    """Ctrl-C, while nets are trained."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def heard_interrupts():
    """Ctrl-C is heard, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interrupt_ends_all():
    before = threading.active_count()
    model = MLPClassifier(**BASE | {"max_iter": 10**4, "tol": 0, "n_iter_no_change": 10**4})
    grid = {"callbacks": [None, [Interrupts()]], "alpha": [0.1, 0.2, 0.3]}
    with pytest.raises(KeyboardInterrupt), stacked():
        GridSearchCV(model, grid, cv=3).fit(X, Y)
    assert threading.active_count() <= before + 1  # the last one may be on its last line
    assert_array_equal(stacked_scores(MLPClassifier(**BASE)), scores(MLPClassifier(**BASE)))


def test_a_callback_that_stops_by_an_interrupt_is_heard():
    model = MLPClassifier(**BASE, callbacks=[Fails("on_epoch_end", KeyboardInterrupt())])
    with stacked():
        nets = cross_validate(model, X, Y, cv=3, return_estimator=True)["estimator"]
    assert [net.n_iter_ for net in nets] == [2, 2, 2]
    with pytest.raises(KeyboardInterrupt):  # as alone: one that is cut short is no result
        in_time(
            stacked_scores,
            MLPClassifier(**BASE, callbacks=[Fails("on_epoch_begin", KeyboardInterrupt())]),
        )


class FitsInBetween(ClassifierMixin, BaseEstimator):
    """Fits other things before, between and after two nets, with warnings of its own."""

    def fit(self, X, y):
        LogisticRegression(max_iter=5000).fit(X, y)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.first_ = MLPClassifier(**BASE).fit(X, y)
            warnings.warn("own", stacklevel=1)
        self.caught_ = [str(w.message) for w in caught]
        RandomForestClassifier(3, random_state=0).fit(X, y)
        self.scores_ = cross_val_score(MLPClassifier(**BASE), X, y, cv=2)
        self.second_ = MLPClassifier(**BASE).set_params(alpha=1.0).fit(X, y)
        self.classes_ = self.second_.classes_
        return self

    def predict(self, X):
        return self.second_.predict(X)


NESTED = {
    "in between": FitsInBetween(),
    "bagging": BaggingClassifier(MLPClassifier(**BASE), 4, random_state=0),
    "one vs rest": make_pipeline(StandardScaler(), OneVsRestClassifier(MLPClassifier(**BASE))),
    "search": GridSearchCV(MLPClassifier(**BASE), {"alpha": [0.1, 1.0]}, cv=2),
    "searched ensemble": GridSearchCV(
        BaggingClassifier(MLPClassifier(**BASE), random_state=0), {"n_estimators": [2, 3]}, cv=2
    ),
    "no nets": RandomForestClassifier(5, random_state=0),
    "lbfgs": MLPClassifier(**BASE | {"solver": "lbfgs"}),
}


@pytest.mark.parametrize("case", NESTED)
@pytest.mark.parametrize("n_jobs", [None, 2, -1])
def test_nested_fits(case, n_jobs):
    expected = scores(NESTED[case])
    assert_array_equal(in_time(stacked_scores, NESTED[case]), expected)
    if case != "in between":  # warnings of threads that compute at a time get mixed up
        assert_array_equal(in_time(lambda: stacked_scores(NESTED[case], n_jobs=n_jobs)), expected)


def test_warnings_are_those_of_each_fit():
    with stacked():
        models = cross_validate(FitsInBetween(), X, Y, cv=3, return_estimator=True)["estimator"]
    for model in models:
        assert [text[:10] for text in model.caught_] == ["Stochastic", "own"]


@pytest.mark.parametrize("case", ["bagging", "search", "searched ensemble", "in between"])
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_fewer_threads_than_tasks(case, n_threads, monkeypatch):
    expected = scores(NESTED[case])
    with monkeypatch.context() as patch:
        patch.setattr(stacked_training, "MAX_NETS", n_threads)
        assert_array_equal(in_time(stacked_scores, NESTED[case]), expected)
    start, given = threading.Thread.start, []

    def refuse(thread):
        if thread._target is not None and getattr(thread._target, "__name__", "") == "_work":
            if len(given) == n_threads:
                raise RuntimeError("can't start new thread")
            given.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert_array_equal(in_time(stacked_scores, NESTED[case]), expected)


class FitsNets(Callback):
    """Fits a net, and nets in a cross-validation, wherever it is called."""

    def __init__(self, name):
        self.name = name

    def initialize(self):
        self.scores = []
        return self

    def fit(self, name):
        if name == self.name and not self.scores:
            net = MLPClassifier(**BASE).fit(X, Y)
            self.scores.append(net.score(X, Y))
            self.scores.extend(scores(MLPClassifier(**BASE)))

    def on_train_begin(self, net, **kwargs):
        self.fit("on_train_begin")

    def on_epoch_begin(self, net, **kwargs):
        self.fit("on_epoch_begin")

    def on_epoch_end(self, net, **kwargs):
        self.fit("on_epoch_end")

    def on_train_end(self, net, **kwargs):
        self.fit("on_train_end")


@pytest.mark.parametrize(
    "name", ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"]
)
def test_a_callback_may_fit_nets(name):
    expected = [MLPClassifier(**BASE).fit(X, Y).score(X, Y), *scores(MLPClassifier(**BASE))]

    def work():
        with stacked():
            model = MLPClassifier(**BASE, callbacks=[FitsNets(name)])
            return cross_validate(model, X, Y, cv=3, return_estimator=True)["estimator"]

    for net in in_time(work):
        callbacks = dict(net.net_.callbacks_)
        assert_allclose(callbacks["FitsNets"].scores, expected)


def test_threads_of_others_are_left_alone():
    def fit(alpha):
        return MLPClassifier(**BASE, alpha=alpha).fit(X, Y).loss_

    def work():
        with stacked(), ThreadPoolExecutor(3) as pool:
            return list(pool.map(fit, [0.1, 0.2, 0.3]))

    assert in_time(work) == [fit(alpha) for alpha in (0.1, 0.2, 0.3)]


def test_blocks_inside_each_other_are_one():
    class Opens(MLPClassifier):
        def fit(self, X, y):
            with stacked():
                return super().fit(X, y)

    def work():
        with stacked(), stacked():
            return scores(Opens(**BASE))

    assert_array_equal(in_time(work), scores(MLPClassifier(**BASE)))


@pytest.mark.usefixtures("host")
def test_memory_bounds_what_waits(monkeypatch, caplog):
    X_fold = 133 * 64 * 8
    monkeypatch.setattr(admission, "available_memory", lambda device: 4 * 4 * X_fold)
    model = MLPClassifier(**BASE)
    caplog.set_level(logging.INFO, "sklearn_nets.stacked")
    search = GridSearchCV(model, {"alpha": [0.1, 0.2, 0.3, 0.4]}, cv=3)
    in_time(stacked_fit, search)
    together = search.cv_results_["mean_test_score"]
    assert_array_equal(together, search.fit(X, Y).cv_results_["mean_test_score"])
    trained = [record.args[0] for record in caplog.records if "train in" in record.msg]
    assert len(trained) > 1
    assert max(trained) <= 4


def test_the_log_says_what_trains_alone(caplog):
    caplog.set_level(logging.INFO, "sklearn_nets.stacked")

    class Listens(Callback):
        def on_batch_end(self, net, **kwargs):
            pass

    assert_array_equal(
        stacked_scores(MLPClassifier(**BASE, callbacks=[Listens()])), scores(MLPClassifier(**BASE))
    )
    assert [r.getMessage() for r in caplog.records] == [
        "A net trains alone: a callback listens to batches."
    ] * 3


def test_every_way_to_call_joblib():
    tasks = [joblib.delayed(MLPClassifier(**BASE, alpha=a).fit)(X, Y) for a in (0.1, 0.2, 0.3)]
    expected = [joblib.delayed(task[0])(*task[1])[0](*task[1]).loss_ for task in tasks]

    def work(**options):
        with stacked():
            return [net.loss_ for net in joblib.Parallel(**options)(tasks)]

    for options in ({}, {"n_jobs": 1}, {"n_jobs": -1}, {"pre_dispatch": 1}, {"prefer": "threads"}, {"batch_size": 2}, {"backend": "threading", "n_jobs": 2}):  # fmt: skip
        assert_allclose(in_time(lambda options=options: work(**options)), expected)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        work(n_jobs=0)


def test_sparse_rows_train_alone(caplog):
    caplog.set_level(logging.INFO, "sklearn_nets.stacked")
    expected = cross_val_score(MLPClassifier(**BASE), csr_array(X), Y, cv=3)

    def work():
        with stacked():
            return cross_val_score(MLPClassifier(**BASE), csr_array(X), Y, cv=3)

    assert_array_equal(in_time(work), expected)
    assert ["sparse" in record.getMessage() for record in caplog.records] == [True] * 3


@pytest.mark.parametrize(
    "model",
    [
        CNNClassifier((4,), max_iter=2, random_state=0),
        ViTClassifier(embed_dim=8, depth=1, num_heads=2, dropout=0.3, max_iter=2, random_state=0),
    ],
)
def test_image_nets_train_alone_and_say_so(model, caplog):
    images = X.reshape(-1, 8, 8)
    expected = cross_val_score(model, images, Y, cv=2)
    caplog.set_level(logging.INFO, "sklearn_nets.stacked")

    def work():
        with stacked():
            return cross_val_score(model, images, Y, cv=2)

    assert_array_equal(in_time(work), expected)
    assert len(caplog.records) == 2
    assert all("is not stacked" in record.getMessage() for record in caplog.records)
