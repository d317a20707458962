"""x"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, d, heads, ratio, dropout):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(
            nn.Linear(d, int(d * ratio)),
            nn.GELU(),
            nn.Linear(int(d * ratio), d),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (
            self.qkv(self.n1(x)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        )
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))
        return x + self.mlp(self.n2(x))


class VisionTransformer(nn.Module):
    def __init__(
        self,
        in_shape,
        n_outputs,
        patch_size="auto",
        embed_dim=64,
        depth=4,
        num_heads=4,
        mlp_ratio=2.0,
        dropout=0.0,
        pool="token",
    ):
        super().__init__()
        c, h, w = in_shape
        if embed_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide embed_dim={embed_dim}.")
        if patch_size == "auto":
            ph, pw = max(1, min(h, -(-h // 4))), max(1, -(-w // 4))
        else:
            ph, pw = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
            if ph > h or pw > w:
                raise ValueError(f"patch_size {ph, pw} larger than the image {h, w}")
        self.patch = nn.Conv2d(c, embed_dim, (ph, pw), (ph, pw))
        self.pad = (0, -w % pw, 0, -h % ph)
        tokens = -(-h // ph) * -(-w // pw)
        self.pool = pool
        self.token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.position = nn.Parameter(torch.randn(1, tokens + 1, embed_dim) * 0.02)
        self.blocks = nn.Sequential(
            *(Block(embed_dim, num_heads, mlp_ratio, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, n_outputs)

    def forward(self, x):
        x = self.patch(F.pad(x, self.pad)).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0] if self.pool == "token" else x[:, 1:].mean(1))
