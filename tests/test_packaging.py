"""What a user gets: a wheel that stands on its own, and a README that is true."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sklearn_nets

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_installs_into_an_empty_folder(wheel, tmp_path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"sklearn_nets/py.typed", "sklearn_nets/__init__.pyi"} <= set(names)
    assert wheel.name.startswith(f"sklearn_nets-{sklearn_nets.__version__}-")
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "sklearn_nets").rglob("*.py")}
    assert modules <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path]
    subprocess.run([*command, wheel], check=True, capture_output=True)
    code = "import sklearn_nets; print(sklearn_nets.__file__, sklearn_nets.MLPClassifier.__name__)"
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert out.stdout.split() == [str(tmp_path / "sklearn_nets" / "__init__.py"), "MLPClassifier"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_example_in_the_readme_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(code.splitlines()) <= 11
    exec(code, {})
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("kNN", "MLP", "CNN"))


def test_the_repository_holds_text_and_one_picture():
    """No wheel, no weights, no data: those come from elsewhere, and history keeps them forever."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "ls-files", "-z"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    paths = [ROOT / name for name in out.stdout.split("\0")[:-1]]
    assert ROOT / "README.md" in paths
    binary = [path for path in paths if path.exists() and b"\0" in path.read_bytes()]
    assert binary == [ROOT / "docs" / "page.png"]


def test_versions_agree():
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    import torch

    assert torch.__version__.split("+")[0] == pins["torch"]


def test_the_readme_says_what_the_conformance_run_wrote():
    (totals,) = re.findall(r"^\| all \|(.*)\|$", (ROOT / "docs/conformance.md").read_text(), re.M)
    passed, failed, excused, *_ = (int(cell) for cell in totals.split("|"))
    line = f"{passed} passed, {failed} failed, {excused} excused"
    assert line in (ROOT / "README.md").read_text()
