"""Metrics of masks against scikit-learn's, pixel by pixel."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn import metrics as reference

from sklearn_nets import metrics
from sklearn_nets.metrics._labels import count_pairs


@pytest.fixture
def masks():
    rng = np.random.RandomState(0)
    y_true = rng.randint(0, 4, (5, 6, 7))
    return y_true, np.where(
        rng.uniform(size=y_true.shape) < 0.7, y_true, rng.randint(0, 4, y_true.shape)
    )


def test_equal_to_scikit_learn(masks):
    y_true, y_pred = masks
    flat = y_true.ravel(), y_pred.ravel()
    assert_allclose(metrics.confusion_matrix(*masks), reference.confusion_matrix(*flat))
    assert_allclose(metrics.mean_iou_score(*masks), reference.jaccard_score(*flat, average="macro"))
    assert_allclose(metrics.pixel_accuracy_score(*masks), reference.accuracy_score(*flat))
    scores = metrics.class_scores(metrics.confusion_matrix(*masks))
    precision, recall, *_ = reference.precision_recall_fscore_support(*flat)
    assert_allclose(scores["precision"], precision)
    assert_allclose(scores["recall"], recall)


def test_definitions(masks):
    y_true, y_pred = masks
    scores = metrics.class_scores(metrics.confusion_matrix(*masks))
    for c in range(4):
        TP = np.sum((y_true == c) & (y_pred == c))
        FP = np.sum((y_true != c) & (y_pred == c))
        FN = np.sum((y_true == c) & (y_pred != c))
        assert scores["precision"][c] == TP / (TP + FP)
        assert scores["recall"][c] == TP / (TP + FN)
        assert scores["iou"][c] == TP / (TP + FP + FN)


def test_ignored_pixels_and_weights(masks):
    y_true, y_pred = masks
    for ignored in (0, 2):
        judged = y_true != ignored
        expected = reference.jaccard_score(y_true[judged], y_pred[judged], average="macro")
        assert_allclose(metrics.mean_iou_score(y_true, y_pred, ignore_index=ignored), expected)
    weight = np.array([2, 0, 1, 3, 0])
    assert_allclose(
        metrics.mean_iou_score(y_true, y_pred, sample_weight=weight),
        metrics.mean_iou_score(np.repeat(y_true, weight, 0), np.repeat(y_pred, weight, 0)),
    )


def test_masks_of_several_sizes_are_judged_as_their_pixels(masks):
    y_true, y_pred = ([*m[:4], m[4, 1:]] for m in masks)
    weight = np.array([2, 0, 1, 3, 1])
    flat = [np.concatenate([m.ravel() for m in y]) for y in (y_true, y_pred)]
    of_pixels = np.concatenate([np.full(m.size, w) for m, w in zip(y_true, weight)])
    for ignored in (None, 0, 2):
        assert_allclose(
            metrics.mean_iou_score(y_true, y_pred, ignore_index=ignored, sample_weight=weight),
            metrics.mean_iou_score(*flat, ignore_index=ignored, sample_weight=of_pixels),
        )


def test_tensors_and_strings(masks):
    names = np.array(["sky", "road", "car", "tree"])
    expected = metrics.mean_iou_score(*masks)
    assert metrics.mean_iou_score(*(torch.from_numpy(m) for m in masks)) == expected
    assert_allclose(metrics.mean_iou_score(*(names[m] for m in masks)), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1]], [[0, 1, 1]]), r"expected shape \(1, 2\), got \(1, 3\)"),
        (([], []), "nothing to judge"),
        ((np.zeros((2, 2, 2)), [np.zeros((2, 2)), np.zeros((2, 3))]), r"\(2, 2\), got \(2, 3\)"),
    ],
)
def test_bad_masks(arguments, message):
    with pytest.raises(ValueError, match=message):
        metrics.mean_iou_score(*arguments)


@pytest.mark.parametrize("several_sizes", [False, True])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 1, 1, 1, -1], "Negative values"),
        ([1, 1, 1, 1, np.nan], "contains NaN"),
        ([1, 1, 1], r"sample_weight.shape == \(3,\)"),
        ([0, 0, 0, 0, 0], "at least one non-zero"),
    ],
)
def test_bad_weights(masks, several_sizes, weight, message):
    if several_sizes:
        masks = [[*m[:4], m[4, 1:]] for m in masks]
    with pytest.raises(ValueError, match=message):
        metrics.mean_iou_score(*masks, sample_weight=weight)


def test_weight_only_on_what_is_ignored_leaves_nothing_to_judge(masks):
    y_true, y_pred = masks
    y_true[0] = 9
    with pytest.raises(ValueError, match="nothing to judge"):
        metrics.mean_iou_score(y_true, y_pred, ignore_index=9, sample_weight=[1, 0, 0, 0, 0])


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match=r"Found the labels \[9\]"):
        count_pairs([0, 9], [0, 0], classes=[0, 1])


@pytest.mark.parametrize("labels", [None, [3, 0], [0, 1, 2, 3, 7], [2, 1]])
@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_confusion_matrix_takes_what_scikit_learns_takes(masks, labels, normalize, weighted):
    flat, weight = [m.ravel() for m in masks], np.random.RandomState(1).uniform(size=masks[0].size)
    options = {"labels": labels, "normalize": normalize}
    options["sample_weight"] = weight if weighted else None
    expected = reference.confusion_matrix(*flat, **options)
    assert_allclose(metrics.confusion_matrix(*flat, **options), expected)
    names = np.array(["d", "c", "b", "a", *"efgh"])
    flat, options["labels"] = names[flat], None if labels is None else names[labels]
    expected = reference.confusion_matrix(*flat, **options)
    assert_allclose(metrics.confusion_matrix(*flat, **options), expected)


def test_a_confusion_matrix_of_bad_options(masks):
    with pytest.raises(ValueError, match=r"among labels=\[7\]"):
        metrics.confusion_matrix(*masks, labels=[7])
    with pytest.raises(ValueError, match="normalize must be 'true'"):
        metrics.confusion_matrix(*masks, normalize="rows")
