"""Files that are written whole or not at all, and archives of JSON and arrays without pickle."""

from __future__ import annotations

import io
import json
import os
import secrets
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pandas as pd

CONTENTS = "contents.json"


def file_to_write(path: str | Path) -> Path:
    """The file that a path leads to, which need not exist, behind symbolic links.

    Raises
    ------
    OSError
        If what is there is no regular file: a folder, a device, a pipe, a circle of links; if its
        folder does not exist.
    """
    file = Path(os.path.realpath(path))
    if os.path.lexists(file) and not file.is_file():
        kind = "a folder" if file.is_dir() else "no regular file"
        raise OSError(f"{str(path)!r} is {kind}, expected a file to write.")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"The folder {str(file.parent)!r} does not exist. Make it first.")
    return file


def replace_file(path: Path, data: str | bytes) -> None:
    """Write a file beside the old one and put it in its place, so that none is half-written."""
    path = file_to_write(path)
    data = data.encode("utf-8") if isinstance(data, str) else data
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(new, "xb") as file:  # with the permissions of new files; those of tempfile are others
        try:
            if path.exists():
                os.chmod(new, path.stat().st_mode)
            file.write(data)
            file.close()
            os.replace(new, path)
        except BaseException:
            file.close()
            new.unlink()
            raise


def write_archive(path: Path, contents: dict, arrays: dict[str, np.ndarray]) -> None:
    """A zip of ``contents.json`` and one ``.npy`` file for each array, as numpy.savez writes them.

    Raises
    ------
    ValueError
        If an array or a value could only be stored by pickle.
    """
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        contents = contents | {"arrays": list(arrays)}  # a damaged zip may have lost entries
        archive.writestr(CONTENTS, json.dumps(contents, default=_plain))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, _without_objects(name, array), allow_pickle=False)
    replace_file(path, buffer.getvalue())


def _plain(value):
    """Numbers of numpy's and pandas' as JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if value is pd.NA:
        return None
    raise ValueError(
        f"Cannot store {value!r} of type {type(value).__name__} without pickle: expected strings, "
        "numbers, or tuples of them."
    )


def _without_objects(name: str, array) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != object:
        return array
    if not all(isinstance(value, str) for value in array.ravel()):
        raise ValueError(
            f"{name} holds objects, which only pickle can store: expected numbers or strings."
        )
    return array.astype(str)


def read_archive(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What `write_archive` wrote.

    Raises
    ------
    ValueError
        If the file is none of its kind, or damaged.
    """
    data = io.BytesIO(Path(path).read_bytes())
    try:
        with ZipFile(data) as archive:
            contents = json.loads(archive.read(CONTENTS))
            arrays = {}
            for name in archive.namelist():
                if name != CONTENTS:
                    with archive.open(name) as file:
                        array = np.lib.format.read_array(file, allow_pickle=False)
                    arrays[name.removesuffix(".npy")] = array
        missing = set(contents.get("arrays", arrays)) - set(arrays)  # older files name none
        if missing:
            raise ValueError(f"it lacks {sorted(missing)[:3]}")
    except Exception as error:  # zipfile, zlib and numpy raise many types for damaged bytes
        raise ValueError(
            f"{path} is no file that Comparison.save() wrote, or damaged: {error}"
        ) from error
    return contents, arrays
