"""Text files with a table in them: encoding, separator, decimal sign and broken lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from io import StringIO
from itertools import count, islice
from pathlib import Path

import numpy as np
import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# no thousands begin with 0: 0,500 and 0.500 are halves
DECIMAL_COMMA = re.compile(r"[+-]?([1-9]\d{0,2}(\.\d{3})+|\d+)(,\d+)?")
THOUSANDS_COMMA = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?|[+-]?\d+(\.\d+)?")


def read_csv(path: Path) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Read a text file, refusing lines that do not fit the header.

    Returns
    -------
    table : DataFrame
    lines : ndarray of shape (n_rows,)
        The line of the file, from 1, on which each row starts.
    notes : list of str
        What was found out about the file.
    """
    text, notes = _decode(_read_bytes(path), path)
    declared = re.match(r"sep=(.)\r?\n", text)  # Excel writes this line above the header
    above = int(bool(declared))
    if declared:
        text = text[declared.end() :]
    text = text.rstrip("\r\n ")
    if not text.strip():
        raise ValueError(f"{path} is empty: expected a header line and one line for each row.")
    separator = declared[1] if declared else _find_separator(text)
    if separator != ",":
        notes.append(f"Columns are separated by {SEPARATORS.get(separator, repr(separator))}.")
    header, lines, extra = _check_lines(text, path, separator, above)
    if len(lines) == 0:
        raise ValueError(f"{path} has a header but no rows.")

    index_col = None
    if extra == "names":
        index_col = 0
        notes.append("The first field of every line has no header: row names, left out.")
    elif extra == "empty":
        index_col = False  # what stands behind the last separator is dropped
    options = {"sep": separator, "skipinitialspace": True, "na_values": ["?"]}
    options |= {"low_memory": False, "index_col": index_col, "encoding_errors": "strict"}
    table = pd.read_csv(StringIO(text), **options).reset_index(drop=True)
    as_in_file = table.columns

    def read_texts(names):
        types = {as_in_file[table.columns.get_loc(name)]: str for name in names}
        texts = pd.read_csv(StringIO(text), **options, dtype=types)
        return texts.set_axis(table.columns, axis=1)[names].reset_index(drop=True)

    table.columns = strip_names(table.columns)
    notes += _convert_numbers(table, separator, read_texts)
    repeated = sorted(name for name, times in Counter(header).items() if times > 1 and name)
    if repeated:
        second = header.index(repeated[0], header.index(repeated[0]) + 1)
        notes.append(
            f"Columns of the same name are numbered: {', '.join(repeated)} "
            f"(the second one is {table.columns[second]})."
        )
    table.attrs["repeated"] = repeated
    return table, lines, notes


def strip_names(names) -> list[str]:
    """Names of columns without blanks around them; repeated ones are numbered as pandas does."""
    stripped = []
    for name in (str(name).strip() for name in names):
        numbered = (name if k == 0 else f"{name}.{k}" for k in count())
        stripped.append(next(one for one in numbered if one not in stripped))
    return stripped


def _read_bytes(path: Path) -> bytes:
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            return file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be decompressed ({error}): it is damaged, or no gzip file."
        ) from None


def _decode(raw: bytes, path: Path) -> tuple[str, list[str]]:
    encoding = next((name for bom, name in BOMS.items() if raw.startswith(bom)), None)
    if encoding is None and len(raw) > 3:  # Latin text in UTF-16: every second byte is zero
        low, high = raw[0:400:2], raw[1:400:2]
        if high.count(0) > 0.8 * len(high):
            encoding = "utf-16-le"
        elif low.count(0) > 0.8 * len(low):
            encoding = "utf-16-be"
    for candidate in [encoding] if encoding else ["utf-8", "cp1252", "latin-1"]:
        try:
            text = raw.decode(candidate)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        plain = candidate in ("utf-8", "utf-8-sig")
        return text, [] if plain else [f"Text is encoded as {candidate}."]
    raise ValueError(
        f"{path} holds no text: expected a table as .csv, .csv.gz, .tsv, .parquet or .xlsx."
    )


def _find_separator(text: str) -> str:
    """The separator that splits most of the first lines into equally many fields, at least two."""
    head = text.lstrip("\r\n")[: 2**16]
    best, best_score = ",", (0.0, 0)
    for separator in SEPARATORS:
        reader = csv.reader(StringIO(head, newline=""), delimiter=separator, skipinitialspace=True)
        try:
            widths = Counter(len(record) for record in islice(reader, 100) if record)
        except csv.Error:
            continue
        (width, n_lines), *_ = widths.most_common(1)
        score = (n_lines / widths.total(), width)
        if width > 1 and score > best_score:
            best, best_score = separator, score
    return best


def _check_lines(text: str, path: Path, separator: str, above: int):
    """Header, line of every row, and what the one field more than the header is, if anything."""
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    header, lines, widths, last_is_empty, start = [], [], [], True, 1
    try:
        for record in reader:
            if record:
                lines.append(start)
                widths.append(len(record))
                last_is_empty &= len(lines) == 1 or not record[-1]
                header = record if len(lines) == 1 else header
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {start + above}: broken quotes ({error}). A field that holds quotes "
            'needs quotes around it and every quote inside doubled: "6"" pipe".'
        ) from None
    lines, widths = np.array(lines) + above, np.array(widths)
    extra = None
    if len(widths) > 1 and np.all(widths[1:] == widths[0] + 1):
        extra = "empty" if last_is_empty else "names"
    elif np.any(widths != widths[0]):
        bad = int(np.argmax(widths != widths[0]))
        n_bad = np.count_nonzero(widths != widths[0])
        others = f" ({n_bad} such lines in all)" if n_bad > 1 else ""
        raise ValueError(
            f"{path}, line {lines[bad]}: expected {widths[0]} fields separated by "
            f"{SEPARATORS.get(separator, repr(separator))}, as in the header, got "
            f"{widths[bad]}{others}. Complete or remove the line; a field that holds a separator "
            "needs quotes around it."
        )
    return [name.strip() for name in header], lines[1:], extra


def _convert_numbers(table: pd.DataFrame, separator: str, read_texts) -> list[str]:
    """Turn columns of text into the numbers that they spell, and say which."""
    decimal, columns = _find_numbers(table, separator, read_texts)
    if not columns:
        return []
    thousands = "," if decimal == "." else "."
    between = any(_hold(column, thousands) for column in columns.values())
    for name, column in columns.items():
        column = column.str.replace(thousands, "", regex=False).str.replace(
            decimal, ".", regex=False
        )
        table[name] = pd.to_numeric(column)
    return [
        f"Numbers are read with a decimal {'comma' if decimal == ',' else 'point'}"
        + (f" and {thousands!r} between thousands" if between else "")
        + f": {', '.join(columns)}."
    ]


def _find_numbers(table, separator, read_texts) -> tuple[str, dict[str, pd.Series]]:
    """Decimal sign, and the columns in which every value is a number that pandas cannot read."""
    texts = _texts(table.select_dtypes(["object", "string"]))
    commas = {name: column for name, column in texts.items() if _hold(column, ",")}
    # "1,234" in a file of commas had to be quoted: a thousand; elsewhere a decimal comma
    columns = _matching(THOUSANDS_COMMA, commas) if separator == "," else {}
    if columns:
        return ".", columns
    columns = _matching(DECIMAL_COMMA, commas)
    if any(_hold(column, ".") for column in columns.values()):
        # then 82.101 and 900 in a column without a comma, fractions to pandas, are thousands, too
        others = texts | _texts(read_texts(list(table.select_dtypes("float"))))
        columns |= _matching(DECIMAL_COMMA, {n: c for n, c in others.items() if _hold(c, ".")})
    return ",", columns


def _texts(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns that hold nothing but text, without missing values."""
    columns = {name: table[name].dropna() for name in table}
    return {
        name: column.str.strip()
        for name, column in columns.items()
        if len(column) and column.map(lambda value: isinstance(value, str)).all()
    }


def _hold(column: pd.Series, sign: str) -> bool:
    return column.str.contains(sign, regex=False).any()


def _matching(pattern: re.Pattern, columns: dict[str, pd.Series]) -> dict[str, pd.Series]:
    return {name: column for name, column in columns.items() if column.str.fullmatch(pattern).all()}
