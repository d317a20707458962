"""Full-batch training by L-BFGS-B: scipy's solver over the net's loss and gradient."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.optimize
import torch

from .._utils.sklearn_compat import check_optimize_result


class Objective:
    """The penalised loss of all samples and its gradient, as functions of one flat vector."""

    def __init__(self, net, batches):
        self.net, self.batches = net, batches
        self.params = list(net.module_.parameters())

    @torch.no_grad()
    def load(self, theta):
        """Put a flat vector of weights into the net."""
        pieces = torch.from_numpy(theta).split([p.numel() for p in self.params])
        for p, piece in zip(self.params, pieces, strict=True):
            p.copy_(piece.view_as(p))

    @torch.no_grad()
    def __call__(self, theta):
        self.load(theta)
        batches = self.batches
        loss = self.net.batch_gradient(batches.X, batches.y, batches.weight) / batches.n_samples
        return float(loss), _flat([p.grad for p in self.params])


def _flat(tensors):
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    return flat.cpu().numpy().astype(np.float64)


def train_lbfgs(net, batches, *, max_iter, max_fun, tol, verbose, bridge, validate=None):
    """Minimise the penalised loss of all samples at once.

    Parameters
    ----------
    net : TrainingNet
        Its weights are the start and, afterwards, the result.
    batches : Batches
        The training data, taken as one batch.
    max_iter, max_fun, tol, verbose
        As in scikit-learn's MLP.
    bridge : EstimatorCallbacks
        Told of every iteration.
    validate : callable(), optional
        Called after every iteration, with its weights in the net.

    Returns
    -------
    n_iter : int
    """
    objective = Objective(net, batches)
    n_iter = 0

    def iteration(intermediate_result):
        nonlocal n_iter
        n_iter += 1
        net.history.new_epoch()
        net.history.record("epoch", len(net.history))
        net.history.record("train_loss", float(intermediate_result.fun))
        if verbose:
            print(f"Iteration {n_iter}, loss = {intermediate_result.fun:.8f}")
        if validate is not None or bridge.active:
            objective.load(intermediate_result.x)
        if validate is not None:
            validate()
        if bridge.active:
            bridge.on_epoch_begin(net)
            try:
                bridge.on_epoch_end(net)
            except KeyboardInterrupt:
                raise StopIteration from None

    net.notify("on_train_begin", X=batches, y=None)
    net.module_.train()
    net.prepare_gradient()
    try:
        result = scipy.optimize.minimize(
            objective,
            _flat(objective.params),
            method="L-BFGS-B",
            jac=True,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
            callback=iteration,
        )
        objective.load(result.x)
        n_iter = check_optimize_result("lbfgs", result, max_iter)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=4)
    net.notify("on_train_end", X=batches, y=None)
    if not all(bool(torch.isfinite(p).all()) for p in objective.params):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large "
            "values and need to be preprocessed."
        )
    return n_iter
