"""`sklearn.datasets`, and data that are made here or read from files."""

from .._utils.sklearn_compat import mirror
from ._coco import from_coco, to_coco
from ._digit_scenes import make_digit_scenes
from ._images import load_images
from ._masks import load_masks
from ._tables import load_table

__getattr__, __dir__, __all__ = mirror(
    "datasets", [from_coco, load_images, load_masks, load_table, make_digit_scenes, to_coco]
)
