"""Batches in scikit-learn's order, without a copy of X, on the device or streaming to it."""

import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import gen_batches, shuffle
from skorch.callbacks import Callback
from small_nets import IMAGES, X, Y, cnn, mlp

from sklearn_nets import SegmentationNet
from sklearn_nets._training.loader import BatchLoader, DeviceData, StreamedData
from sklearn_nets._utils import device as _device
from sklearn_nets._utils.device import copy_to_device
from sklearn_nets.datasets import make_digit_scenes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class DataPointer(Callback):
    """Notes where the data lies that a net is trained on."""

    def on_epoch_end(self, net, dataset_train, **kwargs):
        self.pointer = dataset_train.data.X.data_ptr()


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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_streamed_batches_are_the_batches(device, weighted, shuffled):
    data, codes = torch.from_numpy(X), torch.from_numpy(Y)
    weight = torch.arange(len(X)) * 1.0 if weighted else None

    def batches(source):
        random_state = np.random.RandomState(5) if shuffled else None
        return BatchLoader(source, batch_size=32, random_state=random_state)

    resident = batches(DeviceData(data, codes, weight))
    streamed = batches(StreamedData(data, codes, weight, torch.device(device), torch.float32))
    for expected, got in zip(resident, streamed, strict=True):
        assert got[0].device.type == device
        assert got[0].dtype == torch.float32
        assert torch.equal(got[0].cpu(), expected[0].float())
        assert torch.equal(got[1].cpu(), expected[1])
        assert (got[2] is None) == (weight is None)
        assert weight is None or torch.equal(got[2].cpu(), expected[2])


def test_streamed_batches_arrive_on_any_device():
    data, weight = torch.from_numpy(X), torch.ones(len(X))
    source = StreamedData(data, data, weight, torch.device("meta"))
    for batch in BatchLoader(source, batch_size=64):
        assert {tensor.device.type for tensor in batch} == {"meta"}


def test_a_stream_that_is_left_ends_its_thread():
    data = torch.from_numpy(X)
    before = threading.active_count()
    for _ in BatchLoader(StreamedData(data, data, None, data.device), batch_size=8):
        break
    assert threading.active_count() == before


@pytest.mark.parametrize("net", [mlp, cnn])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_data_without_room_streams_to_the_same_net(net, device, early_stopping, monkeypatch):
    data = X if net is mlp else IMAGES
    settings = {"early_stopping": early_stopping, "device": device}
    resident = net(**settings).fit(data, Y)
    monkeypatch.setattr(
        _device, "free_memory", lambda device: data.nbytes // 4
    )  # half of it for data
    seen = []
    batches = StreamedData.batches
    monkeypatch.setattr(
        StreamedData,
        "batches",
        lambda self, *a: seen.append(self.X.device.type) or batches(self, *a),
    )
    streamed = net(**settings).fit(data, Y)
    assert set(seen) == {"cpu"}
    if device == "cpu":  # bitwise; elsewhere steps may be replayed, which rounds in another order
        assert streamed.loss_curve_ == resident.loss_curve_
        assert_array_equal(streamed.predict_proba(data), resident.predict_proba(data))
    assert_allclose(streamed.loss_curve_, resident.loss_curve_, rtol=1e-2)


def test_weights_stream_too_and_are_split(monkeypatch):
    weight = np.arange(len(Y)) % 3 * 1.0
    settings = {"early_stopping": True, "batch_size": 32}
    resident = mlp(**settings).fit(X, Y, sample_weight=weight)
    monkeypatch.setattr(_device, "free_memory", lambda device: 1)
    streamed = mlp(**settings).fit(X, Y, sample_weight=weight)
    assert streamed.loss_curve_ == resident.loss_curve_
    assert streamed.validation_scores_ == resident.validation_scores_


@pytest.mark.usefixtures("host")
def test_masks_stream_with_their_images(monkeypatch):
    scenes = make_digit_scenes(6, random_state=0)
    settings = {"batch_size": 4, "max_iter": 2, "random_state": 0}
    resident = SegmentationNet((4, 8), **settings).fit(scenes.images, scenes.masks)
    monkeypatch.setattr(_device, "free_memory", lambda device: 1)
    streamed = SegmentationNet((4, 8), **settings).fit(scenes.images, scenes.masks)
    assert streamed.loss_curve_ == resident.loss_curve_


def test_lbfgs_says_that_it_needs_all_of_x(monkeypatch):
    monkeypatch.setattr(_device, "free_memory", lambda device: 1)
    with pytest.raises(
        ValueError, match=r"solver='lbfgs' takes all of X at once.*Use solver='adam'"
    ):
        mlp(solver="lbfgs").fit(X, Y)


@pytest.mark.usefixtures("host")
def test_a_memory_map_is_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert copy_to_device(mapped, torch.device("cpu")).data_ptr() == mapped.ctypes.data
    model = mlp(callbacks=[DataPointer()]).fit(mapped, Y)
    assert model.callbacks[0].pointer == mapped.ctypes.data
    assert model.loss_curve_ == mlp().fit(X, Y).loss_curve_
