"""Problem types: what y is, how predictions of it are judged, split, counted and shown."""

from __future__ import annotations

import numpy as np

from ._base import Problem
from ._classification import Classification
from ._regression import Regression
from ._segmentation import Segmentation

__all__ = ["PROBLEMS", "Classification", "Problem", "Regression", "Segmentation", "choose_problem"]

PROBLEMS: list[type[Problem]] = [Classification, Segmentation, Regression]


def choose_problem(y, ignore_index=None, estimators=(), scoring=None, task="auto") -> Problem:
    """The problem type of targets: the one place that asks what y is."""
    names = {problem.name: problem for problem in PROBLEMS}
    if task != "auto":
        if task not in names:
            raise ValueError(f"task must be 'auto' or one of {list(names)}, got {task!r}.")
        return names[task](y, ignore_index, scoring)
    for problem in PROBLEMS:
        if problem.recognizes(y, estimators):
            return problem(y, ignore_index, scoring)
    y = np.asarray(y)
    raise ValueError(
        "y must hold labels of shape (n_samples,), amounts (floating point numbers) of shape "
        "(n_samples,), or integer or string masks of shape (n_samples, height, width), got shape "
        f"{y.shape} of dtype {y.dtype}."
    )
