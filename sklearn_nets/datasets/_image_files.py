"""Files of images: listed, looked into, read by several threads, scaled to one size."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from joblib import effective_n_jobs
from tqdm import tqdm

from .._utils.images import DEEP, opaque
from .._utils.optional import require

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
SMALLEST_SIDE = 4
STRETCH = 4.0  # a change of the ratio of the sides by more than this makes a picture unrecognizable
SHOWN = 5  # files named in one message


def existing_folder(folder) -> Path:
    """Refuse what is no folder, and to go on without the library that decodes images."""
    require("PIL", "Reading images", extra="data")
    folder = Path(folder)
    if not folder.is_dir():
        kind = "is a file, expected a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{folder} {kind}. Check the path (from {Path.cwd()}).")
    return folder


def list_images(folder: Path) -> tuple[list[Path], int]:
    """Images at any depth, sorted, and the number of other files; hidden ones are no files.

    Links to folders are followed; a folder that several lead to, or that holds one to itself, is
    read once.
    """
    files, seen = [], set()
    for top, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        files += [Path(top, name) for name in names if not name.startswith(".")]
    files = sorted(file for file in files if file.is_file())
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    n_lists = sum(file.name == "Thumbs.db" for file in files)  # of thumbnails, by Windows
    return images, len(files) - len(images) - n_lists


def name_files(files: Sequence[Path]) -> str:
    more = f" and {len(files) - SHOWN:,} more" if len(files) > SHOWN else ""
    return ", ".join(map(str, files[:SHOWN])) + more


@dataclass(frozen=True)
class _Header:
    """What a file says of its image before the pixels are read."""

    height: int
    width: int
    gray: bool
    deep: bool


def read_headers(files, progress, n_jobs) -> list[_Header]:
    headers: list = [None] * len(files)

    def read(i):
        with open_image(files[i]) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) >= 5:  # turned by a quarter
                width, height = height, width
            deep = image.mode in DEEP
            gray = deep or image.mode in ("1", "L", "LA")
        headers[i] = _Header(height, width, gray, deep)

    for_each_file(read, files, progress, n_jobs, "Looking at files")
    return headers


def find_divisor(files, headers, progress, n_jobs) -> int:
    """What brings the gray values of more than 8 bits of all files to 8: 257, or 1.

    White of 16 bits, 65535, is 257 times white of 8 bits. One divisor for all keeps the order of
    brightness between files; files of small numbers, of which none is above 255, are 8 bits stored
    as 16. One file a thread is in memory.
    """
    if not any(header.deep for header in headers):
        return 1
    highest = np.zeros(len(files))

    def read(i):
        if headers[i].deep:
            with open_image(files[i]) as image:
                highest[i] = np.asarray(image).max()

    for_each_file(read, files, progress, n_jobs, "Looking at brightness")
    return 257 if (highest > 255).any() else 1


def for_each_file(read: Callable, files, progress, n_jobs, title) -> None:
    """Call ``read(i)`` for every file in several threads; name the files where it fails."""
    if n_jobs is None:
        n_jobs = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)
    n_jobs = effective_n_jobs(n_jobs)
    failures = {}

    def attempt(i):
        try:
            read(i)
        except Exception as error:  # pillow's decoders raise many kinds
            failures[i] = error

    with ThreadPoolExecutor(n_jobs) as pool:
        done = pool.map(attempt, range(len(files)))
        # disable=None shows no bar where standard error is no terminal
        bar = tqdm(done, title, len(files), disable=None if progress else True, leave=False)
        for _ in bar:
            pass
    if failures:
        listed = [f"{files[i]} ({error})" for i, error in sorted(failures.items())]
        more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
        raise ValueError(
            f"{len(listed):,} of {len(files):,} images cannot be read: "
            f"{'; '.join(listed[:SHOWN])}{more}. Replace or remove them."
        )


def open_image(file: Path):
    from PIL import Image, UnidentifiedImageError

    if not file.stat().st_size:
        raise ValueError("the file is empty")
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise ValueError("no image, or damaged") from None


def read_image(file: Path, shape: tuple[int, int], gray: bool, divisor: int) -> np.ndarray:
    from PIL import Image, ImageOps

    with open_image(file) as image:
        # a large JPEG is decoded at a half, a quarter or an eighth, still twice as large as needed
        image.draft(None, (2 * max(shape), 2 * max(shape)))
        image = ImageOps.exif_transpose(image)
        image = opaque(_eight_bits(image, divisor), gray)
        if image.size != shape[::-1]:
            image = image.resize(shape[::-1], Image.Resampling.BILINEAR)  # smooths when shrinking
        return np.asarray(image)


def _eight_bits(image, divisor):
    """Gray images of more than 8 bits, of which pillow would cut off what is above 255."""
    from PIL import Image

    if image.mode not in DEEP:
        return image
    values = np.asarray(image, np.float64) / divisor
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def choose_size(files, headers, size, largest) -> tuple[int, int]:
    """Height and width for all, refusing images that have nothing in common with it."""
    sides = np.array([(header.height, header.width) for header in headers])
    small = np.flatnonzero(sides.min(axis=1) < SMALLEST_SIDE)
    if len(small):
        h, w = sides[small[0]]
        raise ValueError(
            f"{name_files([files[i] for i in small])}: an image of {h} x {w} pixels (height x "
            f"width), expected at least {SMALLEST_SIDE} x {SMALLEST_SIDE}. Replace or remove it."
        )
    if size is None:
        shape = np.median(sides, axis=0)
        shape = np.rint(shape * min(1, largest / shape.max())).astype(int).clip(SMALLEST_SIDE)
    else:
        shape = np.array((size, size) if isinstance(size, Integral) else size)
        if shape.shape != (2,) or shape.dtype.kind not in "iu" or shape.min() < SMALLEST_SIDE:
            raise ValueError(
                f"size must be an integer or a pair (height, width) of at least {SMALLEST_SIDE}, "
                f"got {size!r}."
            )
    change = sides[:, 0] / sides[:, 1] * shape[1] / shape[0]
    odd = np.flatnonzero(np.maximum(change, 1 / change) > STRETCH)
    if len(odd):
        h, w = sides[odd[0]]
        raise ValueError(
            f"{name_files([files[i] for i in odd])}: an image of {h} x {w} pixels (height x width) "
            f"would be distorted beyond recognition at {shape[0]} x {shape[1]}, the size for all "
            "images. Crop or remove it, or choose another size."
        )
    return int(shape[0]), int(shape[1])


def describe_size(headers, shape) -> str:
    sizes = {(header.height, header.width) for header in headers}
    to = f"{shape[0]} x {shape[1]} pixels (height x width)"
    if sizes == {shape}:
        return f"All images have {to}."
    low, high = np.min(list(sizes), axis=0), np.max(list(sizes), axis=0)
    own = " x ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(low, high))
    scaled = np.any([h * shape[1] != w * shape[0] for h, w in sizes])
    ratio = ", which changes the ratio of their sides" if scaled else ""
    return f"Images of {own} pixels are scaled to {to}{ratio}."
