"""When to stop: scikit-learn's rule of convergence, and its callbacks, at the end of an epoch."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback


@dataclass
class Progress:
    """What the rule remembers between epochs, warm starts and calls of `partial_fit`."""

    early_stopping: bool
    loss_curve: list = field(default_factory=list)
    validation_scores: list | None = None
    validation_losses: list | None = None
    best_loss: float | None = None
    best_score: float | None = None
    best_weights: dict | None = None
    no_improvement: int = 0
    t: int = 0

    def update(self, loss, score, tol) -> bool:
        """Take in one epoch; return whether its weights are the best so far."""
        if not self.early_stopping:
            self.no_improvement = self.no_improvement + 1 if loss > self.best_loss - tol else 0
            self.best_loss = min(self.best_loss, loss)
            return False
        self.no_improvement = self.no_improvement + 1 if score < self.best_score + tol else 0
        if not score > self.best_score:
            return False
        self.best_score = score
        return True


class Convergence:
    """scikit-learn's rule for one training run.

    Parameters
    ----------
    estimator : BaseNet
        Holds the parameters of the rule and scores validation sets.
    job : Job
    """

    def __init__(self, estimator, job):
        self.estimator, self.job, self.net = estimator, job, job.net
        self.n_iter = 0
        self.stopped = False
        early_stopping = estimator.early_stopping
        progress = self.net.progress_
        if progress is None or progress.early_stopping != early_stopping:
            progress = Progress(early_stopping)
            if early_stopping:
                progress.best_score, progress.best_weights = -np.inf, self._weights()
            else:
                progress.best_loss = np.inf
            self.net.progress_ = progress
        if job.validation is not None and progress.validation_scores is None:
            progress.validation_scores, progress.validation_losses = [], []
        self.progress = progress

    def epoch_end(self) -> bool:
        """Take in the epoch that just ended; return whether to stop."""
        estimator, progress = self.estimator, self.progress
        loss = self.net.history[-1, "train_loss"]
        self.n_iter += 1
        progress.t += self.job.train.n_samples
        progress.loss_curve.append(loss)
        if estimator.verbose:
            print(f"Iteration {self.n_iter}, loss = {loss:.8f}")
        if not np.isfinite(loss) and not estimator.early_stopping:
            self._raise_if_not_finite()
        score = self._validate() if self.job.validation is not None else None
        if progress.update(loss, score, estimator.tol):
            progress.best_weights = self._weights()
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            rate = estimator.learning_rate_init / (progress.t + 1) ** estimator.power_t
            self.net.optimizer_.set_learning_rate(rate)
        # one cycle ends where it is planned to: on its way, the loss may well stall
        planned = estimator.learning_rate == "onecycle" and not estimator.early_stopping
        if progress.no_improvement > estimator.n_iter_no_change and not planned:
            self.stopped = self._stop_or_slow_down()
        return self.stopped

    def _stop_or_slow_down(self) -> bool:
        estimator = self.estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for "
            f"{estimator.n_iter_no_change} consecutive epochs."
        )
        stop, action = True, "Stopping."
        if estimator.solver == "sgd" and estimator.learning_rate == "adaptive":
            rate = self.net.optimizer_.param_groups[0]["lr"]
            stop = rate <= 1e-6
            if stop:
                action = "Learning rate too small. Stopping."
            else:
                self.net.optimizer_.set_learning_rate(rate / 5.0)
                self.progress.no_improvement = 0
                action = f"Setting learning rate to {rate / 5.0:f}"
        if estimator.verbose:
            print(message, action)
        return stop

    def _validate(self) -> float:
        score, loss = self.estimator._validate(self.net, self.job.validation)
        self.progress.validation_scores.append(score)
        self.progress.validation_losses.append(loss)
        self.net.history.record("valid_loss", loss)
        self.net.history.record("valid_score", score)
        if self.estimator.verbose:
            print(f"Validation score: {score:f}")
        return score

    def _weights(self):
        return {name: w.clone() for name, w in self.net.module_.state_dict().items()}

    def _raise_if_not_finite(self):
        if not np.isnan(self.progress.loss_curve[-1:]).any() and _all_finite(self.net):
            return
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large "
            "values and need to be preprocessed. The loss was "
            f"{self.progress.loss_curve[-1]} in epoch {self.n_iter} with learning_rate_init="
            f"{self.estimator.learning_rate_init}: scale X, or lower learning_rate_init."
        )

    def finish(self):
        """Restore the best weights and say what did not converge."""
        estimator = self.estimator
        if estimator.early_stopping:
            self.net.module_.load_state_dict(self.progress.best_weights)
        if not _all_finite(self.net):
            self._raise_if_not_finite()
        planned = self.job.incremental or estimator.learning_rate == "onecycle"
        if not self.stopped and not planned and self.n_iter == estimator.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )


def _all_finite(net) -> bool:
    return all(bool(torch.isfinite(w).all()) for w in net.module_.parameters())


class EstimatorCallbacks(Callback):
    """Carries skorch's epoch ends to the callbacks of scikit-learn (`set_callbacks`)."""

    def __init__(self, estimator, X, y, metadata, max_subtasks):
        self.estimator = estimator
        self.active = hasattr(estimator, "_skl_callbacks")
        self.arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=max_subtasks)
        if self.active:
            self.context.call_on_fit_task_begin(**self.arguments)

    def as_named(self):
        """Itself, named, for skorch's list; nothing when nobody listens."""
        return [("scikit_learn", self)] if self.active else []

    def on_epoch_begin(self, net, **kwargs):
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.arguments)

    def on_epoch_end(self, net, **kwargs):
        if self.epoch.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=self._fitted_so_far
        ):
            raise KeyboardInterrupt

    def _fitted_so_far(self):
        """A copy, made only for a callback that asks: later epochs must not change it."""
        net = copy.copy(self.estimator.net_)
        # without this bridge, which holds the data
        net.callbacks_ = [named for named in net.callbacks_ if named[1] is not self]
        return {"net_": copy.deepcopy(net)}

    def end(self):
        """The fit is over."""
        if self.active:
            self.context.call_on_fit_task_end(**self.arguments, reconstruction_attributes={})
