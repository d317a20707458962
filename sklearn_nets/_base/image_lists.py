"""Images of several sizes, as a list."""

from __future__ import annotations

import numpy as np
import torch

from .._utils.array_api import from_array_api, is_tensor
from .images import to_channels_first


def several_sizes(X) -> bool:
    """Whether X is a list of images of more than one size."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1
    return isinstance(X, list | tuple) and len({tuple(np.shape(image)) for image in X}) > 1


def groups_of_one_size(X) -> list[tuple[list[int], object]]:
    """Positions and stacked images of every size that occurs in a list of images."""
    positions = {}
    for i, image in enumerate(X):
        positions.setdefault(tuple(np.shape(image)), []).append(i)
    return [(rows, stack([X[i] for i in rows])) for rows in positions.values()]


def stack(images):
    """Images of one size as one array or tensor."""
    images = [from_array_api(image) for image in images]
    return torch.stack(images) if is_tensor(images[0]) else np.stack(images)


def pad_to_largest(X):
    """Images of several sizes as one array, filled at the bottom and right by border pixels.

    Parameters
    ----------
    X : list of arrays or tensors
        Each (channels, height, width), (height, width) or (height, width, channels).

    Returns
    -------
    X : ndarray or tensor of shape (n, channels, height, width)
    sizes : list of (int, int)
        Height and width of every image.
    """
    images = [
        to_channels_first(from_array_api(_with_axis(image, i)))[0] for i, image in enumerate(X)
    ]
    channels = [image.shape[0] for image in images]
    if len(set(channels)) > 1:
        other = next(i for i, c in enumerate(channels) if c != channels[0])
        raise ValueError(
            f"Images must have the same number of channels: image 0 has {channels[0]} and image "
            f"{other} has {channels[other]} (shape {tuple(np.shape(X[other]))})."
        )
    sizes = [tuple(image.shape[1:]) for image in images]
    if min(min(size) for size in sizes) < 1:
        raise ValueError("Found an image of height or width 0: every axis needs 1 or more.")
    height, width = (max(side) for side in zip(*sizes))
    return stack([_pad(image, height, width) for image in images]), sizes


def _with_axis(image, i):
    image = image if hasattr(image, "ndim") else np.asarray(image)
    if image.ndim not in (2, 3):
        raise ValueError(
            f"Expected a list of images of 2 or 3 axes, image {i} has shape {tuple(image.shape)}."
        )
    return image[None]


def _pad(image, height, width):
    bottom, right = height - image.shape[1], width - image.shape[2]
    if is_tensor(image):
        rows = torch.arange(height, device=image.device).clamp(max=image.shape[1] - 1)
        columns = torch.arange(width, device=image.device).clamp(max=image.shape[2] - 1)
        return image[:, rows][:, :, columns]
    return np.pad(image, [(0, 0), (0, bottom), (0, right)], mode="edge")
