"""Layers that more than one architecture uses."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

LARGE = 48  # pixels of the shorter side from which a stem halves the image, and twice at 96


class Normalize(nn.Module):
    """Turn raw pixels of any type into standardized numbers, channel by channel.

    Parameters
    ----------
    mean, scale : tensor of shape (channels,)
        Kept as buffers of shape (channels, 1, 1). A scale of 0 (a constant channel) counts as 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.layers import Normalize
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
        return (X - self.mean).div_(self.scale)  # one copy less at a time


class Head(nn.Linear):
    """`nn.Linear` that keeps the digits of its weights' type under autocast: answers need them.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_nets.modules.layers import Head
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     print(Head(2, 3)(torch.zeros(1, 2)).dtype, nn.Linear(2, 3)(torch.zeros(1, 2)).dtype)
    torch.float32 torch.bfloat16
    """

    def forward(self, X):
        """Raw outputs, shape (n, out_features), of features, shape (n, in_features)."""
        if not torch.is_autocast_enabled(X.device.type):
            return super().forward(X)
        with torch.autocast(X.device.type, enabled=False):
            return super().forward(X.to(self.weight.dtype))


def set_dropout(module: nn.Module, p: float) -> None:
    """Give every dropout of a module another share of values to drop."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = p


def pad_to_multiple(X, multiple: int, at_least: int = 1):
    """Pad images with their border pixels, below and to the right, to sides of a multiple.

    Replicated, not mirrored: a mirror cannot pad by more than the image.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.layers import pad_to_multiple
    >>> pad_to_multiple(torch.tensor([[[[1.0, 2.0]]]]), 2).tolist()
    [[[[1.0, 2.0], [1.0, 2.0]]]]
    """
    bottom, right = (max(-side % multiple, at_least - side) for side in X.shape[2:])
    return F.pad(X, (0, right, 0, bottom), mode="replicate")


def stem_stride(size: tuple[int, int]) -> int:
    """Stride of the first convolution over images of this height and width: 1, 2 or 4.

    Examples
    --------
    >>> from sklearn_nets.modules.layers import stem_stride
    >>> [stem_stride(size) for size in ((32, 100), (64, 48), (120, 160))]
    [1, 2, 4]
    """
    side = min(size)
    return 4 if side >= 2 * LARGE else 2 if side >= LARGE else 1


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics count sample weights: an integer weight equals repetition.

    The running variance is that of the batch itself, without torch's factor n / (n - 1), so that
    only the ratios of weights matter.

    Attributes
    ----------
    sample_weight : tensor of shape (n,) or None
        Weights of the samples of the next forward pass in training; None for equal weights.

    References
    ----------
    Ioffe & Szegedy (2015), "Batch normalization".

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.layers import BatchNorm2d
    >>> norm, x = BatchNorm2d(3), torch.randn(2, 3, 4, 4)
    >>> norm.sample_weight = torch.tensor([2.0, 1.0])
    >>> torch.allclose(norm(x), BatchNorm2d(3)(x[[0, 0, 1]])[1:], atol=1e-5)
    True
    """

    sample_weight = None

    def __init__(self, num_features: int, momentum: float = 0.3):
        super().__init__(num_features, momentum=momentum)

    def forward(self, x):
        """Normalized x, of shape (n, num_features, height, width)."""
        if not self.training:
            return super().forward(x)
        if self.sample_weight is None:
            out, mean, rstd = torch.native_batch_norm(
                x, self.weight, self.bias, None, None, True, self.momentum, self.eps
            )
            variance = rstd.detach() ** -2 - self.eps
        else:
            weight = self.sample_weight.to(x.dtype)
            share = weight / (weight.sum() * x.shape[2] * x.shape[3])
            mean = torch.einsum("n,nchw->c", share, x)
            centered = x - mean[:, None, None]
            variance = torch.einsum("n,nchw->c", share, centered.square())
            scale = self.weight * torch.rsqrt(variance + self.eps)
            out = centered * scale[:, None, None] + self.bias[:, None, None]
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            running.lerp_(now.detach().to(running.dtype), self.momentum)
        return out


def identity_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3x3 convolution that starts by passing its channels on.

    Channels that it adds start at random. Zagoruyko & Komodakis (2017), "DiracNets".
    """
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[:in_channels])
    return conv


class WhitenedConv2d(nn.Conv2d):
    """A convolution whose filters decorrelate the patches of the training images.

    Its filters are the eigenvectors of the patches' covariance, each over the square root of its
    eigenvalue, and their negatives; they are set by `whiten` and not trained, only the bias is.
    Without a bias a step need not go back to the images at all.

    Parameters
    ----------
    in_channels : int
    kernel_size : (int, int)
    stride : int, default=1
    max_components : int, default=24
        Eigenvectors that are kept, those of the greatest eigenvalues.
    bias : bool, default=True

    References
    ----------
    Jordan (2024), "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.layers import WhitenedConv2d
    >>> conv = WhitenedConv2d(1, (2, 2))
    >>> conv.whiten(torch.randn(50, 1, 8, 8))
    >>> conv(torch.randn(3, 1, 8, 8)).shape
    torch.Size([3, 8, 7, 7])
    """

    eps = 5e-4  # share of the mean eigenvalue that is added to each

    def __init__(
        self,
        in_channels: int,
        kernel_size: tuple[int, int],
        stride: int = 1,
        max_components: int = 24,
        bias: bool = True,
    ):
        components = min(in_channels * kernel_size[0] * kernel_size[1], max_components)
        super().__init__(in_channels, 2 * components, kernel_size, stride, bias=bias)
        self.weight.requires_grad_(False)
        if bias:
            nn.init.zeros_(self.bias)

    @torch.no_grad()
    def whiten(self, X, weight=None, chunk: int = 64):
        """Set the filters from images X, (n, in_channels, h, w), with weights of shape (n,)."""
        size = self.weight[0].numel()
        covariance = torch.zeros(size, size, dtype=torch.float64)
        weight = torch.ones(len(X)) if weight is None else weight.cpu()
        for images, w in zip(X.split(chunk), weight.split(chunk)):
            patches = F.unfold(images.float(), self.kernel_size, stride=self.stride).cpu().double()
            covariance += torch.einsum("n,nip,njp->ij", w.double(), patches, patches)
        values, vectors = torch.linalg.eigh(covariance)
        # images of one color have no covariance: their filters see nothing, whatever their scale
        values = values + self.eps * values.mean() if values.any() else torch.ones_like(values)
        # the sign of an eigenvector is arbitrary: its greatest entry is made positive
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        count = weight.double().sum() * (patches.shape[2])
        filters = (vectors * torch.rsqrt(values / count)).T.flip(0)[: len(self.weight) // 2]
        filters = filters.reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))
