"""Nets trained together against the same nets one by one.

The rows are among those of ``python -m benchmarks.run cpu``, or alone with ``--only stacked``.
``python -m benchmarks.stacked`` draws seconds against the number of nets, 1 to 1,000, to
``benchmarks/results/stacked.svg``.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from time import perf_counter

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from . import data
from .timing import Job

ALPHAS = np.logspace(-5, 1, 20)
COUNTS = (1, 3, 10, 30, 100, 300, 1000)  # nets of the figure
SEARCH_EQUAL = "digits, 20 alpha x 5 folds, batch 200, 30 epochs, float32; with start of workers"


def classifiers():
    from sklearn.neural_network import MLPClassifier as Reference

    from sklearn_nets import MLPClassifier

    return MLPClassifier, Reference


def settings(hidden, epochs):
    return {
        "hidden_layer_sizes": (hidden,), "batch_size": 200, "max_iter": epochs, "tol": 0,
        "n_iter_no_change": epochs + 1,
    }  # fmt: skip


def digits32():
    X, y = data.digits()
    return X.astype(np.float32), y


def search(cls, hidden, context=nullcontext, n_jobs=None, **options):
    """A search of 100 fits; its best score is the figure of quality."""
    X, y = digits32()
    net = cls(**settings(hidden, 30), **options, random_state=0)
    grid = GridSearchCV(net, {"alpha": ALPHAS}, cv=5, n_jobs=n_jobs, refit=False)

    def work():
        with warnings.catch_warnings(), context():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return float(grid.fit(X, y).cv_results_["mean_test_score"].max())

    return work


def end_workers():
    """End the workers of the turn before, which takes half a second: each turn starts its own."""
    get_reusable_executor().shutdown(wait=True)


def searches(hidden):
    from sklearn_nets import stacked

    ours, reference = classifiers()
    return {
        "stacked": search(ours, hidden, stacked),
        "scikit-learn, n_jobs=2": search(reference, hidden, n_jobs=2),
        "one by one": search(ours, hidden),
        "ours, n_jobs=2": search(ours, hidden, n_jobs=2),
    }


def searches_on_card(hidden):
    from sklearn_nets import stacked

    ours, reference = classifiers()
    return {
        "stacked": search(ours, hidden, stacked, device="cuda"),
        "one by one": search(ours, hidden, device="cuda"),
        "scikit-learn, CPU": search(reference, hidden),
    }


def many(cls, n_nets, context=nullcontext, epochs=30, **options):
    """Nets of 64-32-10 of as many seeds; their mean loss is the figure of quality."""
    X, y = digits32()

    def fit(seed):
        return cls(**settings(32, epochs), **options, random_state=seed).fit(X, y).loss_

    def work():
        with warnings.catch_warnings(), context():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return float(np.mean(joblib.Parallel()(joblib.delayed(fit)(i) for i in range(n_nets))))

    return work


def thousand(device="cpu", n_nets=1000):
    from sklearn_nets import stacked

    ours, _ = classifiers()
    options = {"device": device}
    return {
        "stacked": many(ours, n_nets, stacked, **options),
        "one by one": many(ours, n_nets, **options),
    }


def cpu_jobs() -> list[Job]:
    jobs = []
    for hidden, sklearn_limit, own_limit in ((100, 0.35, 0.6), (32, 0.2, 0.3)):
        limits = {"scikit-learn, n_jobs=2": sklearn_limit, "one by one": own_limit}
        jobs.append(
            Job(
                "stacked search", f"hidden {hidden}", partial(searches, hidden),
                limits | {"ours, n_jobs=2": 1.0}, SEARCH_EQUAL, repeats=3, between=end_workers,
            )
        )  # fmt: skip
    jobs.append(
        Job(
            "stacked nets", "1,000 nets of 64-32-10", thousand, {"one by one": 0.2},
            "digits, batch 200, 30 epochs, float32, a seed for each net", repeats=1,
        )
    )  # fmt: skip
    return jobs


def gpu_jobs() -> list[Job]:
    return [
        Job(
            "stacked search", "hidden 100", partial(searches_on_card, 100), {"one by one": 1 / 50},
            SEARCH_EQUAL, repeats=1,
        ),
        Job(
            "stacked nets", "300 nets of 64-32-10", partial(thousand, "cuda", 300),
            {"one by one": 1 / 50},
            "digits, batch 200, 30 epochs, float32, a seed for each net", repeats=1,
        ),
    ]  # fmt: skip


def draw(path: Path, epochs: int = 10, counts=COUNTS) -> dict[str, list[float]]:
    """Seconds against the number of nets, as a figure and as numbers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from sklearn_nets import stacked

    ours, reference = classifiers()
    ways = {
        "stacked": partial(many, ours, context=stacked, epochs=epochs),
        "one by one": partial(many, ours, epochs=epochs),
        "scikit-learn, one by one": partial(many, reference, epochs=epochs),
    }
    seconds = {name: [] for name in ways}
    for make in ways.values():
        make(n_nets=2)()  # what is imported and allocated once is no net's
    for n_nets in counts:
        for name, make in ways.items():
            start = perf_counter()
            make(n_nets=n_nets)()
            seconds[name].append(perf_counter() - start)
            print(f"{n_nets:5d} {name}: {seconds[name][-1]:.3g} s", flush=True)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, values in seconds.items():
        axes.loglog(counts, values, "o-", label=name)
    axes.set(
        xlabel="number of nets", ylabel="seconds", title=f"64-32-10, {epochs} epochs of the digits"
    )
    axes.legend()
    figure.savefig(path)
    plt.close(figure)
    return seconds


if __name__ == "__main__":
    path = Path(__file__).parent / "results" / "stacked.svg"
    path.parent.mkdir(exist_ok=True)
    draw(path)
