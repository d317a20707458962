"""Pictures of samples for the page: what was misclassified, and masks over their images."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from .._utils.images import CHANNELS_LAST_COUNTS, to_channels_first, to_display
from .._utils.validation import is_ragged

# One color per class in pictures of masks; the most frequent class shows the picture itself.
COLORS = [
    "e6194b", "f58231", "ffe119", "bfef45", "3cb44b", "42d4f4",
    "4363d8", "911eb4", "f032e6", "fabed4", "a9a9a9", "9a6324",
]  # fmt: skip

MAX_SIDE = 360  # pixels of a picture on the page


def misclassified(comparison, images: np.ndarray, n_shown: int = 12) -> list[dict]:
    """The samples that most estimators got wrong, the surest first, each with all the answers."""
    tested = np.concatenate([test for _, test in comparison.splits])
    tested, first = np.unique(tested, return_index=True)  # repeated folds test a sample twice
    answers = {name: np.concatenate(folds)[first] for name, folds in comparison.predictions.items()}
    truth = comparison.y[tested]
    n_wrong = np.sum([answer != truth for answer in answers.values()], axis=0)
    n_sure, true = 0.0, np.searchsorted(comparison.classes, truth)
    for folds in comparison.probabilities.values():  # decides between equally many
        p_true = np.concatenate(folds)[first][np.arange(len(true)), true]
        n_sure = n_sure + (1 - np.nan_to_num(p_true)) / (len(comparison.probabilities) + 1)
    worst = np.argsort(-(n_wrong + n_sure * (n_wrong > 0)), kind="stable")[
        : min(n_shown, np.count_nonzero(n_wrong))
    ]
    return [
        {
            "image": png(to_rgb(images[tested[i]])),
            "truth": truth[i],
            "answers": [(name, a[i], a[i] == truth[i]) for name, a in answers.items()],
        }
        for i in worst
    ]


def mask_overlays(comparison, images: np.ndarray, n_shown: int = 4) -> dict:
    """Images of the first test fold: the image, the truth, and every estimator's mask."""
    test = comparison.splits[0][1][:n_shown]
    masks = {"truth": comparison.y[test]}
    masks |= {name: folds[0][:n_shown] for name, folds in comparison.predictions.items()}
    common = max(comparison.classes, key=lambda c: np.count_nonzero(comparison.y == c))
    others = [c for c in comparison.classes if c != common]
    colors = {c: bytes.fromhex(COLORS[k % len(COLORS)]) for k, c in enumerate(others)}
    pictures = []
    for k, i in enumerate(test):
        picture = to_rgb(images[i])
        pictures.append(png(picture))
        for mask in masks.values():
            painted = 0.45 * picture
            for c, color in colors.items():
                painted[mask[k] == c] = 0.15 * picture[mask[k] == c] + 0.85 * np.array([*color])
            pictures.append(png(painted))
    return {
        "common": common,
        "legend": [(c, "rgb({},{},{})".format(*color)) for c, color in colors.items()],
        "columns": ["image", *masks],
        "images": pictures,
    }


def check_images(images, comparison) -> np.ndarray:
    """One image for each sample, as (n, height, width, channels); or their list."""
    n = len(comparison.y)
    if is_ragged(images) and len(images) == n:
        return [_channels_last(np.asarray(image)[None])[0] for image in images]
    images = np.asarray(images) if not is_ragged(images) else np.empty(len(images))
    return _channels_last(images, n)


def _channels_last(images, n=1):
    shape = images.shape
    if images.ndim in (3, 4):
        images = to_channels_first(images).transpose(0, 2, 3, 1)
    if len(shape) not in (3, 4) or shape[0] != n or images.shape[3] not in CHANNELS_LAST_COUNTS:
        raise ValueError(
            f"images must hold a picture of each of the {n} samples, of shape ({n}, height, width) "
            f"or ({n}, height, width, channels) with 1, 3 or 4 channels, got {shape}."
        )
    return images


def to_rgb(image: np.ndarray) -> np.ndarray:
    """An image of any values as (height, width, 3), from 0 to 255."""
    image = to_display(image)
    return np.broadcast_to(image[..., None] if image.ndim == 2 else image, (*image.shape[:2], 3))


def png(rgb: np.ndarray) -> str:
    """A data URL of the image as PNG: three chunks, no dependency."""
    step = -(-max(rgb.shape[:2]) // MAX_SIDE)  # every so many pixels of what is larger
    rgb = rgb[::step, ::step]
    height, width, _ = rgb.shape
    rows = np.pad(rgb.astype(np.uint8).reshape(height, -1), ((0, 0), (1, 0))).tobytes()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
