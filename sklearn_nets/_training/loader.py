"""Training data and its shuffled mini-batches, on the device or streaming to it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array, csr_matrix, issparse

from .._utils.array_api import numpy_dtype, stays_sparse, to_tensor
from .._utils.device import copy_to_device, fits_on_device

PREFETCH = 2  # batches on their way to the device while one is trained on

# X, y, weight
Batch = tuple[torch.Tensor | csr_matrix | csr_array, torch.Tensor, torch.Tensor | None]


class DeviceData(NamedTuple):
    """Samples on the device: a batch is one `index_select`, or a view of consecutive samples."""

    X: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.X.device

    @property
    def index_device(self) -> torch.device:
        """Where the indices of a batch are wanted."""
        return self.X.device

    def gather(self, rows) -> Batch:
        """The batch of the given samples, a tensor of indices or a slice."""
        take = _slice if isinstance(rows, slice) else _index
        weight = None if self.weight is None else take(self.weight, rows)
        return take(self.X, rows), take(self.y, rows), weight

    def batches(self, pieces) -> Iterator[Batch]:
        """The batches of consecutive pieces of an epoch."""
        return map(self.gather, pieces)


class SparseData(NamedTuple):
    """Sparse rows (CSR) on the host, of the type `dtype`.

    A batch of them becomes dense, but for rows that are faster multiplied as they are.
    """

    X: csr_matrix | csr_array
    y: torch.Tensor
    weight: torch.Tensor | None
    device: torch.device
    dtype: torch.dtype

    @property
    def index_device(self) -> torch.device:
        """Where the indices of a batch are wanted."""
        return torch.device("cpu")

    def gather(self, rows) -> Batch:
        """The batch of the given samples, on the device."""
        X = self.X[rows if isinstance(rows, slice) else rows.numpy()]
        rows = rows if isinstance(rows, slice) else rows.to(self.device)
        weight = None if self.weight is None else self.weight[rows]
        if not stays_sparse(self.X, self.device):
            X = to_tensor(X, self.device, self.dtype)
        return X, self.y[rows], weight

    def batches(self, pieces) -> Iterator[Batch]:
        """The batches of consecutive pieces of an epoch."""
        return map(self.gather, pieces)


class StreamedData(NamedTuple):
    """Samples that do not fit on the device: gathered on the host by a thread, and sent ahead.

    `X` comes to the device as `dtype`; None keeps its own.
    """

    X: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor | None
    device: torch.device
    dtype: torch.dtype | None = None

    @property
    def index_device(self) -> torch.device:
        """Where the indices of a batch are wanted."""
        return torch.device("cpu")

    def gather(self, rows) -> Batch:
        """The batch of the given samples, on the device."""
        return self._receive(*self._send(rows, None))

    def batches(self, pieces) -> Iterator[Batch]:
        """The batches of consecutive pieces of an epoch, a few of them on their way."""
        stream = _copy_stream(self.device) if self.device.type == "cuda" else None
        with ThreadPoolExecutor(1) as thread:
            pending = deque()
            try:
                for piece in pieces:
                    pending.append(thread.submit(self._send, piece, stream))
                    if len(pending) > PREFETCH:
                        yield self._receive(*pending.popleft().result())
                while pending:
                    yield self._receive(*pending.popleft().result())
            finally:  # also when training stops on the way
                for future in pending:
                    future.cancel()

    def _send(self, rows, stream):
        """Gather a batch on the host and send it; the batch, and the event of its arrival."""
        if stream is None:
            return DeviceData(self.X, self.y, self.weight).gather(rows), None
        batch = []
        with torch.cuda.stream(stream):
            for tensor in (self.X, self.y, self.weight):
                # torch's pool of pinned memory gives a buffer out again once its copy is done
                pinned = None if tensor is None else _gather_pinned(tensor, rows)
                batch.append(None if tensor is None else pinned.to(self.device, non_blocking=True))
            return batch, stream.record_event()

    def _receive(self, batch, event) -> Batch:
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


def place(X, y, weight, device, *, dtype, y_dtype, weight_dtype) -> Data:
    """Put samples on the device; where X does not fit, keep them on the host to stream.

    Parameters
    ----------
    X : ndarray, tensor or sparse matrix
    y : ndarray or tensor
    weight : ndarray or None
    device : torch.device
    dtype, y_dtype : torch.dtype or None
        Types of X and y on the device; None keeps theirs, but for sparse X.
    weight_dtype : torch.dtype
    """
    sparse = issparse(X)
    resident = sparse or fits_on_device(X, device, dtype)
    where = device if resident else torch.device("cpu")
    y = to_tensor(y, where, y_dtype)
    weight = None if weight is None else to_tensor(weight, where, weight_dtype)
    if sparse:
        X = X.tocsr().astype(numpy_dtype(dtype), copy=False)
        return SparseData(X, y, weight, device, dtype)
    if resident:
        return DeviceData(copy_to_device(X, device, dtype), y, weight)
    return StreamedData(to_tensor(X, where), y, weight, device, dtype)


Data = DeviceData | SparseData | StreamedData


def gather_some(data: Data, most: int, among: torch.Tensor | None = None) -> Batch:
    """At most that many samples from all over the data, on the device.

    Parameters
    ----------
    data : DeviceData, SparseData or StreamedData
    most : int
    among : tensor of bool of shape (n_samples,), optional
        Which samples to take from, default all; of these only those that have weight, as in
        training: no weight is absence.
    """
    n = data.X.shape[0]
    if data.weight is not None:
        weighs = data.weight > 0
        among = weighs if among is None else among & weighs
    if among is None or bool(among.all()):
        return data.gather(slice(None, None, math.ceil(n / most)))
    rows = torch.nonzero(among)[:, 0]
    return data.gather(rows[:: math.ceil(len(rows) / most) or 1])


class BatchLoader:
    """Shuffled mini-batches of (X, y, weight).

    Nothing is collated sample by sample and X is never copied as a whole. A new pass draws a new
    permutation; it composes with the last one and comes from the same calls as in scikit-learn's
    MLP, so equal seeds see equal batches.

    Parameters
    ----------
    data : DeviceData, SparseData or StreamedData
    rows : ndarray of int, optional
        The samples to use, default all.
    batch_size : int
    random_state : RandomState or None
        Source of the shuffling; None keeps the order.
    """

    def __init__(self, data, *, rows=None, batch_size, random_state=None):
        self.data, self.rows = data, rows
        self.batch_size, self.random_state = batch_size, random_state

    @property
    def n_samples(self) -> int:
        return self.data.X.shape[0] if self.rows is None else len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.data.device

    def __len__(self) -> int:
        """Number of batches in one pass."""
        return -(-self.n_samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rows, size = self.next_permutation(), self.batch_size
        if rows is None:
            pieces = (slice(start, start + size) for start in range(0, self.n_samples, size))
        else:
            index = torch.from_numpy(rows).to(self.data.index_device, non_blocking=True)
            pieces = index.split(size)
        return self.data.batches(pieces)

    def next_permutation(self) -> np.ndarray | None:
        """The samples of the next pass in their order; None for all of them as they stand."""
        if self.random_state is not None:
            if self.rows is None:
                self.rows = np.arange(self.data.X.shape[0])
            rows = self.rows.copy()
            self.random_state.shuffle(rows)
            self.rows = rows
        return self.rows

    def state_dict(self) -> dict:
        """The order of the samples and the state of its random numbers."""
        random_state = None if self.random_state is None else self.random_state.get_state()
        return {"rows": self.rows, "random_state": random_state}

    def load_state_dict(self, state: dict) -> None:
        """Go on where another loader of the same samples was."""
        self.rows = state["rows"]
        if self.random_state is not None:
            self.random_state.set_state(state["random_state"])


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


def _index(tensor, rows):
    batch = tensor.index_select(0, rows)
    # index_select drops channels_last, with which convolutions on a CPU are twice as fast
    if tensor.ndim == 4 and tensor.stride(1) == 1:
        batch = batch.contiguous(memory_format=torch.channels_last)
    return batch
