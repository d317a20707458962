"""Run the benchmarks: ``python -m benchmarks.run cpu`` (or gpu), optionally only some of them.

Results go to ``benchmarks/results/<set>.json`` and, readable, to ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections import defaultdict
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from . import detection, quality, stacked
from .jobs import cpu_jobs, gpu_jobs
from .timing import measure, processor
from .whole_process import whole_process_rows

HERE = Path(__file__).parent
PACKAGES = ("scikit-learn", "torch", "skorch", "numpy", "faiss-cpu")


def describe() -> dict:
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    versions = {name: version(name) for name in PACKAGES if _installed(name)}
    return {"machine": machine, "versions": versions}


def _installed(name):
    try:
        return bool(version(name))
    except ModuleNotFoundError:
        return False


def table(rows) -> list[str]:
    """Markdown: ratios first, then seconds."""
    others = list(rows[0]["ratios"])
    figures = list(rows[0].get("figures", {}))
    head = ["job", *(f"ours / {name}" for name in others), *rows[0]["seconds"], *figures, "n"]
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    for row in rows:
        ratios = [_ratio(row["ratios"][name], row["limits"].get(name)) for name in others]
        seconds = [_seconds(s) for s in row["seconds"].values()]
        more = [f"{row['figures'][name]:,.3g}" for name in figures]
        lines.append(
            "| " + " | ".join([row["name"], *ratios, *seconds, *more, str(row["n"])]) + " |"
        )
    means = [math.exp(sum(math.log(r["ratios"][o]) for r in rows) / len(rows)) for o in others]
    if len(rows) > 1:
        blank = [""] * (len(rows[0]["seconds"]) + len(figures) + 1)
        cells = ["geometric mean", *(f"{m:.2f}" for m in means), *blank]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _ratio(value, limit):
    if limit is None:
        return f"{value:.2f}"
    return f"{value:.2f} (aim {limit:g})" if value <= limit else f"**{value:.2f}** (aim {limit:g})"


def _seconds(value):
    return f"{value:.3g} s" if value >= 0.1 else f"{value * 1e3:.3g} ms"


def report() -> str:
    """RESULTS.md from whatever results there are; what was not run says so."""
    lines = [
        "# Results",
        "",
        "Time ratios ours / theirs, medians over n turns in one process, competitors in turn; "
        "below 1 is faster than them, bold misses the aim. Made by `make bench` and "
        "`make bench-gpu`.",
    ]
    for name, title in (("cpu", "On the CPU"), ("gpu", "On an accelerator")):
        path = HERE / "results" / f"{name}.json"
        lines += ["", f"## {title}", ""]
        if not path.exists():
            lines.append("Not measured.")
            continue
        result = json.loads(path.read_text())
        versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
        lines.append(f"{result['machine']}; {versions}.")
        tables = defaultdict(list)
        for row in result["rows"]:
            tables[row["table"]].append(row)
        for title_, rows in tables.items():
            measured = " and ".join(sorted({f"{r['date']} on {r['processor']}" for r in rows}))
            equal = f"Held equal: {rows[0]['equal']}. Measured {measured}."
            lines += ["", f"### {title_}", "", equal, "", *table(rows)]
    if (HERE / "results" / "stacked.svg").exists():
        lines += ["", "Seconds against the number of nets, made by `python -m benchmarks.stacked`:"]
        lines += ["", "![Many nets as one stack, and one by one](results/stacked.svg)"]
    lines += [
        "",
        "## Scores of the plain defaults",
        "",
        "Test accuracy, or mean IoU of masks, of the estimators with no argument but those named; "
        "CPU seconds of one seed, prediction included; seconds of `fit` on all cores "
        "with nothing beside it, where that was measured. Made by `make quality`.",
        "",
        *quality.table(quality.load()),
        "",
        "The same on an accelerator:",
        "",
        *quality.table(quality.load(quality.GPU_RESULTS)),
        "",
        "## Detectors of blood cells",
        "",
        "Plain defaults on BCCD, 292 training and 72 test images of 120x160 pixels; CPU seconds of "
        "one fit, one thread. 'fcos' is torchvision's, with a ResNet-18. Made by "
        "`python -m benchmarks.detection`.",
        "",
        *detection.table(detection.load()),
    ]
    return "\n".join(lines) + "\n"


def write_report() -> None:
    (HERE / "RESULTS.md").write_text(report())


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("set", choices=["cpu", "gpu"])
    parser.add_argument("--only", default="", help="run jobs whose table or name contains this")
    arguments = parser.parse_args(argv)
    if arguments.set == "gpu" and not torch.cuda.is_available():
        print("There is no GPU here; nothing was measured.", file=sys.stderr)
        return 1
    path = HERE / "results" / f"{arguments.set}.json"
    path.parent.mkdir(exist_ok=True)
    rows = json.loads(path.read_text())["rows"] if path.exists() and arguments.only else []
    if arguments.set == "cpu":
        jobs = [*cpu_jobs(), *stacked.cpu_jobs()]
    else:
        jobs = [*gpu_jobs(), *stacked.gpu_jobs()]
    synchronize = torch.cuda.synchronize if arguments.set == "gpu" else lambda: None

    def keep(row):
        row.update(date=date.today().isoformat(), processor=processor())
        rows[:] = [r for r in rows if (r["table"], r["name"]) != (row["table"], row["name"])]
        rows.append(row)
        path.write_text(json.dumps({**describe(), "rows": rows}, indent=1) + "\n")
        ratios = ", ".join(f"{k} {v:.2f}" for k, v in row["ratios"].items())
        print(f"{row['table']}: {row['name']}: {ratios}", flush=True)

    for job in jobs:
        if arguments.only in job.table or arguments.only in job.name:
            keep(measure(job, synchronize))
    if arguments.set == "cpu" and arguments.only in "whole process":
        for row in whole_process_rows():
            keep(row)
    write_report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
