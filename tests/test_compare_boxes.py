"""Detection in the comparison: numbers, intervals, files, pictures, and what is said of them."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold
from small_boxes import as_frame, assert_same_boxes, squares

from sklearn_nets import PixelDetector, compare
from sklearn_nets.comparison import Comparison
from sklearn_nets.comparison._measure import count_parameters
from sklearn_nets.comparison._problems import choose_problem
from sklearn_nets.metrics import box_scores, mean_average_precision_score
from sklearn_nets.svm import LinearSVC

X, Y = squares(30)
NAMED = [{"boxes": t["boxes"], "labels": np.array(["dark", "light"])[t["labels"]]} for t in Y]
EMPTY = [i for i, t in enumerate(Y) if not len(t["labels"])]


class Oracle(BaseEstimator):
    """Knows the boxes of the images by heart, and tells them with mistakes that are seeded."""

    def __init__(self, lost=0.0, moved=0.0, seed=0, named=False):
        self.lost, self.moved, self.seed, self.named = lost, moved, seed, named

    def fit(self, X, y):
        if not len(y):
            raise ValueError("no image")
        self.n_seen_ = len(y)
        return self

    def predict(self, images):
        answers = []
        for image in images:
            (k,) = (i for i, known in enumerate(X) if np.array_equal(known, image))
            truth = (NAMED if self.named else Y)[k]
            rng = np.random.default_rng([self.seed, k])
            kept = rng.random(len(truth["labels"])) >= self.lost
            boxes = truth["boxes"] + rng.normal(scale=1.0, size=truth["boxes"].shape) * self.moved
            found = {"boxes": boxes[kept], "labels": truth["labels"][kept]}
            answers.append(found | {"scores": rng.uniform(0.2, 1, kept.sum())})
        return answers


class Blind(BaseEstimator):
    """Sees nothing anywhere."""

    def fit(self, X, y):
        return self

    def predict(self, images):
        return [{"boxes": np.empty((0, 4)), "labels": [], "scores": []} for _ in images]


GOOD, POOR = Oracle(lost=0.05, moved=0.5), Oracle(lost=0.4, moved=3.0, seed=1)


@pytest.fixture(scope="module")
def result():
    return compare({"good": GOOD, "poor": POOR, "blind": Blind()}, X, Y, cv=3, random_state=0)


@pytest.fixture(scope="module")
def held_out():
    return compare({"good": GOOD, "poor": POOR}, X[:10], Y[:10], test=(X[10:], Y[10:]))


# -- numbers


def test_numbers_are_those_of_the_metrics(result):
    splits = list(KFold(3, shuffle=True, random_state=0).split(X))
    assert result.metrics[:2] == ["map_50", "map"]
    for fold, (train, test) in enumerate(result.splits):
        np.testing.assert_array_equal(train, splits[fold][0])
        true, found = [Y[i] for i in test], POOR.predict(X[test])
        scores = box_scores(true, found)
        expected = {
            "map_50": mean_average_precision_score(true, found, iou_threshold=0.5),
            "map": mean_average_precision_score(true, found),
            "macro_precision": scores["precision"].mean(),
            "macro_recall": scores["recall"].mean(),
            "macro_f1": scores["f1"].mean(),
        }
        assert 0 < expected["map"] < expected["map_50"] < 1
        for name, value in expected.items():
            assert result.fold_scores("poor", name)[fold] == pytest.approx(value, rel=1e-12), name


def test_a_frame_of_boxes_is_the_same_as_dicts():
    settings = {"cv": 3, "random_state": 0}
    for one, other in (
        ({"y": Y[:20], **settings}, {"y": as_frame(Y[:20]), **settings}),
        (
            {"y": Y[:20], "test": (X[20:], Y[20:])},
            {"y": as_frame(Y[:20]), "test": (X[20:], as_frame(Y[20:]))},
        ),
    ):
        dicts, frame = (compare({"poor": POOR}, X[:20], **given) for given in (one, other))
        assert dicts.metrics == frame.metrics
        np.testing.assert_array_equal(dicts.folds[dicts.metrics], frame.folds[frame.metrics])


def test_classes_of_all_folds_together_with_intervals(result):
    order = np.concatenate([test for _, test in result.splits])
    expected = box_scores([Y[i] for i in order], POOR.predict(X[order]))
    table = result.per_class().loc["poor"]
    assert table.index.tolist() == [0, 1]
    for score in ("precision", "recall", "f1", "average_precision", "support"):
        np.testing.assert_allclose(table[score], expected[score], rtol=1e-12, err_msg=score)
    for score in ("precision", "recall", "f1", "average_precision"):
        assert (table[f"{score}_low"] < table[score]).all()
        assert (table[score] < table[f"{score}_high"]).all()
    blind = result.per_class().loc["blind"]
    assert (blind[["recall", "average_precision"]] == 0).all(axis=None)


def test_intervals_are_those_of_resampled_images(held_out):
    """The bootstrap of mAP, against images drawn again and again by hand."""
    interval = held_out.interval("poor", "map_50")
    assert interval.method == "bootstrap over images"
    found, true, rng = POOR.predict(X[10:]), Y[10:], np.random.default_rng(0)
    drawn = []
    for rows in rng.integers(0, 20, (200, 20)):
        again = [true[i] for i in rows], [found[i] for i in rows]
        drawn.append(mean_average_precision_score(*again, iou_threshold=0.5))
    np.testing.assert_allclose(interval[:2], np.quantile(drawn, [0.025, 0.975]), atol=1e-9)
    low, high, method = held_out.interval("poor", "macro_recall")
    assert method == "bootstrap over images"
    assert low < held_out.fold_scores("poor", "macro_recall")[0] < high


def test_which_is_better(result, held_out):
    assert re.search(r"good beats blind: \+\d", result.verdict())
    pair = held_out.pairs().iloc[0]
    assert (pair["first"], pair["method"]) == ("good", "paired bootstrap over images")
    assert pair["low"] < pair["difference"] < pair["high"]
    assert 0 < pair["p"] < 1
    assert held_out.pairs("map").iloc[0]["difference"] > 0
    by_map = compare({"good": GOOD}, X, Y, cv=2, scoring="map")
    assert by_map.problem.main_metric == "map"


def test_what_is_said(result):
    n_boxes = sum(len(t["labels"]) for t in Y)
    assert f"30 images with {n_boxes} boxes, 2 classes, 3 folds" in str(result)
    assert "mAP@0.5" in str(result)
    assert repr(result) == "Comparison(good, poor, blind: n=30, 3 folds, 2 classes)"


# -- targets of all kinds


def test_object_arrays_strings_processes_and_lists_of_images():
    array = np.empty(len(NAMED), object)
    for i, t in enumerate(NAMED):
        array[i] = {"boxes": t["boxes"].tolist(), "labels": t["labels"].astype(object)}
    models = {"good": Oracle(lost=0.05, moved=0.5, named=True)}
    one = compare(models, X, NAMED, cv=3, random_state=0)
    for y, options in ((array, {}), (NAMED, {"n_jobs": 2}), (NAMED, {"task": "detection"})):
        other = compare(models, X, y, cv=3, random_state=0, **options)
        assert other.problem.classes.tolist() == ["dark", "light"]
        pd.testing.assert_series_equal(other.folds["map"], one.folds["map"])
    best = one.best_estimator_
    assert best.n_seen_ == 30


def test_images_of_several_sizes():
    crops = [image if i % 2 else image[:, :31] for i, image in enumerate(X)]
    inside = [(t["boxes"][:, 3] <= image.shape[1]) for t, image in zip(Y, crops)]
    y = [{n: a[k] for n, a in t.items()} for t, k in zip(Y, inside)]
    crops[3], y[3] = crops[5], y[5]
    splits = [(np.arange(4, 30), np.arange(4)), (np.arange(4), np.arange(4, 30))]
    models = {"pixels": PixelDetector(max_pixels=600, random_state=0)}
    found = compare(models, crops, y, cv=splits)
    assert found.fold_scores("pixels", "map_50")[0] > 0.8
    assert {f.kind for f in found.diagnose()} >= {"duplicates"}
    one_size = compare(models, crops, y, cv=[(np.arange(30), np.arange(0, 30, 2))])
    assert one_size.fold_scores("pixels", "map_50")[0] > 0.8


def test_a_fold_without_boxes_has_no_precision_to_average():
    rest = np.setdiff1d(np.arange(30), EMPTY)
    found = compare({"good": GOOD}, X, Y, cv=[(rest, np.array(EMPTY)), (rest[:9], rest[9:])])
    assert np.isnan(found.fold_scores("good", "map_50")).tolist() == [True, False]
    assert np.isnan(found.interval("good").low)


class Confused(Blind):
    """Finds what nobody has asked for."""

    def predict(self, images):
        return [{"boxes": [[0, 0, 1, 1]], "labels": [7], "scores": [0.9]} for _ in images]


class Silent(Blind):
    def predict(self, images):
        return [{"boxes": [], "labels": []} for _ in images]


@pytest.mark.parametrize(
    ("model", "message"),
    [(Confused(), r"labels that y does not have: \[7\]"), (Silent(), "number 0 lacks scores")],
)
def test_answers_that_do_not_fit_are_a_failure_of_their_estimator(model, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare({"good": GOOD, "bad": model}, X, Y, cv=2)
    assert list(found.predictions) == ["good"]
    assert re.search(message, str(found.failures["bad"]))


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ([{"boxes": [], "labels": []}] * 30, {}, "no box in any image"),
        (Y, {"ignore_index": 0}, "ignore_index is for masks"),
        (np.arange(30), {"task": "detection"}, "a dict of boxes and labels for each image"),
        ([{"boxes": [[0, 0, 1, 1]]}] * 30, {}, "number 0 lacks labels"),
    ],
)
def test_targets_that_do_not_fit_are_refused(y, options, message):
    with pytest.raises(ValueError, match=message):
        compare({"good": GOOD}, X, y, **options)


# -- files and pages


@pytest.mark.parametrize("kind", ["folds", "test set", "strings"])
def test_saved_and_loaded_it_says_the_same(kind, result, held_out, tmp_path):
    named = {"good": Oracle(named=True), "blind": Blind()}
    made = {
        "folds": lambda: result,
        "test set": lambda: held_out,
        "strings": lambda: compare(named, X, NAMED, cv=2, random_state=0),
    }[kind]()
    made.save(tmp_path / "result.zip")
    again = Comparison.load(tmp_path / "result.zip")
    assert str(again) == str(made)
    pd.testing.assert_frame_equal(again.per_class(), made.per_class())
    pd.testing.assert_frame_equal(again.frame("long"), made.frame("long"))
    for name, folds in made.predictions.items():
        for ours, theirs in zip(again.predictions[name], folds):
            assert_same_boxes(ours, theirs)
            assert all(a["labels"].dtype.kind == b["labels"].dtype.kind
                       for a, b in zip(ours, theirs))  # fmt: skip
    assert len(EMPTY) > 0
    assert [len(t["labels"]) for t in again.y] == [len(t["labels"]) for t in made.y]
    assert {f.sentence for f in again.diagnose()} <= {f.sentence for f in made.diagnose()}


def test_a_checkpoint_spares_the_fits(tmp_path, monkeypatch):
    models = {"good": GOOD, "blind": Blind()}
    first = compare(models, X, Y, cv=3, random_state=0, checkpoint=tmp_path)

    def fail(self, X, y):
        raise AssertionError("fitted again")

    monkeypatch.setattr(Oracle, "fit", fail)
    copies = [{name: part.copy() for name, part in t.items()} for t in Y]
    again = compare(models, X.copy(), copies, cv=3, random_state=0, checkpoint=tmp_path)
    pd.testing.assert_frame_equal(again.folds, first.folds)
    assert str(again.per_class()) == str(first.per_class())


def test_the_page_shows_true_and_predicted_boxes(tmp_path):
    pytest.importorskip("jinja2")
    models = {"good": GOOD, "wild": Oracle(moved=8, seed=1), "blind": Blind()}
    result = compare(models, X, Y, cv=3, random_state=0)
    result.to_html(tmp_path / "page.html", images=X)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    test = result.splits[0][1]
    shown = [k for k, i in enumerate(test) if len(Y[i]["labels"])][:4]
    true = sum(len(Y[test[k]]["labels"]) for k in shown)
    answers = [result.predictions[name][0][k]["scores"] for name in ("good", "wild") for k in shown]
    drawn = sum(np.sum(scores >= 0.5) for scores in answers)
    below = sum(np.sum(scores < 0.5) for scores in answers)
    assert below > 0
    assert page.count('<rect class="true"') == 4 * true  # the truth, and beneath each estimator's
    hits = 0
    for name in ("good", "wild"):
        found = [result.predictions[name][0][k] for k in shown]
        scores = box_scores([Y[test[k]] for k in shown], found)
        hits += round(scores["precision"] @ scores["n_predicted"])
    assert 0 < hits < drawn
    assert page.count('<rect class="hit"') == hits
    assert page.count('<rect class="miss"') == drawn - hits
    assert page.count("<image id=") == 4
    assert page.count('<use href="#picture-') == 12
    assert "Precision and recall per class" in page
    assert "if its score is at least 0.5" in page


def test_the_page_takes_images_of_several_sizes_and_refuses_too_few(result, tmp_path):
    pytest.importorskip("jinja2")
    images = [image[:, :31] if i % 2 else image for i, image in enumerate(X)]
    result.to_html(tmp_path / "page.html", images=images)
    assert 'viewBox="0 0 32 31"' in (tmp_path / "page.html").read_text(encoding="utf-8")
    for wrong in (images[:-1], X[:-1]):
        with pytest.raises(ValueError, match="a picture of each of the 30 samples"):
            result.to_html(tmp_path / "page.html", images=wrong)


# -- diagnosis and measures


def test_errors_of_images_and_answers_that_are_all_the_same(result):
    problem = choose_problem([{"boxes": [[0, 0, 4, 4], [9, 9, 12, 12]], "labels": [1, 2]}] * 2)
    found = {"boxes": [[0, 0, 4, 4], [20, 20, 24, 24]], "labels": [1, 2], "scores": [0.9, 0.8]}
    unsure = {"boxes": [[0, 0, 4, 4]], "labels": [1], "scores": [0.1]}
    answers = problem.read_predictions([found, unsure])
    # a hit, a false alarm and a miss; two misses
    np.testing.assert_allclose(problem.errors(problem.y, answers), [2 / 3, 1])
    assert not problem.says_the_same(answers)
    assert problem.says_the_same(problem.read_predictions([found, found]))
    assert any(f.kind == "under-fit" or f.evidence for f in result.diagnose())


def test_diagnosis_of_boxes():
    many = [i for i, t in enumerate(Y) if len(t["labels"])]
    y = [{"boxes": t["boxes"], "labels": np.zeros(len(t["labels"]), int)} for t in Y]
    y[many[0]]["labels"][0] = 1  # one box of a class
    images = X.copy()
    images[EMPTY[0]] = 7  # of one color
    images[many[2]] = images[many[1]]
    found = compare({"blind": Blind(), "again": Blind()}, images, y, cv=3, random_state=0)
    findings = {f.kind: f for f in found.diagnose()}
    assert {"small classes", "imbalance", "blank images"} <= set(findings)
    assert findings["small classes"].evidence["counts"] == {"1": 1}
    assert "of the boxes" in findings["imbalance"].sentence
    n_boxes = sum(len(t["labels"]) for t in y)
    assert findings["imbalance"].evidence["share"]["1"] == pytest.approx(1 / n_boxes)


def test_parameters_are_found_inside_detectors_and_of_transformed_targets():
    svm = PixelDetector(LinearSVC(random_state=0), max_pixels=500, random_state=0).fit(X, Y)
    assert count_parameters(svm) == count_parameters(svm.pixels_.estimator_) > 0
    line = TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=np.exp)
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert count_parameters(line.fit(rows, np.exp(rows[:, 0]))) == 4
