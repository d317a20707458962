"""Figures of a comparison, for ``Comparison.plot`` and for the page.

Estimators differ by color (Okabe and Ito's, which color-blind people tell apart), by marker and by
dashes, so that figures can be read in gray.
"""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import ConfusionMatrixDisplay, precision_recall_curve

from .._utils.optional import require
from ._findings import baselines
from ._judgment import ranking
from ._tables import describe, digits, label, score

INK = "#16181d"
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"]
MARKERS, DASHES = "osD^vPX*<>", ["-", "--", ":", "-."]
MAX_POINTS = 1500  # of a scatter plot
VERBATIM = {"parse_math": False}  # names may hold dollar signs, which are no formulas


def style(index: int) -> dict:
    """How the lines of one estimator look."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // 2 % len(DASHES)],
    }


def plot(comparison, kind: str | None, ax):
    """Draw a figure (see ``Comparison.plot``)."""
    plt = require("matplotlib.pyplot", "Comparison.plot", "report")
    kind = kind or comparison.problem.main_metric
    if kind not in comparison.metrics and kind not in KINDS:
        raise ValueError(
            f"The metric must be one of {comparison.metrics}, or the kind of figure one of "
            f"{list(KINDS)}, got {kind!r}."
        )
    if kind in KINDS and not KINDS[kind].available(comparison):
        raise ValueError(f"There is nothing to draw for {kind!r}: {KINDS[kind].missing}")
    if ax is None:
        _, ax = plt.subplots(figsize=_size(comparison, kind), layout="constrained")
    return _draw(comparison, kind, ax)


def _size(comparison, kind):
    is_strip = kind in comparison.metrics or kind == "scores"
    return (7, 0.9 + 0.55 * len(comparison.names)) if is_strip else (5.6, 3.8)


def _draw(comparison, kind, ax):
    if kind in comparison.metrics:
        _scores(comparison, ax, kind)
    else:
        KINDS[kind].draw(comparison, ax)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x" if kind in comparison.metrics or kind == "scores" else "both", alpha=0.3)
    return ax


def _legend(ax, lines: dict, **where) -> None:
    """A legend of the estimators' lines, which shows all names as they are."""
    # matplotlib would leave out labels that begin with an underscore
    legend = ax.legend(list(lines.values()), [""] * len(lines), fontsize=8, **where)
    for text, name in zip(legend.get_texts(), lines):
        text.set(text=str(name), **VERBATIM)


# -- one function for each kind


def _scores(comparison, ax, metric=None):
    metric = metric or comparison.problem.main_metric
    rows = comparison.frame().to_dict("index")  # names may be tuples, which .loc would take apart
    d = digits(comparison, metric)
    for row, name in enumerate(rows):
        values, (low, high, _) = (
            comparison.fold_scores(name, metric), comparison.interval(name, metric)
        )  # fmt: skip
        mean, std = rows[name][f"mean_{metric}"], rows[name][f"std_{metric}"]
        ax.plot([low, high], [row, row], color=COLORS[0], lw=6, alpha=0.25)
        ax.plot(values, np.full(len(values), row), "o", color=COLORS[0], ms=6, alpha=0.5, mew=0)
        ax.plot(mean, row, "|", color=INK, ms=18, mew=2)
        said = score(mean, d) if len(values) == 1 else f"{score(mean, d)} ± {score(std, d)}"
        ax.annotate(said, (1.02, row), xycoords=("axes fraction", "data"), va="center")
    ax.set_yticks(range(len(rows)), [str(name) for name in rows], **VERBATIM)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(f"{label(metric)} ({describe(comparison)})")
    ax.spines[["left"]].set_visible(False)
    ax.tick_params(left=False)


def _pooled(comparison, *parts) -> dict:
    """Truth and answers of all folds, as indicators of classes and their scores.

    Of every estimator the first of the parts that it gives, if all of it is finite.
    """
    values = {}
    for part in reversed(parts):  # the first goes before the others
        values |= {name: np.concatenate(v) for name, v in getattr(comparison, part).items()}
    values = {name: v for name, v in values.items() if np.isfinite(v).all()}
    if not values:  # as where there are no classes
        return {}
    truth = np.concatenate([comparison.y[test] for _, test in comparison.splits])
    positive = truth[:, None] == comparison.classes
    kept = 1 if len(comparison.classes) == 2 else slice(None)
    return {name: (positive[:, kept], v[:, kept]) for name, v in values.items()}


def _precision_recall(comparison, ax):
    lines = {}
    pooled = _pooled(comparison, "probabilities", "decision_values")
    for index, name in enumerate(comparison.names):
        if name not in pooled:
            continue
        positive, scores = pooled[name]
        precision, recall, _ = precision_recall_curve(positive.ravel(), scores.ravel())
        kept = np.unique(np.linspace(0, len(recall) - 1, 200).astype(int))
        (lines[name],) = ax.plot(recall[kept], precision[kept], markevery=0.2, ms=5, **style(index))
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(None, 1.01))
    _legend(ax, lines, loc="lower left")


def _calibration(comparison, ax):
    lines = {}
    ax.plot([0, 1], [0, 1], color=INK, lw=1, alpha=0.4)
    pooled = _pooled(comparison, "probabilities")
    for index, name in enumerate(comparison.names):
        if name not in pooled:
            continue
        positive, p = pooled[name]
        if p.ndim == 2:  # of several classes, the one that is predicted
            best = p.argmax(axis=1)[:, None]
            positive, p = (np.take_along_axis(a, best, axis=1)[:, 0] for a in (positive, p))
        p = np.clip(p, 0, 1)
        share, predicted = calibration_curve(positive, p, n_bins=8, strategy="quantile")
        (lines[name],) = ax.plot(predicted, share, ms=5, **style(index))
    ax.set(xlabel="predicted probability", ylabel="share of right answers")
    _legend(ax, lines, loc="upper left")


def _curves(which, ylabel):
    def draw(comparison, ax):
        lines = {}
        for index, name in enumerate(comparison.names):
            look = style(index) | {"marker": None}
            curves = [fold[which] for fold in comparison.curves.get(name, []) if fold[which]]
            for curve in curves:
                epochs = np.arange(1, len(curve) + 1)
                (lines[name],) = ax.plot(epochs, curve, lw=1.2, alpha=0.7, **look)
        ax.set(xlabel="epoch (iteration)", ylabel=ylabel)
        _legend(ax, lines)

    return draw


def _learning_curve(comparison, ax):
    table = comparison.learning_curves
    if table is None:
        table = comparison.learning_curve()
    lines = {}
    for index, name in enumerate(comparison.names):
        rows, look = _by_size(table[[n == name for n in table["estimator"]]]), style(index)
        (lines[name],) = ax.plot(rows["n_train"], rows["mean"], ms=5, **look)
        ax.fill_between(
            rows["n_train"], rows["min"], rows["max"], color=look["color"], alpha=0.15, lw=0
        )
    ax.set(xlabel="training samples", ylabel=label(comparison.problem.main_metric))
    _legend(ax, lines)


def _by_size(rows: pd.DataFrame) -> pd.DataFrame:
    """The scores of one estimator for each size that was asked for, which folds round apart."""
    size = rows.groupby("fold").cumcount()  # every fold has them in the same order
    n_train, score = (rows[column].groupby(size) for column in ("n_train", "score"))
    found = score.agg(["mean", "min", "max"]).assign(n_train=n_train.mean())
    return found.sort_values("n_train")


def _cost(comparison, ax):
    rows, metric = comparison.frame().to_dict("index"), comparison.problem.main_metric
    means, times = (
        {n: row[k] for n, row in rows.items()} for k in (f"mean_{metric}", "mean_fit_time")
    )
    means = {name: mean for name, mean in means.items() if np.isfinite(mean)}
    for index, name in enumerate(rows):
        if name not in means:
            continue
        x, mean = times[name], means[name]
        low, high, _ = comparison.interval(name, metric)
        look = style(index)
        ax.plot([x, x], [low, high], color=look["color"], lw=2, alpha=0.5)
        ax.plot(x, mean, look["marker"], color=look["color"], ms=7)
        ax.annotate(
            str(name),
            (x, mean),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=8,
            annotation_clip=True,
            **VERBATIM,
        )
    dummies = baselines(comparison)  # are far off, and would squeeze the others together
    shown = [mean for name, mean in means.items() if name not in dummies]
    if len(shown) > 1:
        margin = 0.25 * np.ptp(shown) + 1e-3 * (np.max(np.abs(shown)) or 1)
        ax.set_ylim(min(shown) - margin, max(shown) + margin)
    ax.set(xscale="log", xlabel="seconds to fit one fold", ylabel=label(metric))
    times = times.values()
    ax.set_xlim(min(times) / 4, max(times) * 8)  # a decade or more: ticks need the room


def _predicted(comparison, ax):
    rng = np.random.default_rng(0)
    truth = np.concatenate([comparison.y[test] for _, test in comparison.splits])
    shown = rng.permutation(len(truth))[: MAX_POINTS // len(comparison.names)]
    lines = {}
    for index, name in enumerate(comparison.names):
        predicted = np.concatenate(comparison.predictions[name])
        look = style(index) | {"linestyle": "none"}
        (lines[name],) = ax.plot(truth[shown], predicted[shown], ms=3, alpha=0.5, mew=0, **look)
    ends = [truth.min(), truth.max()]
    ax.plot(ends, ends, color=INK, lw=1, alpha=0.4)
    ax.set(xlabel="true", ylabel="predicted")
    _legend(ax, lines)


def _confusion(comparison, ax):
    best = ranking(comparison, comparison.problem.main_metric)[0]
    matrix = comparison.confusion_matrices[best].sum(axis=0)
    display = ConfusionMatrixDisplay(matrix, display_labels=comparison.classes)
    display.plot(ax=ax, cmap="cividis", colorbar=False)
    for text in [*ax.get_xticklabels(), *ax.get_yticklabels()]:
        text.set(**VERBATIM)
    ax.set_title(str(best), **VERBATIM)


class Kind:
    """A kind of figure: how it is drawn, when it can be, and its caption on the page."""

    def __init__(self, draw, caption="", available=lambda comparison: True, missing=""):
        self.draw, self.caption = draw, caption
        self.available, self.missing = available, missing


KINDS = {
    "scores": Kind(
        _scores, "A dot is one fold, the mark their mean, the bar the 95 % interval of the mean."
    ),
    "precision_recall": Kind(
        _precision_recall,
        "Precision over recall, all test samples together; of several classes, each against the "
        "rest, all decisions counted alike.",
        lambda c: bool(_pooled(c, "probabilities", "decision_values")),
        "no estimator gives probabilities or decision values that are all finite.",
    ),
    "calibration": Kind(
        _calibration,
        "How often an answer is right, over the probability that was given for it. On the diagonal "
        "probabilities can be taken at their word; below it they promise too much.",
        lambda c: bool(_pooled(c, "probabilities")),
        "no estimator gives probabilities that are all finite.",
    ),
    "loss": Kind(
        _curves("loss", "training loss"),
        "The training loss over epochs, a line for each fold.",
        lambda c: any(fold["loss"] for folds in c.curves.values() for fold in folds),
        "no estimator has a loss_curve_.",
    ),
    "score": Kind(
        _curves("score", "validation score"),
        "The score on the validation set that estimators hold out themselves.",
        lambda c: any(fold["score"] for folds in c.curves.values() for fold in folds),
        "no estimator has validation_scores_ (early_stopping=True gives them).",
    ),
    "learning_curve": Kind(
        _learning_curve,
        "The score over the number of training samples: the mean and the range of the folds.",
        lambda c: c.learning_curves is not None or c.X is not None,
        "samples and estimators are not stored, and it was not computed before.",
    ),
    "cost": Kind(
        _cost, "The score with its 95 % interval, over what it costs: better is up and left."
    ),
    "predicted": Kind(
        _predicted,
        "Predicted over true amounts, for a random part of the samples.",
        lambda c: "predicted" in c.problem.plots,
        "predictions are no amounts.",
    ),
    "confusion": Kind(
        _confusion,
        "Counts of all test samples together.",
        lambda c: bool(c.confusion_matrices),
        "there are no classes.",
    ),
}


# -- for the page


def figures(comparison) -> list[dict[str, str]]:
    """The figures of a problem as inline SVG with captions, none where matplotlib is missing."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return []
    found = []
    for kind in comparison.problem.plots:
        if not KINDS[kind].available(comparison):
            continue
        if kind == "learning_curve" and comparison.learning_curves is None:
            continue  # it takes more fits: drawn if they were asked for
        with rc_context(_page_style(f"{id(comparison)}{kind}")):
            figure = Figure(figsize=(4.4, 3.2), layout="constrained")
            _draw(comparison, kind, figure.subplots())
            svg = _inline_svg(figure, label(kind))
        found.append({"title": TITLES[kind], "caption": KINDS[kind].caption, "svg": svg})
    return found


TITLES = {
    "scores": "Scores with intervals",
    "precision_recall": "Precision and recall",
    "calibration": "Calibration",
    "loss": "Loss over epochs",
    "score": "Validation score over epochs",
    "learning_curve": "Learning curve",
    "cost": "Score against cost",
    "predicted": "Predicted and true",
    "confusion": "Confusion matrix",
}


def _page_style(salt: str) -> dict:
    ink = ["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"]
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,  # ids must differ from figure to figure of a page
        "font.family": "sans-serif",
        "legend.framealpha": 0.0,
        "grid.color": "#80868f",
        "savefig.transparent": True,
        **dict.fromkeys(ink, INK),
    }


def _inline_svg(figure, title: str) -> str:
    """A figure as SVG inside of HTML: in the page's ink, without what points elsewhere."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[^>]+>", lambda tag: _tidy_tag(tag[0]), svg)  # texts stay as they are
    head = f'<svg role="img" aria-label="{title}" class="figure"'
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"', head, svg, count=1)
    return svg.replace("\n", " ")


def _tidy_tag(tag: str) -> str:
    tag = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", tag).replace("xlink:href", "href")
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
    tag = re.sub(r"(\d+\.\d\d)\d+", r"\1", tag)  # hundredths of a point are fine enough
    return tag.replace(INK, "currentColor")
