"""What a diagnosis consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SHOWN = 5  # items named in a sentence


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    kind : str
        ``"under-fit"``, ``"over-fit"``, ``"not converged"``, ``"test set too small"``,
        ``"small classes"``, ``"imbalance"``, ``"duplicates"``, ``"near duplicates"``,
        ``"constant features"``, ``"leaking features"``, ``"blank images"`` or ``"label errors"``.
    severity : {"warning", "note"}
        A warning may mislead who reads the scores; a note is good to know.
    sentence : str
    evidence : dict
        The numbers behind the sentence: scores, intervals, indices of samples, ...
    """

    kind: str
    severity: str
    sentence: str
    evidence: dict[str, Any] = field(default_factory=dict)


def baselines(comparison) -> set[str]:
    """Estimators that say the same of every sample of a fold, such as dummies."""
    return {
        name
        for name, folds in comparison.predictions.items()
        if all(map(comparison.problem.says_the_same, folds))
    }


def sample_rows(n: int, most: int) -> np.ndarray:
    """All samples, or as many as can be looked into, the same at every call."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def name_some(values) -> str:
    more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more
