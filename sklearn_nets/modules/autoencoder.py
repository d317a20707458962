"""Auto-encoders: an encoder to few numbers and a decoder back, of rows or of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from .augment import Augmentation
from .layers import Head
from .losses import Loss


class Autoencoder(nn.Module):
    """Encoder and decoder around standardized data.

    Parameters
    ----------
    encoder, decoder : nn.Module
        From ``(n, *shape)`` to (n, n_components), and back.
    mean : tensor of shape `shape`
        Subtracted from the data.
    scale : tensor of shape ()
        One number for all features, so that none gains weight over another; 0 counts as 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.autoencoder import Autoencoder, conv_coders
    >>> encoder, decoder = conv_coders((1, 8, 8), n_components=3, channels=(4,))
    >>> net = Autoencoder(encoder, decoder, torch.zeros(1, 8, 8), torch.tensor(1.0))
    >>> X = torch.zeros(2, 1, 8, 8)
    >>> net(X).shape, net(X, encode=True).shape
    (torch.Size([2, 1, 8, 8]), torch.Size([2, 3]))
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, mean, scale):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", torch.where(scale > 0, scale, torch.ones_like(scale)))

    def forward(self, X, encode: bool = False):
        """Reconstruct X, of shape (n, channels, height, width), or only encode it."""
        Z = self.encoder((X.to(self.scale.dtype) - self.mean) / self.scale)
        return Z if encode else self.decode(Z)

    def decode(self, Z):
        """Data of shape (n, channels, height, width) of codes of shape (n, n_components)."""
        return self.decoder(Z).reshape(len(Z), *self.mean.shape) * self.scale + self.mean


def conv_coders(
    shape: tuple[int, int, int], n_components: int, channels: Sequence[int]
) -> tuple[nn.Module, nn.Module]:
    """Convolutional encoder and decoder of images; each stage halves, or doubles, the sides.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the images.
    n_components : int
        Length of a code.
    channels : sequence of int
        Channels of the stages.
    """
    sizes, down, up = [tuple(shape[1:])], [], []
    widths = [shape[0], *channels]
    for before, after in pairwise(widths):
        down += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
        # the last layer of the decoder, the first of this list reversed, gives pixels of any sign
        up.append([_Resize(sizes[-1]), nn.Conv2d(after, before, 3, padding=1)])
        sizes.append(tuple(math.ceil(side / 2) for side in sizes[-1]))
    inner = (widths[-1], *sizes[-1])
    encoder = nn.Sequential(*down, nn.Flatten(), Head(math.prod(inner), n_components))
    decoder = [nn.Linear(n_components, math.prod(inner)), nn.Unflatten(1, inner)]
    for stage in reversed(up):
        decoder += [nn.GELU(), *stage]
    decoder = nn.Sequential(*decoder)
    for coder in (encoder, decoder):
        for layer in coder:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in = layer.weight[0].numel()
                nn.init.normal_(layer.weight, std=fan_in**-0.5)
                nn.init.zeros_(layer.bias)
        coder.to(memory_format=torch.channels_last)
    return encoder, decoder


class _Resize(nn.Module):
    """Repeat pixels up to a size."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def forward(self, x):
        return F.interpolate(x, self.size, mode="nearest")


class GaussianNoise(Augmentation):
    """Add normal noise to X and leave the target y as it is: a denoising auto-encoder.

    Vincent et al. (2008), "Extracting and composing robust features with denoising autoencoders".

    Parameters
    ----------
    std : float
        Standard deviation of the noise, in units of X.
    """

    capturable = True

    def __init__(self, std: float):
        super().__init__()
        self.std = std

    def forward(self, X, y, generator=None):
        X = X if X.is_floating_point() else X.to(torch.get_default_dtype())
        noise = torch.randn(X.shape, generator=generator, dtype=X.dtype, device=X.device)
        return X + self.std * noise, y


RECONSTRUCTION_LOSSES = {
    "squared_error": lambda r: r.square() / 2,
    "absolute_error": torch.abs,
    "huber": lambda r: F.huber_loss(r, torch.zeros_like(r), reduction="none"),
}


class ReconstructionLoss(Loss):
    """Mean over the features of the loss of standardized differences; y has the shape of X.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber"}
        Half the square, the absolute value, or half the square up to 1 and from there on straight.
    scale : float
        Divides the differences.
    """

    out_activation = "identity"

    def __init__(self, loss: str, scale: float):
        super().__init__()
        self.loss, self.scale = loss, scale

    def activation(self, z):
        return z

    def per_sample(self, z, y):
        difference = (z - y.to(z.dtype)) / self.scale
        return RECONSTRUCTION_LOSSES[self.loss](difference).flatten(1).mean(1)
