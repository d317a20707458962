"""The steps that the nets of a stack take together in an epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from threading import Event

import numpy as np
import torch

from ..modules.stacked_mlp import StackedMLPGradient
from .cuda_graph import MIN_STEPS_TO_CAPTURE, CapturedSteps
from .stacked_batches import StackedBatches
from .stacked_weights import StackedWeights


class Cancelled(BaseException):
    """Training was ended from outside; not an Exception, which would count as a failed fit."""


class StackedSteps:
    """Takes the steps of one epoch of every net of a stack; the loss of each net.

    On a GPU they become one CUDA graph, once the same nets have taken so many steps that capturing
    it is repaid: nets that stop early leave another stack behind, which needs a graph of its own.

    Parameters
    ----------
    weights : StackedWeights
    batches : StackedBatches
    gradient : StackedMLPGradient
    canceled : threading.Event
        Ends the training when it is set.
    make_replay : callable(step) -> callable, optional
        As in `CapturedSteps`.
    """

    def __init__(
        self,
        weights: StackedWeights,
        batches: StackedBatches,
        gradient: StackedMLPGradient,
        canceled: Event,
        make_replay: Callable | None = None,
    ):
        self.weights, self.batches, self.gradient = weights, batches, gradient
        self.canceled, self.make_replay = canceled, make_replay
        self.can_capture = can_capture(weights)
        self.n_steps, self.key, self.captured = 0, None, None

    @torch.no_grad()
    def __call__(self, scalars: np.ndarray) -> list[float]:
        """Take the steps of the next epoch with scalars of shape (n_nets, n_steps, n_scalars)."""
        steppers = self.weights.steppers(scalars)
        orders = self.batches.next_orders()
        self.n_steps += self.batches.n_steps
        if self.can_capture and self.n_steps >= MIN_STEPS_TO_CAPTURE:
            try:
                self._capture(steppers, orders, scalars.shape[1:])
            except RuntimeError as error:
                self.can_capture, self.captured = False, None
                warnings.warn(
                    f"The step of a stack of nets could not be captured as a CUDA graph ({error}). "
                    "It runs operation by operation, which is slower for small nets.",
                    stacklevel=2,
                )
        of_steppers = scalars[[member for _, member in steppers]].swapaxes(0, 1)
        if self.captured is not None:
            return self.captured(orders, of_steppers, self._check_canceled).tolist()
        index = torch.from_numpy(orders).to(self.batches.device)
        take_step, total = self._make_step(steppers), 0.0
        for step, numbers in enumerate(of_steppers.tolist()):
            self._check_canceled()
            rows = index[:, step * self.batches.size : (step + 1) * self.batches.size]
            last = step == self.batches.n_steps - 1
            total = total + take_step(rows, numbers, last)
        return total.tolist()

    def _make_step(self, steppers):
        gradient, batches = self.gradient, self.batches  # not self, which holds what is captured

        def take_step(rows, scalars, last):
            losses = gradient(*batches.gather(rows, last))
            for (optimizer, _), numbers in zip(steppers, scalars, strict=True):
                optimizer.fused_step(numbers)
            return losses

        return take_step

    def _check_canceled(self):
        if self.canceled.is_set():
            raise Cancelled

    def _capture(self, steppers, orders, scalars_shape):
        """Capture the step, unless it is the one that was captured last."""
        key = len(orders), [id(optimizer) for optimizer, _ in steppers]
        if key == self.key:
            return
        batches, (n_steps, n_scalars) = self.batches, scalars_shape
        n_full = batches.n_places // batches.size
        self.key, self.captured = key, None  # the memory of the last one is free again
        self.captured = CapturedSteps(
            self._make_step(steppers),
            self.weights.tensors(),
            order=orders,
            batch_size=batches.size,
            n_alike=n_full if batches.mask is None else n_steps - 1,
            scalars_shape=(n_steps, len(steppers), n_scalars),
            total_shape=(len(self.weights.runs),),
            device=batches.device,
            make_replay=self.make_replay,
        )


def can_capture(weights: StackedWeights) -> bool:
    """Whether the step of a stack can be captured as a CUDA graph."""
    value = weights.weights[0]
    return value.device.type == "cuda" and value.dtype == torch.float32
