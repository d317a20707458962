"""What computes with boxes on the device, held to torchvision and to loops over boxes."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torchvision.ops import generalized_box_iou_loss

from sklearn_nets import RandomFlipShift, RandomZoom
from sklearn_nets.modules.box_loss import MIN_BUMP, SPREAD, DenseBoxLoss
from sklearn_nets.modules.boxes import NO_OBJECT, is_boxes, paired_generalized_iou
from sklearn_nets.modules.detector import decode_points, point_boxes

STRIDE = 4


def draw_targets(n=3, k=5, size=64, n_classes=2, seed=0):
    """Encoded boxes, some of them no object, the larger ones learned by several points."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, size - 40, (n, k, 2))
    boxes = np.concatenate([low, low + rng.uniform(3, 40, (n, k, 2))], axis=2)
    label = rng.integers(-1, n_classes, (n, k, 1))
    return torch.from_numpy(np.concatenate([boxes, label], axis=2))


def test_generalized_iou_is_torchvisions():
    a, b = draw_targets(seed=0)[..., :4], draw_targets(seed=1)[..., :4]
    expected = generalized_box_iou_loss(a.reshape(-1, 4), b.reshape(-1, 4))
    assert_allclose(1 - paired_generalized_iou(a, b).reshape(-1), expected, rtol=1e-6)


def loop_loss(z, y, weight, class_weight):
    """The loss as its docstring says it, box by box and point by point."""
    n, channels, height, width = z.shape
    n_classes, total, count = channels - 4, 0.0, 0.0
    predicted = point_boxes(z[:, -4:], STRIDE).reshape(n, height, width, 4)
    for i in range(n):
        heat = torch.zeros(n_classes, height, width, dtype=z.dtype)
        objects = [row for row in y[i] if row[4] >= 0]
        best = torch.zeros(height, width, dtype=z.dtype)
        owner = torch.full((height, width), -1)
        tops, loss, n_objects = [], 0.0, 0.0
        for number, row in enumerate(objects):
            x0, y0, x1, y1, label = row.tolist()
            top_x, top_y = (int((a + b) / 2 // STRIDE) for a, b in ((x0, x1), (y0, y1)))
            tops.append((top_x, top_y))
            for r in range(height):
                for c in range(width):
                    sx, sy = SPREAD * (x1 - x0) / STRIDE, SPREAD * (y1 - y0) / STRIDE
                    power = ((c - top_x) / sx) ** 2 + ((r - top_y) / sy) ** 2
                    bump = float(np.exp(-0.5 * power))
                    heat[int(label), r, c] = max(heat[int(label), r, c], bump)
                    if bump > best[r, c]:
                        best[r, c], owner[r, c] = bump, number
        p = torch.sigmoid(z[i, :n_classes])
        loss -= ((1 - heat) ** 4 * p**2 * torch.log(1 - p)).sum()
        for number, (row, (x, top)) in enumerate(zip(objects, tops)):
            factor = class_weight[int(row[4])]
            score = p[int(row[4]), top, x]
            loss -= factor * (1 - score) ** 2 * torch.log(score)
            n_objects += factor
            points = [tuple(at) for at in torch.nonzero((owner == number) & (best >= MIN_BUMP))]
            shares = torch.stack([best[at] for at in points])
            for at, share in zip(points, shares / shares.sum()):
                gap = generalized_box_iou_loss(predicted[i][at][None], row[None, :4])[0]
                loss += 2.0 * factor * share * gap
        total += weight[i] * loss
        count += weight[i] * max(n_objects, 1)
    return total / count


def test_loss_is_the_formula_and_so_is_its_gradient():
    y = draw_targets()
    y[2, :, 4] = NO_OBJECT  # an image without any object
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 6, 16, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    class_weight = torch.tensor([2.0, 0.25], dtype=torch.float64)
    loss = DenseBoxLoss(STRIDE, class_weight)(z, y, weight)
    expected = loop_loss(z, y, weight, class_weight)
    assert_allclose(loss.item(), expected.item(), rtol=1e-6)
    (ours,), (theirs,) = (torch.autograd.grad(value, z) for value in (loss, expected))
    assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9)


def test_rows_without_an_object_do_not_count():
    y = draw_targets()
    z = torch.randn(3, 6, 16, 16, dtype=torch.float64)
    more = torch.cat([y, torch.tensor([0, 0, 64, 64, NO_OBJECT]).expand(3, 4, 5)], dim=1)
    loss = DenseBoxLoss(STRIDE)
    assert_allclose(loss(z, more), loss(z, y), rtol=1e-12)
    images = [loss(z[i : i + 1], y[i : i + 1]) for i in range(3)]
    assert_allclose(loss.per_sample(z, y), torch.stack(images), rtol=1e-12)


def test_peaks_are_decoded_to_the_boxes_they_were_made_of():
    boxes = torch.tensor([[3.0, 5.0, 17.0, 30.0], [40.0, 41.0, 43.0, 44.0], [0.0, 0.0, 64.0, 64.0]])
    z = torch.zeros(1, 6, 16, 16)
    z[:, :2] = -9.0
    for rank, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        x, y = (x0 + x1) / 2 / STRIDE, (y0 + y1) / 2 / STRIDE
        at = int(y), int(x)
        z[0, rank % 2, at[0], at[1]] = 3.0 - rank
        z[0, 2:, at[0], at[1]] = torch.tensor(
            [
                x - at[1] - 0.5,
                y - at[0] - 0.5,
                np.log((x1 - x0) / STRIDE),
                np.log((y1 - y0) / STRIDE),
            ]
        )
    found = decode_points(z, STRIDE, n_boxes=5)[0]
    assert_allclose(found[:3, :4], boxes, atol=1e-4)
    assert found[:3, 4].tolist() == [0, 1, 0]
    assert_allclose(found[:3, 5], torch.sigmoid(torch.tensor([3.0, 2.0, 1.0])))


@pytest.mark.parametrize(
    "augment",
    [
        RandomZoom(hflip=0.5, vflip=0.5, scale=(0.5, 2.0), jitter=0.0),
        RandomFlipShift(hflip=0.5, shift=(5, 9)),
    ],
    ids=repr,
)
def test_augmented_boxes_lie_around_what_they_lay_around(augment):
    rng = np.random.default_rng(0)
    X, y = torch.zeros(60, 1, 40, 50), torch.full((60, 2, 5), NO_OBJECT)
    for image, rows in zip(X, y):
        x0, y0, side = rng.integers(12, 28), rng.integers(8, 20), rng.integers(5, 12)
        image[0, y0 : y0 + side, x0 : x0 + side] = 1
        rows[0] = torch.tensor([x0, y0, x0 + side, y0 + side, 1])
    assert is_boxes(y)
    X_new, y_new = augment(X, y, torch.Generator().manual_seed(0))
    assert not torch.equal(X_new, X)
    kept = 0
    for image, rows in zip(X_new, y_new):
        assert rows[1, 4] == NO_OBJECT
        if rows[0, 4] == NO_OBJECT:
            continue
        kept += 1
        r, c = torch.nonzero(image[0] > 0.5 * image.max(), as_tuple=True)
        around = [c.min(), r.min(), c.max() + 1, r.max() + 1]
        assert_allclose(rows[0, :4], torch.stack(around), atol=1.01)  # of a pixel's resampling
        assert rows[0, :4].min() >= 0
        assert (rows[0, :4] <= torch.tensor([50, 40, 50, 40])).all()
    assert kept > 40


def test_boxes_that_leave_the_image_are_no_objects():
    X = torch.rand(200, 1, 32, 32)
    y = torch.tensor([[[0.0, 0.0, 8.0, 8.0, 0.0]]]).repeat(200, 1, 1)
    _, y_new = RandomZoom(scale=(1.9, 2.0), jitter=0.0)(X, y, torch.Generator().manual_seed(0))
    sides = y_new[:, 0, 2:4] - y_new[:, 0, :2]
    visible = sides.prod(1) / 16**2  # zoomed in by about 2
    assert (y_new[visible > 0.3][:, 0, 4] == 0).all()
    assert (y_new[visible < 0.2][:, 0, 4] == NO_OBJECT).all()
    assert (visible < 0.2).any()
    assert (visible > 0.3).any()
