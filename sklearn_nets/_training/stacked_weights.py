"""The weights and optimizers of several nets as a few tensors."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from functools import partial

import numpy as np
import torch


class StackedWeights:
    """Weights, gradients and optimizer states of nets of one structure, stacked.

    Each parameter of all nets is one contiguous tensor, as batched products want it; all of them
    lie behind each other in one line, as an optimizer over all nets takes them.

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
        self.lines = []  # of matrices, then of vectors, which optimizers may treat differently
        for matrices in (True, False):
            own = [i for i in range(n_parameters) if (parameters[0][i].ndim > 1) == matrices]
            if own:
                self._stack([[p[i] for i in own] for p in parameters], own, matrices)
        for run in runs:
            run.optimizer._lists = None  # what it held was moved
        self._groups = {}

    @torch.no_grad()
    def _stack(self, parameters, own, matrices):
        # `get`: torch makes an entry of every parameter that it is asked for
        first = self.runs[0].optimizer.state.get(parameters[0][0], {})
        names = [name for name in first if name != "step"]
        shapes = [(len(self.runs), *shape) for shape in largest_shapes(parameters)]
        value = _line(parameters, shapes)
        grad = torch.zeros_like(value)
        states = {}
        for name in names:
            state_of = [[r.optimizer.state[p][name] for p in ps] for r, ps in self._zip(parameters)]
            states[name] = _line(state_of, shapes)
        views = {name: _cut(state, shapes) for name, state in states.items()}
        for j, (i, W, G) in enumerate(zip(own, _cut(value, shapes), _cut(grad, shapes))):
            self.weights[i], self.grads[i] = W, G
            for k, (run, ps) in enumerate(self._zip(parameters)):
                within = k, *map(slice, ps[j].shape)
                ps[j].data, ps[j].grad = W[within], G[within]
                for name in names:
                    run.optimizer.state[ps[j]][name] = views[name][j][within]
        self.lines.append((value, grad, states, shapes, matrices))

    def _zip(self, parameters):
        return zip(self.runs, parameters, strict=True)

    def tensors(self) -> list[torch.Tensor]:
        """Everything that a step changes, but for gradients."""
        return [t for value, _, states, *_ in self.lines for t in (value, *states.values())]

    @torch.no_grad()
    def release(self, run) -> None:
        """Give a net weights and states of its own, with the values they have."""
        for p in run.module.parameters():
            p.data, p.grad = p.data.clone(), None
            state = run.optimizer.state.get(p, {})
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
            groups[_hyperparameters(run.optimizer), scalars[i].tobytes()].append(i)
        return [
            (self._optimizer(tuple(members), hyperparameters), members[0])
            for (hyperparameters, _), members in groups.items()
        ]

    def _optimizer(self, members, hyperparameters):
        """One optimizer over the weights of some nets."""
        key = members, hyperparameters  # which a callback may change
        if key not in self._groups:
            own = self.runs[members[0]].optimizer
            (group,) = own.param_groups
            whole = len(members) == len(self.runs)
            parameters, states_of = [], {}
            for value, grad, states, shapes, matrices in self.lines:
                cut = partial(
                    _parts, shapes=shapes, members=None if whole else members, matrices=matrices
                )
                moments = {name: cut(state) for name, state in states.items()}
                for j, (p, p_grad) in enumerate(zip(cut(value), cut(grad), strict=True)):
                    p.grad = p_grad
                    parameters.append(p)
                    states_of[p] = {name: parts[j] for name, parts in moments.items()}
            names = inspect.signature(type(own)).parameters.keys() & group.keys() - {"params"}
            options = {name: group[name] for name in names}
            optimizer = type(own)(parameters, **options)
            for p, states in states_of.items():
                optimizer.state[p].update(states)
            optimizer._lists = None
            self._groups[key] = optimizer
        return self._groups[key]


def largest_shapes(parameters) -> list[tuple[int, ...]]:
    """The shapes that hold every net's parameters, a list of tensors for each net."""
    return [tuple(map(max, zip(*(p.shape for p in of_all)))) for of_all in zip(*parameters)]


def _line(tensors_of_nets, shapes):
    """All values of the nets' tensors, stacked and filled up with zeros to these shapes."""
    line = tensors_of_nets[0][0].detach().new_zeros(sum(map(math.prod, shapes)))
    for stacked, tensors in zip(_cut(line, shapes), zip(*tensors_of_nets)):
        for place, tensor in zip(stacked, tensors):
            place[tuple(map(slice, tensor.shape))] = tensor.detach()
    return line


def _cut(line, shapes):
    """The stacked tensors that lie behind each other in a line."""
    parts = line.split([math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes)]


def _parts(line, shapes, members, matrices):
    """What an optimizer takes of a line: the whole, or each parameter of some nets."""
    parts = [line] if members is None else [W[i] for W in _cut(line, shapes) for i in members]
    return [part.view(1, -1) if matrices else part.view(-1) for part in parts]


def _hyperparameters(optimizer):
    """What else a step depends on."""
    (group,) = optimizer.param_groups
    return tuple((name, value) for name, value in group.items() if name not in ("params", "lr"))
