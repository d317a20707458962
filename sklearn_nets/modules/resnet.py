"""A small residual convolutional net that classifies images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .layers import ResidualEncoder

LARGE = 48  # pixels of the shorter side from which the stem halves the image


class ResidualCNN(nn.Module):
    """Residual stages, the greatest response of every channel, and a linear layer.

    Takes images of any size, also of one pixel, and of other sizes than `in_shape`. Nothing in it
    ties the samples of a batch together or behaves differently in training.

    Parameters
    ----------
    in_shape : (int, int, int)
        Channels, height and width of the images it is built for.
    n_outputs : int
    channels : sequence of int, default=(16, 32, 64)
        Channels of each stage; every stage but the first halves height and width.
    depth : int, default=1
        Residual blocks in each stage.

    References
    ----------
    He et al. (2016), "Identity mappings in deep residual networks".

    Examples
    --------
    >>> import torch
    >>> ResidualCNN((3, 32, 32), n_outputs=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int,
        channels: Sequence[int] = (16, 32, 64),
        depth: int = 1,
    ):
        super().__init__()
        in_channels, height, width = in_shape
        stride = 2 if min(height, width) >= LARGE else 1
        self.encoder = ResidualEncoder(in_channels, channels, depth, stride)
        self.norm = nn.LayerNorm(channels[-1])
        self.head = nn.Linear(channels[-1], n_outputs)
        self.to(memory_format=torch.channels_last)

    def forward(self, X):
        """Raw outputs, shape (n, n_outputs), of X, shape (n, channels, height, width)."""
        # on small images the maximum learns several times faster than the mean
        features = self.encoder(X)[-1].amax((2, 3))  # (n, channels[-1])
        return self.head(self.norm(features))
