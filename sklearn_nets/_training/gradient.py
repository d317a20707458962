"""The gradient of a batch by automatic differentiation, for modules that do not write their own."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from .._utils.array_api import dtype_of
from ..modules.interfaces import NeedsTarget
from ..modules.layers import BatchNorm2d


class AutogradGradient:
    """Loss and gradient of a batch: the weighted mean loss plus alpha / 2 · ||W||² / Σw.

    Parameters
    ----------
    module : nn.Module
    loss : Loss
    alpha : float
        Strength of the L2 penalty on weights (not on biases or scales).
    report_factor : float
        Factor on the loss that is returned, not on its gradient.
    augment : callable(X, y) -> (X, y), optional
        Changes every batch, on the device.
    autocast_dtype : str, optional
        Name of the type of autocast.

    Attributes
    ----------
    resize : callable(X, y) -> (X, y) or None
        Brings every batch, once it is augmented, to the size that it is trained at.
    """

    resize = None

    def __init__(
        self, module, loss, alpha, report_factor=1.0, *, augment=None, autocast_dtype=None
    ):
        self.module, self.loss, self.alpha = module, loss, alpha
        self.report_factor, self.augment = report_factor, augment
        self.autocast_dtype = autocast_dtype
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.weighted = [m for m in module.modules() if isinstance(m, BatchNorm2d)]
        self.needing_target = [m for m in module.modules() if isinstance(m, NeedsTarget)]
        self.penalized = [p for p in self.parameters if p.ndim > 1]

    def __call__(self, X, y, weight=None):
        """Leave the gradient of a batch in every parameter's `grad`; call without grad mode.

        Parameters
        ----------
        X : tensor of shape (n, ...)
        y : tensor of shape (n, ...)
            Targets as the loss takes them.
        weight : tensor of shape (n,) or None

        Returns
        -------
        tensor of shape ()
            n times the penalized loss.
        """
        for p in self.parameters:
            p.grad = None
        if self.augment is not None:
            X, y = self.augment(X, y)
        if self.resize is not None:
            X, y = self.resize(X, y)
        for norm in self.weighted:
            norm.sample_weight = weight
        for own in self.needing_target:
            own.target = y
        with torch.enable_grad():
            with autocast(X.device, self.autocast_dtype):
                z = self.module(X)
            loss = self.loss(z.float() if self.autocast_dtype else z, y, weight)
            loss.backward()
        for p in self.parameters:
            if p.grad is None:  # not used by this batch; optimizer and penalty take whole lists
                p.grad = torch.zeros_like(p)
        for norm in self.weighted:
            norm.sample_weight = None
        for own in self.needing_target:
            own.target = None
        return self._penalize(loss.detach(), len(X), len(X) if weight is None else weight.sum())

    def _penalize(self, loss, n, weight_sum):
        loss = loss * (n * self.report_factor)
        if not self.alpha:
            return loss
        strength = self.alpha / weight_sum
        grads = [W.grad for W in self.penalized]
        if isinstance(strength, float):
            torch._foreach_add_(grads, self.penalized, alpha=strength)
        else:  # on the device, never read from it
            torch._foreach_add_(grads, torch._foreach_mul(self.penalized, strength))
        norms = torch.stack(torch._foreach_norm(self.penalized))
        return loss + norms.square_().sum() * (0.5 * n * strength)


def autocast(device: torch.device, dtype: str | None):
    """torch's autocast to a type of that name, or nothing for None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype_of(dtype))
