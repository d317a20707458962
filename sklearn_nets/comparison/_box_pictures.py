"""Pictures of boxes for the page: the truth, and what every estimator found."""

from __future__ import annotations

import numpy as np

from ..metrics._boxes import hit_boxes
from ._pictures import png, to_rgb


def box_overlays(comparison, images, score_threshold: float, n_shown: int = 4) -> dict:
    """Images of the first test fold, those with boxes first: the truth, and what was found.

    Parameters
    ----------
    comparison : Comparison
    images : array or list of images
    score_threshold : float
        Boxes of a lower score are not drawn.
    n_shown : int
        How many images.
    """
    test = comparison.splits[0][1]
    empty = [not len(comparison.y[i]["labels"]) for i in test]
    rows = []
    for k in np.argsort(empty, kind="stable")[:n_shown]:  # those with boxes show more
        i = test[k]
        picture, truth = to_rgb(images[i]), comparison.y[i]
        height, width = picture.shape[:2]
        drawn = [("truth", [], _rectangles(truth, "true"))]
        for name, folds in comparison.predictions.items():
            hits = _hits(truth, folds[0][k], score_threshold)
            drawn.append((name, _rectangles(truth, "true", named=False), hits))
        rows.append(
            {
                "id": f"picture-{id(comparison)}-{k}",  # each is in the page once
                "source": png(picture),
                "width": width,
                "height": height,
                "stroke": max(height, width) / 120,
                "drawn": [
                    {"name": name, "beneath": beneath, "boxes": boxes, "told": _told(name, boxes)}
                    for name, beneath, boxes in drawn
                ],
            }
        )
    return {
        "columns": ["truth", *comparison.predictions],
        "threshold": score_threshold,
        "rows": rows,
    }


def _rectangles(image, kind, scores=None, named=True) -> list[dict]:
    """What the template draws."""
    scores = [None] * len(image["labels"]) if scores is None else scores
    return [
        {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "kind": kind}
        | {"label": str(label) if named else "", "score": score}
        for (x0, y0, x1, y1), label, score in zip(image["boxes"].tolist(), image["labels"], scores)
    ]


def _hits(truth, found, score_threshold) -> list[dict]:
    """Predicted boxes, as right or wrong: each true box is hit once, by the highest score."""
    shown = found["scores"] >= score_threshold
    found = {name: found[name][shown] for name in ("boxes", "labels", "scores")}
    hits, boxes = hit_boxes(truth, found), []
    for hit, kind in ((True, "hit"), (False, "miss")):
        part = {name: values[hits == hit] for name, values in found.items()}
        boxes += _rectangles(part, kind, part["scores"])
    return boxes


def _told(name, boxes) -> str:
    """The picture in words, for those who cannot see it."""
    labels = ", ".join(f"{box['label']} ({box['kind']})" for box in boxes) or "no box"
    return f"{name}: {labels}"
