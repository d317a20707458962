"""The engine: equal to scikit-learn on labels, to the definitions on masks, clear on bad input."""

import io
import os
import pickle
import signal
import sys
import time
import warnings
from typing import ClassVar
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.callback import CallbackSupportMixin, FitCallback
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    jaccard_score,
    precision_recall_fscore_support,
)
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_nets.comparison import compare
from sklearn_nets.metrics import class_scores

X, Y = load_iris(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=0.8, size=X.shape)  # so that mistakes are made
NAMES = np.array(["setosa", "versicolor", "virginica"])
BAYES, KNN, DUMMY = GaussianNB(), KNeighborsClassifier(), DummyClassifier()


class PixelTree(BaseEstimator):
    """A segmenter: one tree over the values of single pixels."""

    def __init__(self, max_depth=3):
        self.max_depth = max_depth

    def fit(self, X, y):
        self.estimator_ = DecisionTreeClassifier(max_depth=self.max_depth, random_state=0)
        self.estimator_.fit(X.reshape(-1, 1), y.ravel())
        return self

    def predict(self, X):
        return self.estimator_.predict(X.reshape(-1, 1)).reshape(X.shape)


def scenes(n=12, height=6, width=7):
    rng = np.random.default_rng(1)
    masks = rng.integers(0, 4, (n, height, width))
    return masks + rng.normal(scale=0.5, size=masks.shape), masks


class Epochs(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """A classifier that counts epochs through scikit-learn's callbacks, as a net does."""

    seen: ClassVar[list] = []

    def __init__(self, max_iter=4, scale=1.0):
        self.max_iter = max_iter
        self.scale = scale

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        for _ in range(self.max_iter):
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self)
            epoch.call_on_fit_task_end(estimator=self)
        context.call_on_fit_task_end(estimator=self)
        del self._callback_fit_ctx, self._skl_callbacks_to_teardown
        Epochs.seen.append(self)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class Recorder:
    """A callback that the user has set."""

    def __init__(self):
        self.ended = 0

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...
    def on_fit_task_end(self, estimator, context):
        self.ended += 1


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Let rich take standard error for a terminal; return a function that reads it."""
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    Epochs.seen.clear()
    return lambda: capsys.readouterr().err


# -- the same numbers as scikit-learn


@pytest.mark.parametrize("y", [Y, NAMES[Y], pd.Series(NAMES[Y])], ids=["int", "str", "series"])
def test_labels_equal_scikit_learn(y):
    cv = StratifiedKFold(4, shuffle=True, random_state=3)
    result = compare({"Bayes": BAYES, "kNN": KNN}, X, y, cv=4, random_state=3)
    scoring = ["accuracy", "precision_macro", "recall_macro"]
    for name, estimator in {"Bayes": BAYES, "kNN": KNN}.items():
        expected = cross_validate(estimator, X, y, cv=cv, scoring=scoring)
        rows = result.folds[result.folds["estimator"] == name]
        for ours, theirs in zip(["accuracy", "macro_precision", "macro_recall"], scoring):
            np.testing.assert_allclose(rows[ours], expected[f"test_{theirs}"], rtol=1e-12)
        row, scores = result.frame().loc[name], expected["test_accuracy"]
        assert row["mean_accuracy"] == pytest.approx(scores.mean(), rel=1e-12)
        assert row["std_accuracy"] == pytest.approx(scores.std(), rel=1e-12)


def test_per_class_equals_scikit_learn_and_the_confusion_matrices():
    result = compare({"Bayes": BAYES, "dummy": DUMMY}, X, NAMES[Y], cv=5, random_state=0)
    order = np.concatenate([test for _, test in result.splits])
    for name, predictions in result.predictions.items():
        true, predicted = NAMES[Y][order], np.concatenate(predictions)
        matrix = confusion_matrix(true, predicted, labels=NAMES)
        np.testing.assert_array_equal(result.confusion_matrices[name].sum(axis=0), matrix)
        p, r, _, support = precision_recall_fscore_support(true, predicted, zero_division=0)
        table = result.per_class().loc[name]
        np.testing.assert_allclose(table["precision"], p)
        np.testing.assert_allclose(table["recall"], r)
        np.testing.assert_array_equal(table["support"], support)
        assert list(table.index) == NAMES.tolist()
        assert "iou" not in table


@pytest.mark.parametrize("ignored", [None, 2])
def test_masks_equal_scikit_learn_on_all_pixels_of_a_fold(ignored):
    X, masks = scenes()
    result = compare({"tree": PixelTree()}, X, masks, cv=3, random_state=0)
    if ignored is not None:
        # An estimator that was told, too, which pixels to leave out.
        inner, tree = result.predictions["tree"], Constant(result.predictions["tree"])
        for fold in inner:
            fold[fold == ignored] = 0
        result = compare({"tree": tree}, X, masks, cv=result.splits, ignore_index=ignored)
    for k, (_, test) in enumerate(result.splits):
        true, predicted = masks[test].ravel(), result.predictions["tree"][k].ravel()
        true, predicted = true[masks[test].ravel() != ignored], predicted[true != ignored]
        row = result.folds.iloc[k]
        p, r, _, _ = precision_recall_fscore_support(true, predicted, average="macro")
        assert row["pixel_accuracy"] == pytest.approx(accuracy_score(true, predicted), rel=1e-12)
        assert row["mean_iou"] == pytest.approx(jaccard_score(true, predicted, average="macro"))
        assert row["macro_precision"] == pytest.approx(p)
        assert row["macro_recall"] == pytest.approx(r)
    assert ignored is None or ignored not in result.classes
    iou = result.per_class().loc["tree", "iou"]
    order = np.concatenate([test for _, test in result.splits])
    true = masks[order].ravel()
    predicted = np.concatenate(result.predictions["tree"]).ravel()[true != ignored]
    np.testing.assert_allclose(iou, jaccard_score(true[true != ignored], predicted, average=None))


class Constant(BaseEstimator):
    """Predicts what it was given, fold after fold."""

    def __init__(self, folds):
        self.folds = folds

    def __sklearn_clone__(self):
        return self

    def fit(self, X, y):
        self.fold_ = getattr(self, "fold_", -1) + 1
        return self

    def predict(self, X):
        return self.folds[self.fold_]


def test_scores_of_a_class_by_their_definitions():
    confusion = np.array([[5, 2, 0], [1, 7, 0], [3, 0, 0]])
    scores = class_scores(confusion)
    np.testing.assert_allclose(scores["precision"], [5 / (5 + 1 + 3), 7 / (7 + 2), 0])  # TP/(TP+FP)
    np.testing.assert_allclose(scores["recall"], [5 / (5 + 2), 7 / (7 + 1), 0])  # TP/(TP+FN)
    np.testing.assert_allclose(scores["iou"], [5 / 11, 7 / 10, 0])  # TP/(TP+FP+FN)


def test_a_class_absent_from_a_fold_does_not_count_there():
    y = np.repeat([0, 1, 2], 10)
    splits = [(np.arange(30), np.arange(20)), (np.arange(30), np.arange(30))]
    result = compare({"exact": KNeighborsClassifier(1)}, y[:, None] * 1.0, y, cv=splits)
    assert result.folds["macro_recall"].tolist() == [1, 1]
    assert result.folds["macro_precision"].tolist() == [1, 1]


# -- folds


def test_all_estimators_see_the_same_shuffled_folds_and_random_state_reproduces_them():
    runs = [compare({"a": BAYES, "b": KNN}, X, Y, random_state=s) for s in (0, 0, 1)]
    for (train, test), (train_again, test_again) in zip(runs[0].splits, runs[1].splits):
        np.testing.assert_array_equal(train, train_again)
        np.testing.assert_array_equal(test, test_again)
    assert not np.array_equal(runs[0].splits[0][1], runs[2].splits[0][1])
    assert {len(np.unique(Y[test])) for _, test in runs[0].splits} == {3}  # stratified
    np.testing.assert_array_equal(
        np.sort(np.concatenate([test for _, test in runs[0].splits])), np.arange(len(Y))
    )
    assert runs[0].frame().filter(like="acc").equals(runs[1].frame().filter(like="acc"))


@pytest.mark.parametrize(
    ("cv", "n_folds"),
    [
        (2, 2),
        (np.int64(3), 3),
        (KFold(4, shuffle=True, random_state=0), 4),
        (RepeatedStratifiedKFold(n_splits=2, n_repeats=3, random_state=0), 6),
        (iter([(np.arange(0, 150, 2), np.arange(1, 150, 2))]), 1),
        ([(np.arange(150) < 99, list(range(99, 150)))], 1),
        (None, 5),
    ],
    ids=["int", "numpy int", "splitter", "repeated", "iterable", "mask and list", "None"],
)
def test_cv_is_an_int_a_splitter_or_an_iterable(cv, n_folds):
    result = compare({"Bayes": BAYES}, X, Y, cv=cv)
    assert len(result.folds) == len(result.splits) == len(result.predictions["Bayes"]) == n_folds
    assert result.confusion_matrices["Bayes"].shape == (n_folds, 3, 3)
    assert (result.folds["n_train"] + result.folds["n_test"] == len(Y)).all()


# -- times, sizes, devices, inputs


def test_estimators_are_cloned_and_measured():
    net = make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=200, tol=1.0))
    estimators = {
        "MLP": net,
        "SVM": make_pipeline(StandardScaler(), LinearSVC()),
        "no intercept": LogisticRegression(fit_intercept=False),
        "search": GridSearchCV(LinearSVC(), {"C": [0.1, 1.0]}, cv=2),
        "kNN": KNN,
        "own": Sized(),
    }
    result = compare(estimators, X, Y, cv=2)
    assert not hasattr(net[-1], "coefs_")
    sizes = result.frame()["n_parameters"]
    assert sizes.drop("kNN").to_dict() == {
        "MLP": 4 * 5 + 5 + 5 * 3 + 3, "SVM": 15, "no intercept": 12, "search": 15, "own": 42,
    }  # fmt: skip
    assert sizes.isna()["kNN"]
    assert result.frame()["device"].to_dict() == {
        **dict.fromkeys(sizes.index, "cpu"),
        "own": "toy:0",
    }
    assert (result.folds[["fit_time", "predict_time"]] > 0).all(axis=None)
    assert (result.folds["n_train"] + result.folds["n_test"] == len(Y)).all()


class Sized(DummyClassifier):
    n_parameters_ = 42
    device_ = "toy:0"


def test_frames_keep_their_names_and_lists_and_tensors_pass():
    torch = pytest.importorskip("torch")
    frame = pd.DataFrame(X, columns=list("abcd"))
    seen = compare({"Bayes": BAYES}, frame, Y, random_state=0)
    for X_like, y_like in [(X.tolist(), Y.tolist()), (torch.tensor(X), torch.tensor(Y))]:
        same = compare({"Bayes": BAYES}, X_like, y_like, random_state=0)
        np.testing.assert_array_equal(
            same.confusion_matrices["Bayes"], seen.confusion_matrices["Bayes"]
        )


def test_the_result_is_picklable_and_says_what_it_is():
    result = pickle.loads(pickle.dumps(compare({"Bayes": BAYES}, X, Y, cv=3)))
    assert repr(result) == "Comparison(Bayes: n=150, 3 folds, 3 classes)"
    assert "StratifiedKFold" in result.provenance["folds"]


# -- errors


@pytest.mark.parametrize(
    ("estimators", "error", "message"),
    [
        ({}, TypeError, "must be a dict"),
        ([BAYES], TypeError, "must be a dict"),
        ({None: BAYES}, TypeError, "name must not be None"),
        ({np.nan: BAYES}, TypeError, "name must not be nan"),
        ({"a": GaussianNB}, TypeError, r"estimators\['a'\] must be an instance"),
        ({"a": StandardScaler()}, TypeError, "fit and predict"),
    ],
)
def test_estimators_must_be_a_dict_of_estimators(estimators, error, message):
    with pytest.raises(error, match=message):
        compare(estimators, X, Y)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (X[:, 0], {}, "y must hold labels of shape"),
        (X[:, 0], {"task": "segmentation"}, r"masks of shape \(n_samples, height, width\)"),
        (Y, {"task": "ranking"}, "task must be 'auto' or one of"),
        (np.c_[Y, Y], {}, r"got shape \(150, 2\)"),
        (np.zeros((150, 2, 2)), {}, "float64"),
        (Y[:-1], {}, "inconsistent numbers of samples"),
        (Y, {"ignore_index": 255}, "ignore_index is for masks"),
        (Y, {"cv": 1}, "k-fold cross-validation requires at least one"),
        (Y, {"cv": 51}, "n_splits=51 cannot be greater"),
        (Y, {"cv": "five"}, "cv"),
        (Y, {"cv": []}, "cv gives no fold"),
    ],
)
def test_bad_targets_and_folds_are_refused(y, options, message):
    with pytest.raises(ValueError, match=message):
        compare({"Bayes": BAYES}, X, y, **options)


class Broken(DummyClassifier):
    def __init__(self, method="fit", fold=1):
        super().__init__()
        self.method = method
        self.fold = fold

    def _check(self, method, X):
        if method == self.method and self.fold_ == self.fold:
            raise ArithmeticError("the loss is NaN")

    def fit(self, X, y):
        Broken.fold_ += 1
        self._check("fit", X)
        return super().fit(X, y)

    def predict(self, X):
        self._check("predict", X)
        return super().predict(X)


class HasCoefficients(DummyClassifier):
    """Of which nothing is known but an attribute that others have, too."""

    def __init__(self, coef=None):
        super().__init__()
        self.coef = coef

    @property
    def coef_(self):
        if self.coef is None:
            raise ArithmeticError("no coefficients")
        return self.coef


def test_what_is_measured_of_an_unusual_estimator_does_not_fail_it():
    frame = compare({"odd": HasCoefficients(np.ones((2, 3)))}, X, Y, cv=2).frame()
    assert frame["n_parameters"].tolist() == [6]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_failure_while_measuring_is_named_like_any_other(n_jobs):
    result = compare({"odd": HasCoefficients(), "dummy": DUMMY}, X, Y, cv=2, n_jobs=n_jobs)
    (remark,) = result.remarks()
    assert remark.startswith("odd failed: ArithmeticError: no coefficients")
    assert remark.endswith("Estimator 'odd', fold 1 of 2.")


@pytest.mark.parametrize("method", ["fit", "predict"])
def test_a_failure_names_the_estimator_and_the_fold(method):
    Broken.fold_ = -1
    with pytest.raises(ArithmeticError, match="the loss is NaN") as caught:
        compare({"broken": Broken(method)}, X, Y, cv=3)
    assert caught.value.__notes__ == ["Estimator 'broken', fold 2 of 3."]


def test_a_failure_does_not_lose_the_others(tmp_path):
    Broken.fold_ = -1
    models = {"first": DUMMY, "broken": Broken("fit"), "last": BAYES}
    result = compare(models, X, Y, cv=3, random_state=0)
    assert list(result.frame().index) == list(result.predictions) == ["first", "last"]
    assert isinstance(result.failures["broken"], ArithmeticError)
    result.to_html(tmp_path / "page.html")
    for shown in (str(result), result._repr_html_(), (tmp_path / "page.html").read_text()):
        assert "broken failed: ArithmeticError: the loss is NaN" in shown
        assert "fold 2 of 3" in shown


class Interrupted(DummyClassifier):
    """Is interrupted in its second fit, which it ends early with a warning, as perceptrons do."""

    fits_ = 0

    def fit(self, X, y):
        Interrupted.fits_ += 1
        if Interrupted.fits_ == 2:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
            except KeyboardInterrupt:
                warnings.warn("Training interrupted by user.", stacklevel=2)
        return super().fit(X, y)


@pytest.mark.filterwarnings("ignore:Training interrupted")
def test_an_interrupt_stops_and_keeps_what_is_complete():
    handler = signal.getsignal(signal.SIGINT)
    Interrupted.fits_ = 0
    result = compare({"first": BAYES, "cut": Interrupted(), "late": DUMMY}, X, Y, cv=3)
    assert list(result.frame().index) == ["first"]
    assert result.left_out == ["cut", "late"]
    assert "Interrupted; not judged on every fold: cut, late." in str(result)
    assert Interrupted.fits_ == 2
    Interrupted.fits_ = 0
    with pytest.raises(KeyboardInterrupt):
        compare({"cut": Interrupted(), "late": DUMMY}, X, Y, cv=3)
    assert signal.getsignal(signal.SIGINT) is handler


class Warns(DummyClassifier):
    def fit(self, X, y):
        warnings.warn("it has not converged", ConvergenceWarning, stacklevel=2)
        return super().fit(X, y)


@pytest.mark.filterwarnings("default")
def test_a_warning_names_the_estimator_and_its_folds_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compare({"net": Warns(), "fine": DUMMY}, X, Y, cv=3)
    messages = [str(w.message) for w in caught]
    assert messages == ["net, fold each of 3: it has not converged"]
    assert caught[0].category is ConvergenceWarning


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((150, 4, 4), bool),
        np.full((150, 4, 4), -5, np.int8),
        np.zeros((150, 4, 4, 4), np.uint8),
        np.zeros((150, 3, 5, 4)),
        np.zeros((150, 4, 4, 1)),
    ],
)
def test_pictures_of_any_kind(images, tmp_path):
    compare({"dummy": DUMMY}, X, Y, cv=2).to_html(tmp_path / "page.html", images=images)
    assert "data:image/png" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("shape", [(149, 4, 4), (150, 4), (150, 5, 4, 7)])
def test_too_few_or_odd_pictures(shape, tmp_path):
    result = compare({"dummy": DUMMY}, X, Y, cv=2)
    with pytest.raises(ValueError, match="a picture of each of the 150 samples"):
        result.to_html(tmp_path / "page.html", images=np.zeros(shape))


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    page, result = tmp_path / "page.html", compare({"dummy": DUMMY}, X, Y, cv=2)
    result.to_html(page)
    old = page.read_text()
    with monkeypatch.context() as patched, pytest.raises(OSError, match="disk is full"):
        patched.setattr("os.replace", mock.Mock(side_effect=OSError("disk is full")))
        result.to_html(page, title="new")
    assert page.read_text() == old
    assert list(tmp_path.iterdir()) == [page]
    result.to_html(page, title="new")
    assert "<h1>new</h1>" in page.read_text()


@pytest.mark.parametrize("method", ["to_html", "save"])
def test_files_are_written_behind_links_and_never_replace_a_pipe(tmp_path, method):
    write = getattr(compare({"dummy": DUMMY}, X, Y, cv=2), method)
    real, link, dangling, pipe, loop = (
        tmp_path / name for name in ("real", "link", "dangling", "pipe", "loop")
    )
    real.write_text("old")
    link.symlink_to(real)
    dangling.symlink_to(tmp_path / "new")
    write(link)
    write(dangling)
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert real.stat().st_size > len("old")
    assert (tmp_path / "new").stat().st_size > len("old")
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path in (pipe, loop):
        with pytest.raises(OSError, match="is no regular file, expected a file to write"):
            write(path)
    assert pipe.is_fifo()
    assert loop.is_symlink()
    with pytest.raises(OSError, match="is a folder, expected a file to write"):
        write(tmp_path)
    with pytest.raises(FileNotFoundError, match="no' does not exist. Make it first"):
        write(tmp_path / "no" / "file")


def test_masks_of_several_sizes_are_refused():
    y = [np.eye(4, dtype=int), np.ones((4, 5), int)] * 3
    with pytest.raises(ValueError, match=r"compare takes masks of one shape, got 6 of 2 shapes"):
        compare({"dummy": DummyClassifier()}, np.zeros((6, 4, 4)), y)


def test_predictions_that_are_no_labels_are_refused():
    with pytest.raises(ValueError, match=r"the classes are \[0, 1, 2\]") as caught:
        compare({"regressor": LinearRegression()}, X, Y, task="classification")
    assert "'regressor', fold 1 of 5" in caught.value.__notes__[0]
    images, masks = scenes()
    with pytest.raises(ValueError, match=r"expected shape \(6, 6, 7\), got \(6, 5, 7\)"):
        compare({"small": Constant([masks[:6, 1:]])}, images, masks, cv=2)
    masks[:] = 3
    with pytest.raises(ValueError, match="nothing to judge"):
        compare({"none": Constant([masks[:6]])}, images, masks, cv=2, ignore_index=3)


# -- progress


def test_progress_shows_estimator_fold_and_epoch(terminal):
    net = make_pipeline(StandardScaler(), PCA(2), Epochs(max_iter=4))
    compare({"the net": net, "Bayes": BAYES}, X, Y, cv=3)
    screen = terminal()
    assert "the net" in screen
    assert "Bayes" in screen
    assert "fold 3 of 3, epoch 4 of 4" in screen


def test_epochs_are_told_one_by_one():
    from sklearn_nets.comparison import _progress

    told = []
    model = make_pipeline(StandardScaler(), Epochs(max_iter=3))
    with _progress.epochs_shown(model, lambda *news: told.append(news), "net", 1):
        model.fit(X, Y)
    assert told == [
        ("net", 1),
        ("net", 1, 1 / 3, "epoch 1 of 3"),
        ("net", 1, 2 / 3, "epoch 2 of 3"),
        ("net", 1, 3 / 3, "epoch 3 of 3"),
        ("net", 1, 1.0, None),
    ]


def test_fitted_estimators_keep_no_callback_but_their_own(terminal):
    own = Recorder()
    model = Epochs(max_iter=4).set_callbacks(own)
    compare({"own": model, "bare": Epochs(max_iter=4)}, X, Y, cv=2)
    assert own.ended == 2 * 5
    assert len(Epochs.seen) == 4
    assert [e._skl_callbacks for e in Epochs.seen[:2]] == [[own], [own]]
    for fitted in Epochs.seen[2:]:
        assert vars(fitted) == vars(pickle.loads(pickle.dumps(fitted))) | {
            "classes_": fitted.classes_
        }
        assert "_skl_callbacks" not in vars(fitted)


def test_a_search_in_worker_processes_takes_the_callback_along(terminal):
    search = GridSearchCV(Epochs(), {"scale": [1.0, 2.0]}, cv=2, n_jobs=2)
    compare({"search": search}, X, Y, cv=2)
    assert "refit-with-best-params 2 of 2" in terminal()


def test_no_progress_when_unwanted(terminal):
    compare({"net": Epochs()}, X, Y, cv=2, progress=False)
    assert terminal() == ""


def test_no_progress_without_a_terminal(monkeypatch, capsys):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    compare({"net": Epochs()}, X, Y, cv=2)
    assert capsys.readouterr() == ("", "")


def test_the_callback_follows_scikit_learns_protocol():
    from sklearn_nets.comparison._progress import EpochCallback

    assert isinstance(EpochCallback(print), FitCallback)
    assert clone(Epochs().set_callbacks(EpochCallback(print)))._skl_callbacks


# -- pages and figures


def test_a_figure_shows_every_fold():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    result = compare({"Bayes": BAYES, "kNN": KNN}, X, Y, cv=4, random_state=0)
    ax = result.plot("macro_recall")
    folds = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 4]
    np.testing.assert_allclose(np.ravel(folds), result.folds["macro_recall"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Bayes", "kNN"]
    assert result.plot(ax=ax) is ax
    with pytest.raises(ValueError, match="metric must be one of"):
        result.plot("iou")


def test_a_missing_library_is_named_with_its_cure(monkeypatch):
    result = compare({"Bayes": BAYES}, X, Y, cv=2)
    for name in ("jinja2", "matplotlib", "matplotlib.pyplot", "rich"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-nets\[report\]'"):
        result.plot()
    with pytest.raises(ImportError, match=r"pip install 'sklearn-nets\[report\]'"):
        result.to_html("page.html")
    assert len(compare({"Bayes": BAYES}, X, Y, cv=2).folds) == 2  # rich is not needed


def test_the_page_holds_the_tables_and_needs_nothing_else(tmp_path):
    result = compare({"<kNN>": KNN, "Bayes": BAYES}, X, NAMES[Y], random_state=0)
    result.to_html(tmp_path / "page.html", title="Iris & <co>", images=np.zeros((150, 8, 8)))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for row in result.frame().itertuples():
        assert f"{row.mean_accuracy:.3f}" in page
        assert f"± {row.std_macro_recall:.3f}" in page
    for row in result.per_class().itertuples():
        assert f">{row.precision:.3f}<" in page
        assert f">{row.recall:.3f}<" in page
    for matrices in result.confusion_matrices.values():
        assert all(f">{count}<" in page for count in matrices.sum(axis=0).ravel() if count)
    assert all(fact in page for fact in result.provenance.values())
    assert "&lt;kNN&gt;" in page
    assert "<kNN>" not in page
    assert "Iris &amp; &lt;co&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<script") == 1  # it sorts the tables, and reads nothing
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page


def test_pictures_in_the_page_are_the_images(tmp_path):
    import base64
    import re

    plt = pytest.importorskip("matplotlib.pyplot")
    images, masks = scenes()
    photos = np.random.default_rng(0).integers(0, 256, (*images.shape, 3), dtype=np.uint8)
    result = compare({"tree": PixelTree()}, images, masks, cv=3, random_state=0)
    result.to_html(tmp_path / "page.html", images=photos)
    found = re.findall(r"base64,([^\"]+)", (tmp_path / "page.html").read_text(encoding="utf-8"))
    first = plt.imread(io.BytesIO(base64.b64decode(found[0])), format="png")
    np.testing.assert_array_equal((255 * first).round(), photos[result.splits[0][1][0]])
    assert len(found) == 4 * (1 + 1 + 1)  # image, truth and one estimator, four times
