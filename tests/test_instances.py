"""Instances: regions cut where objects touch, judged object by object."""

import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy import ndimage

from sklearn_nets import SegmentationNet, make_digit_scenes
from sklearn_nets._base.instances import label_instances, split_region
from sklearn_nets.metrics import instance_average_precision_score


def touching_disks(n=20, size=60, radius=8, seed=0):
    """Pairs of overlapping disks of one class: masks, and the number of each pixel's disk."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    instances = np.zeros((n, size, size), np.int32)
    for image in instances:
        y, x = rng.integers(20, 40, 2)
        angle = rng.uniform(0, 2 * np.pi)
        for number, way in ((1, -1), (2, 1)):
            center = (
                y + way * 0.85 * radius * np.sin(angle),
                x + way * 0.85 * radius * np.cos(angle),
            )
            image[(rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2] = number
    return (instances > 0).astype(int), instances


def test_touching_disks_are_split():
    masks, instances = touching_disks()
    joined = label_instances(masks, 0, None, 1)
    split = label_instances(masks, 0, 8, 1)
    assert joined.max() == 1
    assert instance_average_precision_score(instances, split, iou_threshold=0.7) == 1.0
    assert_array_equal(split > 0, masks > 0)
    assert instance_average_precision_score(instances, joined, iou_threshold=0.7) < 0.1


def test_many_touching_disks_take_memory_of_their_image_only():
    axis = (np.arange(180) % 18 - 8.5) ** 2
    region = axis[:, None] + axis < 9**2  # ten rows of ten disks
    tracemalloc.start()
    parts = split_region(region, 6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * region.size  # bytes; every pixel with every center would be 1,600 a pixel
    rows, columns = np.indices(region.shape) // 18
    disk = (10 * rows + columns)[region]
    assert_array_equal(parts[region], np.unique(disk, return_inverse=True)[1] + 1)


def test_digits_that_touch_digits_of_other_classes_are_told_apart():
    scenes = make_digit_scenes(20, n_digits=(8, 10), random_state=0)
    numbers = label_instances(scenes.masks, 0, None, 5)
    of_masks = instance_average_precision_score(scenes.instances, numbers)
    # without classes, whatever touches is one object
    joined = np.stack([ndimage.label(mask > 0, np.ones((3, 3)))[0] for mask in scenes.masks])
    assert of_masks > instance_average_precision_score(scenes.instances, joined)
    assert of_masks > 0.5


def test_regions_without_distance_are_connected_components():
    scenes = make_digit_scenes(5, random_state=0)
    for mask, numbers in zip(scenes.masks, label_instances(scenes.masks, 0, None, 1)):
        count = sum(
            ndimage.label(mask == label, np.ones((3, 3)))[1] for label in np.unique(mask) if label
        )
        assert np.array_equal(np.unique(numbers), np.arange(count + 1))
        assert_array_equal(numbers > 0, mask > 0)


@pytest.mark.usefixtures("host")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_segmenter_numbers_what_it_predicts():
    scenes = make_digit_scenes(8, image_size=(32, 32), n_digits=(1, 2), random_state=0)
    net = SegmentationNet((8, 16), max_iter=20, learning_rate_init=0.02, random_state=0)
    net.fit(scenes.images, scenes.masks > 0)
    numbers = net.predict_instances(scenes.images, min_distance=6, min_pixels=4)
    assert_array_equal(numbers, label_instances(net.predict(scenes.images), False, 6, 4))
    X = torch.from_numpy(scenes.images)
    tensor = net.fit(X, scenes.masks > 0).predict_instances(X, min_distance=6, min_pixels=4)
    assert_array_equal(tensor, numbers)
    with pytest.raises(ValueError, match=r"one of classes_, \[False, True\], got 2"):
        net.predict_instances(X, background=2)
    for distance in (0, -1, 2.5):
        with pytest.raises(ValueError, match="min_distance must be a positive integer"):
            net.predict_instances(X, min_distance=distance)
    least = min((n == i).sum() for n in numbers for i in range(1, n.max() + 1))
    assert least >= 4


def test_average_precision_counts_objects():
    _, instances = touching_disks()
    assert instance_average_precision_score(instances, instances) == 1.0
    missing = np.where(instances == 2, 0, instances)
    assert instance_average_precision_score(instances, missing) == 0.5
    weight = np.arange(20)
    half = np.concatenate([instances[:10], missing[10:]])
    expected = weight @ np.repeat([2, 1], 10) / (2 * weight.sum())
    assert instance_average_precision_score(instances, half, sample_weight=weight) == pytest.approx(
        expected
    )
    assert np.isnan(instance_average_precision_score(0 * instances, 0 * instances))
    cut = [instances[0], *instances[1:, 1:]]  # of two sizes; no disk is at the border
    lost = [half[0], *half[1:, 1:]]
    assert instance_average_precision_score(cut, lost) == instance_average_precision_score(
        instances, half
    )
    for wrong in (instances[:1], cut):
        with pytest.raises(ValueError, match="must hold numbers of objects"):
            instance_average_precision_score(instances, wrong)
