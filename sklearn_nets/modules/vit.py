"""A vision transformer: an image is a sequence of patches that attend to each other."""

from __future__ import annotations

import math
from numbers import Integral

import torch
from torch import nn
from torch.nn import functional as F

from .interfaces import Backbone, DataDependentInit
from .layers import Head, WhitenedConv2d, stem_stride

N_RESIDUAL = 2  # convolutions over the grid of tokens
MAX_GRID = 8  # tokens along the longer side of an image that convolutions made tokens of


class Attention(nn.Module):
    """Self-attention softmax(QH (KH)ᵀ / √L) VH of tokens H, in heads side by side.

    Q, K and V map tokens to queries, keys and values of length L = embed_dim / num_heads in each
    head; a last linear layer mixes the heads. No weight depends on the number of tokens.

    Parameters
    ----------
    embed_dim : int
        Length of a token.
    num_heads : int, default=1
        Must divide `embed_dim`.

    Raises
    ------
    ValueError
        If `num_heads` does not divide `embed_dim`.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need".

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.vit import Attention
    >>> Attention(16, num_heads=2)(torch.zeros(1, 5, 16)).shape
    torch.Size([1, 5, 16])
    """

    def __init__(self, embed_dim: int, num_heads: int = 1):
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                f"num_heads must divide embed_dim, got embed_dim={embed_dim} and "
                f"num_heads={num_heads}. Take embed_dim={-(-embed_dim // num_heads) * num_heads}."
            )
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        for layer, scale in ((self.qkv, 0.8), (self.proj, 0.0)):
            _init_linear(layer, scale)

    def forward(self, H):
        """Map tokens (n, tokens, embed_dim) to tokens of the same shape."""
        n, tokens, embed_dim = H.shape
        # cut along the last axis: the gradient of that is one copy, of a permuted whole it is two
        parts = self.qkv(H).chunk(3, dim=2)
        q, k, v = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, embed_dim))


def _init_linear(layer, scale):
    """Normal weights of standard deviation scale / √(inputs), and no bias."""
    nn.init.normal_(layer.weight, std=scale * layer.in_features**-0.5)
    nn.init.zeros_(layer.bias)


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + perceptron(norm(x))``.

    The last layer of each branch starts at zero, so that a deep net starts as its shortcuts.

    Parameters
    ----------
    embed_dim, num_heads : int
        As in `Attention`.
    mlp_ratio : float, default=2.0
        Hidden units of the perceptron, over `embed_dim`.
    dropout : float, default=0.0
        Share of each branch's values dropped while training.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, mlp_ratio: float = 2.0, dropout: float = 0.0
    ):
        super().__init__()
        hidden = max(1, round(embed_dim * mlp_ratio))
        self.attention = nn.Sequential(
            nn.LayerNorm(embed_dim), Attention(embed_dim, num_heads), nn.Dropout(dropout)
        )
        self.perceptron = nn.Sequential(
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, embed_dim),
            nn.Dropout(dropout),
        )
        for layer, scale in ((self.perceptron[1], 0.8), (self.perceptron[3], 0.0)):
            _init_linear(layer, scale)

    def forward(self, x):
        """Map tokens (n, tokens, embed_dim) to tokens of the same shape."""
        x = x + self.attention(x)
        return x + self.perceptron(x)


class ResidualConv(nn.Module):
    """``x + GELU(conv(x))``, a 3x3 convolution that keeps the shape (n, channels, h, w)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, a=math.sqrt(3))  # the branch starts small

    def forward(self, x):
        return x + F.gelu(self.conv(x))


class ConvTokenizer(DataDependentInit, nn.Module):
    """Small convolutions and pooling turn an image into a grid of at most 8x8 tokens.

    After a whitened stem (of the stride that `stem_stride` gives), 3x3 convolutions, each with max
    pooling and GELU, halve the longer side until it is at most 8 pixels; two residual convolutions
    let each token see its neighbors, which attention would have to learn from many images.

    Parameters
    ----------
    in_channels : int
    embed_dim : int
        Length of a token.
    size : (int, int)
        Height and width of the images.

    References
    ----------
    Hassani et al. (2021), "Escaping the big data paradigm with compact transformers". Jordan
    (2024), "94% on CIFAR-10 in 3.29 seconds on a single GPU": the whitened stem. Xiao
    et al. (2021), "Early convolutions help transformers see better".

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.vit import ConvTokenizer
    >>> ConvTokenizer(3, 16, (32, 30))(torch.zeros(2, 3, 32, 30)).shape
    torch.Size([2, 64, 16])
    """

    def __init__(self, in_channels: int, embed_dim: int, size: tuple[int, int]):
        super().__init__()
        stride = stem_stride(size)
        kernel = max(2, stride)
        self.stem = WhitenedConv2d(in_channels, (kernel, kernel), stride, bias=False)
        in_channels, size_after = self.stem.out_channels, [math.ceil(s / stride) for s in size]
        n_pools = max(0, math.ceil(math.log2(max(size_after) / MAX_GRID)))
        self.stride = stride * 2**n_pools
        self.grid = self.grid_of(*size)
        layers, n_convs = [], max(1, n_pools)
        for i in range(n_convs):
            out_channels = max(embed_dim // 2 ** (n_convs - 1 - i), min(16, embed_dim))
            conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight)
            pool = [nn.MaxPool2d(2, ceil_mode=True)] if n_pools else []
            layers += [conv, *pool, nn.GELU()]
            in_channels = out_channels
        layers += [ResidualConv(embed_dim) for _ in range(N_RESIDUAL)]
        self.layers = nn.Sequential(*layers)
        # the fastest layout here, and tokens are then no copy of the pixels
        self.to(memory_format=torch.channels_last)

    def init_from_data(self, X, weight=None):
        """Whiten the stem by standardized images X, (n, in_channels, height, width)."""
        self.stem.whiten(self._pad(X), weight)

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the tokens of an image of this size."""
        return math.ceil(height / self.stride), math.ceil(width / self.stride)

    def forward(self, X):
        """Tokens, (n, tokens, embed_dim), of X, (n, in_channels, height, width)."""
        return self.layers(F.gelu(self.stem(self._pad(X)))).flatten(2).transpose(1, 2)

    def _pad(self, X):
        # below and to the right: as many places as strides, also of an image of one pixel
        (kernel, _), (stride, _) = self.stem.kernel_size, self.stem.stride
        bottom, right = ((math.ceil(s / stride) - 1) * stride + kernel - s for s in X.shape[2:])
        return F.pad(X, (0, right, 0, bottom))


class PatchTokenizer(nn.Module):
    """Patches become tokens by a linear layer; what they do not tile is padded with zeros.

    Parameters
    ----------
    in_channels, embed_dim, size
        As in `ConvTokenizer`.
    patch_size : int or (int, int)
        Height and width of a patch in pixels.

    Raises
    ------
    ValueError
        If a patch is larger than the image.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        size: tuple[int, int],
        patch_size: int | tuple[int, int],
    ):
        super().__init__()
        self.patch_size = _check_patch_size(patch_size, size)
        self.grid = tuple(math.ceil(s / p) for s, p in zip(size, self.patch_size))
        self.embed = nn.Linear(in_channels * math.prod(self.patch_size), embed_dim)

    def forward(self, X):
        """Tokens, (n, tokens, embed_dim), of X, (n, in_channels, height, width)."""
        return self.embed(self.patches(X))

    def patches(self, X):
        """Cut X into rows of pixels, shape (n, patches, in_channels * patch height * width)."""
        (rows, columns), (height, width) = self.grid, self.patch_size
        X = F.pad(X, (0, columns * width - X.shape[3], 0, rows * height - X.shape[2]))
        X = X.reshape(len(X), -1, rows, height, columns, width)
        return X.permute(0, 2, 4, 1, 3, 5).reshape(len(X), rows * columns, -1)


class VisionTransformer(DataDependentInit, Backbone):
    """An image becomes tokens, pre-norm blocks mix them, one vector is classified.

    Where convolutions make the tokens, images may have other sizes than `in_shape`: the positions
    are interpolated.

    Parameters
    ----------
    in_shape : (int, int, int)
        Channels, height and width of the images it is built for.
    n_outputs : int
    patch_size : int, (int, int) or "auto", default="auto"
        Height and width of a patch in pixels; with "auto" small convolutions make the tokens.
    embed_dim : int, default=64
        Length of a token.
    depth : int, default=2
        Number of blocks.
    num_heads : int, default=4
        Heads of self-attention; must divide `embed_dim`.
    mlp_ratio : float, default=2.0
        Hidden units of a block's perceptron, over `embed_dim`.
    dropout : float, default=0.0
        Share of each branch's values dropped while training.
    pool : {"attention", "token", "mean"}, default="attention"
        What is classified: a mean of the tokens weighted by a learned attention, a class token, or
        the plain mean.

    Raises
    ------
    ValueError
        If a patch is larger than the image, `num_heads` does not divide `embed_dim`, or `pool`
        is unknown.

    References
    ----------
    Dosovitskiy et al. (2021), "An image is worth 16x16 words: Transformers for image recognition
    at scale". Hassani et al. (2021), "Escaping the big data paradigm with compact transformers":
    convolutional tokens and attention pooling. Jordan (2024), "94% on CIFAR-10 in 3.29 seconds on
    a single GPU": the whitened stem.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.vit import VisionTransformer
    >>> vit = VisionTransformer((3, 32, 32), n_outputs=10)
    >>> vit(torch.zeros(2, 3, 32, 32)).shape, vit.tokenizer.grid
    (torch.Size([2, 10]), (8, 8))
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int,
        patch_size: int | tuple[int, int] | str = "auto",
        embed_dim: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
        pool: str = "attention",
    ):
        super().__init__()
        in_channels, *size = in_shape
        if pool not in ("attention", "token", "mean"):
            raise ValueError(f"pool must be 'attention', 'token' or 'mean', got {pool!r}.")
        if patch_size == "auto":
            self.tokenizer = ConvTokenizer(in_channels, embed_dim, size)
        else:
            self.tokenizer = PatchTokenizer(in_channels, embed_dim, size, patch_size)
        self.pool = pool
        # of the sides of smaller training images; patches bear one size only
        self.size_multiple = self.tokenizer.stride if patch_size == "auto" else None
        # learned, but from a start that knows neighbors: small data cannot teach the grid
        self.position = nn.Parameter(0.5 * _sine_positions(self.tokenizer.grid, embed_dim))
        if pool == "token":
            self.token = nn.Parameter(torch.empty(1, embed_dim).normal_(std=0.02))
        elif pool == "attention":
            self.attention = nn.Linear(embed_dim, 1)
        self.blocks = nn.Sequential(
            *(TransformerBlock(embed_dim, num_heads, mlp_ratio, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = Head(embed_dim, n_outputs)

    def init_from_data(self, X, weight=None):
        """Whiten the first convolution by standardized images; patches take nothing from them."""
        if isinstance(self.tokenizer, DataDependentInit):
            self.tokenizer.init_from_data(X, weight)

    def forward_features(self, X):
        """The pooled tokens, (n, embed_dim), of X, (n, channels, height, width)."""
        x = self.tokenizer(X) + self._positions(X)  # (n, tokens, embed_dim)
        if self.pool == "token":
            x = torch.cat([self.token.expand(len(x), 1, -1), x], dim=1)
        x = self.norm(self.blocks(x))
        if self.pool == "token":
            return x[:, 0]
        if self.pool == "mean":
            return x.mean(1)
        return (self.attention(x).softmax(1) * x).sum(1)

    def _positions(self, X):
        """What is added to each token of X, (tokens, embed_dim)."""
        grid = self.tokenizer.grid
        if self.size_multiple is None or (now := self.tokenizer.grid_of(*X.shape[2:])) == grid:
            return self.position
        maps = self.position.T.reshape(1, -1, *grid)
        return F.interpolate(maps, now, mode="bilinear").flatten(2)[0].T

    def get_classifier(self):
        """The linear layer."""
        return self.head


def _sine_positions(grid: tuple[int, int], embed_dim: int) -> torch.Tensor:
    """Sines and cosines of row and column at falling frequencies, shape (patches, embed_dim)."""
    quarter = math.ceil(embed_dim / 4)
    frequencies = 100.0 ** -(torch.arange(quarter) / quarter)
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid))  # (patches, 2)
    rows, columns = (place[:, None] * frequencies for place in places.T)
    waves = torch.cat([rows.sin(), columns.sin(), rows.cos(), columns.cos()], dim=1)
    return waves[:, :embed_dim].contiguous()


def _check_patch_size(patch_size, size) -> tuple[int, int]:
    pair = tuple(patch_size) if hasattr(patch_size, "__iter__") else (patch_size, patch_size)
    integers = len(pair) == 2 and all(isinstance(p, Integral) for p in pair)
    if not integers or not all(1 <= p <= side for p, side in zip(pair, size)):
        raise ValueError(
            f"patch_size must be 'auto', an int or (height, width), at least 1 and at most the "
            f"image's (height, width) = {tuple(size)}, got {patch_size!r}."
        )
    return pair
