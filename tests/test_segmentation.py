"""Segmentation: masks in, masks out, searched and weighed like any estimator."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier

from sklearn_nets.datasets import make_digit_scenes
from sklearn_nets.metrics import mean_iou_score
from sklearn_nets.modules.losses import PixelLoss
from sklearn_nets.segmentation import PixelClassifier, SegmentationNet

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
        (small(class_weight=cw, max_iter=4).fit(X, y).predict(X) == 1).mean()
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


DATA = Path(os.environ.get("SKLEARN_NETS_DATA", "missing")) / "camvid_120x160.npz"


@pytest.mark.skipif(not DATA.exists(), reason="needs SKLEARN_NETS_DATA")
def test_street_scenes_with_unlabelled_pixels():
    with np.load(DATA) as data:
        X, y = data["images"][:16], data["masks"][:16]
    model = small(ignore_index=11, max_iter=4, channels=(8, 16, 32), batch_size=4).fit(X, y)
    assert 11 not in model.classes_
    most_common = np.full_like(y, np.bincount(y[y != 11]).argmax())
    assert model.score(X, y) > mean_iou_score(y, most_common, ignore_index=11)
