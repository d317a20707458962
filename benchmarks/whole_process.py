"""What only a process of its own shows: the time of an import, the memory of a fit."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

PEAK = """
import numpy as np, re, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from sklearn_nets import CNNClassifier, MLPClassifier
def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
X = {data}
y = np.arange(len(X)) % 10
model = {model}
model.fit(X[:2000], y[:2000])
before = kilobytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
model.fit(X, y)
print((kilobytes("VmHWM") - before) * 1024 / X.nbytes)
"""
MEMORY = {
    "MLPClassifier, 30,000 x 784, float64": {
        "data": "np.random.RandomState(0).rand(30_000, 784)",
        "model": "MLPClassifier(64, max_iter=1)",
    },
    "CNNClassifier, 25,000 x 32 x 32 x 3, uint8": {
        "data": "np.random.RandomState(0).randint(0, 256, (25_000, 3, 32, 32), dtype='uint8')",
        "model": "CNNClassifier((2,), max_iter=1)",
    },
}


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
    for name, parts in MEMORY.items():
        extra = median(float(_run(PEAK.format(**parts))[1]) for _ in range(3))
        rows.append(
            {
                "table": "peak memory of fit (whole process)",
                "name": name,
                "n": 3,
                "seconds": {},
                "ratios": {"the size of X": extra},
                "limits": {"the size of X": 1.0},
                "equal": "beyond what the process held, X included, before fit; 1 would be a copy",
            }
        )
    return rows
