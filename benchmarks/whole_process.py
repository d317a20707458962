"""What only a process of its own shows: the time of an import and of the first fit, its memory."""

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


FIRST_FIT = {
    "ours": """
from sklearn_nets import MLPClassifier
from sklearn.datasets import load_digits
MLPClassifier(max_iter=1).fit(*load_digits(return_X_y=True))
""",
    "by hand": """
import torch
from sklearn.datasets import load_digits
X, y = map(torch.from_numpy, load_digits(return_X_y=True))
net = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
net, adam = net.double(), torch.optim.Adam(net.parameters())
for rows in torch.randperm(len(X)).split(200):
    adam.zero_grad()
    torch.nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
    adam.step()
""",
}


def _run(code: str) -> tuple[float, str]:
    start = perf_counter()
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return perf_counter() - start, out.stdout


def _in_turn(codes, repeats):
    """Seconds of each code in processes of their own, taking turns; the first turn only warms."""
    seconds = {name: [] for name in codes}
    for turn in range(repeats + 1):
        for name, code in codes.items():
            spent, _ = _run(code)
            if turn:
                seconds[name].append(spent)
    return seconds


def _time_row(table, name, equal, seconds, ours, theirs):
    ratio = median(a / b for a, b in zip(seconds[ours], seconds[theirs], strict=True))
    return {
        "table": f"{table} (whole process)",
        "name": name,
        "n": len(seconds[ours]),
        "seconds": {"ours": median(seconds[ours]), theirs: median(seconds[theirs])},
        "ratios": {theirs: ratio},
        "limits": {theirs: 1.1},
        "equal": equal,
    }


def whole_process_rows(repeats: int = 5) -> list[dict]:
    """Imports against their parts, a first fit against one by hand, the memory of a fit."""
    codes = {
        "ours": "import sklearn_nets",
        "ours, with the MLP": "from sklearn_nets import MLPClassifier",
        "torch, sklearn, skorch": "import torch, sklearn, skorch",
    }
    seconds = _in_turn(codes, repeats)
    rows = [
        _time_row("import", codes[name], "the interpreter", seconds, name, "torch, sklearn, skorch")
        for name in ("ours", "ours, with the MLP")
    ]
    seconds = _in_turn(FIRST_FIT, repeats)
    equal = "data, layers, batches of 200, float64, Adam; both with their imports"
    rows.append(_time_row("first fit", "MLP, digits, an epoch", equal, seconds, "ours", "by hand"))
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
