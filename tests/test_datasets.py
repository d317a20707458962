"""Scenes: exact copies where nothing was pasted, exact boxes, the same at every call."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from sklearn_nets.datasets import make_digit_scenes


@pytest.fixture(scope="module")
def scenes():
    return make_digit_scenes(60, image_size=(56, 72), random_state=0)


def test_shapes_and_types(scenes):
    assert scenes.images.shape == (60, 56, 72, 3)
    assert scenes.images.dtype == np.uint8
    assert scenes.masks.shape == (60, 56, 72)
    assert scenes.masks.dtype == np.uint8
    assert scenes.class_names == ["background", *"0123456789"]
    assert len(scenes.boxes) == len(scenes.labels) == 60
    for boxes, labels in zip(scenes.boxes, scenes.labels, strict=True):
        assert boxes.shape == (len(labels), 4)
        assert boxes.dtype == labels.dtype == np.int64


def test_every_class_appears(scenes):
    assert set(np.unique(scenes.masks)) == set(range(11))
    assert set(np.concatenate(scenes.labels)) == set(range(1, 11))


def test_background_is_the_photograph(scenes):
    photos = load_sample_images().images
    for image, mask, (photo, top, left) in zip(
        scenes.images, scenes.masks, scenes.crops, strict=True
    ):
        crop = photos[photo][top : top + 56, left : left + 72]
        np.testing.assert_array_equal(image[mask == 0], crop[mask == 0])
        assert (image[mask > 0] != crop[mask > 0]).any(axis=1).mean() > 0.95
    assert set(scenes.crops[:, 0]) == {0, 1}


def test_box_encloses_exactly_its_mask():
    scenes = make_digit_scenes(40, n_digits=(1, 1), random_state=1)
    for mask, boxes, labels in zip(scenes.masks, scenes.boxes, scenes.labels, strict=True):
        rows, columns = np.nonzero(mask == labels[0])
        assert boxes.tolist() == [
            [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1],
        ]
        assert set(np.unique(mask)) == {0, labels[0]}


def test_boxes_of_crowded_scenes_cover_the_mask_and_stay_tight():
    scenes = make_digit_scenes(40, n_digits=(8, 12), random_state=2)
    for mask, boxes, labels in zip(scenes.masks, scenes.boxes, scenes.labels, strict=True):
        assert np.all((boxes[:, :2] >= 0) & (boxes[:, :2] < boxes[:, 2:]) & (boxes[:, 2:] <= 64))
        covered = np.zeros_like(mask, bool)
        for (x0, y0, x1, y1), label in zip(boxes, labels, strict=True):
            inside = mask[y0:y1, x0:x1] == label
            # each of the four sides touches a pixel of the box's own class
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            covered[y0:y1, x0:x1] |= inside
        np.testing.assert_array_equal(covered, mask > 0)


def test_same_random_state_repeats_bitwise_whatever_the_global_seed(scenes):
    np.random.seed(7)
    again = make_digit_scenes(60, image_size=(56, 72), random_state=0)
    for name in ("images", "masks", "crops"):
        assert scenes[name].tobytes() == again[name].tobytes()
    for one, other in zip(scenes.boxes + scenes.labels, again.boxes + again.labels, strict=True):
        np.testing.assert_array_equal(one, other)
    before = np.random.get_state()[1].copy()
    make_digit_scenes(2, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_other_random_state_gives_other_scenes(scenes):
    other = make_digit_scenes(60, image_size=(56, 72), random_state=1)
    assert (other.images != scenes.images).any(axis=(1, 2, 3)).all()


def test_number_and_size_of_digits_follow_the_parameters():
    scenes = make_digit_scenes(30, n_digits=(3, 3), digit_size=(16, 16), random_state=0)
    sides = np.concatenate([boxes[:, 2:] - boxes[:, :2] for boxes in scenes.boxes])
    assert len(sides) == 90
    assert sides.max() == 16
    assert make_digit_scenes(3, n_digits=(0, 0), random_state=0).boxes[0].shape == (0, 4)


def test_return_X_y():
    scenes = make_digit_scenes(3, random_state=0)
    X, y = make_digit_scenes(3, return_X_y=True, random_state=0)
    np.testing.assert_array_equal(X, scenes.images)
    np.testing.assert_array_equal(y, scenes.masks)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer of at least 1, got 0"),
        ({"n_samples": 1.5}, "n_samples must be an integer"),
        ({"image_size": 64}, "image_size must be a pair of integers, got 64"),
        ({"image_size": (428, 64)}, r"at most \(427, 640\) \(height, width\).*got \(428, 64\)"),
        ({"image_size": (20, 64)}, "digits of up to 22 pixels for images of"),
        ({"n_digits": (4, 2)}, "n_digits must be .* 0 <= smallest <= largest"),
        ({"digit_size": (4, 9)}, "digit_size must be .* 8 <= smallest"),
    ],
)
def test_what_does_not_fit_is_said(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_digit_scenes(**parameters)


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-nets\[data\]'"):
        make_digit_scenes(1)
