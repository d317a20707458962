"""Metrics of boxes, held to COCO's own evaluation."""

import contextlib
import io

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal

from sklearn_nets.metrics import box_scores, mean_average_precision_score


def draw_boxes(rng, n, size=60):
    corners = rng.integers(0, size - 4, (n, 2))
    sides = rng.integers(4, 30, (n, 2))
    return np.hstack([corners, np.minimum(corners + sides, size)]).astype(float)


def draw_problem(seed, n_images=12, n_classes=3):
    """Boxes, some of them found again a little off, some missed, some made up, with equal scores."""
    rng = np.random.default_rng(seed)
    true, found = [], []
    for _ in range(n_images):
        n = rng.integers(0, 8)
        boxes, labels = draw_boxes(rng, n), rng.integers(1, n_classes + 1, n)
        true.append({"boxes": boxes, "labels": labels})
        seen = rng.random(n) < 0.8
        moved = np.clip(boxes[seen] + rng.integers(-3, 4, (seen.sum(), 4)), 0, 70)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        guessed = draw_boxes(rng, rng.integers(0, 6))
        boxes = np.vstack([moved, guessed])
        labels = np.concatenate([labels[seen], rng.integers(1, n_classes + 2, len(guessed))])
        scores = rng.integers(1, 20, len(boxes)) / 20
        found.append({"boxes": boxes, "labels": labels, "scores": scores})
    return true, found


def evaluate_by_coco(true, found):
    """COCO's mAP and mAP50 by faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    def rows(images, start=1):
        number = start
        for i, image in enumerate(images):
            scores = image.get("scores", np.ones(len(image["boxes"])))
            for (x0, y0, x1, y1), label, score in zip(image["boxes"], image["labels"], scores):
                box = [float(v) for v in (x0, y0, x1 - x0, y1 - y0)]
                yield {
                    "id": number, "image_id": i, "category_id": int(label), "bbox": box,
                    "area": box[2] * box[3], "iscrowd": 0, "score": float(score),
                }  # fmt: skip
                number += 1

    categories = sorted({int(v) for image in true + found for v in image["labels"]})
    data = {
        "images": [{"id": i, "width": 100, "height": 100} for i in range(len(true))],
        "annotations": list(rows(true)),
        "categories": [{"id": c, "name": str(c)} for c in categories],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(data)
        judge = COCOeval_faster(truth, truth.loadRes(list(rows(found))), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats[:2]


@pytest.mark.parametrize("seed", range(20))
def test_mean_average_precision_is_cocos(seed):
    true, found = draw_problem(seed)
    expected = evaluate_by_coco(true, found)
    assert mean_average_precision_score(true, found) == pytest.approx(expected[0], rel=1e-14)
    at_50 = mean_average_precision_score(true, found, iou_threshold=0.5)
    assert at_50 == pytest.approx(expected[1], rel=1e-14)


def test_more_boxes_than_coco_counts():
    true, found = draw_problem(0, n_images=2)
    rng = np.random.default_rng(1)
    more = draw_boxes(rng, 300)
    found[0] = {"boxes": more, "labels": np.ones(300, int), "scores": rng.random(300)}
    expected = evaluate_by_coco(true, found)[0]
    assert mean_average_precision_score(true, found) == pytest.approx(expected, rel=1e-14)
    own = true[0]["labels"] == 1
    more[: own.sum()] = true[0]["boxes"][own]  # hits, the first of all or too late to be counted
    for scores in (np.arange(300, 0, -1) / 300, np.arange(300) / 300):
        found[0]["scores"] = scores
        expected = evaluate_by_coco(true, found)[0]
        assert mean_average_precision_score(true, found) == pytest.approx(expected, rel=1e-14)


def test_a_weight_of_two_is_the_image_twice():
    true, found = draw_problem(3)
    rng = np.random.default_rng(0)
    for image in found:  # of equal scores the order would matter
        image["scores"] = rng.random(len(image["scores"]))
    weight = np.array([0, 1, 2] * 4)
    twice = np.repeat(np.arange(12), weight)
    again = [true[i] for i in twice], [found[i] for i in twice]
    weighted = mean_average_precision_score(true, found, sample_weight=weight)
    assert weighted == pytest.approx(mean_average_precision_score(*again), rel=1e-12)
    scores, expected = box_scores(true, found, sample_weight=weight), box_scores(*again)
    assert set(expected["classes"]) <= set(scores["classes"])
    kept = np.isin(scores["classes"], expected["classes"])
    for name in ("precision", "recall", "support", "n_predicted"):
        np.testing.assert_allclose(scores[name][kept], expected[name])


def test_a_perfect_detector_is_perfect_with_any_weights():
    """Weights that are summed in another order differ by rounding, which must lose no recall."""
    true = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}] * 3
    found = [true[0] | {"scores": [score]} for score in (0.9, 0.6, 0.8)]
    for seed in range(50):
        weight = np.random.default_rng(seed).uniform(size=3).round(1) + 0.1
        assert mean_average_precision_score(true, found, sample_weight=weight) == 1


def test_precision_and_recall_are_counts():
    true, found = draw_problem(5)
    scores = box_scores(true, found, score_threshold=0.4)
    counts = pd.Series(np.concatenate([t["labels"] for t in true])).value_counts()
    accepted = np.concatenate([f["labels"][f["scores"] >= 0.4] for f in found])
    predicted = pd.Series(accepted).value_counts()
    for i, label in enumerate(scores["classes"]):
        assert scores["support"][i] == counts.get(label, 0)
        assert scores["n_predicted"][i] == predicted.get(label, 0)
        hits = scores["recall"][i] * counts.get(label, 0)
        assert hits == pytest.approx(round(hits))
        assert scores["precision"][i] * predicted.get(label, 0) == pytest.approx(hits)


def test_truth_as_prediction_is_perfect():
    true, _ = draw_problem(0)
    found = [{**t, "scores": np.ones(len(t["labels"]))} for t in true]
    assert mean_average_precision_score(true, found) == 1.0
    scores = box_scores(true, found)
    assert_array_equal(scores["precision"], 1)
    assert_array_equal(scores["recall"], 1)
    nothing = [{"boxes": np.empty((0, 4)), "labels": [], "scores": []} for _ in true]
    assert mean_average_precision_score(true, nothing) == 0.0


def test_frames_tensors_and_turned_corners_say_the_same():
    true, found = draw_problem(2)
    expected = mean_average_precision_score(true, found)

    def frame(images):
        parts = []
        for i, image in enumerate(images):
            part = pd.DataFrame(image["boxes"], columns=["x0", "y0", "x1", "y1"])
            part["image"], part["label"] = i, image["labels"]
            if "scores" in image:
                part["score"] = image["scores"]
            parts.append(part)
        return pd.concat(parts)

    tensors = [{name: torch.as_tensor(a) for name, a in image.items()} for image in found]
    turned = [{**image, "boxes": image["boxes"][:, [2, 3, 0, 1]]} for image in found]
    for other in (tensors, turned, np.array(found)):
        assert mean_average_precision_score(true, other) == expected
    assert mean_average_precision_score(frame(true), found) == expected
    assert mean_average_precision_score(true, frame(found)) == expected
    unsigned = frame(found).astype({"image": np.uint8})
    assert mean_average_precision_score(true, unsigned) == expected
    polars = pl.from_pandas(frame(found).reset_index(drop=True))
    assert mean_average_precision_score(true, polars) == expected


def test_what_cannot_be_judged_is_refused():
    true, found = draw_problem(0)
    with pytest.raises(ValueError, match="12 images, y_pred those of 11"):
        mean_average_precision_score(true, found[:-1])
    with pytest.raises(ValueError, match="number 0 lacks scores"):
        mean_average_precision_score(true, true)
    with pytest.raises(ValueError, match="Image 1 has different numbers"):
        mean_average_precision_score(
            true, [found[0], {"boxes": [[0, 0, 1, 1]], "labels": [1], "scores": []}, *found[2:]]
        )
    with pytest.raises(ValueError, match=r"columns image.*label is missing"):
        mean_average_precision_score(pd.DataFrame(columns=["image", "x0", "y0", "x1", "y1"]), found)
    empty = [{"boxes": [], "labels": []}]
    assert np.isnan(
        mean_average_precision_score(empty, [{"boxes": [], "labels": [], "scores": []}])
    )


@pytest.mark.parametrize("judge", [mean_average_precision_score, box_scores])
@pytest.mark.parametrize("dtype", ["U", "O"])
def test_labels_of_two_types_are_refused(judge, dtype):
    true, found = draw_problem(0)
    words = [{**image, "labels": image["labels"].astype(str).astype(dtype)} for image in found]
    with pytest.raises(ValueError, match="Labels must be of one type, integers or strings"):
        judge(true, words)
