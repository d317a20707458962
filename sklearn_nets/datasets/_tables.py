"""Tables from files, ready for estimators: types found, the target set apart."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._utils.optional import require
from ._csv import read_csv, strip_names
from ._task import choose_task

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".xlsx")
TASKS = ("auto", "classification", "regression")
MOSTLY = 0.8  # a column of text with this share of numbers is a column of numbers


def load_table(
    path, target: str, *, group: str | None = None, task: str = "auto", return_X_y: bool = False
) -> Bunch | tuple[pd.DataFrame, np.ndarray]:
    """Read a table from a file and set its target apart.

    Encoding, separator and decimal sign of text files are found out. Columns become numbers,
    dates, booleans or text (:class:`skrub.Cleaner`); they are not encoded yet, nor are missing
    values filled: that is learned from training rows only, by a pipeline
    (:func:`sklearn_nets.default_models`). Rows without a target, columns without a value and
    columns that only count the rows are left out; `notes` says so. Missing is what is empty in the
    file and, in text files and ``.xlsx``, what :func:`pandas.read_csv` takes for it: ``NA``,
    ``None``, ``null``, ``nan`` and others, and ``?``. A class of that name needs another one.

    Parameters
    ----------
    path : str or path-like
        A file ``.csv``, ``.tsv``, ``.txt`` (each also with ``.gz``), ``.parquet`` or ``.xlsx`` (the
        first sheet). The first line names the columns.
    target : str
        The column to predict.
    group : str, optional
        A column that says which rows belong together (a patient, a day). It is set apart, too.
    task : {"auto", "classification", "regression"}, default="auto"
        "auto" takes words, booleans and numbers of two different values for classes, and numbers
        with a fractional part for quantities. Whole numbers are classes if they look like codes (at
        most 30 of them, counted from 0 or 1 without a gap, with 5 rows each on average), or else
        quantities.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    table : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : DataFrame of shape (n_samples, n_features)
        target : ndarray of shape (n_samples,)
            str for classes that are words or booleans, int64 for classes that are whole numbers,
            float64 for quantities.
        groups : ndarray of shape (n_samples,) or None
        task : {"classification", "regression"}
        target_name : str
        notes : list of str
            What was found and what was done, in sentences.
        filename : str
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a library that reads the file is missing.
    ValueError
        If the file is damaged or no table, a line does not fit the header (it is named), `target`
        or `group` is not among the columns, or the target is constant or does not suit `task`.

    See Also
    --------
    load_images : Images from a folder per class.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn_nets.datasets import load_table
    >>> path = pathlib.Path(tempfile.mkdtemp(), "pets.csv")
    >>> _ = path.write_text("weight;born;kind\\n4,5;2020-01-31;cat\\n30;2021-02-01;dog\\n")
    >>> pets = load_table(path, target="kind")
    >>> pets.data["weight"].tolist(), pets.target.tolist(), pets.task
    ([4.5, 30.0], ['cat', 'dog'], 'classification')
    """
    path = Path(path)
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}.")
    table, lines, notes = read_table(path)
    table.columns = strip_names(table.columns)
    repeated = table.attrs.get("repeated", [])
    for role, name in {"target": target, "group": group}.items():
        if name is not None or role == "target":
            _check_column(path, table, repeated, role, name)
    if group == target:
        raise ValueError(f"group and target must be different columns, got {target!r} for both.")

    table, lines, dropped = _drop_rows_without(table, lines, target)
    y, task, said = _read_target(path, table.pop(target), lines, task)
    groups = None
    if group is not None:
        groups = _read_groups(path, table.pop(group), lines)
        n_groups = len(np.unique(groups))
        said = [*said, f"{group} is set apart: {n_groups:,} groups of rows that belong together."]
    data, found = _clean(path, table)
    notes = [*said, *dropped, *found, *notes]
    if return_X_y:
        return data, y
    return Bunch(
        data=data,
        target=y,
        groups=groups,
        task=task,
        target_name=target,
        notes=notes,
        filename=str(path),
    )


def read_table(path: Path) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The table as it is in the file, the line of each row, and remarks."""
    if not path.is_file():
        kind = "is a folder, expected a file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {kind}. Check the path (from {Path.cwd()}).")
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise ValueError(f"{path}: expected a table as {', '.join(SUFFIXES)}.")
    if not name.endswith((".parquet", ".xlsx")):
        return read_csv(path)
    engine = "pyarrow" if name.endswith(".parquet") else "openpyxl"
    require(engine, f"Reading {path.name}", extra="data")
    try:
        if name.endswith(".parquet"):
            table, notes = pd.read_parquet(path).reset_index(drop=True), []
        else:
            with pd.ExcelFile(path) as book:
                sheets = book.sheet_names
                table = pd.read_excel(book, sheet_name=sheets[0], na_values=["?"])
            others = f"; {len(sheets) - 1} other sheets are not read" if len(sheets) > 1 else ""
            notes = [f"The table is the sheet {sheets[0]!r}{others}."]
    except Exception as error:  # each library has errors of its own for files it cannot read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read as {path.suffix}: {reason}") from None
    if not len(table):
        raise ValueError(f"{path} has no rows.")
    return table, np.arange(len(table)) + (2 if name.endswith(".xlsx") else 1), notes


def _check_column(path, table, repeated, role, name) -> None:
    columns = list(table.columns)
    shown = ", ".join(columns[:30]) + (f" and {len(columns) - 30} more" if columns[30:] else "")
    if name not in columns:
        close = difflib.get_close_matches(str(name), columns, n=1, cutoff=0.7)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{path} has no column {name!r} ({role}).{hint} Its columns: {shown}.")
    if name in repeated:
        raise ValueError(f"{path} has several columns {name!r} ({role}). Rename all but one.")
    if role == "target" and len(columns) == 1:
        raise ValueError(
            f"{path} has one column only, {shown!r}: expected a target and something to predict it "
            "from. Columns may be separated by commas, semicolons, tabs or vertical bars."
        )


def _drop_rows_without(table, lines, target):
    missing = table[target].isna().to_numpy()
    if not missing.any():
        return table, lines, []
    note = (
        f"{missing.sum():,} of {len(table):,} rows have no {target} and are left out; words such "
        "as NA and None count as missing."
    )
    return table[~missing].reset_index(drop=True), lines[~missing], [note]


def _read_target(path, column: pd.Series, lines, task) -> tuple[np.ndarray, str, list[str]]:
    name = column.name
    if not len(column):
        raise ValueError(f"{path}: the target {name!r} has no value in any row.")
    if column.dtype.kind == "M":
        raise ValueError(f"{path}: the target {name!r} holds dates: choose another column.")
    numbers = _as_numbers(column)
    y = _plain_array(column)
    if y.dtype.kind == "U" and task != "classification":
        _check_mostly_numbers(path, column, numbers, lines, task)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        line = lines[int(np.argmin(np.isfinite(y)))]
        raise ValueError(f"{path}, line {line}: the target {name!r} is infinite. Correct the row.")
    values = np.unique(y)
    if len(values) == 1:
        raise ValueError(
            f"{path}: the target {name!r} is {values[0]!s} in all {len(y):,} rows. There is "
            "nothing to learn: choose another target, or add rows of another value."
        )
    if task == "auto":
        task, reason = choose_task(y)
        other = "regression" if task == "classification" else "classification"
        override = f"; task {other} overrides" if y.dtype.kind in "iuf" else ""
        note = f"{task.capitalize()}, because {name} holds {reason}{override}."
    else:
        note = f"{task.capitalize()} of {name}, as asked for."
    if task == "regression":
        return numbers.to_numpy(np.float64), task, [note]
    if y.dtype.kind == "f" and np.all((values == np.round(values)) & (np.abs(values) < 2**53)):
        y = y.astype(np.int64)
    return (y.astype(str) if y.dtype.kind in "bf" else y), task, [note]


def _as_numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce").astype("float64")


def _plain_array(column: pd.Series) -> np.ndarray:
    """A column without missing values as numpy's int64, float64, bool or str."""
    if pd.api.types.is_bool_dtype(column):
        return column.to_numpy(bool)
    if pd.api.types.is_numeric_dtype(column):
        kind = np.int64 if pd.api.types.is_integer_dtype(column) else np.float64
        return column.to_numpy(kind)
    values = [value.strip() if isinstance(value, str) else str(value) for value in column]
    return np.array(values, dtype=str)


def _check_mostly_numbers(path, column, numbers, lines, task) -> None:
    """Refuse a column of quantities in which some cells hold no number."""
    words = numbers.isna().to_numpy()
    mostly = words.mean() <= 1 - MOSTLY and numbers.nunique() > 20
    if words.any() and (task == "regression" or mostly):
        first = int(np.argmax(words))
        raise ValueError(
            f"{path}, line {lines[first]}: the target {column.name!r} is {column.iloc[first]!r}, "
            f"expected a number ({words.sum():,} such rows). Correct or empty these cells"
            + (", or choose task classification." if task == "auto" else ".")
        )


def _read_groups(path, column: pd.Series, lines) -> np.ndarray:
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{path}, line {lines[int(np.argmax(missing))]}: the group {column.name!r} is missing "
            f"({missing.sum():,} such rows). Fill it in or remove the rows."
        )
    groups = np.unique(_plain_array(column), return_inverse=True)[1]
    if groups.max() == 0:
        raise ValueError(f"{path}: the group {column.name!r} is the same in all rows.")
    return groups


def _clean(path, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Give every column its type; drop what cannot tell anything."""
    skrub = require("skrub", "load_table", extra="data")
    notes = []
    counters = [name for name in table if _counts_rows(table[name])]
    if counters:
        notes.append(f"Left out, since it only counts the rows: {', '.join(counters)}.")
    table = table.drop(columns=counters)
    for name in table:
        table[name], note = _unify(path, table[name])
        notes += note
    data = skrub.Cleaner().fit_transform(table)
    empty = [name for name in table if name not in data]
    if empty:
        notes.append(f"Left out, since it has no values: {', '.join(empty)}.")
    if not data.shape[1]:
        raise ValueError(f"{path}: no column is left to predict from. {' '.join(notes)}")
    return data, [_describe(data), *notes]


def _counts_rows(column: pd.Series) -> bool:
    """Whether a column without a name, or called index or id, is 0, 1, 2, ... or 1, 2, 3, ..."""
    name = column.name.lower()
    named = name in ("", "index", "id", "row", "row_id", "rowid") or name.startswith("unnamed:")
    if not named or not pd.api.types.is_integer_dtype(column) or column.isna().any():
        return False
    steps = np.diff(column.to_numpy(np.int64))
    # rows without a target may have been left out in between
    return bool(column.iloc[0] >= 0 and np.all(steps >= 1) and column.iloc[-1] < 2 * len(column))


def _unify(path, column: pd.Series) -> tuple[pd.Series, list[str]]:
    """Make cells of different types in a column one type."""
    name = column.name
    if pd.api.types.is_float_dtype(column):
        infinite = np.isinf(column.to_numpy(np.float64, na_value=np.nan))
        if infinite.any():
            note = f"{name}: {infinite.sum():,} infinite values count as missing."
            return column.mask(infinite), [note]
        return column, []
    if column.dtype.kind != "O" and not pd.api.types.is_string_dtype(column):
        return column, []
    values = column.dropna()
    if not len(values):
        return column, []
    kinds = set(values.map(type))
    if kinds == {bool}:
        return column.map({True: 1.0, False: 0.0}).astype("float64"), []
    if kinds & {list, dict, np.ndarray, tuple, set}:
        raise ValueError(
            f"{path}: the column {name!r} holds lists: expected one value in each cell."
        )
    numbers = _as_numbers(column)
    share = numbers.notna().sum() / len(values)
    words = values[numbers[values.index].isna()].astype(str)
    if share == 1 or (share >= MOSTLY and numbers.nunique() > 20 and words.nunique() <= 10):
        examples = ", ".join(map(repr, words.unique()[:3]))
        note = f"{name}: {len(words):,} cells are no numbers ({examples}) and count as missing."
        return numbers, [note] if len(words) else []
    return (column, []) if kinds == {str} else (column.map(str, na_action="ignore"), [])


def _describe(data: pd.DataFrame) -> str:
    """Which types the columns have, and how much is missing."""
    dates = [name for name in data if data[name].dtype.kind == "M"]
    numeric = [
        name
        for name in data
        if pd.api.types.is_numeric_dtype(data[name]) or data[name].dtype.kind == "m"
    ]
    text = [name for name in data if name not in dates and name not in numeric]
    parts = [f"{len(numeric)} of numbers"] if numeric else []
    parts += [f"{len(text)} of text ({_some(text)})"] if text else []
    parts += [f"{len(dates)} of dates ({_some(dates)})"] if dates else []
    missing = int(data.isna().to_numpy().sum())
    share = missing / max(data.size, 1)
    holes = f"{missing:,} values ({share:.1%}) are missing" if missing else "no value is missing"
    columns = "1 column" if data.shape[1] == 1 else f"{data.shape[1]} columns"
    return f"{columns}: {', '.join(parts)}; {holes}."


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if names[8:] else "")
