"""Put comparisons before people: one page of HTML that needs no other file and no network."""

from __future__ import annotations

import base64
import struct
import zlib
from html import escape
from pathlib import Path

import numpy as np

from ._tables import describe, label, main_metric, summary

STYLE = """
:root { color-scheme: light dark;
  --page: #f5f4f0; --card: #fff; --ink: #16181d; --soft: #5c6270; --line: #e2e0da;
  --hit: #2563eb; --miss: #e0552b; --best: #0b6b3a; --over: #fff; }
@media (prefers-color-scheme: dark) { :root {
  --page: #111317; --card: #1a1d23; --ink: #eceef2; --soft: #9aa2b1; --line: #2f343e;
  --hit: #5b93ff; --miss: #ff7a4d; --best: #7fe0a8; --over: #0b0d10; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui,
  -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 48px 28px 72px; }
h1, h2 { letter-spacing: -0.02em; line-height: 1.15; margin: 0; }
h1 { font-size: 40px; }
h2 { font-size: 30px; margin-top: 64px; padding-top: 40px; border-top: 1px solid var(--line); }
h1 + h2 { margin-top: 20px; }
h3 { font-size: 20px; letter-spacing: -0.01em; margin: 44px 0 2px; }
p { margin: 0 0 14px; max-width: 80ch; color: var(--soft); }
p.lead { font-size: 20px; color: var(--ink); margin: 10px 0 4px; }
.best { color: var(--best); font-weight: 700; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 10px 22px 14px; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { width: 100%; }
.wide th, .wide td { text-align: right; padding: 10px 0 10px 14px; white-space: nowrap; }
.wide thead th { color: var(--soft); font-size: 14px; font-weight: 600; vertical-align: bottom; }
.wide tbody > * > * { border-top: 1px solid var(--line); }
.wide th:first-child { text-align: left; padding-left: 0; }
.std { color: var(--soft); font-size: 13.5px; }
.strip { display: block; margin: 2px 0 0 auto; }
.strip line { stroke: var(--line); stroke-width: 2; }
.strip circle { fill: var(--hit); fill-opacity: 0.45; }
.strip rect { fill: var(--ink); }
.scale { display: flex; justify-content: space-between; width: 124px; margin-left: auto;
  font-weight: 400; font-size: 12px; }
.classes tbody th, .classes tbody td { padding: 6px 12px; }
.classes thead th { padding: 6px 12px; }
.classes .pair { text-align: center; border-bottom: 1px solid var(--line); color: var(--ink); }
.classes .first { border-left: 10px solid var(--card); }
.low { background: color-mix(in srgb, var(--miss) calc(var(--p) * 1%), transparent); }
.grid { display: grid; gap: 20px;
  grid-template-columns: repeat(auto-fill, minmax(min(375px, 100%), 1fr)); }
figure { margin: 0; }
figcaption { font-size: 14px; color: var(--soft); }
figcaption b { color: var(--ink); }
figure.card { padding: 14px 18px 18px; }
figure.card figcaption { margin-bottom: 8px; }
figure.card figcaption b { font-size: 17px; margin-right: 8px; }
.matrix { width: 100%; font-size: 12px; line-height: 1; }
.matrix th { font-weight: 500; color: var(--soft); padding: 0 6px 0 0; text-align: right; }
.matrix thead th { text-align: center; height: 22px; padding: 0 0 5px; vertical-align: bottom; }
.matrix td { width: calc(90% / var(--k)); height: 30px; padding: 0; text-align: center;
  border: 1px solid var(--card); }
.matrix .long { writing-mode: vertical-rl; transform: rotate(180deg); }
.matrix .hit { background: color-mix(in srgb, var(--hit) calc(var(--p) * 1%), var(--card)); }
.matrix .miss { background: color-mix(in srgb, var(--miss) calc(var(--p) * 1%), var(--card)); }
.matrix .dark { color: var(--over); font-weight: 600; }
.matrix .none { color: var(--line); }
.misread { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 24px;
  padding: 20px 22px; }
.misread figure { display: flex; gap: 14px; align-items: flex-start; }
.misread img { width: 104px; }
.misread figcaption { line-height: 1.4; }
.misread big { display: block; color: var(--ink); font-size: 17px; font-weight: 700; }
.misread b { color: var(--miss); }
.masks { display: grid; gap: 12px; padding: 16px 22px 22px; align-items: end; }
.masks figure + figure { min-width: 0; }
img { width: 100%; display: block; border-radius: 6px; image-rendering: pixelated; }
.legend span { display: inline-block; margin-right: 18px; color: var(--ink); }
.legend i { display: inline-block; width: 13px; height: 13px; border-radius: 3px;
  margin-right: 6px; vertical-align: -1px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 24px; margin: 6px 0; }
dt { color: var(--soft); }
dd { margin: 0; }
@media print { .card, figure, tr { break-inside: avoid; } }
"""

# One colour per class in pictures of masks; the most frequent class shows the picture itself.
COLOURS = np.array(
    [
        int(c[i : i + 2], 16)
        for c in [
            "e6194b",
            "f58231",
            "ffe119",
            "bfef45",
            "3cb44b",
            "42d4f4",
            "4363d8",
            "911eb4",
            "f032e6",
            "fabed4",
            "a9a9a9",
            "9a6324",
        ]
        for i in (0, 2, 4)
    ]
).reshape(-1, 3)


def write_html(path, sections) -> None:
    """Write ``[(title, comparison, images or None), ...]`` as one self-contained page."""
    heading = sections[0][0] if len(sections) == 1 else "Comparison"
    parts = [f"<h1>{escape(heading)}</h1>"]
    for title, comparison, images in sections:
        parts += [f"<h2>{escape(title)}</h2>"] if len(sections) > 1 else []
        parts += [_lead(comparison), _summary_table(comparison), _class_table(comparison)]
        parts += [_matrices(comparison)]
        if images is not None:
            show = _misread if comparison.y.ndim == 1 else _pictured_masks
            parts += [show(comparison, np.asarray(images))]
        parts += [_provenance(comparison)]
    Path(path).write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n",
        encoding="utf-8",
    )


def _lead(comparison) -> str:
    frame, metric = comparison.frame(), main_metric(comparison)
    best = frame[f"mean_{metric}"].idxmax()
    mean, std = frame.loc[best, [f"mean_{metric}", f"std_{metric}"]]
    return (
        f'<p class="lead">Highest {label(metric)}: <span class="best">{escape(str(best))}</span>, '
        f"{mean:.3f} ± {std:.3f}.</p><p>{escape(describe(comparison))}, the same for all.</p>"
    )


def _summary_table(comparison) -> str:
    frame, text = comparison.frame(), summary(comparison)
    folds = comparison.folds.groupby("estimator", sort=False)
    head, scales = "<th>estimator</th>", {}
    for metric in comparison.metrics:
        values = comparison.folds[metric]
        low, high = np.floor(values.min() * 100) / 100, np.ceil(values.max() * 100) / 100
        scales[metric] = low, max(high, low + 0.01)
        ends = "".join(f"<span>{end:.2f}</span>" for end in scales[metric])
        head += f'<th>{label(metric)}<div class="scale">{ends}</div></th>'
    plain = ["fit [s]", "predict [s]", "parameters", "device"]
    head += "".join(f"<th>{name}</th>" for name in plain)
    rows = []
    for name in frame.index:
        cells = f"<th>{escape(str(name))}</th>"
        for metric in comparison.metrics:
            mean, std = frame.loc[name, [f"mean_{metric}", f"std_{metric}"]]
            best = ' class="best"' if mean == frame[f"mean_{metric}"].max() else ""
            strip = _strip(folds.get_group(name)[metric], mean, *scales[metric])
            cells += f'<td><span{best}>{mean:.3f}</span> <span class="std">± {std:.3f}</span>'
            cells += f"{strip}</td>"
        cells += "".join(f"<td>{escape(str(text.loc[name, column]))}</td>" for column in plain)
        rows.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="card"><table class="wide"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p style="margin-top:8px">Mean ± standard deviation over the '
        "folds; a dot is one fold, the bar their mean. Seconds are means over the folds.</p>"
    )


def _strip(values, mean: float, low: float, high: float) -> str:
    def at(value):
        return 5 + 114 * (value - low) / (high - low)

    dots = "".join(f'<circle cx="{at(v):.1f}" cy="9" r="4.5"/>' for v in values)
    return (
        '<svg class="strip" width="124" height="18" aria-hidden="true">'
        f'<line x1="2" x2="122" y1="9" y2="9"/>{dots}'
        f'<rect x="{at(mean) - 1:.1f}" y="1" width="2" height="16" rx="1"/></svg>'
    )


def _class_table(comparison) -> str:
    table = comparison.per_class()
    names = list(comparison.confusion_matrices)
    first = "".join(
        f'<th colspan="2" class="pair first">{escape(str(name))}</th>' for name in names
    )
    second = '<th class="first">precision</th><th>recall</th>' * len(names)
    rows = []
    for c in comparison.classes:
        cells = f"<th>{escape(str(c))}</th>"
        for name in names:
            for score in ("precision", "recall"):
                value = table.loc[(name, c), score]
                first_of_two = "low first" if score == "precision" else "low"
                shade = f'class="{first_of_two}" style="--p:{40 * (1 - value):.0f}"'
                cells += f"<td {shade}>{value:.3f}</td>"
        rows.append(f"<tr>{cells}<td>{table.loc[(names[0], c), 'support']:,}</td></tr>")
    support = "samples" if comparison.y.ndim == 1 else "pixels"
    return (
        "<h3>Precision and recall per class</h3>"
        "<p>Precision: how much of what was called this class is of it. "
        "Recall: how much of this class was found. Over all test folds together.</p>"
        '<div class="card"><table class="wide classes"><thead>'
        f'<tr><th rowspan="2">class</th>{first}<th rowspan="2">{support}</th></tr>'
        f"<tr>{second}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _matrices(comparison) -> str:
    counts = "Counts of samples" if comparison.y.ndim == 1 else "Percent of the pixels of a class"
    figures = [
        _matrix(str(name), matrices.sum(axis=0), comparison.classes, comparison.y.ndim == 3)
        for name, matrices in comparison.confusion_matrices.items()
    ]
    return (
        "<h3>Confusion matrices</h3>"
        f"<p>{counts} over all test folds: true classes in rows, predicted classes in "
        "columns. Blue is right, orange is wrong; the stronger, the more of its row.</p>"
        f'<div class="grid">{"".join(figures)}</div>'
    )


def _matrix(name: str, matrix: np.ndarray, classes, percent: bool) -> str:
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows = []
    for i, true in enumerate(classes):
        cells = f"<th>{escape(str(true))}</th>"
        for j, guess in enumerate(classes):
            # Errors are rare: the square root keeps a single one visible.
            depth = 100 * (share[i, j] if i == j else np.sqrt(share[i, j]))
            kind = "none" if not matrix[i, j] else "hit" if i == j else "miss"
            dark = " dark" if depth > 72 else ""
            percents = "&lt;1" if share[i, j] < 0.005 else f"{100 * share[i, j]:.0f}"
            text = percents if percent else f"{matrix[i, j]}"
            title = escape(f"true {true}, predicted {guess}: {matrix[i, j]:,}", quote=True)
            cells += f'<td class="{kind}{dark}" style="--p:{depth:.0f}" title="{title}">'
            cells += f"{text if matrix[i, j] else '·'}</td>"
        rows.append(f"<tr>{cells}</tr>")
    head = "".join(
        f"<th><span class={'long' if len(str(c)) > 3 else 'short'}>{escape(str(c))}</span></th>"
        for c in classes
    )
    wrong = matrix.sum() - np.trace(matrix)
    return (
        f'<figure class="card"><figcaption><b>{escape(name)}</b>{wrong:,} of {matrix.sum():,} '
        f"wrong ({wrong / matrix.sum():.1%})</figcaption>"
        f'<table class="matrix" style="--k:{len(classes)}">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></figure>"
    )


def _misread(comparison, images: np.ndarray, n_shown: int = 12) -> str:
    """The samples that most estimators got wrong, each with all the answers."""
    tested = np.concatenate([test for _, test in comparison.splits])
    tested, first = np.unique(tested, return_index=True)  # repeated folds test a sample twice
    answers = {
        escape(str(name)): np.concatenate(folds)[first]
        for name, folds in comparison.predictions.items()
    }
    truth = comparison.y[tested]
    n_wrong = np.sum([answer != truth for answer in answers.values()], axis=0)
    figures = []
    for i in np.argsort(-n_wrong, kind="stable")[: min(n_shown, np.count_nonzero(n_wrong))]:
        said = [
            f"{name} <b>{escape(str(answer[i]))}</b>" if answer[i] != truth[i] else f"{name} ✓"
            for name, answer in answers.items()
        ]
        figures.append(
            f"<figure>{_image(_rgb(images[tested[i]]))}<figcaption>"
            f"<big>{escape(str(truth[i]))}</big>{'<br>'.join(said)}</figcaption></figure>"
        )
    return (
        "<h3>The most misread</h3><p>In large the truth, then what each estimator said, which had "
        f'not been trained on that sample.</p><div class="card misread">{"".join(figures)}</div>'
    )


def _pictured_masks(comparison, images: np.ndarray, n_shown: int = 4) -> str:
    """Pictures of the first test fold: the image, the truth, and every estimator's mask."""
    test = comparison.splits[0][1][:n_shown]
    masks = {"truth": comparison.y[test]}
    masks |= {name: folds[0][:n_shown] for name, folds in comparison.predictions.items()}
    common = max(comparison.classes, key=lambda c: np.count_nonzero(comparison.y == c))
    others = [c for c in comparison.classes if c != common]
    colours = {c: COLOURS[k % len(COLOURS)] for k, c in enumerate(others)}
    cells = [f"<figcaption><b>{escape(str(name))}</b></figcaption>" for name in ["image", *masks]]
    for k, i in enumerate(test):
        picture = _rgb(images[i])
        cells.append(f"<figure>{_image(picture)}</figure>")
        for mask in masks.values():
            painted = 0.45 * picture
            for c, colour in colours.items():
                painted[mask[k] == c] = 0.15 * picture[mask[k] == c] + 0.85 * colour
            cells.append(f"<figure>{_image(painted)}</figure>")
    legend = "".join(
        f'<span><i style="background:rgb({r},{g},{b})"></i>{escape(str(c))}</span>'
        for c, (r, g, b) in colours.items()
    )
    return (
        "<h3>What they see</h3><p>Images of the first test fold, which no estimator had seen. "
        f"Class {escape(str(common))}, the most frequent, is left dim.</p>"
        f'<p class="legend">{legend}</p><div class="card masks" style="grid-template-columns:'
        f'repeat({len(masks) + 1},minmax(100px,1fr))">{"".join(cells)}</div>'
    )


def _rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        image = 255 * (image - image.min()) / max(np.ptp(image), 1e-12)
    return np.broadcast_to(image[..., None] if image.ndim == 2 else image, (*image.shape[:2], 3))


def _image(rgb: np.ndarray) -> str:
    """An <img> that carries its PNG, written by hand: three chunks, no dependency."""
    height, width, _ = rgb.shape
    rows = np.pad(rgb.astype(np.uint8).reshape(height, -1), ((0, 0), (1, 0))).tobytes()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _provenance(comparison) -> str:
    facts = {"n": describe(comparison), **comparison.provenance}
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f'<h3>How this was made</h3><div class="card"><dl>{items}</dl></div>'
