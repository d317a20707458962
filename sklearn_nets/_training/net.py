"""The skorch net of an estimator: module, loss, optimizer, history and callbacks in one object."""

from __future__ import annotations

import skorch
import torch
from skorch.callbacks import EpochTimer

from .._utils.array_api import to_tensor
from .gradient import autocast

ACCELERATOR_BATCH_FACTOR = 8  # more samples in one forward pass hide the launches of its kernels


class Net(skorch.NeuralNet):
    """What an estimator keeps as `net_`.

    A `skorch.NeuralNet` like any other: `history`, `callbacks`, `save_params`; `predict` and
    `predict_proba` give the module's outputs after the loss's activation, and `fit` and
    `partial_fit` train it by skorch's own loop, without penalty, on X as the module takes it,
    (n, n_features) or (n, channels, height, width), and y as its loss takes it. The estimator does
    not train by `fit` but by `train` in `loop.py`, which is several times as fast.

    Parameters
    ----------
    module : nn.Module
    input_dtype : torch.dtype or None
        Type in which X comes to the module; None for its own.
    autocast_dtype : torch.dtype or None
        Type of autocast on the device.
    **kwargs
        skorch's.
    """

    def __init__(self, module, *, input_dtype=None, autocast_dtype=None, **kwargs):
        super().__init__(module, **kwargs)
        self.input_dtype = input_dtype
        self.autocast_dtype = autocast_dtype

    def get_default_callbacks(self):
        return [("epoch_timer", EpochTimer())]

    def infer(self, x, **fit_params):
        """Raw outputs of a batch, from whatever device it comes."""
        device = next(self.module_.parameters()).device
        x = to_tensor(x, device, self.input_dtype)
        with autocast(device, self.autocast_dtype):
            z = self.module_(x, **fit_params)
        return z.float() if self.autocast_dtype else z

    def forward_batches(self, X, batch_size):
        """Yield raw outputs of consecutive batches, in memory that does not grow with X."""
        if self.module_.training:
            self.module_.eval()
        if next(self.module_.parameters()).device.type != "cpu":
            batch_size *= ACCELERATOR_BATCH_FACTOR
        for batch in X.split(batch_size):
            with torch.no_grad():
                z = self.infer(batch)
            yield z

    def __getstate__(self):
        return {**super().__getstate__(), "module": None}  # `module_` is the same object

    def __setstate__(self, state):
        super().__setstate__(state)
        self.module = self.module_
