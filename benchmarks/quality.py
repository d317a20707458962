"""What the plain defaults of the image nets reach: ``python -m benchmarks.quality [NAME ...]``.

Every row is trained with `random_state` 0, 1, 2 (``--seeds``), and each result is kept in
``benchmarks/results/quality.json`` as soon as it is there, so that a run can be cut short and
gone on with; the table goes into RESULTS.md. ``make quality`` runs what is missing. On a machine
with a GPU the nets compute there, and results go to ``quality_gpu.json``.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score

from sklearn_nets import (
    CNNClassifier,
    KNeighborsClassifier,
    PixelClassifier,
    SegmentationNet,
    ViTClassifier,
)

from .by_hand import masked_cross_entropy, train_one_cycle
from .data import folder
from .timing import processor

CPU_RESULTS = Path(__file__).parent / "results" / "quality.json"
GPU_RESULTS = CPU_RESULTS.with_name("quality_gpu.json")


# ---------------------------------------------------------------------------------------- the data
def fashion(n=20_000):
    with np.load(folder() / "fashion_mnist_20k_28x28.npz") as z:
        return z["x_train"][:n], z["y_train"][:n], z["x_test"], z["y_test"]


def cifar():
    from PIL import Image

    parts = []
    with np.load(folder() / "cifar10_25k_32x32_jpeg.npz") as z:
        for name in ("train", "test"):
            jpeg, ends = z[f"jpeg_{name}"], z[f"offsets_{name}"]
            images = [
                np.asarray(Image.open(io.BytesIO(jpeg[a:b].tobytes()))) for a, b in pairwise(ends)
            ]
            parts += [np.stack(images), z[f"y_{name}"]]
    return parts


def camvid(n=None):
    with np.load(folder() / "camvid_120x160.npz") as z:
        images, masks, split = z["images"], z["masks"], z["split"]
    rows = np.flatnonzero(split == 0)
    if n is not None:  # spread over the drives
        rows = rows[np.linspace(0, len(rows) - 1, n).astype(int)]
    return images[rows], masks[rows], images[split == 2], masks[split == 2]


# ---------------------------------------------------------------------------------------- the rows
# each returns the score and the seconds of one fit, None where there are several
def held_out(estimator, data):
    X, y, X_test, y_test = data
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - start
    return estimator.score(X_test, y_test), seconds


def digits(estimator, seed):
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_score(estimator, X, y, cv=folds, error_score="raise").mean(), None


def smp_by_hand(seed, epochs=40):
    """segmentation_models_pytorch's U-Net with ResNet-18 from scratch in a hand-written loop."""
    import segmentation_models_pytorch as smp

    from sklearn_nets import RandomFlipShift
    from sklearn_nets.metrics import mean_iou_score

    X, y, X_test, y_test = camvid()
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = smp.Unet("resnet18", encoder_weights=None, classes=11).to(device)
    mean_, std = X.mean((0, 1, 2)), X.std((0, 1, 2))

    def prepare(images):
        standardized = torch.from_numpy(((images - mean_) / std).astype(np.float32))
        return standardized.permute(0, 3, 1, 2).to(device)

    target = torch.from_numpy(np.where(y == 11, -1, y.astype(np.int64))).to(device)

    def pad(images):  # 120 is no multiple of 32
        return torch.nn.functional.pad(images, (0, 0, 4, 4), mode="replicate")

    def loss(z, masks):
        return masked_cross_entropy(z[:, :, 4:-4], masks)

    def augment(images, masks):
        images, masks = mirror(images, masks)
        return pad(images), masks

    mirror = RandomFlipShift(hflip=0.5, shift=0)
    start = time.perf_counter()
    train_one_cycle(net, prepare(X), target, loss, augment, epochs=epochs, batch_size=8, lr=1e-3)
    seconds = time.perf_counter() - start
    net.eval()
    with torch.no_grad():
        parts = [net(pad(x))[:, :, 4:-4].argmax(1) for x in prepare(X_test).split(16)]
    return mean_iou_score(y_test, torch.cat(parts).cpu(), ignore_index=11), seconds


FLAT = {"image_shape": (1, 8, 8)}
VOID = {"ignore_index": 11}

# name -> (data, what is run, callable(seed) -> (score, seconds of fit))
ROWS = {
    "digits-cnn": ("digits, 5 folds", "CNNClassifier", lambda s: digits(
        CNNClassifier(**FLAT, random_state=s), s)),
    "digits-vit": ("digits, 5 folds", "ViTClassifier", lambda s: digits(
        ViTClassifier(**FLAT, random_state=s), s)),
    "digits-knn": ("digits, 5 folds", "KNeighborsClassifier(3)", lambda s: digits(
        KNeighborsClassifier(3), s)),
    "fashion-cnn": ("Fashion-MNIST 20,000", "CNNClassifier, 12 epochs", lambda s: held_out(
        CNNClassifier(max_iter=12, random_state=s), fashion())),
    "fashion-vit": ("Fashion-MNIST 20,000", "ViTClassifier, 20 epochs", lambda s: held_out(
        ViTClassifier(max_iter=20, random_state=s), fashion())),
    "cifar-cnn": ("CIFAR-10 (JPEG) 20,000", "CNNClassifier, 16 epochs", lambda s: held_out(
        CNNClassifier(max_iter=16, random_state=s), cifar())),
    "camvid": ("CamVid 367", "SegmentationNet, 40 epochs", lambda s: held_out(
        SegmentationNet(**VOID, max_iter=40, random_state=s), camvid())),
    "camvid-smp": ("CamVid 367", "smp.Unet(resnet18) by hand, 40 epochs", smp_by_hand),
    "fashion-1000-cnn": ("Fashion-MNIST 1,000", "CNNClassifier", lambda s: held_out(
        CNNClassifier(random_state=s), fashion(1000))),
    "fashion-1000-knn": ("Fashion-MNIST 1,000", "KNeighborsClassifier(3)", lambda s: held_out(
        KNeighborsClassifier(3), [x.reshape(len(x), -1) for x in fashion(1000)[:1]]
        + [fashion(1000)[1], fashion(1000)[2].reshape(10_000, -1), fashion(1000)[3]])),
    "camvid-100": ("CamVid 100", "SegmentationNet, 40 epochs", lambda s: held_out(
        SegmentationNet(**VOID, max_iter=40, random_state=s), camvid(100))),
    "camvid-100-knn": ("CamVid 100", "PixelClassifier(kNN)", lambda s: held_out(
        PixelClassifier(KNeighborsClassifier(), **VOID, random_state=s), camvid(100))),
}  # fmt: skip


def load(path: Path = CPU_RESULTS) -> list[dict]:
    return json.loads(path.read_text()) if path.exists() else []


def table(results: list[dict]) -> list[str]:
    """Markdown: mean score over the seeds, each score, CPU seconds of the whole, seconds of fit."""
    lines = [
        "| data | estimator | mean score | seeds | CPU seconds | fit, nothing beside it |",
        "|:--|:--|--:|:--|--:|--:|",
    ]
    of_row = defaultdict(list)
    for result in results:
        of_row[result["name"]].append(result)
    for name, (data, what, _) in ROWS.items():
        runs = sorted(of_row[name], key=lambda r: r["seed"])
        if not runs:
            lines.append(f"| {data} | {what} | not measured | | | |")
            continue
        scores = [r["score"] for r in runs]
        each = ", ".join(
            f"{r['seed']}: {r['score']:.4f}{'*' * r.get('whole_images', False)}" for r in runs
        )
        seconds = mean(r["cpu_seconds"] for r in runs)
        # runs of one thread are made beside others: their seconds mean nothing
        alone = [r for r in runs if r.get("alone", r["threads"] == 2) and r.get("fit_seconds")]
        fit = "; ".join(f"{r['fit_seconds']:.3g} s, {r['processor']}" for r in alone)
        lines.append(f"| {data} | {what} | {mean(scores):.4f} | {each} | {seconds:.0f} | {fit} |")
    if any(r.get("whole_images") for r in results):
        lines += ["", "\\* before `progressive_resizing`: whole images from the first epoch on."]
    return lines


def _is(result, name, seed) -> bool:
    return (result["name"], result["seed"]) == (name, seed)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--beside", action="store_true", help="other work runs: times mean nothing")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.names) - set(ROWS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    gpu = torch.cuda.is_available()
    path = GPU_RESULTS if gpu else CPU_RESULTS
    where = torch.cuda.get_device_name() if gpu else processor()
    for seed in arguments.seeds:
        for name in arguments.names or ROWS:
            if any(_is(r, name, seed) and not r.get("whole_images") for r in load(path)):
                continue
            start, cpu = time.perf_counter(), time.process_time()
            score, fit_seconds = ROWS[name][2](seed)
            result = {
                "name": name, "seed": seed, "score": float(score), "fit_seconds": fit_seconds,
                "seconds": time.perf_counter() - start,
                "cpu_seconds": time.process_time() - cpu,
                "threads": torch.get_num_threads(), "processor": where,
                "alone": not arguments.beside,
            }  # fmt: skip
            path.parent.mkdir(exist_ok=True)
            # read again: another process may have added its own
            others = [r for r in load(path) if not _is(r, name, seed)]
            path.write_text(json.dumps([*others, result], indent=1) + "\n")
            print(f"{name}, random_state={seed}: {score:.4f}, fit {fit_seconds} s", flush=True)
    from .run import write_report

    write_report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
