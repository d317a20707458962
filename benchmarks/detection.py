"""Detectors on the blood cells: ``python -m benchmarks.detection [--epochs 40] [--seeds 0 1 2]``.

Every net is trained on the training and validation images with its plain defaults and judged on the
test images: mAP at an IoU of 0.5, COCO's mAP, CPU seconds of the fit, number of weights. Then one
epoch of our small net is timed beside a hand-written loop over the same module, data and loss, in
turns. One thread: start it with ``OMP_NUM_THREADS=1``, alone on the machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch

from sklearn_nets import DetectionNet
from sklearn_nets.metrics import mean_average_precision_score

from .data import folder

RESULTS = Path(__file__).parent / "results" / "detection.json"


def cells():
    """Images and boxes: train and validation together, and test."""
    with np.load(folder() / "bccd_blood_cells_120x160.npz") as z:
        names = z["class_names"][z["labels"]]
        boxes, labels = (np.split(array, z["offsets"][1:-1]) for array in (z["boxes"], names))
        images, split = z["images"], z["split"]
    y = [{"boxes": b, "labels": k} for b, k in zip(boxes, labels)]
    train, test = np.flatnonzero(split < 2), np.flatnonzero(split == 2)
    return images[train], [y[i] for i in train], images[test], [y[i] for i in test]


def quality(architecture, epochs, seed):
    X, y, X_test, y_test = cells()
    net = DetectionNet(architecture, max_iter=epochs, random_state=seed)
    start = time.process_time()
    net.fit(X, y)
    seconds = time.process_time() - start
    found = net.predict(X_test)
    at_50, whole = (
        mean_average_precision_score(y_test, found, **settings)
        for settings in ({"iou_threshold": 0.5}, {})
    )
    result = {
        "architecture": architecture, "epochs": epochs, "seed": seed,
        "map_50": round(at_50, 3), "map": round(whole, 3),
        "cpu_seconds": round(seconds), "million_weights": round(net.n_parameters_ / 1e6, 2),
    }  # fmt: skip
    keep(result)
    print(", ".join(f"{name} {value}" for name, value in result.items()), flush=True)


def keep(result) -> None:
    """Add a result to those on file, or put it in the place of an earlier one."""
    same = ("architecture", "epochs", "seed")
    others = [r for r in load() if any(r[name] != result[name] for name in same)]
    RESULTS.write_text(json.dumps([*others, result], indent=1) + "\n")


def load() -> list[dict]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def table(results: list[dict]) -> list[str]:
    """Markdown: the means over the seeds, and each seed's mAP at an IoU of 0.5."""
    lines = [
        "| architecture | epochs | mAP at IoU 0.5 | seeds | mAP | CPU seconds | million weights |",
        "|:--|--:|--:|:--|--:|--:|--:|",
    ]
    rows = defaultdict(list)
    for result in results:
        rows[result["architecture"], result["epochs"]].append(result)
    for (architecture, epochs), runs in rows.items():
        runs.sort(key=lambda r: r["seed"])
        at_50, whole, seconds = (
            mean(r[name] for r in runs) for name in ("map_50", "map", "cpu_seconds")
        )
        each = ", ".join(f"{r['seed']}: {r['map_50']:.3f}" for r in runs)
        lines.append(
            f"| {architecture} | {epochs} | {at_50:.3f} | {each} | {whole:.3f} | {seconds:.0f} | "
            f"{runs[0]['million_weights']:.2f} |"
        )
    return lines


def epoch_by_hand(module, loss_function, X, y, batch_size, lr, weight_decay):
    """One epoch of AdamW as an expert writes it: resident tensors, fused steps, nothing else."""
    optimizer = torch.optim.AdamW(module.parameters(), lr, weight_decay=weight_decay, fused=True)
    module.train()
    for rows in torch.randperm(len(X)).split(batch_size):
        loss = loss_function(module(X[rows]), y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def overhead(rounds):
    """CPU seconds of an epoch, ours and by hand, without augmentation: medians of `rounds`."""
    X, y, *_ = cells()
    net = DetectionNet(augment=None, learning_rate="constant", random_state=0)
    net.partial_fit(X, y)
    module = copy.deepcopy(net.net_.module_)
    loss = net.net_.criterion_
    run = net._make_run(X, y, None, incremental=True)
    settings = run.loader.batch_size, run.learning_rate, net.alpha
    images, target = run.loader.data.X, run.loader.data.y
    times = {"ours": [], "by hand": []}
    for _ in range(rounds):
        for name, train in (
            ("ours", lambda: net.partial_fit(X, y)),
            ("by hand", lambda: epoch_by_hand(module, loss, images, target, *settings)),
        ):
            start = time.process_time()
            train()
            times[name].append(time.process_time() - start)
    ours, by_hand = (median(times[name]) for name in times)
    print(f"an epoch: ours {ours:.2f} CPU s, by hand {by_hand:.2f}, ratio {ours / by_hand:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--architectures", nargs="+", default=["small", "fcos"])
    parser.add_argument("--rounds", type=int, default=5, help="epochs timed, each way")
    arguments = parser.parse_args()
    overhead(arguments.rounds)
    for seed in arguments.seeds:
        for architecture in arguments.architectures:
            quality(architecture, arguments.epochs, seed)
    from .run import write_report

    write_report()


if __name__ == "__main__":
    main()
