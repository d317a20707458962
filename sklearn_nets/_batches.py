"""Shuffled mini-batches of tensors that live on the device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch


class Batches:
    """Mini-batches of (X, y, weight), gathered on the device by index.

    Nothing is collated sample by sample and X is never copied as a whole: a batch is one
    `index_select` (or a view, without shuffling). A new pass draws a new order; the order
    composes with the last one and comes from the same calls as in scikit-learn's MLP, so equal
    seeds see equal batches.

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
    """

    def __init__(self, X, y, weight=None, *, rows=None, batch_size, random_state=None):
        self.X, self.y, self.weight = X, y, weight
        self.rows = rows
        self.batch_size = batch_size
        self.random_state = random_state

    @property
    def n_samples(self) -> int:
        return len(self.X) if self.rows is None else len(self.rows)

    def __len__(self) -> int:
        """Number of batches in one pass."""
        return -(-self.n_samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        n, size = self.n_samples, self.batch_size
        if self.random_state is not None:
            if self.rows is None:
                self.rows = np.arange(n)
            order = np.arange(n)
            self.random_state.shuffle(order)
            self.rows = self.rows[order]
        if self.rows is None:
            take, pieces = _slice, (slice(start, start + size) for start in range(0, n, size))
        else:
            rows = torch.from_numpy(self.rows).to(self.X.device, non_blocking=True)
            take, pieces = _gather, rows.split(size)
        for piece in pieces:
            yield (
                take(self.X, piece),
                take(self.y, piece),
                None if self.weight is None else take(self.weight, piece),
            )


def _slice(tensor, rows):
    return tensor[rows]


def _gather(tensor, rows):
    batch = tensor.index_select(0, rows)
    # index_select forgets channels_last, which convolutions on CPU run twice as fast with
    if tensor.ndim == 4 and tensor.stride(1) == 1:
        batch = batch.contiguous(memory_format=torch.channels_last)
    return batch
