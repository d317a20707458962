"""Many runs trained as one: `train_stacked` beside `train`.

The weights of nets of one structure are stacked, and every product of a step becomes one batched
product for all of them. On a GPU that hides the launches of its kernels; on the host, where a small
net spends more time in Python than in its products, a stack is kept small enough for the cache and
every core trains a stack of its own.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from threading import Event

import joblib
import numpy as np
import torch
from sklearn import config_context, get_config

from .._utils.device import blas_threads, free_memory, threads
from ..modules.mlp import MLP
from ..modules.stacked_mlp import StackedMLPGradient
from .loader import DeviceData
from .loop import epochs, listens_to_batches
from .optimizers import SGD, Adam
from .run import TrainingRun
from .stacked_batches import StackedBatches, order_key
from .stacked_steps import StackedSteps
from .stacked_weights import StackedWeights
from .threads import choose_threads

CACHE = 2**23  # bytes of a stack on the host: it stays in a core's caches, few products are small
KEEP_ZERO = ("identity", "relu", "tanh")  # activations that are 0 at 0
SIMILAR = 1.25  # weights of a stack's nets, over those of its smallest
FEW_WEIGHTS = 2**12  # of a net whose steps take more time around their products than for them
STACK_MEMORY_FRACTION = 0.25  # of an accelerator's free memory, for a stack and its activations

logger = logging.getLogger("sklearn_nets.stacked")


def reason_to_train_alone(run: TrainingRun) -> str | None:
    """Why a run cannot be part of a stack; None if it can."""
    if type(run.module) is not MLP:
        return f"a {type(run.module).__name__} is not stacked"
    if not isinstance(run.loader.data, DeviceData):
        return "its data is sparse, or does not fit on the device"
    if any(listens_to_batches(callback) for _, callback in run.net.callbacks_):
        return "a callback listens to batches"
    if run.augment is not None or run.net.autocast_dtype is not None:
        return "it augments its batches, or computes in mixed precision"
    if type(run.optimizer) not in (Adam, SGD):
        return "its optimizer is not of this package"
    trained = [id(p) for group in run.optimizer.param_groups for p in group["params"]]
    if len(run.optimizer.param_groups) > 1 or trained != list(map(id, run.module.parameters())):
        return "not all of its weights are trained, or not all alike"
    return None


def train_stacked(
    runs: list[TrainingRun],
    canceled: Event | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> list[bool | BaseException | None]:
    """Run all epochs of many runs, those of one structure together.

    Parameters
    ----------
    runs : list of TrainingRun
        For each of them `reason_to_train_alone` is None.
    canceled : threading.Event, optional
        Ends the training when it is set.
    on_epoch : callable(n), optional
        Called when n runs have ended an epoch, from any thread.

    Returns
    -------
    list
        Of each run: whether it stopped before all of its epochs were run, the exception that ended
        it (of a callback, say), or None if there is no other run to train it with.
    """
    canceled = canceled or Event()
    outcomes = {}
    alike = defaultdict(list)
    for run in runs:
        alike[structure(run)].append(run)
    stacks = []
    for group in (group for some in alike.values() for group in of_similar_size(some)):
        if len(group) == 1:
            outcomes[id(group[0])] = None
            logger.info("A net trains alone: there is no other of its structure.")
        else:
            parts = split(group)
            stacks += [Stack(part, canceled, on_epoch) for part in parts]
            size = len(parts[0])
            logger.info("%d nets train in %d stacks of up to %d.", len(group), len(parts), size)
    _train_in_threads(stacks, canceled)
    for stack in stacks:
        outcomes.update(stack.outcomes)
    return [outcomes[id(run)] for run in runs]


def structure(run: TrainingRun) -> tuple:
    """What the runs of a stack have in common."""
    X, y, _ = run.loader.data
    n_steps = len(run.loader)
    module, optimizer = run.module, run.optimizer
    (group,) = optimizer.param_groups
    momentum = bool(group.get("momentum")), group.get("nesterov")  # with it steps keep a state
    shapes = tuple(p.shape for p in module.parameters())
    if module.activation in KEEP_ZERO:  # the number of hidden units is filled up
        shapes = len(shapes), X.shape[1], shapes[-1]
    return (
        type(module), module.activation, shapes,
        type(run.net.criterion_), type(optimizer), momentum,
        X.dtype, y.dtype, y.shape[1:], X.device, n_steps, n_steps > 1 and run.loader.batch_size,
    )  # fmt: skip


def of_similar_size(runs: list[TrainingRun]) -> list[list[TrainingRun]]:
    """Split runs of one structure into those whose nets are as good as of one size.

    A net that is filled up to the size of others takes their time: where products take most of it,
    that pays only for nets that are little smaller.
    """
    shapes = {id(run): [p.shape for p in run.module.parameters()] for run in runs}

    def n_weights(shapes):
        return sum(map(math.prod, shapes))

    parts, largest = [], None
    for run in sorted(runs, key=lambda run: (n_weights(shapes[id(run)]), shapes[id(run)])):
        own = shapes[id(run)]
        if parts:
            together = [tuple(map(max, *pair)) for pair in zip(largest, own)]
            least = n_weights(shapes[id(parts[-1][0])])
            if n_weights(together) <= max(SIMILAR * least, FEW_WEIGHTS):
                parts[-1].append(run)
                largest = together
                continue
        parts.append([run])
        largest = own
    return parts


def split(runs: list[TrainingRun]) -> list[list[TrainingRun]]:
    """Split runs of one structure into stacks, those with equal batches side by side."""
    loader = runs[0].loader
    module = max((run.module for run in runs), key=lambda m: sum(p.numel() for p in m.parameters()))
    alike = defaultdict(lambda: defaultdict(list))
    for run in runs:
        alike[id(run.loader.data.X)][order_key(run.loader)].append(run)
    runs = [run for orders in alike.values() for some in orders.values() for run in some]
    widths = sum(p.shape[0] for p in module.parameters() if p.ndim == 1)
    values = loader.batch_size * (loader.data.X.shape[1] + 2 * widths)
    values += 4 * sum(p.numel() for p in module.parameters())
    n_bytes = values * next(module.parameters()).itemsize
    if loader.device.type == "cpu":
        n_threads = n_worker_threads()
        n_stacks = math.ceil(len(runs) / max(1, CACHE // n_bytes) / n_threads) * n_threads
    else:
        room = STACK_MEMORY_FRACTION * free_memory(loader.device)
        n_stacks = math.ceil(len(runs) / max(1, room // n_bytes))
    size = math.ceil(len(runs) / min(n_stacks, len(runs)))
    return [runs[start : start + size] for start in range(0, len(runs), size)]


def n_worker_threads() -> int:
    """How many stacks train at a time on the host."""
    return min(joblib.cpu_count(), torch.get_num_threads())


def _train_in_threads(stacks, canceled):
    """Train stacks, on the host one on each core; never in this thread, which takes interrupts."""
    if not stacks:
        return
    config = get_config()

    def train(stack):
        # its own limit too, under which the shorter ones of a validation set end
        with config_context(**config), threads(limit):
            stack.train()

    n_threads = min(len(stacks), n_worker_threads())
    if any(stack.device.type != "cpu" for stack in stacks):
        n_threads = 1
    # set once for all; where there are fewer stacks than cores, large nets share what is left
    runs = (stack.runs[0] for stack in stacks)
    wanted = [choose_threads(run, run.loader.batch_size) or 1 for run in runs]
    limit = max(1, min(wanted) // n_threads)
    with threads(limit), blas_threads(limit), ThreadPoolExecutor(n_threads) as pool:
        try:
            pending = set()
            with suppress(RuntimeError):  # the system gives no more threads
                for stack in stacks:
                    pending.add(pool.submit(copy_context().run, train, stack))
            while pending:  # a wait without end might not see a signal that another thread gets
                _, pending = wait(pending, timeout=0.1)
        except BaseException:
            canceled.set()
            raise
    for stack in stacks:
        if stack.outcomes.keys() != {id(run) for run in stack.runs}:  # no thread took it
            train(stack)


class Stack:
    """Runs of one structure that take every step together.

    Parameters
    ----------
    runs : list of TrainingRun
    canceled : threading.Event
    on_epoch : callable(n) or None

    Attributes
    ----------
    outcomes : dict
        Of each run, by its id, what `train_stacked` returns.
    """

    def __init__(self, runs, canceled, on_epoch=None):
        self.runs, self.canceled, self.on_epoch = runs, canceled, on_epoch
        self.device = runs[0].loader.device
        self.outcomes = {}
        self._scalars = {}
        self._epochs = {id(run): epochs(run) for run in runs}

    def train(self) -> None:
        """Train until every run is over; what interrupts the stack itself is the end of all."""
        try:
            self._advance(self.runs)
            while runs := self._going_on():
                self._train_some(runs)
        except BaseException as error:
            self.outcomes.update({id(run): error for run in self._going_on()})

    def _train_some(self, runs):
        """Train runs until the first of them ends."""
        weights, batches = StackedWeights(runs), StackedBatches([run.loader for run in runs])
        gradient = StackedMLPGradient(
            weights.weights,
            weights.grads,
            runs[0].module.activation,
            [run.net.criterion_ for run in runs],
            [run.alpha for run in runs],
            [run.report_factor for run in runs],
        )
        take_steps = StackedSteps(weights, batches, gradient, self.canceled)
        try:
            while (scalars := self._next_scalars(runs)) is not None:
                self._advance(runs, take_steps(scalars))
        finally:
            batches.release()
            for run in runs:
                weights.release(run)

    def _advance(self, runs, losses=None):
        """End the epoch of every run, and begin its next one; without losses, its first."""
        for i, run in enumerate(runs):
            try:
                self._epochs[id(run)].send(None if losses is None else losses[i])
            except StopIteration as end:
                self.outcomes[id(run)] = end.value
            except BaseException as error:  # of a callback or a score: for this run's own `fit`
                self.outcomes[id(run)] = error
        if losses is not None and self.on_epoch is not None:
            self.on_epoch(len(runs))

    def _next_scalars(self, runs):
        """What the steps of the next epoch take of each run; None if not all of them go on."""
        for run in self._going_on():
            if id(run) not in self._scalars:  # of an epoch that another run did not begin
                try:
                    self._scalars[id(run)] = run.next_scalars(len(run.loader))
                except BaseException as error:  # a rate that overflows
                    self.outcomes[id(run)] = error
        if len(self._going_on()) < len(runs):
            return None
        return np.stack([self._scalars.pop(id(run)) for run in runs])

    def _going_on(self):
        return [run for run in self.runs if id(run) not in self.outcomes]
