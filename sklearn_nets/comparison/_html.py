"""Comparisons as one page of HTML that needs no other file and no network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from ._pictures import check_images
from ._tables import describe, label, summary

PLAIN = ["fit [s]", "predict [s]", "parameters", "device"]


def write_html(path, sections) -> None:
    """Write ``[(title, comparison, images or None), ...]`` as one self-contained page."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise ImportError(
            "Comparison.to_html needs jinja2: pip install sklearn_nets[report]"
        ) from error
    environment = Environment(loader=PackageLoader(__package__), autoescape=True)
    page = environment.get_template("page.html.jinja").render(
        heading=sections[0][0] if len(sections) == 1 else "Comparison",
        css=files(__package__).joinpath("templates/page.css").read_text(encoding="utf-8"),
        sections=[_section(*section) for section in sections],
    )
    replace_file(Path(path), page)


def replace_file(path: Path, text: str) -> None:
    """Write a file beside the old one and put it in its place, so that none is half-written."""
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as new:
        try:
            new.write(text)
            new.close()
            # as `open` would have made it, or as the old one was
            os.chmod(new.name, path.stat().st_mode if path.exists() else 0o666 & ~_umask())
            os.replace(new.name, path)
        except BaseException:
            new.close()
            os.unlink(new.name)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _section(title, comparison, images) -> dict:
    """What the template shows of one comparison."""
    frame, problem = comparison.frame(), comparison.problem
    metric = problem.main_metric
    best = frame[f"mean_{metric}"].idxmax()
    mean, std = frame.loc[best, [f"mean_{metric}", f"std_{metric}"]]
    described, pictures = describe(comparison), {}
    if images is not None:
        pictures = problem.pictures(comparison, check_images(images, comparison))
    return {
        "title": title,
        "lead": {"metric": label(metric), "name": best, "mean": mean, "std": std},
        "described": described,
        "remarks": comparison.remarks(),
        "summary": _summary_table(comparison, frame),
        "per_class": _class_table(comparison),
        "counted": problem.counted,
        "matrices": [
            _matrix(name, matrices.sum(axis=0), problem)
            for name, matrices in comparison.confusion_matrices.items()
        ],
        "facts": {"n": described, **comparison.provenance},
        **pictures,
    }


@dataclass
class _Scale:
    """The axis of one metric's dot plots, of 114 pixels."""

    label: str
    low: float
    high: float

    def at(self, value):
        return 5 + 114 * (value - self.low) / (self.high - self.low)


def _summary_table(comparison, frame) -> dict:
    text, folds = summary(comparison), comparison.folds.groupby("estimator", sort=False)
    scales = []
    for metric in comparison.metrics:
        values = comparison.folds[metric]
        low, high = np.floor(values.min() * 100) / 100, np.ceil(values.max() * 100) / 100
        scales.append(_Scale(label(metric), low, max(high, low + 0.01)))

    def value(name, metric):
        means = frame[f"mean_{metric}"]
        return {
            "mean": means[name],
            "std": frame.loc[name, f"std_{metric}"],
            "best": means[name] == means.max(),
            "folds": folds.get_group(name)[metric],
        }

    rows = [
        {
            "name": name,
            "metrics": [value(name, metric) for metric in comparison.metrics],
            "plain": [text.loc[name, column] for column in PLAIN],
        }
        for name in frame.index
    ]
    return {"scales": scales, "plain": PLAIN, "rows": rows}


def _class_table(comparison) -> dict:
    table, names = comparison.per_class(), list(comparison.confusion_matrices)
    rows = [
        {
            "name": c,
            "scores": [
                table.loc[(n, c), score] for n in names for score in ("precision", "recall")
            ],
            "support": table.loc[(names[0], c), "support"],
        }
        for c in comparison.classes
    ]
    return {"names": names, "unit": comparison.problem.unit, "rows": rows}


def _matrix(name, matrix: np.ndarray, problem) -> dict:
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def cell(i, j):
        # errors are rare: the square root keeps a single one visible
        depth = 100 * (share[i, j] if i == j else np.sqrt(share[i, j]))
        return {
            "kind": "none" if not matrix[i, j] else "hit" if i == j else "miss",
            "depth": depth,
            "text": problem.cell_text(matrix[i, j], share[i, j]) if matrix[i, j] else "·",
            "title": f"true {classes[i]}, predicted {classes[j]}: {matrix[i, j]:,}",
        }

    classes = [str(c) for c in problem.classes]
    every = range(len(classes))
    return {
        "name": name,
        "wrong": matrix.sum() - np.trace(matrix),
        "total": matrix.sum(),
        "classes": classes,
        "rows": [{"name": classes[i], "cells": [cell(i, j) for j in every]} for i in every],
    }
