"""Losses with their output activation; each knows its own gradient with respect to the raw outputs.

Most losses here are paired with their canonical link, so that the gradient of one sample's loss
with respect to the raw outputs z is simply ``activation(z) - y``. A net that writes its own
gradient (`MLP`) starts from `residual`; all others differentiate `per_sample`. Further losses are
in `regression_losses.py` and `classification_losses.py`.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

VECTOR_LENGTH = 16  # float32 numbers that a core computes at a time; torch is slow on shorter rows


class Loss(nn.Module):
    """The loss of one sample, its output activation and its gradient.

    Attributes
    ----------
    out_activation : str
        scikit-learn's name of the activation that turns raw outputs into predictions.
    """

    out_activation: str

    def activation(self, z):
        """Turn raw outputs, shape (n, n_outputs), into predictions of the same shape."""
        raise NotImplementedError

    def per_sample(self, z, y):
        """Loss of each sample, shape (n,)."""
        raise NotImplementedError

    def residual(self, zt, y, weight=None):
        """Sum of the samples' weighted losses and its gradient by the raw outputs, outputs first.

        Parameters
        ----------
        zt : tensor of shape (n_outputs, n)
            May be overwritten.
        y : tensor
            Targets as in `per_sample`.
        weight : tensor of shape (n,) or None

        Returns
        -------
        loss : tensor of shape ()
        residual : tensor of shape (n_outputs, n)
        """
        losses, residual = self.per_sample(zt.t(), y), self.activation(zt) - y.t()
        if weight is None:
            return losses.sum(), residual
        return torch.dot(losses, weight), residual.mul_(weight)

    def stacked_residual(self, zt, y):
        """Losses of the samples of several nets, without weights, and their gradient.

        Belongs to `residual`: a class that overrides one of the two overrides both, or is computed
        net by net where nets are trained together.

        Parameters
        ----------
        zt : tensor of shape (n_nets, n_outputs, n)
            May be overwritten.
        y : tensor of shape (n_nets, n, ...)

        Returns
        -------
        losses : tensor of shape (n_nets, n)
        residual : tensor of shape (n_nets, n_outputs, n)
        """
        z = zt.transpose(1, 2).flatten(0, 1)  # (n_nets * n, n_outputs)
        losses = self.per_sample(z, y.flatten(0, 1)).view(y.shape[:2])
        return losses, self.activation(zt) - y.transpose(1, 2)

    def report_factor(self, n_outputs: int) -> float:
        """Factor from the minimized loss to the one that scikit-learn reports as `loss_`."""
        return 1.0

    def forward(self, z, y, weight=None):
        """Weighted mean over samples, Σ w l / Σ w; `weight` is None for equal weights."""
        losses = self.per_sample(z, y)
        if weight is None:
            return losses.mean()
        return torch.dot(weight, losses) / weight.sum()


def clip_log_loss(losses):
    """The loss of probabilities clipped to [eps, 1 - eps], as scikit-learn reports it.

    The gradient is that of the loss as it is: where autograd needs it, nothing is clipped.
    """
    if losses.requires_grad:
        return losses
    return losses.clamp_(*_clip_bounds(losses.dtype))


@cache
def _clip_bounds(dtype):
    eps = torch.finfo(dtype).eps
    return -math.log1p(-eps), -math.log(eps)


def softmax_of_rows(z):
    """Softmax of every row of z, shape (n, n_classes)."""
    if z.shape[1] < VECTOR_LENGTH:
        return torch.softmax(z.t().contiguous(), dim=0).t()  # several rows at a time
    return torch.softmax(z, dim=1)


class CrossEntropy(Loss):
    """Softmax cross-entropy; y holds class indices, shape (n,), int64.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share of every target that is spread over all classes. Szegedy et al. (2016), "Rethinking
        the Inception architecture for computer vision", section 7.
    """

    out_activation = "softmax"

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def activation(self, z):
        return softmax_of_rows(z)

    def per_sample(self, z, y):
        smoothing = self.label_smoothing
        return clip_log_loss(F.cross_entropy(z, y, reduction="none", label_smoothing=smoothing))

    def residual(self, zt, y, weight=None):
        log_p = torch.log_softmax(zt, dim=0)
        index = y.unsqueeze(0)
        smoothing, losses = self.label_smoothing, log_p.gather(0, index).neg_()[0]
        if smoothing:
            losses = losses.mul_(1 - smoothing).sub_(log_p.mean(0), alpha=smoothing)
        losses = clip_log_loss(losses)
        # d/dz of -log softmax(z)[y] is softmax(z) minus the indicator of y
        residual = log_p.exp_()
        residual.scatter_add_(0, index, residual.new_full((), smoothing - 1.0).expand_as(index))
        if smoothing:
            residual.sub_(smoothing / len(zt))
        if weight is None:
            return losses.sum(), residual
        return torch.dot(losses, weight), residual.mul_(weight)

    def stacked_residual(self, zt, y):
        log_p = torch.log_softmax(zt, dim=1)
        index = y.unsqueeze(1)
        losses = clip_log_loss(log_p.gather(1, index).neg_()[:, 0])
        residual = log_p.exp_()
        residual.scatter_add_(1, index, residual.new_full((), -1.0).expand_as(index))
        return losses, residual


class BinaryCrossEntropy(Loss):
    """Logistic loss, summed over outputs; y holds 0 and 1, shape (n, n_outputs).

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share of every target that is spread over its two values.
    """

    out_activation = "logistic"

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def activation(self, z):
        return torch.sigmoid(z)

    def per_sample(self, z, y):
        losses = F.binary_cross_entropy_with_logits(z, self._spread(y), reduction="none")
        return clip_log_loss(losses).sum(1)

    def residual(self, zt, y, weight=None):
        losses, residual = self.per_sample(zt.t(), y), self.activation(zt) - self._spread(y).t()
        if weight is None:
            return losses.sum(), residual
        return torch.dot(losses, weight), residual.mul_(weight)

    def stacked_residual(self, zt, y):
        losses, residual = super().stacked_residual(zt, y)
        if self.label_smoothing:
            residual = residual + (y - self._spread(y)).transpose(1, 2)
        return losses, residual

    def _spread(self, y):
        return y + self.label_smoothing * (0.5 - y) if self.label_smoothing else y


class HalfSquaredError(Loss):
    """Half the squared error, summed over outputs; y has shape (n, n_outputs)."""

    out_activation = "identity"

    def activation(self, z):
        return z

    def per_sample(self, z, y):
        return (z - y).square().sum(1).mul(0.5)

    def report_factor(self, n_outputs):
        # scikit-learn minimizes the sum over outputs but reports the mean
        return 1.0 / n_outputs


class HalfPoissonDeviance(Loss):
    """Half the Poisson deviance with log link, summed over outputs; y >= 0, (n, n_outputs)."""

    out_activation = "exp"

    def activation(self, z):
        return torch.exp(z)

    def per_sample(self, z, y):
        return (torch.xlogy(y, y) - y * z - y + torch.exp(z)).sum(1)


class PixelLoss(Loss):
    """Losses of every pixel; y holds class indices, (n, height, width), -1 ignored.

    Parameters
    ----------
    loss : {"cross_entropy", "dice", "focal", "cross_entropy+dice"}
        "cross_entropy" is the mean over the labeled pixels of the batch, each weighted by its
        image's weight and its class's weight: Σ w l / Σ w. "focal" is the same of
        (1 - p)² · cross-entropy, where p is the probability of the true class (Lin et al. 2017,
        "Focal loss for dense object detection"). "dice" is 1 - 2 Σ w p t / Σ w (p + t) of each
        class that occurs in the batch, averaged by the classes' weights, where t is 1 at the
        class's pixels (Milletari et al. 2016, "V-Net").
    class_weight : tensor of shape (n_classes,), optional
    """

    out_activation = "softmax"

    def __init__(self, loss: str = "cross_entropy", class_weight=None):
        super().__init__()
        self.terms = loss.split("+")
        self.register_buffer("class_weight", class_weight)

    def activation(self, z):
        return torch.softmax(z, dim=1)

    def per_sample(self, z, y):
        # each image as a batch of its own
        return torch.stack([self(z[i : i + 1], y[i : i + 1]) for i in range(len(z))])

    def forward(self, z, y, weight=None):
        y = y.long()
        labeled = (y >= 0).to(z.dtype)
        if weight is not None:
            labeled = labeled * weight[:, None, None]
        if self.class_weight is not None:
            labeled = labeled * self.class_weight.to(z.dtype)[y.clamp(min=0)]
        total = 0.0
        for term in self.terms:
            total = total + (self._dice if term == "dice" else self._mean)(term, z, y, labeled)
        return total

    def _mean(self, term, z, y, weight):
        losses = F.cross_entropy(z, y, reduction="none", ignore_index=-1)  # (n, height, width)
        if term == "focal":
            losses = torch.expm1(-losses).square() * losses
        return (losses * weight).sum() / weight.sum().clamp(min=1e-30)

    def _dice(self, term, z, y, weight):
        p = torch.softmax(z, dim=1) * weight[:, None]
        target = torch.zeros_like(z).scatter_(1, y.clamp(min=0)[:, None], weight[:, None])
        overlap = (p * (target > 0)).sum((0, 2, 3))
        size, factor = (p + target).sum((0, 2, 3)), (target.sum((0, 2, 3)) > 0).to(z.dtype)
        if self.class_weight is not None:
            factor = factor * self.class_weight.to(z.dtype)
        dice = 1 - 2 * overlap / size.clamp(min=1e-30)
        return (dice * factor).sum() / factor.sum().clamp(min=1e-30)
