"""Progressive resizing: training images are smaller at first, and predictions never."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from sklearn_nets import CNNClassifier, CNNRegressor, ViTClassifier
from sklearn_nets._training import loop as training
from sklearn_nets._training.cuda_graph import CUDAGraphEpoch
from sklearn_nets._training.schedules import ProgressiveResizing
from sklearn_nets.datasets import make_digit_scenes
from sklearn_nets.modules.interfaces import Backbone
from sklearn_nets.modules.resizing import Resize
from sklearn_nets.modules.vit import VisionTransformer
from sklearn_nets.segmentation import SegmentationNet

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
DIGITS, Y = load_digits(return_X_y=True)
IMAGES, Y = (
    DIGITS[:64].reshape(-1, 8, 8).repeat(4, 1).repeat(4, 2).astype(np.uint8),
    Y[:64],
)  # 32x32


class Sizes(Backbone):
    """Notes the sizes of the images that it sees in training."""

    size_multiple = 4

    def __init__(self, image_shape, n_outputs):
        super().__init__()
        self.linear = nn.Linear(image_shape[0], n_outputs)
        self.image_shape, self.seen = tuple(image_shape), []

    def forward_features(self, X):
        if self.training:
            self.seen.append(tuple(X.shape[2:]))
        else:
            assert X.shape[1:] == self.image_shape
        return X.amax((2, 3))

    def get_classifier(self):
        return self.linear


class OneSize(Sizes):
    size_multiple = None


def sizes_seen(cls=CNNClassifier, method="fit", **settings):
    """Sizes in the order in which training first sees them."""
    model = cls(**{"architecture": Sizes, "max_iter": 8, "random_state": 0, **settings})
    getattr(model, method)(IMAGES, Y)
    model.predict(IMAGES)
    return list(dict.fromkeys(model.net_.module_[1].seen))


@pytest.mark.parametrize("n_epochs", [*range(1, 12), 20, 40])
def test_images_grow_and_end_at_their_size(n_epochs):
    resizes = [ProgressiveResizing(n_epochs)(epoch) for epoch in range(n_epochs)]
    scales = [1.0 if resize is None else resize.scale for resize in resizes]
    assert scales == sorted(scales)
    assert set(scales) <= {0.625, 0.75, 0.875, 1.0}
    assert scales.count(1.0) == n_epochs - n_epochs // 2
    if n_epochs % 6 == 0:
        assert [scales.count(s) for s in (0.625, 0.75, 0.875)] == [n_epochs // 6] * 3


@pytest.mark.parametrize("cls", [CNNClassifier, CNNRegressor])
def test_training_sees_images_that_grow(cls):
    assert sizes_seen(cls=cls) == [(20, 20), (24, 24), (28, 28), (32, 32)]


@pytest.mark.parametrize(
    "settings",
    [
        {"progressive_resizing": False},
        {"architecture": OneSize},
        {"learning_rate": "constant"},
        {"early_stopping": True},
        {"freeze": "backbone"},
        {"method": "partial_fit", "cls": CNNRegressor},
        {"max_iter": 1},
    ],
    ids=str,
)
def test_images_keep_their_size(settings):
    assert sizes_seen(**settings) == [(32, 32)]


@pytest.mark.parametrize(("side", "n_sizes"), [(23, 1), (24, 4)])
def test_small_images_keep_their_size(side, n_sizes):
    images = IMAGES[:, :side]
    model = CNNClassifier(architecture=Sizes, max_iter=8).fit(images, Y)
    assert len(set(model.net_.module_[1].seen)) == n_sizes


@pytest.mark.parametrize(
    ("scale", "multiple", "size"),
    [
        (0.75, 1, (24, 30)),
        (0.75, 16, (32, 32)),
        (0.625, 16, (16, 32)),
        (0.1, 4, (4, 4)),
        (0.9, 64, (32, 40)),
    ],
)
def test_sides_are_the_nearest_multiples(scale, multiple, size):
    X, _ = Resize(scale, multiple)(torch.rand(2, 3, 32, 40), torch.arange(2))
    assert X.shape == (2, 3, *size)


def test_resized_images_are_torchvisions():
    X, resize = torch.rand(2, 3, 32, 40, dtype=torch.float64), Resize(0.75, 8)
    small, y = resize(X, torch.arange(2))
    assert_allclose(small, TF.resize(X, [24, 32], antialias=True), atol=1e-12)
    assert_array_equal(y, [0, 1])
    as_bytes = (255 * X).round().to(torch.uint8)
    assert_allclose(resize(as_bytes, y)[0] / 255, small, atol=1 / 255)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_masks_go_along(dtype):
    top = 2**15 - 1 if dtype != torch.uint8 else 255  # labels are taken, never averaged
    mask = torch.zeros(1, 32, 32, dtype=dtype)
    mask[:, 8:20, 16:] = top
    X, small = Resize(0.75)(mask[:, None].double(), mask)
    assert small.dtype == dtype
    assert set(small.unique().tolist()) == {0, top}
    assert_array_equal(small == top, X[:, 0] > top / 2)


def test_masks_of_a_net_shrink_with_the_images():
    scenes = make_digit_scenes(8, random_state=0)
    settings = {"channels": (4, 8), "max_iter": 4, "augment": None, "random_state": 0}
    grown = SegmentationNet(progressive_resizing=True, **settings).fit(scenes.images, scenes.masks)
    plain = SegmentationNet(**settings).fit(scenes.images, scenes.masks)
    assert grown.predict(scenes.images).shape == scenes.masks.shape
    assert grown.loss_curve_[0] != plain.loss_curve_[0]
    assert np.isfinite(grown.loss_curve_).all()


def test_positions_are_interpolated():
    vit = VisionTransformer((1, 32, 32), 3, embed_dim=8, num_heads=2).double()
    X = torch.rand(2, 1, 20, 24, dtype=torch.float64)
    maps = F.interpolate(vit.position.T.reshape(1, 8, 8, 8), (5, 6), mode="bilinear")
    tokens = vit.tokenizer(X) + maps[0].permute(1, 2, 0).reshape(30, 8)
    tokens = vit.norm(vit.blocks(tokens))
    pooled = (vit.attention(tokens).softmax(1) * tokens).sum(1)
    torch.testing.assert_close(vit(X), vit.head(pooled))
    vit(X).sum().backward()
    assert vit.position.grad.any(1).all()  # every place learns from smaller images


def test_patches_have_one_size():
    assert VisionTransformer((1, 28, 28), 3).size_multiple == 4
    assert VisionTransformer((1, 28, 28), 3, patch_size=4).size_multiple is None


@pytest.mark.parametrize("cls", [CNNClassifier, ViTClassifier])
def test_twice_the_same_and_another_than_without(cls):
    fits = [
        cls(max_iter=4, random_state=0, progressive_resizing=resized).fit(IMAGES, Y)
        for resized in (True, True, False)
    ]
    first, second, without = (m.predict_proba(IMAGES) for m in fits)
    assert_array_equal(first, second)
    assert not np.allclose(first, without)


def test_steps_are_captured_anew_for_each_size(monkeypatch):
    settings = {"max_iter": 8, "random_state": 0, "precision": "float32"}
    by_step = CNNClassifier((4, 8), **settings).fit(IMAGES, Y)
    captured = []

    class Epoch(CUDAGraphEpoch):
        def __init__(self, run):
            captured.append(run.gradient.resize)
            super().__init__(run, lambda step: step)

    monkeypatch.setattr(training, "MIN_STEPS_TO_CAPTURE", 0)
    monkeypatch.setattr(training, "can_capture", lambda run: True)
    monkeypatch.setattr(training, "CUDAGraphEpoch", Epoch)
    replayed = CNNClassifier((4, 8), **settings).fit(IMAGES, Y)
    assert captured == [*(Resize(scale, 4) for scale in (0.625, 0.75, 0.875)), None]
    assert_allclose(replayed.loss_curve_, by_step.loss_curve_, rtol=2e-5)
