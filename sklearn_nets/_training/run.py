"""One training run: everything that training needs, prepared, and nothing of the estimator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from .._utils.random import TorchRandom
from ..modules.augment import Augmentation
from ..modules.interfaces import ManualGradient
from .gradient import AutogradGradient
from .loader import BatchLoader, Data
from .net import Net
from .schedules import Constant
from .stopping import Progress, StoppingRule
from .threads import prediction_threads


@dataclass
class EvalSet:
    """A validation set: scored against encoded targets on the host, its loss on the device.

    Parameters
    ----------
    data : DeviceData, SparseData or StreamedData
    target : ndarray
        Encoded targets.
    weight : ndarray of shape (n,) or None
    predict : callable(z) -> tensor
        Encoded predictions of raw outputs.
    score : callable(target, prediction, weight) -> float
        The greater the better.
    forward : callable(X) -> iterator of tensors
        Raw outputs of consecutive batches, as for predictions.
    """

    data: Data
    target: np.ndarray
    weight: np.ndarray | None
    predict: Callable
    score: Callable
    forward: Callable

    def evaluate(self, net: Net, report_factor: float) -> tuple[float, float]:
        """Score and loss, without penalty."""
        X, y, weight = self.data[:3]
        total, start, predictions = 0.0, 0, []
        with prediction_threads(net, X.shape[0]):
            for z in self.forward(X):
                batch = slice(start, start + len(z))
                losses = net.criterion_.per_sample(z, y[batch].to(z.device))
                total += losses.sum() if weight is None else losses @ weight[batch].to(z.device)
                start = batch.stop
                predictions.append(self.predict(z))
        loss = total / (start if weight is None else weight.sum()) * report_factor
        prediction = torch.cat(predictions).cpu().numpy()
        return float(self.score(self.target, prediction, self.weight)), float(loss)


@dataclass
class TrainingRun:
    """What `train` and `train_lbfgs` take.

    Parameters
    ----------
    net : Net
        Its weights are the start and, afterwards, the result.
    loader : BatchLoader
        The training data.
    max_epochs : int
        Epochs, or iterations of L-BFGS.
    stopping : StoppingRule
    progress : Progress
        Where an earlier run stopped, if this one goes on with its net.
    learning_rate : float
        Initial learning rate.
    schedule : callable(step) -> float
        Factor on it.
    resizing : callable(epoch) -> (callable(X, y) -> (X, y) or None), optional
        What brings an epoch's images to the size that they are trained at.
    alpha : float
        Strength of the L2 penalty.
    report_factor : float
        From the loss that is minimized to the one that is reported.
    eval_set : EvalSet, optional
    augment : callable(X, y) -> (X, y), optional
        Changes every training batch, on the device.
    random : TorchRandom, optional
        None where neither module nor augmentation draws from torch.
    warn : bool
        Whether to warn when `max_epochs` were not enough.
    verbose : bool
    """

    net: Net
    loader: BatchLoader
    max_epochs: int
    stopping: StoppingRule
    progress: Progress
    learning_rate: float = 0.001
    schedule: Callable[[int], float] = field(default_factory=Constant)
    resizing: Callable[[int], Callable | None] | None = None
    alpha: float = 0.0
    report_factor: float = 1.0
    eval_set: EvalSet | None = None
    augment: Callable | None = None
    random: TorchRandom | None = None
    warn: bool = True
    verbose: bool = False

    epoch: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    gradient: Callable = field(default=None, init=False, repr=False)

    @property
    def module(self) -> torch.nn.Module:
        return self.net.module_

    @property
    def optimizer(self):
        return self.net.optimizer_

    def make_gradient(self, report_factor: float, alpha: float | None = None) -> Callable:
        """The gradient of a batch: the module's own, or by automatic differentiation."""
        loss, alpha = self.net.criterion_, self.alpha if alpha is None else alpha
        if isinstance(self.module, ManualGradient):
            return self.module.make_gradient(loss, alpha, report_factor)
        augment = self.augment
        if isinstance(augment, Augmentation) and self.random is not None:
            augment = partial(augment, generator=self.random.generator)
        return AutogradGradient(
            self.module, loss, alpha, report_factor, augment=augment,
            autocast_dtype=self.net.autocast_dtype,
        )  # fmt: skip

    def resize(self) -> bool:
        """Give the next epoch's images their size; whether it is another than before."""
        if self.resizing is None:
            return False
        before, self.gradient.resize = self.gradient.resize, self.resizing(self.epoch)
        return self.gradient.resize != before

    def next_scalars(self, n: int) -> np.ndarray:
        """What changes from step to step, for the next n steps, which count as taken."""
        base = self.learning_rate * self.progress.rate_factor
        rates = [base * self.schedule(step) for step in range(self.step, self.step + n)]
        self.step += n
        if self.schedule.every_step:  # too little at a time for momentum buffers to be rescaled
            self.optimizer.param_groups[0]["lr"] = rates[-1]
        else:
            self.optimizer.set_learning_rate(rates[0])
        return self.optimizer.step_scalars(rates)

    def evaluate(self) -> float | None:
        """Score the validation set, if there is one, and record score and loss."""
        if self.eval_set is None:
            return None
        score, loss = self.eval_set.evaluate(self.net, self.report_factor)
        lowest = np.fmin.reduce(self.progress.validation_losses, initial=np.inf)  # passes over NaN
        self.progress.validation_scores.append(score)
        self.progress.validation_losses.append(loss)
        self.net.history.record("valid_loss", loss)
        self.net.history.record("valid_loss_best", bool(loss < lowest))  # as in skorch
        self.net.history.record("valid_score", score)
        return score

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the module's state."""
        return {name: w.clone() for name, w in self.module.state_dict().items()}

    def check_finite(self, loss_is_fine: bool = True) -> None:
        """Refuse weights that are not finite, or a loss that the caller finds unfit."""
        finite = [torch.isfinite(w).all() for w in self.module.parameters()]
        if loss_is_fine and bool(torch.stack(finite).all()):  # asked once: a device is waited for
            return
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large "
            f"values and need to be preprocessed. The loss was {self.progress.loss} in epoch "
            f"{self.epoch} with learning_rate_init={self.learning_rate}: scale X, or lower "
            "learning_rate_init."
        )

    def state_dict(self) -> dict[str, Any]:
        """All that changes while training, to go on from in another run of the same making."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "module": self.weights(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "loader": copy.deepcopy(self.loader.state_dict()),
            "progress": copy.deepcopy(vars(self.progress)),
            "random": None if self.random is None else copy.deepcopy(self.random.state_dict()),
            "history": copy.deepcopy(self.net.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another run."""
        self.epoch, self.step = state["epoch"], state["step"]
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loader.load_state_dict(state["loader"])
        vars(self.progress).update(copy.deepcopy(state["progress"]))
        if self.random is not None:
            self.random.load_state_dict(state["random"])
        self.net.history = copy.deepcopy(state["history"])
