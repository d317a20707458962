"""x"""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from .cnn import Block


class SegmentationModule(nn.Module):
    def __init__(self, in_channels, n_outputs, channels=(16, 32, 64, 128), depth=1):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels[0], 3, 1, 1)
        self.stages = nn.ModuleList()
        c = channels[0]
        for i, width in enumerate(channels):
            self.stages.append(
                nn.Sequential(
                    *(
                        Block(c if j == 0 else width, width, 2 if i and not j else 1)
                        for j in range(depth)
                    )
                )
            )
            c = width
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(channels[:-1], channels[1:]))
        self.fuse = nn.ModuleList(Block(a, a, 1) for a in channels[:-1])
        self.head = nn.Conv2d(channels[0], n_outputs, 1)
        self.multiple = 2 ** (len(channels) - 1)

    def forward(self, x):
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % self.multiple, 0, -h % self.multiple), mode="replicate")
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        for up, fuse, skip in zip(reversed(self.up), reversed(self.fuse), reversed(maps[:-1])):
            x = fuse(skip + F.interpolate(up(x), scale_factor=2, mode="nearest"))
        return self.head(x)[:, :, :h, :w]
