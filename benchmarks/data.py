"""The data that the jobs share, read or made once."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.datasets import load_digits, make_classification
from sklearn.feature_extraction.text import TfidfTransformer


def folder() -> Path:
    path = os.environ.get("SKLEARN_NETS_DATA")
    if path is None or not Path(path).is_dir():
        raise SystemExit("Set SKLEARN_NETS_DATA to the folder that holds the real data.")
    return Path(path)


@cache
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


@cache
def fashion_images():
    """20,000 gray images of 28x28 pixels, uint8, and their labels."""
    with np.load(folder() / "fashion_mnist_20k_28x28.npz") as data:
        return data["x_train"][:, None], data["y_train"]


@cache
def fashion():
    X, y = fashion_images()
    return X.reshape(len(X), -1) / 255.0, y


@cache
def camvid(n=100):
    """Street scenes of 120x160 pixels, uint8, with masks; label 11 means none."""
    with np.load(folder() / "camvid_120x160.npz") as data:
        return data["images"][:n].transpose(0, 3, 1, 2).copy(), data["masks"][:n]


@cache
def words(n=5000, n_words=20_000, n_classes=5):
    """Made-up texts of 60 words each, as sparse TF-IDF: some 0.3 % of the values are not zero."""
    rng = np.random.default_rng(0)
    y = rng.integers(n_classes, size=n)
    rank = 1 + rng.permuted(np.tile(np.arange(n_words), (n_classes, 1)), axis=1)
    share = 1 / rank + 3 / np.arange(1, n_words + 1)  # half of the frequent words are everyone's
    share /= share.sum(axis=1, keepdims=True)
    counts = vstack([csr_matrix(rng.multinomial(60, share[label])) for label in y])
    return TfidfTransformer().fit_transform(counts).tocsr(), y


@cache
def synthetic(n, d, n_classes):
    return make_classification(
        n, d, n_informative=min(d // 2, 20), n_classes=n_classes, random_state=0
    )
