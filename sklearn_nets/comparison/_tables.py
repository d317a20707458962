"""Tables of a comparison as text."""

from __future__ import annotations

import numpy as np
import pandas as pd

WORDS = {"iou": "IoU", "roc": "ROC", "auc": "AUC", "r2": "R²", "mae": "MAE", "rmse": "RMSE",
         "f1": "F1", "brier": "Brier", "map": "mAP", "map_50": "mAP@0.5"}  # fmt: skip


def label(metric: str) -> str:
    """Words for the name of a metric or a column: ``"mean_iou"`` is ``"mean IoU"``."""
    return WORDS.get(metric) or " ".join(WORDS.get(word, word) for word in metric.split("_"))


def seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def size(n_parameters) -> str:
    return "-" if pd.isna(n_parameters) else f"{n_parameters:,}"


def n_bytes(value: float) -> str:
    """Bytes in the unit that gives them one to three digits."""
    if pd.isna(value):
        return "-"
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            break
        value, unit = value / 1000, "GB"
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


MOST_DIGITS = 5  # behind the point; smaller scores have an exponent


def digits(comparison, metric: str) -> int:
    """How many digits behind the point the scores of all estimators need, three or more."""
    if comparison.problem.metrics[metric].bounds[1] == 1:
        return 3
    scores = np.abs(comparison.folds[metric].to_numpy(np.float64))
    largest = np.max(scores, where=np.isfinite(scores), initial=0)
    return 3 if largest == 0 else max(3, 2 - int(np.floor(np.log10(largest))))


def score(value: float, digits: int = 3) -> str:
    """Digits behind the point, fewer of large amounts, an exponent beyond."""
    if value != 0 and (digits > MOST_DIGITS or abs(value) >= 1e9):
        return f"{value:.2e}"
    if abs(value) >= 100:
        digits = 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"


def p_value(p: float) -> str:
    """Two digits; below a thousandth none, since so far out a tail is extrapolated."""
    if pd.isna(p):
        return "-"
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def folds(comparison) -> str:
    """The design in a few words."""
    n = len(comparison.splits)
    return f"{n} folds" if n > 1 else f"a test set of {len(comparison.splits[0][1]):,}"


def summary(comparison) -> pd.DataFrame:
    """The table of estimators as text: mean ± standard deviation, seconds, parameters, device."""
    frame, columns = comparison.frame(), {}
    for m in comparison.problem.shown:
        if m in comparison.metrics:
            means, stds, d = frame[f"mean_{m}"], frame[f"std_{m}"], digits(comparison, m)
            one = len(comparison.splits) == 1
            columns[label(m)] = [
                score(a, d) if one else f"{score(a, d)} ± {score(s, d)}"
                for a, s in zip(means, stds)
            ]
            if m == comparison.problem.main_metric:
                columns["95 % interval"] = [interval(comparison, name, m) for name in frame.index]
    columns["fit [s]"] = [seconds(t) for t in frame["mean_fit_time"]]
    columns["predict [s]"] = [seconds(t) for t in frame["mean_predict_time"]]
    columns["parameters"] = [size(n) for n in frame["n_parameters"]]
    table = pd.DataFrame({**columns, "device": frame["device"]}, index=frame.index)
    return table.rename(index=str)  # pandas writes names that are tuples without quotation marks


def interval(comparison, name, metric: str) -> str:
    """An interval as text."""
    low, high, _ = comparison.interval(name, metric)
    d = digits(comparison, metric)
    return "-" if pd.isna(low) else f"{score(low, d)} to {score(high, d)}"


def class_summary(comparison) -> pd.DataFrame:
    """Precision and recall as text, one row per class, one column per estimator."""
    table = comparison.per_class()
    text = table["precision"].map("{:.3f}".format) + " / " + table["recall"].map("{:.3f}".format)
    return text.unstack("estimator")[list(comparison.names)]


def describe(comparison) -> str:
    """What was judged, in one line."""
    return f"{comparison.problem.describe()}, {folds(comparison)}"


def markdown(table: pd.DataFrame) -> str:
    """A table in GitHub's Markdown."""

    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    head = line([table.index.name or "", *table.columns])
    rule = "|:--|" + "--:|" * len(table.columns)
    return "\n".join([head, rule, *(line(row) for row in table.itertuples())])


# what LaTeX would take for commands
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def latex(table: pd.DataFrame, caption: str) -> str:
    """A table in LaTeX, by pandas, every text escaped."""
    caption = "".join(LATEX.get(character, character) for character in caption)
    return table.rename_axis(None).to_latex(escape=True, caption=caption, index_names=False)
