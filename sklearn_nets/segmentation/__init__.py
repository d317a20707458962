"""One label per pixel: a segmentation net, and any classifier turned into a segmenter."""

from ._display import SegmentationDisplay
from ._net import SegmentationNet
from ._pixels import PixelClassifier

__all__ = ["PixelClassifier", "SegmentationDisplay", "SegmentationNet"]
