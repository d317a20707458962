"""Boxes in COCO's file format, as annotation tools write it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from numbers import Real
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from .._utils.array_api import to_numpy
from ._image_files import (
    existing_folder,
    find_divisor,
    for_each_file,
    name_files,
    read_headers,
    read_image,
)

KEYS = {
    "images": ("id", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("image_id", "category_id", "bbox"),
}


def from_coco(annotations: str | Path | dict, image_folder: str | Path | None = None) -> Bunch:
    """Read boxes, and images if their folder is given, from a file in COCO's format.

    Regions marked ``iscrowd`` are left out. Boxes are cut at the borders of their image, as
    annotation tools let them reach a little beyond, and left out where nothing remains.

    Parameters
    ----------
    annotations : str, Path or dict
        A JSON file, or what it holds: ``images`` with ``id``, ``file_name``, ``width`` and
        ``height``, ``categories`` with ``id`` and ``name``, ``annotations`` with ``image_id``,
        ``category_id`` and ``bbox``, x y width height in pixels.
    image_folder : str or Path, default=None
        Where the files are that ``file_name`` names. They are read as by `load_images`: turned as
        their EXIF data says, transparent pixels white, 16 bits scaled to 8 by one rule for all.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n, height, width, 3), or list of such images, uint8, or None
            None without `image_folder`, a list if sizes differ.
        target : list of n dicts
            ``"boxes"`` of shape (k, 4), float64, x0 y0 x1 y1 in pixels, and ``"labels"`` of shape
            (k,), the names of the categories; as `DetectionNet` takes them.
        sizes : list of n tuples (height, width)
        file_names : list of n str
        class_names : list of str
            All categories, in the order of their ids.

    Raises
    ------
    ImportError
        If images are to be read and pillow is not installed.
    ValueError
        If a part is missing or of another kind than COCO's format has, two images or categories
        have the same id, an annotation names an image or a category that is not there, or an image
        has another size than the file says.
    FileNotFoundError
        If images are missing.

    See Also
    --------
    to_coco : The way back.

    Examples
    --------
    >>> from sklearn_nets.datasets import from_coco, to_coco
    >>> y = [{"boxes": [[2, 3, 10, 9]], "labels": ["cell"]}]
    >>> from_coco(to_coco(y, sizes=[(20, 30)])).target[0]["labels"].tolist()
    ['cell']
    """
    annotations, source = _read_json(annotations)
    _check_parts(annotations, source)
    images = sorted(annotations["images"], key=lambda image: image["id"])
    names = {
        c["id"]: str(c["name"]) for c in sorted(annotations["categories"], key=lambda c: c["id"])
    }
    boxes = {image["id"]: [] for image in images}
    for i, annotation in enumerate(annotations["annotations"]):
        for what, ids in (("image", boxes), ("category", names)):
            own = annotation[f"{what}_id"]
            if own not in ids:
                raise ValueError(
                    f"{source}: annotation number {i} belongs to {what} {own}, which the "
                    "file does not hold."
                )
        if not annotation.get("iscrowd", 0):
            _check_box(annotation["bbox"], i, source)
            x, y, width, height = annotation["bbox"]
            label = names[annotation["category_id"]]
            boxes[annotation["image_id"]].append(((x, y, x + width, y + height), label))
    sizes = [(image["height"], image["width"]) for image in images]
    target = [_cut(boxes[image["id"]], size) for image, size in zip(images, sizes)]
    file_names = [image.get("file_name", str(image["id"])) for image in images]
    return Bunch(
        images=None if image_folder is None else _read_images(image_folder, file_names, sizes),
        target=target,
        sizes=sizes,
        file_names=file_names,
        class_names=list(names.values()),
    )


def to_coco(
    y: Sequence[dict],
    sizes: Sequence[tuple[int, int]],
    *,
    file_names: Sequence[str] | None = None,
    class_names: Sequence | None = None,
    path: str | Path | None = None,
) -> dict:
    """Boxes in COCO's format.

    Parameters
    ----------
    y : list of n dicts
        ``"boxes"`` of shape (k, 4), x0 y0 x1 y1 in pixels, ``"labels"`` of shape (k,), and perhaps
        ``"scores"`` of shape (k,), as `DetectionNet` takes and predicts them, arrays or tensors.
    sizes : sequence of n tuples (height, width)
        Of the images.
    file_names : sequence of n str, default=None
        Of the images; by default their numbers.
    class_names : sequence, default=None
        All labels, which get the ids 1, 2, ...; by default those in y, sorted.
    path : str or Path, default=None
        A JSON file to write.

    Returns
    -------
    dict
        ``images``, ``categories`` and ``annotations``, each annotation with its ``score`` where y
        has one.

    Raises
    ------
    ValueError
        If y, sizes and file names differ in number, or a label is not among `class_names`.

    Examples
    --------
    >>> from sklearn_nets.datasets import to_coco
    >>> y = [{"boxes": [[2, 3, 10, 9]], "labels": ["cell"]}]
    >>> to_coco(y, sizes=[(20, 30)])["annotations"][0]["bbox"]
    [2.0, 3.0, 8.0, 6.0]
    """
    file_names = [str(i) for i in range(len(y))] if file_names is None else file_names
    if not len(y) == len(sizes) == len(file_names):
        raise ValueError(
            f"y holds the boxes of {len(y)} images, but there are {len(sizes)} sizes and "
            f"{len(file_names)} file names."
        )
    labels = [np.asarray(to_numpy(image["labels"])).tolist() for image in y]
    if class_names is None:
        class_names = sorted({label for image in labels for label in image})
    ids = {label: i for i, label in enumerate(class_names, start=1)}
    strange = sorted({label for image in labels for label in image} - set(ids))
    if strange:
        raise ValueError(f"y has the labels {strange}, which class_names does not hold.")
    annotations = []
    for i, image in enumerate(y):
        boxes = np.asarray(to_numpy(image["boxes"]), dtype=float).reshape(-1, 4)
        scores = to_numpy(image.get("scores"))
        for row, (box, label) in enumerate(zip(boxes.tolist(), labels[i])):
            x0, y0, x1, y1 = box
            annotation = {
                "id": len(annotations) + 1, "image_id": i, "category_id": ids[label],
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0,
            }  # fmt: skip
            if scores is not None:
                annotation["score"] = float(scores[row])
            annotations.append(annotation)
    data = {
        "images": [
            {"id": i, "file_name": name, "height": int(height), "width": int(width)}
            for i, (name, (height, width)) in enumerate(zip(file_names, sizes))
        ],
        "categories": [{"id": i, "name": str(label)} for label, i in ids.items()],
        "annotations": annotations,
    }
    if path is not None:
        Path(path).write_text(json.dumps(data), encoding="utf-8")
    return data


def _cut(rows, size) -> dict:
    """Boxes within an image of that size, and their labels."""
    boxes = np.array([box for box, _ in rows], dtype=float).reshape(-1, 4)
    labels = np.array([label for _, label in rows], dtype=str)
    boxes = np.clip(boxes, 0, np.tile(size[::-1], 2))
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return {"boxes": boxes[kept], "labels": labels[kept]}


def _read_images(folder, file_names, sizes):
    folder = existing_folder(folder)
    missing = [name for name in file_names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(file_names)} images are not in {folder}: {name_files(missing)}"
        )
    files = [folder / name for name in file_names]
    headers = read_headers(files, False, None)
    for file, header, size in zip(files, headers, sizes):
        if (header.height, header.width) != size:
            raise ValueError(
                f"{file} is {header.height} x {header.width} pixels (height x width), and the "
                f"boxes were drawn on {size[0]} x {size[1]}. Correct the image or its height and "
                "width."
            )
    divisor = find_divisor(files, headers, False, None)
    images: list = [None] * len(files)

    def read(i):
        shape = headers[i].height, headers[i].width
        images[i] = read_image(files[i], shape, gray=False, divisor=divisor)

    for_each_file(read, files, False, None, "Reading images")
    return np.stack(images) if len({image.shape for image in images}) == 1 else images


def _read_json(annotations) -> tuple[dict, str]:
    """What a file holds, and its name in messages."""
    if isinstance(annotations, dict):
        return annotations, "annotations"
    path = Path(annotations)
    if not path.is_file():
        kind = "is a folder, expected a JSON file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {kind}. Check the path (from {Path.cwd()}).")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file in COCO's format: {error}") from error
    return found, str(path)


def _check_parts(annotations, source) -> None:
    """Refuse what lacks a part, or an entry that lacks a key."""
    missing = [p for p in KEYS if not isinstance(annotations, dict) or p not in annotations]
    if missing:
        raise ValueError(
            f"{source}: COCO's format has {', '.join(KEYS)}; {', '.join(missing)} is missing."
        )
    for part, keys in KEYS.items():
        entries = annotations[part]
        if not isinstance(entries, list | tuple):
            raise ValueError(
                f"{source}: {part} is of type {type(entries).__name__}, expected a list of "
                f"dictionaries with {', '.join(keys)}."
            )
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise ValueError(
                    f"{source}: number {i} of {part} is {entry!r}, expected a dictionary with "
                    f"{', '.join(keys)}."
                )
            lacking = [key for key in keys if key not in entry]
            if lacking:
                raise ValueError(f"{source}: number {i} of {part} lacks {', '.join(lacking)}.")
    _check_ids(annotations, source)
    _check_images(annotations["images"], source)


def _check_images(images, source) -> None:
    """Refuse sizes that are no pixels and names that are no text."""
    for i, image in enumerate(images):
        for side in ("height", "width"):
            if not isinstance(image[side], Real) or not image[side] > 0:
                raise ValueError(
                    f"{source}: number {i} of images has the {side} {image[side]!r}, expected "
                    "pixels, a number above 0. Write the size of the file."
                )
        name = image.get("file_name", "")
        if not isinstance(name, str):
            raise ValueError(
                f"{source}: number {i} of images has the file_name {name!r}, expected a string."
            )


def _check_ids(annotations, source) -> None:
    """Refuse ids of several types, which cannot be sorted or compared, and repeated ones."""
    for part, key in (("images", "image_id"), ("categories", "category_id")):
        own = [entry["id"] for entry in annotations[part]]
        ids = own + [entry[key] for entry in annotations["annotations"]]
        kind = str if all(isinstance(value, str) for value in own or ids) else Real
        if not all(isinstance(value, kind) for value in ids):
            kinds = sorted({type(value).__name__ for value in ids})
            raise ValueError(
                f"{source}: the ids of {part} must be all numbers or all strings, also in "
                f"annotations; got {', '.join(kinds)}. Write all ids alike."
            )
        repeated = [value for value, count in Counter(own).items() if count > 1]
        if repeated:
            raise ValueError(
                f"{source}: {len(repeated)} ids are of several {part}: "
                f"{', '.join(map(repr, repeated[:5]))}. Give each an id of its own."
            )


def _check_box(box, i, source) -> None:
    try:
        values = np.asarray(box, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise ValueError(
            f"{source}: annotation number {i} has the bbox {box!r}, expected x, y, width and "
            "height in pixels."
        )
