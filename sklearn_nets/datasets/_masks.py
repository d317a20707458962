"""Images with a class for each pixel, from a folder of images and one of masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from ._image_files import (
    SUFFIXES,
    choose_size,
    describe_size,
    existing_folder,
    find_divisor,
    for_each_file,
    list_images,
    name_files,
    open_image,
    read_headers,
    read_image,
)

LARGEST = 160  # longest side of an image of default size
ENDINGS = ("", "_mask", "_masks", "-mask", "_label", "_labels", "_seg", "_gt", "_L")


def load_masks(
    images,
    masks,
    *,
    size: int | tuple[int, int] | None = None,
    return_X_y: bool = False,
    progress: bool = True,
    n_jobs: int | None = None,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Read images and their masks, one class per pixel, from two folders.

    The mask of ``street/1.jpg`` is ``street/1.png`` in the other folder; its name may end with
    ``_mask``, ``_label``, ``_seg``, ``_gt`` or ``_L``. Gray and palette masks hold the number of
    each pixel's class, masks in color are classes named by their color, such as ``#ff0000``.

    Gray images of 16 bits become 8 bits by one rule for the whole folder: their values are divided
    by 257, so that white stays white, unless none is above 255. Masks keep every value.

    Parameters
    ----------
    images : str or path-like
        Folder of images, at any depth.
    masks : str or path-like
        Folder of masks, of the same names: PNG, or another format that keeps every value.
    size : int or (int, int), optional
        Height and width in pixels to scale to; an int is both. By default the images' own size, the
        median of theirs if they differ, scaled down to at most 160 pixels on the longer side. Masks
        are scaled to the nearest pixel.
    return_X_y : bool, default=False
        If True, return ``(images, masks)`` instead of a Bunch.
    progress : bool, default=True
        Show a bar on standard error, if it is a terminal.
    n_jobs : int, optional
        Number of threads; by default one per core that the process may use, at most 16; -1
        is one per core.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_samples, height, width, 3) or (n_samples, height, width), uint8
        masks : ndarray of shape (n_samples, height, width)
            int64, or str if masks are in color.
        filenames : list of str
            The images, sorted, below the folder.
        notes : list of str
            What was found and what was done, in sentences.
    (images, masks) : tuple
        If `return_X_y` is True.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ImportError
        If pillow is missing.
    ValueError
        If a mask has no image or an image no mask, their sizes differ, a file is unreadable, all
        pixels are of one class, or masks are no masks (JPEG, fractions, or more than 256 colors).

    See Also
    --------
    load_images : Images with one class each.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> from sklearn_nets.datasets import load_masks
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("images", "masks"):
    ...     (folder / name).mkdir()
    >>> Image.new("RGB", (40, 30), "blue").save(folder / "images" / "0.jpg")
    >>> mask = Image.new("L", (40, 30), 0)
    >>> mask.paste(1, (0, 0, 20, 30))
    >>> mask.save(folder / "masks" / "0.png")
    >>> data = load_masks(folder / "images", folder / "masks")
    >>> data.images.shape, data.masks.shape, data.masks.sum()
    ((1, 30, 40, 3), (1, 30, 40), np.int64(600))
    """
    images, masks = existing_folder(images), existing_folder(masks)
    files, mask_files, notes = _pair(images, masks)
    headers = read_headers(files, progress, n_jobs)
    _check_pairs(files, mask_files, headers, read_headers(mask_files, progress, n_jobs))
    shape = choose_size(files, headers, size, LARGEST)
    gray = all(header.gray for header in headers)
    divisor = find_divisor(files, headers, progress, n_jobs)
    X = np.empty((len(files), *shape, *([] if gray else [3])), np.uint8)
    y: list = [None] * len(files)

    def read(i):
        X[i] = read_image(files[i], shape, gray, divisor)
        y[i] = _read_mask(mask_files[i], shape)

    for_each_file(read, files, progress, n_jobs, "Reading images and masks")
    y, classes = _name_colors(np.stack(y), mask_files)
    if len(classes) < 2:
        raise ValueError(
            f"All pixels of the masks in {masks} are {classes[0]!s}: expected two classes or more."
        )
    first = f"{len(files):,} {'gray' if gray else 'color'} images with masks"
    listed = ", ".join(map(str, classes[:20])) + (", ..." if len(classes) > 20 else "")
    notes = [
        f"{first}, {len(classes)} classes: {listed}.",
        describe_size(headers, shape),
        *notes,
    ]
    if return_X_y:
        return X, y
    filenames = [str(file.relative_to(images)) for file in files]
    return Bunch(images=X, masks=y, filenames=filenames, notes=notes)


def _pair(images: Path, masks: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Images and masks of the same names."""
    files, _ = list_images(images)
    # masks may lie in a folder below the images
    files = [file for file in files if images == masks or masks not in file.parents]
    candidates, _ = list_images(masks)
    for folder, found in {images: files, masks: candidates}.items():
        if not found:
            raise ValueError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}).")
    lossy = [file for file in candidates if file.suffix.lower() in (".jpg", ".jpeg")]
    if lossy:
        raise ValueError(
            f"Masks must keep every value, and JPEG changes them: {name_files(lossy)}. Save masks "
            "as PNG."
        )
    by_name: dict[str, list[Path]] = {}
    for mask in candidates:
        by_name.setdefault(mask.relative_to(masks).with_suffix("").as_posix(), []).append(mask)
    pairs, missing = [], []
    for file in files:
        name = file.relative_to(images).with_suffix("").as_posix()
        found = [mask for ending in ENDINGS for mask in by_name.get(name + ending, [])]
        if len(found) > 1:
            raise ValueError(f"{file} has several masks: {name_files(found)}. Keep one of them.")
        pairs += found
        missing += [] if found else [file]
    if missing:
        raise ValueError(
            f"{len(missing):,} of {len(files):,} images have no mask of the same name in {masks}: "
            f"{name_files(missing)}. Add the masks, or remove these images."
        )
    unused = sorted(set(candidates) - set(pairs))
    if unused:
        raise ValueError(
            f"{len(unused):,} of {len(candidates):,} masks have no image of the same name in "
            f"{images}: {name_files(unused)}. Add the images, or remove these masks."
        )
    return files, pairs, []


def _check_pairs(files, mask_files, headers, mask_headers) -> None:
    for file, mask, header, mask_header in zip(files, mask_files, headers, mask_headers):
        size, mask_size = (header.height, header.width), (mask_header.height, mask_header.width)
        if size != mask_size:
            raise ValueError(
                f"{mask} has {mask_size[0]} x {mask_size[1]} pixels (height x width), expected "
                f"{size[0]} x {size[1]}, as {file}. Scale the mask to the nearest pixel."
            )


def _read_mask(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Numbers of classes, or colors as 0xffrrggbb, scaled to the nearest pixel."""
    from PIL import ImageOps

    with open_image(file) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
            rgb = np.asarray(image.convert("RGB"), np.int64)
            values = 0xFF << 24 | rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        else:  # gray, palette (its indices) or black and white
            image = image.getchannel(0) if image.mode in ("LA", "PA") else image
            values = np.asarray(image)
            broken = values[~np.isfinite(values) | (values != np.floor(values))]
            if len(broken):
                raise ValueError(f"its mask holds {broken[0]:g}, expected whole numbers of classes")
            values = values.astype(np.int64)
        # as pillow's NEAREST: the pixel under the center of each new one
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for new, old in zip(shape, values.shape)
        )
        return values[rows[:, None], columns]


def _name_colors(masks: np.ndarray, files) -> tuple[np.ndarray, np.ndarray]:
    """Masks in numbers as they are, masks in color with names of colors."""
    classes, index = np.unique(masks, return_inverse=True)
    if len(classes) > 256:
        values = [len(np.unique(mask)) for mask in masks]
        raise ValueError(
            f"The masks hold {len(classes):,} different values, {max(values):,} of them in "
            f"{files[int(np.argmax(values))]}: expected one for each class. Masks are neither "
            "photographs nor scaled smoothly."
        )
    color = classes >= 0xFF << 24
    if color.all():
        classes = np.array([f"#{value & 0xFFFFFF:06x}" for value in classes])
        return classes[index.reshape(masks.shape)], classes
    if color.any():
        mixed = [bool((mask >= 0xFF << 24).any()) for mask in masks]
        one, other = files[mixed.index(True)], files[mixed.index(False)]
        raise ValueError(
            f"{one} is in color and {other} is not: expected masks of one kind. Save all as gray "
            "PNG with the number of the class."
        )
    return masks, classes
