"""Classes or quantities? The rule by which a target of unknown meaning is read."""

from __future__ import annotations

import numpy as np

MAX_CODES = 30  # more whole numbers than this are quantities
MIN_ROWS_PER_CODE = 5  # on average


def choose_task(y: np.ndarray) -> tuple[str, str]:
    """Decide what a target asks for, and say why.

    - Words and booleans are classes.
    - Numbers of two different values are classes.
    - Numbers with a fractional part are quantities.
    - Whole numbers are classes if they look like codes: 30 or fewer of them, counted from 0 or 1
      without a gap, with 5 rows each on average; or else quantities.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), without missing values

    Returns
    -------
    task : {"classification", "regression"}
    reason : str
        What was seen, to follow "because the target holds".
    """
    if y.dtype.kind not in "iuf":
        kind = "true and false" if y.dtype.kind == "b" else "words"
        return "classification", kind
    values = np.unique(y)
    if len(values) <= 2:
        return "classification", f"{len(values)} different numbers"
    if np.any(values != np.round(values)):
        return "regression", "numbers with a fractional part"
    first, last = int(values[0]), int(values[-1])
    counted = first in (0, 1) and last - first + 1 == len(values)
    if counted and len(values) <= MAX_CODES and len(y) >= MIN_ROWS_PER_CODE * len(values):
        return "classification", f"the {len(values)} whole numbers from {first} to {last}"
    return "regression", f"{len(values)} different whole numbers between {first} and {last}"
