"""Every example runs, at a small size, and draws its figure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
