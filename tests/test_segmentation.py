"""Segmentation: masks in, masks out, searched and weighed like any estimator."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate, learning_curve
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_nets import CNNClassifier, DetectionNet
from sklearn_nets._base.ragged import pad_images
from sklearn_nets.datasets import make_digit_scenes
from sklearn_nets.metrics import confusion_matrix, dice_score, get_scorer, mean_iou_score
from sklearn_nets.modules.losses import PixelLoss
from sklearn_nets.modules.mirroring import labeled_patches, mirroring_keeps_masks
from sklearn_nets.segmentation import PixelClassifier, SegmentationDisplay, SegmentationNet

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def small(**settings):
    defaults = {"channels": (8, 16), "learning_rate_init": 0.01, "batch_size": 8, "max_iter": 3}
    return SegmentationNet(random_state=0, **{**defaults, **settings})


@pytest.fixture(scope="module")
def scenes():
    data = make_digit_scenes(24, image_size=(32, 32), random_state=0)
    return data.images, (data.masks > 0).astype(int)


def test_class_weight_of_a_warm_start_and_ignored_label_of_partial_fit():
    scenes = make_digit_scenes(4, random_state=0)
    model = SegmentationNet((4, 8), max_iter=1, warm_start=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(scenes.images, scenes.masks)
        model.set_params(class_weight={2: 100.0}).fit(scenes.images, scenes.masks)
    assert model.class_weight_[1] == 100.0  # of class 2
    labels = np.unique(scenes.masks)
    model = SegmentationNet((4, 8), ignore_index=labels[0])
    model.partial_fit(scenes.images, scenes.masks, classes=labels)
    assert_array_equal(model.classes_, labels[1:])
    with pytest.raises(ValueError, match="'balanced' is not supported by partial_fit"):
        SegmentationNet(class_weight="balanced").partial_fit(scenes.images, scenes.masks)


def test_balanced_weights_count_images_by_their_weight(scenes):
    X, y = scenes
    weight = np.arange(len(X)) % 3
    model, repeated = (small(class_weight="balanced", max_iter=1) for _ in "ab")
    model.fit(X, y, sample_weight=weight)
    repeated.fit(np.repeat(X, weight, 0), np.repeat(y, weight, 0))
    assert_allclose(model.class_weight_, repeated.class_weight_, rtol=1e-12)


def test_a_class_weight_of_an_unknown_class_says_so():
    scenes = make_digit_scenes(2, random_state=0)
    model = SegmentationNet((4, 8), max_iter=1, class_weight={77: 1.0, "seven": 2.0})
    with pytest.raises(ValueError, match=r"class_weight names \[77, 'seven'\]"):
        model.fit(scenes.images, scenes.masks)


def test_learns_where_digits_are(scenes):
    X, y = scenes
    model = small(max_iter=15).fit(X, y)
    assert model.predict(X).shape == y.shape
    proba = model.predict_proba(X)
    assert proba.shape == (24, 2, 32, 32)
    assert_array_equal(model.classes_[proba.argmax(1)], model.predict(X))
    assert model.score(X, y) == mean_iou_score(y, model.predict(X)) > 0.6
    baseline = mean_iou_score(y, np.zeros_like(y))
    assert model.score(X, y) > baseline + 0.1


def test_cross_validate_and_grid_search_on_masks(scenes):
    X, y = scenes
    assert len(cross_validate(small(), X, y, cv=3, error_score="raise")["test_score"]) == 3
    grid = {"channels": [(4, 8), (8,)], "learning_rate_init": [1e-3, 1e-2]}
    search = GridSearchCV(small(max_iter=1), grid, cv=2, error_score="raise").fit(X, y)
    assert search.predict(X).shape == y.shape


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice", "cross_entropy+dice"])
def test_loss_equals_the_formula(name):
    rng = np.random.RandomState(0)
    z = torch.from_numpy(rng.randn(4, 3, 5, 6))
    y = torch.from_numpy(rng.randint(-1, 2, (4, 5, 6)))  # class 2 does not occur
    w, c = rng.uniform(size=4), rng.uniform(size=3)
    p = torch.softmax(z, 1).numpy()
    totals = dict.fromkeys(("cross_entropy", "focal"), 0.0)
    weights, overlap, size = 0.0, np.zeros(3), np.zeros(3)
    for i, row, column in np.argwhere(y.numpy() >= 0):
        label = int(y[i, row, column])
        factor, shares = w[i] * c[label], p[i, :, row, column]
        totals["cross_entropy"] -= factor * np.log(shares[label])
        totals["focal"] -= factor * (1 - shares[label]) ** 2 * np.log(shares[label])
        weights += factor
        overlap[label] += factor * shares[label]
        size[label] += factor
        size += factor * shares
    dice = 1 - 2 * overlap / size
    expected = {
        **{term: total / weights for term, total in totals.items()},
        "dice": np.average(dice[:2], weights=c[:2]),
    }
    loss = PixelLoss(name, torch.from_numpy(c))(z, y, torch.from_numpy(w))
    assert_allclose(float(loss), sum(expected[term] for term in name.split("+")))


def test_weights_are_repetition_and_only_their_ratios_matter(scenes):
    X, y = scenes
    weight = np.random.RandomState(0).randint(0, 3, len(X)).astype(float)
    settings = {"precision": "float64", "augment": None, "batch_size": 60, "max_iter": 2}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got `batch_size`")
        once = small(**settings).fit(X, y, weight)
        thrice = small(**settings).fit(X, y, 3 * weight)
        repeated = small(**settings).fit(*(np.repeat(a, weight.astype(int), 0) for a in (X, y)))
        without = small(**settings).fit(X, y)
    assert_allclose(once.predict_proba(X), thrice.predict_proba(X), rtol=1e-9)
    assert_allclose(once.predict_proba(X), repeated.predict_proba(X), rtol=1e-6)
    assert not np.allclose(once.predict_proba(X), without.predict_proba(X))


def test_class_weight_shifts_the_prediction(scenes):
    X, y = scenes
    rare = [
        (small(class_weight=cw, max_iter=8).fit(X, y).predict(X) == 1).mean()
        for cw in ({0: 1.0, 1: 0.01}, None, {0: 0.01, 1: 1.0})
    ]
    assert rare[0] < rare[1] < rare[2]
    balanced = small(class_weight="balanced").fit(X, y)
    counts = np.bincount(y.ravel())
    assert_allclose(balanced.class_weight_, counts.sum() / (2 * counts))
    with pytest.raises(ValueError, match="class_weight names"):
        small(class_weight={7: 1.0}).fit(X, y)


def test_validation_set_early_stopping_and_partial_fit(scenes):
    X, y = scenes
    model = small(early_stopping=True).fit(X[:16], y[:16], X_val=X[16:], y_val=y[16:])
    assert_allclose(model.score(X[16:], y[16:]), model.best_validation_score_)
    model = small().partial_fit(X[:8], y[:8], classes=[0, 1, 2])
    assert model.partial_fit(X[8:], y[8:]).predict_proba(X).shape[1] == 3
    with pytest.raises(ValueError, match="not in `self.classes_`"):
        model.partial_fit(X, np.full_like(y, 5))


def test_tensors_in_tensors_out(scenes, device):
    X, y = scenes
    X_t = torch.from_numpy(X).to(device)
    model = small().fit(X_t, torch.from_numpy(y).to(device))
    masks = model.predict(X_t)
    assert masks.device == X_t.device
    assert masks.dtype == torch.int64
    assert model.predict_proba(X_t).shape == (24, 2, 32, 32)
    assert model.score(X_t, torch.from_numpy(y)) == pytest.approx(model.score(X, y))


def test_pixel_classifier_is_the_classifier_on_patches(scenes):
    X, y = scenes[0][:4], scenes[1][:4]
    model = PixelClassifier(LogisticRegression(max_iter=2000), patch_size=3, max_pixels=None)
    model.fit(X, y)
    padded = np.pad(X, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="symmetric")
    for image, row, column in [(0, 0, 0), (1, 10, 31), (3, 17, 5)]:
        patch = padded[image, row : row + 3, column : column + 3].transpose(2, 0, 1)
        expected = model.estimator_.predict(patch.reshape(1, -1))
        assert model.predict(X)[image, row, column] == expected


def test_pixel_classifier_draws_pixels(scenes):
    X, y = scenes
    model = PixelClassifier(KNeighborsClassifier(1), max_pixels=500, random_state=0).fit(X, y)
    assert model.estimator_.n_samples_fit_ == 500
    assert model.set_params(estimator__n_neighbors=3).estimator.n_neighbors == 3
    with pytest.raises(ValueError, match="patch_size must be odd"):
        PixelClassifier(KNeighborsClassifier(), patch_size=4).fit(X, y)


def test_pixel_classifier_draws_no_pixels_of_images_without_weight(scenes):
    X, y = scenes
    model = PixelClassifier(LogisticRegression(max_iter=2000), max_pixels=500, random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=np.repeat([2.0, 0.0], 12))
    alone = clone(model).fit(X[:12], y[:12], sample_weight=np.repeat(2.0, 12))
    assert_array_equal(weighted.estimator_.coef_, alone.estimator_.coef_)


# -------------------------------------------------------------------------- images of several sizes
@pytest.fixture(scope="module")
def ragged(scenes):
    """The same scenes, cut to several sizes."""
    sizes = [(32 - i % 3 * 4, 32 - i % 2 * 7) for i in range(24)]
    images = [image[:h, :w] for image, (h, w) in zip(scenes[0], sizes)]
    masks = [mask[:h, :w] for mask, (h, w) in zip(scenes[1], sizes)]
    return images, masks


SEGMENTERS = [small(max_iter=4), PixelClassifier(KNeighborsClassifier(), random_state=0)]


@pytest.mark.parametrize("estimator", SEGMENTERS, ids=lambda e: type(e).__name__)
def test_lists_of_several_sizes(estimator, ragged):
    images, masks = ragged
    model = estimator.fit(images, masks)
    predicted = model.predict(images)
    assert [p.shape for p in predicted] == [m.shape for m in masks]
    for i in (0, 1, 5):
        assert_array_equal(predicted[i], model.predict(images[i][None])[0])
    pairs = [np.concatenate([m.ravel() for m in part]) for part in (masks, predicted)]
    assert_allclose(model.score(images, masks), mean_iou_score(*pairs))
    scores = cross_validate(estimator, images, masks, cv=3, error_score="raise")["test_score"]
    assert np.isfinite(scores).all()
    with pytest.raises(ValueError, match="one label for each pixel"):
        estimator.fit(images, masks[::-1])


def test_what_fills_images_up_has_no_label(ragged):
    images, masks = ragged
    model = small(max_iter=1).fit(images, masks)
    target = model._task.encode(masks)
    assert target.shape == (24, 32, 32)
    assert [(t >= 0).sum() for t in target] == [m.size for m in masks]
    channels_first = [image.transpose(2, 0, 1) for image in images]
    again = small(max_iter=1).fit(channels_first, masks)
    assert_array_equal(again.predict(channels_first)[3], model.predict(images)[3])


@pytest.mark.parametrize("kind", [SegmentationNet, DetectionNet])
def test_attributes_are_those_of_the_docstring(kind):
    scenes = make_digit_scenes(4, random_state=0)
    boxes = [{"boxes": b, "labels": k} for b, k in zip(scenes.boxes, scenes.labels, strict=True)]
    y = scenes.masks if kind is SegmentationNet else boxes
    model = kind(channels=(4, 8, 8), max_iter=1, random_state=0)
    model.fit(scenes.images, y, X_val=scenes.images, y_val=y)
    documented = set(re.findall(r"^ *(\w+_) :", kind.__doc__, re.MULTILINE))
    assert {name for name in vars(model) if name[0] != "_" and name[-1] == "_"} <= documented
    assert all(hasattr(model, name) for name in documented)


@pytest.mark.parametrize("kind", [SegmentationNet, DetectionNet, CNNClassifier])
def test_batches_are_never_larger_than_documented(kind):
    net = kind()
    net.image_shape_ = (1, 8, 8)
    most = 128 if kind is CNNClassifier else 8
    sizes = [net._batch_size(n) for n in range(1, 9000)]
    assert max(sizes) == most
    # nor are they smaller than about the least of them
    assert min(sizes[11:]) >= (3 if kind is SegmentationNet else 6)


def test_lists_of_pictures_and_of_nested_lists(ragged):
    Image = pytest.importorskip("PIL.Image")
    settings = {"max_iter": 1, "batch_size": 6}
    images, masks = (part[:6] for part in ragged)
    expected = small(**settings).fit(images, masks)
    forms = (
        (
            [Image.fromarray(image) for image in images],
            [Image.fromarray(np.uint8(m)) for m in masks],
        ),
        ([image.tolist() for image in images], [mask.tolist() for mask in masks]),
    )
    for X, y in forms:
        model = small(**settings).fit(X, y)
        for one, other in zip(model.predict(X), expected.predict(images), strict=True):
            assert_array_equal(one, other)
        assert model.score(X, y) == expected.score(images, masks)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("types", [("uint8", "float32"), ("bool", "int16"), ("float64", "float32")])
def test_images_of_several_sizes_have_a_common_type(make, types):
    """That of images of one size."""
    X = np.random.RandomState(0).uniform(-300, 300, (2, 1, 4, 4))
    first, second = (image.astype(dtype) for image, dtype in zip(np.abs(X), types))
    padded = pad_images([make(first), make(second[:, 1:])], lambda image: image)
    assert_array_equal(padded[0], first)
    assert_array_equal(padded[1, :, :3], second[:, 1:])
    assert padded.dtype == torch.from_numpy(np.asarray([first, second])).dtype


def test_lists_of_any_byte_order_and_of_read_only_images(ragged):
    X, y = [image.astype(np.float32) for image in ragged[0]], ragged[1]
    expected = small(max_iter=1).fit(X, y).predict(X)
    for make in (lambda image: image.astype(image.dtype.newbyteorder(">")), np.copy):
        images = [make(image) for image in X]
        for image in images:
            image.flags.writeable = False
        masks = small(max_iter=1).fit(images, y).predict(images)  # a warning would be an error
        assert all(map(np.array_equal, masks, expected))


def test_pixel_classifier_says_which_list_does_not_fit(ragged):
    X, y = ragged
    model = PixelClassifier(LogisticRegression())
    with pytest.raises(ValueError, match=rf"one mask for each of {len(X)} images, got 1"):
        model.fit(X, y[:1])
    with pytest.raises(ValueError, match="the target y is None"):
        model.fit(X, None)
    with pytest.raises(ValueError, match="y must hold one label for each pixel") as caught:
        model.fit(X, [*y[:-1], y[-1][:, 1:]])
    assert f"Image {len(X) - 1} of the list" in caught.value.__notes__[0]


def test_lists_of_tensors_on_any_device(ragged, device):
    X, y = ([torch.from_numpy(a).to(device) for a in arrays] for arrays in ragged)
    model = PixelClassifier(LogisticRegression(), random_state=0).fit(X, y)
    expected = PixelClassifier(LogisticRegression(), random_state=0).fit(*ragged).predict(ragged[0])
    for mask, other in zip(model.predict(X), expected):
        assert_array_equal(mask.cpu(), other)


@pytest.mark.parametrize("model", [small(batch_size=4), PixelClassifier(LogisticRegression())])
def test_lists_of_tensors_of_one_size_are_answered_as_one_tensor(model, scenes, device):
    X, y = (torch.from_numpy(a[:4]).to(device) for a in scenes)
    model = clone(model).fit(list(X), list(y.cpu()))
    for name in ("predict", "predict_instances", "predict_proba"):
        if hasattr(model, name):
            answer = getattr(model, name)(list(X))
            assert answer.device == X.device
            assert torch.equal(answer, getattr(model, name)(X))


def test_images_of_one_pixel_can_be_zoomed():
    X, y = np.arange(8.0).reshape(8, 1, 1), np.arange(8).reshape(8, 1, 1) // 4
    assert np.isfinite(small(max_iter=1).fit(X, y).loss_)


# --------------------------------------------------------------------------------------------- tiles
def test_tiles(scenes):
    X, y = scenes
    model = small(max_iter=6, tile_size=16).fit(X, y)
    assert model.t_ == 6 * 4 * 24  # four tiles of an image
    masks = model.predict(X)
    assert masks.shape == y.shape
    assert model.predict_proba(X).shape == (24, 2, 32, 32)
    # inside of a tile, away from what the overlap gives to others, it is that tile's own prediction
    model.set_params(tile_size=None)
    assert_array_equal(masks[:, :10, :10], model.predict(X[:, :16, :16])[:, :10, :10])
    whole = model.predict(X)
    assert np.mean(whole == masks) > 0.9
    model.set_params(tile_size=64)
    assert_array_equal(model.predict(X), whole)  # no image is larger than a tile


def test_early_stopping_holds_out_all_tiles_of_an_image(scenes):
    y = scenes[1]
    X = np.broadcast_to(np.arange(24.0)[:, None, None], y.shape)  # tells which image a tile is of
    weight = np.arange(24) % 3
    model = small(tile_size=16, early_stopping=True, augment=None, validation_fraction=0.25)
    run = model._make_run(X, y, weight)
    train, held_out = run.loader.data.X[run.loader.rows], run.eval_set.data.X
    assert (len(train), len(held_out)) == (4 * 12, 4 * 4)  # four tiles of an image
    assert not set(train.unique().tolist()) & set(held_out.unique().tolist())
    assert not (train.unique() % 3 == 0).any()
    alone = model.set_params(validation_fraction=0.5, batch_size=2).fit(
        X[:1], y[:1]
    )  # of one image tiles
    assert len(alone.validation_scores_) == alone.n_iter_


def test_tiles_of_a_list(scenes):
    X, y = scenes
    model = small(max_iter=1, tile_size=16).fit(list(X), list(y))
    assert_array_equal(model.predict(list(X)), model.predict(X))
    assert_array_equal(model.predict_proba(list(X)), model.predict_proba(X))


def test_tiles_are_cut_of_what_is_checked(scenes):
    """What is wrong is said as it is without tiles."""
    X, y = scenes
    lists = [X[0], X[1, :, :20]], [y[0], y[1, :, :20]]
    for wrong in (
        {"X": X, "y": None},
        {"X": X, "y": y[:-1]},
        {"X": X, "y": y[:, 1:]},
        {"X": X, "y": y, "sample_weight": np.ones(3)},
        {"X": np.where(X, np.nan, X), "y": y},
        {"X": lists[0], "y": None},
        {"X": lists[0], "y": lists[1][:1]},
        {"X": lists[0], "y": lists[1][::-1]},
    ):
        said = []
        for size in (None, 16):
            with pytest.raises(ValueError) as caught:
                small(max_iter=1, tile_size=size).fit(**wrong)
            said.append(str(caught.value))
        assert said[0] == said[1]
    with pytest.raises(InvalidParameterError, match="'tile_size' parameter"):
        small(tile_size=2.5).fit(X, y)


def test_tiles_of_another_library_under_dispatch():
    pytest.importorskip("array_api_strict")
    script = """
import array_api_strict as strict, numpy as np, sklearn
from sklearn_nets import SegmentationNet
X = np.random.RandomState(0).rand(4, 32, 32).astype(np.float32)
y = (X > 0.5).astype(int)
model = SegmentationNet((8, 8), max_iter=1, tile_size=16, random_state=0)
with sklearn.config_context(array_api_dispatch=True):
    masks = model.fit(strict.asarray(X), y).predict(strict.asarray(X))
    try:
        model.predict(X)
    except ValueError as error:
        print(error)
print((np.from_dlpack(masks) == model.fit(X, y).predict(X)).all())
"""
    env = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONWARNINGS": "ignore"}
    out = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert re.search(
        r"fit\(\) got array_api_strict on .*, predict\(\) got numpy on cpu", out.stdout
    )
    assert out.stdout.endswith("True\n")


def test_tiles_of_a_memory_map(scenes, tmp_path):
    X, y = scenes
    np.save(tmp_path / "X.npy", X)
    model = small(max_iter=1, tile_size=16).fit(X, y)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_array_equal(model.predict(mapped), model.predict(X))


# ------------------------------------------------------------------------------- scikit-learn's tools
def test_scores_are_scikit_learns_of_pixels(scenes):
    truth, prediction = scenes[1], np.roll(scenes[1], 2, axis=2)
    flat = truth.ravel(), prediction.ravel()
    assert_allclose(dice_score(truth, prediction), f1_score(*flat, average="macro"))
    for name, reference in (("precision", precision_score), ("recall", recall_score)):
        score = get_scorer(f"macro_{name}").score
        assert_allclose(score(truth, prediction), reference(*flat, average="macro"))


def test_scorers_heed_the_ignored_label(scenes):
    X, y = scenes[0], scenes[1].copy()
    y[:, :8] = 255
    model = PixelClassifier(LogisticRegression(), ignore_index=255, random_state=0).fit(X, y)
    predicted = model.predict(X)
    for name in ("mean_iou", "pixel_accuracy", "dice", "macro_precision", "macro_recall"):
        scorer = get_scorer(name)
        expected = scorer.score(y[:, 8:], predicted[:, 8:])
        assert_allclose(scorer(model, X, y), expected)
        assert_allclose(scorer(make_pipeline(FunctionTransformer(), model), X, y), expected)
    assert confusion_matrix(y, predicted, ignore_index=255).sum() == y[:, 8:].size
    with pytest.raises(ValueError, match="not a valid scoring value"):
        get_scorer("iou")


def test_learning_curves_and_pipelines(scenes):
    X, y = scenes
    pipe = make_pipeline(FunctionTransformer(lambda X: 255 - X), small(max_iter=1))
    _, train, test = learning_curve(
        pipe, X, y, cv=2, train_sizes=[8, 12], scoring=get_scorer("dice"), error_score="raise"
    )
    assert train.shape == test.shape == (2, 2)
    search = GridSearchCV(
        pipe, {"segmentationnet__depth": [1, 2]}, cv=2, refit="iou",
        scoring={"iou": get_scorer("mean_iou"), "dice": get_scorer("dice")},
    )  # fmt: skip
    search.fit(X, y)
    by_hand = [
        np.mean([
            mean_iou_score(y[test], small(max_iter=1, depth=depth).fit(255 - X[train], y[train])
                           .predict(255 - X[test]))
            for train, test in KFold(2).split(X)
        ])
        for depth in (1, 2)
    ]  # fmt: skip
    assert_allclose(search.cv_results_["mean_test_iou"], by_hand)
    assert search.best_score_ == max(search.cv_results_["mean_test_iou"])


def test_display_shows_what_is_wrong(scenes):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    X, y = scenes
    model = PixelClassifier(LogisticRegression(), random_state=0).fit(X, y)
    display = SegmentationDisplay.from_estimator(model, X, y, n_images=2)
    assert display.axes_.shape == (2, 4)
    wrong = np.mean(model.predict(X[:2]) != y[:2], axis=(1, 2))
    labels = [row[3].get_xlabel() for row in display.axes_]
    assert labels == [f"{share:.1%} of the pixels" for share in wrong]
    with pytest.raises(ValueError, match="must have the same sizes"):
        SegmentationDisplay.from_predictions(X[:2], y[:2], y[:2, 1:])
    with pytest.raises(ValueError, match="no image to draw"):
        SegmentationDisplay.from_predictions(X[:0], [], [])
    matplotlib.pyplot.close("all")


def test_display_leaves_out_the_ignored_label(scenes):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    X, y = scenes[0], scenes[1].copy()
    y[:, :8] = 255
    model = PixelClassifier(LogisticRegression(), ignore_index=255, random_state=0).fit(X, y)
    pipe = make_pipeline(FunctionTransformer(), model).fit(X, y)
    alone, last = (SegmentationDisplay.from_estimator(m, X, y, n_images=1) for m in (model, pipe))
    assert last.ignore_index == alone.ignore_index
    assert_array_equal(last.classes, alone.classes)
    nothing = SegmentationDisplay.from_predictions(X[:1], 0 * y[:1], 0 * y[:1], ignore_index=0)
    for ax in nothing.axes_[0, 1:3]:
        assert (ax.images[0].get_array() == 1).all()  # blank
    matplotlib.pyplot.close("all")


def test_masks_bear_mirroring_or_not():
    """Digits do not, what is bright or dark does."""
    data = make_digit_scenes(60, random_state=0)
    X, random_state = torch.from_numpy(data.images).permute(0, 3, 1, 2), np.random.RandomState(0)
    digits = torch.from_numpy(data.masks.astype(np.int16))
    bright = (X.float().mean(1) > 128).to(torch.int16)
    for masks, keeps in ((digits, False), (bright, True)):
        _, labels, _, _ = labeled_patches(X, masks, random_state)
        assert torch.equal(labels.bincount()[labels.unique()] <= 250, torch.ones(
            len(labels.unique()), dtype=torch.bool))  # fmt: skip
        assert mirroring_keeps_masks(X, masks, random_state) is keeps


def test_masks_without_a_label_are_not_mirrored():
    X, y = np.random.RandomState(0).uniform(size=(401, 8, 8)), np.full((401, 8, 8), -1)
    y[1] = np.arange(8) // 4  # the only one with labels, which every second image leaves out
    model = small(ignore_index=-1, augment="auto", max_iter=1).fit(X, y)
    assert not model.mirrored_


def test_masks_of_what_is_left_and_right_are_not_mirrored():
    """Two classes that look alike, each on its side, and the same two on any side."""
    rng = np.random.RandomState(0)
    X = rng.uniform(0, 0.2, (60, 1, 24, 32))
    sided, mixed = np.zeros((2, 60, 24, 32), dtype=int)
    for i in range(60):
        top, left, right = rng.randint(4, 8), rng.randint(2, 6), rng.randint(18, 22)
        swapped = i % 2
        for label, column in ((1, left), (2, right)):
            where = i, slice(top, top + 12), slice(column, column + 9)
            X[i, 0][where[1:]] += 0.6
            sided[where] = label
            mixed[where] = 3 - label if swapped else label
    bright = X.copy()  # on any side they differ in how bright they are
    bright[:, 0][mixed == 2] += 1.0
    for images, masks, keeps in ((X, sided, False), (bright, mixed, True)):
        found = mirroring_keeps_masks(torch.from_numpy(images), torch.from_numpy(masks), rng)
        assert found is keeps


DATA = Path(os.environ.get("SKLEARN_NETS_DATA", "missing")) / "camvid_120x160.npz"


@pytest.mark.skipif(not DATA.exists(), reason="needs SKLEARN_NETS_DATA")
def test_street_scenes_with_unlabeled_pixels():
    with np.load(DATA) as data:
        X, y = data["images"][:16], data["masks"][:16]
    model = small(ignore_index=11, max_iter=4, channels=(8, 16, 32), batch_size=4).fit(X, y)
    assert 11 not in model.classes_
    most_common = np.full_like(y, np.bincount(y[y != 11]).argmax())
    assert model.score(X, y) > mean_iou_score(y, most_common, ignore_index=11)
