"""Images of several sizes, and images too large for one pass: lists and tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from functools import reduce

import numpy as np
import torch

from .._utils.array_api import is_tensor, to_numpy, to_tensor
from .._utils.images import as_images
from .._utils.validation import is_ragged
from .images import to_channels_first

OVERLAP = 4  # a tile shares a quarter of its side with the next one


def pad_images(images, read: Callable) -> torch.Tensor:
    """One tensor of images of several sizes: their border pixels fill up to the largest.

    Parameters
    ----------
    images : sequence of arrays of shape (height, width) or of 3 axes
    read : callable(X) -> array of shape (1, channels, height, width)
        Checks one image.
    """
    arrays = []
    for i, image in enumerate(as_arrays(images)):
        with naming_image(i, image):
            arrays.append(read(image[None]))
    tensors = [to_tensor(a, a.device if is_tensor(a) else torch.device("cpu")) for a in arrays]
    channels = {t.shape[1] for t in tensors}
    if len(channels) > 1:
        raise ValueError(f"Images must have the same number of channels, got {sorted(channels)}.")
    height, width = (max(t.shape[axis] for t in tensors) for axis in (2, 3))
    out = torch.empty(
        (len(tensors), *channels, height, width), dtype=_common_dtype(arrays, tensors)
    )
    for row, t in zip(out, tensors):
        rows, columns = (
            torch.arange(most).clamp(max=side - 1)
            for most, side in zip((height, width), t.shape[2:])
        )
        row.copy_(t[0][:, rows][:, :, columns])
    return out


@contextmanager
def naming_image(i, image):
    """Say which image of a list an error is about."""
    try:
        yield
    except ValueError as error:
        error.add_note(f"Image {i} of the list, of shape {np.shape(image)}.")
        raise


def as_arrays(images) -> list:
    """Images or masks as arrays or tensors; they may be nested lists or images of PIL, too."""
    return [image if hasattr(image, "ndim") else np.asarray(image) for image in images]


def _common_dtype(arrays, tensors) -> torch.dtype:
    """The type that holds the numbers of all, as where images are of one size."""
    if any(map(is_tensor, arrays)):
        return reduce(torch.promote_types, (t.dtype for t in tensors))
    return to_tensor(np.empty(0, np.result_type(*arrays)), torch.device("cpu")).dtype


def by_size(predict: Callable, images) -> list:
    """The predictions of images of several sizes, those of one size at a time."""
    images, groups = as_images(images), defaultdict(list)
    for i, image in enumerate(images):
        groups[np.shape(image)].append(i)
    answers = [None] * len(images)
    for members in groups.values():
        stack = torch.stack if is_tensor(images[members[0]]) else np.stack
        predicted = predict(stack([images[i] for i in members]))
        for i, answer in zip(members, predicted):
            answers[i] = answer
    return answers


def cut_tiles(X, y, size: int):
    """Tiles of at most that side of checked training images, their masks, and the image each is of.

    The last tile of a row ends at the image's border, so that no tile is smaller than the image.
    """
    images, masks, image_of = [], [], []
    for i, (image, mask) in enumerate(zip(*map(as_arrays, (X, y)), strict=True)):
        first = to_channels_first(image[None])[0]
        mask = to_numpy(mask)
        for top in starts(mask.shape[0], size, size):
            for left in starts(mask.shape[1], size, size):
                tile = np.s_[top : top + size, left : left + size]
                images.append(first[(slice(None), *tile)])
                masks.append(mask[tile])
                image_of.append(i)
    if not is_ragged(masks):
        stack = torch.stack if is_tensor(images[0]) else np.stack
        images, masks = stack(images), np.stack(masks)
    return images, masks, np.array(image_of)


def starts(side: int, size: int, step: int) -> list[int]:
    """Where the tiles of an axis start: `step` apart, the last at the border."""
    if side <= size:
        return [0]
    return [*range(0, side - size, step), side - size]


def forward_tiles(forward: Callable, image: torch.Tensor, size: int) -> torch.Tensor:
    """What `forward` makes of an image, tile by tile; of an overlap each tile gives its half.

    Parameters
    ----------
    forward : callable(tile) -> tensor of shape (1, ..., height, width)
    image : tensor of shape (1, channels, height, width)
    size : int
        Side of a tile.
    """
    height, width = image.shape[2:]
    step = max(1, size - size // OVERLAP)
    margin = (size - step) // 2
    out = None
    tops, lefts = (starts(side, size, step) for side in (height, width))
    for top in tops:
        for left in lefts:
            tile = forward(image[:, :, top : top + size, left : left + size])
            if out is None:
                out = tile.new_empty((*tile.shape[:-2], height, width))
            # later tiles write over the farther half of the overlap
            above, before = (margin if start else 0 for start in (top, left))
            kept = tile[..., above:, before:]
            out[..., top + above : top + size, left + before : left + size] = kept
    return out
