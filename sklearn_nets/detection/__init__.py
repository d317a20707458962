"""What is in an image and where: a net, a baseline, and pictures of boxes."""

from ._display import DetectionDisplay
from ._net import DetectionNet
from ._pixels import PixelDetector

__all__ = ["DetectionDisplay", "DetectionNet", "PixelDetector"]
