"""x"""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1)
        self.skip = nn.Conv2d(c_in, c_out, 1, bias=False) if c_in != c_out else nn.Identity()
        nn.init.kaiming_normal_(self.conv1.weight)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x):
        h = self.conv2(F.relu(self.conv1(F.relu(x))))
        if self.stride > 1:
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        return self.skip(x) + h


class ResidualCNN(nn.Module):
    def __init__(self, in_shape, n_outputs, channels=(16, 32, 64), depth=1):
        super().__init__()
        c = channels[0]
        self.stem = nn.Conv2d(in_shape[0], c, 3, 1, 1)
        blocks = []
        for i, width in enumerate(channels):
            for j in range(depth):
                blocks.append(Block(c, width, 2 if i and not j else 1))
                c = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(c)
        self.head = nn.Linear(c, n_outputs)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x)).amax((2, 3))))
