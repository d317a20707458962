"""Losses of labels beyond the log-loss: focal, hinge and squared hinge.

All of them are Σ_k q_k l_k over the classes k, where q is the target: 1 for the true class and 0
for the others, or, with label smoothing, a share for every class (Szegedy et al. 2016).
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch.nn import functional as F

from .losses import Loss, softmax_of_rows


class LabelLoss(Loss):
    """A loss of labels, as class indices (n,) of int64, or as 0 and 1 of every output.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share of every target that is spread over all classes: over the outputs for class indices,
        over 0 and 1 for outputs of their own.
    """

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    @abstractmethod
    def value(self, z, q):
        """Loss of each sample, (n,), of raw outputs and targets of the same shape."""

    @abstractmethod
    def slope(self, z, q):
        """Derivative of `value` by z, or a subgradient."""

    def per_sample(self, z, y):
        return self.value(z, self._spread(z, y))

    def residual(self, zt, y, weight=None):
        z = zt.t()
        q = self._spread(z, y)
        losses, slope = self.value(z, q), self.slope(z, q).t()
        if weight is None:
            return losses.sum(), slope.contiguous()
        return torch.dot(losses, weight), slope * weight

    def _spread(self, z, y):
        """The targets q, of the shape of z."""
        q = torch.zeros_like(z).scatter_(1, y[:, None], 1.0) if y.ndim == 1 else y
        if not self.label_smoothing:
            return q
        return q + self.label_smoothing * ((1 / z.shape[1] if y.ndim == 1 else 0.5) - q)


class Hinge(LabelLoss):
    """``max(0, 1 - t z)`` of every output, t = 1 for its class and -1 for all others.

    Several classes are one-vs-rest, one output each, as in scikit-learn's `LinearSVC`.
    """

    out_activation = "identity"

    def activation(self, z):
        return z

    def value(self, z, q):
        return (q * (1 - z).relu() + (1 - q) * (1 + z).relu()).sum(1)

    def slope(self, z, q):
        return (1 - q) * (z > -1) - q * (z < 1)


class SquaredHinge(Hinge):
    """``max(0, 1 - t z)²`` of every output, one-vs-rest as `Hinge`."""

    def value(self, z, q):
        return (q * (1 - z).relu().square() + (1 - q) * (1 + z).relu().square()).sum(1)

    def slope(self, z, q):
        return 2 * ((1 - q) * (1 + z).relu() - q * (1 - z).relu())


class Focal(LabelLoss):
    """``-(1 - p)^gamma log p`` of the true class's softmax probability p.

    Samples that are predicted well count little. Lin et al. (2017), "Focal loss for dense object
    detection".

    Parameters
    ----------
    label_smoothing : float, default=0.0
    gamma : float, default=2.0
        At least 1; 0 would be the log-loss.
    """

    out_activation = "softmax"

    def __init__(self, label_smoothing: float = 0.0, gamma: float = 2.0):
        super().__init__(label_smoothing)
        self.gamma = gamma

    def activation(self, z):
        return softmax_of_rows(z)

    def value(self, z, q):
        return -(q * self._modulated(torch.log_softmax(z, dim=1))).sum(1)

    def slope(self, z, q):
        log_p = torch.log_softmax(z, dim=1)
        g = q * _focal_slope(log_p, self.gamma)
        return g - log_p.exp() * g.sum(1, keepdim=True)

    def _modulated(self, log_p):
        return (-torch.expm1(log_p)) ** self.gamma * log_p


class BinaryFocal(Focal):
    """The same of outputs with a sigmoid of their own, summed over them."""

    out_activation = "logistic"

    def activation(self, z):
        return torch.sigmoid(z)

    def value(self, z, q):
        yes, no = (self._modulated(F.logsigmoid(v)) for v in (z, -z))
        return -(q * yes + (1 - q) * no).sum(1)

    def slope(self, z, q):
        yes, no = F.logsigmoid(z), F.logsigmoid(-z)
        return (
            q * _focal_slope(yes, self.gamma) * no.exp()
            - (1 - q) * _focal_slope(no, self.gamma) * yes.exp()
        )


def _focal_slope(log_p, gamma):
    """Derivative of -(1 - p)^gamma log p by log p."""
    p, rest = log_p.exp(), -torch.expm1(log_p)
    return gamma * p * rest ** (gamma - 1) * log_p - rest**gamma
