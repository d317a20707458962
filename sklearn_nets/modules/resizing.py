"""Smaller training images, with their masks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Resize:
    """Scale images, and masks with them.

    Images are averaged over what a smaller pixel covers; a mask's pixel is the nearest. Called with
    X, (n, channels, height, width), and y, masks (n, height, width) or targets (n, ...) that have
    no place in the image; returns both, X floating point.

    Parameters
    ----------
    scale : float
        Of height and width.
    multiple : int, default=1
        New sides are the nearest multiples of it, at least it, and at most the old sides.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.resizing import Resize
    >>> X, masks = torch.zeros(2, 3, 28, 32), torch.zeros(2, 28, 32, dtype=torch.int64)
    >>> [tuple(t.shape) for t in Resize(0.75, multiple=4)(X, masks)]
    [(2, 3, 20, 24), (2, 20, 24)]
    """

    scale: float
    multiple: int = 1

    def __call__(self, X, y):
        by = self.multiple
        sides = (by * max(1, math.floor(s * self.scale / by + 0.5)) for s in X.shape[2:])
        size = tuple(min(new, old) for new, old in zip(sides, X.shape[2:]))
        if y.ndim == 3:
            y = F.interpolate(y[:, None].double(), size, mode="nearest-exact")[:, 0].to(y.dtype)
        X = X if X.dtype == torch.float64 else X.float()
        return F.interpolate(X, size, mode="bilinear", antialias=True), y
