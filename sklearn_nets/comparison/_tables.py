"""Tables of a comparison as text."""

from __future__ import annotations

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
    return f"{comparison.problem.describe()}, {len(comparison.splits)} folds"
