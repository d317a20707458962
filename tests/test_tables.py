"""Tables as they come: encodings, separators, types, and what is wrong named by its line."""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sklearn_nets.datasets import load_table

pytest.importorskip("skrub")
ROOT = Path(os.environ.get("SKLEARN_NETS_DATA", "no such folder")) / "tabular"


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        raw = text.encode(encoding) if isinstance(text, str) else text
        path.write_bytes(gzip.compress(raw) if name.lower().endswith(".gz") else raw)
        return path

    return write


PETS = "weight,name,kind\n4.5,Ä,cat\n30,Bello,dog\n5,C,cat\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_encoding_and_separator_gives_the_same_table(write, encoding, separator):
    table = load_table(write(PETS.replace(",", separator), encoding=encoding), "kind")
    assert table.data["weight"].tolist() == [4.5, 30, 5]
    assert table.data["name"].tolist() == ["Ä", "Bello", "C"]
    assert table.target.tolist() == ["cat", "dog", "cat"]
    assert any("encoded" in note for note in table.notes) == ("utf-8" not in encoding)


@pytest.mark.parametrize("name", ["a.csv.gz", "A.CSV.GZ", "a.tsv", "a.txt", "a.parquet", "a.xlsx"])
def test_formats(write, tmp_path, name):
    frame = pd.DataFrame({"x": [1.5, 2, None], "t": ["a", "b", "c"], "y": ["p", "q", "p"]})
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    elif name.endswith("xlsx"):
        frame.to_excel(path, index=False)
    else:
        write(frame.to_csv(index=False), name)
    table = load_table(path, "y")
    np.testing.assert_array_equal(table.data["x"], [1.5, 2, np.nan])
    assert table.data["t"].tolist() == ["a", "b", "c"]
    assert table.target.tolist() == ["p", "q", "p"]
    data, target = load_table(path, "y", return_X_y=True)
    pd.testing.assert_frame_equal(data, table.data)
    np.testing.assert_array_equal(target, table.target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;y\n1,5;u\n2,25;v\n-3;u\n", [1.5, 2.25, -3]),
        ("a;y\n1.234,5;u\n1.000.000,25;v\n7;u\n", [1234.5, 1000000.25, 7]),
        ('a,y\n"1,234",u\n"1,000,000.5",v\n7,u\n', [1234, 1000000.5, 7]),
        ('a,y\n"1,5",u\n"2,25",v\n7,u\n', [1.5, 2.25, 7]),
        ("sep=;\na;y\n1;u\n2;v\n3;u\n", [1, 2, 3]),
        ("a, y\n1, u\n ?, v\n3, u\n", [1, np.nan, 3]),
        ("a,y,\n1,u,\n2,v,\n3,u,\n", [1, 2, 3]),
        ("a,y\n1,u,\n2,v,\n3,u,\n", [1, 2, 3]),
        ("a,y\n\n1,u\n\n2,v\n3,u\n\n\n", [1, 2, 3]),
    ],
)  # fmt: skip
def test_numbers_in_all_spellings(write, text, expected):
    table = load_table(write(text), "y")
    np.testing.assert_array_equal(table.data["a"], expected)
    assert table.target.tolist() == ["u", "v", "u"]


GERMAN = """datum;umsatz;menge;kauf;quote;uhr;orte;anteil;y
01.01.2020;1.101.000,50;7,5;ja;0.5;01.30;82.101;0.500;u
02.02.2021;2.000,25;;nein;0.25;02.15;900;0.250;v
31.12.2022;12;10;ja;0.125;10.45;1.250;0.125;u
"""


def test_every_column_is_read_as_its_own_values_say(write):
    """A point between the thousands of one column is none in dates, times and fractions."""
    data = load_table(write(GERMAN), "y").data
    expected = {
        "umsatz": [1101000.5, 2000.25, 12], "menge": [7.5, np.nan, 10], "quote": [0.5, 0.25, 0.125],
        "uhr": [1.3, 2.15, 10.45], "orte": [82101, 900, 1250], "anteil": [0.5, 0.25, 0.125],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_array_equal(data[name], values, err_msg=name)
    assert data["kauf"].tolist() == ["ja", "nein", "ja"]
    assert data["datum"].tolist() == list(
        pd.to_datetime(["2020-01-01", "2021-02-02", "2022-12-31"])
    )


def test_columns_with_converted_numbers_are_named(write):
    notes = load_table(write(GERMAN), "y").notes
    said = "Numbers are read with a decimal comma and '.' between thousands: umsatz, menge, orte."
    assert said in notes


def test_columns_do_not_depend_on_the_other_columns(write):
    """Each without the thousands is what it is beside them."""
    rows = [line.split(";") for line in GERMAN.splitlines()]
    whole = load_table(write(GERMAN), "y").data
    for name in ("datum", "menge", "kauf", "quote", "uhr", "anteil"):
        column = rows[0].index(name)
        alone = "\n".join(f"{row[column]};{i};{row[-1]}" for i, row in enumerate(rows))
        alone = load_table(write(alone.replace(";0;", ";n;", 1)), "y").data
        pd.testing.assert_series_equal(alone[name], whole[name])


def test_pairs_are_not_taken_for_the_thousands_of_another_column(write):
    text = 'pair,count,half,y\n"1,1","1,101",0.5,u\n"2,15","2,202",0.25,v\n"1,1",7,1,u\n'
    data = load_table(write(text), "y").data
    assert data["pair"].tolist() == ["1,1", "2,15", "1,1"]
    assert data["count"].tolist() == [1101, 2202, 7]
    assert data["half"].tolist() == [0.5, 0.25, 1]


def test_converted_numbers_are_as_exact_as_python_reads_them(write):
    numbers = np.random.default_rng(0).normal(scale=1e4, size=200)
    lines = [f"{x:,.9f}".translate(str.maketrans(",.", ".,")) for x in numbers]
    text = "x;y\n" + "".join(f"{line};{'uv'[i % 2]}\n" for i, line in enumerate(lines))
    np.testing.assert_array_equal(load_table(write(text), "y").data["x"], np.round(numbers, 9))


def test_types_are_found_and_said(write):
    n = 60
    frame = pd.DataFrame({
        "Unnamed: 0": range(n),
        "when": pd.date_range("2020-01-25", periods=n).strftime("%d/%m/%Y"),
        "city": [f"city {i}" for i in range(n)],
        "flag": [True, False, None] * 20,
        "empty": [None] * n,
        "mixed": [*map(str, range(n - 2)), "broken", "lost"],
        "huge": [np.inf, *range(n - 1)],
        "y": ["no", "yes"] * 30,
    })  # fmt: skip
    table = load_table(write(frame.rename(columns={"Unnamed: 0": ""}).to_csv(index=False)), "y")
    data, notes = table.data, " ".join(table.notes)
    assert list(data) == ["when", "city", "flag", "mixed", "huge"]
    assert data["when"].iloc[0] == pd.Timestamp(2020, 1, 25)
    np.testing.assert_array_equal(data["flag"][:3], [1, 0, np.nan])
    np.testing.assert_array_equal(data["mixed"][-3:], [n - 3, np.nan, np.nan])
    assert np.isnan(data["huge"][0])
    assert "5 columns: 3 of numbers, 1 of text (city), 1 of dates (when)" in notes
    for words in [
        "only counts the rows: Unnamed: 0",
        "has no values: empty",
        "'broken', 'lost'",
        "infinite",
    ]:
        assert words in notes


def test_duplicate_names_are_numbered_and_no_target(write):
    path = write("a,a,b,y\n1,2,3,u\n4,5,6,v\n")
    table = load_table(path, "y")
    assert list(table.data) == ["a", "a.1", "b"]
    assert any("same name" in note for note in table.notes)
    with pytest.raises(ValueError, match="several columns 'a'"):
        load_table(path, "a")


@pytest.mark.parametrize("header", ["x,x,x.1", "x,x ,x.1", "x.1,x, x", "x, x ,x"])
def test_the_note_tells_the_true_name_of_a_repeated_column(write, header):
    table = load_table(write(f"{header},y\n1,2,3,u\n4,5,6,v\n"), "y")
    assert len(set(table.data)) == 3
    wanted = [k for k, name in enumerate(header.split(","), 1) if name.strip() == "x"][1]
    second = next(name for name in table.data if table.data[name].tolist() == [wanted, wanted + 3])
    assert any(f"(the second one is {second})" in note for note in table.notes)


def test_row_names_as_R_writes_them(write):
    table = load_table(write('"x","y"\n"1",5,"u"\n"2",6,"v"\n'), "y")
    assert list(table.data) == ["x"]
    assert table.data["x"].tolist() == [5, 6]
    assert any("row names" in note for note in table.notes)


@pytest.mark.parametrize(
    ("values", "task", "kind"),
    [
        (["a", "b"] * 10, "classification", "U"),
        ([True, False] * 10, "classification", "U"),
        ([0, 1] * 10, "classification", "i"),
        ([-1, 1] * 10, "classification", "i"),
        ([1.0, 2.0] * 10, "classification", "i"),
        ([0.25, 0.5] * 10, "classification", "U"),
        ([0, 1, 2] * 10, "classification", "i"),
        ([1, 2, 3] * 10, "classification", "i"),
        ([3, 4, 5] * 10, "regression", "f"),  # no count from 0 or 1
        ([0, 1, 3] * 10, "regression", "f"),  # a gap
        (range(20), "regression", "f"),  # one row each
        ([*range(31)] * 10, "regression", "f"),  # too many
        ([0.5, 1.5, 2.0] * 10, "regression", "f"),
    ],
)
def test_the_task_follows_the_documented_rule_and_is_said(write, values, task, kind):
    frame = pd.DataFrame({"x": range(len(values)), "y": values})
    path = write(frame.to_csv(index=False))
    table = load_table(path, "y")
    assert table.task == task
    assert table.target.dtype.kind == kind
    assert any(note.startswith(f"{task.capitalize()}, because y holds") for note in table.notes)
    if kind != "U":
        other = {"regression": "classification", "classification": "regression"}[task]
        assert any(f"task {other} overrides" in note for note in table.notes)
        assert load_table(path, "y", task=other).task == other


def test_classes_beyond_whole_numbers_of_64_bits_stay_apart(write):
    table = load_table(write("x,y\n" + "1,1e20\n2,2e20\n" * 5), "y")
    assert table.target.tolist() == ["1e+20", "2e+20"] * 5


def test_blank_lines_above_the_header_are_skipped(write):
    table = load_table(write("\n" * 150 + "x;y\n1;a\n2;b\n"), "y")
    assert table.target.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="line 152: expected 2 fields"):
        load_table(write("\n" * 150 + "x;y\n1;2;a\n2;b\n"), "y")


def test_rows_without_target_are_left_out_with_their_lines_kept(write):
    table = load_table(write("x,y\n1,a\n2,\n3,b\n"), "y")
    assert table.data["x"].tolist() == [1, 3]
    assert any(note.startswith("1 of 3 rows have no y and are left out;") for note in table.notes)
    with pytest.raises(ValueError, match=r"line 4: the target 'y' is 'b', expected a number"):
        load_table(write("x,y\n1,5\n2,\n3,b\n4,6\n"), "y", task="regression")


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
@pytest.mark.parametrize("word", ["NA", "None"])
def test_a_class_that_spells_a_missing_value_is_left_out_and_said(write, tmp_path, name, word):
    frame = pd.DataFrame({"x": [1, 2, 3], "y": ["a", word, "b"]})
    if name.endswith("xlsx"):
        frame.to_excel(tmp_path / name, index=False)
    else:
        write(frame.to_csv(index=False), name)
    table = load_table(tmp_path / name, "y")
    assert table.target.tolist() == ["a", "b"]
    assert any("such as NA and None count as missing" in note for note in table.notes)


def test_groups_are_set_apart(write):
    table = load_table(write("x,who,y\n1,b,u\n2,a,v\n3,b,u\n"), "y", group="who")
    assert list(table.data) == ["x"]
    assert table.groups.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"line 3: the group 'who' is missing"):
        load_table(write("x,who,y\n1,b,u\n2,,v\n3,c,u\n"), "y", group="who")
    with pytest.raises(ValueError, match="the same in all rows"):
        load_table(write("x,who,y\n1,b,u\n2,b,v\n"), "y", group="who")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,y\n1,2,u\n1,2\n1,2,v\n", r"line 3: expected 3 fields separated by commas.*got 2"),
        ("a,b,y\n1,2,u\n1,2,3,v\n1,2,v\n", r"line 3: expected 3 .* got 4"),
        ('a,b,y\n"x\nx",2,u\n1,2\n1,2,v\n', r"line 4: expected 3 .* got 2"),
        ('a,b,y\n1,2,u\n"1,2,v\n3,4,u\n', r"line 3: broken quotes .*doubled"),
        ("a,b,y\n1,2,u\n1,2\n1\n", r"line 3: .*\(2 such lines in all\)"),
        ("a,b,y\n", "has a header but no rows"),
        ("  \n", "is empty"),
        ("y\na\nb\n", "has one column only, 'y'"),
        ("a,y\n1,u\n2,u\n", "the target 'y' is u in all 2 rows"),
        ("a,y\n1,\n2,\n", "the target 'y' has no value in any row"),
        ("a,z\n1,u\n2,v\n", r"has no column 'y' \(target\)\. Its columns: a, z"),
        ("a,Y\n1,u\n2,v\n", "Its columns: a, Y"),
        (",y\n0,u\n1,v\n", "no column is left to predict from"),
        ("a,y\n" + "".join(f"1,{i}.5\n" for i in range(30)) + "2,1o\n", "line 32: the target 'y' is '1o'"),
        ("a,y\n1,2020-01-01\n2,2021-01-01\n", None),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "holds no text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(write, text, message):
    path = write(text)
    if message is None:  # dates in text are classes
        assert load_table(path, "y").task == "classification"
        return
    with pytest.raises(ValueError, match=message) as raised:
        load_table(path, "y")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.parquet", "pyarrow"), ("a.xlsx", "openpyxl"), ("a.csv", "skrub")],
)
def test_a_missing_package_is_named_with_its_quoted_command(write, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    path = write(PETS, name)
    with pytest.raises(ImportError, match=rf"{package}.*pip install 'sklearn-nets\[data\]'"):
        load_table(path, "kind")


def test_files_that_are_none(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_table(tmp_path / "nothing.csv", "y")
    with pytest.raises(FileNotFoundError, match="is a folder, expected a file"):
        load_table(tmp_path, "y")
    with pytest.raises(ValueError, match="expected a table as .csv"):
        load_table(write("a,y\n", "a.sav"), "y")
    broken = tmp_path / "b.csv.gz"
    broken.write_bytes(gzip.compress(PETS.encode())[:-12])
    with pytest.raises(ValueError, match="cannot be decompressed"):
        load_table(broken, "kind")
    for name in ("a.parquet", "a.xlsx"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            load_table(write("no such thing", name), "y")
    with pytest.raises(ValueError, match="task must be one of"):
        load_table(write(PETS), "kind", task="guess")


@pytest.mark.skipif(not ROOT.is_dir(), reason="needs the data sets of SKLEARN_NETS_DATA")
def test_the_rule_agrees_with_sixteen_real_tables():
    index = pd.read_csv(ROOT / "index.csv")
    assert len(index) == 18
    small = index[index["n_rows"] <= 25_000]  # to read the two others takes seconds
    assert len(small) == 16
    for row in small.itertuples():
        table = load_table(ROOT / row.file, row.target)
        assert table.task == row.task, row.name
        assert table.data.shape == (row.n_rows, row.n_features), row.name
        if row.task == "classification":
            assert len(np.unique(table.target)) == row.n_classes
        text = [name for name in table.data if not pd.api.types.is_numeric_dtype(table.data[name])]
        known = (
            row.categorical_columns.split(";") if isinstance(row.categorical_columns, str) else []
        )
        assert set(text) <= set(known), row.name
