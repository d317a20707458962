"""An encoder of table rows: periodic features of every number, then residual layers."""

from __future__ import annotations

import math

import torch
from torch import nn

from .layers import Head


class PeriodicFeatures(nn.Module):
    """Every number x becomes relu(W [sin(2π c x), cos(2π c x)]), with its own frequencies c.

    Steps and other sharp shapes of a single feature, which layers of sums learn slowly, are near
    linear in these. W is shared by all features.

    Parameters
    ----------
    n_features : int
    n_frequencies : int, default=16
    width : int, default=8
        Outputs for each feature.
    scale : float, default=0.1
        Standard deviation of the first frequencies, for standardized features.

    References
    ----------
    Gorishniy et al. (2022), "On embeddings for numerical features in tabular deep learning".

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.rows import PeriodicFeatures
    >>> PeriodicFeatures(5)(torch.zeros(2, 5)).shape
    torch.Size([2, 40])
    """

    def __init__(
        self, n_features: int, n_frequencies: int = 16, width: int = 8, scale: float = 0.1
    ):
        super().__init__()
        frequencies = torch.empty(n_features, n_frequencies)
        nn.init.trunc_normal_(frequencies, std=scale, a=-3 * scale, b=3 * scale)
        self.frequencies = nn.Parameter(frequencies)
        self.linear = nn.Linear(2 * n_frequencies, width)

    def forward(self, X):
        """Shape (n, n_features * width), of X, shape (n, n_features)."""
        waves = 2 * math.pi * self.frequencies * X[:, :, None]
        return torch.relu(self.linear(torch.cat([waves.sin(), waves.cos()], 2))).flatten(1)


class ResidualBlock(nn.Module):
    """``x + perceptron(norm(x))``."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, x):
        return x + self.layers(x)


class RowEncoder(nn.Module):
    """Standardized rows, with periodic features beside them, through residual layers.

    Parameters
    ----------
    mean, scale : tensor of shape (n_features,)
        Of the training data; a scale of 0 (a constant feature) counts as 1.
    n_outputs : int
    width : int, default=128
        Units of the residual stream.
    depth : int, default=1
        Residual blocks.
    dropout : float, default=0.0
        Share of hidden units dropped while training.

    References
    ----------
    Ye et al. (2024), "Revisiting nearest neighbor for tabular data: A deep tabular baseline two
    decades later" (ModernNCA), whose encoder this follows, with layer norm for batch norm.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.rows import RowEncoder
    >>> RowEncoder(torch.zeros(5), torch.ones(5), 3)(torch.zeros(2, 1, 1, 5)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self, mean, scale, n_outputs: int, width: int = 128, depth: int = 1, dropout: float = 0.0
    ):
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", torch.where(scale > 0, scale, torch.ones_like(scale)))
        self.periodic = PeriodicFeatures(len(mean))
        n_inputs = len(mean) + self.periodic.linear.out_features * len(mean)
        self.first = nn.Linear(n_inputs, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, dropout) for _ in range(depth)))
        self.head = Head(width, n_outputs)

    def forward(self, X):
        """Shape (n, n_outputs), of X, shape (n, n_features) or (n, 1, 1, n_features)."""
        x = (X.flatten(1).to(self.scale.dtype) - self.mean) / self.scale
        return self.head(self.blocks(self.first(torch.cat([x, self.periodic(x)], 1))))
