"""Figures of a comparison."""

from __future__ import annotations

import numpy as np

from ._tables import describe, label


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
