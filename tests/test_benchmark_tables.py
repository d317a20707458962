"""The benchmark on tables runs from a folder of tables, and counts what it says."""

import sys

import numpy as np
import pandas as pd

from benchmarks import tables


def test_a_line_for_each_table(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "tabular"
    folder.mkdir()
    rng = np.random.RandomState(0)
    x, word = rng.randn(80), rng.choice(["red", "blue"], 80)
    table = pd.DataFrame({"x": x, "word": word, "label": np.where(x > 0, "yes", "no"), "y": 2 * x})
    table.loc[::9, "x"] = np.nan
    table.drop(columns="y").to_csv(folder / "labels.csv", index=False)
    table.drop(columns="label").to_csv(folder / "numbers.csv", index=False)
    pd.DataFrame(
        {
            "name": ["labels", "numbers"],
            "file": ["labels.csv", "numbers.csv"],
            "task": ["classification", "regression"],
            "target": ["label", "y"],
            "categorical_columns": ["word", "word"],
        }
    ).to_csv(folder / "index.csv", index=False)
    monkeypatch.setenv("SKLEARN_NETS_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["tables", "--max-rows", "60"])
    tables.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| labels", "| numbers", "| mean rank"]
    assert " | accuracy | 60 | 2 | " in lines[2]
    scores = [float(cell) for cell in lines[2].split(" | ")[4:8]]
    assert min(scores) > 0.5
