"""A comparison in a file, and back, without pickle."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ._files import read_archive, write_archive
from ._problems import choose_problem, named_problem

VERSION = 1
PER_FOLD = ("predictions", "probabilities", "decision_values")


def save(comparison, path) -> None:
    """Write ``Comparison.save``'s file."""
    problem, names = comparison.problem, comparison.names
    arrays = {"y": problem.pack(problem.y)}
    for fold, (train, test) in enumerate(comparison.splits):
        arrays |= {f"train/{fold}": train, f"test/{fold}": test}
    for i, name in enumerate(names):
        for part in PER_FOLD:
            for fold, values in enumerate(getattr(comparison, part).get(name, [])):
                packed = problem.pack(values) if part == "predictions" else values
                arrays[f"{part}/{i}/{fold}"] = packed
        if name in comparison.confusion_matrices:
            arrays[f"confusion/{i}"] = comparison.confusion_matrices[name]
    contents = {
        "format": "sklearn_nets.Comparison",
        "version": VERSION,
        "task": problem.name,
        "scoring": problem.scoring,
        "main_metric": problem.main_metric,
        "ignore_index": problem.ignore_index,
        "names": names,
        "metrics": comparison.metrics,
        "folds": _records(comparison.folds),
        "provenance": comparison.provenance,
        "curves": [comparison.curves.get(name, []) for name in names],
        "warnings": [comparison.warnings.get(name, []) for name in names],
        "failures": [
            [name, type(e).__name__, str(e), list(getattr(e, "__notes__", []))]
            for name, e in comparison.failures.items()
        ],
        "left_out": comparison.left_out,
        "design_remarks": comparison.design_remarks,
        "learning_curves": (
            None if comparison.learning_curves is None else _records(comparison.learning_curves)
        ),
        "n_folds": len(comparison.splits),
    }
    write_archive(Path(path), contents, arrays)


def _records(frame: pd.DataFrame) -> dict:
    return {name: frame[name].tolist() for name in frame}


def _frame(records: dict) -> pd.DataFrame:
    return pd.DataFrame(records | {"estimator": [_name(n) for n in records["estimator"]]})


def _name(value):
    """The name of an estimator: JSON makes a list of a tuple."""
    return tuple(map(_name, value)) if isinstance(value, list) else value


def load(cls, path):
    """Read ``Comparison.save``'s file."""
    contents, arrays = read_archive(Path(path))
    if contents.get("format") != "sklearn_nets.Comparison":
        raise ValueError(f"{path} is no file that Comparison.save() wrote.")
    if contents["version"] > VERSION:
        raise ValueError(
            f"{path} is of version {contents['version']}, this package reads up to {VERSION}: "
            "update sklearn_nets."
        )
    y = named_problem(contents["task"]).unpack(arrays["y"])
    problem = choose_problem(y, contents["ignore_index"], (), contents["scoring"], contents["task"])
    problem.rank_by(contents.get("main_metric", problem.main_metric))  # none in older files
    names, n_folds = list(map(_name, contents["names"])), contents["n_folds"]

    def per_fold(part):
        found = {}
        for i, name in enumerate(names):
            if f"{part}/{i}/0" in arrays:
                values = [arrays[f"{part}/{i}/{fold}"] for fold in range(n_folds)]
                found[name] = [problem.unpack(v) for v in values] if part == PER_FOLD[0] else values
        return found

    folds = _frame(contents["folds"]).astype({"n_parameters": "Int64"})
    texts = ["estimator", "device", "n_parameters"]
    folds = folds.astype({c: float for c in folds if folds[c].dtype == object and c not in texts})
    curves = contents["learning_curves"]
    return cls(
        folds=folds,
        metrics=contents["metrics"],
        confusion_matrices={
            name: arrays[f"confusion/{i}"]
            for i, name in enumerate(names)
            if f"confusion/{i}" in arrays
        },
        **{part: per_fold(part) for part in PER_FOLD},
        splits=[(arrays[f"train/{k}"], arrays[f"test/{k}"]) for k in range(n_folds)],
        problem=problem,
        provenance=contents["provenance"],
        curves=dict(zip(names, contents["curves"])),
        warnings={n: [(k, t) for k, t in w] for n, w in zip(names, contents["warnings"])},
        failures={_name(name): _failure(*rest) for name, *rest in contents["failures"]},
        left_out=list(map(_name, contents["left_out"])),
        design_remarks=contents["design_remarks"],
        learning_curves=None if curves is None else _frame(curves),
    )


def _failure(kind: str, message: str, notes: list[str]) -> Exception:
    """An exception that says what the stored one said; its class is known by its name only."""
    error = type(kind, (Exception,), {})(message)
    error.__notes__ = notes
    return error
