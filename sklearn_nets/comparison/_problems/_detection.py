"""Boxes with labels in every image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from ...metrics._boxes import COCO_THRESHOLDS, holds_boxes, match_boxes, read_boxes
from .._box_pictures import box_overlays
from .._metrics import Answer, Evidence, ResampledMetric, SumMetric
from ._base import Problem, class_frame, interval_columns, plain_splitter
from ._labels import averaged, class_columns, ratio, split_counts

SCORE_THRESHOLD = 0.5  # predicted boxes of a lower score are not counted by precision and recall


@dataclass(frozen=True, eq=False)
class MeanAveragePrecision(ResampledMetric):
    """COCO's mean average precision, over the classes that occur in the truth.

    Attributes
    ----------
    n_thresholds : int
        How many of COCO's IoU thresholds it is averaged over, the lowest first.
    """

    n_thresholds: int = 1

    def of_resamples(self, evidence, rows):
        n = len(evidence.y)
        weights = np.stack([np.bincount(r, minlength=n) for r in rows]).astype(float)
        matches = [
            m._replace(hits=m.hits[: self.n_thresholds])
            for m in evidence.problem.matches(evidence).values()
        ]
        scores = np.array([[m.average_precision(w) for m in matches] for w in weights])
        scores = scores.reshape(len(rows), -1)
        known = ~np.isnan(scores)  # classes without a true box have no average precision
        with np.errstate(invalid="ignore"):
            return np.where(known, scores, 0).sum(axis=1) / known.sum(axis=1)


class Detection(Problem):
    """Boxes with labels in every image; the boxes of an image are no independent samples."""

    name = "detection"
    default_metric = "map_50"
    default_shown = ("map_50", "map", "macro_precision", "macro_recall")
    unit = "boxes"
    unit_of_cases = "images"
    class_note = (
        f"A predicted box counts if its score is at least {SCORE_THRESHOLD:g}, and is right if it "
        "overlaps a true box of its class by an IoU of at least 0.5, each true box being found "
        "once."
    )

    def __init__(self, y, ignore_index=None, scoring=None):
        if ignore_index is not None:
            raise ValueError("ignore_index is for masks, and y holds boxes.")
        if not holds_boxes(y):
            raise ValueError(
                "y must hold a dict of boxes and labels for each image for a detection, such as "
                "{'boxes': [[x0, y0, x1, y1]], 'labels': ['cell']}."
            )
        images = read_boxes(y)
        labels = [image["labels"] for image in images if len(image["labels"])]
        if not labels:
            raise ValueError("y holds no box in any image: there is nothing to detect.")
        self.classes = np.unique(np.concatenate(labels))
        if self.classes.dtype == object:
            self.classes = self.classes.astype(str)
        super().__init__(self._as_array(images), None, scoring)

    def _as_array(self, images):
        """One dict an entry; labels are strings or numbers also where there are none."""
        array = np.empty(len(images), object)
        for i, image in enumerate(images):
            labels = image["labels"]
            if not len(labels) or labels.dtype == object:
                labels = labels.astype(str if len(labels) else self.classes.dtype)
            array[i] = image | {"labels": labels}
        return array

    @classmethod
    def recognizes(cls, y, estimators):
        return holds_boxes(y)

    def make_metrics(self):
        def average(score):
            n_classes = len(self.classes)
            return partial(averaged, n_classes=n_classes, score=score, average="macro")

        return [
            MeanAveragePrecision("map_50"),
            MeanAveragePrecision("map", n_thresholds=len(COCO_THRESHOLDS)),
            SumMetric("macro_precision", of_sums=average("precision")),
            SumMetric("macro_recall", of_sums=average("recall")),
            SumMetric("macro_f1", of_sums=average("f1")),
        ]

    def splitter(self, n_splits, random_state, n_repeats=1, grouped=False):
        return plain_splitter(n_splits, random_state, n_repeats, grouped)

    def describe(self):
        n_boxes = sum(len(image["labels"]) for image in self.y)
        return f"{len(self.y):,} images with {n_boxes:,} boxes, {len(self.classes)} classes"

    def count_classes(self) -> np.ndarray:
        """How many boxes of every class are in each image, of shape (n_samples, n_classes)."""
        return np.array([[np.sum(i["labels"] == c) for c in self.classes] for i in self.y])

    def read_predictions(self, predicted):
        return self._as_array(read_boxes(predicted, scores=True))

    def matches(self, evidence: Evidence) -> dict:
        """What became of the predicted boxes of every class, at COCO's IoU thresholds."""
        return evidence.cached("matches", lambda: self._match(evidence))

    def _match(self, evidence):
        matches, _ = match_boxes(evidence.y, evidence.answer.predicted, COCO_THRESHOLDS)
        unknown = sorted(set(matches) - set(self.classes.tolist()), key=str)
        if unknown:
            raise ValueError(
                f"predict gives boxes with labels that y does not have: {unknown[:5]}. Those "
                f"of y are {self.classes.tolist()[:20]}."
            )
        return matches

    def judge(self, evidence, names=None):
        self.matches(evidence)  # refuses answers that do not fit
        return super().judge(evidence, names)

    def cases(self, evidence):
        """Hits, predicted and true boxes of every class, image by image."""
        n, matches = len(evidence.y), self.matches(evidence)
        counts = np.zeros((n, 3, len(self.classes)), int)
        for k, c in enumerate(self.classes.tolist()):
            if c in matches:
                m = matches[c]
                counted = m.scores >= SCORE_THRESHOLD
                counts[:, 0, k] = np.bincount(m.images[counted & m.hits[0]], minlength=n)
                counts[:, 1, k] = np.bincount(m.images[counted], minlength=n)
                counts[:, 2, k] = m.true
        return counts.reshape(n, -1)

    def errors(self, y, predicted):
        """1 - hits / (hits + false alarms + misses): a Jaccard distance of the boxes."""
        cases = self.cases(Evidence(self, y, Answer(predicted)))
        hits, found, true = (part.sum(axis=-1) for part in split_counts(cases, len(self.classes)))
        union = found + true - hits
        return np.where(union > 0, 1 - ratio(hits, union), 0.0)

    def says_the_same(self, predicted):
        return all(
            np.array_equal(image[part], predicted[0][part])
            for image in predicted
            for part in ("boxes", "labels")
        )

    def class_table(self, evidence, n_repeats, confidence):
        n_classes, joined = len(self.classes), self.pool(evidence, slice(None))
        scores = ("precision", "recall", "f1")
        columns = class_columns(joined.cases, n_classes, scores, n_repeats, confidence)
        found = [
            self._average_precision(joined, c, n_repeats, confidence) for c in self.classes.tolist()
        ]
        columns |= interval_columns("average_precision", *np.array(found).T)
        return class_frame(self.classes, columns, split_counts(joined.sums, n_classes)[2])

    def _average_precision(self, evidence, label, n_repeats, confidence):
        """Of a class at an IoU of 0.5, with its interval by the bootstrap over images."""
        m, n = self.matches(evidence).get(label), len(evidence.y)
        if m is None or not m.true.any():  # it is in none of the test sets
            return np.nan, np.nan, np.nan
        m = m._replace(hits=m.hits[:1])
        observed, rng = m.average_precision(np.ones(n)), np.random.default_rng(0)
        draws = rng.integers(0, n, (MeanAveragePrecision.n_resamples, n))
        resampled = np.array(
            [m.average_precision(np.bincount(rows, minlength=n).astype(float)) for rows in draws]
        )
        resampled = np.clip(observed + (resampled - observed) * np.sqrt(n_repeats), 0, 1)
        return observed, *np.nanquantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])

    def pictures(self, comparison, images):
        return {"boxes": box_overlays(comparison, images, SCORE_THRESHOLD)}

    def pack(self, answers):
        """A row for each box; an image without boxes has one of NaN."""
        labels = [image["labels"] for image in answers]
        kinds = {
            "image": (int,),
            "boxes": (float, (4,)),
            "labels": (np.result_type(self.classes, *labels),),
            "scores": (float,),
        }
        fields = [(name, *kinds[name]) for name in ("image", *answers[0])]  # targets lack scores
        counts = np.array([max(1, len(own)) for own in labels], int)
        rows = np.zeros(counts.sum(), fields)
        rows["image"] = np.repeat(np.arange(len(answers)), counts)
        rows["boxes"] = np.nan
        for own, image in zip(np.split(rows, np.cumsum(counts)[:-1]), answers):
            for name, values in image.items():
                own[name][: len(values)] = values
        return rows

    @staticmethod
    def unpack(array):
        cuts = np.flatnonzero(np.diff(array["image"])) + 1
        parts = np.split(array, cuts)
        names = array.dtype.names[1:]
        answers = np.empty(len(parts), object)
        for i, rows in enumerate(parts):
            rows = rows[~np.isnan(rows["boxes"][:, 0])]
            answers[i] = {name: rows[name] for name in names}
        return answers
