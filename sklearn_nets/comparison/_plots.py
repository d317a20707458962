"""Figures of a comparison, for ``Comparison.plot`` and for the page.

Estimators differ by color (Okabe and Ito's, which color-blind people tell apart), by marker and by
dashes, so that figures can be read in gray.
"""

from __future__ import annotations

import io
import re

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import ConfusionMatrixDisplay, precision_recall_curve

from ._findings import baselines
from ._judgement import ranking
from ._tables import describe, label, score

INK = "#16181d"
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"]
MARKERS, DASHES = "osD^vPX*<>", ["-", "--", ":", "-."]
MAX_POINTS = 1500  # of a scatter plot


def style(index: int) -> dict:
    """How the lines of one estimator look."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // 2 % len(DASHES)],
    }


def plot(comparison, kind: str | None, ax):
    """Draw a figure (see ``Comparison.plot``)."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Comparison.plot needs matplotlib: pip install sklearn_nets[report]"
        ) from error
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


# -- one function for each kind


def _scores(comparison, ax, metric=None):
    metric = metric or comparison.problem.main_metric
    frame = comparison.frame()
    for row, name in enumerate(frame.index):
        values, (low, high, _) = (
            comparison.fold_scores(name, metric), comparison.interval(name, metric)
        )  # fmt: skip
        mean, std = frame.loc[name, [f"mean_{metric}", f"std_{metric}"]]
        ax.plot([low, high], [row, row], color=COLORS[0], lw=6, alpha=0.25)
        ax.plot(values, np.full(len(values), row), "o", color=COLORS[0], ms=6, alpha=0.5, mew=0)
        ax.plot(mean, row, "|", color=INK, ms=18, mew=2)
        said = score(mean) if len(values) == 1 else f"{score(mean)} ± {score(std)}"
        ax.annotate(said, (1.02, row), xycoords=("axes fraction", "data"), va="center")
    ax.set_yticks(range(len(frame)), [str(name) for name in frame.index])
    ax.set_ylim(len(frame) - 0.5, -0.5)
    ax.set_xlabel(f"{label(metric)} ({describe(comparison)})")
    ax.spines[["left"]].set_visible(False)
    ax.tick_params(left=False)


def _pooled(comparison, name, part):
    """Truth and answers of all folds, as indicators of classes and their scores."""
    values = np.concatenate(getattr(comparison, part)[name])
    truth = np.concatenate([comparison.y[test] for _, test in comparison.splits])
    positive = truth[:, None] == comparison.classes
    if len(comparison.classes) == 2:
        return positive[:, 1], values[:, 1]
    return positive, values


def _precision_recall(comparison, ax):
    for index, name in enumerate(comparison.names):
        part = "probabilities" if name in comparison.probabilities else "decision_values"
        if name not in getattr(comparison, part):
            continue
        positive, scores = _pooled(comparison, name, part)
        precision, recall, _ = precision_recall_curve(positive.ravel(), scores.ravel())
        kept = np.unique(np.linspace(0, len(recall) - 1, 200).astype(int))
        ax.plot(recall[kept], precision[kept], markevery=0.2, ms=5, label=name, **style(index))
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(None, 1.01))
    ax.legend(loc="lower left", fontsize=8)


def _calibration(comparison, ax):
    ax.plot([0, 1], [0, 1], color=INK, lw=1, alpha=0.4)
    for index, name in enumerate(comparison.names):
        if name not in comparison.probabilities:
            continue
        positive, p = _pooled(comparison, name, "probabilities")
        if p.ndim == 2:  # of several classes, the one that is predicted
            best = p.argmax(axis=1)[:, None]
            positive, p = (np.take_along_axis(a, best, axis=1)[:, 0] for a in (positive, p))
        p = np.clip(p, 0, 1)
        share, predicted = calibration_curve(positive, p, n_bins=8, strategy="quantile")
        ax.plot(predicted, share, ms=5, label=name, **style(index))
    ax.set(xlabel="predicted probability", ylabel="share of right answers")
    ax.legend(loc="upper left", fontsize=8)


def _curves(which, ylabel):
    def draw(comparison, ax):
        for index, name in enumerate(comparison.names):
            look = style(index) | {"marker": None}
            curves = [fold[which] for fold in comparison.curves.get(name, []) if fold[which]]
            for fold, curve in enumerate(curves):
                epochs = np.arange(1, len(curve) + 1)
                ax.plot(epochs, curve, lw=1.2, alpha=0.7, label=None if fold else name, **look)
        ax.set(xlabel="epoch (iteration)", ylabel=ylabel)
        ax.legend(fontsize=8)

    return draw


def _learning_curve(comparison, ax):
    table = comparison.learning_curves
    if table is None:
        table = comparison.learning_curve()
    for index, name in enumerate(comparison.names):
        rows = table[table["estimator"] == name].groupby("n_train")["score"]
        mean, look = rows.mean(), style(index)
        ax.plot(mean.index, mean, ms=5, label=name, **look)
        ax.fill_between(mean.index, rows.min(), rows.max(), color=look["color"], alpha=0.15, lw=0)
    ax.set(xlabel="training samples", ylabel=label(comparison.problem.main_metric))
    ax.legend(fontsize=8)


def _cost(comparison, ax):
    frame, metric = comparison.frame(), comparison.problem.main_metric
    for index, name in enumerate(frame.index):
        mean, x = frame.loc[name, f"mean_{metric}"], frame.loc[name, "mean_fit_time"]
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
        )
    means = frame[f"mean_{metric}"].drop(list(baselines(comparison)), errors="ignore")
    if len(means) > 1:  # dummies are far off, and would squeeze the others together
        margin = 0.25 * np.ptp(means) + 1e-3
        ax.set_ylim(means.min() - margin, means.max() + margin)
    times = frame["mean_fit_time"]
    ax.set(xscale="log", xlabel="seconds to fit one fold", ylabel=label(metric))
    ax.set_xlim(times.min() / 4, times.max() * 8)  # a decade or more: ticks need the room


def _predicted(comparison, ax):
    rng = np.random.default_rng(0)
    truth = np.concatenate([comparison.y[test] for _, test in comparison.splits])
    shown = rng.permutation(len(truth))[: MAX_POINTS // len(comparison.names)]
    for index, name in enumerate(comparison.names):
        predicted = np.concatenate(comparison.predictions[name])
        look = style(index) | {"linestyle": "none"}
        ax.plot(truth[shown], predicted[shown], ms=3, alpha=0.5, mew=0, label=name, **look)
    ends = [truth.min(), truth.max()]
    ax.plot(ends, ends, color=INK, lw=1, alpha=0.4)
    ax.set(xlabel="true", ylabel="predicted")
    ax.legend(fontsize=8)


def _confusion(comparison, ax):
    best = ranking(comparison, comparison.problem.main_metric)[0]
    matrix = comparison.confusion_matrices[best].sum(axis=0)
    display = ConfusionMatrixDisplay(matrix, display_labels=comparison.classes)
    display.plot(ax=ax, cmap="cividis", colorbar=False)
    ax.set_title(str(best))


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
        lambda c: bool(c.probabilities or c.decision_values),
        "no estimator gives probabilities or decision values.",
    ),
    "calibration": Kind(
        _calibration,
        "How often an answer is right, over the probability that was given for it. On the diagonal "
        "probabilities can be taken at their word; below it they promise too much.",
        lambda c: bool(c.probabilities),
        "no estimator gives probabilities.",
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
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    head = f'<svg role="img" aria-label="{title}" class="figure"'
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"', head, svg, count=1)
    svg = re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)  # hundredths of a point are fine enough
    return svg.replace(INK, "currentColor").replace("\n", " ")
