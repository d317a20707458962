"""An epoch as a CUDA graph: one step is captured, and replayed as often as there are batches.

A step of a small net is some forty kernels of 2 µs, launched one by one in 10 µs each. A graph
launches them all at once, but runs on the same memory every time. So the host writes the order of
the samples and the optimizer's scalars of an epoch into buffers on the device, and a step finds its
own in them by a counter that lives there too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import cache, partial
from threading import Lock

import torch

from ..modules.augment import Augmentation
from ..modules.interfaces import NeedsTarget
from .loader import DeviceData


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


class CUDAGraphEpoch:
    """The steps of a run, ready to be replayed epoch after epoch.

    Parameters
    ----------
    run : TrainingRun
        Its data is on the device, its gradient prepared.
    make_replay : callable(step) -> callable, optional
        Turns a step into what repeats it; by default a CUDA graph of it.
    """

    def __init__(self, run, make_replay: Callable | None = None):
        loader, self.run = run.loader, run
        device, size = loader.device, loader.batch_size
        generator = None if run.random is None else run.random.generator
        if make_replay is None:
            make_replay = partial(capture, device=device, generator=generator)
        n_full, rest = divmod(loader.n_samples, size)
        self.order = torch.arange(loader.n_samples, device=device)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)
        self.total = torch.zeros((), dtype=torch.float32, device=device)
        n_scalars = run.optimizer.step_scalars([]).shape[1]
        # kernels read scalars as float32; those of the warm-up move and decay nothing
        self.scalars = torch.zeros(len(loader), n_scalars, dtype=torch.float32, device=device)
        self.scalars[:, 1:] = 1
        full, last = self.order[: n_full * size].view(n_full, size), self.order[n_full * size :]
        self.steps = []  # how often, and what
        for times, rows in ((n_full, full), (min(rest, 1), last[None])):
            if times:
                step = partial(self._step, rows)
                with _capture_lock:
                    warmup(step, self._changed_tensors(), device, generator)
                    self.steps.append((times, make_replay(step)))

    @torch.no_grad()
    def _step(self, rows):
        """One step over the batch that the counter points at, or over the only one."""
        run = self.run
        row = rows.index_select(0, self.counter)[0] if len(rows) > 1 else rows[0]
        scalars = self.scalars.index_select(0, self.counter)[0]
        self.total += run.gradient(*run.loader.data.gather(row))
        run.optimizer.fused_step(scalars)
        self.counter += 1

    def _changed_tensors(self):
        """Every tensor that a step changes, but for gradients."""
        states = self.run.optimizer.state.values()
        optimizer = [t for state in states for name, t in state.items() if name != "step"]
        return [self.counter, self.total, *self.run.module.state_dict().values(), *optimizer]

    def __call__(self, run):
        """Train one epoch; n_samples times its mean loss, a tensor."""
        order = run.loader.next_permutation()
        if order is not None:
            self.order.copy_(torch.from_numpy(order), non_blocking=True)
        scalars = run.next_scalars(len(run.loader))
        self.scalars.copy_(torch.from_numpy(scalars), non_blocking=True)
        self.counter.zero_()
        self.total.zero_()
        for times, step in self.steps:
            for _ in range(times):
                step()
        return self.total


_capture_lock = Lock()  # captures of several threads would meet on their stream


def warmup(step: Callable, changed: list[torch.Tensor], device: torch.device, generator=None):
    """Run a step once, so that libraries allocate their workspaces, and undo what it changed."""
    before = [t.clone() for t in changed]
    state = None if generator is None else generator.get_state()
    gpus = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(gpus), _side_stream(device):
            step()
    finally:
        for t, value in zip(changed, before, strict=True):
            t.copy_(value)
        if generator is not None:
            generator.set_state(state)


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
