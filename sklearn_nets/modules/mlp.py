"""The multi-layer perceptron: a torch module that also writes its own gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

# In place, on fresh pre-activations only.
ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid_,
    "tanh": torch.tanh_,
    "relu": torch.relu_,
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


class MLP(nn.Module):
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
    >>> MLP([4, 100, 3])(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, layer_sizes: Sequence[int], activation: str = "relu", dtype=None):
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype)
            for fan_in, fan_out in pairwise(layer_sizes)
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
        """Raw outputs, shape (n, n_outputs), of X, shape (n, n_inputs)."""
        activate = ACTIVATIONS[self.activation]
        *hidden, last = self.layers
        for layer in hidden:
            X = activate(layer(X))
        return last(X)

    @torch.no_grad()
    def gradient(self, X, y, weight, loss):
        """Weighted mean loss of a batch; its gradient is written to every parameter's `grad`.

        The same figures as ``loss(self(X), y, weight).backward()``, without building a graph:
        on small batches the graph costs more than the arithmetic.

        Parameters
        ----------
        X : tensor of shape (n, n_inputs)
        y : tensor
            Targets as `loss` takes them.
        weight : tensor of shape (n,) or None
        loss : Loss

        Returns
        -------
        tensor of shape ()
        """
        layers = [layer._parameters for layer in self.layers]
        activate, backward = ACTIVATIONS[self.activation], BACKWARD[self.activation]
        activations = [X]
        for layer in layers[:-1]:
            z = torch.addmm(layer["bias"], activations[-1], layer["weight"].t())  # (n, fan_out)
            activations.append(activate(z))
        z = torch.addmm(layers[-1]["bias"], activations[-1], layers[-1]["weight"].t())
        losses, delta = loss.residual(z, y)
        if weight is None:
            value = losses.mean()
            delta.div_(len(delta))
        else:
            total = weight.sum()
            value = torch.dot(weight, losses) / total
            delta.mul_((weight / total)[:, None])
        for i in range(len(layers) - 1, -1, -1):
            W, b = layers[i]["weight"], layers[i]["bias"]
            if W.grad is None:
                W.grad, b.grad = torch.empty_like(W), torch.empty_like(b)
            torch.mm(delta.t(), activations[i], out=W.grad)
            torch.sum(delta, 0, out=b.grad)
            if i:
                delta = backward(torch.mm(delta, W), activations[i])
        return value
