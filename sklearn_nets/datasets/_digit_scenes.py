"""Scenes to segment and to detect in, made of the real images that ship inside scikit-learn."""

from __future__ import annotations

import functools
import numbers

import numpy as np
from sklearn.datasets import load_digits, load_sample_images
from sklearn.utils import Bunch, check_random_state

from .._utils.optional import require

CLASS_NAMES = ("background", *"0123456789")
STROKE = 0.35  # ink below this share of full intensity is left out: neither painted nor labeled
CANDIDATES = 8  # places and colors drawn per digit, of which the best is taken


def make_digit_scenes(
    n_samples: int = 200,
    *,
    image_size: tuple[int, int] = (64, 64),
    n_digits: tuple[int, int] = (4, 8),
    digit_size: tuple[int, int] = (14, 22),
    return_X_y: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Paste handwritten digits on crops of two photographs.

    Every image is a random crop of one of scikit-learn's sample photographs (a Chinese palace
    and a flower). Digits of :func:`sklearn.datasets.load_digits` are scaled up bilinearly and
    blended in, their ink being the opacity of a random color; a later digit hides what lies
    under it. Color says nothing about the class, so a pixel and its nearest neighbors do
    not tell which digit they belong to: the shape of the whole stroke does.

    Parameters
    ----------
    n_samples : int, default=200
        Number of images, at least 1.
    image_size : (int, int), default=(64, 64)
        Height and width of an image in pixels, at most (427, 640), the photographs' own.
    n_digits : (int, int), default=(4, 8)
        Smallest and largest number of digits pasted into an image, both included.
    digit_size : (int, int), default=(14, 22)
        Smallest and largest side in pixels, both included, of the square that a whole 8x8
        digit is scaled to. The stroke within it is narrower.
    return_X_y : bool, default=False
        If True, return ``(images, masks)`` instead of a Bunch.
    random_state : int, RandomState instance or None, default=None
        An int gives the same scenes at every call, whatever the global seeds.

    Returns
    -------
    scenes : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_samples, height, width, 3), uint8
            Red, green, blue.
        masks : ndarray of shape (n_samples, height, width), uint8
            Class of each pixel: 0 is background, ``d + 1`` is digit ``d``.
        instances : ndarray of shape (n_samples, height, width), uint8
            Which digit of its scene each pixel shows: 0 is background, then 1, 2, ... in the
            order of painting.
        boxes : list of n_samples ndarrays of shape (n_visible, 4), int64
            ``x0, y0, x1, y1`` in pixels, the corner ``x1, y1`` excluded, of every digit's
            visible pixels, in the order of painting. ``0 <= x0 < x1 <= width`` and
            ``0 <= y0 < y1 <= height``, as torchvision's detectors ask. A digit that is
            hidden completely has no box.
        labels : list of n_samples ndarrays of shape (n_visible,), int64
            Class of each box, 1 to 10 as in `masks`.
        crops : ndarray of shape (n_samples, 3), int64
            Photograph (0 or 1), top and left of the crop in pixels:
            ``load_sample_images().images[photo][top:top + height, left:left + width]``
            equals the image wherever its mask is 0.
        class_names : list of 11 str
            Name of each mask value.
    (images, masks) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ImportError
        If pillow, which decodes the photographs, is not installed.
    ValueError
        If a size or a range does not fit.

    See Also
    --------
    sklearn_nets.segmentation.SegmentationNet : Learns masks from images.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998. https://doi.org/10.24432/C50P49

    Examples
    --------
    >>> from sklearn_nets.datasets import make_digit_scenes
    >>> scenes = make_digit_scenes(2, image_size=(48, 64), random_state=0)
    >>> scenes.images.shape, scenes.masks.shape
    ((2, 48, 64, 3), (2, 48, 64))
    >>> [len(boxes) for boxes in scenes.boxes] == [len(labels) for labels in scenes.labels]
    True
    """
    _check_sizes(n_samples, image_size, n_digits, digit_size)
    rng = check_random_state(random_state)
    glyphs, digits = _load_glyphs()
    photos = _load_photos(image_size)

    images = np.empty((n_samples, *image_size, 3), np.uint8)
    masks = np.zeros((n_samples, *image_size), np.uint8)
    instances = np.zeros(masks.shape, np.uint8 if n_digits[1] < 256 else np.int32)
    crops = np.empty((n_samples, 3), np.int64)
    boxes, labels = [], []
    for i in range(n_samples):
        photo = rng.randint(len(photos))
        top, left = rng.randint(np.subtract(photos[photo].shape[:2], image_size) + 1)
        crops[i] = photo, top, left
        images[i] = photos[photo][top : top + image_size[0], left : left + image_size[1]]
        owner = np.zeros(image_size, np.int64)  # which digit of this scene a pixel shows
        chosen = rng.randint(len(glyphs), size=rng.randint(n_digits[0], n_digits[1] + 1))
        for number, glyph in enumerate(chosen, start=1):
            size = rng.randint(digit_size[0], digit_size[1] + 1)
            _paste(images[i], owner, number, _scale(glyphs[glyph], size), rng)
        classes = np.append(0, digits[chosen] + 1)
        masks[i], instances[i] = classes[owner], owner
        visible = np.unique(owner[owner > 0])
        boxes.append(np.array([_box(owner == v) for v in visible], np.int64).reshape(-1, 4))
        labels.append(classes[visible])
    if return_X_y:
        return images, masks
    return Bunch(
        images=images,
        masks=masks,
        instances=instances,
        boxes=boxes,
        labels=labels,
        crops=crops,
        class_names=list(CLASS_NAMES),
    )


def _paste(image, owner, number, ink, rng) -> None:
    """Blend one digit into `image` and claim its pixels in `owner`, both in place."""
    size = len(ink)
    alpha = np.where(ink >= STROKE, ink, 0)
    corners = rng.randint(np.subtract(owner.shape, size) + 1, size=(CANDIDATES, 2))
    spots = [np.s_[top : top + size, left : left + size] for top, left in corners]
    # where digits are few the first spot is free, and the draw stays uniform
    spot = min(spots, key=lambda spot: np.count_nonzero(owner[spot][alpha > 0]))

    ground = image[spot].mean(axis=(0, 1))
    colors = rng.uniform(0, 255, size=(CANDIDATES, 3))
    color = max(colors, key=lambda c: np.linalg.norm(c - ground))
    blended = image[spot] + alpha[:, :, None] * (color - image[spot])
    image[spot] = np.rint(blended)
    owner[spot][alpha > 0] = number


def _box(shown: np.ndarray) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 (excluded) around the true pixels."""
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _scale(glyph: np.ndarray, size: int) -> np.ndarray:
    """Resample an 8x8 digit with its frame of paper to (size, size), bilinearly."""
    weights = _bilinear(size)
    return weights @ glyph @ weights.T


@functools.cache
def _bilinear(size: int) -> np.ndarray:  # (size, 10)
    centers = (np.arange(size) + 0.5) * 8 / size + 0.5  # in units of the framed 10x10 digit
    return np.stack([np.interp(centers, range(10), hat) for hat in np.eye(10)], axis=1)


def _load_glyphs() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits' ink in [0, 1], with one pixel of paper around, and their values."""
    data = load_digits()
    return np.pad(data.images / 16, [(0, 0), (1, 1), (1, 1)]), data.target


def _load_photos(image_size) -> list[np.ndarray]:
    require("PIL", "make_digit_scenes", extra="data")  # decodes the photographs
    photos = load_sample_images().images
    largest = photos[0].shape[:2]
    if image_size[0] > largest[0] or image_size[1] > largest[1]:
        raise ValueError(
            f"image_size must be at most {largest} (height, width), the size of the photographs "
            f"that scenes are cut from, got {tuple(image_size)}."
        )
    return photos


def _check_sizes(n_samples, image_size, n_digits, digit_size) -> None:
    if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
        raise ValueError(f"n_samples must be an integer of at least 1, got {n_samples!r}.")
    pairs = {"image_size": image_size, "n_digits": n_digits, "digit_size": digit_size}
    for name, pair in pairs.items():
        if np.shape(pair) != (2,) or not all(isinstance(v, numbers.Integral) for v in pair):
            raise ValueError(f"{name} must be a pair of integers, got {pair!r}.")
    for name, low in {"n_digits": 0, "digit_size": 8}.items():
        if not low <= pairs[name][0] <= pairs[name][1]:
            raise ValueError(
                f"{name} must be (smallest, largest) with {low} <= smallest <= largest, "
                f"got {pairs[name]!r}."
            )
    if digit_size[1] > min(image_size):
        raise ValueError(
            f"digit_size must fit into image_size, got digits of up to {digit_size[1]} pixels for "
            f"images of {tuple(image_size)}. Make the images larger or the digits smaller."
        )
