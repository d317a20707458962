"""Which runs wait at a rendezvous, in how much memory, and what trains them."""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import contextmanager

import torch

from .._utils.device import available_memory
from .run import TrainingRun
from .stacked import reason_to_train_alone, train_stacked

WAITING_MEMORY_FRACTION = 0.25  # of what is free, for the data of runs that wait

logger = logging.getLogger("sklearn_nets.stacked")


class StackedTraining:
    """Admits runs as long as there is memory for their data, and trains them together.

    Parameters
    ----------
    progress : bool
        Whether to show a bar.
    """

    def __init__(self, progress: bool = False):
        self.progress = progress
        self._forget()

    def _forget(self):
        self._shared, self._held, self._budget = SharedTensors(), 0, None

    def admit(self, run: TrainingRun, reason: str | None = None) -> bool:
        """Whether a run is to wait for others; its data becomes one with that of others.

        Not if there is a reason against it.
        """
        reason = reason or reason_to_train_alone(run)
        if reason is not None:
            logger.info("A net trains alone: %s.", reason)
            return False
        loader = run.loader
        if self._budget is None:
            self._budget = WAITING_MEMORY_FRACTION * available_memory(loader.device)
        # on the host whoever called `fit` holds what it passed, also where it becomes one here
        before = sum(t.nbytes for t in loader.data if t is not None)
        loader.data = type(loader.data)(*map(self._shared.share, loader.data))
        weights = 4 * sum(p.nbytes for p in run.module.parameters())  # gradient and two moments
        self._held += weights + (before if loader.device.type == "cpu" else 0)
        return True

    def has_room(self) -> bool:
        """Whether the data of another run may be prepared beside that of those that wait."""
        return self._budget is None or self._held + self._shared.n_bytes < self._budget

    def train(self, runs: list[TrainingRun]) -> list:
        """Train the runs that wait: what `train_stacked` returns."""
        self._forget()
        total = sum(run.max_epochs - run.epoch for run in runs)
        with epoch_bar(total, self.progress) as on_epoch:
            return train_stacked(runs, on_epoch=on_epoch)


class SharedTensors:
    """One tensor in the place of equal ones.

    Attributes
    ----------
    n_bytes : int
        Of those that were found to be new.
    """

    def __init__(self):
        self._known, self._places, self.n_bytes = defaultdict(list), {}, 0

    def share(self, tensor: torch.Tensor | None) -> torch.Tensor | None:
        """The first tensor that was equal to this one, or this one."""
        if tensor is None:
            return None
        # the same for tensors of one array, which several fits were given
        place = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
        if place in self._places:
            return self._places[place]
        few = tensor[:: max(1, len(tensor) // 16)].reshape(-1)[:256].cpu().numpy().tobytes()
        known = self._known[tensor.shape, tensor.dtype, tensor.device, few]
        for other in known:
            if torch.equal(tensor, other):
                return other
        known.append(tensor)
        self._places[place] = tensor
        self.n_bytes += tensor.nbytes
        return tensor


@contextmanager
def epoch_bar(total: int, wanted: bool):
    """A bar of epochs on standard error while the block runs.

    Yields
    ------
    on_epoch : callable(n) or None
        Says that n more epochs are over; None where nobody would see it: unwanted, rich is missing,
        or standard error is no terminal.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
    except ImportError:
        wanted = False
    if not wanted or not (console := Console(stderr=True)).is_terminal:
        yield None
        return
    columns = "epochs", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as display:
        bar = display.add_task("", total=total)
        yield lambda n: display.advance(bar, n)
