"""The shuffled mini-batches of several runs, a row for each net."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch


class StackedBatches:
    """Batches as their own loaders would give them, stacked: X, y, weight and counts.

    Each net sees the samples in the order that its own loader draws. Where nets have the same data,
    it is read from one tensor; where they have the same order too, a batch is gathered once. Last
    batches of different lengths are filled up with samples of weight 0, and `counts` says how many
    samples there are; else `counts` is None.

    Parameters
    ----------
    loaders : list of BatchLoader
        Of data on the device, with the same number of batches and the same batch size, unless
        there is only one batch.
    """

    def __init__(self, loaders):
        self.loaders = loaders
        self.size = max(loader.batch_size for loader in loaders)
        self.n_steps = len(loaders[0])
        self.X, self.y, self.weight = (list(ts) for ts in zip(*(ld.data for ld in loaders)))
        rest = (self.n_steps - 1) * self.size
        last = [loader.n_samples - rest for loader in loaders]
        self.counts, self.mask = None, None
        if len(set(last)) > 1:
            self.counts = last
            places = np.arange(max(last)) < np.array(last)[:, None]
            self.mask = torch.from_numpy(places).to(self.X[0].device)
        self.n_places = rest + max(last)
        if all(weight is None for weight in self.weight):
            self.weight = None
        else:
            dtype = next(weight.dtype for weight in self.weight if weight is not None)
            self.weight = [
                X.new_ones(len(X), dtype=dtype) if weight is None else weight
                for X, weight in zip(self.X, self.weight)
            ]

    def __iter__(self) -> Iterator[tuple]:
        orders = np.stack([self._next_order(loader) for loader in self.loaders])
        same = bool((orders == orders[0]).all()) and self.mask is None
        index = torch.from_numpy(orders[:1] if same else orders).to(self.X[0].device)
        for step in range(self.n_steps):
            rows = index[:, step * self.size : (step + 1) * self.size]
            X, y = _gather(self.X, rows), _gather(self.y, rows)
            weight = None if self.weight is None else _gather(self.weight, rows)
            if self.mask is None or step < self.n_steps - 1:
                yield X, y, weight, None
            else:
                mask = self.mask.to(X.dtype) if weight is None else weight * self.mask
                yield X, y, mask, self.counts

    def _next_order(self, loader):
        """A net's samples in order, in all places; what fills them up is some sample."""
        places = np.zeros(self.n_places, dtype=np.int64)
        order = loader.next_permutation()
        places[: loader.n_samples] = np.arange(loader.n_samples) if order is None else order
        return places


def _gather(tensors, rows):
    """Rows of every net's tensor, (n_nets, n, ...); one line of rows stands for all nets."""
    first = tensors[0]
    if all(tensor is first for tensor in tensors):
        if len(rows) == 1:
            return first.index_select(0, rows[0]).expand(len(tensors), *_batch_shape(first, rows))
        return first.index_select(0, rows.reshape(-1)).unflatten(0, rows.shape)
    batch = first.new_empty(len(tensors), *_batch_shape(first, rows))
    for i, tensor in enumerate(tensors):
        torch.index_select(tensor, 0, rows[i if len(rows) > 1 else 0], out=batch[i])
    return batch


def _batch_shape(tensor, rows):
    return (rows.shape[1], *tensor.shape[1:])
