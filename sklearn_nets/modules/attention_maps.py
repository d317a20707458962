"""Which tokens of an image a vision transformer looks at."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .vit import Attention, VisionTransformer


@torch.no_grad()
def attention_maps(vit: VisionTransformer, forward: Callable[[], object]) -> torch.Tensor:
    """How much each token of each image counts for the vector that is classified.

    Attention rollout: attention, averaged over the heads, and the shortcut beside it, each at one
    half, are multiplied through the blocks; the last row is the pooling's weights.

    Parameters
    ----------
    vit : VisionTransformer
    forward : callable
        Passes images through it, in one batch or several, in evaluation mode.

    Returns
    -------
    tensor of shape (n, rows, columns)
        On the grid of tokens; sums to 1 for every image.

    References
    ----------
    Abnar & Zuidema (2020), "Quantifying attention flow in transformers".
    """
    rollouts, maps = [], []

    def attend(module, args):
        H = args[0]
        n, tokens = H.shape[:2]
        q, k, _ = module.qkv(H).view(n, tokens, 3, module.num_heads, -1).permute(2, 0, 3, 1, 4)
        A = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1).mean(1)
        A = (A + torch.eye(tokens, dtype=A.dtype, device=A.device)) / 2
        rollouts.append(A @ rollouts[-1] if rollouts else A)

    def pool(module, args, x):
        n, tokens, _ = x.shape
        if vit.pool == "attention":
            share = vit.attention(x).softmax(1)[:, :, 0]
        elif vit.pool == "mean":
            share = x.new_full((n, tokens), 1 / tokens)
        else:
            share = x.new_zeros(n, tokens)
            share[:, 0] = 1
        if rollouts:
            share = (share[:, None] @ rollouts[-1])[:, 0]
        rollouts.clear()
        share = share[:, int(vit.pool == "token") :]  # what the class token keeps is no pixel's
        maps.append((share / share.sum(1, keepdim=True)).reshape(n, *vit.tokenizer.grid))

    layers = [m for m in vit.modules() if isinstance(m, Attention)]
    hooks = [layer.register_forward_pre_hook(attend) for layer in layers]
    hooks.append(vit.norm.register_forward_hook(pool))
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(maps).float()
