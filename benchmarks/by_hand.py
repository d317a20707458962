"""Training loops as an expert writes them: resident tensors, fused optimizer, nothing else."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def train(module, X, y, loss_function, *, epochs, batch_size, lr, alpha=0.0, amp=None):
    """Adam with the L2 penalty alpha / 2 · ||W||² / batch_size; the last epoch's mean loss."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": alpha / batch_size}, {"params": others}]
    optimizer = torch.optim.Adam(groups, lr=lr, fused=True)
    module.train()
    for _ in range(epochs):
        total = torch.zeros((), device=X.device)
        for rows in torch.randperm(len(X), device=X.device).split(batch_size):
            with torch.autocast(X.device.type, dtype=amp, enabled=amp is not None):
                z = module(X[rows])
            loss = loss_function(z.float() if amp else z, y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
    return float(total / len(X))


def masked_cross_entropy(z, y):
    """Mean over the pixels that have a label (y >= 0)."""
    return F.cross_entropy(z, y.long(), ignore_index=-1)


def train_one_cycle(forward, module, X, y, *, epochs, batch_size, lr, alpha=0.05):
    """AdamW along one cycle over images X and masks y; mirrored at random."""
    loader = [None] * -(-len(X) // batch_size)
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=alpha)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * len(loader), pct_start=0.2
    )
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(batch_size):
            images, masks = X[rows], y[rows]
            flip = torch.rand(len(rows)) < 0.5
            images = torch.where(flip[:, None, None, None], images.flip(3), images)
            masks = torch.where(flip[:, None, None], masks.flip(2), masks)
            loss = masked_cross_entropy(forward(images), masks)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
