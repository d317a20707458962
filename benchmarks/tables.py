"""Memory networks on tables, beside kNN, a perceptron and boosted trees, as a Markdown table.

    SKLEARN_NETS_DATA=... python -m benchmarks.tables [--max-rows 4000] [--seeds 1] [names ...]

Reads the CSV files and `index.csv` of ``$SKLEARN_NETS_DATA/tabular``. Every estimator gets the same
rows: at most `max_rows`, a quarter of them held out, stratified by class. Missing numbers become
medians; categories become columns of 0 and 1, for the trees codes. Figures are accuracy or R² on
what was held out; all estimators run with their defaults, the perceptron with early stopping.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from sklearn_nets import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    MemoryClassifier,
    MemoryRegressor,
    MLPClassifier,
    MLPRegressor,
)


def single(X):
    """Rows as float32: the nets compute in the type of X."""
    return np.asarray(X, dtype=np.float32)


def read(folder: Path, row):
    """Features, target and names of the categorical columns of a table."""
    table = pd.read_csv(folder / row.file)
    y = table.pop(row.target)
    categories = [c for c in str(row.categorical_columns).split(";") if c in table]
    table[categories] = table[categories].astype(object)
    return table, y.to_numpy(), categories


def line_up(categories, numbers, classify: bool, seed: int) -> dict:
    """The estimators, each with the preparation it needs."""

    def columns():
        encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        fill = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        return make_column_transformer((encode, categories), (fill, numbers))

    def prepared(estimator, scales_target=False):
        if scales_target and not classify:
            estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
        return make_pipeline(columns(), FunctionTransformer(single), estimator)

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    trees = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    mlp = MLPClassifier if classify else MLPRegressor
    return {
        "kNN": prepared(KNeighborsClassifier() if classify else KNeighborsRegressor()),
        "MLP": prepared(mlp(early_stopping=True, random_state=seed), scales_target=True),
        "HistGradientBoosting": make_pipeline(
            make_column_transformer((codes, categories), remainder="passthrough"),
            trees(random_state=seed),
        ),
        "Memory": prepared(
            MemoryClassifier(random_state=seed) if classify else MemoryRegressor(random_state=seed)
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="tables; default all")
    parser.add_argument("--max-rows", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    folder = Path(os.environ["SKLEARN_NETS_DATA"]) / "tabular"
    warnings.simplefilter("ignore", ConvergenceWarning)
    header = ["table", "metric", "n", "features", "kNN", "MLP", "HistGradientBoosting", "Memory"]
    print("| " + " | ".join([*header, "seconds of Memory"]) + " |")
    print("|:--|:--|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    ranks = []
    for row in pd.read_csv(folder / "index.csv").itertuples():
        if options.names and row.name not in options.names:
            continue
        X, y, categories = read(folder, row)
        numbers = [c for c in X if c not in categories]
        classify = row.task == "classification"
        scores, seconds = [], 0.0
        for seed in range(options.seeds):
            rows = np.random.RandomState(seed).permutation(len(X))[: options.max_rows]
            X_train, X_test, y_train, y_test = train_test_split(
                X.iloc[rows], y[rows], stratify=y[rows] if classify else None, random_state=seed
            )
            found = []
            for estimator in line_up(categories, numbers, classify, seed).values():
                start = time.process_time()
                found.append(estimator.fit(X_train, y_train).score(X_test, y_test))
                seconds = time.process_time() - start
            scores.append(found)
        mean = np.mean(scores, axis=0)
        ranks.append((-mean).argsort().argsort() + 1)
        figures = " | ".join(f"{value:.3f}" for value in mean)
        metric = "accuracy" if classify else "R²"
        print(
            f"| {row.name} | {metric} | {len(rows)} | {X.shape[1]} | {figures} | {seconds:.0f} |",
            flush=True,
        )
    figures = " | ".join(f"{value:.2f}" for value in np.mean(ranks, axis=0))
    print(f"| mean rank | | | | {figures} | |")


if __name__ == "__main__":
    main()
