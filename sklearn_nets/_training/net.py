"""The skorch net of an estimator: module, loss, optimizer, history and callbacks in one object."""

from __future__ import annotations

import io
import sys

import skorch
import torch
from skorch.callbacks import EpochTimer
from skorch.utils import get_map_location
from torch.serialization import default_restore_location

from .._utils.array_api import dtype_of, stays_sparse, to_tensor
from ..modules.interfaces import NumpyProducts
from .gradient import autocast

HOLDS_TENSORS = ("module_", "criterion_", "optimizer_")
# more samples in one forward pass hide the launches of an accelerator's kernels, and the copy of
# the weights that scipy makes for every product with sparse rows
LARGE_BATCH_FACTOR = 8


class SortedNames(set):
    """A set whose pickle does not depend on the hashes of its members or on their order."""

    def __reduce__(self):
        return SortedNames, (sorted(self),)


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
    input_dtype : str or None
        Name of the type in which X comes to the module; None for its own.
    autocast_dtype : str or None
        Name of the type of autocast on the device.
    **kwargs
        skorch's.
    """

    def __init__(self, module, *, input_dtype=None, autocast_dtype=None, **kwargs):
        for m in module.modules():  # a copy holds equal names once, and is to have the same hash
            for named in (m._modules, m._parameters, m._buffers):
                items = list(named.items())
                named.clear()
                named.update((sys.intern(name), value) for name, value in items)
            m._non_persistent_buffers_set = SortedNames(m._non_persistent_buffers_set)
        super().__init__(module, **kwargs)
        self.input_dtype = input_dtype
        self.autocast_dtype = autocast_dtype

    def get_default_callbacks(self):
        return [("epoch_timer", EpochTimer())]

    def on_epoch_end(self, net, **kwargs):
        """Before callbacks: Checkpoint asks for a last batch, and few epochs record theirs."""
        if not self.history[-1, "batches"]:
            self.history.new_batch()

    def get_all_learnable_params(self):
        """Names and parameters that are trained; frozen ones are not."""
        return ((n, p) for n, p in super().get_all_learnable_params() if p.requires_grad)

    def infer(self, x, through=None, **fit_params):
        """Raw outputs of a batch, from whatever device it comes; or what `through` makes of it."""
        device = next(self.module_.parameters()).device
        if self._multiplies_sparse(x, device):
            x = x.astype(self.input_dtype, copy=False)
        else:
            x = to_tensor(x, device, dtype_of(self.input_dtype))
        with autocast(device, self.autocast_dtype):
            z = (through or self.module_)(x, **fit_params)
        return z.float() if self.autocast_dtype else z

    def forward_batches(self, X, batch_size, through=None):
        """Yield raw outputs of consecutive batches, in memory that does not grow with X.

        `through` takes the module's place.
        """
        if self.module_.training:
            self.module_.eval()
        device, n = torch.device(self.device), X.shape[0]
        if device.type != "cpu" or self._multiplies_sparse(X, device):
            batch_size *= LARGE_BATCH_FACTOR
        for start in range(0, n, batch_size):
            batch = X if n <= batch_size else X[start : start + batch_size]
            with torch.no_grad():
                z = self.infer(batch, through)
            yield z

    def _multiplies_sparse(self, X, device) -> bool:
        return isinstance(self.module_, NumpyProducts) and stays_sparse(X, device)

    def __getstate__(self):
        # torch.save, whose bytes do not depend on addresses as pickle's do, so that equal nets have
        # equal hashes; what is held twice is saved once
        state = {**vars(self), "module": None, "criterion": None, "predict_nonlinearity": None}
        tensors = {name: state.pop(name) for name in HOLDS_TENSORS if name in state}
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        return {**state, "tensors": buffer.getvalue()}

    def __setstate__(self, state):
        device = get_map_location(state["device"])  # the CPU where the device is missing
        buffer = io.BytesIO(state.pop("tensors"))
        vars(self).update(state, device=self._check_device(state["device"], device))

        def place(storage, location):  # what an optimizer counts stays on the host
            return storage if location == "cpu" else default_restore_location(storage, str(device))

        vars(self).update(torch.load(buffer, map_location=place, weights_only=False))
        if "module_" in vars(self):
            vars(self).update(
                module=self.module_,
                criterion=self.criterion_,
                predict_nonlinearity=self.criterion_.activation,
            )
