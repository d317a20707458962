"""Every layout of images is the same data."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline

from sklearn_nets import (
    CNNClassifier,
    DetectionDisplay,
    DetectionNet,
    FeatureExtractor,
    FlattenImages,
    KNeighborsClassifier,
    LinearSVC,
    MLPClassifier,
    SegmentationDisplay,
    SegmentationNet,
)
from sklearn_nets._base.images import VALUES_AT_ONCE, input_statistics, rows_at_once
from sklearn_nets._base.precision import image_precision
from sklearn_nets._base.reconstruction import reconstruction_statistics
from sklearn_nets._utils.images import as_images, to_channels_first, to_display
from sklearn_nets.comparison._diagnosis_data import _thumbnails
from sklearn_nets.comparison._pictures import check_images, to_rgb
from sklearn_nets.datasets._image_files import read_image
from sklearn_nets.inspection import AttentionDisplay


def test_layouts_are_views_of_the_same_image():
    X = np.arange(2 * 3 * 8 * 9, dtype=np.uint8).reshape(2, 3, 8, 9)
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    for given in (X, last, torch.from_numpy(X), torch.from_numpy(last)):
        out = to_channels_first(given)
        assert np.array_equal(np.asarray(out), X)
        assert np.shares_memory(np.asarray(out), np.asarray(given))
    assert to_channels_first(X[:, 0]).shape == (2, 1, 8, 9)


@pytest.mark.parametrize(
    ("mode", "channels"),
    [
        ("P", 3), ("PA", 3), ("CMYK", 3), ("YCbCr", 3), ("HSV", 3), ("RGBa", 3), ("RGBA", 4),
        ("LA", 1), ("1", 1), ("L", 1),
    ],
)  # fmt: skip
def test_pictures_in_a_list_are_read_as_from_a_folder(mode, channels, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    rng, through = np.random.default_rng(0), {"PA": "P", "RGBa": "RGBA"}
    pictures = [
        Image.fromarray(rng.integers(256, size=(8, 9, 3), dtype=np.uint8)) for _ in range(6)
    ]
    pictures = [picture.convert(through.get(mode, mode)).convert(mode) for picture in pictures]
    images = as_images(pictures)
    assert all(
        np.shape(image) == ((8, 9) if channels == 1 else (8, 9, channels)) for image in images
    )
    if mode in ("P", "LA", "L"):  # of those that PNG knows
        pictures[0].save(tmp_path / "a.png")
        assert_array_equal(images[0], read_image(tmp_path / "a.png", (8, 9), channels == 1, 1))
    assert FlattenImages().fit(pictures).image_shape_ == (channels, 8, 9)
    assert CNNClassifier((4,), max_iter=1).fit(pictures, [0, 1] * 3).image_shape_ == (
        channels,
        8,
        9,
    )
    masks = [np.asarray(picture.convert("1")) for picture in pictures]
    net = SegmentationNet((4,), max_iter=1, random_state=0).fit(pictures, masks)
    assert net.n_channels_in_ == channels
    several = net.predict([pictures[0], pictures[1].crop((0, 0, 8, 8))])
    assert_array_equal(several[0], net.predict(pictures[:1])[0])


@pytest.mark.parametrize("several", ["objects", "series"])
def test_objects_and_series_of_images_are_stacked(several):
    rng, y = np.random.default_rng(0), np.arange(12) % 2
    images = rng.random((12, 8, 8, 3), dtype=np.float32)
    held = pd.Series(list(images))
    held = held if several == "series" else held.to_numpy()
    boxes = [{"boxes": [[0, 0, 4, 4]], "labels": [0]}] * 12
    for model, target in (
        (CNNClassifier((4,), max_iter=1, random_state=0), y),
        (FlattenImages(), y),
        (FeatureExtractor(random_state=0), y),
        (SegmentationNet((4,), max_iter=1, random_state=0), (images[..., 0] > 0.5).astype(int)),
        (DetectionNet(channels=(4, 4), max_iter=1, random_state=0), boxes),
    ):
        answer = "predict" if hasattr(model, "predict") else "transform"
        ours = getattr(model.fit(held, target), answer)(held)
        plain = getattr(model.fit(images, target), answer)(images)
        np.testing.assert_equal(ours, plain)


def test_channels_first_wins_where_both_could_be():
    assert to_channels_first(np.zeros((2, 3, 8, 4))).shape == (2, 3, 8, 4)
    assert to_channels_first(np.zeros((2, 8, 8, 4))).shape == (2, 4, 8, 8)
    with pytest.raises(ValueError, match="Expected images as"):
        to_channels_first(np.zeros((2, 2, 8, 8, 3)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_are_the_weighted_moments(dtype, weighted):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 256, (1100, 3, 4, 5)).astype(dtype) + dtype(0)
    weight = rng.randint(0, 3, 1100) if weighted else np.ones(1100, int)
    mean, scale = input_statistics(
        torch.from_numpy(X), torch.from_numpy(weight.astype(float)) if weighted else None
    )
    repeated = np.repeat(X, weight, axis=0).astype(float)
    assert_allclose(mean.numpy(), repeated.mean((0, 2, 3)), rtol=1e-12)
    assert_allclose(scale.numpy(), repeated.std((0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("side", [2, 64, 1000, 3000])
def test_moments_of_large_images_are_summed_a_few_at_a_time(side):
    few = rows_at_once(torch.empty(600, 3, side, side, device="meta"))
    assert few == 1 or few * 3 * side**2 <= VALUES_AT_ONCE
    assert few == 512 or (few + 1) * 3 * side**2 > VALUES_AT_ONCE


def test_moments_of_pieces_are_those_of_the_whole(monkeypatch):
    rng = np.random.RandomState(0)
    X, share = torch.from_numpy(rng.rand(300, 3, 20, 20)), torch.from_numpy(rng.rand(300))
    whole = [*input_statistics(X, share), *reconstruction_statistics(X, share)]
    monkeypatch.setattr("sklearn_nets._base.images.VALUES_AT_ONCE", 10_000)
    parts = [*input_statistics(X, share), *reconstruction_statistics(X, share)]
    for one, other in zip(whole, parts):
        assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, None)])
def test_bfloat16_only_where_the_card_computes_in_it(able, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    precision = image_precision("auto", np.zeros((2, 8, 8)), torch.device("cuda:0"), tabular=False)
    assert precision.autocast == expected
    assert precision.dtype == torch.float32
    rows = image_precision("auto", np.zeros((2, 8)), torch.device("cuda:0"), tabular=True)
    assert rows == ("float32", None, "float32")


@pytest.mark.parametrize("transformer", [FlattenImages(), FeatureExtractor()])
def test_transformers_forget_the_names_of_an_earlier_frame(transformer):
    frame = pd.DataFrame(np.random.RandomState(0).rand(4, 64)).add_prefix("pixel")
    if isinstance(transformer, FeatureExtractor):
        transformer.set_params(image_shape=(1, 8, 8))
    assert list(transformer.fit(frame).feature_names_in_) == list(frame)
    for images in (torch.ones(4, 1, 8, 8), np.ones((4, 8, 8))):
        transformer.fit(frame).fit(images)
        assert not hasattr(transformer, "feature_names_in_")


def test_transformers_refuse_images_of_several_sizes():
    for transformer in (FlattenImages(), FeatureExtractor()):
        name = type(transformer).__name__
        with pytest.raises(ValueError, match=rf"{name} takes images of one shape, got 2 of 2"):
            transformer.fit([np.zeros((8, 8)), np.zeros((8, 9))])


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_flatten_images_makes_rows_of_every_layout(make):
    X = np.arange(2 * 3 * 8 * 9, dtype=np.uint8).reshape(2, 3, 8, 9)
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    rows = [FlattenImages().fit_transform(make(images)) for images in (X, last)]
    for row in rows:
        assert type(row) is type(make(X))
        assert np.array_equal(np.asarray(row), X.reshape(2, -1))
    frame = FlattenImages().set_output(transform="pandas").fit_transform(X)
    assert np.array_equal(frame, X.reshape(2, -1))
    assert frame.columns.tolist() == [f"flattenimages{i}" for i in range(3 * 8 * 9)]
    flat = X.reshape(2, -1)
    assert np.array_equal(FlattenImages().fit_transform(flat), flat)
    with pytest.raises(ValueError, match=r"fitted on images .* \(3, 8, 9\), got \(3, 9, 8\)"):
        FlattenImages().fit(X).transform(X.transpose(0, 1, 3, 2))


@pytest.mark.parametrize(
    "shape", [(3, 2, 20, 24), (3, 3, 20, 4), (3, 4, 20, 24), (3, 20, 24, 3), (3, 20, 24)]
)
def test_thumbnails_read_the_layout_of_the_nets(shape):
    X = np.random.default_rng(0).random(shape)
    gray = to_channels_first(X).mean(axis=1)
    np.testing.assert_allclose(_thumbnails(X), _thumbnails(gray), atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 20, 4), (3, 4, 20, 1), (3, 4, 20, 24), (3, 20, 24, 3)])
def test_pictures_read_the_layout_of_the_nets(shape):
    X = np.random.default_rng(0).random(shape)
    pictures = check_images(X, SimpleNamespace(y=np.zeros(3)))
    np.testing.assert_array_equal(pictures, to_channels_first(X).transpose(0, 2, 3, 1))
    first, _ = check_images([X[0], np.zeros((5, 7))], SimpleNamespace(y=np.zeros(2)))
    np.testing.assert_array_equal(first, pictures[0])


@pytest.mark.parametrize(
    "estimator", [KNeighborsClassifier(), LinearSVC(), MLPClassifier(solver="lbfgs")], ids=str
)
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_estimators_of_rows_say_what_makes_rows_of_images(estimator, make):
    X, y = np.random.RandomState(0).rand(20, 3, 4, 4), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"dim 4, while dim <= 2 .* make_pipeline\(FlattenImages"):
        estimator.fit(make(X), y)
    pipeline = make_pipeline(FlattenImages(), estimator)
    assert pipeline.fit(make(X), y).predict(make(X)).shape == (20,)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.float16, np.float64])
def test_pictures_of_any_type_show_the_range_of_their_values(dtype):
    """Also where 255 times a value, or their range, is beyond their type."""
    values = np.array([[-120, 0, 120]] if dtype == np.int8 else [[0, 500, 1000]])
    picture = to_display(values.astype(dtype))
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[0, 127, 255]]


def test_pictures_of_bytes_are_themselves_and_have_one_channel_or_three():
    X = np.random.default_rng(0).integers(0, 100, (5, 6, 4), dtype=np.uint8)
    for n_channels, shown in ((1, X[..., 0]), (2, X[..., 0]), (3, X[..., :3]), (4, X[..., :3])):
        np.testing.assert_array_equal(to_display(X[..., :n_channels]), shown)
    np.testing.assert_array_equal(to_display(X > 50), 255 * (X > 50)[..., :3])
    assert to_display(np.full((2, 2), -7)).tolist() == [[0, 0], [0, 0]]
    assert to_display(np.array([[np.nan, 1, 2, np.inf]])).tolist() == [[0, 0, 255, 255]]


def test_all_displays_show_the_same_picture():
    pytest.importorskip("matplotlib").use("agg")
    X = np.random.default_rng(0).integers(0, 1000, (1, 6, 7, 3)).astype(np.uint16)
    nothing = [{"boxes": np.zeros((0, 4)), "labels": [], "scores": []}]
    masks = np.zeros((1, 6, 7), int)
    displays = (
        SegmentationDisplay.from_predictions(X, masks, masks).axes_[0],
        DetectionDisplay.from_predictions(X, None, nothing).axes_,
        AttentionDisplay(X.transpose(0, 3, 1, 2), np.ones((1, 2, 2))).plot().axes_,
    )
    for axes in displays:
        np.testing.assert_array_equal(axes[0].images[0].get_array(), to_rgb(X[0]))
