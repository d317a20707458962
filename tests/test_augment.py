"""Augmentation of training batches, and compiled nets."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import mannwhitneyu, norm
from sklearn.base import clone
from sklearn.datasets import load_digits
from small_nets import IMAGES, Y, cnn

from sklearn_nets import (
    CNNClassifier,
    DetectionNet,
    RandomFlipShift,
    RandomZoom,
    SegmentationNet,
    ViTClassifier,
)
from sklearn_nets.datasets import make_digit_scenes
from sklearn_nets.modules import mirroring
from sklearn_nets.modules.augment import EachImage
from sklearn_nets.modules.mirroring import _edges, _pixels, _told_apart, mirroring_keeps_targets

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_flips_and_shifts_take_masks_along(device):
    images = torch.arange(5 * 2 * 9 * 7).reshape(5, 2, 9, 7).to(device)
    masks = images[:, 0] * 10
    X_new, y_new = RandomFlipShift(hflip=0.5, shift=3)(images, masks)
    assert X_new.shape == images.shape
    assert torch.equal(X_new[:, 0] * 10, y_new)
    for old, new in zip(images, X_new):  # nothing comes from another image
        assert set(new.unique().tolist()) <= set(old.unique().tolist())
    assert not torch.equal(X_new, images)


def test_flips_and_shifts_by_hand():
    torch.manual_seed(0)
    row = torch.arange(5)[None, None, None, :].repeat(40, 1, 5, 1)
    X_new, y = RandomFlipShift(hflip=0.0, shift=1)(row, torch.arange(40))
    assert y.tolist() == list(range(40))
    possible = {(1, 0, 1, 2, 3), (0, 1, 2, 3, 4), (1, 2, 3, 4, 3)}  # mirrored at the border
    assert {tuple(line.tolist()) for line in X_new.reshape(-1, 5)} == possible
    flipped, _ = RandomFlipShift(hflip=1.0, shift=0)(row, y)
    assert torch.equal(flipped, row.flip(3))
    with pytest.raises(ValueError, match="shift=5 must be less than the images' height and width"):
        RandomFlipShift(shift=5)(row, y)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        *((RandomFlipShift, {"shift": s}) for s in (-1, 1.5, (1, -1), (1,), "2", None)),
        *((cls, {"hflip": p}) for cls in (RandomFlipShift, RandomZoom) for p in (7, -0.1, "x")),
        *((RandomZoom, {"scale": s}) for s in ((0, 1), (1.5, 0.75), (1,), 2.0, (1, np.inf), "ab")),
        *((RandomZoom, {"jitter": j}) for j in (-1, np.nan, None)),
        (RandomZoom, {"vflip": 2}),
    ],
    ids=str,
)
def test_augmentations_refuse_what_they_cannot_draw(make, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be"):
        make(**wrong)


def test_augmentation_trains_on_changed_images(device):
    plain = cnn(device=device).fit(IMAGES, Y)
    still = cnn(device=device, augment=RandomFlipShift(0.0, 0)).fit(IMAGES, Y)
    moved = cnn(device=device, augment=RandomFlipShift(0.0, 1)).fit(IMAGES, Y)
    again = cnn(device=device, augment=RandomFlipShift(0.0, 1)).fit(IMAGES, Y)
    assert_allclose(still.loss_curve_, plain.loss_curve_, rtol=1e-4)
    assert abs(moved.loss_ - plain.loss_) > 1e-3
    if device == "cpu":
        assert moved.loss_curve_ == again.loss_curve_
    pickle.loads(pickle.dumps(moved)).predict(IMAGES)


@pytest.mark.parametrize("kind", ["image", "mask", "boxes"])
def test_auto_is_the_same_augmentation_made_by_hand(kind):
    """Whether mirroring does harm is asked without a draw from what orders the batches."""
    scenes = make_digit_scenes(24, image_size=(32, 32), random_state=0)
    settings = {"batch_size": 8, "max_iter": 1, "random_state": 0}
    boxes = [{"boxes": b, "labels": k} for b, k in zip(scenes.boxes, scenes.labels, strict=True)]
    model, X, y = {
        "image": (CNNClassifier((4,), **settings), IMAGES, Y),
        "mask": (SegmentationNet((4, 8), **settings), scenes.images, scenes.masks),
        "boxes": (DetectionNet(channels=(4, 8, 8), **settings), scenes.images, boxes),
    }[kind]
    chosen = []

    def auto(source, random_state):
        chosen.append(type(model)._auto_augmentation(model, source, random_state))
        return chosen[0]

    model._auto_augmentation = auto
    model.fit(X, y)
    by_hand = clone(model).set_params(augment=chosen[0]).fit(X, y)
    assert by_hand.loss_curve_ == model.loss_curve_


def test_zoom_takes_masks_along(device):
    generator = torch.Generator(device).manual_seed(0)
    images = torch.rand(64, 1, 16, 20, device=device).round()
    masks = images[:, 0].to(torch.int16)
    still, same = RandomZoom(0.0, scale=(1.0, 1.0), jitter=0.0)(images, masks, generator)
    assert_allclose(still.cpu(), images.cpu(), atol=1e-5)
    assert torch.equal(same, masks)
    X_new, y_new = RandomZoom(0.5, scale=(0.5, 2.0), jitter=0.0)(images, masks, generator)
    assert y_new.dtype == masks.dtype
    assert set(y_new.unique().tolist()) == {0, 1}
    agree = ((X_new[:, 0] > 0.5) == (y_new > 0)).float().mean()
    assert agree > 0.9  # nearest and bilinear differ where labels meet
    flipped, y_flipped = RandomZoom(1.0, scale=(1.0, 1.0), jitter=0.0)(images, masks, generator)
    assert_allclose(flipped.cpu(), images.flip(3).cpu(), atol=1e-5)
    assert torch.equal(y_flipped, masks.flip(2))
    bright, _ = RandomZoom(jitter=0.5, scale=(1.0, 1.0))(images, masks, generator)
    means = bright.mean((1, 2, 3)) - images.mean((1, 2, 3))
    assert means.std() > 0.01


@pytest.mark.parametrize("kind", [RandomFlipShift, RandomZoom])
def test_as_many_are_mirrored_as_was_asked(kind):
    X = torch.arange(6.0).view(1, 1, 2, 3).repeat(4000, 1, 1, 1)
    settings = {"shift": 0} if kind is RandomFlipShift else {"scale": (1, 1), "jitter": 0.0}
    generator = torch.Generator().manual_seed(0)
    X_new, _ = kind(hflip=0.3, **settings)(X, torch.zeros(len(X)), generator)
    mirrored = X_new[:, 0, 0, 0] > X_new[:, 0, 0, 2]
    assert_allclose(X_new[mirrored], X[mirrored].flip(3), atol=1e-4)
    assert_allclose(X_new[~mirrored], X[~mirrored], atol=1e-4)
    assert_allclose(mirrored.double().mean(), 0.3, atol=0.03)  # four standard errors
    if kind is RandomZoom:
        X_new, _ = RandomZoom(vflip=0.2, **settings)(X, torch.zeros(len(X)), generator)
        upside_down = X_new[:, 0, 0, 0] > X_new[:, 0, 1, 0]
        assert_allclose(X_new[upside_down], X[upside_down].flip(2), atol=1e-4)
        assert_allclose(upside_down.double().mean(), 0.2, atol=0.026)


def test_zoom_changes_as_much_as_it_says():
    """Sizes by the factors of `scale`, alike in logarithms; places all over the image."""
    y = torch.tensor([[[19.5, 19.5, 20.5, 20.5, 0.0]]], dtype=torch.float64).repeat(4000, 1, 1)
    X, generator = torch.zeros(len(y), 1, 40, 40), torch.Generator().manual_seed(0)
    _, y_new = RandomZoom(scale=(0.5, 1.5), jitter=0.0)(X, y, generator)
    y_new = y_new[y_new[:, 0, 4] == 0, 0]
    sides = (y_new[:, 2:4] - y_new[:, :2]).log()
    assert_allclose(sides[:, 0], sides[:, 1], atol=1e-4)
    assert_allclose([sides.min(), sides.max()], np.log([0.5, 1.5]), atol=0.005)
    assert_allclose(sides.mean(), np.log(0.75) / 2, atol=0.02)
    small, places = sides[:, 0] < np.log(0.6), (y_new[:, :2] + y_new[:, 2:4]) / 2
    assert_allclose(places[small].amin(0), 10, atol=2.5)  # the image, half as large, is inside
    assert_allclose(places[small].amax(0), 30, atol=2.5)
    assert abs(np.corrcoef(places[small].T)[0, 1]) < 0.2  # rows and columns on their own


def test_jitter_changes_as_much_as_it_says():
    """Brightness by up to 0.3 deviations, contrast by up to 0.3, and 0.1 for each channel."""
    generator = torch.Generator().manual_seed(0)
    X = 5 + 2 * torch.randn(4000, 3, 6, 6, generator=generator, dtype=torch.float64)
    X_new, _ = RandomZoom(scale=(1, 1), jitter=0.3)(X, torch.zeros(len(X)), generator)
    brightness = (X_new.mean((1, 2, 3)) - X.mean((1, 2, 3))) / X.std((1, 2, 3), correction=0)
    assert_allclose([brightness.min(), brightness.max()], [-0.3, 0.3], atol=0.02)
    contrast = (X_new.std((2, 3)) / X.std((2, 3))).log()
    assert_allclose([contrast.min(), contrast.max()], [-0.4, 0.4], atol=0.02)
    apart = contrast - contrast.mean(1, keepdim=True)
    assert_allclose(apart.abs().max(), 0.2 * 2 / 3, atol=0.01)  # one at 0.1, two at -0.1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("boxes", [torch.float32, torch.float64])
@pytest.mark.parametrize("augment", [RandomFlipShift(1.0, 0), RandomZoom(1.0, (0.5, 0.5), 0.0)])
def test_boxes_go_along_in_their_own_type(augment, boxes, dtype):
    images = torch.randint(256, (3, 2, 30, 40)).to(dtype)
    y = torch.tensor([[[10.0, 5.0, 30.5, 20.0, 1.0]]], dtype=boxes).expand(3, 1, 5)
    _, moved = augment(images, y)
    assert moved.dtype == boxes
    if isinstance(augment, RandomFlipShift):
        assert_allclose(moved[0], [[9.5, 5.0, 30.0, 20.0, 1.0]], rtol=1e-6)
    else:  # mirrored, and half as large somewhere in the image
        width, height = moved[:, 0, 2] - moved[:, 0, 0], moved[:, 0, 3] - moved[:, 0, 1]
        assert_allclose(width, 20.5 / 2, rtol=1e-5)
        assert_allclose(height, 15 / 2, rtol=1e-5)


def test_mirroring_is_refused_where_labels_do_not_bear_it():
    X, y = load_digits(return_X_y=True)
    X, y = torch.from_numpy(X.reshape(-1, 1, 8, 8)), torch.from_numpy(y)
    assert not mirroring_keeps_targets(X, y, np.random.RandomState(0))
    # the same images, labeled by how dark they are, which mirroring does not change
    ink = X.sum((1, 2, 3))
    dark = torch.bucketize(ink, ink.quantile(torch.tensor([0.33, 0.67], dtype=ink.dtype)))
    assert mirroring_keeps_targets(X, dark, np.random.RandomState(0))
    noise = torch.from_numpy(np.random.RandomState(1).rand(200, 1, 8, 8))
    assert not mirroring_keeps_targets(noise, torch.arange(200) % 2, np.random.RandomState(0))


def colored_signs(n, random_state):
    """Bars that rise (0) or fall (1), or disks (2), of any color on any color."""
    rng = np.random.RandomState(random_state)
    y = rng.randint(0, 3, n)
    rows, columns = np.mgrid[:24, :24]
    X = np.empty((n, 3, 24, 24))
    for image, label in zip(X, y):
        row, column = rng.uniform(9, 15, 2)
        if label == 2:
            sign = (rows - row) ** 2 + (columns - column) ** 2 < 36
        else:
            slope = -1 if label == 0 else 1
            sign = np.abs(rows - row - slope * (columns - column)) < 3
        ground, color = rng.uniform(0, 1, (2, 3, 1, 1))
        image[:] = np.where(sign, color, ground) + 0.05 * rng.randn(3, 24, 24)
    return torch.from_numpy(X), torch.from_numpy(y)


def test_mirroring_is_refused_where_pixels_cannot_tell():
    """Pixels know a little of these signs, but not of the two that are mirror images."""
    X, y = colored_signs(600, 0)
    assert not mirroring_keeps_targets(X, y, np.random.RandomState(0))
    gray = torch.rand(600, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    assert not mirroring_keeps_targets(gray, y, np.random.RandomState(0))
    bars = (y < 2).long()  # that one class holds both is another matter
    assert mirroring_keeps_targets(X, bars, np.random.RandomState(0))


def test_edges_have_a_direction_and_no_color():
    X, y = colored_signs(200, 0)
    edges = _edges(X)
    assert_allclose(_edges(1 - X), edges, atol=1e-5)  # white on black as black on white
    assert_allclose(_edges(3 * X + 1), edges, atol=1e-5)
    rising, falling = (edges[y == label].mean(0) for label in (0, 1))
    assert (rising - falling).abs().max() > 0.2
    mirrored = _edges(X.flip(3)[y == 0]).mean(0)
    assert (mirrored - falling).abs().max() < 0.1
    assert _edges(torch.ones(2, 1, 1, 1)).isfinite().all()  # an image of one pixel


def test_images_are_described_piece_by_piece(monkeypatch):
    X, _ = colored_signs(20, 0)
    whole = [describe(X, mirror) for describe in mirroring.DESCRIPTIONS for mirror in (False, True)]
    monkeypatch.setattr(mirroring, "PIECE", 7)
    pieces = [
        describe(X, mirror) for describe in mirroring.DESCRIPTIONS for mirror in (False, True)
    ]
    for a, b in zip(pieces, whole, strict=True):
        assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("n_queries", [150, 5000])
def test_how_well_two_classes_are_told_apart(n_queries):
    """The nearest neighbors and probabilities of scikit-learn and SciPy."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300] % 3
    queries = np.random.RandomState(0).permutation(len(X))[:n_queries]
    found = _told_apart(
        torch.from_numpy(X.reshape(-1, 1, 8, 8)),
        torch.from_numpy(y),
        torch.from_numpy(queries),
        descriptions=[_pixels],
    )
    nearest = np.empty((len(queries), 3))
    for i, query in enumerate(queries):
        for label in range(3):
            others = np.flatnonzero((y == label) & (np.arange(len(X)) != query))
            nearest[i, label] = np.linalg.norm(X[others] - X[query], axis=1).min()
    for (a, b), above, errors, _ in found:
        nearer = nearest[:, b] - nearest[:, a]
        groups = [nearer[y[queries] == label] for label in (a, b)]
        test = mannwhitneyu(*groups, method="asymptotic", use_continuity=False)
        n, m = map(len, groups)
        assert_allclose(above[0] + 0.5, test.statistic / (n * m), rtol=1e-9)
        z = above[0] / errors[0]
        assert_allclose(abs(z), norm.isf(test.pvalue / 2), rtol=1e-4)  # which corrects for ties


def test_torchvisions_transforms_augment():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    vit = ViTClassifier(2, embed_dim=8, depth=1, num_heads=2, max_iter=3, augment=None)
    vit.set_params(random_state=0)  # patches: no first weight comes from the images
    flip = clone(vit).set_params(augment=v2.RandomHorizontalFlip(p=1.0)).fit(IMAGES, Y)
    by_hand = clone(vit).fit(IMAGES[:, :, ::-1], Y)
    assert_allclose(flip.loss_curve_, by_hand.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("version", ["torchvision.transforms", "torchvision.transforms.v2"])
def test_torchvisions_transforms_are_drawn_for_each_image(version):
    transforms = pytest.importorskip(version)
    seen = []

    class Watched(transforms.RandomHorizontalFlip):
        def forward(self, *inputs):
            seen.append((inputs[0], super().forward(*inputs)))
            return seen[-1][1]

    cnn(augment=Watched(), max_iter=2).fit(IMAGES, Y)
    assert len(seen) == 2 * len(IMAGES)
    n_flipped = sum(torch.equal(new, old.flip(-1)) for old, new in seen)
    assert 0.3 * len(seen) < n_flipped < 0.7 * len(seen)


def test_torchvisions_transforms_take_masks_along():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    images = torch.arange(6 * 3 * 8 * 10).reshape(6, 3, 8, 10).float()
    masks = (images[:, 0] % 5).to(torch.int16) - 1  # -1: no label
    flipped, same_way = EachImage(v2.RandomHorizontalFlip(), masks=True)(images, masks)
    assert torch.equal((flipped[:, 0] % 5).to(torch.int16) - 1, same_way)
    assert 0 < sum(torch.equal(a, b) for a, b in zip(flipped, images)) < 6
    for fill in (0, 128):  # of images; masks have no label there
        crop = v2.RandomCrop((8, 10), padding=(10, 0), fill=fill)
        cropped, filled = EachImage(crop, masks=True)(images[:, :1] + 1000, masks)
        outside = cropped[:, 0] == fill
        assert outside.any()
        assert (filled[outside] == -1).all()
        assert (filled[~outside] == (cropped[:, 0][~outside] - 1000) % 5 - 1).all()


def test_a_segmenter_trains_with_torchvisions_transforms():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    X, masks = make_digit_scenes(8, image_size=(32, 32), random_state=0, return_X_y=True)
    net = SegmentationNet((4, 8), max_iter=2, ignore_index=0, random_state=0)
    mirror, weights = lambda X, y: (X.flip(-1), y.flip(-1)), np.arange(1, 9)
    flip, by_hand = (
        clone(net).set_params(augment=augment).fit(X, masks, weights)
        for augment in (v2.RandomHorizontalFlip(p=1.0), mirror)
    )
    assert flip.loss_curve_ == by_hand.loss_curve_


def test_transforms_that_leave_masks_or_boxes_behind_are_refused():
    v1 = pytest.importorskip("torchvision.transforms")
    v2 = pytest.importorskip("torchvision.transforms.v2")
    scenes = make_digit_scenes(4, random_state=0)
    boxes = [{"boxes": b, "labels": k} for b, k in zip(scenes.boxes, scenes.labels, strict=True)]
    with pytest.raises(ValueError, match=r"leave their masks where.*torchvision\.transforms\.v2"):
        SegmentationNet((4, 8), augment=v1.RandomHorizontalFlip()).fit(scenes.images, scenes.masks)
    with pytest.raises(ValueError, match="leave their boxes where they are"):
        DetectionNet(augment=v2.RandomHorizontalFlip()).fit(scenes.images, boxes)


@pytest.mark.usefixtures("host")
def test_compiled_nets_train_alike():
    pytest.importorskip("torch._inductor")
    settings = {"channels": (4,), "max_iter": 2, "batch_size": len(Y)}
    plain = cnn(**settings).fit(IMAGES, Y)
    compiled = cnn(**settings, compile=True).fit(IMAGES, Y)
    assert compiled.net_.module_._compiled_call_impl is not None
    assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=1e-4)
    restored = pickle.loads(pickle.dumps(copy.deepcopy(compiled)))  # not compiled any more
    assert_allclose(restored.predict_proba(IMAGES), plain.predict_proba(IMAGES), atol=1e-4)
