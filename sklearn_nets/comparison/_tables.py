"""Put a comparison before people: tables of text and a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd


def label(metric: str) -> str:
    """Words for the name of a metric or a column: ``"mean_iou"`` is ``"mean IoU"``."""
    return metric.replace("_", " ").replace("iou", "IoU")


def seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def size(n_parameters) -> str:
    return "-" if pd.isna(n_parameters) else f"{n_parameters:,}"


def summary(comparison) -> pd.DataFrame:
    """The table of estimators as text: mean ± standard deviation, seconds, parameters, device."""
    frame = comparison.frame()
    columns = {
        label(m): [f"{a:.3f} ± {s:.3f}" for a, s in zip(frame[f"mean_{m}"], frame[f"std_{m}"])]
        for m in comparison.metrics
    }
    columns["fit [s]"] = [seconds(t) for t in frame["mean_fit_time"]]
    columns["predict [s]"] = [seconds(t) for t in frame["mean_predict_time"]]
    columns["parameters"] = [size(n) for n in frame["n_parameters"]]
    return pd.DataFrame({**columns, "device": frame["device"]}, index=frame.index)


def class_summary(comparison) -> pd.DataFrame:
    """Precision and recall as text, one row per class, one column per estimator."""
    table = comparison.per_class()
    text = table["precision"].map("{:.3f}".format) + " / " + table["recall"].map("{:.3f}".format)
    return text.unstack("estimator")[list(comparison.confusion_matrices)]


def describe(comparison) -> str:
    """What was judged, in one line."""
    n, k = len(comparison.y), len(comparison.classes)
    unit = (
        "samples"
        if comparison.y.ndim == 1
        else ("masks of {} x {} pixels".format(*comparison.y.shape[1:]))
    )
    return f"{n:,} {unit}, {k} classes, {len(comparison.splits)} folds"


def main_metric(comparison) -> str:
    return "mean_iou" if "mean_iou" in comparison.metrics else "accuracy"


def draw(comparison, metric: str, ax):
    """Draw one metric of every fold (see ``Comparison.plot``)."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Comparison.plot needs matplotlib: pip install sklearn_nets[report]"
        ) from error
    frame = comparison.frame()
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 0.9 + 0.55 * len(frame)), layout="constrained")
    for row, name in enumerate(frame.index):
        values = comparison.folds.loc[comparison.folds["estimator"] == name, metric]
        mean, std = frame.loc[name, [f"mean_{metric}", f"std_{metric}"]]
        ax.plot([mean - std, mean + std], [row, row], color="#2563eb", lw=6, alpha=0.25)
        ax.plot(values, np.full(len(values), row), "o", color="#2563eb", ms=6, alpha=0.5, mew=0)
        ax.plot(mean, row, "|", color="#16181d", ms=18, mew=2)
        ax.annotate(
            f"{mean:.3f} ± {std:.3f}", (1.02, row), xycoords=("axes fraction", "data"), va="center"
        )
    ax.set_yticks(range(len(frame)), frame.index)
    ax.set_ylim(len(frame) - 0.5, -0.5)
    ax.set_xlabel(f"{label(metric)} ({describe(comparison)})")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(left=False)
    ax.grid(axis="x", alpha=0.3)
    return ax
