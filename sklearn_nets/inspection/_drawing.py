"""What the displays share."""

from __future__ import annotations

import math

import numpy as np

from .._utils.optional import require
from .._utils.sklearn_compat import check_is_fitted


def make_axes(ax, n=1):
    """The given axes, or a new grid of n of them."""
    plt = require("matplotlib.pyplot", "A display", extra="report")
    if ax is not None:
        return np.ravel(ax)
    columns = min(n, max(1, math.ceil(math.sqrt(n))))
    rows = math.ceil(n / columns)
    size = None if n == 1 else (1.2 * columns, 1.2 * rows)
    return np.ravel(plt.subplots(rows, columns, squeeze=False, figsize=size)[1])


def last_step(estimator):
    """The net at the end of a pipeline."""
    estimator = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    check_is_fitted(estimator)
    return estimator
