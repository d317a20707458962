"""Layers that more than one architecture uses."""

from __future__ import annotations

import torch
from torch import nn


class InputNorm(nn.Module):
    """Turn raw pixels of any type into standardised numbers, channel by channel.

    Parameters
    ----------
    mean, scale : tensor of shape (channels,)
        Kept as buffers; a scale of 0 (a constant channel) counts as 1. Pixels are converted to
        the buffers' type.
    """

    def __init__(self, mean, scale):
        super().__init__()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        self.register_buffer("mean", mean[:, None, None].clone())
        self.register_buffer("scale", scale[:, None, None].clone())

    def forward(self, X):
        """Standardised X, shape (n, channels, height, width), channels last in memory."""
        X = X.to(self.scale.dtype, memory_format=torch.channels_last)
        return (X - self.mean) / self.scale
