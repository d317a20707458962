"""What is measured of one estimator on one fold: its hits, its time, its size, its device."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from datetime import datetime
from time import perf_counter

import numpy as np

from .._utils.array_api import to_numpy


def _take(X, indices):
    return X.iloc[indices] if hasattr(X, "iloc") else X[indices]


def fit_predict(model, X, y, train, test) -> tuple[dict[str, float], np.ndarray]:
    """Fit on the train rows and predict the test rows: seconds of both, and the prediction."""
    X_train, y_train, X_test = _take(X, train), y[train], _take(X, test)
    start = perf_counter()
    model.fit(X_train, y_train)
    fitted = perf_counter()
    # Reading the answer back from an accelerator is part of the time it takes.
    predicted = np.asarray(to_numpy(model.predict(X_test)))
    return {"fit_time": fitted - start, "predict_time": perf_counter() - fitted}, predicted


def _fitted_parts(model) -> Iterator:
    """The model and what does its work: the last step, the best or the only inner estimator."""
    while model is not None:
        yield model
        if hasattr(model, "steps"):
            model = model.steps[-1][1]
        else:
            model = getattr(model, "best_estimator_", getattr(model, "estimator_", None))


def count_parameters(model) -> int | None:
    """What was learnt: ``n_parameters_``, or the sizes of coefficients and intercepts, or None."""
    for part in _fitted_parts(model):
        if hasattr(part, "n_parameters_"):
            return int(part.n_parameters_)
        if hasattr(part, "coefs_"):
            return sum(np.size(weights) for weights in [*part.coefs_, *part.intercepts_])
        if hasattr(part, "coef_"):
            intercepts = np.size(part.intercept_) if getattr(part, "fit_intercept", True) else 0
            return int(np.prod(part.coef_.shape)) + intercepts
    return None


def find_device(model) -> str:
    """Where it was learnt: ``device_``, or the CPU."""
    return next((str(p.device_) for p in _fitted_parts(model) if hasattr(p, "device_")), "cpu")


def describe_run(folds: str) -> dict[str, str]:
    """When, on which folds, where and with what a comparison is made."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    versions = [f"Python {platform.python_version()}"] + [
        f"{name} {sys.modules[name].__version__}"
        for name in ("sklearn_nets", "sklearn", "torch", "skorch", "numpy", "pandas")
        if hasattr(sys.modules.get(name), "__version__")
    ]
    return {
        "date": datetime.now().astimezone().isoformat(" ", "seconds"),
        "folds": folds,
        "machine": machine,
        "versions": ", ".join(versions),
    }
