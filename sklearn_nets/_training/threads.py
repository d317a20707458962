"""How many threads a run computes with on the host."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import joblib
import torch
from torch import nn

from .._utils.array_api import stays_sparse
from .._utils.device import blas_threads, threads
from ..modules.interfaces import ManualGradient, NumpyProducts

# Multiplications of a step's forward pass below which it computes with one thread. A second one
# would gain a third on a quiet machine; beside another fit, or any busy process, threads that wait
# for each other after every operation make a fit more than thirty times as slow.
SINGLE_THREAD_MULTIPLICATIONS = 2**28
MANUAL_SINGLE_THREAD_MULTIPLICATIONS = 2**21  # of steps without autograd, which have few operations


@contextmanager
def training_threads(run, batch_size: int):
    """Let a run compute with as many threads as its batches are worth.

    Numpy multiplies for a validation set, and scipy for L-BFGS. Beside torch they have one thread:
    more of them would fight with torch's for the cores.
    """
    n = choose_threads(run, batch_size)
    with threads(n), blas_threads(None if n is None else 1):
        yield


def choose_threads(run, batch_size: int) -> int | None:
    """The maximum number of torch's threads; None where the host only waits for a device."""
    loader, module = run.loader, run.module
    if loader.device.type != "cpu":
        return None
    if isinstance(module, ManualGradient):
        work = batch_size * sum(p.numel() for p in module.parameters())
        if stays_sparse(loader.data.X, loader.device):
            # a product for each value that is stored, and one of the optimizer for each weight
            rows, weights = loader.data.X, next(module.parameters()).numel()
            density = rows.nnz / (rows.shape[0] * rows.shape[1])
            work -= (batch_size * (1 - density) - 1) * weights
        small = work < MANUAL_SINGLE_THREAD_MULTIPLICATIONS
    else:
        X, _, _ = loader.data.gather(slice(0, 1))
        work = batch_size * count_multiplications(module, X)
        small = work < SINGLE_THREAD_MULTIPLICATIONS
    # of the cores that this process may use, by its affinity and its container's quota
    return 1 if small else joblib.cpu_count()


def prediction_threads(net, n_samples: int):
    """Leave torch one thread in predictions of n samples, if numpy multiplies in them."""
    if n_samples == 1 or torch.device(net.device).type != "cpu":
        return nullcontext()  # no work for a second thread, or not on the host
    by_numpy = any(isinstance(m, NumpyProducts) for m in net.module_.modules())
    return threads(1) if by_numpy else nullcontext()


@torch.no_grad()
def count_multiplications(module: nn.Module, X: torch.Tensor) -> int:
    """Multiplications of the linear layers and convolutions in one forward pass of X."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = module.training
    try:
        module.eval().forward(X)  # not called, which would compile a module that is to be compiled
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return total
