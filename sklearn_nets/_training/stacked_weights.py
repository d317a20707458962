"""The weights and optimizers of several nets as the rows of a few tensors."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict

import numpy as np
import torch


class StackedWeights:
    """Weights, gradients and optimizer states of nets of one structure, a row for each net.

    Nets of fewer hidden units are filled up with units whose weights are zero: with an activation
    that keeps 0 their gradients are zero too, so that they stay as they are.

    While it is in use the nets' own parameters and states are views of it, so that whoever looks at
    a net (callbacks, a validation set) sees it as it is; `release` gives a net its own again.

    Parameters
    ----------
    runs : list of TrainingRun

    Attributes
    ----------
    weights, grads : list of tensor of shape (n_nets, ...)
        Those of all nets, parameter by parameter, of the shape of the largest.
    """

    def __init__(self, runs):
        self.runs = runs
        parameters = [list(run.module.parameters()) for run in runs]
        n_parameters = len(parameters[0])
        self.weights, self.grads = [None] * n_parameters, [None] * n_parameters
        self.rows = []  # of matrices, then of vectors, which optimizers may treat differently
        for matrices in (True, False):
            own = [i for i in range(n_parameters) if (parameters[0][i].ndim > 1) == matrices]
            if own:
                self._stack([[p[i] for i in own] for p in parameters], own, matrices)
        for run in runs:
            run.optimizer._lists = None  # what it held was moved
        self._groups = {}

    @torch.no_grad()
    def _stack(self, parameters, own, matrices):
        names = [
            n for n, s in self.runs[0].optimizer.state[parameters[0][0]].items() if n != "step"
        ]
        shapes = largest_shapes(parameters)
        value = _stack_rows(parameters, shapes)
        grad = torch.zeros_like(value)
        states = {}
        for name in names:
            state_of = [[r.optimizer.state[p][name] for p in ps] for r, ps in self._zip(parameters)]
            states[name] = _stack_rows(state_of, shapes)
        start = 0
        for j, i in enumerate(own):
            shape = shapes[j]
            columns = slice(start, start + math.prod(shape))
            start = columns.stop
            self.weights[i] = value[:, columns].unflatten(1, shape)
            self.grads[i] = grad[:, columns].unflatten(1, shape)
            stacked = {
                name: state[:, columns].unflatten(1, shape) for name, state in states.items()
            }
            for k, (run, ps) in enumerate(self._zip(parameters)):
                within = k, *map(slice, ps[j].shape)
                ps[j].data, ps[j].grad = self.weights[i][within], self.grads[i][within]
                for name in names:
                    run.optimizer.state[ps[j]][name] = stacked[name][within]
        self.rows.append((value, grad, states, matrices))

    def _zip(self, parameters):
        return zip(self.runs, parameters, strict=True)

    def tensors(self) -> list[torch.Tensor]:
        """Everything that a step changes, but for gradients."""
        return [t for value, _, states, _ in self.rows for t in (value, *states.values())]

    @torch.no_grad()
    def release(self, run) -> None:
        """Give a net weights and states of its own, with the values they have."""
        for p in run.module.parameters():
            p.data, p.grad = p.data.clone(), None
            state = run.optimizer.state[p]
            for name in state.keys() - {"step"}:
                state[name] = state[name].clone()
        run.optimizer._lists = None

    def steppers(self, scalars: np.ndarray) -> list:
        """What takes the steps of an epoch: pairs of an optimizer and a net whose scalars it takes.

        Nets whose steps are the same share an optimizer, which is the same in every epoch.

        Parameters
        ----------
        scalars : ndarray of shape (n_nets, n_steps, n_scalars)
        """
        groups = defaultdict(list)
        for i, run in enumerate(self.runs):
            groups[(*_hyperparameters(run.optimizer), scalars[i].tobytes())].append(i)
        return [(self._optimizer(tuple(members)), members[0]) for members in groups.values()]

    def _optimizer(self, members):
        """One optimizer over the rows of some nets."""
        if members not in self._groups:
            own = self.runs[members[0]].optimizer
            (group,) = own.param_groups
            whole = len(members) == len(self.runs)
            parameters, states_of = [], {}
            for value, grad, states, matrices in self.rows:
                for rows in [slice(None)] if whole else [slice(i, i + 1) for i in members]:
                    p = value[rows] if matrices else value[rows].view(-1)
                    p.grad = grad[rows].view(p.shape)
                    parameters.append(p)
                    states_of[p] = {n: state[rows].view(p.shape) for n, state in states.items()}
            names = inspect.signature(type(own)).parameters.keys() & group.keys() - {"params"}
            options = {name: group[name] for name in names}
            optimizer = type(own)(parameters, **options)
            for p, states in states_of.items():
                optimizer.state[p].update(states)
            optimizer._lists = None
            self._groups[members] = optimizer
        return self._groups[members]


def largest_shapes(parameters) -> list[tuple[int, ...]]:
    """The shapes that hold every net's parameters, a list of tensors for each net."""
    return [tuple(map(max, zip(*(p.shape for p in of_all)))) for of_all in zip(*parameters)]


def _stack_rows(tensors_of_nets, shapes):
    """One row for each net: all values of its tensors, which zeros fill up to these shapes."""
    first = tensors_of_nets[0][0].detach()
    rows = first.new_zeros(len(tensors_of_nets), sum(map(math.prod, shapes)))
    for row, tensors in zip(rows, tensors_of_nets):
        pieces = row.split([math.prod(shape) for shape in shapes])
        for piece, tensor, shape in zip(pieces, tensors, shapes):
            piece.view(shape)[tuple(map(slice, tensor.shape))] = tensor.detach()
    return rows


def _hyperparameters(optimizer):
    """What else a step depends on."""
    (group,) = optimizer.param_groups
    return tuple((name, value) for name, value in group.items() if name not in ("params", "lr"))
