"""What comes in: rows, targets and weights, as arrays or as torch tensors, checked once."""

from __future__ import annotations

import joblib
import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length

from .array_api import is_tensor, to_numpy
from .sklearn_compat import check_sample_weight, check_y, validate_data


def validate_rows(
    estimator, X, y="no_validation", *, reset, dtype="numeric", y_numeric=False, sparse=False
):
    """Check rows (and targets) the way scikit-learn does; tensors are checked where they are.

    Parameters
    ----------
    estimator : estimator
        Remembers, or is asked for, `n_features_in_` and `feature_names_in_`.
    X : array-like or tensor of shape (n_samples, n_features)
    y : array-like or tensor, optional
        Left out when predicting; None is refused in scikit-learn's words.
    reset : bool
        Whether `X` sets the number of features or must match it.
    dtype : list of numpy dtypes or "numeric", default="numeric"
        Types that stay as they are; others become the first of them.
    y_numeric : bool, default=False
        Whether targets must be numbers.
    sparse : bool, default=False
        Whether sparse rows are taken; they stay sparse, and become CSR.

    Returns
    -------
    X : ndarray, tensor or sparse matrix
    y : ndarray, only when given
    """
    if isinstance(y, str) and not reset and _is_as_in_fit(estimator, X, dtype):
        return X
    check_no_images(estimator, X)
    if not is_tensor(X):
        options = {"dtype": dtype, "reset": reset}
        if sparse:
            options["accept_sparse"] = "csr"
        if isinstance(y, str):
            return _numbers(validate_data(estimator, X, **options))
        X, y = validate_data(
            estimator, X, to_numpy(y), multi_output=True, y_numeric=y_numeric, **options
        )
        return _numbers(X), y
    X = _check_tensor(estimator, X)
    validate_data(estimator, stand_in(X), y, skip_check_array=True, reset=reset)
    if dtype != "numeric" and X.dtype not in (torch.float32, torch.float64):
        X = X.to(torch.float64)
    if isinstance(y, str):
        return X
    return X, validate_target(estimator, y, len(X), y_numeric=y_numeric)


def stand_in(X):
    """A view of one element on the host of the shape of X, whatever device X lives on.

    Shapes, counts and names are scikit-learn's business and need no data.
    """
    return np.broadcast_to(np.zeros((), dtype=np.float32), tuple(X.shape))


def _is_as_in_fit(estimator, X, dtype) -> bool:
    """Whether X are rows that scikit-learn would let pass as they are.

    Its own check of a few rows takes longer than a small net's prediction.
    """
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype.kind not in "fiu":
        return False
    if dtype != "numeric" and X.dtype not in dtype:
        return False
    if len(X) == 0 or X.shape[1] != estimator.n_features_in_ or X.shape[1] == 0:
        return False
    if hasattr(estimator, "feature_names_in_"):  # X has none, of which scikit-learn warns
        return False
    with np.errstate(all="ignore"):
        return X.dtype.kind != "f" or bool(np.isfinite(X.sum()))


def check_no_images(estimator, X) -> None:
    """Refuse images where rows are expected, and say what makes rows of them."""
    ndim = getattr(X, "ndim", 2)
    if ndim in (3, 4):
        name = type(estimator).__name__
        raise ValueError(
            f"Found array with dim {ndim}, while dim <= 2 is required by {name}. Images become "
            f"rows by make_pipeline(FlattenImages(), {name}(...)), from sklearn_nets.vision."
        )


def _numbers(X):
    """Rows as numbers: scikit-learn leaves frames of categories as objects, and times as times."""
    return X.astype(np.float64) if X.dtype.kind in "OmM" else X


def check_target_given(estimator, y) -> None:
    """Refuse a missing target in scikit-learn's words."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )


def validate_target(estimator, y, n_samples: int, *, y_numeric=False):
    """Check targets of one or several outputs against a number of samples."""
    check_target_given(estimator, y)
    y = check_y(to_numpy(y), multi_output=True, y_numeric=y_numeric, estimator=estimator)
    check_consistent_length(range(n_samples), y)
    return y


def _check_tensor(estimator, X):
    name = type(estimator).__name__
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D tensor of shape {tuple(X.shape)} instead. Reshape "
            "your data either using X.reshape(-1, 1) if it has a single feature or "
            "X.reshape(1, -1) if it contains a single sample."
        )
    for axis, what in enumerate(("sample", "feature")):
        if X.shape[axis] < 1:
            raise ValueError(
                f"Found array with {X.shape[axis]} {what}(s) (shape={tuple(X.shape)}) while a "
                f"minimum of 1 is required by {name}."
            )
    return check_finite(estimator, X)


def check_finite(estimator, X):
    """Refuse tensors that hold NaN, infinity or complex numbers."""
    if X.is_complex():
        raise ValueError("Complex data not supported")
    # one sum answers for the whole tensor; only a suspicious one is looked at again
    if X.is_floating_point() and not torch.isfinite(X.sum()) and not torch.isfinite(X).all():
        what = "NaN" if torch.isnan(X).any() else "infinity"
        raise ValueError(
            f"Input X contains {what}. {type(estimator).__name__} needs finite values."
        )
    return X


def check_range(X, dtype: str) -> None:
    """Refuse float64 values that a net of a narrower type would read as infinite."""
    if dtype == "float64" or X.dtype != (torch.float64 if is_tensor(X) else np.float64):
        return
    values = X.data if issparse(X) else X
    # no abs, which would be a second X
    largest = max(float(values.max()), -float(values.min())) if 0 not in values.shape else 0.0
    if largest > float(np.finfo(np.float32).max):
        raise ValueError(
            f"X holds values as large as {largest:.3g}, beyond float32, in which this net computes "
            "(precision='auto'). Scale X, or pass precision='float64'."
        )


def fingerprint(X, target, weight) -> str:
    """A word that differs where X, its encoded targets or weights do, but for equal column sums."""
    with np.errstate(all="ignore"):
        sums = X.sum(0)
    sums = sums.cpu().numpy() if is_tensor(sums) else np.asarray(sums)
    return joblib.hash((X.shape, sums, target, weight))


def validate_weight(sample_weight, n_samples: int):
    """Check sample weights: one finite, non-negative number a sample, not all of them zero."""
    if sample_weight is None:
        return None
    return check_sample_weight(
        to_numpy(sample_weight), np.empty(n_samples), dtype=np.float64, ensure_non_negative=True
    )


def check_ignore_index(y, ignore_index) -> None:
    """Refuse a label for "no label" of another type than those of y, which would match none."""
    if ignore_index is None or not y.size:
        return
    texts = [isinstance(label, str | bytes) for label in (y.flat[0], ignore_index)]
    if texts[0] != texts[1]:
        kind = "strings" if texts[0] else "numbers"
        raise ValueError(
            f"ignore_index must be a label of the type of those in y, which are {kind}, got "
            f"{ignore_index!r}."
        )


def is_ragged(X) -> bool:
    """Whether X is a sequence of images, or masks, that do not all have the same size."""
    if not isinstance(X, (list, tuple)) and not (isinstance(X, np.ndarray) and X.dtype.kind == "O"):
        return False
    return len({np.shape(item) for item in X}) > 1


def check_one_size(X, taker: str, what: str = "images") -> None:
    """Refuse images, or masks, of several sizes where they must be of one."""
    if is_ragged(X) and all(np.ndim(item) > 1 for item in X):
        sizes = sorted({np.shape(item) for item in X})
        raise ValueError(
            f"{taker} takes {what} of one shape, got {len(X)} of {len(sizes)} shapes: "
            f"{', '.join(map(str, sizes[:3]))}{', ...' if len(sizes) > 3 else ''}. Resize or crop "
            "them first, as PIL.Image.Image.resize does."
        )
