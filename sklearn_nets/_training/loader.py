"""Shuffled mini-batches of tensors that live on the device, or that stream to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch

AHEAD = 2  # batches on their way to the device while one is trained on


class Batches:
    """Mini-batches of (X, y, weight), gathered on the device by index.

    Nothing is collated sample by sample and X is never copied as a whole: a batch is one
    `index_select` (or a view, without shuffling). A new pass draws a new order; the order
    composes with the last one and comes from the same calls as in scikit-learn's MLP, so equal
    seeds see equal batches.

    Data that has no room on the device stays on the host, and its batches stream: they are
    gathered there by a thread, two ahead of the training.

    Parameters
    ----------
    X, y : tensor
        Inputs and targets; the first axis counts samples.
    weight : tensor of shape (n_samples,) or None
    rows : ndarray of int, optional
        The samples to use, default all.
    batch_size : int
    random_state : RandomState or None
        Source of the shuffling; None keeps the order.
    device : torch.device, optional
        Where batches are wanted; by default where X is.
    dtype : torch.dtype, optional
        Type of a batch of X; None keeps that of X.
    streams : bool, default=False
        Whether X, y and weight are on the host and their batches stream to the device.
    """

    def __init__(
        self, X, y, weight=None, *, rows=None, batch_size, random_state=None, device=None,
        dtype=None, streams=False,
    ):  # fmt: skip
        self.X, self.y, self.weight = X, y, weight
        self.rows = rows
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = X.device if device is None else device
        self.dtype = X.dtype if dtype is None else dtype
        self.streams = streams

    @property
    def n_samples(self) -> int:
        return len(self.X) if self.rows is None else len(self.rows)

    def __len__(self) -> int:
        """Number of batches in one pass."""
        return -(-self.n_samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        rows = self.next_order()
        if rows is None:
            n, size = self.n_samples, self.batch_size
            pieces = (slice(start, start + size) for start in range(0, n, size))
        else:
            where = torch.device("cpu") if self.streams else self.device
            pieces = torch.from_numpy(rows).to(where, non_blocking=True).split(self.batch_size)
        if self.streams:
            return self._stream(pieces)
        return map(self.gather, pieces)

    def next_order(self) -> np.ndarray | None:
        """The samples of the next pass in their order; None for all of them as they stand."""
        if self.random_state is not None:
            if self.rows is None:
                self.rows = np.arange(len(self.X))
            order = np.arange(len(self.rows))
            self.random_state.shuffle(order)
            self.rows = self.rows[order]
        return self.rows

    def gather(self, rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The batch of the given samples, indices or a slice."""
        take = _slice if isinstance(rows, slice) else _gather
        return (
            take(self.X, rows),
            take(self.y, rows),
            None if self.weight is None else take(self.weight, rows),
        )

    def _stream(self, pieces):
        stream = _copy_stream(self.device) if self.device.type == "cuda" else None
        with ThreadPoolExecutor(1) as thread:
            coming = deque()
            try:
                for piece in pieces:
                    coming.append(thread.submit(self._fetch, piece, stream))
                    if len(coming) > AHEAD:
                        yield self._arrived(*coming.popleft().result())
                while coming:
                    yield self._arrived(*coming.popleft().result())
            finally:  # also when training stops on the way
                for future in coming:
                    future.cancel()

    def _fetch(self, rows, stream):
        """Gather a batch on the host and send it off; the batch, and when it will be there."""
        if stream is None:
            return self.gather(rows), None
        batch = []
        with torch.cuda.stream(stream):
            for tensor in (self.X, self.y, self.weight):
                # torch's pool of pinned memory gives a buffer out again once its copy is done
                pinned = None if tensor is None else _gather_pinned(tensor, rows)
                batch.append(None if tensor is None else pinned.to(self.device, non_blocking=True))
            return batch, stream.record_event()

    def _arrived(self, batch, event):
        """The batch, for use on the current stream."""
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)
            for tensor in batch:
                if tensor is not None:
                    tensor.record_stream(current)
        X, y, weight = batch
        weight = None if weight is None else weight.to(self.device)
        return X.to(self.device, self.dtype), y.to(self.device), weight


@cache
def _copy_stream(device):
    return torch.cuda.Stream(device)  # one for all: memory freed on a stream is kept for it


def _slice(tensor, rows):
    return tensor[rows]


def _gather_pinned(tensor, rows):
    n = len(range(*rows.indices(len(tensor)))) if isinstance(rows, slice) else len(rows)
    pinned = torch.empty((n, *tensor.shape[1:]), dtype=tensor.dtype, pin_memory=True)
    if isinstance(rows, slice):
        return pinned.copy_(tensor[rows])
    return torch.index_select(tensor, 0, rows, out=pinned)


def _gather(tensor, rows):
    batch = tensor.index_select(0, rows)
    # index_select forgets channels_last, which convolutions on CPU run twice as fast with
    if tensor.ndim == 4 and tensor.stride(1) == 1:
        batch = batch.contiguous(memory_format=torch.channels_last)
    return batch
