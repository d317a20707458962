"""The loss of a dense detector: targets are painted on the device, for all boxes at once."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .boxes import paired_generalized_iou
from .detector import point_boxes
from .losses import Loss

SPREAD = 0.09  # standard deviation of an object's bump, of its sides
MIN_BUMP = 0.1  # height of the bump from which a point learns the object's box


class DenseBoxLoss(Loss):
    """Focal loss of the maps of scores, and generalized IoU of the boxes.

    Every object is a bump of height one on its class's map, a Gaussian around the point nearest to
    its center whose widths are shares of the box's. With p the score and t the greatest bump at a
    point, the loss is -(1 - p)² log p at the objects' points and -(1 - t)⁴ p² log(1 - p) at all
    others, divided by the number of objects. Points on a bump learn the object's box by 1 - GIoU,
    weighted by its height.

    Parameters
    ----------
    stride : int
        Pixels from one point of the map to the next.
    class_weight : tensor of shape (n_classes,), optional
        How much an object of each class counts.
    box_factor : float, default=2.0
        Factor on the loss of the boxes.

    References
    ----------
    Zhou et al. (2019), "Objects as points"; Liu et al. (2020), "Training-time-friendly network for
    real-time object detection"; Rezatofighi et al. (2019), "Generalized intersection over union".
    """

    out_activation = "logistic"

    def __init__(self, stride: int, class_weight=None, box_factor: float = 2.0):
        super().__init__()
        self.stride, self.box_factor = stride, box_factor
        self.register_buffer("class_weight", class_weight)

    def activation(self, z):
        """Scores between 0 and 1; the maps of the boxes stay as they are."""
        return torch.cat([torch.sigmoid(z[:, :-4]), z[:, -4:]], dim=1)

    def per_sample(self, z, y):
        losses, n_objects = self._losses(z, y)
        return losses / n_objects

    def forward(self, z, y, weight=None):
        """Σ w l / Σ w over objects; an image without any counts as one."""
        losses, n_objects = self._losses(z, y)
        if weight is None:
            return losses.sum() / n_objects.sum()
        return torch.dot(weight, losses) / torch.dot(weight, n_objects)

    def _losses(self, z, y):
        """Sum of the losses and number of objects of every image, (n,), one at least."""
        n, n_classes = len(z), z.shape[1] - 4
        boxes, label = y[..., :4], y[..., 4].long()
        exists = (label >= 0).to(z.dtype)
        factor = exists
        if self.class_weight is not None:
            factor = exists * self.class_weight.to(z.dtype)[label.clamp(min=0)]
        bumps, point = self._bumps(boxes, z.shape[2], z.shape[3])
        bumps = bumps * exists[..., None]  # (n, k, points)
        label = label.clamp(min=0)
        heat = z.new_zeros(n, n_classes, bumps.shape[2])
        index = label[..., None].expand_as(bumps)
        heat = heat.scatter_reduce(1, index, bumps, "amax")
        maps = z[:, :-4].flatten(2)
        p = torch.sigmoid(maps)
        away = ((1 - heat) ** 4 * p**2 * F.softplus(maps)).sum((1, 2))
        at = maps.flatten(1).gather(1, label * bumps.shape[2] + point)
        there = ((1 - torch.sigmoid(at)) ** 2 * F.softplus(-at) * factor).sum(1)
        boxes_loss = self._box_losses(z, boxes, bumps, factor)
        return away + there + self.box_factor * boxes_loss, factor.sum(1).clamp(min=1)

    def _bumps(self, boxes, height, width):
        """Every box's bump on the map, (n, k, height · width), and the index of its top."""
        tops, axes = [], []
        for axis, length in enumerate((width, height)):
            low, high = boxes[..., axis] / self.stride, boxes[..., axis + 2] / self.stride
            top = ((low + high) / 2).floor().clamp(0, length - 1)[..., None]
            at = torch.arange(length, device=boxes.device, dtype=boxes.dtype)
            deviation = SPREAD * (high - low).clamp(min=1e-3)[..., None]
            tops.append(top[..., 0])
            axes.append(torch.exp(-0.5 * ((at - top) / deviation).square()))
        bump = axes[1][..., :, None] * axes[0][..., None, :]
        return bump.flatten(2), (tops[1] * width + tops[0]).long()

    def _box_losses(self, z, boxes, bumps, factor):
        """Loss of the boxes, every object weighing the same however many points learn it."""
        height, owner = bumps.max(1)  # (n, points)
        height = torch.where(height >= MIN_BUMP, height, 0.0)
        total = torch.zeros_like(factor).scatter_add(1, owner, height)
        share = height * (factor / total.clamp(min=1e-6)).gather(1, owner)
        target = boxes.gather(1, owner[..., None].expand(-1, -1, 4)) / self.stride
        predicted = point_boxes(z[:, -4:], 1)
        return ((1 - paired_generalized_iou(predicted, target)) * share).sum(1)


class ModuleLoss(Loss):
    """The mean of losses that the module itself has computed, shape (n,), in training.

    In evaluation its outputs are boxes, shape (n, n_boxes, 6), of which the loss is not known: NaN.
    """

    out_activation = "logistic"

    def activation(self, z):
        return z

    def per_sample(self, z, y):
        return z if z.ndim == 1 else z.new_full((len(z),), torch.nan)
