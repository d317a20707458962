"""An encoder and a decoder that fuses its maps: one output for every pixel of an image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from .layers import BatchNorm2d, pad_to_multiple


def convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution (4x4 where it halves the map), batch norm and ReLU."""
    size = 4 if stride == 2 else 3
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, size, stride, padding=1, bias=False),
        BatchNorm2d(out_channels, momentum=0.1),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """A U-Net: stages that halve the map, and a way back up that fuses the maps of every stage.

    The finest map has half the image's resolution, and the head's outputs are brought to full
    resolution by bilinear interpolation. Takes images of any size: they are padded inside with
    their border pixels and cropped back.

    Parameters
    ----------
    in_channels : int
    n_outputs : int
        Outputs for each pixel.
    channels : sequence of int, default=(32, 64, 128, 256)
        Channels of each stage of the encoder; every stage halves height and width.
    depth : int, default=2
        Convolutions in each stage of the encoder.

    References
    ----------
    Ronneberger et al. (2015), "U-Net: Convolutional networks for biomedical image segmentation";
    Ioffe & Szegedy (2015), "Batch normalization".

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.unet import UNet
    >>> UNet(3, n_outputs=11)(torch.zeros(2, 3, 50, 70)).shape
    torch.Size([2, 11, 50, 70])
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        channels: Sequence[int] = (32, 64, 128, 256),
        depth: int = 2,
    ):
        super().__init__()
        self.encoder = nn.ModuleList()
        for before, after in pairwise([in_channels, *channels]):
            more = (convolution(after, after) for _ in range(depth - 1))
            self.encoder.append(nn.Sequential(convolution(before, after, stride=2), *more))
        self.decoder = nn.ModuleList(
            convolution(fine + coarse, fine) for fine, coarse in pairwise(channels)
        )
        self.head = nn.Conv2d(channels[0], n_outputs, 1)
        self.size_multiple = 2 ** len(channels)
        self.to(memory_format=torch.channels_last)

    def forward(self, X):
        """Raw outputs, (n, n_outputs, height, width), of X, (n, in_channels, height, width)."""
        height, width = X.shape[2:]
        # two pixels a side at least on the coarsest map: one alone has no variance to norm by
        x = pad_to_multiple(X, self.size_multiple, at_least=2 * self.size_multiple)
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        for skip, fuse in zip(maps[-2::-1], self.decoder[::-1]):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = fuse(torch.cat([skip, x], dim=1))
        x = F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear")
        return x[:, :, :height, :width]
