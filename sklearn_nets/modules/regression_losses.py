"""Losses of numbers beyond the squared error: each a value and a slope, output by output."""

from __future__ import annotations

from abc import abstractmethod

import torch

from .losses import Loss


class ElementwiseLoss(Loss):
    """A loss that is a sum over outputs, of targets of the outputs' shape, (n, n_outputs)."""

    @abstractmethod
    def value(self, z, y):
        """Loss of each output, of the shape of z."""

    @abstractmethod
    def slope(self, z, y):
        """Derivative of `value` by z; zero or a subgradient where it has a corner."""

    def per_sample(self, z, y):
        return self.value(z, y).sum(1)

    def residual(self, zt, y, weight=None):
        losses, slope = self.value(zt, y.t()).sum(0), self.slope(zt, y.t())
        if weight is None:
            return losses.sum(), slope
        return torch.dot(losses, weight), slope.mul_(weight)


class IdentityLink:
    """Predictions are the raw outputs."""

    out_activation = "identity"

    def activation(self, z):
        return z


class AbsoluteError(IdentityLink, ElementwiseLoss):
    """``|z - y|``, whose minimum is the median."""

    def value(self, z, y):
        return (z - y).abs()

    def slope(self, z, y):
        return (z - y).sign()


class PinballLoss(IdentityLink, ElementwiseLoss):
    """``quantile * (y - z)`` where y is greater, else ``(1 - quantile) * (z - y)``.

    Its minimum is the quantile. Koenker & Bassett (1978), "Regression quantiles".

    Parameters
    ----------
    quantile : float
        Between 0 and 1, both excluded.
    """

    def __init__(self, quantile: float):
        super().__init__()
        self.quantile = quantile

    def value(self, z, y):
        residual = y - z
        return torch.maximum(self.quantile * residual, (self.quantile - 1) * residual)

    def slope(self, z, y):
        return (1 - self.quantile) - (y - z > 0).to(z.dtype)


class HuberLoss(IdentityLink, ElementwiseLoss):
    """``(z - y)² / 2`` up to a distance of `delta`, from there on a straight line.

    Huber (1964), "Robust estimation of a location parameter".

    Parameters
    ----------
    delta : float
        In units of y.
    """

    def __init__(self, delta: float):
        super().__init__()
        self.delta = delta

    def value(self, z, y):
        return torch.nn.functional.huber_loss(z, y, reduction="none", delta=self.delta)

    def slope(self, z, y):
        return (z - y).clamp_(-self.delta, self.delta)


class HalfGammaDeviance(ElementwiseLoss):
    """Half the gamma deviance with log link, z + y / exp(z) - log(y) - 1; y > 0."""

    out_activation = "exp"

    def activation(self, z):
        return torch.exp(z)

    def value(self, z, y):
        return z + y * torch.exp(-z) - torch.log(y) - 1

    def slope(self, z, y):
        return 1 - y * torch.exp(-z)
