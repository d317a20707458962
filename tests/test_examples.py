"""The examples run, on less than they show, and draw a figure."""

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALLER = {"N_WIDTHS": 3, "N_SEEDS": 2, "N_EPOCHS": 2, "N_NETS": 4}


@pytest.mark.parametrize("name", ["double_descent", "deep_ensemble"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_example(name, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    source = (EXAMPLES / f"{name}.py").read_text()
    sizes = re.search(r"^(N_\w+(?:, N_\w+)*) = .*$", source, re.MULTILINE)
    small = ", ".join(str(SMALLER[size]) for size in sizes[1].split(", "))
    before = set(pyplot.get_fignums())
    source = source.replace(sizes[0], f"{sizes[1]} = {small}")
    exec(compile(source, f"{name}.py", "exec"), {"__name__": "__main__"})
    assert re.search(r"^\d+ nets in ", capsys.readouterr().out, re.MULTILINE)
    (number,) = set(pyplot.get_fignums()) - before
    assert pyplot.figure(number).axes[0].lines
    pyplot.close(number)
