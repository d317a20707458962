"""Memory of devices, and copies to them."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from small_nets import IMAGES, X

from sklearn_nets._utils import device as _device
from sklearn_nets._utils.device import copy_to_device, fits_on_device

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_memory_that_torch_keeps_idle_is_free(monkeypatch):
    for name, value in {
        "mem_get_info": (100, 1000),
        "memory_reserved": 700,
        "memory_allocated": 300,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert _device.free_memory(torch.device("cuda:0")) == 100 + 400


def test_room_is_counted_in_the_type_that_is_held(monkeypatch):
    monkeypatch.setattr(_device, "free_memory", lambda device: X.nbytes)
    assert fits_on_device(X, torch.device("cuda"), torch.float32)
    assert not fits_on_device(X, torch.device("cuda"))
    assert fits_on_device(
        torch.zeros(1000, 1000), torch.device("cpu")
    )  # a tensor that is there already


@pytest.mark.parametrize("chunk", [1, 200, 2**26])
def test_upload_in_pieces(device, chunk, monkeypatch):
    monkeypatch.setattr(_device, "CHUNK", chunk)
    where = torch.device(device)
    for array in (
        X,
        X[::-1],
        X.astype(np.float32),
        IMAGES.transpose(0, 2, 1),
        (X * 16).astype("u1"),
    ):
        sent = copy_to_device(array, where, torch.float32)
        assert sent.dtype == torch.float32
        assert sent.device.type == device
        assert_array_equal(sent.cpu().numpy(), array.astype(np.float32))
        assert copy_to_device(array, where).cpu().numpy().dtype == array.dtype
