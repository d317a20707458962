"""The steps of a descent."""

from __future__ import annotations

import numpy as np
import torch
from skorch.callbacks import Callback

from .._utils.array_api import to_numpy


class WeightRecorder(Callback):
    """A skorch callback that keeps the weights before training and after every step.

    So that a descent can be drawn: pass it as ``callbacks=[recorder]`` to any net and solver.
    For 'gd' and 'lbfgs' a step is an epoch, for the others a mini-batch.

    Attributes
    ----------
    path_ : ndarray of shape (n_steps + 1, n_weights)
        All learned weights of the net, layer by layer; of a line y = a · x + b they are a and b.
    loss_ : list of float
        Training loss of each step's batch.

    Examples
    --------
    >>> from sklearn_nets.inspection import WeightRecorder
    >>> from sklearn_nets.neural_network import MLPRegressor
    >>> X, y = [[-1.0], [0.0], [1.0]], [-1.0, 1.0, 3.0]  # y = 2 x + 1
    >>> recorder = WeightRecorder()
    >>> line = MLPRegressor(hidden_layer_sizes=(), solver="gd", alpha=0, callbacks=[recorder])
    >>> line = line.fit(X, y)
    >>> recorder.path_.shape == (line.n_iter_ + 1, 2), recorder.path_[-1].round(2).tolist()
    (True, [2.0, 1.0])
    """

    def initialize(self):
        """Forget what was recorded; skorch calls it when it makes a net."""
        self._weights, self.loss_ = [], []
        return self

    def on_train_begin(self, net, **kwargs):
        """Record the weights before the first step."""
        self.initialize()
        self._keep(net)

    def on_batch_end(self, net, loss=None, training=True, **kwargs):
        """Record weights and loss after a step on a mini-batch."""
        if training:
            self._keep(net)
            self.loss_.append(float(loss))
            self._in_batches = True

    def on_epoch_begin(self, net, **kwargs):
        """Expect an epoch that is one step."""
        self._in_batches = False

    def on_epoch_end(self, net, **kwargs):
        """Record weights and loss of an epoch that was one step."""
        if not self._in_batches:
            self._keep(net)
            self.loss_.append(net.history[-1, "train_loss"])

    def _keep(self, net):
        learned = [p.detach().flatten() for _, p in net.get_all_learnable_params()]
        self._weights.append(to_numpy(torch.cat(learned)).copy())

    @property
    def path_(self):
        """All learned weights before training and after every step, one row each."""
        return np.stack(self._weights)
