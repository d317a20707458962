"""Layers that more than one architecture uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class Normalize(nn.Module):
    """Turn raw pixels of any type into standardized numbers, channel by channel.

    Parameters
    ----------
    mean, scale : tensor of shape (channels,)
        Kept as buffers of shape (channels, 1, 1). A scale of 0 (a constant channel) counts as 1.

    Examples
    --------
    >>> import torch
    >>> norm = Normalize(mean=torch.tensor([100.0]), scale=torch.tensor([50.0]))
    >>> norm(torch.tensor([[[[0, 50, 200]]]], dtype=torch.uint8)).tolist()
    [[[[-2.0, -1.0, 2.0]]]]
    """

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor):
        super().__init__()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        self.register_buffer("mean", mean.reshape(-1, 1, 1).clone())
        self.register_buffer("scale", scale.reshape(-1, 1, 1).clone())

    def forward(self, X):
        """Standardized X, shape (n, channels, height, width), of the buffers' type."""
        X = X.to(self.scale.dtype, memory_format=torch.channels_last)
        return (X - self.mean) / self.scale


class ResidualBlock(nn.Module):
    """``shortcut(x) + conv(relu(conv(norm(x))))``, with two 3x3 convolutions.

    The norm looks at one image at a time. Batch statistics would tie the samples of a batch
    together: weights would no longer equal repetition and one sample could not be learned from.
    The last convolution starts at zero, so that a deep net starts as its shortcuts.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : {1, 2}, default=1
        2 halves height and width, rounding up.

    References
    ----------
    He et al. (2016), "Identity mappings in deep residual networks"; the mean pooling of the
    shortcut is ResNet-D's, He et al. (2019), "Bag of tricks for image classification".

    Examples
    --------
    >>> import torch
    >>> ResidualBlock(8, 16, stride=2)(torch.zeros(1, 8, 7, 1)).shape
    torch.Size([1, 16, 4, 1])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.norm = nn.GroupNorm(1, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        shortcut = [] if stride == 1 else [nn.AvgPool2d(stride, ceil_mode=True)]
        if in_channels != out_channels:
            shortcut.append(nn.Conv2d(in_channels, out_channels, 1, bias=False))
            nn.init.kaiming_normal_(shortcut[-1].weight, nonlinearity="linear")
        self.shortcut = nn.Sequential(*shortcut)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        for zero in (self.conv1.bias, self.conv2.weight, self.conv2.bias):
            nn.init.zeros_(zero)

    def forward(self, x):
        """Map (n, in_channels, h, w) to (n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉)."""
        return self.shortcut(x) + self.conv2(F.relu(self.conv1(self.norm(x))))


class ResidualEncoder(nn.Module):
    """A stem and stages of residual blocks: the maps of an image at every resolution.

    Parameters
    ----------
    in_channels : int
    channels : sequence of int
        Channels of each stage; every stage but the first halves height and width.
    depth : int, default=1
        Residual blocks in each stage.
    stride : int, default=1
        Step of the stem's 3x3 convolution.

    Examples
    --------
    >>> import torch
    >>> [m.shape[1:] for m in ResidualEncoder(1, (8, 16))(torch.zeros(1, 1, 9, 8))]
    [torch.Size([8, 9, 8]), torch.Size([16, 5, 4])]
    """

    def __init__(self, in_channels: int, channels: Sequence[int], depth: int = 1, stride: int = 1):
        super().__init__()
        width = channels[0]
        self.stem = nn.Conv2d(in_channels, width, 3, stride, padding=1)
        nn.init.kaiming_normal_(self.stem.weight, nonlinearity="linear")
        nn.init.zeros_(self.stem.bias)
        self.stages = nn.ModuleList()
        for i, out_channels in enumerate(channels):
            first = ResidualBlock(width, out_channels, stride=2 if i else 1)
            rest = (ResidualBlock(out_channels, out_channels) for _ in range(depth - 1))
            self.stages.append(nn.Sequential(first, *rest))
            width = out_channels

    def forward(self, x):
        """List of one map (n, channels[i], height, width) for each stage, finest first."""
        x = self.stem(x).contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
