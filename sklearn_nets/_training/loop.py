"""The epoch loop: skorch's net and callbacks around a step that costs no more than a hand's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice

import skorch
import torch
from skorch.callbacks import Callback, EpochTimer

from .._utils.array_api import to_tensor
from .._utils.device import threads
from .cuda_graph import GraphedEpoch, suits_graph

SMALL = 2**21  # multiplications of a step below which a second thread costs more than it gives
MORE_ON_ACCELERATOR = 8  # times the samples of a forward pass, which hide the way there
WORTH_RECORDING = 32  # steps from which recording one as a CUDA graph is repaid


class TrainingNet(skorch.NeuralNet):
    """skorch's net over tensors that live on the device, with the lean epoch.

    `fit_loop` takes `Batches` instead of arrays. Batch-level notifications are sent only while a
    callback listens to batches; otherwise nobody pays for them. The loss is read from the device
    once per epoch.

    Parameters
    ----------
    alpha : float
        Strength of the L2 penalty, alpha/2 · ||W||² / Σw, on weights (not on biases or scales).
    amp_dtype : torch.dtype or None
        Type of autocast on the device.
    augment : callable(X, y) -> (X, y) or None
        Changes every training batch, on the device.
    one_cycle : bool
        Whether the learning rate goes through one cycle in a call of `fit_loop`.
    **kwargs
        skorch's.
    """

    def __init__(
        self, module, *, alpha=0.0, amp_dtype=None, augment=None, one_cycle=False, **kwargs
    ):
        super().__init__(module, **kwargs)
        self.alpha = alpha
        self.one_cycle = one_cycle
        self.amp_dtype = amp_dtype
        vars(self)["augment"] = augment  # set past skorch, which would train a torch module
        self.loss_scale = 1.0  # from the loss that is minimised to the one that is reported
        self.progress_ = None

    def get_default_callbacks(self):
        return [("epoch_timer", EpochTimer())]

    def fit_loop(self, X, y=None, epochs=None, *, epoch_end=None, **fit_params):
        """Run the epochs.

        Parameters
        ----------
        X : Batches
        y : None
        epochs : int
        epoch_end : callable() -> bool
            Called after each epoch's training, before the callbacks' `on_epoch_end`; returns
            whether to stop.
        """
        self.prepare_gradient()
        self.module_.train()  # a step that is recorded keeps the mode it was recorded in
        self._cycle = self._make_cycle(epochs * len(X)) if self.one_cycle else None
        with threads(1 if self._steps_are_small(X) else None):
            self._run_epochs(X, epochs, self._epoch_runner(X, epochs), epoch_end)
        return self

    def _epoch_runner(self, batches, epochs):
        """What trains one epoch: told batch by batch, replayed, or step by step."""
        if any(_listens_to_batches(callback) for _, callback in self.callbacks_):
            return self._run_epoch_with_callbacks
        if epochs * len(batches) >= WORTH_RECORDING and suits_graph(self, batches):
            try:
                return GraphedEpoch(self, batches)
            except RuntimeError as error:
                warnings.warn(
                    f"The training step could not be recorded as a CUDA graph ({error}). It runs "
                    "operation by operation, which is slower for small nets.",
                    stacklevel=2,
                )
        return self._run_epoch

    def _steps_are_small(self, batches) -> bool:
        work = batches.batch_size * sum(p.numel() for p in self.module_.parameters())
        own = hasattr(self.module_, "make_gradient")
        return own and batches.device.type == "cpu" and work < SMALL

    def _run_epochs(self, X, epochs, run_epoch, epoch_end):
        for _ in range(epochs):
            self.notify("on_epoch_begin", dataset_train=X, dataset_valid=None)
            self.module_.train()
            loss = run_epoch(X) / X.n_samples
            self.history.record("train_loss", float(loss))
            stop = epoch_end()
            try:
                self.notify("on_epoch_end", dataset_train=X, dataset_valid=None)
            except KeyboardInterrupt:  # how skorch's own EarlyStopping asks to stop
                stop = True
            if stop:
                break

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """Train on without initialising; an interrupt keeps the weights so far and warns."""
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, **fit_params)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        self.notify("on_train_end", X=X, y=y)
        return self

    @torch.no_grad()  # once an epoch: entered at every step it would cost a tenth of a small one
    def _run_epoch(self, batches):
        total, step = 0.0, self.optimizer_.lean_step
        rates = self.optimizer_.rates(self.next_learning_rates(len(batches))).tolist()
        for batch, rate in zip(batches, rates, strict=True):
            total += self.batch_gradient(*batch)
            step(rate)
        return total

    def _run_epoch_with_callbacks(self, batches):
        total = 0.0
        for X, y, weight in batches:
            told = {"batch": (X, y), "training": True}
            self.notify("on_batch_begin", **told)
            with torch.no_grad():
                loss = self.batch_gradient(X, y, weight)
            self.notify(
                "on_grad_computed", named_parameters=list(self.get_all_learnable_params()), **told
            )
            (rate,) = self.optimizer_.rates(self.next_learning_rates(1)).tolist()
            self.optimizer_.lean_step(rate)
            total += loss
            self.history.record_batch("train_loss", float(loss) / len(X))
            self.history.record_batch("train_batch_size", len(X))
            self.notify("on_batch_end", **told, loss=loss / len(X))
        return total

    def _make_cycle(self, n_steps) -> Iterator[float]:
        return (self.lr * one_cycle(step / n_steps) for step in range(n_steps))

    def next_learning_rates(self, n: int) -> list[float]:
        """The learning rates of the next n steps: along one cycle, or the optimiser's own."""
        (group,) = self.optimizer_.param_groups
        if self._cycle is None:
            return [group["lr"]] * n
        rates = list(islice(self._cycle, n))
        group["lr"] = rates[-1]
        return rates

    def prepare_gradient(self):
        """Choose how gradients are found: the module's own way, or by differentiation.

        What is chosen, `batch_gradient`, is to be called under `torch.no_grad`.
        """
        if hasattr(self.module_, "make_gradient"):
            self.batch_gradient = self.module_.make_gradient(
                self.criterion_, self.alpha, self.loss_scale
            )
        else:
            self.batch_gradient = self._differentiate
            self._penalized = [p for p in self.module_.parameters() if p.ndim > 1]

    def _differentiate(self, X, y, weight):
        """n times the penalised loss of a batch, its gradient left in the parameters."""
        self.optimizer_.zero_grad(set_to_none=True)
        if self.augment is not None:
            X, y = self.augment(X, y)
        with torch.enable_grad():
            with self.autocast(X.device):
                z = self.module_(X)
            loss = self.criterion_(z.float() if self.amp_dtype else z, y, weight)
            loss.backward()
        return self._penalize(loss.detach(), len(X), len(X) if weight is None else weight.sum())

    def _penalize(self, loss, n, weight_sum):
        loss = loss * (n * self.loss_scale)
        if not self.alpha:
            return loss
        weights = self._penalized
        strength = self.alpha / weight_sum
        grads = [W.grad for W in weights]
        if isinstance(strength, float):
            torch._foreach_add_(grads, weights, alpha=strength)
        else:
            torch._foreach_add_(grads, torch._foreach_mul(weights, strength))
        norms = torch.stack(torch._foreach_norm(weights))
        return loss + norms.square_().sum() * (0.5 * n * strength)

    def autocast(self, device):
        if self.amp_dtype is None:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.amp_dtype)

    def raw_outputs(self, X, batch_size, dtype=None):
        """Yield raw outputs of consecutive batches, in memory that does not grow with X."""
        module = self.module_.eval() if self.module_.training else self.module_
        device = next(module.parameters()).device
        if device.type != "cpu":
            batch_size *= MORE_ON_ACCELERATOR
        by_numpy = getattr(module, "predicts_by_numpy", None)
        for batch in X.split(batch_size):
            batch = to_tensor(batch, device, dtype)
            with torch.no_grad(), self.autocast(device):
                many = len(batch) > 1 and by_numpy is not None and by_numpy(batch)
                with threads(1) if many else nullcontext():
                    z = module(batch)
            yield z.float() if self.amp_dtype else z

    def __getstate__(self):
        # what `module_` holds as well; saved apart it would be a copy
        apart = ("module", "batch_gradient", "_cycle", "_penalized")
        return {**super().__getstate__(), **dict.fromkeys(apart)}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.module = self.module_


def one_cycle(progress: float, warm_up: float = 0.2) -> float:
    """Share of the greatest learning rate at a point of the training, from 0 to 1.

    Up along a line for a fifth of the steps, then down along half a cosine to zero: Smith & Topin
    (2018), "Super-convergence: Very fast training of neural networks using large learning rates",
    with the annealing of Loshchilov & Hutter (2017), "SGDR".

    Examples
    --------
    >>> [round(one_cycle(p), 2) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    if progress < warm_up:
        return 0.04 + 0.96 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def _listens_to_batches(callback) -> bool:
    return any(
        getattr(type(callback), name, None) is not getattr(Callback, name)
        for name in ("on_batch_begin", "on_batch_end", "on_grad_computed")
    )
