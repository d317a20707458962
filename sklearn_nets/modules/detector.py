"""A dense detector: at every point of a map a score for each class, and a box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from .boxes import NO_OBJECT
from .layers import pad_to_multiple
from .unet import convolution

PRIOR = 0.1  # score of every point before training; Lin et al. (2017), section 3.3
MAX_LOG_SIZE = 8.0  # of a box in strides: no image is as large


class ResidualConv(nn.Module):
    """A convolution with batch norm and ReLU, added to its input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = convolution(channels, channels)

    def forward(self, x):
        """Shape (n, channels, h, w) to the same."""
        return x + self.conv(x)


class DenseDetector(nn.Module):
    """An encoder, a pyramid that brings its coarse maps back to one fine map, and a dense head.

    For every class a map of scores, high at the centers of its objects, and four maps that say
    where the box of the object lies: its center's offset from the point and the logarithms of its
    width and height. Takes images of any size: they are padded inside with their border pixels.

    Parameters
    ----------
    in_channels : int
    n_classes : int
    channels : sequence of int, default=(32, 64, 128, 160, 160)
        Channels of each stage of the encoder; every stage halves height and width.
    width : int, default=64
        Channels of the pyramid and the head.
    stride : int, default=4
        Pixels from one point of the map to the next, a power of two.
    side : float, default=16.0
        Side of a typical box in pixels, where the training begins.

    References
    ----------
    Zhou et al. (2019), "Objects as points". Tian et al. (2019), "FCOS". Lin et al. (2017),
    "Feature pyramid networks for object detection".

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.detector import DenseDetector
    >>> DenseDetector(3, n_classes=2)(torch.zeros(2, 3, 50, 70)).shape
    torch.Size([2, 6, 13, 18])
    """

    def __init__(
        self,
        in_channels: int,
        n_classes: int,
        channels: Sequence[int] = (32, 64, 128, 160, 160),
        width: int = 64,
        stride: int = 4,
        side: float = 16.0,
    ):
        super().__init__()
        self.n_classes, self.stride = n_classes, stride
        self.multiple = 2 ** len(channels)
        first = round(math.log2(stride)) - 1  # the stage whose map is the finest of the pyramid
        self.encoder = nn.ModuleList()
        for i, (before, after) in enumerate(pairwise([in_channels, *channels])):
            more = [ResidualConv(after)] if i > 0 else []
            self.encoder.append(nn.Sequential(convolution(before, after, stride=2), *more))
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels[first:])
        self.head = nn.Sequential(
            nn.ReLU(),
            convolution(width, width),
            ResidualConv(width),
            nn.Conv2d(width, n_classes + 4, 1),
        )
        last = self.head[-1]
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        nn.init.constant_(last.bias[:n_classes], -math.log(1 / PRIOR - 1))
        nn.init.constant_(last.bias[n_classes + 2 :], math.log(side / stride))
        self.to(memory_format=torch.channels_last)

    def forward(self, X):
        """Raw outputs of X, (n, in_channels, h, w): (n, n_classes + 4, h', w').

        h' and w' are h and w over the stride, rounded up.
        """
        height, width = X.shape[2:]
        # two pixels a side at least on the coarsest map: one alone has no variance to norm by
        x = pad_to_multiple(X, self.multiple, at_least=2 * self.multiple)
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        maps = maps[-len(self.lateral) :]
        x = self.lateral[-1](maps[-1])
        for lateral, finer in zip(self.lateral[-2::-1], maps[-2::-1]):
            x = lateral(finer) + F.interpolate(x, scale_factor=2.0, mode="bilinear")
        return self.head(x)[:, :, : -(-height // self.stride), : -(-width // self.stride)]


def point_boxes(z, stride: int):
    """The box that every point of a map stands for.

    Parameters
    ----------
    z : tensor of shape (n, 4, h, w)
        Offset of the center in x and y, and logarithms of width and height, in strides.
    stride : int

    Returns
    -------
    tensor of shape (n, h · w, 4)
        x0, y0, x1, y1 in pixels.
    """
    x = torch.arange(z.shape[3], device=z.device, dtype=z.dtype) + 0.5
    y = torch.arange(z.shape[2], device=z.device, dtype=z.dtype) + 0.5
    center = torch.stack([x + z[:, 0], y[:, None] + z[:, 1]], dim=3)  # (n, h, w, 2)
    half = z[:, 2:].clamp(max=MAX_LOG_SIZE).exp().permute(0, 2, 3, 1) / 2
    return (torch.cat([center - half, center + half], dim=3) * stride).flatten(1, 2)


def decode_points(z, stride: int, n_boxes: int):
    """The boxes of the best peaks of every class's map.

    Parameters
    ----------
    z : tensor of shape (n, n_classes + 4, h, w)
        Outputs of a `DenseDetector`.
    stride, n_boxes : int
        `n_boxes` peaks of every image are returned, however low.

    Returns
    -------
    tensor of shape (n, n_boxes, 6)
        x0, y0, x1, y1, the index of the class, and the score, the greatest first; class -1 and
        score 0 where there are fewer peaks.
    """
    scores, boxes = torch.sigmoid(z[:, :-4]), point_boxes(z[:, -4:], stride)
    peak = scores == F.max_pool2d(scores, 3, stride=1, padding=1)
    scores = torch.where(peak, scores, 0.0).flatten(1)
    n, n_points = len(z), z.shape[2] * z.shape[3]
    best, index = scores.topk(min(n_boxes, scores.shape[1]))
    label, point = index // n_points, index % n_points
    boxes = boxes.gather(1, point[..., None].expand(-1, -1, 4))
    label = torch.where(best > 0, label.to(z.dtype), NO_OBJECT)
    found = torch.cat([boxes, label[..., None], best[..., None]], dim=2)
    missing = n_boxes - found.shape[1]
    nothing = found.new_tensor([0, 0, 0, 0, NO_OBJECT, 0]).expand(n, missing, 6)
    return torch.cat([found, nothing], dim=1) if missing else found
