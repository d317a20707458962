"""What is measured of one estimator on one fold: answers, time, memory, size, curves, device."""

from __future__ import annotations

import os
import pickle
import platform
import sys
from collections.abc import Iterator
from datetime import datetime
from time import perf_counter

import numpy as np

from ._metrics import Answer, Evidence

MAX_LATENCY_CALLS, MAX_LATENCY_SECONDS = 20, 0.02


def take(X, indices):
    """Some rows of X; of a list, which holds images of several sizes, a list."""
    if hasattr(X, "iloc"):
        return X.iloc[indices]
    return X[indices] if hasattr(X, "shape") else [X[i] for i in indices]


def fit_predict(model, X, problem, train, test) -> tuple[dict[str, float], Answer]:
    """Fit on the train rows and predict the test rows: costs of both, and the answers."""
    X_train, y_train, X_test = take(X, train), problem.take(train), take(X, test)
    device = _cuda()
    if device:
        device.reset_peak_memory_stats()
    before = _reset_peak_memory()
    start = perf_counter()
    model.fit(X_train, y_train)
    fitted = perf_counter()
    after = _memory("VmHWM")
    predicted = problem.read_predictions(model.predict(X_test))
    done = perf_counter()
    costs = {
        "fit_time": fitted - start,
        "predict_time": done - fitted,
        "peak_memory": np.nan if before is None else max(0, after - before),
        "peak_device_memory": device.max_memory_allocated() if device else np.nan,
    }
    return costs, Answer(predicted, **problem.read_scores(model, X_test))


def train_score(model, X, problem, train, n_rows: int, fold: int) -> float:
    """The main metric on as many random training rows as there are test rows, NaN if it fails."""
    rows = np.asarray(train)
    if len(rows) > n_rows:
        rows = np.sort(np.random.default_rng(fold).choice(rows, n_rows, replace=False))
    metric = problem.metrics[problem.main_metric]
    try:
        X_rows = take(X, rows)
        answer = Answer(problem.read_predictions(model.predict(X_rows)))
        evidence = Evidence(problem, problem.take(rows), answer)
        score = problem.judge(evidence, [metric.name])[metric.name]
        if np.isnan(score):  # it takes probabilities
            answer = Answer(answer.predicted, **problem.read_scores(model, X_rows))
            score = metric.score(Evidence(problem, problem.take(rows), answer))
        return score
    except Exception:
        return np.nan


def latency(model, X, row: int) -> float:
    """Seconds to predict a single row: the median of a few calls."""
    single, seconds = take(X, [row]), []
    try:
        while len(seconds) < MAX_LATENCY_CALLS and sum(seconds) < MAX_LATENCY_SECONDS:
            start = perf_counter()
            np.asarray(model.predict(single))
            seconds.append(perf_counter() - start)
    except Exception:
        return np.nan
    return float(np.median(seconds))


def size_on_disk(model) -> float:
    """Bytes of the pickled model, NaN if it cannot be pickled."""
    counter = _ByteCounter()
    try:
        pickle.dump(model, counter, protocol=5)
    except Exception:
        return np.nan
    return counter.n_bytes


class _ByteCounter:
    """A file that only counts."""

    n_bytes = 0

    def write(self, data) -> int:
        n = memoryview(data).nbytes  # bytes, or the buffer of a large array
        self.n_bytes += n
        return n


def _reset_peak_memory() -> int | None:
    """Set the peak of the resident memory back to what it is now; None where none can be set."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return _memory("VmRSS")
    except OSError:
        return None


def _memory(name: str) -> int:
    try:
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))
    except (OSError, StopIteration):
        return 0


def _cuda():
    """``torch.cuda``, if something has begun to use it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_initialized() else None


def fitted_parts(model) -> Iterator:
    """The model and what does its work: the last step, the best or the only inner estimator."""
    while model is not None:
        yield model
        if hasattr(model, "steps"):
            model = model.steps[-1][1]
        else:
            inner = ("best_estimator_", "estimator_", "regressor_")
            model = next((getattr(model, name) for name in inner if hasattr(model, name)), None)


def count_parameters(model) -> int | None:
    """What was learned: ``n_parameters_``, or the sizes of coefficients and intercepts, or None."""
    for part in fitted_parts(model):
        if hasattr(part, "n_parameters_"):
            return int(part.n_parameters_)
        if hasattr(part, "coefs_"):
            return sum(np.size(weights) for weights in [*part.coefs_, *part.intercepts_])
        if hasattr(part, "coef_"):
            weights = [part.coef_]
            if getattr(part, "fit_intercept", True) and hasattr(part, "intercept_"):
                weights.append(part.intercept_)
            return sum(int(np.prod(np.shape(values))) for values in weights)
    return None


def find_device(model) -> str:
    """Where it was learned: ``device_``, or the CPU."""
    return next((str(p.device_) for p in fitted_parts(model) if hasattr(p, "device_")), "cpu")


def read_curves(model) -> dict[str, list[float]]:
    """Loss and validation score of every epoch, from public attributes, empty without them."""
    names = {
        "loss": ("loss_curve_",),
        "score": ("validation_scores_", "validation_score_"),
    }
    curves = {"loss": [], "score": []}
    for part in fitted_parts(model):
        for curve, attributes in names.items():
            for attribute in attributes:
                values = getattr(part, attribute, None)
                if values is not None and not curves[curve] and np.ndim(values) == 1:
                    curves[curve] = np.asarray(values, dtype=float).tolist()
    return curves


def describe_run(folds: str, n_jobs: int) -> dict[str, str]:
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
    facts = {
        "date": datetime.now().astimezone().isoformat(" ", "seconds"),
        "folds": folds,
        "machine": machine,
        "versions": ", ".join(versions),
    }
    if n_jobs > 1:
        facts["parallel"] = f"{n_jobs} fits at a time; times include what they take from each other"
    return facts
