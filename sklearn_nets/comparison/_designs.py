"""Designs: which samples are learned from and which are judged, the same for all estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length, check_random_state

from .._utils.array_api import to_numpy

Split = tuple[np.ndarray, np.ndarray]


@dataclass
class Design:
    """Train and test indices of every fold.

    Attributes
    ----------
    splits : list of (ndarray, ndarray)
    description : str
        What made them.
    groups : ndarray of shape (n_samples,) or None
        The group of each sample.
    reproducible : bool
        Whether the same arguments give the same splits again.
    remarks : list of str
        What is odd about the splits.

    Raises
    ------
    ValueError
        If there is no fold, or an empty one.
    """

    splits: list[Split]
    description: str
    groups: np.ndarray | None = None
    reproducible: bool = True
    remarks: list[str] = field(init=False)

    def __post_init__(self):
        self.remarks = _check_splits(self.splits, self.groups)


def make_design(problem, X, *, cv, test_size, repeats, groups, random_state) -> Design:
    """The folds of a cross-validation, or the one split of a held-out test set.

    `test_size` is the number of rows at the end that are held out, or None.
    """
    n, index = len(problem.y), np.arange(len(problem.y))  # turns lists and masks into indices
    if isinstance(repeats, bool) or not isinstance(repeats, Integral) or repeats < 1:
        raise ValueError(f"repeats must be an int of 1 or more, got {repeats!r}.")
    if groups is not None:
        groups = np.asarray(to_numpy(groups))
        check_consistent_length(problem.y, groups)
    if test_size is not None:
        if repeats != 1:
            raise ValueError(
                "repeats is for cross-validation; there is one test set. Leave it out."
            )
        splits = [(index[: n - test_size], index[n - test_size :])]
        return Design(splits, f"a held-out test set of {test_size:,}", groups)
    asked = 5 if cv is None else cv
    if not isinstance(asked, Integral):
        if repeats != 1:
            raise ValueError(
                "repeats is for an int cv. Pass a splitter that repeats, such as "
                "RepeatedStratifiedKFold, or an int."
            )
        description = str(cv) if hasattr(cv, "split") else "given train and test indices"
        splits = check_cv(cv).split(X, problem.y, groups)
        design = Design([(index[a], index[b]) for a, b in splits], description, groups)
        # a splitter that does not shuffle has a random_state all the same
        draws = getattr(cv, "shuffle", True) and hasattr(cv, "random_state")
        design.reproducible = not draws or isinstance(cv.random_state, Integral)
        return design
    if groups is None:
        splitter = problem.splitter(int(asked), random_state, int(repeats))
        splits = list(splitter.split(X, problem.y))
        design = Design(splits, str(splitter))
    else:
        # scikit-learn repeats no splitter with groups.
        rng, splits = check_random_state(random_state), []
        for _ in range(repeats):
            splitter = problem.splitter(int(asked), rng.randint(2**31 - 1), grouped=True)
            splits += splitter.split(X, problem.y, groups)
        times = "" if repeats == 1 else f", {repeats} times"
        name = type(splitter).__name__
        design = Design(splits, f"{name}(n_splits={asked}, shuffle=True){times}", groups)
    design.reproducible = isinstance(random_state, Integral)
    return design


def _check_splits(splits: list[Split], groups) -> list[str]:
    """Refuse empty folds; remark what is in both halves of one."""
    if not splits:
        raise ValueError("cv gives no fold: pass an int, a splitter or (train, test) indices.")
    shared, shared_groups, remarks = 0, 0, []
    for fold, (train, test) in enumerate(splits):
        if not len(train) or not len(test):
            raise ValueError(
                f"Fold {fold + 1} of {len(splits)} has {len(train)} training and {len(test)} test "
                "samples: each needs one or more."
            )
        shared = max(shared, len(np.intersect1d(train, test)))
        if groups is not None:
            in_both = np.intersect1d(groups[train], groups[test])
            shared_groups = max(shared_groups, len(in_both))
    if shared:
        remarks.append(
            f"Up to {shared:,} test samples of a fold are among its training samples: "
            "the scores are too high."
        )
    if shared_groups:
        remarks.append(
            f"Up to {shared_groups:,} groups are in both halves of a fold: cv does not keep groups "
            "together."
        )
    return remarks


def join_test_set(X, y, test):
    """Training and test samples in one: X, y and the number of test samples.

    Raises
    ------
    TypeError, ValueError
        If `test` is no pair, or does not fit to X and y.
    """
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise TypeError(f"test must be a pair (X_test, y_test), got {type(test).__name__}.")
    X_test, y_test = test
    check_consistent_length(X_test, y_test)
    try:
        return _stack(X, X_test), _stack(y, y_test), len(y_test)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            "test must hold samples like those of X and y: expected the shapes "
            f"{_shape(X)} and {_shape(y)} but for the number of samples, got {_shape(X_test)} and "
            f"{_shape(y_test)} ({error})."
        ) from error


def _shape(values):
    return tuple(getattr(values, "shape", (len(values),)))


def _stack(first, second):
    if isinstance(first, (pd.DataFrame, pd.Series)):
        if isinstance(first, pd.DataFrame) and list(first) != list(getattr(second, "columns", ())):
            raise ValueError("the columns of the data frames differ")
        if isinstance(first, pd.Series):  # values have no names: any container will do
            second = pd.Series(to_numpy(second))
        return pd.concat([first, second], ignore_index=True)
    if sparse.issparse(first):
        return sparse.vstack([first, second], format="csr")
    if isinstance(first, list):
        return [*first, *second]
    if type(first).__module__.split(".")[0] == "torch":
        import torch

        return torch.cat([first, torch.as_tensor(second)])
    return np.concatenate([np.asarray(first), np.asarray(second)])


def is_several_data_sets(X) -> bool:
    """Whether X is a dict of ``name: (X, y)``."""
    return isinstance(X, Mapping) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in X.values()
    )
