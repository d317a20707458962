"""Gradient descent on all samples at once, with a line search that halves the step."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .lbfgs import Objective, flatten
from .run import TrainingRun
from .stopping import end_interrupted
from .threads import training_threads

SUFFICIENT_DECREASE = 1e-4  # share of the decrease that the gradient promises (Armijo 1966)
MAX_HALVINGS = 50


def train_gd(run: TrainingRun) -> None:
    """Minimize the penalized loss of all samples by steps down its gradient.

    A step is halved until it decreases the loss, and the next one begins at twice its length, so
    that the first length matters little. Every step counts as an epoch: callbacks are notified of
    it, and skorch's history records its loss, its length ("step_size") and the norm of the
    gradient that it followed. An interrupt keeps the weights of the last complete step and warns.

    Parameters
    ----------
    run : TrainingRun
        Its data is taken as one batch. Its ``stopping.tol`` bounds the gradient's greatest entry,
        its learning rate is the first length that is tried.

    Raises
    ------
    ValueError
        If the loss or the weights are not finite.

    References
    ----------
    Armijo (1966), "Minimization of functions having Lipschitz continuous first partial
    derivatives".
    """
    net, objective = run.net, Objective(run)
    datasets = {"dataset_train": run.loader, "dataset_valid": None}
    step, theta = run.learning_rate, flatten(objective.params)
    stopped = False
    net.notify("on_train_begin", X=run.loader, y=None)
    try:
        with training_threads(run, run.loader.n_samples):
            loss, gradient = objective(theta)
            run.progress.loss = loss * run.report_factor
            while run.epoch < run.max_epochs and not stopped:
                net.notify("on_epoch_begin", **datasets)
                norm = np.linalg.norm(gradient)
                theta, loss, gradient, step = _descend(objective, theta, loss, gradient, step)
                _record(run, loss, step, norm)
                stopped = not step or np.abs(gradient).max() <= run.stopping.tol
                step *= 2
                try:
                    net.notify("on_epoch_end", **datasets)
                except KeyboardInterrupt:  # how skorch's own EarlyStopping asks to stop
                    stopped = True
    except KeyboardInterrupt:
        stopped = True
        objective.load(theta)  # the net holds a trial of the line search
        end_interrupted()
    net.history[:] = [row for row in net.history if "train_loss" in row]  # not one cut short
    net.notify("on_train_end", X=run.loader, y=None)
    net.module_.eval()
    run.check_finite(bool(np.isfinite(run.progress.loss)))
    if run.warn and not stopped:
        warnings.warn(
            f"Gradient descent: after {run.max_epochs} steps the gradient is not below "
            f"tol={run.stopping.tol:g} yet. Increase max_iter, or scale X.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _descend(objective, theta, loss, gradient, step):
    """Weights one step on, their loss and gradient, and the length of the step: 0 if none helps."""
    promise = SUFFICIENT_DECREASE * float(gradient @ gradient)
    for _ in range(MAX_HALVINGS):
        there = theta - step * gradient
        found = objective(there)
        if found[0] <= loss - step * promise:
            return there, *found, step
        step /= 2
    objective.load(theta)
    return theta, loss, gradient, 0.0


def _record(run, loss, step, norm):
    """Count a step as an epoch."""
    run.epoch += 1
    for name, value in (("train_loss", loss), ("step_size", step), ("grad_norm", float(norm))):
        run.net.history.record(name, value)
    progress = run.progress
    progress.loss = loss * run.report_factor
    progress.loss_curve.append(progress.loss)
    progress.best_loss = min(progress.best_loss, progress.loss)
    progress.samples_seen += run.loader.n_samples
    if run.verbose:
        print(f"Iteration {run.epoch}, loss = {loss:.8f}, step = {step:.3g}")
    run.evaluate()
