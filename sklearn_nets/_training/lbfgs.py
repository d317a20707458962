"""Full-batch training by L-BFGS-B: scipy's solver over the net's loss and gradient."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import torch

from .._utils.array_api import stays_sparse
from .._utils.device import free_memory
from .._utils.sklearn_compat import check_optimize_result
from .abandoned import raise_if_abandoned
from .loader import SparseData, StreamedData
from .run import TrainingRun
from .stopping import end_interrupted
from .threads import training_threads

DENSE_VALUES = 2**22  # of sparse rows that are dense at a time


class Objective:
    """The penalized loss of all samples and its gradient, as functions of one flat vector.

    Data is one batch; sparse rows that are to become dense do so a few at a time.
    """

    def __init__(self, run: TrainingRun, report_factor: float = 1.0):
        data = run.loader.data
        if isinstance(data, StreamedData):
            raise ValueError(
                f"solver='lbfgs' takes all of X at once, but X ({data.X.nbytes / 2**30:.1f} GiB) "
                f"does not fit on {data.device} ({free_memory(data.device) / 2**30:.1f} GiB free, "
                "half of it for data). Use solver='adam' or 'sgd', whose batches stream, or "
                "device='cpu'."
            )
        n, n_features = data.X.shape
        size = n
        if isinstance(data, SparseData) and not stays_sparse(data.X, data.device):
            size = max(1, DENSE_VALUES // n_features)
        self.data = data
        self.pieces = [slice(start, start + size) for start in range(0, n, size)]
        # a piece's share of Σw turns its penalty alpha / Σw_piece into that of the whole
        self.gradient = run.make_gradient(report_factor, run.alpha / len(self.pieces))
        self.total = n if data.weight is None else data.weight.sum()
        self.params = list(run.module.parameters())

    @torch.no_grad()
    def load(self, theta):
        """Put a flat vector of weights into the net."""
        pieces = torch.from_numpy(theta).split([p.numel() for p in self.params])
        for p, piece in zip(self.params, pieces, strict=True):
            p.copy_(piece.view_as(p))

    @torch.no_grad()
    def evaluate(self):
        """Loss and flat gradient at the net's weights."""
        loss, gradient = 0.0, 0.0
        for X, y, weight in map(self.data.gather, self.pieces):
            n = len(y)
            share = (n if weight is None else weight.sum()) / self.total
            loss += self.gradient(X, y, weight) * (share / n)
            gradient += flatten([p.grad for p in self.params]) * float(share)
        return float(loss), gradient

    def __call__(self, theta):
        raise_if_abandoned()
        self.load(theta)
        return self.evaluate()


def flatten(tensors) -> np.ndarray:
    """One float64 vector of all tensors' values."""
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    return flat.cpu().numpy().astype(np.float64)


def train_lbfgs(run: TrainingRun, *, max_fun: int) -> None:
    """Minimize the penalized loss of all samples at once.

    Callbacks are notified of every iteration as of an epoch. An interrupt keeps the weights of the
    last complete iteration and warns.

    Parameters
    ----------
    run : TrainingRun
        Its data is taken as one batch, its ``stopping.tol`` bounds the gradient.
    max_fun : int
        Maximum number of evaluations of the loss.

    Raises
    ------
    ValueError
        If the loss or the weights are not finite.
    """
    net = run.net
    objective = Objective(run)
    datasets = {"dataset_train": run.loader, "dataset_valid": None}
    accepted, begun = flatten(objective.params), False

    def evaluate(theta):
        nonlocal begun
        if not begun:  # an iteration begins with its first evaluation
            net.notify("on_epoch_begin", **datasets)
            net.module_.train()
            begun = True
        return objective(theta)

    def end_iteration(intermediate_result):
        nonlocal accepted, begun
        accepted, begun = intermediate_result.x.copy(), False
        run.epoch += 1
        net.history.record("train_loss", float(intermediate_result.fun))
        if run.verbose:
            print(f"Iteration {run.epoch}, loss = {intermediate_result.fun:.8f}")
        objective.load(accepted)
        run.evaluate()
        try:
            net.notify("on_epoch_end", **datasets)
        except KeyboardInterrupt:  # how skorch's own EarlyStopping asks to stop
            raise StopIteration from None

    net.notify("on_train_begin", X=run.loader, y=None)
    try:
        with training_threads(run, run.loader.n_samples):
            result = scipy.optimize.minimize(
                evaluate,
                accepted,
                method="L-BFGS-B",
                jac=True,
                options={"maxfun": max_fun, "maxiter": run.max_epochs, "gtol": run.stopping.tol},
                callback=end_iteration,
            )
        objective.load(result.x)
        run.epoch = check_optimize_result("lbfgs", result, run.max_epochs)
    except KeyboardInterrupt:
        objective.load(accepted)  # the net holds a trial of the line search
        end_interrupted()
    net.history[:] = [row for row in net.history if "train_loss" in row]  # not one cut short
    net.notify("on_train_end", X=run.loader, y=None)
    net.module_.eval()
    run.progress.loss, _ = Objective(run, run.report_factor).evaluate()
    run.check_finite(bool(np.isfinite(run.progress.loss)))
