"""Problem types: what y is, how predictions of it are judged, split, counted and shown."""

from __future__ import annotations

import numpy as np

from ..._utils.validation import check_one_size
from ._base import Problem
from ._classification import Classification
from ._detection import Detection
from ._regression import Regression
from ._segmentation import Segmentation

__all__ = [
    "PROBLEMS",
    "Classification",
    "Detection",
    "Problem",
    "Regression",
    "Segmentation",
    "choose_problem",
    "named_problem",
]

PROBLEMS: list[type[Problem]] = [Detection, Classification, Segmentation, Regression]


def named_problem(task: str) -> type[Problem]:
    """The problem type of that name."""
    names = {problem.name: problem for problem in PROBLEMS}
    if task not in names:
        raise ValueError(f"task must be 'auto' or one of {list(names)}, got {task!r}.")
    return names[task]


def choose_problem(y, ignore_index=None, estimators=(), scoring=None, task="auto") -> Problem:
    """The problem type of targets: the one place that asks what y is."""
    check_one_size(y, "compare", "masks")
    if task != "auto":
        return named_problem(task)(y, ignore_index, scoring)
    for problem in PROBLEMS:
        if problem.recognizes(y, estimators):
            return problem(y, ignore_index, scoring)
    y = np.asarray(y)
    raise ValueError(
        "y must hold labels of shape (n_samples,), amounts (floating point numbers) of shape "
        "(n_samples,), integer or string masks of shape (n_samples, height, width), or a dict of "
        f"boxes and labels for each image, got shape {y.shape} of dtype {y.dtype}."
    )
