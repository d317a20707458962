"""The gradient of many MLPs at once: every product is one batched product."""

from __future__ import annotations

import torch
from torch import nn

from .._utils.buffer import Buffer
from .losses import Loss
from .mlp import ACTIVATIONS, BACKWARD


class StackedMLPGradient:
    """Losses and gradients of several MLPs of one shape, as `MLPGradient` computes each of them.

    Parameters
    ----------
    weights, grads : sequence of tensor
        Of every layer, those of all nets: weights (n_nets, fan_out, fan_in) and bias
        (n_nets, fan_out), in the order of ``MLP.parameters()``. Gradients are written to `grads`.
    activation : str
    losses : sequence of Loss
        One of each net.
    alphas : sequence of float
        Strength of each net's L2 penalty on its weights.
    report_factors : sequence of float
        Factor of each net on the loss that is returned, not on its gradient.
    """

    def __init__(self, weights, grads, activation, losses, alphas, report_factors):
        self.layers = list(zip(weights[::2], weights[1::2], grads[::2], grads[1::2], strict=True))
        self.activate, self.backward = ACTIVATIONS[activation], BACKWARD[activation]
        self.losses = losses
        self.together = all(has_stacked_residual(loss) for loss in losses)
        self.alphas = weights[0].new_tensor(alphas) if any(alphas) else None
        factors = weights[0].new_tensor(report_factors)
        self.report_factors = factors if any(f != 1 for f in report_factors) else None
        self._counts = None
        self._hidden, self._deltas = ([Buffer() for _ in self.layers[:-1]] for _ in range(2))

    def __call__(self, X, y, weight=None, counts=None):
        """Write the gradients of a batch of every net; call without grad mode.

        Parameters
        ----------
        X : tensor of shape (n_nets, n, n_inputs)
        y : tensor of shape (n_nets, n, ...)
            Targets as the loss takes them.
        weight : tensor of shape (n_nets, n) or None
        counts : sequence of int, optional
            Samples of each net's batch, by default n: those behind them have weight 0.

        Returns
        -------
        tensor of shape (n_nets,)
            Of each net, its number of samples times its penalized loss.
        """
        (n_nets, n), layers = X.shape[:2], self.layers
        activations = [X]
        for (W, b, _, _), hidden in zip(layers[:-1], self._hidden, strict=True):
            out = hidden.view((n_nets, n, W.shape[1]), W)
            z = torch.baddbmm(b[:, None], activations[-1], W.transpose(1, 2), out=out)
            activations.append(self.activate(z))
        W, b, grad_W, grad_b = layers[-1]
        zt = torch.baddbmm(b[:, :, None], W, activations[-1].transpose(1, 2))  # outputs first
        value, delta = self._residual(zt, y, weight, counts)
        n = n if counts is None else self._as_tensor(counts, value)
        total = n if weight is None else weight.sum(1)
        if weight is None:
            delta.div_(n)
        else:
            value.mul_(n / total)
            delta.div_(total[:, None, None])
        if self.report_factors is not None:
            value.mul_(self.report_factors)
        torch.sum(delta, 2, out=grad_b)
        torch.bmm(delta, activations[-1], out=grad_W)
        delta = delta.transpose(1, 2)
        for i in range(len(layers) - 2, -1, -1):
            _, _, grad_W, grad_b = layers[i]
            out = self._deltas[i].view(activations[i + 1].shape, delta)
            delta = torch.bmm(delta, layers[i + 1][0], out=out)
            delta = self.backward(delta, activations[i + 1])
            torch.bmm(delta.transpose(1, 2), activations[i], out=grad_W)
            torch.sum(delta, 1, out=grad_b)
        return value if self.alphas is None else self._penalize(value, n, total)

    def _as_tensor(self, counts, like):
        # made once: a step that is captured as a CUDA graph copies nothing from the host
        if self._counts is None or self._counts[0] != counts:
            self._counts = counts, like.new_tensor(counts)
        return self._counts[1]

    def _residual(self, zt, y, weight, counts):
        """Sums of the weighted losses, shape (n_nets,), and their gradient by the raw outputs."""
        if self.together:
            losses, residual = self.losses[0].stacked_residual(zt, y)
            if weight is None:
                return losses.sum(1), residual
            return losses.mul_(weight).sum(1), residual.mul_(weight[:, None])
        values, residual = [], torch.zeros_like(zt)
        for i, loss in enumerate(self.losses):
            m = zt.shape[2] if counts is None else counts[i]
            value, residual[i, :, :m] = loss.residual(
                zt[i, :, :m], y[i, :m], None if weight is None else weight[i, :m]
            )
            values.append(value)
        return torch.stack(values), residual

    def _penalize(self, value, n, total):
        strength = self.alphas / total
        squares = 0.0
        for W, _, grad_W, _ in self.layers:
            grad_W.addcmul_(W, strength[:, None, None])
            squares = squares + torch.linalg.vector_norm(W, dim=(1, 2)).square_()
        return value.addcmul_(squares, strength * n, value=0.5)


def has_stacked_residual(loss: Loss) -> bool:
    """Whether a loss computes several nets as it computes one: its own parameters are all zero."""
    owners = [cls for cls in type(loss).__mro__ if "residual" in vars(cls)]
    stacked = [cls for cls in type(loss).__mro__ if "stacked_residual" in vars(cls)]
    own = any(vars(loss)[name] for name in vars(loss).keys() - vars(nn.Module()).keys())
    return stacked[:1] == owners[:1] and not own and not loss._buffers and not loss._parameters
