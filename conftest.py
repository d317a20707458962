"""Settings of the whole test run."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core: threads would only get in the way
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"

import pytest
import torch

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request):
    """Every device that is present."""
    return request.param


@pytest.fixture
def host(monkeypatch):
    """``device="auto"`` is the host, for what is compared in float64, to the bit, or in numpy.

    On a machine with a GPU, tests that do not ask for this run there.
    """
    monkeypatch.setattr("sklearn_nets._utils.device.fastest_device", lambda: torch.device("cpu"))
