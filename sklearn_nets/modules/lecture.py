"""The convolutional net of the lecture: two convolutions, two linear layers."""

from __future__ import annotations

import torch
from torch import nn

from .interfaces import Backbone
from .layers import Head


class LectureCNN(Backbone):
    """3x3 convolution to 10 channels, 5x5 convolution, each pooled, then 50 units and the outputs.

    Each convolution, padded to keep the size, is followed by ReLU and 2x2 max pooling; the layer of
    50 units has no bias. On 3x40x40 or 3x20x80 images with 10 outputs it has 270 + 10 + 2,500 + 10
    + 50,000 + 500 + 10 = 53,300 weights.

    Parameters
    ----------
    in_shape : (int, int, int)
        Channels, height and width of every image; height and width of 4 pixels or more.
    n_outputs : int

    Raises
    ------
    ValueError
        If height or width are less than 4 pixels, of which two poolings leave nothing.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.lecture import LectureCNN
    >>> net = LectureCNN((3, 40, 40), n_outputs=10)
    >>> sum(p.numel() for p in net.parameters())
    53300
    >>> net(torch.zeros(2, 3, 40, 40)).shape
    torch.Size([2, 10])
    """

    def __init__(self, in_shape: tuple[int, int, int], n_outputs: int):
        super().__init__()
        channels, height, width = in_shape
        if min(height, width) < 4:
            raise ValueError(
                f"architecture='lecture' pools twice: it needs images of 4x4 pixels or more, got "
                f"{height}x{width}."
            )
        self.features = nn.Sequential(
            nn.Conv2d(channels, 10, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(10, 10, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(10 * (height // 4) * (width // 4), 50, bias=False), nn.ReLU(),
        )  # fmt: skip
        self.head = Head(50, n_outputs)
        self.to(memory_format=torch.channels_last)

    def forward_features(self, X):
        """The 50 hidden units, (n, 50)."""
        return self.features(X)

    def get_classifier(self):
        """The last layer."""
        return self.head
