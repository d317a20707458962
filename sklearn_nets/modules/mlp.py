"""The multi-layer perceptron: a torch module that also writes its own gradient."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from .._utils.device import threads
from .interfaces import ManualGradient, NumpyProducts

# In place, on fresh pre-activations only.
ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid_,
    "tanh": torch.tanh_,
    "relu": torch.relu_,
}

# For a graph: hooks of torch's, with which explainers look into a net, bear nothing in place.
OUT_OF_PLACE = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}

# Multiply the gradient by the activation's derivative, a function of the activation's own output.
BACKWARD = {
    "identity": lambda delta, a: delta,
    "logistic": lambda delta, a: torch.ops.aten.sigmoid_backward.grad_input(
        delta, a, grad_input=delta
    ),
    "tanh": lambda delta, a: torch.ops.aten.tanh_backward.grad_input(delta, a, grad_input=delta),
    "relu": lambda delta, a: torch.ops.aten.threshold_backward.grad_input(
        delta, a, 0, grad_input=delta
    ),
}


class Linear(nn.Linear):
    """`nn.Linear` that leaves its first weights to `MLP.initialize`."""

    def reset_parameters(self):
        pass


class MLP(nn.Module, ManualGradient, NumpyProducts):
    """Fully connected layers with one activation between them.

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of inputs, of units in each hidden layer, and of outputs.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        Activation of the hidden layers. The outputs stay raw.
    dtype : torch.dtype, optional
        Type of the weights.

    Attributes
    ----------
    layers : nn.ModuleList of nn.Linear

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.mlp import MLP
    >>> MLP([4, 100, 3])(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, layer_sizes: Sequence[int], activation: str = "relu", dtype=None):
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(
            Linear(fan_in, fan_out, dtype=dtype) for fan_in, fan_out in pairwise(layer_sizes)
        )

    @torch.no_grad()
    def initialize(self, random_state: np.random.RandomState) -> MLP:
        """Draw the weights after Glorot & Bengio (2010), in scikit-learn's order of draws."""
        for layer in self.layers:
            fan_out, fan_in = layer.weight.shape
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (fan_in + fan_out))
            weight = random_state.uniform(-bound, bound, (fan_in, fan_out))
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(random_state.uniform(-bound, bound, fan_out)))
        return self

    def forward(self, X):
        """Raw outputs, shape (n, n_outputs), of X, shape (n, n_inputs).

        Without a graph, on the host, X may be a sparse matrix of scipy's.
        """
        activate = ACTIVATIONS[self.activation]
        *hidden, last = self.layers
        if multiplies_by_numpy(X):
            # torch's threads, if it has more than one, would compete with numpy's for the cores
            several = X.shape[0] > 1 and torch.get_num_threads() > 1
            with threads(1) if several else nullcontext():
                X = X.detach().numpy() if torch.is_tensor(X) else X
                for layer in hidden:
                    X = _linear_by_numpy(layer, X)
                    activate(torch.from_numpy(X))  # in place
                return torch.from_numpy(_linear_by_numpy(last, X))
        if torch.is_grad_enabled():
            activate = OUT_OF_PLACE[self.activation]
        for layer in hidden:
            X = activate(layer(X))
        # outputs first: few outputs make a product of few columns slow, and a softmax too
        return torch.addmm(last.bias[:, None], last.weight, X.t()).t()

    def make_gradient(self, loss, alpha=0.0, report_factor=1.0) -> MLPGradient:
        return MLPGradient(self, loss, alpha, report_factor)


def multiplies_by_numpy(X) -> bool:
    """Whether products are numpy's, whose BLAS is a fifth faster: on the host, without a graph."""
    return not torch.is_tensor(X) or (X.device.type == "cpu" and not torch.is_grad_enabled())


def _linear_by_numpy(layer, X):
    product = X @ layer.weight.detach().numpy().T
    product += layer.bias.detach().numpy()
    return product


def _linear(X, Wt, b):
    """X Wt + b, shape (n, fan_out), of a tensor or of sparse rows X."""
    if torch.is_tensor(X):
        return torch.addmm(b, X, Wt)
    return torch.from_numpy(X @ Wt.numpy()).add_(b)


def _multiply(delta, X, out):
    """The product of delta, shape (fan_out, n), and a tensor or sparse rows X, (n, fan_in)."""
    if torch.is_tensor(X):
        torch.mm(delta, X, out=out)
    else:
        out.t().copy_(torch.from_numpy(X.T @ delta.t().numpy()))


class MLPGradient:
    """Loss and gradient of an MLP without a graph, which costs more than small batches do.

    The same figures as automatic differentiation of the weighted mean loss plus the L2 penalty
    alpha / 2 · ||W||² / Σw. Views and buffers are made once, for one training run.

    Parameters
    ----------
    module : MLP
    loss : Loss
    alpha : float
        Strength of the penalty.
    report_factor : float
        Factor on the loss that is returned, not on its gradient.
    """

    def __init__(self, module, loss, alpha, report_factor):
        self.loss, self.alpha, self.report_factor = loss, alpha, report_factor
        self.activate = ACTIVATIONS[module.activation]
        self.backward = BACKWARD[module.activation]
        self.layers = []
        for layer in module.layers:
            W, b = layer.weight, layer.bias
            W.grad, b.grad = torch.empty_like(W), torch.empty_like(b)
            W, b = W.detach(), b.detach()
            self.layers.append((W, W.t(), W.view(-1), b, layer.weight.grad, layer.bias.grad))

    def __call__(self, X, y, weight=None):
        """Leave the gradient of a batch in every parameter's `grad`; call without grad mode.

        Parameters
        ----------
        X : tensor or scipy sparse matrix of shape (n, n_inputs)
        y : tensor
            Targets as the loss takes them.
        weight : tensor of shape (n,) or None

        Returns
        -------
        tensor of shape ()
            n times the penalized loss.
        """
        n, layers = X.shape[0], self.layers
        activations = [X]
        for _, Wt, _, b, _, _ in layers[:-1]:
            activations.append(self.activate(_linear(activations[-1], Wt, b)))  # (n, fan_out)
        W, Wt, _, b, grad_W, grad_b = layers[-1]
        if torch.is_tensor(activations[-1]):
            zt = torch.addmm(b[:, None], W, activations[-1].t())  # (n_outputs, n)
        else:
            zt = _linear(activations[-1], Wt, b).t().contiguous()
        value, delta = self.loss.residual(zt, y, weight)
        if weight is None:
            penalty = self.alpha
            delta.div_(n)
        else:
            total = weight.sum()
            penalty = self.alpha * n / total
            value.mul_(n / total)
            delta.div_(total)
        if self.report_factor != 1:
            value.mul_(self.report_factor)
        torch.sum(delta, 1, out=grad_b)
        _multiply(delta, activations[-1], out=grad_W)
        delta = delta.t()
        for i in range(len(layers) - 2, -1, -1):
            delta = self.backward(torch.mm(delta, layers[i + 1][0]), activations[i + 1])
            _multiply(delta.t(), activations[i], out=layers[i][4])
            torch.sum(delta, 0, out=layers[i][5])
        return self._penalize(value, penalty, n) if self.alpha else value

    def _penalize(self, value, penalty, n):
        tensor = isinstance(penalty, torch.Tensor)  # on a device, never read from it
        for W, _, flat, _, grad_W, _ in self.layers:
            square = torch.dot(flat, flat)
            if tensor:
                grad_W.addcmul_(W, penalty / n)
                value.addcmul_(square, penalty, value=0.5)
            else:
                grad_W.add_(W, alpha=penalty / n)
                value.add_(square, alpha=0.5 * penalty)
        return value
