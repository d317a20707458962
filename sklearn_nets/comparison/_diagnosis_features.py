"""What is wrong with features and labels: those that tell nothing, tell all, or look wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ._findings import SHOWN, Finding, baselines, name_some, sample_rows

LEAK = 0.99  # balanced accuracy, or R2, of a tree that sees this feature only
N_NEIGHBORS = 10
CONTRADICTING = 9  # of them of one other class, and none of the sample's own
TRUSTED = 0.7  # share of a class whose neighbors agree with the label, to believe them elsewhere
MANY_LABEL_ERRORS = 0.005  # of the samples
MOST_ROWS, MOST_COLUMNS = 10_000, 200  # that are looked into


def check_features(comparison, X) -> Iterator[Finding]:
    """Columns that are constant, or that alone predict y."""
    yield from _check_constant_features(X)
    yield from _check_leaking_features(comparison, X)


def _columns(X):
    """Every feature with its name, or its number."""
    if isinstance(X, pd.DataFrame):
        for place, name in enumerate(X.columns):
            yield name, X.iloc[:, place]
    else:
        for k in range(X.shape[1]):
            yield k, pd.Series(X[:, k])


def _check_constant_features(X) -> Iterator[Finding]:
    constant = [name for name, column in _columns(X) if _is_constant(column)]
    if constant:
        are = "feature is" if len(constant) == 1 else "features are"
        yield Finding(
            "constant features",
            "note",
            f"{len(constant)} {are} the same in all samples and can tell nothing: "
            f"{name_some(constant)}.",
            {"features": constant},
        )


def _is_constant(column: pd.Series) -> bool:
    try:
        return column.nunique(dropna=False) < 2
    except TypeError:  # cells that cannot be hashed, such as lists
        return column.map(str).nunique() < 2


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
    if not comparison.problem.one_per_sample or X.shape[1] > MOST_COLUMNS or X.shape[1] < 2:
        return
    if len(y) < 50:
        return
    chosen = sample_rows(len(y), 5000)
    X, y = (X.iloc[chosen] if isinstance(X, pd.DataFrame) else X[chosen]), y[chosen]
    leaf = {"min_samples_leaf": max(2, len(y) // 500), "random_state": 0}
    folds, nothing = KFold(3, shuffle=True, random_state=0), 0.0
    if y.dtype.kind == "f":
        tree, scoring, words = DecisionTreeRegressor(**leaf), "r2", "R2"
    else:
        tree = DecisionTreeClassifier(**leaf, class_weight="balanced")
        scoring, words = "balanced_accuracy", "balanced accuracy"
        counts = np.unique(y, return_counts=True)[1]
        if counts.min() < 2 * folds.n_splits:
            scoring, words = "accuracy", "accuracy"
            nothing = counts.max() / len(y)  # what the largest class alone scores
    scores = {}
    for name, column in _columns(X):
        values = _as_number(column)
        if len(np.unique(values)) > 1:
            scores[name] = cross_val_score(tree, values, y, cv=folds, scoring=scoring).mean()
    least = nothing + LEAK * (1 - nothing)
    leaking = [name for name, score in scores.items() if score >= least]
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


def check_neighbors(comparison, X) -> Iterator[Finding]:
    """Samples whose neighbors agree on another class, and whose models do, too."""
    classes, y = getattr(comparison.problem, "classes", None), np.asarray(comparison.y)
    if not comparison.problem.one_per_sample or classes is None or len(y) < 5 * N_NEIGHBORS:
        return
    if not isinstance(X, pd.DataFrame) and X.dtype.kind not in "buif":
        return
    chosen = sample_rows(len(y), MOST_ROWS)
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
        f"samples and most models say otherwise: {name_some(listed)}.",
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
