"""Small images of squares to detect, and a small net for them."""

import numpy as np
import pandas as pd

from sklearn_nets import DetectionNet


def squares(n=24, size=32, channels=3, seed=0, most=3):
    """Dark (label 0) and bright (1) squares on gray noise, up to `most` in an image, apart."""
    rng = np.random.default_rng(seed)
    X = rng.integers(90, 120, (n, channels, size, size)).astype(np.uint8)
    y = []
    cells = [(r, c) for r in range(2) for c in range(2)]
    for image in X:
        boxes, labels = [], []
        for cell in rng.permutation(4)[: rng.integers(0, most + 1)]:
            row, column = np.array(cells[cell]) * size // 2
            side, label = int(rng.integers(size // 4, size // 2 - 2)), int(rng.integers(2))
            y0, x0 = row + int(rng.integers(3)), column + int(rng.integers(3))
            image[:, y0 : y0 + side, x0 : x0 + side] = 250 if label else 5
            boxes.append([x0, y0, x0 + side, y0 + side])
            labels.append(label)
        y.append({"boxes": np.array(boxes, float).reshape(-1, 4), "labels": np.array(labels, int)})
    return X, y


def as_frame(y):
    """The same boxes, one row for each."""
    rows = [
        (i, *box, label)
        for i, image in enumerate(y)
        for box, label in zip(image["boxes"], image["labels"], strict=True)
    ]
    return pd.DataFrame(rows, columns=["image", "x0", "y0", "x1", "y1", "label"])


def detector(**settings):
    defaults = {
        "channels": (8, 16, 16), "learning_rate_init": 0.01, "max_iter": 3, "augment": None,
        "random_state": 0,
    }  # fmt: skip
    return DetectionNet(**{**defaults, **settings})


def assert_same_boxes(one, other, **tolerance):
    """Two answers of `predict` hold the same boxes, labels and scores, bitwise by default."""
    assert len(one) == len(other)
    for a, b in zip(one, other):
        for name in ("boxes", "labels", "scores"):
            if tolerance and name != "labels":
                np.testing.assert_allclose(np.asarray(a[name]), np.asarray(b[name]), **tolerance)
            else:
                np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]))
