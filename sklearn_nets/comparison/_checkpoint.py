"""A folder that keeps what is done, fold by fold, so that a run can go on after a kill."""

from __future__ import annotations

import builtins
import hashlib
import importlib
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np

from ._designs import Design
from ._files import read_archive, write_archive
from ._metrics import Answer
from ._run import FoldResult

ANSWERS = ("predicted", "probabilities", "decision_values")


class Checkpoint:
    """Results of single folds in files, each under the hash of all that it depends on.

    Parameters
    ----------
    folder : str or path-like
        Made if it does not exist.
    problem : Problem
    X : array-like
        The samples.
    """

    def __init__(self, folder, problem, X):
        self.folder, self.problem = Path(folder), problem
        self.folder.mkdir(parents=True, exist_ok=True)
        asked = problem.name, list(problem.metrics), problem.main_metric, problem.ignore_index
        self.data = joblib.hash([X, problem.y, *asked])
        self.paths: dict = {}

    def fix_splits(self, design: Design) -> Design:
        """Take the folds of the run that was cut short, if the same arguments draw other ones."""
        path = self._path("splits", self.data, joblib.hash(design.groups), design.description)
        if path.exists() and not design.reproducible:
            _, arrays = read_archive(path)
            n = len(arrays) // 2
            splits = [(arrays[f"train{k}"], arrays[f"test{k}"]) for k in range(n)]
            return replace(design, splits=splits)
        arrays = {f"train{k}": train for k, (train, _) in enumerate(design.splits)}
        arrays |= {f"test{k}": test for k, (_, test) in enumerate(design.splits)}
        write_archive(path, {}, arrays)
        return design

    def _path(self, *parts) -> Path:
        return self.folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.zip"

    def load(self, estimators, splits) -> dict[tuple, FoldResult]:
        """What is already done of a run."""
        done = {}
        hashes = [joblib.hash([np.asarray(part) for part in split]) for split in splits]
        for name, estimator in estimators.items():
            try:
                described = joblib.hash(estimator)
            except Exception as error:
                raise ValueError(
                    f"checkpoint needs estimators that can be pickled, to know them again; "
                    f"estimators[{name!r}] cannot: {error}"
                ) from error
            for fold, split in enumerate(hashes):
                path = self._path(self.data, str(name), described, fold, split)
                self.paths[name, fold] = path
                if path.exists():
                    done[name, fold] = self._read(path, name)
        return done

    def save(self, name, fold: int, result: FoldResult) -> None:
        """Keep one fold."""
        answer, arrays = result.answer, {}
        for part in ANSWERS:
            value = getattr(answer, part)
            if value is not None:
                arrays[part] = self.problem.pack(value) if part == "predicted" else value
        if result.confusion is not None:
            arrays["confusion"] = result.confusion
        row = {k: v for k, v in result.row.items() if k != "estimator"}
        warned = [(c.__module__, c.__qualname__, text) for c, text in result.warnings]
        contents = {"row": row, "curves": result.curves, "warnings": warned}
        write_archive(self.paths[name, fold], contents, arrays)

    def _read(self, path: Path, name) -> FoldResult:
        contents, arrays = read_archive(path)
        row = {"estimator": name} | contents["row"]
        confusion = arrays.pop("confusion", None)
        arrays["predicted"] = self.problem.unpack(arrays["predicted"])
        warned = [(_category(*kind), text) for *kind, text in contents["warnings"]]
        return FoldResult(row, Answer(**arrays), confusion, contents["curves"], warned)


def _category(module: str, name: str) -> type[Warning]:
    """A warning's class by its name, if it can be found and is one."""
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        found = None
    is_warning = isinstance(found, builtins.type) and issubclass(found, Warning)
    return found if is_warning else UserWarning
