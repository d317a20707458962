"""Data: made here, or read from files."""

from ._coco import from_coco, to_coco
from ._digit_scenes import make_digit_scenes

__all__ = ["from_coco", "make_digit_scenes", "to_coco"]
