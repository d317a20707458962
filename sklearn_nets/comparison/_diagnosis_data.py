"""What is wrong with the samples: too few of a class, or twice the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import sparse

from .._utils.array_api import to_numpy
from .._utils.images import to_channels_first
from .._utils.validation import is_ragged
from ._diagnosis_features import check_features, check_neighbors
from ._findings import SHOWN, Finding, name_some, sample_rows

IMBALANCE = 10  # times as many of the most frequent class as of the rarest
MANY_DUPLICATES = 0.01  # of the test samples
# Correlation of two images at 16 x 16 pixels of gray. Of Fashion-MNIST 0.15 % have a neighbor
# as near as that, of CIFAR-10 and digits none; copies stored as JPEG or in another brightness do.
SAME_PICTURE = 0.995
THUMBNAIL = 16
MOST_IMAGES = 10_000  # that are compared with each other


def check_labels(comparison) -> Iterator[Finding]:
    """Classes that are too small for the folds, or rare."""
    problem = comparison.problem
    classes = getattr(problem, "classes", None)
    if classes is None or len(classes) < 2:
        return
    names = [str(c) for c in classes]
    per_sample = problem.count_classes()
    yield from _check_small_classes(comparison, per_sample > 0, names)
    counts = per_sample.sum(axis=0)
    share = counts / counts.sum()
    if share.min() > 0 and counts.max() >= IMBALANCE * counts.min():
        most, least = int(share.argmax()), int(share.argmin())
        pure = f": always saying {names[most]} has accuracy {share[most]:.3f}"
        pure = pure if problem.one_per_sample else ""
        yield Finding(
            "imbalance",
            "warning" if share[most] >= 0.8 and problem.one_per_sample else "note",
            f"Class {names[most]} has {share[most]:.1%} of the {problem.unit}, class "
            f"{names[least]} {share[least]:.1%}{pure}. Look at recall per class and "
            "at macro means.",
            {"share": dict(zip(names, share.tolist()))},
        )


def _check_small_classes(comparison, occurs, names) -> Iterator[Finding]:
    n_folds = len(comparison.splits)
    not_learned, not_tested = {}, {}
    for fold, (train, test) in enumerate(comparison.splits):
        for k in np.flatnonzero(~occurs[train].any(axis=0)):
            not_learned.setdefault(names[k], []).append(fold)
        for k in np.flatnonzero(~occurs[test].any(axis=0)):
            not_tested.setdefault(names[k], []).append(fold)
    affected = [name for name in names if name in not_learned or name in not_tested]
    if not affected:
        return
    counts = dict(zip(names, occurs.sum(axis=0).tolist()))
    listed = ", ".join(f"{name} ({counts[name]})" for name in affected[:SHOWN])
    more = f" and {len(affected) - SHOWN} more" if len(affected) > SHOWN else ""
    few, where = f"with too few samples for {n_folds} folds", " of some fold"
    if n_folds == 1:
        few, where = "that training and test data do not both hold", ""
    missing = [
        f"{len(cases)} of them from {part} data{where}"
        for part, cases in {"training": not_learned, "test": not_tested}.items()
        if cases
    ]
    yield Finding(
        "small classes",
        "warning",
        f"Classes {few}: {listed}{more}. "
        f"Missing are {' and '.join(missing)}. Collect more of them, merge them, or leave them "
        "out.",
        {
            "counts": {name: counts[name] for name in affected},
            "not_in_training": not_learned,
            "not_in_test": not_tested,
        },
    )


def check_data(comparison, X) -> Iterator[Finding]:
    """Samples that are twice there, features that say nothing or all, labels that look wrong."""
    if sparse.issparse(X):
        return
    several_sizes = is_ragged(X)
    X = X if isinstance(X, pd.DataFrame) or several_sizes else np.asarray(to_numpy(X))
    if len(X) != len(comparison.y):
        raise ValueError(
            f"X must hold the {len(comparison.y):,} samples of the comparison, got {len(X):,}. "
            "With a held-out test set, X is the training samples followed by the test samples."
        )
    yield from _check_duplicates(comparison, X)
    if several_sizes:
        return
    if X.ndim in (3, 4) and X.dtype.kind in "buif":
        yield from _check_blank_images(X)
        yield from _check_near_duplicates(comparison, X)
        yield from check_neighbors(comparison, X)
    elif X.ndim == 2:  # else texts, dicts, ...: what only the estimators can read
        yield from check_features(comparison, X)
        yield from check_neighbors(comparison, X)


# --- samples -------------------------------------------------------------------------------------


def _hash_rows(X) -> np.ndarray:
    if isinstance(X, pd.DataFrame):
        return pd.util.hash_pandas_object(X, index=False).to_numpy()
    if is_ragged(X):
        images = [np.asarray(to_numpy(image)) for image in X]
        return _digests(f"{image.shape}".encode() + image.tobytes() for image in images)
    if X.dtype == object:
        return pd.util.hash_pandas_object(pd.DataFrame(X.reshape(len(X), -1)), False).to_numpy()
    rows = np.ascontiguousarray(X).reshape(len(X), -1)
    return _digests(row.tobytes() for row in rows)


def _digests(values) -> np.ndarray:
    digests = [hashlib.blake2b(value, digest_size=8).digest() for value in values]
    return np.frombuffer(b"".join(digests), np.uint64)


def _check_duplicates(comparison, X) -> Iterator[Finding]:
    try:
        codes = np.unique(_hash_rows(X), return_inverse=True)[1]
    except TypeError:  # samples that cannot be hashed, such as dicts
        return
    n_tested, again = 0, []
    for train, test in comparison.splits:
        n_tested += len(test)
        again.append(test[np.isin(codes[test], codes[train])])
    again = np.concatenate(again)
    if not len(again):
        return
    indices = np.unique(again)
    y, share = np.asarray(comparison.y), len(again) / n_tested
    contradicting = 0
    if comparison.problem.one_per_sample:
        labels = pd.Series(pd.factorize(y)[0]).groupby(codes).transform("nunique").to_numpy()
        contradicting = int(np.count_nonzero(labels > 1))
    differ = f" {contradicting:,} samples are the same but for y." if contradicting else ""
    yield Finding(
        "duplicates",
        "warning" if share >= MANY_DUPLICATES else "note",
        f"{len(again):,} test samples ({share:.1%}) are also in the training data of their fold, "
        f"so that a model may know their answer by heart.{differ} Remove copies, or keep them "
        "together by groups.",
        {"indices": indices, "share": share, "n_contradicting": contradicting},
    )


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Gray images of at most 16 x 16 pixels, of mean 0 and norm 1; zeros where nothing is seen."""
    small = to_channels_first(images).mean(axis=1, dtype=np.float32)
    for axis in (1, 2):
        n = small.shape[axis]
        edges = np.linspace(0, n, min(n, THUMBNAIL) + 1).astype(int)
        widths = np.expand_dims(np.diff(edges), 1 if axis == 1 else 0)
        small = np.add.reduceat(small, edges[:-1], axis) / widths
    rows = small.reshape(len(small), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 1e-6)


def _check_near_duplicates(comparison, X) -> Iterator[Finding]:
    chosen = sample_rows(len(X), MOST_IMAGES)
    rows = _thumbnails(X[chosen])
    codes = np.unique(_hash_rows(X[chosen]), return_inverse=True)[1]
    place = np.full(len(X), -1)
    place[chosen] = np.arange(len(chosen))
    left, right = [], []
    for start in range(0, len(rows), 1000):
        i, j = np.nonzero(rows[start : start + 1000] @ rows.T >= SAME_PICTURE)
        i += start
        keep = codes[i] != codes[j]  # exact copies have a finding of their own
        left.append(chosen[i[keep]])
        right.append(chosen[j[keep]])
    left, right = np.concatenate(left), np.concatenate(right)
    n_tested, found = 0, []
    for train, test in comparison.splits:
        n_tested += np.count_nonzero(place[test] >= 0)
        in_train, in_test = np.zeros((2, len(X)), bool)
        in_train[train], in_test[test] = True, True
        crossing = in_test[left] & in_train[right]
        found.append(np.column_stack([left[crossing], right[crossing]]))
    pairs = np.concatenate(found)
    n_samples = sum(len(np.unique(fold[:, 0])) for fold in found)
    if not n_samples:
        return
    share = n_samples / max(n_tested, 1)
    yield Finding(
        "near duplicates",
        "warning" if share >= MANY_DUPLICATES else "note",
        f"{n_samples:,} test images ({share:.1%}) have a near copy in the training data of their "
        "fold: the same picture stored again, or the next frame of a film. Keep such images "
        "together by groups, or remove copies.",
        {"pairs": np.unique(pairs, axis=0), "share": share, "correlation": SAME_PICTURE},
    )


def _check_blank_images(X) -> Iterator[Finding]:
    flat = X.reshape(len(X), -1)
    blank = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
    if len(blank):
        yield Finding(
            "blank images",
            "warning",
            f"{len(blank):,} images are of one color: {name_some(blank)}. Replace or remove them.",
            {"indices": blank},
        )
