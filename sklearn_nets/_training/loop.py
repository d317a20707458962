"""The epoch loop: skorch's callbacks around a step that costs no more than a hand-written one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import nullcontext

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from .._utils.random import draws_from_default
from ..modules.augment import Augmentation
from .abandoned import raise_if_abandoned
from .cuda_graph import MIN_STEPS_TO_CAPTURE, CUDAGraphEpoch, can_capture
from .run import TrainingRun
from .stopping import end_interrupted
from .threads import training_threads


def train(run: TrainingRun, run_all_epochs: Callable[[TrainingRun], bool] | None = None) -> None:
    """Train a run's net, epoch after epoch, until it has converged or its epochs are over.

    Batch-level callbacks are notified only while a callback listens to batches. The loss is read
    from the device once an epoch. An interrupt keeps the weights so far and warns.

    Parameters
    ----------
    run : TrainingRun
    run_all_epochs : callable(run) -> bool or None, optional
        Runs the epochs and returns whether training stopped before all of them were run; None,
        if it leaves them to `run_alone`.

    Raises
    ------
    ValueError
        If the loss or the weights are not finite: the message names the epoch.
    """
    net, progress = run.net, run.progress
    if progress.best_score == -np.inf and progress.best_weights is None:
        progress.best_weights = run.weights()  # where no epoch has a score
    stopped = False
    net.notify("on_train_begin", X=run.loader, y=None)
    try:
        stopped = None if run_all_epochs is None else run_all_epochs(run)
        if stopped is None:
            stopped = run_alone(run)
    except KeyboardInterrupt:
        end_interrupted()
    net.notify("on_train_end", X=run.loader, y=None)
    _finish(run, stopped)


def run_alone(run: TrainingRun) -> bool:
    """Run the epochs of one run; return whether it stopped before all of them were run."""
    try:
        run.gradient = run.make_gradient(run.report_factor)
        run.module.train()  # a step that is captured keeps the mode it was captured in
        with default_generators(run), training_threads(run, run.loader.batch_size):
            run_epoch, losses = None, epochs(run)
            next(losses)
            while True:
                if run.resize() or run_epoch is None:
                    run_epoch = None  # what it has captured is let go first
                    run_epoch = _epoch_runner(run)
                losses.send(float(run_epoch(run)))
    except StopIteration as end:
        return end.value
    finally:
        run.gradient = None  # its buffers


def default_generators(run):
    """Torch's default generators go on with the run's own numbers, where it draws from them."""
    if run.random is None:
        return nullcontext()
    own = run.augment is None or (
        isinstance(run.augment, Augmentation) and run.random.generator is not None
    )
    if own and not draws_from_default(run.module):
        return nullcontext()
    return run.random.as_default()


def _epoch_runner(run):
    """What trains one epoch: with callbacks for every batch, as a CUDA graph, or step by step."""
    if any(listens_to_batches(callback) for _, callback in run.net.callbacks_):
        return _run_epoch_with_callbacks
    if run.max_epochs * len(run.loader) >= MIN_STEPS_TO_CAPTURE and can_capture(run):
        try:
            return CUDAGraphEpoch(run)
        except RuntimeError as error:
            warnings.warn(
                f"The training step could not be captured as a CUDA graph ({error}). It runs "
                "operation by operation, which is slower for small nets.",
                stacklevel=6,
            )
    return _run_epoch


def epochs(run: TrainingRun) -> Generator[None, float, bool]:
    """What surrounds the steps of every epoch: callbacks, history, and the rule of stopping.

    Yields where the steps of an epoch are to be taken, and is sent their loss, n_samples times its
    mean. Returns whether training stopped before all epochs were run.
    """
    net, datasets = run.net, {"dataset_train": run.loader, "dataset_valid": None}
    while run.epoch < run.max_epochs:
        raise_if_abandoned()
        net.notify("on_epoch_begin", **datasets)
        if not net.module_.training:
            net.module_.train()
        loss = (yield) / run.loader.n_samples
        net.history.record("train_loss", loss)
        stop = _end_epoch(run, loss)
        try:
            net.notify("on_epoch_end", **datasets)
        except KeyboardInterrupt:  # how skorch's own EarlyStopping asks to stop
            return stop
        if stop:
            return True
    return False


@torch.no_grad()  # once an epoch: entered at every step it would cost a tenth of a small one
def _run_epoch(run):
    total, gradient, step = 0.0, run.gradient, run.optimizer.fused_step
    scalars = run.next_scalars(len(run.loader)).tolist()
    for batch, scalar in zip(run.loader, scalars, strict=True):
        raise_if_abandoned()
        total += gradient(*batch)
        step(scalar)
    return total


def _run_epoch_with_callbacks(run):
    net, total = run.net, 0.0
    for X, y, weight in run.loader:
        raise_if_abandoned()
        batch_kwargs = {"batch": (X, y), "training": True}
        net.notify("on_batch_begin", **batch_kwargs)
        with torch.no_grad():
            loss = run.gradient(X, y, weight)
        net.notify(
            "on_grad_computed",
            named_parameters=list(net.get_all_learnable_params()),
            **batch_kwargs,
        )
        (scalars,) = run.next_scalars(1).tolist()
        run.optimizer.fused_step(scalars)
        total += loss
        n = len(y)
        net.history.record_batch("train_loss", float(loss) / n)
        net.history.record_batch("train_batch_size", n)
        net.notify("on_batch_end", **batch_kwargs, loss=loss / n)
    return total


def _end_epoch(run, loss) -> bool:
    """Take in the epoch that just ended; return whether to stop."""
    progress, rule = run.progress, run.stopping
    run.epoch += 1
    progress.samples_seen += run.loader.n_samples
    progress.loss = loss
    progress.loss_curve.append(loss)
    if run.verbose:
        print(f"Iteration {run.epoch}, loss = {loss:.8f}")
    if not np.isfinite(loss) and not (rule.early_stopping and progress.best_score > -np.inf):
        run.check_finite(not np.isnan(loss))  # there are no weights to go back to
    score = run.evaluate()
    if run.verbose and score is not None:
        print(f"Validation score: {score:f}")
    if progress.update(loss, score, rule.tol):
        progress.best_weights = run.weights()
    return rule.end_epoch(progress, run.optimizer.param_groups[0]["lr"], run.verbose)


def _finish(run, stopped):
    """Restore the best weights and warn of what did not converge."""
    run.module.eval()
    if run.progress.best_weights is not None:
        run.module.load_state_dict(run.progress.best_weights)
        run.progress.best_weights = None
    run.check_finite()
    if run.warn and not stopped and run.epoch == run.max_epochs:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({run.max_epochs}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=5,
        )


def listens_to_batches(callback) -> bool:
    return any(
        getattr(type(callback), name, None) is not getattr(Callback, name)
        for name in ("on_batch_begin", "on_batch_end", "on_grad_computed")
    )
