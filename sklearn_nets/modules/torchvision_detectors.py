"""torchvision's detectors on a ResNet-18 with a feature pyramid, as modules for our loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from .boxes import NO_OBJECT
from .interfaces import NeedsTarget
from .layers import BatchNorm2d, pad_to_multiple

STRIDES = (4, 8, 16, 32, 64)  # of the maps of the pyramid
WIDTH = 64  # channels of the pyramid
COARSEST = 32  # stride of the encoder's last map


class TorchvisionDetector(NeedsTarget, nn.Module):
    """FCOS, RetinaNet or Faster R-CNN of `torchvision.models.detection`, from random weights.

    Images are not resized. In training the outputs are the loss of every image, shape (n,), each
    as torchvision computes it of the image alone, so that images can be weighted; in evaluation
    they are boxes, shape (n, detections_per_img, 6): x0, y0, x1, y1, class index and score, class
    -1 and score 0 where there is no box more.

    Parameters
    ----------
    architecture : {"fcos", "retinanet", "fasterrcnn"}
    in_channels : int
    n_classes : int
    detections_per_img : int, default=300
    nms_threshold : float, default=0.5
        IoU above which the lower of two boxes of a class is left out.

    References
    ----------
    Tian et al. (2019), "FCOS". Lin et al. (2017), "Focal loss for dense object detection". Ren et
    al. (2015), "Faster R-CNN".

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.modules.torchvision_detectors import TorchvisionDetector
    >>> net = TorchvisionDetector("fcos", 3, n_classes=2).eval()
    >>> net(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 300, 6])
    """

    def __init__(
        self,
        architecture: str,
        in_channels: int,
        n_classes: int,
        *,
        detections_per_img: int = 300,
        nms_threshold: float = 0.5,
    ):
        super().__init__()
        self.detections_per_img = detections_per_img
        self.backbone = _resnet_with_pyramid(in_channels)
        # Faster R-CNN counts the background as its class 0
        self.first_label = int(architecture == "fasterrcnn")
        self.detector = _BUILDERS[architecture](
            PreparedFeatures(), n_classes + self.first_label, detections_per_img, nms_threshold
        )
        self.detector.transform = SameSize()

    def forward(self, X):
        """Losses or boxes of X, (n, channels, height, width)."""
        X = pad_to_multiple(X, COARSEST, at_least=2 * COARSEST)
        maps, images = self.backbone(X), list(X)
        if not self.training:
            with prepared(maps):
                return self._as_rows(self.detector(images), X)
        losses = []
        for i, rows in enumerate(self.target):
            with prepared({name: m[i : i + 1] for name, m in maps.items()}):
                parts = self.detector(images[i : i + 1], [self._as_torchvision(rows)])
            losses.append(sum(parts.values()))
        return torch.stack(losses)

    def _as_torchvision(self, rows):
        rows = rows[rows[:, 4] >= 0]
        return {"boxes": rows[:, :4], "labels": rows[:, 4].long() + self.first_label}

    def _as_rows(self, found, X):
        out = X.new_zeros(len(X), self.detections_per_img, 6)
        out[..., 4] = NO_OBJECT
        for i, image in enumerate(found):
            labels = image["labels"][:, None] - self.first_label
            parts = [image["boxes"], labels.to(out.dtype), image["scores"][:, None]]
            out[i, : len(labels)] = torch.cat(parts, dim=1).to(out.dtype)
        return out


_prepared = threading.local()  # of each thread its own: several may predict at once


@contextmanager
def prepared(maps):
    """Let the backbones of torchvision's detectors hand on these maps."""
    _prepared.maps = maps
    try:
        yield
    finally:
        del _prepared.maps


class PreparedFeatures(nn.Module):
    """What torchvision's detectors take as a backbone: hands on maps that are computed already."""

    out_channels = WIDTH

    def forward(self, X):
        return _prepared.maps


class SameSize(nn.Module):
    """What torchvision's detectors take as a transform, without resizing or normalizing."""

    def forward(self, images, targets=None):
        from torchvision.models.detection.image_list import ImageList

        sizes = [tuple(image.shape[-2:]) for image in images]
        return ImageList(torch.stack(images), sizes), targets

    def postprocess(self, result, image_shapes, original_image_sizes):
        return result


def _resnet_with_pyramid(in_channels: int) -> nn.Module:
    from torchvision.models import resnet18
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    resnet = resnet18(weights=None, norm_layer=partial(BatchNorm2d, momentum=0.1))
    stem = resnet.conv1
    resnet.conv1 = nn.Conv2d(
        in_channels, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, bias=False
    )
    layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    return BackboneWithFPN(resnet, layers, [64, 128, 256, 512], WIDTH)


def _anchors(sizes, ratios):
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator(sizes, (ratios,) * len(sizes))


def _fcos(backbone, n_classes, n_boxes, nms):
    from torchvision.models.detection import FCOS

    return FCOS(
        backbone, n_classes, anchor_generator=_anchors([(s,) for s in STRIDES], (1.0,)),
        score_thresh=0.01, nms_thresh=nms, detections_per_img=n_boxes,
    )  # fmt: skip


def _retinanet(backbone, n_classes, n_boxes, nms):
    from torchvision.models.detection import RetinaNet

    # three sizes for each map, the first of twice its stride
    sizes = [tuple(2 * s * 2 ** (i / 3) for i in range(3)) for s in STRIDES]
    return RetinaNet(
        backbone, n_classes, anchor_generator=_anchors(sizes, (0.5, 1.0, 2.0)),
        score_thresh=0.01, nms_thresh=nms, detections_per_img=n_boxes,
    )  # fmt: skip


def _fasterrcnn(backbone, n_classes, n_boxes, nms):
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

    return FasterRCNN(
        backbone, box_head=TwoMLPHead(WIDTH * 7**2, 256),
        box_predictor=FastRCNNPredictor(256, n_classes),
        rpn_anchor_generator=_anchors([(2 * s,) for s in STRIDES], (0.5, 1.0, 2.0)),
        box_score_thresh=0.01, box_nms_thresh=nms, box_detections_per_img=n_boxes,
    )  # fmt: skip


_BUILDERS: dict[str, Callable] = {"fcos": _fcos, "retinanet": _retinanet, "fasterrcnn": _fasterrcnn}
