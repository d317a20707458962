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


def train_one_cycle(
    module, X, y, loss_function, augment, *, epochs, batch_size, lr, alpha=0.05, amp=None
):
    """AdamW along one cycle over images X and labels or masks y, changed by augment(X, y)."""
    steps = -(-len(X) // batch_size)
    decay = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": alpha}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * steps, pct_start=0.2
    )
    module.train()
    for _ in range(epochs):
        total = torch.zeros((), device=X.device)
        for rows in torch.randperm(len(X), device=X.device).split(batch_size):
            images, target = augment(X[rows], y[rows])
            with torch.autocast(X.device.type, dtype=amp, enabled=amp is not None):
                z = module(images)
            loss = loss_function(z.float() if amp else z, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(rows)
    return float(total / len(X))
