"""What only a process of its own shows: the time of an import, the memory of a fit."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

PEAK = """
import numpy as np, resource, sys, warnings
warnings.simplefilter("ignore")
from sklearn_nets.neural_network import MLPClassifier
rows = {rows}
X = np.random.RandomState(0).rand(rows, 784)
y = np.arange(rows) % 10
MLPClassifier(max_iter=1, hidden_layer_sizes=64).fit(X[:2000], y[:2000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
MLPClassifier(max_iter=1, hidden_layer_sizes=64).fit(X, y)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024 / X.nbytes)
"""


def _run(code: str) -> tuple[float, str]:
    start = perf_counter()
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return perf_counter() - start, out.stdout


def whole_process_rows(repeats: int = 5) -> list[dict]:
    """The import against its parts, and the memory of a fit over the size of its data."""
    codes = {
        "ours": "import sklearn_nets",
        "ours, with the MLP": "from sklearn_nets import MLPClassifier",
        "torch, sklearn, skorch": "import torch, sklearn, skorch",
    }
    seconds = {name: [] for name in codes}
    for turn in range(repeats + 1):
        for name, code in codes.items():
            spent, _ = _run(code)
            if turn:
                seconds[name].append(spent)
    *_, theirs = codes
    rows = []
    for name in ("ours", "ours, with the MLP"):
        ratio = median(a / b for a, b in zip(seconds[name], seconds[theirs], strict=True))
        rows.append(
            {
                "table": "import (whole process)",
                "name": codes[name],
                "n": repeats,
                "seconds": {"ours": median(seconds[name]), theirs: median(seconds[theirs])},
                "ratios": {theirs: ratio},
                "limits": {theirs: 1.1},
                "equal": "the interpreter",
            }
        )
    extra = median(float(_run(PEAK.format(rows=60_000))[1]) for _ in range(3))
    rows.append(
        {
            "table": "peak memory of MLPClassifier.fit (whole process)",
            "name": "60,000 x 784, float64, beyond X itself",
            "n": 3,
            "seconds": {},
            "ratios": {"the size of X": extra},
            "limits": {"the size of X": 1.0},
            "equal": "X is not counted; 1 would be a second copy of it",
        }
    )
    return rows
