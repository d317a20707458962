"""From one label per pixel to one number per object."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

EIGHT_NEIGHBORS = np.ones((3, 3), bool)


def label_instances(masks, background, min_distance: int | None, min_pixels: int) -> np.ndarray:
    """Number the objects of every mask.

    Parameters
    ----------
    masks : ndarray of shape (n_samples, height, width)
        Labels.
    background : label
        Of pixels that belong to no object.
    min_distance : int or None
        Pixels between the centers of two objects at least; None takes every connected region of a
        class as one object.
    min_pixels : int
        Objects of fewer pixels are left out.

    Returns
    -------
    ndarray of shape (n_samples, height, width), int32
        0 for the background, objects 1, 2, ... in each image.
    """
    numbers = np.zeros(masks.shape, np.int32)
    for mask, out in zip(masks, numbers):
        for label in np.unique(mask):
            if label == background:
                continue
            regions, _ = ndimage.label(mask == label, EIGHT_NEIGHBORS)
            for i, window in enumerate(ndimage.find_objects(regions), start=1):
                _number_region(regions[window] == i, out[window], out, min_distance, min_pixels)
    return numbers


def _number_region(region, out, image, min_distance, min_pixels) -> None:
    """Give the objects of a connected region the next numbers of its image, in place."""
    parts = region.astype(np.int32) if min_distance is None else split_region(region, min_distance)
    for part in range(1, parts.max() + 1):
        pixels = parts == part
        if pixels.sum() >= min_pixels:
            out[pixels] = image.max() + 1


def split_region(region: np.ndarray, min_distance: int) -> np.ndarray:
    """Split a region of touching objects, (height, width), into 1, 2, ...

    The center of an object is where the distance to the region's border is greatest, and that
    distance its radius. A pixel belongs to the object of the least |p - center|² - radius² (the
    power diagram: two disks are cut where their borders meet; Aurenhammer 1987, "Power diagrams").
    scipy's `watershed_ift` floods by differences of height, and cuts disks of one slope anywhere.
    """
    padded = np.pad(region, 1)
    depth = ndimage.distance_transform_edt(padded)
    smooth = ndimage.gaussian_filter(depth, min_distance / 6) * padded  # of one top each
    top = padded & (smooth == ndimage.maximum_filter(smooth, 2 * min_distance + 1))
    tops, n = ndimage.label(top, EIGHT_NEIGHBORS)
    if n < 2:
        return region.astype(np.int32)
    numbers = np.arange(1, n + 1)
    centers = np.array(ndimage.center_of_mass(top, tops, numbers))
    radii = ndimage.maximum(depth, tops, numbers)
    rows, columns = np.ogrid[: padded.shape[0], : padded.shape[1]]
    least, parts = np.full(padded.shape, np.inf), np.zeros(padded.shape, np.int32)
    # one object at a time: the powers of every pixel to every center would take gigabytes
    for number, (y, x), radius in zip(numbers, centers, radii):
        power = (rows - y) ** 2 + (columns - x) ** 2 - radius**2
        nearer = padded & (power < least)
        least[nearer], parts[nearer] = power[nearer], number
    return parts[1:-1, 1:-1]
