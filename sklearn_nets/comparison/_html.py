"""Comparisons as one page of HTML that needs no other file, no network and no JavaScript."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from .._utils.optional import require
from ._files import replace_file
from ._findings import baselines
from ._judgment import SHARED_MODELS
from ._pictures import check_images
from ._plots import figures
from ._tables import describe, digits, interval, label, n_bytes, p_value, score, seconds, size

MAX_MATRIX = 25  # classes of a confusion matrix that is shown as a whole
MAX_CLASSES = 60  # rows of the table of classes


def write_html(path, sections, *, heading: str | None = None, lead: str | None = None) -> None:
    """Write ``[(title, comparison, images or None), ...]`` as one self-contained page."""
    jinja2 = require("jinja2", "Comparison.to_html", "report")
    environment = jinja2.Environment(loader=jinja2.PackageLoader(__package__), autoescape=True)
    environment.filters.update(score=score, sentence_case=lambda s: s[:1].upper() + s[1:])
    script = _template("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("page.html.jinja").render(
        heading=heading or (sections[0][0] if len(sections) == 1 else "Comparison"),
        lead=lead,
        css=_template("page.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        sections=[_section(*section) for section in sections],
    )
    replace_file(Path(path), page)


def _template(name: str) -> str:
    return files(__package__).joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _section(title, comparison, images) -> dict:
    """What the template shows of one comparison."""
    problem, described, pictures = comparison.problem, describe(comparison), {}
    if images is not None:
        pictures = problem.pictures(comparison, check_images(images, comparison))
    section = {
        "title": title,
        "verdict": comparison.verdict(),
        "described": described,
        "remarks": comparison.remarks(),
        "summary": _summary_table(comparison),
        "pairs": _pairs_table(comparison),
        "bounds": _bounds_table(comparison),
        "figures": figures(comparison),
        "everything": _everything(comparison),
        "findings": comparison.diagnose(),
        "facts": {"n": described} | comparison.provenance,
    }
    if hasattr(problem, "classes"):
        section["per_class"] = _class_table(comparison)
    if comparison.confusion_matrices:
        section["counted"] = problem.counted
        summed = {name: m.sum(axis=0) for name, m in comparison.confusion_matrices.items()}
        if len(problem.classes) <= MAX_MATRIX:
            section["matrices"] = [_matrix(name, m, problem) for name, m in summed.items()]
        else:
            section["confused"] = [_confused(name, m, problem) for name, m in summed.items()]
    return section | pictures


@dataclass
class _Scale:
    """The axis of one metric's dot plots, of 114 pixels."""

    label: str
    low: float
    high: float
    digits: int

    def at(self, value):
        share = (np.clip(value, self.low, self.high) - self.low) / (self.high - self.low)
        return 5 + 114 * share


def _summary_table(comparison) -> dict:
    rows = comparison.frame().to_dict("index")  # names may be tuples, which .loc would take apart
    shown = [m for m in comparison.problem.shown if m in comparison.metrics]
    heads, costs = _costs(rows)
    return {
        "scales": [_scale(comparison, metric) for metric in shown],
        "plain": heads,
        "one": len(comparison.splits) == 1,
        "rows": [
            {
                "name": name,
                "metrics": [_value(comparison, rows, name, metric) for metric in shown],
                "plain": costs[name],
            }
            for name in rows
        ],
    }


def _scale(comparison, metric) -> _Scale:
    scores = {name: comparison.fold_scores(name, metric) for name in comparison.names}
    scores = {name: values[np.isfinite(values)] for name, values in scores.items()}
    # dummies would squeeze the others into a corner; they are drawn at the edge
    others = [scores[name] for name in scores if name not in baselines(comparison)]
    values = np.concatenate(others if any(map(len, others)) else list(scores.values()))
    d = digits(comparison, metric)
    step = 10.0 ** np.floor(np.log10(max(np.ptp(values), 10.0 ** (1 - d))) - 1)
    low, high = np.floor(values.min() / step) * step, np.ceil(values.max() / step) * step
    return _Scale(label(metric), low, max(high, low + step), d)


def _value(comparison, rows, name, metric) -> dict:
    means = pd.Series([row[f"mean_{metric}"] for row in rows.values()])
    mean, scores = rows[name][f"mean_{metric}"], comparison.fold_scores(name, metric)
    greater = comparison.problem.metrics[metric].greater_is_better
    low, high, method = comparison.interval(name, metric)
    return {
        "mean": mean,
        "std": rows[name][f"std_{metric}"],
        "best": mean == (means.max() if greater else means.min()),
        "folds": scores[~np.isnan(scores)],
        "low": low,
        "high": high,
        "interval": interval(comparison, name, metric),
        "method": method,
    }


def _costs(rows) -> tuple[list[str], dict]:
    """Headings and, by estimator, pairs of what is shown and what it is sorted by."""
    ways = {
        "fit [s]": ("mean_fit_time", seconds),
        "predict [s]": ("mean_predict_time", seconds),
        "one row [ms]": ("latency", lambda s: "-" if pd.isna(s) else f"{1000 * s:.2f}"),
        "parameters": ("n_parameters", size),
        "memory": ("peak_memory", n_bytes),
        "GPU memory": ("peak_device_memory", n_bytes),
        "on disk": ("size_on_disk", n_bytes),
        "device": ("device", str),
    }
    ways = {
        head: (column, say)
        for head, (column, say) in ways.items()
        if not all(pd.isna(row[column]) for row in rows.values())
    }
    shown = {
        name: [(say(row[column]), row[column]) for column, say in ways.values()]
        for name, row in rows.items()
    }
    return list(ways), shown


def _pairs_table(comparison) -> dict:
    table = comparison.pairs()
    in_points = comparison.problem.metrics[comparison.problem.main_metric].in_points
    factor = 100 if in_points else 1

    def number(value, form):
        return "-" if pd.isna(value) else format(value, form)

    rows = []
    for row in table.itertuples(index=False):
        more = row.more_samples
        probabilities = [number(p, ".2f") for p in (row.p_better, row.p_equal, row.p_worse)]
        rows.append(
            {
                "first": row.first,
                "second": row.second,
                "difference": number(factor * row.difference, "+.3g"),
                "interval": f"{number(factor * row.low, '+.3g')} to "
                f"{number(factor * row.high, '+.3g')}",
                "p": [p_value(p) for p in (row.p, row.p_holm, row.p_mcnemar)],
                "probabilities": probabilities,
                "more": "-" if pd.isna(more) or more == 0 else "∞" if np.isinf(more) else
                f"{more:,.2g}" if more < 100 else f"{float(f'{more:.2g}'):,.0f}",
            }
        )  # fmt: skip
    return {
        "unit": "points" if in_points else label(comparison.problem.main_metric),
        "metric": label(comparison.problem.main_metric),
        "method": ", ".join(table["method"].unique()),
        "remark": SHARED_MODELS if len(comparison.splits) > 1 else "",
        "mcnemar": bool(table["p_mcnemar"].notna().any()),
        "rows": rows,
    }


def _bounds_table(comparison) -> list[dict]:
    try:
        table = comparison.error_bounds()
    except ValueError:  # cross-validated, or no case is right or wrong
        return []
    return [{"name": name, **row} for name, row in table.to_dict("index").items()]


def _everything(comparison) -> list[dict]:
    table = comparison.frame("long")
    return [
        row | {"metric": label(row["metric"]), "digits": digits(comparison, row["metric"])}
        for row in table.to_dict("records")
    ]


def _class_table(comparison) -> dict:
    table, names = comparison.per_class(), comparison.names
    classes = list(comparison.classes)
    # (estimators, classes), since names that are tuples are several levels of the index
    values = {column: table[column].to_numpy().reshape(len(names), -1) for column in table}
    shown = range(len(classes))
    if len(classes) > MAX_CLASSES:  # the ones that are found least
        recall = pd.DataFrame(values["recall"]).mean()
        shown = sorted(recall.nsmallest(MAX_CLASSES).index)
    rows = [
        {
            "name": classes[k],
            "scores": [
                {key: values[f"{s}{end}"][row, k]
                 for key, end in [("value", ""), ("low", "_low"), ("high", "_high")]}
                for row in range(len(names)) for s in ("precision", "recall")
            ],
            "support": values["support"][0, k],
        }
        for k in shown
    ]  # fmt: skip
    left_out = len(classes) - len(rows)
    problem = comparison.problem
    told = {"names": names, "rows": rows, "left_out": left_out}
    return told | {"unit": problem.unit, "note": problem.class_note}


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
    return _heading(name, matrix) | {
        "classes": classes,
        "rows": [{"name": classes[i], "cells": [cell(i, j) for j in every]} for i in every],
    }


def _heading(name, matrix) -> dict:
    return {"name": name, "wrong": matrix.sum() - np.trace(matrix), "total": matrix.sum()}


def _confused(name, matrix: np.ndarray, problem, n_shown: int = 12) -> dict:
    """Of many classes, the pairs that are confused most often."""
    wrong = matrix - np.diag(np.diagonal(matrix))
    worst = np.argsort(-wrong, axis=None, kind="stable")[:n_shown]
    pairs = [(i, j) for i, j in zip(*np.unravel_index(worst, wrong.shape)) if wrong[i, j]]
    rows = [(problem.classes[i], problem.classes[j], wrong[i, j]) for i, j in pairs]
    return _heading(name, matrix) | {"pairs": rows}
