"""Real images for the examples: from the folder SKLEARN_NETS_DATA, or from openml.org.

``SKLEARN_NETS_SMALL=1`` makes everything small, for a first look or for a test.
"""

import io
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml

SMALL = bool(os.environ.get("SKLEARN_NETS_SMALL"))


def folder():
    """The folder of real data, or None."""
    path = os.environ.get("SKLEARN_NETS_DATA")
    return Path(path) if path and Path(path).is_dir() else None


def fashion_mnist(n_train=20_000, n_test=10_000):
    """Gray images of 28x28 pixels of clothes, ten classes: train and test."""
    if SMALL:
        n_train, n_test = 200, 100
    if folder():
        with np.load(folder() / "fashion_mnist_20k_28x28.npz") as z:
            X, X_test = z["x_train"], z["x_test"]
            names = z["class_names"]
            y, y_test = names[z["y_train"]], names[z["y_test"]]
    else:
        X, y = fetch_openml("Fashion-MNIST", version=1, return_X_y=True, as_frame=False)
        X = X.astype(np.uint8).reshape(-1, 28, 28)
        X, X_test, y, y_test = X[:60_000], X[60_000:], y[:60_000], y[60_000:]
    return X[:n_train], X_test[:n_test], y[:n_train], y_test[:n_test]


def photographs(n_train=20_000, n_test=5_000):
    """CIFAR-10: photographs of 32x32 pixels, ten classes: train and test."""
    if SMALL:
        n_train, n_test = 200, 100
    if folder():
        from PIL import Image

        parts = []
        with np.load(folder() / "cifar10_25k_32x32_jpeg.npz") as z:
            for part, n in (("train", n_train), ("test", n_test)):
                data, ends = z[f"jpeg_{part}"], z[f"offsets_{part}"][: n + 1]
                files = [io.BytesIO(data[a:b].tobytes()) for a, b in pairwise(ends)]
                parts.append(np.stack([np.asarray(Image.open(file)) for file in files]))
                parts.append(z["class_names"][z[f"y_{part}"][:n]])
        X, y, X_test, y_test = parts
        return X, X_test, y, y_test
    X, y = fetch_openml("CIFAR_10", version=1, return_X_y=True, as_frame=False)
    X = X.astype(np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    X, X_test, y, y_test = X[:50_000], X[50_000:], y[:50_000], y[50_000:]
    return X[:n_train], X_test[:n_test], y[:n_train], y_test[:n_test]


def streets():
    """CamVid: street scenes of 120x160 pixels, a class for every pixel: train and test.

    Without the folder of real data, digits on photographs take their place.
    """
    if folder() is None:
        from sklearn_nets import make_digit_scenes

        scenes = make_digit_scenes(20 if SMALL else 300, image_size=(64, 96), random_state=0)
        masks, half = np.array(scenes.class_names)[scenes.masks], len(scenes.images) // 2
        return scenes.images[:half], scenes.images[half:], masks[:half], masks[half:]
    with np.load(folder() / "camvid_120x160.npz") as z:
        images, split = z["images"], z["split"]
        masks = z["class_names"][z["masks"]]
    train, test = (np.flatnonzero(split == part) for part in (0, 2))
    if SMALL:
        train, test = train[::46], test[::60]
    return images[train], images[test], masks[train], masks[test]


def cells():
    """Blood cells: images of 120x160 pixels, and the boxes of cells in them: train and test.

    Without the folder of real data, digits on photographs take their place.
    """
    if folder() is None:
        from sklearn_nets import make_digit_scenes

        scenes = make_digit_scenes(40 if SMALL else 300, random_state=0)
        images, names = scenes.images, np.array(scenes.class_names)
        boxes = [{"boxes": b, "labels": names[k]} for b, k in zip(scenes.boxes, scenes.labels)]
        test = np.arange(len(images)) % 3 == 0
    else:
        with np.load(folder() / "bccd_blood_cells_120x160.npz") as z:
            images, names, test = z["images"], z["class_names"][z["labels"]], z["split"] == 2
            pieces = [np.split(array, z["offsets"][1:-1]) for array in (z["boxes"], names)]
        boxes = [{"boxes": b, "labels": k} for b, k in zip(*pieces)]
    step = 12 if SMALL and folder() else 1
    train, test = np.flatnonzero(~test)[::step], np.flatnonzero(test)[::step]
    target = [[boxes[i] for i in part] for part in (train, test)]
    return images[train], images[test], *target
