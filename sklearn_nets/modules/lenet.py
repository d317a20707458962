"""LeNet-5, the first convolutional net of every course."""

from __future__ import annotations

import torch
from torch import nn

from .interfaces import Backbone
from .layers import Head

SMALLEST = 12  # pixels of a side that two convolutions and two poolings leave something of


class LeNet(Backbone):
    """Two 5x5 convolutions with max pooling, and three linear layers, with ReLU.

    Sides below 32 pixels are padded by two, as MNIST's 28 were.

    Parameters
    ----------
    in_shape : (int, int, int)
        Channels, height and width of every image.
    n_outputs : int

    Raises
    ------
    ValueError
        If the images are too small.

    References
    ----------
    LeCun et al. (1998), "Gradient-based learning applied to document recognition"; ReLU and max
    pooling take the places of its sigmoids and averages.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.lenet import LeNet
    >>> lenet = LeNet((1, 28, 28), n_outputs=10)
    >>> lenet(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    >>> sum(p.numel() for p in lenet.parameters())
    61706
    """

    def __init__(self, in_shape: tuple[int, int, int], n_outputs: int):
        super().__init__()
        in_channels, *size = in_shape
        if min(size) < SMALLEST:
            raise ValueError(
                f"architecture='lenet' needs images of {SMALLEST}x{SMALLEST} pixels or more, got "
                f"{size[0]}x{size[1]}. Resize them, or use the default architecture."
            )
        padding = 2 if min(size) < 32 else 0
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            length = self.features(torch.zeros(1, *in_shape)).shape[1]
        self.hidden = nn.Sequential(
            nn.Linear(length, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()
        )
        self.head = Head(84, n_outputs)

    def forward_features(self, X):
        """The last hidden layer, (n, 84)."""
        return self.hidden(self.features(X))

    def get_classifier(self):
        """The last layer."""
        return self.head
