"""Odd inputs: read as they are meant, or refused in words that help."""

import tracemalloc
import warnings
from inspect import signature

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn import neural_network as reference
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data

import sklearn_nets
from sklearn_nets import (
    Autoencoder,
    CNNClassifier,
    FlattenImages,
    MLPClassifier,
    MLPRegressor,
    PixelClassifier,
    RandomFlipShift,
    SegmentationNet,
    ViTClassifier,
    compare,
    make_digit_scenes,
)
from sklearn_nets._base.masks import encode_masks, mask_classes
from sklearn_nets._training.stopping import Progress
from sklearn_nets._utils.array_api import concatenate, to_tensor
from sklearn_nets._utils.validation import fingerprint

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:100] / 16, Y[:100]
IMAGES = X.reshape(-1, 8, 8)
MASKS = (IMAGES > 0.5).astype(int)
TINY = {"max_iter": 1, "random_state": 0}


def cnn(**settings):
    return CNNClassifier(**{"channels": (4,), **TINY, **settings})


def segmenter(**settings):
    return SegmentationNet(**{"channels": (4,), **TINY, **settings})


# ------------------------------------------------------------------------------------------- masks


def test_one_large_label_takes_no_large_table():
    masks = np.zeros((2, 8, 8), np.uint32)
    masks[0, 0, 0] = 2**32 - 1
    tracemalloc.start()
    assert mask_classes(masks, None).tolist() == [0, 2**32 - 1]
    model = segmenter().fit(IMAGES[:2], masks)
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()
    assert set(np.unique(model.predict(IMAGES[:2]))) <= {0, 2**32 - 1}


def test_more_classes_than_two_bytes_hold():
    masks = np.arange(40_000).reshape(1, 200, 200)
    classes = mask_classes(masks, None)
    assert_array_equal(encode_masks(masks, classes, None), masks)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.full((2, 8, 8), 1e300), "labels below 2[*][*]63, got numbers up to 1e[+]300"),
        (np.array(["paper", "ink"], dtype=object)[MASKS[:2]], None),
        (np.array([["a", 1] * 32] * 2, dtype=object).reshape(2, 8, 8), "one type.*int and str"),
    ],
)
def test_labels_that_are_none(masks, message):
    if message is None:
        segmenter().fit(IMAGES[:2], masks)
        return
    with pytest.raises(ValueError, match=message):
        segmenter().fit(IMAGES[:2], masks)


def test_a_validation_set_without_any_label():
    masks = MASKS.copy()
    masks[50:] = 255
    with pytest.raises(ValueError, match="validation set holds no labeled pixel.*255"):
        segmenter(ignore_index=255).fit(
            IMAGES[:50], masks[:50], X_val=IMAGES[50:], y_val=masks[50:]
        )


@pytest.mark.parametrize("model", [segmenter(), PixelClassifier(MLPClassifier())])
def test_predict_before_fit(model):
    with pytest.raises(NotFittedError):
        model.predict(IMAGES)


# ------------------------------------------------------------------------------------------ arrays


def test_negative_stride_of_an_axis_of_length_one():
    backwards = X[:1, ::-1][::-1]
    assert_array_equal(to_tensor(backwards, torch.device("cpu")).numpy(), backwards)
    column = X[:, :1][:, ::-1]
    model = MLPClassifier(3, **TINY).fit(column, Y)
    assert_array_equal(model.predict(column), model.predict(column.copy()))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("make", [cnn, lambda: ViTClassifier(embed_dim=8, depth=1, **TINY)])
def test_values_beyond_float32_are_not_infinite_in_silence(make):
    large = IMAGES.copy()
    large[0, 0, 0] = 1e39
    with pytest.raises(
        ValueError, match="as large as 1e[+]39, beyond float32.*precision='float64'"
    ):
        make().fit(large, Y)
    with pytest.raises(ValueError, match="beyond float32"):
        make().fit(IMAGES, Y).predict(large)
    narrow = MLPClassifier(3, **TINY).fit(X.astype(np.float32), Y)
    with pytest.raises(ValueError, match="beyond float32"):
        narrow.predict(X * 1e39)
    assert np.isfinite(MLPClassifier(3, **TINY).fit(X, Y).predict_proba(X * 1e39)).all()


def test_frames_of_categories():
    frame = pd.DataFrame({"a": [1, 2, 1, 2] * 5, "b": [2, 1, 1, 2] * 5}).astype("category")
    model = MLPClassifier(3, **TINY).fit(frame, frame.a.to_numpy())
    assert model.predict(frame).shape == (20,)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_single_image_is_told_from_several(channels):
    images = np.stack([IMAGES[:, :, :7]] * channels, axis=1)
    model = cnn().fit(images, Y)
    last = images.transpose(0, 2, 3, 1)
    singles = [last[0]] + ([images[0, 0]] if channels == 1 else [images[0]])
    for one in singles:
        with pytest.raises(ValueError, match=r"got a single one, of shape.*Pass X\[None\]"):
            model.predict(one)
    for one in (images[:1], last[:1], *([images[0]] if channels == 1 else [])):
        assert model.predict(one).shape == (1,)
    cnn(image_shape=(1, 1, 64)).fit(X, Y).predict(X[:1])


@pytest.mark.parametrize("make", [cnn, segmenter, FlattenImages])
def test_other_channels_than_in_fit_are_to_be_converted(make):
    color = np.stack([IMAGES] * 3, axis=3)
    model = make().fit(color, MASKS if make is segmenter else Y)
    answer = getattr(model, "transform", getattr(model, "predict", None))
    for other in (IMAGES, color[..., [0, 1, 2, 0]]):
        with pytest.raises(ValueError, match=r"was fitted on.*Convert.*PIL\.Image\.Image\.convert"):
            answer(other)
    with pytest.raises(ValueError, match=r"Resize or crop|X\[None\]"):
        answer(color[:, :4] if make is not segmenter else color[0])


def test_times_are_numbers():
    times = (1e3 * X).astype("datetime64[ns]")
    model = MLPRegressor(hidden_layer_sizes=3, **TINY).fit(X, Y)
    assert_array_equal(model.predict(times), model.predict(times.astype(float)))
    with pytest.raises(ValueError, match="needs a y of numbers"):  # scikit-learn refuses them too
        model.fit(X, times[:, 2])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_weights_that_vanish_in_float32_are_not_a_net(early_stopping):
    model = MLPRegressor(hidden_layer_sizes=3, early_stopping=early_stopping, random_state=0)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        model.fit(X.astype(np.float32), Y, sample_weight=np.full(len(Y), 1e-300))


@pytest.mark.parametrize("solver", ["lbfgs", "gd", "adam"])
@pytest.mark.filterwarnings("ignore")  # of what overflows, and scipy's
def test_an_infinite_loss_is_not_a_net(solver):
    model = MLPRegressor(solver=solver, random_state=0)
    with pytest.raises(ValueError, match="non-finite parameter weights.*The loss was inf"):
        model.fit(1e200 * X, Y)


def test_a_score_that_is_nan_is_no_improvement():
    progress = Progress.start(early_stopping=True)
    assert progress.update(1.0, 0.5, tol=1e-4)
    for _ in range(2):
        assert not progress.update(np.nan, np.nan, tol=1e-4)
    assert (progress.best_score, progress.no_improvement) == (0.5, 2)


def test_other_data_have_another_fingerprint():
    """Only then do scores of a warm start count that were found before."""
    weight = np.ones(len(Y))
    known = fingerprint(X, Y, weight)
    assert fingerprint(X.copy(), Y.copy(), weight.copy()) == known
    others = [
        (X[:-1], Y, weight), (X + 1, Y, weight), (X, Y[::-1], weight), (X, Y, 2 * weight),
        (X, Y, None),
    ]  # fmt: skip
    assert len({known, *(fingerprint(*data) for data in others)}) == 6
    tensors = fingerprint(torch.from_numpy(X), Y, weight)
    assert tensors != fingerprint(torch.from_numpy(X + 1), Y, weight)


# --------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("make", [cnn, segmenter, lambda **s: MLPClassifier(3, **TINY, **s)])
@pytest.mark.parametrize("factor", [-1.0, np.nan, np.inf])
def test_class_weights_are_checked(make, factor):
    target = MASKS if make is segmenter else Y % 2
    with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0"):
        make(class_weight={1: factor}).fit(X if make not in (cnn, segmenter) else IMAGES, target)


@pytest.mark.parametrize(("dtype", "wrong", "right"), [(int, "0", 0), (str, 0, "0")])
def test_an_ignored_label_is_of_the_type_of_the_others(dtype, wrong, right):
    masks = MASKS.astype(dtype)
    pixels = PixelClassifier(DummyClassifier(), ignore_index=wrong)
    message = f"ignore_index must be a label of the type of those in y.*got {wrong!r}"
    for fit in (
        segmenter(ignore_index=wrong).fit,
        pixels.fit,
        lambda X, y: compare({"a": pixels}, X, y, ignore_index=wrong),
    ):
        with pytest.raises(ValueError, match=message):
            fit(IMAGES, masks)
    for dtype in (masks.dtype, object):
        model = segmenter(ignore_index=right).fit(IMAGES, masks.astype(dtype))
        assert len(model.classes_) == 1


def test_class_weights_that_leave_no_pixel():
    with pytest.raises(ValueError, match="class_weight leaves no class of any weight"):
        segmenter(class_weight={0: 0, 1: 0}).fit(IMAGES, MASKS)


@pytest.mark.parametrize("channels", [(), (0,), (4, -1), (4.5,), ("4",)])
@pytest.mark.parametrize("make", [cnn, segmenter])
def test_channels_are_positive_integers(make, channels):
    with pytest.raises(ValueError, match="channels must be > 0, an integer for each"):
        make(channels=channels).fit(IMAGES, MASKS if make is segmenter else Y)


@pytest.mark.parametrize("sizes", [10.5, (10.5,), ("a",), (3, 0), [[3]]])
@pytest.mark.parametrize("net", [MLPRegressor, MLPClassifier, Autoencoder])
def test_layers_have_positive_integers_of_units(net, sizes):
    with pytest.raises(ValueError, match="'?hidden_layer_sizes'? .*must be"):
        net(hidden_layer_sizes=sizes, max_iter=1).fit(X, Y % 2)


@pytest.mark.parametrize("patch_size", [10.5, (2.5, 2), ("a", "b"), (2,), 0, 9])
def test_patches_have_integers_of_pixels(patch_size):
    with pytest.raises(ValueError, match="'?patch_size'? .*must be"):
        ViTClassifier(patch_size).fit(IMAGES, Y)


def test_image_shape_of_other_than_integers():
    with pytest.raises(ValueError, match="image_shape must be"):
        cnn(image_shape=("1", 8, 8)).fit(X, Y)


def test_images_of_several_sizes_are_to_be_resized_first():
    several = [image[:, : 8 - i % 3] for i, image in enumerate(IMAGES)]
    message = r"one shape, got 100 of 3 shapes: \(8, 6\), \(8, 7\), \(8, 8\)\. Resize or crop"
    with pytest.raises(ValueError, match=message):
        cnn().fit(several, Y)
    model = cnn().fit(list(IMAGES), Y)
    with pytest.raises(ValueError, match=message):
        model.predict(several)


@pytest.mark.parametrize("make", [cnn, segmenter])
def test_pixels_of_another_scale_than_in_fit_are_said(make):
    scenes = make_digit_scenes(12, image_size=(32, 32), random_state=0)
    images, y = scenes.images, scenes.masks if make is segmenter else np.arange(12) % 2
    unit = (images / 255).astype(np.float32)
    for fitted, other in ((unit, images), (images, unit), (unit, images.astype(float))):
        with warnings.catch_warnings():  # with a validation set of that scale, too
            warnings.simplefilter("error")
            model = make(max_iter=2).fit(fitted, y, X_val=other, y_val=y)
            model.predict(fitted)
            model.predict(fitted.astype(np.float64))
            model.predict(0 * fitted)
            model.predict(fitted[:1] // 2)
        with pytest.warns(UserWarning, match="Scale X as in fit") as caught:
            model.predict(other)
        assert len(caught) == 1
        assert make is segmenter or caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        standard = (images - images.mean()) / images.std()
        make().fit(standard, y).predict(standard[:1])
        counts = np.random.default_rng(0).poisson(0.1, images.shape).astype(float)
        counts[0, 0] = 80  # few, and rarely many
        rare = make().fit(counts, y)
        rare.predict(counts[:1])
        rare.predict(counts[1:2])


def test_shapes_that_look_wrong_are_named_once():
    with pytest.warns(
        UserWarning, match=r"read as 8 channels of 8x1 pixels.*image_shape=\(1, 8, 8\)"
    ):
        model = cnn(image_shape=(8, 8, 1)).fit(X, Y)
    model.predict(X)  # a warning would be an error
    with pytest.warns(UserWarning, match=r"1x64 pixels.*image_shape=\(1, 8, 8\)"):
        model = cnn().fit(X, Y)
    model.predict(X)
    with pytest.warns(UserWarning, match=r"1x192 pixels.*image_shape=\(3, 8, 8\)"):
        cnn().fit(np.repeat(X, 3, axis=1), Y)
    cnn(image_shape=(1, 8, 8)).fit(X, Y)
    cnn().fit(X[:, :50], Y)


@pytest.mark.parametrize("make", [cnn, Autoencoder])
def test_rows_after_images_of_channels_last_are_refused(make):
    images = np.stack([IMAGES, 1 - IMAGES, IMAGES**2], axis=3)
    rows = images.transpose(0, 3, 1, 2).reshape(100, -1)
    model = make(max_iter=1, random_state=0).fit(images, Y)
    with pytest.raises(ValueError, match=r"channels\) = \(8, 8, 3\), got rows.*=\(3, 8, 8\)"):
        model.score(rows, Y)
    first = model.fit(images.transpose(0, 3, 1, 2), Y)
    assert_allclose(first.score(rows, Y), first.score(images.transpose(0, 3, 1, 2), Y))
    known = model.set_params(image_shape=(3, 8, 8)).fit(images, Y)
    assert_allclose(known.score(rows, Y), known.score(images, Y))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("lr", "learning_rate_init"), ("epochs", "max_iter"), ("seed", "random_state")],
)
@pytest.mark.parametrize("net", [MLPClassifier, MLPRegressor, CNNClassifier, SegmentationNet])
def test_names_of_other_libraries(net, name, meant):
    with pytest.raises(
        TypeError, match=f"unexpected keyword argument '{name}'. Did you mean '{meant}'"
    ):
        net(**{name: 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'$"):
        net(other=1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
def test_rows_pass_the_check_that_pass_scikit_learns(dtype):
    """Plain arrays are not given to scikit-learn's check, which gives them back as they are."""
    rng = np.random.RandomState(0)
    rows = (100 * rng.rand(700, 5)).astype(dtype)  # their sum is beyond float16
    net = MLPClassifier(max_iter=1, random_state=0).fit(rows, np.arange(700) % 2)
    assert net._validate_data(rows, reset=False) is rows
    assert validate_data(net, rows, reset=False) is rows


@pytest.mark.parametrize(
    "wrong",
    [
        lambda X: np.where(X.mean() < X, np.nan, X),
        lambda X: np.where(X.mean() < X, np.inf, X),
        lambda X: np.where(X.mean() < X, -np.inf, np.where(X.min() + 0.1 > X, np.inf, X)),
        lambda X: X[:, :4],
        lambda X: X[:0],
        lambda X: X[:, :0],
        lambda X: X[0],
        lambda X: X.astype(complex),
        lambda X: X.astype(str),
        np.asmatrix,
    ],
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of the matrix
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")  # scikit-learn's own
def test_rows_are_refused_as_by_scikit_learn(wrong):
    X = np.random.RandomState(0).rand(30, 5)
    models = [M(max_iter=1).fit(X, X[:, 0] > 0.5) for M in (MLPClassifier, reference.MLPClassifier)]
    errors = []
    for model in models:
        with pytest.raises((ValueError, TypeError)) as caught:
            model.predict(wrong(X))
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]


def test_an_array_where_fit_saw_a_frame_warns_as_in_scikit_learn():
    X = pd.DataFrame(np.random.RandomState(0).rand(30, 2), columns=["a", "b"])
    net = MLPClassifier(max_iter=1).fit(X, X["a"] > 0.5)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        net.predict(X.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        net.predict(X.rename(columns={"a": "c"}))


def test_assume_finite_lets_pass_what_is_not():
    X = np.random.RandomState(0).rand(30, 2)
    net = MLPClassifier(max_iter=1).fit(X, X[:, 0] > 0.5)
    with config_context(assume_finite=True):
        assert len(net.predict(np.full((3, 2), np.nan))) == 3


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]
)
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 4, 5)])
def test_parts_are_concatenated(shape, dtype):
    whole = (10 * torch.rand(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
    for size in (1, 3, 7, 20):
        parts = iter(whole.split(size))
        found = concatenate(parts, len(whole))
        assert found.dtype == dtype
        assert torch.equal(found, whole)
    turned = whole.transpose(0, -1)  # not contiguous
    assert torch.equal(concatenate(turned.split(2), len(turned)), turned)


def test_numbers_of_numpys_types():
    """A parameter that `np.arange` or a grid has made is the same as one of Python's."""

    def vit(**settings):
        return ViTClassifier(embed_dim=8, depth=1, num_heads=2, **TINY, **settings)

    one, two = np.int64(1), np.int64(2)
    for plain, given in (
        (vit(patch_size=2), vit(patch_size=two)),
        (vit(patch_size=(2, 1)), vit(patch_size=(two, one))),
        (cnn(augment=RandomFlipShift(shift=1)), cnn(augment=RandomFlipShift(shift=one))),
        (
            cnn(augment=RandomFlipShift(shift=(1, 2))),
            cnn(augment=RandomFlipShift(shift=(one, two))),
        ),
        (cnn(beta_1=0.5, beta_2=0.75), cnn(beta_1=np.float32(0.5), beta_2=np.float32(0.75))),
        (Autoencoder(channels=(4, 8), **TINY), Autoencoder(channels=np.array([4, 8]), **TINY)),
    ):
        assert given.fit(IMAGES, Y).loss_ == plain.fit(IMAGES, Y).loss_


@pytest.mark.parametrize("name", ["CNN", "ViT", "Memory", "MLP"])
def test_regressors_take_by_position_what_their_classifiers_take(name):
    """But the perceptrons what scikit-learn's take."""

    def positional(kind):
        parameters = signature(kind).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    classifier, regressor = (
        getattr(sklearn_nets, name + kind) for kind in ("Classifier", "Regressor")
    )
    if name != "MLP":
        assert positional(regressor) == positional(classifier)
        return
    assert positional(regressor) == positional(reference.MLPRegressor)[: len(positional(regressor))]
    assert positional(regressor)[0] == "loss"
