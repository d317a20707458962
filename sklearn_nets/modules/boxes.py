"""Boxes on the device: a fixed number of rows for every image, however many objects it has.

A batch of boxes is one tensor of shape (n, k, 5): x0, y0, x1, y1 in pixels, and the index of the
class. Rows that stand for no object have class -1, so that shapes depend on no image.
"""

from __future__ import annotations

import torch

NO_OBJECT = -1.0
EPS = 1e-7
MIN_VISIBLE = 0.25  # share of a box's area that has to stay in the image for it to stay an object


def is_boxes(y) -> bool:
    """Whether targets are encoded boxes; masks, which have as many axes, are integers."""
    return y.ndim == 3 and y.is_floating_point() and y.shape[2] == 5


def move_boxes(y, theta, height: int, width: int):
    """Take boxes along with images that were resampled by an affine grid.

    Parameters
    ----------
    y : tensor of shape (n, k, 5)
        Encoded boxes.
    theta : tensor of shape (n, 2, 3)
        As in `torch.nn.functional.affine_grid`, without rotation or shear: where the new image's
        points, in coordinates from -1 to 1, are taken from.
    height, width : int
        Of the images.

    Returns
    -------
    tensor of shape (n, k, 5)
        Of y's type, clipped to the image; boxes of which a quarter of the area or less is left are
        no objects.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.boxes import move_boxes
    >>> mirror = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> move_boxes(torch.tensor([[[1.0, 2.0, 4.0, 6.0, 0.0]]]), mirror, height=8, width=10)
    tensor([[[6., 2., 9., 6., 0.]]])
    """
    corners, theta = [], theta.to(y.dtype)
    for axis, size in enumerate((width, height)):
        scale, shift = theta[:, axis, axis, None, None], theta[:, axis, 2, None, None]
        ends = ((y[..., axis:4:2] * 2 / size - 1 - shift) / scale + 1) / 2 * size  # (n, k, 2)
        corners.append((ends.amin(2), ends.amax(2)))
    (x0, x1), (y0, y1) = corners
    area = (x1 - x0) * (y1 - y0)
    x0, x1 = x0.clamp(0, width), x1.clamp(0, width)
    y0, y1 = y0.clamp(0, height), y1.clamp(0, height)
    visible = (x1 - x0) * (y1 - y0) > MIN_VISIBLE * area
    return torch.stack([x0, y0, x1, y1, torch.where(visible, y[..., 4], NO_OBJECT)], dim=2)


def paired_generalized_iou(a, b):
    """Generalized IoU of boxes in pairs, shape (...), of boxes of shape (..., 4).

    The share of the union that both cover, less the share of the smallest enclosing box that
    neither covers: -1 to 1. Rezatofighi et al. (2019), "Generalized intersection over union".
    torchvision's `generalized_box_iou_loss`, without its check, which waits for the device.
    """
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.unbind(-1), b.unbind(-1)
    across = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp(min=0)
    both = across * (torch.minimum(ay1, by1) - torch.maximum(ay0, by0)).clamp(min=0)
    either = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - both
    across = torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)
    hull = across * (torch.maximum(ay1, by1) - torch.minimum(ay0, by0))
    return both / (either + EPS) - (hull - either) / (hull + EPS)
