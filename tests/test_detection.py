"""Detection: boxes in, boxes out, searched and weighed like any estimator."""

import copy
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_validate,
    train_test_split,
)
from skorch.callbacks import EarlyStopping
from small_boxes import assert_same_boxes, detector, squares

from sklearn_nets import (
    DetectionDisplay,
    DetectionNet,
    PixelDetector,
    RandomFlipShift,
    RandomZoom,
)
from sklearn_nets._base.boxes import (
    Detection,
    Limits,
    box_classes,
    clip_to_image,
    object_crops,
    typical_side,
    validate_boxes,
)
from sklearn_nets.metrics import get_scorer, mean_average_precision_score
from sklearn_nets.modules.torchvision_detectors import TorchvisionDetector

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NO_BOXES = {"boxes": np.empty((0, 4)), "labels": np.empty(0, int)}


@pytest.fixture(scope="module")
def data():
    return squares(40)


@pytest.fixture(scope="module")
def fitted(data):
    return detector(max_iter=25).fit(*data)


def test_finds_new_squares(fitted):
    X, y = squares(30, seed=1)
    found = fitted.predict(X)
    assert fitted.score(X, y) == mean_average_precision_score(y, found, iou_threshold=0.5) > 0.9
    for image in found:
        assert len(image["boxes"]) == len(image["labels"]) == len(image["scores"])
        assert (image["boxes"] >= 0).all()
        assert (image["boxes"] <= 32).all()
        assert (image["scores"] >= 0.05).all()
        assert (np.diff(image["scores"]) <= 0).all()
        assert set(image["labels"]) <= set(fitted.classes_)


def test_boxes_around_a_center_outside_of_the_image_are_left_out():
    at = np.array([[-8, 4], [4, -8], [18, 4], [4, 18], [-2, -2], [4, 4]])
    boxes = np.hstack([at, at + 6]).astype(float)
    found = clip_to_image({"boxes": boxes, "labels": np.arange(6), "scores": np.ones(6)}, (20, 20))
    assert_array_equal(found["labels"], [4, 5])
    assert_array_equal(found["boxes"], [[0, 0, 4, 4], [4, 4, 10, 10]])


def test_thresholds_leave_out_boxes(fitted, data):
    X, _ = data
    every = clone(fitted).set_params(score_threshold=0.0, max_iter=2).fit(*data)
    few, all_boxes = clone(every).set_params(score_threshold=0.2).fit(*data), every.predict(X)
    for some, full in zip(few.predict(X), all_boxes):
        n = (full["scores"] >= 0.2).sum()
        assert len(some["scores"]) == n
        assert_array_equal(some["boxes"], full["boxes"][:n])
    limited = clone(every).set_params(detections_per_img=2).fit(*data)
    assert max(len(image["scores"]) for image in limited.predict(X)) <= 2


@pytest.mark.usefixtures("host")
def test_labels_as_words_and_boxes_as_a_frame_or_tensors(data):
    X, y = data
    numbers = detector().fit(X, y).predict(X)
    names = np.array(["dark", "light"])
    words = [{"boxes": t["boxes"], "labels": names[t["labels"]]} for t in y]
    rows = [
        {"image": i, **dict(zip(("x0", "y0", "x1", "y1"), box)), "label": label}
        for i, t in enumerate(words)
        for box, label in zip(t["boxes"], t["labels"])
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)  # in any order
    for target in (words, frame):
        model = detector().fit(X, target)
        found = model.predict(X)
        assert model.classes_.tolist() == ["dark", "light"]
        expected = [{**image, "labels": names[image["labels"]]} for image in numbers]
        if target is words:
            assert_same_boxes(found, expected)
        else:
            assert_same_boxes(found, expected, rtol=1e-3, atol=1e-3)
        assert model.score(X, target) == pytest.approx(detector().fit(X, y).score(X, y), abs=1e-6)
    tensors = [{name: torch.from_numpy(a) for name, a in t.items()} for t in y]
    X_t = torch.from_numpy(X)
    found = detector().fit(X_t, tensors).predict(X_t)
    assert all(isinstance(a, torch.Tensor) for image in found for a in image.values())
    assert found[0]["labels"].dtype == torch.int64
    assert_same_boxes(found, numbers)


@pytest.mark.parametrize("augment", [None, RandomFlipShift(0.5)], ids=["still", "moved"])
def test_images_of_any_type(data, augment):
    X, y = data
    expected = detector(augment=augment).fit(X, y).predict(X)
    for dtype in ("float16", "float32", "float64", "int64"):
        found = detector(augment=augment).fit(X.astype(dtype), y).predict(X.astype(dtype))
        assert_same_boxes(found, expected, rtol=1e-3, atol=1e-3)


def test_arrays_of_another_library_with_channels_last(data):
    strict = pytest.importorskip("array_api_strict")
    X, y = data[0][:8].transpose(0, 2, 3, 1), data[1][:8]
    model = detector(max_iter=1).fit(strict.asarray(X), y)
    found = [{k: np.from_dlpack(v) for k, v in f.items()} for f in model.predict(strict.asarray(X))]
    assert_same_boxes(found, model.predict(X))
    display = DetectionDisplay.from_predictions(strict.asarray(X), y, found)
    assert_array_equal(display.images, X)


def test_images_of_several_sizes(data):
    X, y = data
    crops = [image[:, : 32 - i % 3, : 32 - i % 5] for i, image in enumerate(X)]
    target = []
    for image, t in zip(crops, y):
        inside = (t["boxes"][:, 3] <= image.shape[1]) & (t["boxes"][:, 2] <= image.shape[2])
        target.append({name: a[inside] for name, a in t.items()})
    model = detector(max_iter=20).fit(crops, target)
    found = model.predict(crops)
    for image, answer in zip(crops, found):
        height, width = image.shape[1:]
        assert (answer["boxes"] <= [width, height, width, height]).all()
    assert model.score(crops, target) > 0.5
    alone = [model.predict(image[None])[0] for image in crops]
    assert_same_boxes(found, alone, rtol=1e-4, atol=1e-3)
    last = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in crops]
    assert_same_boxes(model.predict(last), found)
    with pytest.raises(ValueError, match="same number of channels"):
        model.fit([X[0], X[1, :1]], y[:2])


def test_goes_through_scikit_learn(data):
    X, y = data
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = detector().fit(X_train, y_train)
    assert len(model.predict(X_test)) == len(y_test)
    scoring = {name: get_scorer(name) for name in ("map", "map_50")}
    out = cross_validate(
        detector(), X, y, cv=KFold(2), scoring=scoring, error_score="raise", return_estimator=True
    )
    half = detector().fit(X[20:], y[20:])
    assert out["test_map_50"][0] == half.score(X[:20], y[:20])
    weight = np.arange(20) % 3
    for name, scorer in scoring.items():
        thresholds = {"iou_threshold": 0.5} if name == "map_50" else {}
        assert scorer(half, X[:20], y[:20], sample_weight=weight) == mean_average_precision_score(
            y[:20], half.predict(X[:20]), sample_weight=weight, **thresholds
        )
    assert out["test_map"][0] == mean_average_precision_score(y[:20], half.predict(X[:20]))
    grid = {"channels": [(8, 8), (8, 16)], "learning_rate_init": [1e-3, 1e-2]}
    search = GridSearchCV(detector(max_iter=1), grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.predict(X)) == 40
    found = cross_val_predict(detector(), X, y, cv=KFold(2))
    for image, by_hand in zip(found[:20], half.predict(X[:20]), strict=True):
        assert image.keys() == by_hand.keys()
        for name, values in by_hand.items():
            np.testing.assert_array_equal(image[name], values)


@pytest.mark.usefixtures("host")
def test_weights_are_repetition(data):
    X, y = data
    weight = np.random.RandomState(0).randint(0, 3, len(X)).astype(float)
    settings = {"precision": "float64", "batch_size": 100, "max_iter": 2, "score_threshold": 0.0}
    rows = np.repeat(np.arange(len(X)), weight.astype(int))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got `batch_size`")
        once = detector(**settings).fit(X, y, weight)
        repeated = detector(**settings).fit(X[rows], [y[i] for i in rows])
        without = detector(**settings).fit(X, y)
    parameters = [list(m.net_.module_.parameters()) for m in (once, repeated, without)]
    for a, b in zip(*parameters[:2]):
        assert_allclose(a.detach(), b.detach(), rtol=1e-5, atol=1e-7)
    assert not np.allclose(*(p[0].detach() for p in parameters[1:]))
    assert once.loss_ == pytest.approx(repeated.loss_)


def test_class_weight_shifts_the_scores(data):
    X, y = data
    share = []
    for factors in ({0: 1.0, 1: 0.05}, None, {0: 0.05, 1: 1.0}):
        found = detector(class_weight=factors, max_iter=8, score_threshold=0.0).fit(X, y).predict(X)
        labels, scores = (np.concatenate([f[n] for f in found]) for n in ("labels", "scores"))
        share.append(scores[labels == 1].sum() / scores.sum())
    assert share[0] < share[1] < share[2]
    counts = np.bincount(np.concatenate([t["labels"] for t in y]))
    balanced = detector(class_weight="balanced", max_iter=1).fit(X, y)
    assert_allclose(balanced.class_weight_, counts.sum() / (2 * counts))
    weighted = clone(balanced).fit(X, y, sample_weight=np.arange(len(y)) % 2)
    counts = np.bincount(np.concatenate([image["labels"] for image in y[1::2]]), minlength=2)
    assert_allclose(weighted.class_weight_, counts.sum() / (2 * counts))
    with pytest.raises(ValueError, match="class_weight names"):
        detector(class_weight={7: 1.0}).fit(X, y)
    with pytest.raises(ValueError, match="not supported by architecture='fcos'"):
        detector(architecture="fcos", class_weight="balanced").fit(X, y)


def test_validation_set_early_stopping_and_partial_fit(data):
    X, y = data
    model = detector(early_stopping=True, max_iter=6)
    model.fit(X[:24], y[:24], X_val=X[24:], y_val=y[24:])
    assert model.score(X[24:], y[24:]) == pytest.approx(model.best_validation_score_)
    assert len(model.validation_scores_) == model.n_iter_
    crops = [image[:, :31, : 32 - i % 2] for i, image in enumerate(X[24:])]
    inside = [(t["boxes"] <= [30, 30, 30, 30]).all(1) for t in y[24:]]
    small = [{n: a[k] for n, a in t.items()} for t, k in zip(y[24:], inside)]
    model.fit(X[:24], y[:24], X_val=crops, y_val=small)
    assert model.score(crops, small) == pytest.approx(model.best_validation_score_, abs=0.02)
    split = detector(early_stopping=True, validation_fraction=0.25, max_iter=3).fit(X, y)
    assert len(split.validation_scores_) == 3

    model = detector().partial_fit(X[:8], y[:8], classes=[0, 1, 2])
    assert model.classes_.tolist() == [0, 1, 2]
    first = model.loss_
    for _ in range(10):
        model.partial_fit(X[8:], y[8:])
    assert model.loss_ < first
    with pytest.raises(ValueError, match=r"classes not in.*Image 1"):
        model.partial_fit(X[:2], [y[0], {"boxes": [[0, 0, 4, 4]], "labels": [9]}])
    with pytest.raises(ValueError, match="'balanced' is not supported by partial_fit"):
        detector(class_weight="balanced").partial_fit(X, y)


def test_a_validation_set_is_scored_as_what_is_predicted_of_it():
    """Images that are wider than high, boxes that reach out of them, and weights."""
    y = [{"boxes": [[30, 2, 38, 10], [2, 1, 9, 12]], "labels": ["a", "b"]}] * 2
    true = validate_boxes(None, y, [(20, 40), (16, 40)])
    task = Detection(box_classes(true), stride=4, limits=Limits(3, 0.0, 0.5))
    found = np.zeros((2, 3, 6))
    found[..., :5] = [[30, 2, 44, 10, 0], [-4, 1, 9, 12, 1], [41, 2, 44, 10, 0]]
    found[..., 5] = [[0.9, 0.8, 0.95], [0.9, 0.0, 0.0]]
    images = np.zeros((2, 3, 20, 40))
    answers = [task.decode(torch.from_numpy(found[i : i + 1]), images[:1])[0] for i in (0, 1)]
    for weight in (None, [1, 0], [1, 3]):
        expected = task.score(y, answers, weight)
        assert task.score_encoded(task.encode(true), found, weight) == expected
    assert task.score_encoded(task.encode(true), found, [1, 0]) == 1
    assert expected < 1


def test_the_typical_side_is_the_root_of_the_area():
    boxes = [[0, 0, 4, 9], [0, 0, 16, 1], [0, 0, 25, 4], [5, 5, 6, 21], [0, 0, 50, 50]]
    image = {"boxes": boxes, "labels": ["a", "b", "a", "b", "a"]}
    y = validate_boxes(None, [image, NO_BOXES], [(60, 60)] * 2)
    assert typical_side(y) == (6, 4)  # sides 6, 4, 10, 4 and 50


def test_callbacks_of_skorch_and_of_scikit_learn_hear_its_epochs(data, capsys):
    X, y = data
    monitor = ScoringMonitor(scoring=get_scorer("map_50"))
    stopper = EarlyStopping("train_loss", patience=1, threshold=10, sink=None)
    model = detector(max_iter=4).set_callbacks(monitor, ProgressBar()).fit(X, y)
    assert "DetectionNet" in capsys.readouterr().out
    log = monitor.get_logs().data_as_pandas
    scores = log[log.task_name == "epoch"].score
    assert len(scores) == len(model.history_) == 4
    assert scores.iloc[-1] == model.score(X, y)
    stopped = detector(max_iter=4, callbacks=[stopper]).fit(X, y)  # of the same schedule
    assert stopped.n_iter_ == 2
    assert scores.iloc[1] == stopped.score(X, y)


@pytest.mark.parametrize("architecture", ["small", "fcos"])
def test_limits_of_boxes_are_those_of_the_parameters(data, architecture):
    X, y = data
    settings = {"architecture": architecture, "score_threshold": 0.0, "max_iter": 1}
    model = detector(**settings, warm_start=True).fit(X, y)
    every = model.predict(X)
    few = {"detections_per_img": 5, "nms_threshold": 1.0}
    found = model.set_params(**few).predict(X)
    assert max(len(f["scores"]) for f in found) <= 5 < max(len(e["scores"]) for e in every)
    assert_array_equal(found[0]["scores"][0], every[0]["scores"][0])
    going_on = model.set_params(score_threshold=0.02).fit(X, y, X_val=X, y_val=y)
    assert going_on.validation_scores_[-1] == pytest.approx(going_on.score(X, y))


def test_twice_the_same_and_through_a_file(data):
    X, y = data
    model = detector(augment="auto", max_iter=2)
    first = model.fit(X, y).predict(X)
    torch.manual_seed(1)
    assert_same_boxes(model.fit(X, y).predict(X), first)
    assert_same_boxes(pickle.loads(pickle.dumps(model)).predict(X), first)
    order = np.random.RandomState(0).permutation(len(X))
    shuffled = model.predict(X[order])
    assert_same_boxes(shuffled, [first[i] for i in order], rtol=1e-4, atol=1e-3)


def test_mirrors_only_where_labels_bear_it():
    rng = np.random.RandomState(0)
    X = np.zeros((60, 1, 16, 16), np.uint8)
    sides, darkness = [], []
    for i, image in enumerate(X):
        image[0, 4:12, 4 + 4 * (i % 2) : 8 + 4 * (i % 2)] = 200  # left or right half of the box
        image += rng.randint(0, 9, image.shape).astype(np.uint8)
        sides.append({"boxes": [[4, 4, 12, 12]], "labels": [i % 2]})
        darkness.append({"boxes": [[4, 4, 12, 12]], "labels": [i // 2 % 2]})
    gray = X.copy()
    gray[[i for i in range(60) if i // 2 % 2]] //= 2
    found = {}
    for name, images, y in (("sides", X, sides), ("darkness", gray, darkness)):
        run = detector(augment="auto")._make_run(images, y, None)
        assert isinstance(run.augment, RandomZoom)
        found[name] = run.augment.hflip
    assert found == {"sides": 0.0, "darkness": 0.5}


def test_images_without_boxes_tell_nothing_of_mirroring():
    """A few images with boxes tell of it as they do alone."""
    X, y = squares(2, size=16, seed=1)
    many, boxes = np.zeros((1002, *X.shape[1:]), X.dtype), [NO_BOXES] * 1002
    for row, image, objects in zip((501, 503), X, y):  # left out by every second image
        many[row], boxes[row] = image, objects
    runs = [detector(augment="auto")._make_run(*data, None) for data in ((X, y), (many, boxes))]
    (crops, labels), (same_crops, same_labels) = (object_crops(run.loader.data) for run in runs)
    assert torch.equal(same_crops, crops)
    assert torch.equal(same_labels, labels)
    model = detector(augment="auto").partial_fit(X, [NO_BOXES] * 2, classes=[0, 1])
    assert not model.mirrored_


def test_only_one_class_and_only_one_image():
    X, y = squares(6)
    one = [{"boxes": t["boxes"], "labels": np.full(len(t["boxes"]), "square")} for t in y]
    assert detector().fit(X, one).classes_.tolist() == ["square"]
    i = next(i for i, t in enumerate(y) if len(t["boxes"]))
    assert len(detector().fit(X[i : i + 1], y[i : i + 1]).predict(X)) == 6
    gray = detector().fit(X[:, 0], y)
    assert_same_boxes(gray.predict(X[:, 0]), gray.predict(X[:, :1]))
    with pytest.raises(ValueError, match=r"fitted on images of 1 channel\(s\), got 3"):
        gray.predict(X)


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_stride_follows_the_smallest_class(stride):
    side = {2: 3, 4: 10, 8: 60}[stride]
    X = np.zeros((4, 80, 80), np.uint8)
    y = [{"boxes": [[8, 8, 8 + side, 8 + side], [0, 0, 79, 79]], "labels": ["a", "b"]}] * 4
    model = detector(max_iter=1).fit(X, y)
    assert model.stride_ == stride
    for given in (4, np.int64(4)):
        assert detector(max_iter=1, stride=given).fit(X, y).stride_ == 4


BAD = {
    "x1 <= x0": ({"boxes": [[1, 1, 5, 5], [6, 2, 4, 8]], "labels": [0, 1]}, "Image 1, row 1.*x1 <= x0"),
    "y1 <= y0": ({"boxes": [[1, 5, 5, 5]], "labels": [0]}, "Image 1, row 0.*y1 <= y0"),
    "outside": ({"boxes": [[1, 1, 5, 33]], "labels": [0]}, "Image 1, row 0.*outside of the image"),
    "negative": ({"boxes": [[-1, 1, 5, 5]], "labels": [0]}, "Image 1, row 0.*outside of the image"),
    "NaN": ({"boxes": [[1, np.nan, 5, 5]], "labels": [0]}, "Image 1, row 0.*NaN"),
    "shape": ({"boxes": [[1, 1, 5]], "labels": [0]}, r"Image 1 has boxes of shape \(1, 3\)"),
    "no numbers": ({"boxes": [["a", 1, 5, 5]], "labels": [0]}, "Image 1 has boxes that are no rows"),
    "fewer labels": ({"boxes": [[1, 1, 5, 5]], "labels": []}, r"Image 1 has 1 box.*labels of shape \(0,\)"),
    "no labels": ({"boxes": [[1, 1, 5, 5]]}, "image 1 has boxes without labels"),
    "no boxes": ({"labels": [1]}, "image 1 has labels without boxes"),
    "no dict": ([[1, 1, 5, 5]], r"y\[1\] is a list"),
    "fractions": ({"boxes": [[1, 1, 5, 5]], "labels": [0.5]}, "image 1 has labels of type float64"),
    "mixed": ({"boxes": [[1, 1, 5, 5]], "labels": ["a"]}, "Labels must be of one type"),
    "mixed in one": ({"boxes": [[1, 1, 5, 5]] * 2, "labels": [1, "a"]}, "Labels must be of one type.*image 1 has both"),
    "mixed objects": ({"boxes": [[1, 1, 5, 5]] * 2, "labels": np.array(["a", 1], object)}, "image 1 has both"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_boxes_are_named(case):
    X, y = squares(3)
    y[0] = {"boxes": [[1, 1, 5, 5]], "labels": [0]}
    bad, message = BAD[case]
    for target in ([y[0], bad, y[2]], np.array([y[0], bad, y[2]], dtype=object)):
        with pytest.raises(ValueError, match=message):
            detector().fit(X, target)


def test_boxes_reach_as_far_as_their_own_side_of_the_image():
    """Of an image that is wider than high."""
    for box, fits in (
        ([10, 2, 40, 20], True), ([10, 2, 41, 20], False), ([10, 2, 40, 21], False),
        ([10, -1, 40, 20], False),
    ):  # fmt: skip
        with nullcontext() if fits else pytest.raises(ValueError, match="height 20 and width 40"):
            validate_boxes(None, [{"boxes": [box], "labels": [0]}], [(20, 40)])


@pytest.mark.parametrize("model", [detector(max_iter=1), PixelDetector()])
def test_boxes_that_look_like_shares_of_the_image_are_asked_about(model):
    X, y = squares(6)
    shares = [{**image, "boxes": np.asarray(image["boxes"]) / 32} for image in y]
    with pytest.warns(UserWarning, match="between 0 and 1.*boxes are x0, y0, x1, y1 in pixels"):
        model.fit(X, shares)
    model.fit(X, [shares[0], *y[1:]])  # a warning would be an error


def test_what_is_no_list_of_boxes():
    X, y = squares(3)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 2\]"):
        detector().fit(X, y[:2])
    with pytest.raises(ValueError, match="y must hold one dict for each image"):
        detector().fit(X, np.zeros((3, 4)))
    with pytest.raises(ValueError, match="the target y is None"):
        detector().fit(X, None)
    with pytest.raises(ValueError, match="no box in any image"):
        detector().fit(X, [{"boxes": [], "labels": []}] * 3)
    frame = pd.DataFrame({"image": [5], "x0": [0], "y0": [0], "x1": [4], "y1": [4], "label": ["a"]})
    with pytest.raises(ValueError, match="positions from 0 to 2; row 0 of the frame has 5"):
        detector().fit(X, frame)
    with pytest.raises(ValueError, match="The column image must hold positions"):
        detector().fit(X, frame.assign(image="a.png"))
    with pytest.raises(ValueError, match=r"too few for a map of stride 4"):
        detector(channels=(8,)).fit(X, [{"boxes": [[1, 1, 20, 20]], "labels": [0]}] * 3)


@pytest.mark.parametrize("architecture", ["fcos", "retinanet", "fasterrcnn"])
def test_torchvisions_detectors_compute_what_torchvision_does(architecture):
    X, y = squares(2, seed=3)
    X = torch.from_numpy(X[:1]).float() / 255
    boxes = torch.as_tensor(y[0]["boxes"], dtype=torch.float32)
    labels = torch.as_tensor(y[0]["labels"])
    target = torch.cat([boxes, labels[:, None].float()], dim=1)[None]
    module = TorchvisionDetector(architecture, 3, 2, detections_per_img=50)
    reference = copy.deepcopy(module.detector)
    reference.backbone = copy.deepcopy(module.backbone)
    padded = torch.nn.functional.pad(X, (0, 32, 0, 32), mode="replicate")
    background = int(architecture == "fasterrcnn")

    module.target = torch.cat([target, torch.full((1, 2, 5), -1.0)], dim=1)
    torch.manual_seed(0)
    ours = module(X)
    torch.manual_seed(0)
    theirs = reference(list(padded), [{"boxes": boxes, "labels": labels + background}])
    assert_allclose(ours.detach(), [sum(theirs.values()).item()], rtol=1e-5)

    found, (expected,) = module.eval()(X)[0], reference.eval()(list(padded))
    n = len(expected["scores"])
    assert_allclose(found[:n, :4].detach(), expected["boxes"].detach(), rtol=1e-4, atol=1e-3)
    assert_allclose(found[:n, 5].detach(), expected["scores"].detach(), rtol=1e-4)
    assert_array_equal(found[:n, 4].detach(), expected["labels"] - background)
    assert (found[n:, 5] == 0).all()


def test_a_detector_of_torchvision_fits():
    X, y = squares(6, seed=2)
    model = DetectionNet("fcos", max_iter=1, random_state=0).fit(X, y, np.arange(6))
    assert_same_boxes(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert np.isfinite(model.loss_)


def test_torchvision_is_asked_for_when_it_is_missing(monkeypatch, data):
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-nets\[vision\]'"):
        detector().fit(*data)


def test_threads_that_predict_at_once():
    """Each is answered of its own images: what one has computed is not another's."""
    torch.manual_seed(0)
    module = TorchvisionDetector("fcos", 3, 2, detections_per_img=20).eval()
    images = torch.rand(4, 1, 3, 64, 64)
    with torch.no_grad():
        alone = [module(image) for image in images]
    all_there = threading.Barrier(len(images), timeout=60)

    def wait(module, images):
        all_there.wait()

    module.detector.register_forward_pre_hook(wait)

    def predict(image):
        with torch.no_grad():
            return module(image)

    with ThreadPoolExecutor(len(images)) as pool:
        together = list(pool.map(predict, images))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)
