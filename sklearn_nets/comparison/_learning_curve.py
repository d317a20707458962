"""Scores over the number of training samples."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from ._measure import take
from ._metrics import Answer, Evidence


def learning_curve(comparison, train_sizes) -> pd.DataFrame:
    """The table of ``Comparison.learning_curve``."""
    if comparison.X is None or comparison.estimators is None:
        raise ValueError(
            "A learning curve fits again, but samples and estimators are not stored: compare anew."
        )
    sizes = np.asarray(train_sizes, dtype=float)
    if sizes.ndim != 1 or not len(sizes) or not ((sizes > 0) & (sizes <= 1)).all():
        raise ValueError(
            f"train_sizes must be fractions above 0 and at most 1, got {train_sizes!r}."
        )
    problem, rows = comparison.problem, []
    metric = problem.metrics[problem.main_metric]
    for name in comparison.names:
        errors = []
        for fold, (train, test) in enumerate(comparison.splits):
            order = np.random.default_rng(fold).permutation(train)
            X_test, y_test = take(comparison.X, test), problem.take(test)
            for size in sizes:
                part = np.sort(order[: max(1, round(size * len(order)))])
                score = np.nan
                model = clone(comparison.estimators[name])
                with warnings.catch_warnings():  # few samples, few epochs: said often enough
                    warnings.simplefilter("ignore")
                    try:
                        model.fit(take(comparison.X, part), problem.take(part))
                        answer = Answer(
                            problem.read_predictions(model.predict(X_test)),
                            **problem.read_scores(model, X_test),
                        )
                        score = metric.score(Evidence(problem, y_test, answer))
                    except ValueError as error:  # such as too few classes among few samples
                        errors.append((fold, len(part), error))
                row = {"estimator": name, "fold": fold, "n_train": len(part), "score": score}
                rows.append(row)
        if errors:
            fold, n_train, error = errors[0]
            warnings.warn(
                f"{name}: {len(errors)} of {len(comparison.splits) * len(sizes)} scores of the "
                f"learning curve are missing. Fold {fold + 1}, {n_train} training samples: {error}",
                FitFailedWarning,
                stacklevel=3,
            )
    return pd.DataFrame(rows)
