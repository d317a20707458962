"""From paths and options of the command line to data, models and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..datasets import from_coco, load_images, load_masks, load_table
from ..datasets._tables import read_table
from ..line_up import default_models

PREPARED = (
    "Each model but the dummy learns how to encode columns from its training rows "
    "(skrub.tabular_pipeline): dates become numbers of year, month, day and time, text of fewer "
    "than 40 values one column per value, other text 30 numbers of the letters it shares; missing "
    "values are filled with the mean, with a column that says where, and all is scaled. "
    "HistGradientBoosting takes categories and missing values as they are."
)

IMAGE_TASKS = {"segmentation": "--masks", "detection": "--coco"}


@dataclass
class Job:
    """One comparison to run.

    Attributes
    ----------
    title : str
    estimators : dict of str to estimator
    X, y : the data to fit, or to cross-validate, on
    options : dict
        Arguments of `compare` beside these.
    images : ndarray, list of ndarray or None
        A picture of each sample of X, followed by those of a held-out test set.
    facts : dict of str to str
        What the page says of the data.
    """

    title: str
    estimators: dict
    X: Any
    y: Any
    options: dict = field(default_factory=dict)
    images: Any = None
    facts: dict[str, str] = field(default_factory=dict)


def read_job(options) -> Job:
    """Read the data that the options name, and choose models for it.

    Parameters
    ----------
    options : argparse.Namespace

    Returns
    -------
    Job

    Raises
    ------
    OSError, ValueError, ImportError
        With a message for the user.
    """
    path = Path(options.data)
    if path.is_dir():
        if options.coco:
            return _read_boxes(path, options)
        return _read_masks(path, options) if options.masks else _read_images(path, options)
    for name in ("masks", "coco"):
        if getattr(options, name):
            raise ValueError(f"--{name} needs a folder of images, got {path}.")
    return _read_table(path, options)


def _read_table(path: Path, options) -> Job:
    for task, flag in IMAGE_TASKS.items():
        if options.task == task:
            raise ValueError(f"--task {task} needs a folder of images with {flag}, got {path}.")
    _refuse(options, "a table", size="images", ignore_index="masks")
    if options.target is None and path.is_file():
        raise ValueError(
            f"--target is missing: which column of {path} is to be predicted? Its columns: "
            f"{', '.join(_columns(path))}."
        )
    train = load_table(path, options.target, group=options.group, task=options.task)
    X, y, facts = train.data, train.target, {"data": train.filename, "found": train.notes}
    facts["prepared"] = PREPARED
    extra = {}
    if train.groups is not None and options.test is None:
        extra["groups"] = train.groups
    if train.task == "regression":
        extra["task"] = "regression"
    if options.test is not None:
        X_test, y_test, notes = _read_test_table(options.test, train)
        extra["test"] = (X_test, y_test)
        if options.group is not None:
            notes.append(f"{options.group} is left out; which rows are tested, the files say.")
        facts |= {"test set": str(options.test), "found in the test set": notes}
    _check_folds(path, y, train.task, options)
    return _job(path, options, X, y, train.task, extra, facts=facts)


def _columns(path) -> list[str]:
    return [str(name).strip() for name in read_table(Path(path))[0].columns]


def _read_test_table(path, train) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The held-out table, with the columns and classes of the one to learn from."""
    test = load_table(path, train.target_name, task=train.task)
    missing = [name for name in train.data if name not in test.data]
    # a column without values was dropped when it was read
    lost = np.setdiff1d(missing, _columns(path)) if missing else []
    if len(lost):
        raise ValueError(
            f"{path} lacks columns of {train.filename}: {', '.join(lost)}. Both tables must have "
            "the same columns."
        )
    data = test.data.reindex(columns=list(train.data))
    for name, column in train.data.items():
        numeric = pd.api.types.is_numeric_dtype(column)
        if column.dtype.kind == "M" or numeric:
            if data[name].isna().all():
                data[name] = data[name].astype(column.dtype if column.dtype.kind == "M" else float)
            elif pd.api.types.is_numeric_dtype(data[name]) != numeric or (
                column.dtype.kind == "M" and data[name].dtype.kind != "M"
            ):
                kind = "numbers" if numeric else "dates"
                raise ValueError(
                    f"{path}: the column {name!r} holds {kind} in {train.filename}, and not here. "
                    "Correct one of the two."
                )
        else:
            data[name] = data[name].astype(object).map(str, na_action="ignore").astype(column.dtype)
    notes = list(test.notes)
    extra = [name for name in test.data if name not in train.data]
    if extra:
        notes.append(f"Columns that are not in {train.filename} are left out: {', '.join(extra)}.")
    _check_unknown(path, test.target, train.target, train.task)
    return data, test.target, notes


def _read_images(path: Path, options) -> Job:
    _refuse(options, "a folder of images", target="a table", group="a table", ignore_index="masks")
    if options.task not in ("auto", "classification"):
        hint = f" Add {IMAGE_TASKS[options.task]}." if options.task in IMAGE_TASKS else ""
        raise ValueError(
            f"--task {options.task}: a folder per class is classification, without --task.{hint}"
        )
    progress = not options.quiet
    train = load_images(path, size=options.size, progress=progress)
    X, y, facts = train.images, train.target, {"data": str(path), "found": train.notes}
    extra, images = {}, X
    if options.test is not None:
        test = load_images(options.test, size=X.shape[1:3], progress=progress)
        _check_unknown(options.test, test.target, y, "classification")
        test_images = _same_channels(test.images, X)
        extra["test"] = (test_images, test.target)
        images = np.concatenate([X, test_images])
        facts |= {"test set": str(options.test), "found in the test set": test.notes}
    _check_folds(path, y, "classification", options)
    return _job(path, options, X, y, "classification", extra, images=images, facts=facts)


def _same_channels(images: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Gray as color, or color as gray (ITU-R 601, as pillow's), to fit what is learned from."""
    if images.ndim < like.ndim:
        return np.repeat(images[..., None], 3, axis=-1)
    if images.ndim > like.ndim:
        return np.rint(images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return images


def _read_masks(path: Path, options) -> Job:
    _refuse(
        options,
        "images with masks",
        target="a table",
        group="a table",
        test="a table or a folder per class",
    )
    if options.task not in ("auto", "segmentation"):
        raise ValueError(f"--task {options.task} does not fit --masks: leave one of them out.")
    data = load_masks(path, options.masks, size=options.size, progress=not options.quiet)
    _check_folds(path, data.masks, "segmentation", options)
    extra = {}
    if options.ignore_index is not None:
        ignored = options.ignore_index
        if data.masks.dtype.kind != "U":
            ignored = int(ignored) if ignored.lstrip("-").isdigit() else ignored
        if ignored not in data.masks:
            raise ValueError(
                f"--ignore-index {options.ignore_index}: no pixel has this value. {data.notes[0]}"
            )
        extra["ignore_index"] = ignored
    facts = {"data": f"{path}, masks in {options.masks}", "found": data.notes}
    return _job(
        path, options, data.images, data.masks, "segmentation", extra,
        images=data.images, facts=facts,
    )  # fmt: skip


def _read_boxes(path: Path, options) -> Job:
    _refuse(
        options,
        "images with boxes",
        target="a table",
        group="a table",
        test="a table or a folder per class",
        masks="masks, and --coco for boxes",
        ignore_index="masks",
    )
    if options.task not in ("auto", "detection"):
        raise ValueError(f"--task {options.task} does not fit --coco: leave one of them out.")
    data = from_coco(options.coco, path)
    images, y = data.images, data.target
    n_boxes = sum(len(image["labels"]) for image in y)
    if not n_boxes:
        raise ValueError(f"{options.coco} holds no boxes of its {len(y)} images: nothing to learn.")
    notes = [f"{n_boxes:,} boxes in {len(y):,} images, of {', '.join(data.class_names)}."]
    n_empty = sum(not len(image["labels"]) for image in y)
    if n_empty:
        notes.append(f"{n_empty:,} of the images have no box.")
    if options.size is not None:
        images, y = _scaled(images, y, options.size)
        height, width = options.size
        notes.append(f"Images and boxes are scaled to {height} x {width} pixels (height x width).")
    _check_folds(path, y, "detection", options)
    facts = {"data": f"{path}, boxes in {options.coco}", "found": notes}
    return _job(path, options, images, y, "detection", {}, images=images, facts=facts)


def _scaled(images, y, size) -> tuple[np.ndarray, list[dict]]:
    """Images of one size, and their boxes."""
    from PIL import Image

    scaled = np.empty((len(images), *size, 3), np.uint8)
    boxes = []
    for row, image, target in zip(scaled, images, y):
        row[:] = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)  # as folders
        factor = np.tile(np.array(size[::-1]) / image.shape[1::-1], 2)
        # rounding must not carry a corner over the border
        moved = np.minimum(target["boxes"] * factor, np.tile(size[::-1], 2))
        boxes.append({"boxes": moved, "labels": target["labels"]})
    return scaled, boxes


def _job(path, options, X, y, task, extra, *, images=None, facts) -> Job:
    estimators = default_models(
        X,
        y,
        task=task,
        models=options.models,
        device=options.device,
        ignore_index=extra.get("ignore_index"),
        random_state=options.seed,
    )
    cv = {} if "test" in extra else {"cv": options.folds}
    facts = {key: " ".join(fact) if isinstance(fact, list) else fact for key, fact in facts.items()}
    return Job(path.name, estimators, X, y, cv | extra, images, facts)


def _refuse(options, what, **only_for) -> None:
    """Options that would be ignored are mistakes."""
    for name, suited in only_for.items():
        if getattr(options, name) is not None:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} is for {suited}; {options.data} is {what}. Leave it out.")


def _check_unknown(path, y_test, y, task) -> None:
    unknown = np.setdiff1d(y_test, y) if task == "classification" else []
    if len(unknown):
        raise ValueError(
            f"{path} holds classes that there is nothing to learn of: "
            f"{', '.join(map(str, unknown[:10]))}. Known are {', '.join(map(str, np.unique(y)))}."
        )


def _check_folds(path, y, task, options) -> None:
    """Refuse more folds than samples, or than the largest class has."""
    if options.test is not None:
        return
    if options.folds > len(y):
        raise ValueError(f"{path} has {len(y)} samples: too few for {options.folds} folds (--cv).")
    if task != "classification":
        return
    classes, counts = np.unique(y, return_counts=True)
    if counts.max() < options.folds:
        other = "--task regression" if y.dtype.kind in "iuf" else "another --target"
        raise ValueError(
            f"{path}: the largest class, {classes[counts.argmax()]}, has {counts.max()} of "
            f"{len(y)} samples, too few for {options.folds} folds. Choose a smaller --cv "
            f"or {other}."
        )
