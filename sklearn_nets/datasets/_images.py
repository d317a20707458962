"""Images with one class each, from a folder per class."""

from __future__ import annotations

from collections import Counter
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
    read_headers,
    read_image,
)

LARGEST = 64  # longest side of an image of default size: what small nets learn from in minutes
NAMES_OF_MASKS = {"images", "imgs", "image", "masks", "mask", "labels", "annotations"}
NAMES_OF_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def load_images(
    folder,
    *,
    size: int | tuple[int, int] | None = None,
    return_X_y: bool = False,
    progress: bool = True,
    n_jobs: int | None = None,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Read images from a folder that holds one folder per class.

    Every file with the name of an image is read, at any depth below the class's folder, turned as
    its EXIF data says, and scaled to one size, which changes the ratio of its sides if the images
    have several. Transparent pixels become white. If all images are gray, there is no axis of
    channels. Gray images of 16 bits become 8 bits by one rule for the whole folder: their values
    are divided by 257, so that white stays white, unless none is above 255. Links to folders are
    followed.

    Parameters
    ----------
    folder : str or path-like
        Such as ``photos`` with ``photos/cat/1.jpg``, ``photos/dog/2.png``, ...
    size : int or (int, int), optional
        Height and width in pixels to scale to; an int is both. By default the images' own size, the
        median of theirs if they differ, scaled down to at most 64 pixels on the longer side.
    return_X_y : bool, default=False
        If True, return ``(images, target)`` instead of a Bunch.
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
        target : ndarray of shape (n_samples,), str
            The name of each image's folder.
        class_names : list of str
        filenames : list of str
            Sorted, below `folder`.
        notes : list of str
            What was found and what was done, in sentences.
    (images, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ImportError
        If pillow is missing.
    ValueError
        If there are fewer than two classes, a class without images, or files that are unreadable,
        under 4 pixels high or wide, or of an odd shape: scaling would change the ratio of their
        sides by more than 4. The files are named.

    See Also
    --------
    load_masks : Images with a class for each pixel.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> from sklearn_nets.datasets import load_images
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name, color in {"sky": "blue", "grass": "green"}.items():
    ...     (folder / name).mkdir()
    ...     Image.new("RGB", (40, 30), color).save(folder / name / "0.png")
    >>> data = load_images(folder, size=16)
    >>> data.images.shape, data.target.tolist()
    ((2, 16, 16, 3), ['grass', 'sky'])
    """
    folder = existing_folder(folder)
    files, labels, notes = _list_classes(folder)
    headers = read_headers(files, progress, n_jobs)
    shape = choose_size(files, headers, size, LARGEST)
    gray = all(header.gray for header in headers)
    divisor = find_divisor(files, headers, progress, n_jobs)
    images = np.empty((len(files), *shape, *([] if gray else [3])), np.uint8)

    def read(i):
        images[i] = read_image(files[i], shape, gray, divisor)

    for_each_file(read, files, progress, n_jobs, "Reading images")
    counts = Counter(labels)
    classes = sorted(counts)
    smallest, largest = min(counts.values()), max(counts.values())
    per_class = f"{smallest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
    first = f"{len(files):,} {'gray' if gray else 'color'} images of {len(classes)} classes"
    notes = [f"{first}, {per_class} images each.", describe_size(headers, shape), *notes]
    target = np.array(labels)
    if return_X_y:
        return images, target
    return Bunch(
        images=images,
        target=target,
        class_names=classes,
        filenames=[str(file.relative_to(folder)) for file in files],
        notes=notes,
    )


def _list_classes(folder: Path) -> tuple[list[Path], list[str], list[str]]:
    """Every image with the name of its class, and remarks."""
    folders = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    names = [f.name for f in folders]
    if folders and {name.lower() for name in names} <= NAMES_OF_SPLITS:
        raise ValueError(
            f"{folder} holds {' and '.join(names)}, not a folder per class. Compare on "
            f"{folders[0]} (with --test {folders[-1]} for a held-out test)."
        )
    if len(folders) == 2 and {name.lower() for name in names} <= NAMES_OF_MASKS:
        raise ValueError(
            f"{folder} holds {' and '.join(names)}, not a folder per class. For a class per pixel, "
            f"compare on {folders[0]} with --masks {folders[1]} (in Python: load_masks)."
        )
    loose = [f for f in folder.iterdir() if f.is_file() and f.suffix.lower() in SUFFIXES]
    if len(folders) < 2:
        found = f"one folder ({names[0]})" if folders else "no folder"
        also = f" and {len(loose):,} images beside it" if loose else ""
        raise ValueError(
            f"{folder}: expected a folder of images per class, two or more, got {found}{also}. "
            f"Sort the images into folders such as {folder / 'cat'} and {folder / 'dog'}."
        )
    files, labels, n_others = [], [], 0
    for name, below in zip(names, folders):
        images, others = list_images(below)
        if not images:
            raise ValueError(
                f"{below} holds no image ({', '.join(sorted(SUFFIXES))}): add some, or remove the "
                "folder."
            )
        files += images
        labels += [name] * len(images)
        n_others += others
    notes = [f"{n_others:,} files that are no images are left out."] if n_others else []
    if loose:
        notes.append(f"{len(loose):,} images outside of the classes' folders are left out.")
    return files, labels, notes
