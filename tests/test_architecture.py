"""The direction of imports, the root of the package, and what type checkers see of it."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import sklearn_nets

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sklearn_nets"


def test_contracts_of_imports():
    """The layers in pyproject.toml; a new module has to be given its place there."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert out.returncode == 0, out.stdout + out.stderr


def test_private_names_of_scikit_learn_live_in_one_file():
    for path in PACKAGE.rglob("*.py"):
        if path.name == "sklearn_compat.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.split(".")[0] == "sklearn":
                    private = [n for n in name.split(".") if n.startswith("_") and n[:2] != "__"]
                    assert not private, f"{path} imports {name}"


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.match(r"[\w-]+", line).group().lower() for lines in lists for line in lines}
    distributions = packages_distributions()
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "sklearn_nets"}
    assert {"torch", "scipy", "PIL"} <= imported
    for name in imported:
        names = {d.lower().replace("_", "-") for d in distributions[name]}
        assert names & declared, name


@pytest.mark.parametrize("module", ["sklearn_nets", "sklearn_nets._cli.main"])
def test_package_root_and_the_help_of_the_command_line_are_light(module):
    """They load neither torch nor scikit-learn: that waits for first use."""
    code = f"import sys, {module}; print({{'torch', 'sklearn', 'numpy'}} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_the_first_fit_imports_no_compiler():
    """torch's optimizers would: torch.compile's machinery, two seconds in every process."""
    code = """
import pickle, sys, warnings
warnings.simplefilter("ignore")
from sklearn_nets import CNNClassifier, MLPClassifier
X, y = [[0.0] * 4, [1.0] * 4, [0.0, 1.0, 0.0, 1.0]], [0, 1, 0]
for net in (MLPClassifier(max_iter=1), MLPClassifier(max_iter=1, solver="sgd"),
            CNNClassifier(max_iter=1, image_shape=(1, 2, 2))):
    net.fit(X, y).predict(X)
    pickle.loads(pickle.dumps(net)).partial_fit(X, y)
print({"torch._dynamo", "sympy", "triton"} & set(sys.modules))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_every_public_name_is_exported_and_documented():
    assert set(sklearn_nets.__all__) <= set(dir(sklearn_nets))
    for name in sklearn_nets.__all__:
        assert getattr(sklearn_nets, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        sklearn_nets.nothing  # noqa: B018


def test_type_checkers_see_the_names_of_the_root(tmp_path):
    names = sorted(set(sklearn_nets.__all__) - {"__version__"})
    lines = [f"from sklearn_nets import {', '.join(names)}"]
    lines += [f"reveal_type({name})" for name in names]
    (tmp_path / "uses.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent"]
    command += ["--ignore-missing-imports", tmp_path / "uses.py"]
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    revealed = [line for line in out.stdout.splitlines() if "Revealed type" in line]
    assert len(revealed) == len(names), out.stdout
    assert not [line for line in revealed if '"Any"' in line], out.stdout
    assert "sklearn_nets.neural_network.MLPClassifier" in out.stdout
