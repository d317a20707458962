"""Every layout of images is the same data."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_nets._base.images import input_statistics, to_channels_first
from sklearn_nets._base.precision import image_precision


def test_layouts_are_views_of_the_same_image():
    X = np.arange(2 * 3 * 8 * 9, dtype=np.uint8).reshape(2, 3, 8, 9)
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    for given in (X, last, torch.from_numpy(X), torch.from_numpy(last)):
        out = to_channels_first(given)
        assert np.array_equal(np.asarray(out), X)
        assert np.shares_memory(np.asarray(out), np.asarray(given))
    assert to_channels_first(X[:, 0]).shape == (2, 1, 8, 9)


def test_channels_first_wins_where_both_could_be():
    assert to_channels_first(np.zeros((2, 3, 8, 4))).shape == (2, 3, 8, 4)
    assert to_channels_first(np.zeros((2, 8, 8, 4))).shape == (2, 4, 8, 8)
    with pytest.raises(ValueError, match="Expected images as"):
        to_channels_first(np.zeros((2, 2, 8, 8, 3)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_are_the_weighted_moments(dtype, weighted):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 256, (1100, 3, 4, 5)).astype(dtype) + dtype(0)
    weight = rng.randint(0, 3, 1100) if weighted else np.ones(1100, int)
    mean, scale = input_statistics(
        torch.from_numpy(X), torch.from_numpy(weight.astype(float)) if weighted else None
    )
    repeated = np.repeat(X, weight, axis=0).astype(float)
    assert_allclose(mean.numpy(), repeated.mean((0, 2, 3)), rtol=1e-12)
    assert_allclose(scale.numpy(), repeated.std((0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, None)])
def test_bfloat16_only_where_the_card_computes_in_it(able, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    precision = image_precision("auto", np.zeros((2, 8, 8)), torch.device("cuda:0"), tabular=False)
    assert precision.autocast == expected
    assert precision.dtype == torch.float32
