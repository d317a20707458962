"""An epoch as a CUDA graph: one step is captured, and replayed as often as there are batches.

A step of a small net is some forty kernels of 2 µs, launched one by one in 10 µs each. A graph
launches them all at once, but runs on the same memory every time. So the host writes the order of
the samples and the optimizer's scalars of an epoch into buffers on the device, and a step finds its
own in them by a counter that lives there too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from threading import Lock

import numpy as np
import torch

from ..modules.augment import Augmentation
from ..modules.interfaces import NeedsTarget
from .loader import DeviceData

MIN_STEPS_TO_CAPTURE = 32  # steps from which capturing one as a CUDA graph is repaid


def can_capture(run) -> bool:
    """Whether the steps of a run can be captured as a CUDA graph."""
    # a captured step draws no new numbers on the host: of augmentations those that declare it
    drawn_on_device = run.augment is None or (
        isinstance(run.augment, Augmentation) and run.augment.capturable
    )
    return (
        run.loader.device.type == "cuda"
        and isinstance(run.loader.data, DeviceData)
        and drawn_on_device
        and not any(isinstance(m, NeedsTarget) for m in run.module.modules())  # shapes vary
        and all(p.dtype == torch.float32 for p in run.module.parameters())
    )


class CapturedSteps:
    """The steps of an epoch, captured once and replayed epoch after epoch.

    Parameters
    ----------
    take_step : callable(rows, scalars, last) -> loss
        A step on the samples `rows`, (n_orders, batch_size), with its `scalars`; `last` tells the
        last step of an epoch, if it is not like the others.
    changed : list of tensor
        Every tensor that a step changes, but for gradients.
    order : ndarray of shape (n_orders, n_places)
        The samples in a first order, with a line for each net that has its own.
    batch_size : int
    n_alike : int
        How many steps from the first are like it; there is one more if this leaves places over.
    scalars_shape : tuple of int
        Shape of an epoch's scalars: (n_steps, ..., n_scalars).
    total_shape : tuple of int
        Shape of a step's loss.
    device : torch.device
    random : TorchRandom, optional
        What a step draws its random numbers from.
    make_replay : callable(step) -> callable, optional
        Turns a step into what repeats it; by default a CUDA graph of it.
    """

    def __init__(
        self, take_step, changed, *, order, batch_size, n_alike, scalars_shape, total_shape,
        device, random=None, make_replay: Callable | None = None,
    ):  # fmt: skip
        if make_replay is None:
            generator = None if random is None else random.generator
            make_replay = partial(capture, device=device, generator=generator)
        self.take_step = take_step
        self.order = torch.from_numpy(order).to(device, copy=True)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)
        # kernels read scalars as float32; those of the warm-up move and decay nothing
        self.scalars = torch.zeros(scalars_shape, dtype=torch.float32, device=device)
        self.scalars[..., 1:] = 1
        self.total = torch.zeros(total_shape, dtype=torch.float32, device=device)
        n_full = n_alike * batch_size
        full = self.order[:, :n_full].unflatten(1, (n_alike, batch_size))
        self.steps = []  # how often, and what
        for times, rows, last in (
            (n_alike, full, False),
            (min(order.shape[1] - n_full, 1), self.order[:, None, n_full:], True),
        ):
            if times:
                step = partial(self._step, rows, last)
                with _capture_lock:
                    warmup(step, [self.counter, self.total, *changed], device, random)
                    self.steps.append((times, make_replay(step)))

    @torch.no_grad()
    def _step(self, rows, last):
        """One step over the batch that the counter points at, or over the only one."""
        several = rows.shape[1] > 1
        rows = rows.index_select(1, self.counter)[:, 0] if several else rows[:, 0]
        scalars = self.scalars.index_select(0, self.counter)[0]
        self.total += self.take_step(rows, scalars, last)
        self.counter += 1

    def __call__(
        self, order: np.ndarray | None, scalars: np.ndarray, on_step: Callable | None = None
    ) -> torch.Tensor:
        """Take the steps of an epoch; the sum of their losses.

        Parameters
        ----------
        order : ndarray of shape (n_orders, n_places) or None
            None takes the samples in the order of the epoch before.
        scalars : ndarray
        on_step : callable, optional
            Called before every step.
        """
        if order is not None:
            self.order.copy_(torch.from_numpy(order), non_blocking=True)
        self.scalars.copy_(torch.from_numpy(scalars), non_blocking=True)
        self.counter.zero_()
        self.total.zero_()
        for times, step in self.steps:
            for _ in range(times):
                if on_step is not None:
                    on_step()
                step()
        return self.total


class CUDAGraphEpoch:
    """The steps of a run, ready to be replayed epoch after epoch.

    Parameters
    ----------
    run : TrainingRun
        Its data is on the device, its gradient prepared.
    make_replay : callable(step) -> callable, optional
        As in `CapturedSteps`.
    """

    def __init__(self, run, make_replay: Callable | None = None):
        loader, optimizer = run.loader, run.optimizer
        states = [t for s in optimizer.state.values() for name, t in s.items() if name != "step"]

        def take_step(rows, scalars, last):
            loss = run.gradient(*loader.data.gather(rows[0]))
            optimizer.fused_step(scalars)
            return loss

        self.steps = CapturedSteps(
            take_step,
            [*run.module.state_dict().values(), *states],
            order=np.arange(loader.n_samples)[None],
            batch_size=loader.batch_size,
            n_alike=loader.n_samples // loader.batch_size,
            scalars_shape=(len(loader), optimizer.step_scalars([]).shape[1]),
            total_shape=(),
            device=loader.device,
            random=run.random,
            make_replay=make_replay,
        )

    def __call__(self, run):
        """Train one epoch; n_samples times its mean loss, a tensor."""
        order = run.loader.next_permutation()
        return self.steps(
            order if order is None else order[None], run.next_scalars(len(run.loader))
        )


_capture_lock = Lock()  # captures of several threads would meet on their stream


def warmup(step: Callable, changed: list[torch.Tensor], device: torch.device, random=None):
    """Run a step once, so that libraries allocate their workspaces, and undo what it changed.

    `random` is a `TorchRandom`. Torch's default generators are touched only where they go on with
    its numbers: else they may be another thread's.
    """
    before = [t.clone() for t in changed]
    with nullcontext() if random is None else random.undone():
        try:
            with _side_stream(device):
                step()
        finally:
            for t, value in zip(changed, before, strict=True):
                t.copy_(value)


def capture(step: Callable, device: torch.device, generator=None) -> Callable:
    """Capture a step, which is not run, as a CUDA graph; a callable that replays it."""
    graph = torch.cuda.CUDAGraph()
    if generator is not None:
        graph.register_generator_state(generator)  # a replay goes on with its numbers
    # the stream is named: torch's own choice is on the GPU of its first capture;
    # other threads may go on using the GPU meanwhile
    capturing = torch.cuda.graph(graph, stream=_stream(device), capture_error_mode="thread_local")
    with _side_stream(device), capturing:
        step()
    return graph.replay


@cache
def _stream(device):
    # one for all: libraries keep a workspace for every stream that they have seen
    return torch.cuda.Stream(device)


@contextmanager
def _side_stream(device):
    """On the stream for captures; autograd would tie a step captured elsewhere to its own."""
    if device.type != "cuda":
        yield
        return
    stream, current = _stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        current.wait_stream(stream)
