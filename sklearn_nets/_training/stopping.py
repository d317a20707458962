"""When to stop: scikit-learn's rule of convergence, applied at the end of every epoch."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Progress:
    """What the rule remembers between epochs, warm starts and calls of `partial_fit`."""

    early_stopping: bool = False
    loss: float = np.inf  # of the last epoch
    loss_curve: list = field(default_factory=list)
    validation_scores: list | None = None
    validation_losses: list | None = None
    best_loss: float | None = None
    best_score: float | None = None
    best_weights: dict | None = None
    no_improvement: int = 0
    samples_seen: int = 0
    rate_factor: float = 1.0  # what the adaptive schedule has made of the learning rate
    data: str | None = None  # what tells the data of the best score from other data

    @classmethod
    def start(cls, early_stopping: bool) -> Progress:
        """Before the first epoch."""
        if early_stopping:
            return cls(early_stopping, best_score=-np.inf)
        return cls(early_stopping, best_loss=np.inf)

    def start_anew(self, data: str | None) -> None:
        """Go on with the same net in another `fit`.

        As in scikit-learn scores of the same data, told by the string, have to surpass the best so
        far, and if none does the last weights stay. Of other data the scores are others: nothing
        that was found before counts.
        """
        self.rate_factor = 1.0
        same = data is not None and data == self.data
        self.data = data
        if self.early_stopping and not same:
            self.best_score, self.no_improvement = -np.inf, 0

    def update(self, loss, score, tol) -> bool:
        """Take in one epoch; return whether its weights are the best so far."""
        if not self.early_stopping:
            self.no_improvement = self.no_improvement + 1 if loss > self.best_loss - tol else 0
            self.best_loss = min(self.best_loss, loss)
            return False
        improved = score >= self.best_score + tol  # False for NaN
        self.no_improvement = 0 if improved else self.no_improvement + 1
        if not score > self.best_score:
            return False
        self.best_score = score
        return True


@dataclass(frozen=True)
class StoppingRule:
    """Stop, or slow down, when the loss or the validation score has stalled.

    Parameters
    ----------
    tol : float
        An epoch that improves by less does not count as an improvement.
    n_iter_no_change : int
        Epochs in a row without improvement after which training stops.
    early_stopping : bool
        Whether the validation score decides, and the weights of the best score are kept.
    fixed_length : bool
        Whether all epochs are run: a schedule that ends with them is expected to stall on its way.
    adaptive : bool
        Whether a stalled training first goes on at a fifth of the learning rate, down to 1e-6.
    """

    tol: float
    n_iter_no_change: float
    early_stopping: bool = False
    fixed_length: bool = False
    adaptive: bool = False

    def end_epoch(self, progress: Progress, learning_rate: float, verbose: bool = False) -> bool:
        """Return whether to stop; may lower ``progress.rate_factor`` instead."""
        planned = self.fixed_length and not self.early_stopping
        if planned or progress.no_improvement <= self.n_iter_no_change:
            return False
        stop, action = True, "Stopping."
        if self.adaptive:
            stop = learning_rate <= 1e-6
            if stop:
                action = "Learning rate too small. Stopping."
            else:
                progress.rate_factor /= 5.0
                progress.no_improvement = 0
                action = f"Setting learning rate to {learning_rate / 5.0:f}"
        if verbose:
            what = "Validation score" if self.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={self.tol:f} for "
                f"{self.n_iter_no_change} consecutive epochs. {action}"
            )
        return stop


def end_interrupted() -> None:
    """Warn that training was interrupted, as scikit-learn's MLP; call while handling the interrupt.

    In a cross-validation or a search the interrupt goes on instead: a net that was cut short is no
    result to be counted, and whoever interrupts wants the search to stop, not its next fit.

    Raises
    ------
    KeyboardInterrupt
        If a function of `sklearn.model_selection` called `fit`.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("sklearn.model_selection."):
            raise
        frame = frame.f_back
    warnings.warn("Training interrupted by user.", stacklevel=5)
