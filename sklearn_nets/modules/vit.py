"""A vision transformer: an image is a sequence of patches that attend to each other."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


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

    def forward(self, H):
        """Map tokens (n, tokens, embed_dim) to tokens of the same shape."""
        n, tokens, embed_dim = H.shape
        heads = self.qkv(H).view(n, tokens, 3, self.num_heads, embed_dim // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (n, num_heads, tokens, L)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, embed_dim))


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + perceptron(norm(x))``.

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

    def forward(self, x):
        """Map tokens (n, tokens, embed_dim) to tokens of the same shape."""
        x = x + self.attention(x)
        return x + self.perceptron(x)


class VisionTransformer(nn.Module):
    """Patches become tokens, pre-norm blocks mix them, one vector is classified.

    Images that the patches do not tile are padded inside with zeros, at the right and below.

    Parameters
    ----------
    in_shape : (int, int, int)
        Channels, height and width of every image.
    n_outputs : int
    patch_size : int, (int, int) or "auto", default="auto"
        Height and width of a patch in pixels; "auto" takes what `auto_patch_size` says.
    embed_dim : int, default=64
        Length of a token.
    depth : int, default=4
        Number of blocks.
    num_heads : int, default=4
        Heads of self-attention; must divide `embed_dim`.
    mlp_ratio : float, default=2.0
        Hidden units of a block's perceptron, over `embed_dim`.
    dropout : float, default=0.0
        Share of each branch's values dropped while training.
    pool : {"token", "mean"}, default="token"
        What is classified: a class token, or the mean of the patches' tokens.

    Raises
    ------
    ValueError
        If a patch is larger than the image, `num_heads` does not divide `embed_dim`, or `pool`
        is unknown.

    References
    ----------
    Dosovitskiy et al. (2021), "An image is worth 16x16 words: Transformers for image recognition
    at scale".

    Examples
    --------
    >>> import torch
    >>> vit = VisionTransformer((3, 32, 32), n_outputs=10)
    >>> vit(torch.zeros(2, 3, 32, 32)).shape, vit.patch_size
    (torch.Size([2, 10]), (4, 4))
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int,
        patch_size: int | tuple[int, int] | str = "auto",
        embed_dim: int = 64,
        depth: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
        pool: str = "token",
    ):
        super().__init__()
        channels, *size = in_shape
        if pool not in ("token", "mean"):
            raise ValueError(f"pool must be 'token' or 'mean', got {pool!r}.")
        self.patch_size = _check_patch_size(patch_size, size)
        self.grid = tuple(math.ceil(s / p) for s, p in zip(size, self.patch_size))
        self.pool = pool
        self.embed = nn.Linear(channels * math.prod(self.patch_size), embed_dim)
        # learned, but from a start that knows neighbors: small data cannot teach the grid
        self.position = nn.Parameter(_sine_positions(self.grid, embed_dim))
        if pool == "token":
            self.token = nn.Parameter(torch.empty(1, embed_dim).normal_(std=0.02))
        self.blocks = nn.Sequential(
            *(TransformerBlock(embed_dim, num_heads, mlp_ratio, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, n_outputs)

    def forward(self, X):
        """Raw outputs, shape (n, n_outputs), of X, shape (n, channels, height, width)."""
        x = self.embed(self._patches(X)) + self.position  # (n, patches, embed_dim)
        if self.pool == "token":
            x = torch.cat([self.token.expand(len(x), 1, -1), x], dim=1)
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0] if self.pool == "token" else x.mean(1))

    def _patches(self, X):
        """Cut X into rows of pixels, shape (n, patches, channels * patch height * patch width)."""
        (rows, columns), (height, width) = self.grid, self.patch_size
        X = F.pad(X, (0, columns * width - X.shape[3], 0, rows * height - X.shape[2]))
        X = X.reshape(len(X), -1, rows, height, columns, width)
        return X.permute(0, 2, 4, 1, 3, 5).reshape(len(X), rows * columns, -1)


def auto_patch_size(side: int) -> int:
    """Pixels of a patch along one side: the power of two nearest to side / 8, at least 2.

    Examples
    --------
    >>> [auto_patch_size(side) for side in (1, 2, 8, 28, 32, 64, 224)]
    [1, 2, 2, 4, 4, 8, 32]
    """
    return min(side, max(2, 2 ** round(math.log2(side / 8))))


def _sine_positions(grid: tuple[int, int], embed_dim: int) -> torch.Tensor:
    """Sines and cosines of row and column at falling frequencies, shape (patches, embed_dim)."""
    quarter = math.ceil(embed_dim / 4)
    frequencies = 100.0 ** -(torch.arange(quarter) / quarter)
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid))  # (patches, 2)
    rows, columns = (place[:, None] * frequencies for place in places.T)
    waves = torch.cat([rows.sin(), columns.sin(), rows.cos(), columns.cos()], dim=1)
    return waves[:, :embed_dim].contiguous()


def _check_patch_size(patch_size, size) -> tuple[int, int]:
    if patch_size == "auto":
        return tuple(auto_patch_size(side) for side in size)
    pair = (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)
    if len(pair) != 2 or not all(1 <= p <= side for p, side in zip(pair, size)):
        raise ValueError(
            f"patch_size must be 'auto', an int or (height, width), at least 1 and at most the "
            f"image's (height, width) = {tuple(size)}, got {patch_size!r}."
        )
    return pair
