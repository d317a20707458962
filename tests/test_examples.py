"""Every example runs, at a small size, and draws its figure; those of docstrings run as typed."""

import ast
import builtins
import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_nets

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "data")


@pytest.mark.parametrize("name", EXAMPLES)
def test_runs(name, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    if name == "backbones":
        pytest.importorskip("timm")
    environment = {
        **os.environ,
        "SKLEARN_NETS_SMALL": "1",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(FOLDER.parent),
    }
    run = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    figure = tmp_path / f"{name}.png"
    assert figure.stat().st_size > 5000
    source = (FOLDER / f"{name}.py").read_text()
    assert source.count("\n") < 60
    assert "# %%" in source


def test_there_are_examples():
    assert len(EXAMPLES) >= 6


def test_examples_of_docstrings_import_what_they_use():
    # doctest runs them where all names of their module are at hand; a reader has none of these
    missing, n_examples = {}, 0
    for name, text in _docstrings():
        known = set(dir(builtins))
        for example in doctest.DocTestParser().get_examples(text):
            n_examples += 1
            nodes = list(ast.walk(ast.parse(example.source)))
            known |= {bound for node in nodes for bound in _bound(node)}
            used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            if used - known:
                missing.setdefault(name, set()).update(used - known)
    assert missing == {}
    assert n_examples > 300


def _docstrings():
    """Names and docstrings of the modules, classes, functions and methods of the package."""
    for module in pkgutil.walk_packages(sklearn_nets.__path__, "sklearn_nets."):
        if module.name.endswith("__main__"):
            continue
        module = importlib.import_module(module.name)
        yield module.__name__, module.__doc__ or ""
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(thing) or inspect.isroutine(thing):
                yield f"{module.__name__}.{name}", inspect.getdoc(thing) or ""
            if inspect.isclass(thing):
                for method, function in vars(thing).items():
                    if inspect.isroutine(function) or isinstance(function, property):
                        yield f"{module.__name__}.{name}.{method}", function.__doc__ or ""


def _bound(node):
    """The names that a node of a syntax tree brings into being."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.alias):
        return [(node.asname or node.name).split(".")[0]]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return []
