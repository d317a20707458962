"""What is wrong with the data: too few of a class, twice the same, features and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .._utils.array_api import to_numpy
from ._findings import Finding, baselines

IMBALANCE = 10  # times as many of the most frequent class as of the rarest
MANY_DUPLICATES = 0.01  # of the test samples
# Correlation of two images at 16 x 16 pixels of gray. Of Fashion-MNIST 0.15 % have a neighbor
# as near as that, of CIFAR-10 and digits none; copies stored as JPEG or in another brightness do.
SAME_PICTURE = 0.995
THUMBNAIL = 16
LEAK = 0.99  # balanced accuracy, or R2, of a tree that sees this feature only
N_NEIGHBORS = 10
CONTRADICTING = 9  # of them of one other class, and none of the sample's own
TRUSTED = 0.7  # share of a class whose neighbors agree with the label, to believe them elsewhere
MANY_LABEL_ERRORS = 0.005  # of the samples
MOST_ROWS, MOST_COLUMNS, MOST_IMAGES = 10_000, 200, 10_000  # that are looked into
SHOWN = 5


def check_labels(comparison) -> Iterator[Finding]:
    """Classes that are too small for the folds, or rare."""
    classes = getattr(comparison.problem, "classes", None)
    if classes is None or len(classes) < 2:
        return
    y = np.asarray(comparison.y)
    names = [str(c) for c in classes]
    # in how many samples each class occurs
    occurs = np.stack([(y == c).reshape(len(y), -1).any(axis=1) for c in classes], axis=1)
    yield from _check_small_classes(comparison, occurs, names)
    counts = np.array([np.count_nonzero(y == c) for c in classes])
    share = counts / counts.sum()
    if share.min() > 0 and counts.max() >= IMBALANCE * counts.min():
        most, least = int(share.argmax()), int(share.argmin())
        unit = "samples" if y.ndim == 1 else "pixels"
        pure = "" if y.ndim > 1 else f": always saying {names[most]} has accuracy {share[most]:.3f}"
        yield Finding(
            "imbalance",
            "warning" if share[most] >= 0.8 and y.ndim == 1 else "note",
            f"Class {names[most]} has {share[most]:.1%} of the {unit}, class {names[least]} "
            f"{share[least]:.1%}{pure}. Look at recall per class and at macro means.",
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
    missing = [
        f"{len(cases)} of them from {part} data of some fold"
        for part, cases in {"training": not_learned, "test": not_tested}.items()
        if cases
    ]
    yield Finding(
        "small classes",
        "warning",
        f"Classes with too few samples for {n_folds} folds: {listed}{more}. "
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
    X = X if isinstance(X, pd.DataFrame) else np.asarray(to_numpy(X))
    if len(X) != len(comparison.y):
        raise ValueError(
            f"X must hold the {len(comparison.y):,} samples of the comparison, got {len(X):,}. "
            "With a held-out test set, X is the training samples followed by the test samples."
        )
    yield from _check_duplicates(comparison, X)
    if X.ndim > 2:
        yield from _check_blank_images(X)
        yield from _check_near_duplicates(comparison, X)
    else:
        yield from _check_constant_features(X)
        yield from _check_leaking_features(comparison, X)
    yield from _check_neighbors(comparison, X)


# --- samples -------------------------------------------------------------------------------------


def _hash_rows(X) -> np.ndarray:
    if isinstance(X, pd.DataFrame):
        return pd.util.hash_pandas_object(X, index=False).to_numpy()
    if X.dtype == object:
        return pd.util.hash_pandas_object(pd.DataFrame(X.reshape(len(X), -1)), False).to_numpy()
    rows = np.ascontiguousarray(X).reshape(len(X), -1)
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), np.uint64)


def _check_duplicates(comparison, X) -> Iterator[Finding]:
    codes = np.unique(_hash_rows(X), return_inverse=True)[1]
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
    if y.ndim == 1:
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
    if images.ndim == 4:
        first = images.shape[3] not in (1, 3, 4) and images.shape[1] in (1, 3, 4)
        images = images.mean(axis=1 if first else 3, dtype=np.float32)
    small = images.astype(np.float32)
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
    chosen = _sample(len(X), MOST_IMAGES)
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
            f"{len(blank):,} images are of one color: {_some(blank)}. Replace or remove them.",
            {"indices": blank},
        )


def _sample(n: int, most: int) -> np.ndarray:
    """All samples, or as many as can be looked into, the same at every call."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def _some(values) -> str:
    more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more


# --- features ------------------------------------------------------------------------------------


def _columns(X):
    """Every feature with its name, or its number."""
    if isinstance(X, pd.DataFrame):
        for place, name in enumerate(X.columns):
            yield name, X.iloc[:, place]
    else:
        for k in range(X.shape[1]):
            yield k, pd.Series(X[:, k])


def _check_constant_features(X) -> Iterator[Finding]:
    constant = [name for name, column in _columns(X) if column.nunique(dropna=False) < 2]
    if constant:
        are = "feature is" if len(constant) == 1 else "features are"
        yield Finding(
            "constant features",
            "note",
            f"{len(constant)} {are} the same in all samples and can tell nothing: "
            f"{_some(constant)}.",
            {"features": constant},
        )


def _as_number(column: pd.Series) -> np.ndarray:
    """A feature as one column of float64; missing values stay."""
    if column.dtype.kind in "mM":
        return column.astype("int64").where(column.notna()).to_numpy(np.float64)[:, None]
    if pd.api.types.is_numeric_dtype(column):
        return _in_range(column.to_numpy(np.float64, na_value=np.nan))[:, None]
    text = column.astype(object).map(str, na_action="ignore").to_numpy()[:, None]
    return OrdinalEncoder().fit_transform(text)


def _in_range(values: np.ndarray) -> np.ndarray:
    """Values whose squares float32 can hold; others count as missing."""
    return np.where(np.abs(values) < 1e18, values, np.nan)


def _check_leaking_features(comparison, X) -> Iterator[Finding]:
    y = np.asarray(comparison.y)
    if y.ndim > 1 or X.shape[1] > MOST_COLUMNS or X.shape[1] < 2 or len(y) < 50:
        return
    chosen = _sample(len(y), 5000)
    X, y = (X.iloc[chosen] if isinstance(X, pd.DataFrame) else X[chosen]), y[chosen]
    leaf = {"min_samples_leaf": max(2, len(y) // 500), "random_state": 0}
    folds = KFold(3, shuffle=True, random_state=0)
    if y.dtype.kind == "f":
        tree, scoring, words = DecisionTreeRegressor(**leaf), "r2", "R2"
    else:
        tree = DecisionTreeClassifier(**leaf, class_weight="balanced")
        scoring, words = "balanced_accuracy", "balanced accuracy"
        if np.unique(y, return_counts=True)[1].min() < 2 * folds.n_splits:
            scoring, words = "accuracy", "accuracy"
    scores = {}
    for name, column in _columns(X):
        values = _as_number(column)
        if len(np.unique(values)) > 1:
            scores[name] = cross_val_score(tree, values, y, cv=folds, scoring=scoring).mean()
    leaking = [name for name, score in scores.items() if score >= LEAK]
    if leaking:
        listed = ", ".join(f"{name} ({words} {scores[name]:.3f})" for name in leaking[:SHOWN])
        more = f" and {len(leaking) - SHOWN} more" if len(leaking) > SHOWN else ""
        each = "alone predicts" if len(leaking) == 1 else "each alone predict"
        yield Finding(
            "leaking features",
            "warning",
            f"{listed}{more} {each} y. Would it be known before y is? If not, leave it out.",
            {"features": leaking, "scores": {name: float(scores[name]) for name in leaking}},
        )


# --- labels --------------------------------------------------------------------------------------


def _coordinates(X) -> np.ndarray:
    """Samples as points between which distances mean something, of at most 50 axes."""
    if isinstance(X, pd.DataFrame):
        frame = pd.DataFrame({k: column for k, (_, column) in enumerate(_columns(X))})
        numeric = [k for k in frame if frame[k].dtype.kind in "mM" or _is_number(frame[k])]
        text = [k for k in frame if k not in numeric]
        for k in numeric:
            frame[k] = _as_number(frame[k])[:, 0]
        for k in text:
            frame[k] = frame[k].astype(object).map(str, na_action="ignore").fillna("")
        scale = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
        one_hot = OneHotEncoder(max_categories=40, sparse_output=False)
        rows = make_column_transformer((scale, numeric), (one_hot, text)).fit_transform(frame)
    else:
        rows = _in_range(X.reshape(len(X), -1).astype(np.float64)).astype(np.float32)
        if X.ndim == 2 or np.isnan(rows).any():
            scale = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
            rows = scale.fit_transform(rows)
    if rows.shape[1] > 50 and len(rows) > 50:
        rows = PCA(50, svd_solver="randomized", random_state=0).fit_transform(rows)
    return rows.astype(np.float32)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _check_neighbors(comparison, X) -> Iterator[Finding]:
    """Samples whose neighbors agree on another class, and whose models do, too."""
    classes, y = getattr(comparison.problem, "classes", None), np.asarray(comparison.y)
    if y.ndim > 1 or classes is None or len(y) < 5 * N_NEIGHBORS:
        return
    if not isinstance(X, pd.DataFrame) and X.dtype.kind not in "buif":
        return
    chosen = _sample(len(y), MOST_ROWS)
    X, y = (X.iloc[chosen] if isinstance(X, pd.DataFrame) else X[chosen]), y[chosen]
    points, codes = _coordinates(X), np.searchsorted(classes, y)
    around = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(points).kneighbors(return_distance=False)
    votes = np.stack([(codes[around] == k).sum(axis=1) for k in range(len(classes))], axis=1)
    own, said = votes[np.arange(len(y)), codes], votes.argmax(axis=1)
    # where a class lies among others, neighbors contradict right labels
    agree = np.array([np.mean(said[codes == k] == k) for k in range(len(classes))])
    suspect = (own == 0) & (votes.max(axis=1) >= CONTRADICTING) & (agree[codes] >= TRUSTED)
    suspect &= _share_wrong(comparison)[chosen] > 0.5
    found = np.flatnonzero(suspect)
    if not len(found):
        return
    listed = [f"{chosen[i]} ({classes[codes[i]]}, perhaps {classes[said[i]]})" for i in found]
    look = "1 label looks" if len(found) == 1 else f"{len(found):,} labels look"
    yield Finding(
        "label errors",
        "warning" if len(found) >= MANY_LABEL_ERRORS * len(y) else "note",
        f"{look} wrong, since nearly all of the {N_NEIGHBORS} most similar "
        f"samples and most models say otherwise: {_some(listed)}.",
        {"indices": chosen[found], "labels": y[found], "suggested": classes[said[found]]},
    )


def _share_wrong(comparison) -> np.ndarray:
    """The share of models that contradict each label without having seen it; 1 where untested."""
    y = np.asarray(comparison.y)
    wrong, count = np.zeros(len(y)), np.zeros(len(y))
    for name in set(comparison.predictions) - baselines(comparison):
        for (_, test), predicted in zip(comparison.splits, comparison.predictions[name]):
            np.add.at(wrong, test, np.asarray(predicted) != y[test])
            np.add.at(count, test, 1)
    return np.where(count > 0, wrong / np.maximum(count, 1), 1.0)
