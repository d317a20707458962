"""An epoch of steps that the host only asks for: one step is recorded as a CUDA graph.

A step of a small net is some forty kernels of 2 µs, launched one by one in 10 µs each. A graph
launches them all at once, but runs on the same memory every time. So the host writes the order of
the samples and the rates of an epoch into buffers on the device, and a step finds its own in them
by a counter that lives there too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import cache, partial
from threading import Lock

import torch


def suits_graph(net, batches) -> bool:
    """Whether the steps of a net over batches can be recorded as a CUDA graph."""
    # a recorded step draws no new numbers on the host: of augmentation only those that declare it
    drawn_on_device = net.augment is None or getattr(net.augment, "capturable", False)
    return (
        batches.device.type == "cuda"
        and not batches.streams
        and drawn_on_device
        and all(p.dtype == torch.float32 for p in net.module_.parameters())
    )


class GraphedEpoch:
    """The steps of a net over batches, ready to be replayed epoch after epoch.

    Parameters
    ----------
    net : TrainingNet
    batches : Batches
        Resident on the device.
    record : callable(step) -> callable, optional
        Turns a step into what repeats it; by default a CUDA graph of it.
    """

    def __init__(self, net, batches, record: Callable | None = None):
        record = partial(record_graph, device=batches.device) if record is None else record
        self.net, self.batches = net, batches
        device, size = batches.device, batches.batch_size
        n_full, rest = divmod(batches.n_samples, size)
        self.order = torch.arange(batches.n_samples, device=device)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)
        self.total = torch.zeros((), dtype=torch.float32, device=device)
        n_rates = net.optimizer_.rates([]).shape[1]
        # the kernels read rates as float32; those of a rehearsal move and decay nothing
        self.rates = torch.zeros(len(batches), n_rates, dtype=torch.float32, device=device)
        self.rates[:, 1:] = 1
        full, last = self.order[: n_full * size].view(n_full, size), self.order[n_full * size :]
        self.steps = []  # how often, and what
        for times, rows in ((n_full, full), (min(rest, 1), last[None])):
            if times:
                with _one_at_a_time:
                    rehearse(partial(self._step, rows), self._changed(), device)
                    self.steps.append((times, record(partial(self._step, rows))))

    @torch.no_grad()
    def _step(self, rows):
        """One step over the batch that the counter points at, or over the only one."""
        net, batches = self.net, self.batches
        row = rows.index_select(0, self.counter)[0] if len(rows) > 1 else rows[0]
        rates = self.rates.index_select(0, self.counter)[0]
        self.total += net.batch_gradient(*batches.gather(row))
        net.optimizer_.lean_step(rates)
        self.counter += 1

    def _changed(self):
        """Every tensor that a step changes, but for gradients."""
        states = self.net.optimizer_.state.values()
        optimizer = [t for state in states for name, t in state.items() if name != "step"]
        return [self.counter, self.total, *self.net.module_.state_dict().values(), *optimizer]

    def __call__(self, batches):
        """Train one epoch; n_samples times its mean loss, a tensor."""
        order = batches.next_order()
        if order is not None:
            self.order.copy_(torch.from_numpy(order), non_blocking=True)
        rates = self.net.optimizer_.rates(self.net.next_learning_rates(len(batches)))
        self.rates.copy_(torch.from_numpy(rates), non_blocking=True)
        self.counter.zero_()
        self.total.zero_()
        for times, step in self.steps:
            for _ in range(times):
                step()
        return self.total


_one_at_a_time = Lock()  # recordings of several threads would meet on their stream


def rehearse(step: Callable, changed: list[torch.Tensor], device: torch.device) -> None:
    """Run a step once, so that libraries make their workspaces, and undo what it changed."""
    before = [t.clone() for t in changed]
    cards = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cards), _aside(device):
            step()
    finally:
        for t, value in zip(changed, before, strict=True):
            t.copy_(value)


def record_graph(step: Callable, device: torch.device) -> Callable:
    """Record a step, which is not run, as a CUDA graph; a callable that replays it."""
    graph = torch.cuda.CUDAGraph()
    # the stream is named: torch's own choice is on the card of its first recording;
    # other threads may go on using the card meanwhile
    recording = torch.cuda.graph(graph, stream=_stream(device), capture_error_mode="thread_local")
    with _aside(device), recording:
        step()
    return graph.replay


@cache
def _stream(device):
    # one for all: libraries keep a workspace for every stream that they have seen
    return torch.cuda.Stream(device)


@contextmanager
def _aside(device):
    """On the stream for recordings; autograd would tie a step recorded elsewhere to its own."""
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
