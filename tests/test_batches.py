"""Batches: the same order as scikit-learn's, no copy of X."""

import numpy as np
import torch
from sklearn.utils import gen_batches, shuffle

from sklearn_nets._training.loader import BatchLoader, DeviceData


def test_same_order_as_scikit_learn():
    X = torch.arange(23)
    batches = BatchLoader(DeviceData(X, X), batch_size=5, random_state=np.random.RandomState(3))
    random_state, order = np.random.RandomState(3), np.arange(23)
    for _ in range(3):
        order = shuffle(order, random_state=random_state)
        expected = [order[piece].tolist() for piece in gen_batches(23, 5)]
        assert [batch[0].tolist() for batch in batches] == expected


def test_every_row_once_with_its_target_and_weight():
    rows = np.array([1, 3, 4, 8])
    X, weight = torch.arange(10.0)[:, None], torch.arange(10.0) * 2
    batches = BatchLoader(
        DeviceData(X, X[:, 0], weight),
        rows=rows,
        batch_size=3,
        random_state=np.random.RandomState(0),
    )
    assert (batches.n_samples, len(batches)) == (4, 2)
    seen = []
    for X_batch, y_batch, w_batch in batches:
        assert torch.equal(X_batch[:, 0], y_batch)
        assert torch.equal(w_batch, y_batch * 2)
        seen += y_batch.tolist()
    assert sorted(seen) == rows.tolist()


def test_without_shuffling_batches_are_views():
    X = torch.zeros(10, 3)
    for start, (batch, _, weight) in zip(
        range(0, 10, 4), BatchLoader(DeviceData(X, X), batch_size=4)
    ):
        assert batch.data_ptr() == X[start:].data_ptr()
        assert weight is None


def test_channels_last_survives_gathering():
    X = torch.zeros(6, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    batches = BatchLoader(DeviceData(X, X), batch_size=2, random_state=np.random.RandomState(0))
    for batch, _, _ in batches:
        assert batch.is_contiguous(memory_format=torch.channels_last)
