"""An encoder and a decoder that fuses its maps: one output for every pixel of an image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from .layers import ResidualBlock, ResidualEncoder


class SegmentationModule(nn.Module):
    """Residual encoder, a top-down path over its maps, and a linear layer for every pixel.

    From the coarsest map up, each is brought to the channels of the next finer one, doubled in
    height and width, added and refined by a residual block. Takes images of any size: sizes that
    cannot be halved often enough are padded inside with their border pixels and cropped back.

    Parameters
    ----------
    in_channels : int
    n_outputs : int
        Outputs for each pixel.
    channels : sequence of int, default=(16, 32, 64, 128)
        Channels of each stage of the encoder; every stage but the first halves height and width.
    depth : int, default=1
        Residual blocks in each stage of the encoder.

    References
    ----------
    Ronneberger et al. (2015), "U-Net: Convolutional networks for biomedical image segmentation";
    Lin et al. (2017), "Feature pyramid networks for object detection".

    Examples
    --------
    >>> import torch
    >>> SegmentationModule(3, n_outputs=11)(torch.zeros(2, 3, 50, 70)).shape
    torch.Size([2, 11, 50, 70])
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        depth: int = 1,
    ):
        super().__init__()
        self.encoder = ResidualEncoder(in_channels, channels, depth)
        self.lateral = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(channels))
        self.refine = nn.ModuleList(ResidualBlock(a, a) for a in channels[:-1])
        self.norm = nn.GroupNorm(1, channels[0])
        self.head = nn.Conv2d(channels[0], n_outputs, 1)
        self.multiple = 2 ** (len(channels) - 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, X):
        """Raw outputs, (n, n_outputs, height, width), of X, (n, in_channels, height, width)."""
        height, width = X.shape[2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        # replicated, not mirrored: a mirror cannot pad by more than the image
        *finer, x = self.encoder(F.pad(X, padding, mode="replicate"))
        for skip, lateral, refine in zip(finer[::-1], self.lateral[::-1], self.refine[::-1]):
            x = refine(skip + F.interpolate(lateral(x), scale_factor=2.0, mode="nearest"))
        return self.head(self.norm(x))[:, :, :height, :width]
