"""scikit-learn's checks of every public estimator, and the same for images and masks."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import SkipTestWarning
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier as ReferenceNeighbors
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import ClassifierTags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import _check_n_features
from small_boxes import assert_same_boxes

import sklearn_nets
from sklearn_nets import (
    Autoencoder,
    CNNClassifier,
    CNNRegressor,
    DetectionNet,
    EmbeddingNet,
    FeatureExtractor,
    FlattenImages,
    KNeighborsClassifier,
    KNeighborsRegressor,
    LinearSVC,
    MemoryClassifier,
    MemoryRegressor,
    MLPClassifier,
    MLPRegressor,
    NearestNeighbors,
    PixelClassifier,
    PixelDetector,
    SegmentationNet,
    ViTClassifier,
    ViTRegressor,
)

# Small nets, trained far enough for the checks that ask for accuracy.
CNN = CNNClassifier(channels=(8, 16), learning_rate_init=0.01, max_iter=40)
VIT = ViTClassifier(embed_dim=16, depth=1, num_heads=2, learning_rate_init=0.01, max_iter=40)
CNN_NUMBERS = CNNRegressor(channels=(8, 16), learning_rate_init=0.01, max_iter=100)
VIT_NUMBERS = ViTRegressor(embed_dim=16, depth=1, num_heads=2, learning_rate_init=0.01, max_iter=40)
SEGMENTER = SegmentationNet(channels=(8, 16), learning_rate_init=0.01, max_iter=40)
PIXELS = PixelClassifier(ReferenceNeighbors(1), patch_size=3)
AUTOENCODER = Autoencoder(2, hidden_layer_sizes=(8,), max_iter=20)
EMBEDDING = EmbeddingNet(2, width=16, max_iter=20)
MEMORIES = [
    cls(width=16, n_components=8, dropout=0.0, learning_rate_init=0.01, max_iter=50)
    for cls in (MemoryClassifier, MemoryRegressor)
]
LOSSES = [MLPClassifier(loss="hinge"), MLPClassifier(loss="focal"), MLPRegressor(loss="huber")]
DETECTOR = DetectionNet(channels=(8, 16, 16), learning_rate_init=0.01)
PIXEL_BOXES = PixelDetector(ReferenceNeighbors(1), patch_size=3)

NEIGHBORS = [KNeighborsClassifier(), KNeighborsRegressor(), NearestNeighbors()]
TRANSFORMERS = [FlattenImages(), FeatureExtractor()]
IMAGE = [CNN, VIT, CNN_NUMBERS, VIT_NUMBERS]
TABULAR = [MLPClassifier(), MLPRegressor(), *NEIGHBORS, LinearSVC(), *IMAGE, *TRANSFORMERS]
TABULAR += [AUTOENCODER, EMBEDDING, *MEMORIES]
MASKED = [SEGMENTER, PIXELS]
BOXED = [DETECTOR, PIXEL_BOXES]
CLASSIFYING = [CNN, VIT]

ignore_unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_no_estimator_is_missing():
    public = {
        value
        for name in sklearn_nets.__all__
        if inspect.isclass(value := getattr(sklearn_nets, name))
        and issubclass(value, BaseEstimator)
    }
    assert public == {type(e) for e in TABULAR + MASKED + BOXED}


with warnings.catch_warnings():  # scikit-learn says that masks get few of its checks: see below
    warnings.simplefilter("ignore", SkipTestWarning)
    every_check = parametrize_with_checks([*TABULAR, *LOSSES, *MASKED, *BOXED])


# figures that agree to seven digits or more, of which float32 has no more, and bfloat16 two
IN_FLOAT64 = {
    "check_methods_subset_invariance",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}


@ignore_unconverged
@every_check
def test_scikit_learn_checks(estimator, check, request):
    if check.func.__name__ in IN_FLOAT64:
        request.getfixturevalue("host")
    check(estimator)


# ------------------------------------------------- scikit-learn's own checks, on masks and boxes
class RowsAsImages:
    """Lets scikit-learn's checks, which make rows and labels, reach a segmenter.

    A row becomes an image one pixel high and its label the label of every pixel.
    """

    def _rows_as_images(self, X, *, reset=False):
        if issparse(X):
            return X
        X = np.asarray(X)
        if X.ndim == 2:
            _check_n_features(self, X, reset=reset)
            X = X[:, None, None]
        return X

    @staticmethod
    def _labels_as_masks(X, y):
        if y is None or issparse(X):
            return y
        y = np.asarray(y).reshape(-1, 1, 1)
        return np.repeat(y, np.asarray(X).shape[-1], axis=2)

    def fit(self, X, y, sample_weight=None):
        return super().fit(
            self._rows_as_images(X, reset=True), self._labels_as_masks(X, y), sample_weight
        )

    def predict(self, X):
        return super().predict(self._rows_as_images(X))[:, 0, 0]

    def score(self, X, y, sample_weight=None):
        return accuracy_score(y, self.predict(X), sample_weight=sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        tags.target_tags.one_d_labels = True
        return tags


class RowSegmentationNet(RowsAsImages, SegmentationNet):
    def _batch_size(self, n_samples):
        return n_samples  # as of rows: in one batch weights equal repetition

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        images = self._rows_as_images(X, reset=not hasattr(self, "net_"))
        return super().partial_fit(images, self._labels_as_masks(X, y), sample_weight, classes)

    def predict_proba(self, X):
        return super().predict_proba(self._rows_as_images(X))[:, :, 0, 0]


class RowPixelClassifier(RowsAsImages, PixelClassifier):
    pass


NOT_FOR_MASKS = {
    "check_supervised_y_2d": "a mask has one more axis than a column of labels",
    "check_estimators_empty_data_messages": "the message shows the shape of the images",
}

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SkipTestWarning)
    every_mask_check = parametrize_with_checks(
        [
            RowSegmentationNet(
                channels=(8, 16), learning_rate_init=0.01, augment=None, precision="float64"
            ),
            RowPixelClassifier(DecisionTreeClassifier(random_state=0), patch_size=3),
        ],
        expected_failed_checks=lambda estimator: NOT_FOR_MASKS,
        xfail_strict=True,
    )


@ignore_unconverged
@every_mask_check
def test_scikit_learn_checks_on_masks(estimator, check):
    check(estimator)


class RowsAsBoxes(RowsAsImages):
    """The same for a detector: the label of a row is that of a box around the whole image."""

    @staticmethod
    def _labels_as_boxes(X, y):
        if y is None or issparse(X) or np.asarray(y).ndim != 1:
            return y
        width = np.asarray(X).shape[-1]
        return [{"boxes": [[0, 0, width, 1]], "labels": [label]} for label in np.asarray(y)]

    def fit(self, X, y, sample_weight=None):
        y = self._labels_as_boxes(X, y)
        return super(RowsAsImages, self).fit(self._rows_as_images(X, reset=True), y, sample_weight)

    def predict(self, X):
        found = super(RowsAsImages, self).predict(self._rows_as_images(X))
        best = [image["labels"][:1] for image in found]  # of the highest score
        return np.concatenate([label if len(label) else self.classes_[:1] for label in best])


class RowDetectionNet(RowsAsBoxes, DetectionNet):
    def _batch_size(self, n_samples):
        return n_samples

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        images = self._rows_as_images(X, reset=not hasattr(self, "net_"))
        return super().partial_fit(images, self._labels_as_boxes(X, y), sample_weight, classes)


class RowPixelDetector(RowsAsBoxes, PixelDetector):
    pass


with warnings.catch_warnings():
    warnings.simplefilter("ignore", SkipTestWarning)
    every_box_check = parametrize_with_checks(
        [
            RowDetectionNet(
                channels=(8, 16), learning_rate_init=0.02, max_iter=60, augment=None,
                precision="float64", score_threshold=0.0,
            ),
            RowPixelDetector(
                DecisionTreeClassifier(random_state=0), patch_size=3, min_pixels=1
            ),
        ],
        expected_failed_checks=lambda estimator: NOT_FOR_MASKS,
        xfail_strict=True,
    )  # fmt: skip


@ignore_unconverged
@every_box_check
def test_scikit_learn_checks_on_boxes(estimator, check):
    check(estimator)


# --------------------------------------------------------------- the same for images and masks
def make_images(n=24, height=8, width=8, channels=3, seed=0):
    """Bright squares on noise, their position the class; masks say where they are."""
    rng = np.random.RandomState(seed)
    X = rng.randint(0, 60, (n, channels, height, width)).astype(np.uint8)
    y = np.arange(n) % 2
    masks = np.zeros((n, height, width), dtype=int)
    for image, label, mask in zip(X, y, masks):
        rows = slice(0, height // 2) if label else slice(height // 2, height)
        image[:, rows, 1 : width - 1] += 150
        mask[rows, 1 : width - 1] = label + 1
    return X, y, masks


def targets(estimator, y, masks):
    if type(estimator) in {type(e) for e in BOXED}:
        return boxes_of(masks)
    return masks if type(estimator) in {type(e) for e in MASKED} else y


def boxes_of(masks):
    """The squares of `make_images` as boxes."""
    found = []
    for mask in masks:
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found.append({"boxes": [box], "labels": [mask.max()]})
    return found


both = pytest.mark.parametrize("estimator", IMAGE + MASKED, ids=lambda e: type(e).__name__)
labels = pytest.mark.parametrize("estimator", CLASSIFYING + MASKED, ids=lambda e: type(e).__name__)
masked = pytest.mark.parametrize("estimator", MASKED, ids=lambda e: type(e).__name__)
boxed = pytest.mark.parametrize("estimator", BOXED, ids=lambda e: type(e).__name__)
pytestmark = ignore_unconverged


@both
def test_learns_images(estimator):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    model = clone(estimator).set_params(random_state=0).fit(X, t)
    assert model.score(X, t) > 0.9


@labels
def test_labels_as_strings(estimator):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    names = np.array(["nothing", "lower", "upper"])
    model = clone(estimator).set_params(random_state=0)
    numbers = model.fit(X, t).predict(X)
    words = model.fit(X, names[t]).predict(X)
    assert words.dtype.kind == "U"
    assert set(np.unique(words)) <= set(names)
    assert np.mean(words == names[numbers]) > 0.9


@both
def test_layouts_give_the_same_answer(estimator):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    model = clone(estimator).set_params(random_state=0)
    first = model.fit(X, t).predict(X)
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    assert_array_equal(model.fit(last, t).predict(last), first)
    assert_array_equal(model.predict(X), first)
    gray = clone(model).fit(X[:, 0], t)
    assert_array_equal(gray.predict(X[:, 0]), gray.predict(X[:, :1]))


def assert_same(one, other):
    """Equal labels, or numbers that are equal up to rounding."""
    if one.dtype.kind == "f":
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    else:
        assert_array_equal(one, other)


@pytest.mark.usefixtures("host")
@both
def test_subset_and_order_invariance(estimator):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    model = clone(estimator).set_params(random_state=0).fit(X, t)
    order = np.random.RandomState(0).permutation(len(X))
    whole = model.predict(X)
    assert_same(model.predict(X[order]), whole[order])
    assert_same(np.concatenate([model.predict(X[i : i + 1]) for i in range(len(X))]), whole)
    if hasattr(model, "predict_proba"):
        proba = model.predict_proba(X)
        assert_allclose(model.predict_proba(X[order]), proba[order], rtol=1e-4, atol=1e-6)
        assert_allclose(proba.sum(1), 1, rtol=1e-5)


@both
def test_fit_is_idempotent_bitwise_and_pickles(estimator):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    model = clone(estimator).set_params(random_state=0)
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    first = getattr(model.fit(X, t), method)(X)
    torch.manual_seed(1)
    assert_array_equal(getattr(model.fit(X, t), method)(X), first)
    assert_array_equal(getattr(pickle.loads(pickle.dumps(model)), method)(X), first)


@both
def test_refit_on_another_size_and_channel_count(estimator):
    model = clone(estimator).set_params(random_state=0)
    for shape in ((8, 8, 3), (6, 10, 1), (9, 7, 4)):
        X, y, masks = make_images(12, *shape)
        assert len(model.fit(X, targets(estimator, y, masks)).predict(X)) == 12


@both
def test_read_only_memory_maps(estimator, tmp_path):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = clone(estimator).set_params(random_state=0)
    assert_array_equal(model.fit(mapped, t).predict(mapped), model.fit(X, t).predict(X))


@both
def test_wrong_channel_count(estimator):
    X, y, masks = make_images()
    model = clone(estimator).fit(X, targets(estimator, y, masks))
    with pytest.raises(ValueError, match=r"3 channel|\(3, 8, 8\)"):
        model.predict(X[:, :1])


@both
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity(estimator, value):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    model = clone(estimator).fit(X, t)
    X = X.astype(float)
    X[0, 0, 0, 0] = value
    for call in (lambda: clone(estimator).fit(X, t), lambda: model.predict(X)):
        with pytest.raises(ValueError, match="contains (NaN|infinity)"):
            call()


@both
def test_empty_and_misfitting_inputs(estimator):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    with pytest.raises(ValueError, match="0 sample"):
        clone(estimator).fit(X[:0], t[:0])
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples|expected masks"):
        clone(estimator).fit(X, t[:-1])
    with pytest.raises(ValueError, match="got shape"):
        clone(estimator).fit(X[None], t)


@both
def test_one_class_and_one_sample(estimator):
    X, y, masks = make_images()
    one = np.full_like(targets(estimator, y, masks), 1)
    assert_allclose(clone(estimator).fit(X, one).predict(X), 1, rtol=0.1)
    t = targets(estimator, y, masks)
    assert clone(estimator).fit(X[:1], t[:1]).predict(X[:1]).shape == t[:1].shape


@both
@pytest.mark.parametrize("weight", [-1.0, 0.0, np.nan])
def test_bad_weights(estimator, weight):
    X, y, masks = make_images()
    with pytest.raises(ValueError, match=r"[Ww]eight"):
        clone(estimator).fit(X, targets(estimator, y, masks), np.full(len(X), weight))


@masked
def test_masks_of_the_wrong_shape(estimator):
    X, _, masks = make_images()
    with pytest.raises(ValueError, match=r"expected masks of shape \(24, 8, 8\).*got \(24, 8, 7\)"):
        clone(estimator).fit(X, masks[:, :, :-1])
    with pytest.raises(ValueError, match="Unknown label type"):
        clone(estimator).fit(X, masks + 0.5)


@masked
def test_ignored_pixels_are_no_class(estimator):
    X, _, masks = make_images()
    masks = masks.copy()
    masks[:, 0] = 255
    model = clone(estimator).set_params(random_state=0, ignore_index=255).fit(X, masks)
    assert model.classes_.tolist() == [0, 1, 2]
    assert 255 not in model.predict(X)
    assert model.score(X, masks) > 0.9
    with pytest.raises(ValueError, match="no labeled pixel"):
        clone(model).fit(X, np.full_like(masks, 255))


@masked
def test_any_image_size_in_predict(estimator):
    X, _, masks = make_images()
    model = clone(estimator).set_params(random_state=0).fit(X, masks)
    for height, width in ((8, 8), (7, 13), (21, 5), (1, 1), (3, 2)):
        image = np.zeros((2, 3, height, width), np.uint8)
        assert model.predict(image).shape == (2, height, width)


@boxed
def test_boxes_of_images_in_every_layout(estimator, tmp_path):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    model = clone(estimator).set_params(random_state=0).fit(X, t)
    assert model.score(X, t) > 0.9
    found = model.predict(X)
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for images in (last, mapped, list(X)):
        assert_same_boxes(model.predict(images), found)
    assert_same_boxes(clone(model).fit(mapped, t).predict(mapped), found)
    for height, width in ((7, 13), (21, 5), (1, 1)):
        assert len(model.predict(np.zeros((2, 3, height, width), np.uint8))) == 2


@boxed
def test_what_is_no_image_or_has_no_boxes(estimator):
    X, y, masks = make_images()
    t = targets(estimator, y, masks)
    model = clone(estimator).set_params(max_iter=1) if hasattr(estimator, "max_iter") else estimator
    model = clone(model).fit(X, t)
    bad = X.astype(float)
    bad[0, 0, 0, 0] = np.nan
    for call in (lambda: clone(model).fit(bad, t), lambda: model.predict(bad)):
        with pytest.raises(ValueError, match="contains NaN"):
            call()
    with pytest.raises(ValueError, match=r"3 channel"):
        model.predict(X[:, :1])
    with pytest.raises(ValueError, match="0 sample"):
        clone(model).fit(X[:0], t[:0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clone(model).fit(X, t[:-1])
    for weight in (-1.0, 0.0, np.nan):
        with pytest.raises(ValueError, match=r"[Ww]eight"):
            clone(model).fit(X, t, np.full(len(X), weight))


def test_flat_rows_are_the_images():
    X, y, _ = make_images(channels=1)
    for estimator in IMAGE:
        method = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
        rows = clone(estimator).set_params(random_state=0, image_shape=(1, 8, 8))
        images = clone(estimator).set_params(random_state=0)
        flat = X.reshape(len(X), -1)
        answer = getattr(rows.fit(flat, y), method)
        assert_array_equal(answer(flat), getattr(images.fit(X, y), method)(X))
        assert_array_equal(answer(X), answer(flat))
        with pytest.raises(ValueError, match="image_shape must be"):
            rows.set_params(image_shape=(1, 8, 9)).fit(flat, y)
