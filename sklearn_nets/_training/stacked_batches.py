"""The shuffled mini-batches of several runs, a row for each net."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import torch

from .._utils.buffer import Buffer

COPIED_BYTES = 2**25  # of a stack's data on the host


class StackedBatches:
    """Batches as their own loaders would give them, stacked: X, y, weight and counts.

    Each net sees the samples in the order that its own loader would draw. Where nets have the same
    data, it is read from one tensor; where all have the same order too, a batch is gathered once.
    Last batches of different lengths are filled up with samples of weight 0, and `counts` says how
    many samples there are; else `counts` is None.

    Of loaders that draw the same order the first draws for all; the others' random numbers stay
    where they are until `release`.

    Parameters
    ----------
    loaders : list of BatchLoader
        Of data on the device, with the same number of batches and the same batch size, unless
        there is only one batch.
    """

    def __init__(self, loaders):
        self.loaders, self._drawing = loaders, defaultdict(list)
        sharing = Counter(id(loader.random_state) for loader in loaders)
        for loader in loaders:  # from one generator (random_state=None) each draws for itself
            own = loader.random_state is not None and sharing[id(loader.random_state)] > 1
            self._drawing[id(loader) if own else order_key(loader)].append(loader)
        self.size = max(loader.batch_size for loader in loaders)
        self.n_steps = len(loaders[0])
        X, y, weight = (list(tensors) for tensors in zip(*(loader.data for loader in loaders)))
        if any(w is not None for w in weight):
            dtype = next(w.dtype for w in weight if w is not None)
            weight = [
                x.new_ones(len(x), dtype=dtype) if w is None else w for x, w in zip(X, weight)
            ]
        self.X, self.y = StackedRows(X), StackedRows(y)
        self.weight = None if weight[0] is None else StackedRows(weight)
        self.device = X[0].device
        rest = (self.n_steps - 1) * self.size
        last = [loader.n_samples - rest for loader in loaders]
        self.n_places = rest + max(last)
        self.counts, self.mask = None, None
        if len(set(last)) > 1:
            self.counts = last
            places = np.arange(max(last)) < np.array(last)[:, None]
            self.mask = torch.from_numpy(places).to(self.device)

    def next_orders(self) -> np.ndarray:
        """The samples of an epoch in order, (n_nets, n_places); one line if all nets' are equal."""
        for first, *others in self._drawing.values():
            rows = first.next_permutation()
            for loader in others:
                loader.rows = rows
        if len(self._drawing) == 1 and self.mask is None:
            return self._in_places(self.loaders[0])[None]
        return np.stack([self._in_places(loader) for loader in self.loaders])

    def release(self) -> None:
        """Bring the random numbers of every loader to where its own draws would have."""
        for first, *others in self._drawing.values():
            for loader in others:
                if first.random_state is not None:
                    loader.random_state.set_state(first.random_state.get_state())

    def gather(self, rows: torch.Tensor, last: bool) -> tuple:
        """X, y, weight and counts of a batch, for each net the samples in its line of `rows`."""
        X, y = self.X.gather(rows), self.y.gather(rows)
        weight = None if self.weight is None else self.weight.gather(rows)
        if self.mask is None or not last:
            return X, y, weight, None
        return X, y, self.mask.to(X.dtype) if weight is None else weight * self.mask, self.counts

    def _in_places(self, loader):
        """A net's samples in order, in all places; what fills them up is some sample."""
        places = np.zeros(self.n_places, dtype=np.int64)
        rows = np.arange(loader.n_samples) if loader.rows is None else loader.rows
        places[: loader.n_samples] = rows
        return places


def order_key(loader) -> tuple:
    """The same for loaders that shuffle alike."""
    rows = None if loader.rows is None else loader.rows.tobytes()
    if loader.random_state is None:
        return loader.n_samples, rows
    _, state, *position = loader.random_state.get_state()
    return loader.n_samples, rows, state.tobytes(), *position


class StackedRows:
    """Rows of several nets, which may be rows of the same tensor.

    Parameters
    ----------
    tensors : list of tensor of shape (n_samples, ...)
        One for each net.
    """

    def __init__(self, tensors):
        self.tensors, self.offsets, self._batch = tensors, None, Buffer()
        distinct = {id(tensor): tensor for tensor in tensors}
        # behind each other in one tensor they are gathered at once; large ones are not copied
        few_bytes = sum(tensor.nbytes for tensor in distinct.values()) <= COPIED_BYTES
        self.together = len(distinct) == 1 or few_bytes or tensors[0].device.type != "cpu"
        if self.together and len(distinct) > 1:
            starts = np.cumsum([0, *(len(tensor) for tensor in distinct.values())])
            first = dict(zip(distinct, starts))
            offsets = np.array([first[id(tensor)] for tensor in tensors])[:, None]
            self.offsets = torch.from_numpy(offsets).to(tensors[0].device)
            self.tensors = [torch.cat(list(distinct.values()))] * len(tensors)

    def gather(self, rows):
        """Rows of every net, (n_nets, n, ...), until the next call.

        One line of `rows` stands for all nets.
        """
        first, n_nets = self.tensors[0], len(self.tensors)
        shape = rows.shape[1], *first.shape[1:]
        if self.offsets is not None:
            rows = rows + self.offsets
        if self.together and len(rows) == 1:
            return first.index_select(0, rows[0]).expand(n_nets, *shape)
        if self.together:
            out = self._batch.view((n_nets * shape[0], *shape[1:]), first)
            return torch.index_select(first, 0, rows.reshape(-1), out=out).view(n_nets, *shape)
        batch = self._batch.view((n_nets, *shape), first)
        for tensor, order, out in zip(self.tensors, rows.expand(n_nets, -1), batch):
            torch.index_select(tensor, 0, order, out=out)
        return batch
