"""Data: made here, or read from files."""

from ._coco import from_coco, to_coco
from ._digit_scenes import make_digit_scenes
from ._images import load_images
from ._masks import load_masks
from ._tables import load_table

__all__ = [
    "from_coco",
    "load_images",
    "load_masks",
    "load_table",
    "make_digit_scenes",
    "to_coco",
]
