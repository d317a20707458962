"""Run scikit-learn's own installed tests on this package's classes: ``make conformance``.

Nothing is copied: pytest collects the tests in scikit-learn's wheel, after `sklearn_nets.accel` has
rebound the six class names. Of each module those cases run that reach one of the names, in their
source or in their parameters. A markdown table counts them, and a run of all modules writes it to
docs/conformance.md; the exit status is 1 if a case fails that is neither excused below nor failing
with scikit-learn's own classes on this machine.

    python tests/conformance.py                    # all modules
    python tests/conformance.py test_mlp test_svm  # modules whose path contains one of these

This file is also the pytest plugin that each of its subprocesses loads.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sklearn
import torch

NAMES = {
    "MLPClassifier",
    "MLPRegressor",
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "NearestNeighbors",
    "LinearSVC",
}

MODULES = [
    "tests/test_common.py",
    "neural_network/tests/test_mlp.py",
    "neighbors/tests/test_neighbors.py",
    "svm/tests/test_svm.py",
    "svm/tests/test_sparse.py",
    "svm/tests/test_bounds.py",
    "linear_model/tests/test_common.py",
    "model_selection/tests/test_search.py",
    "model_selection/tests/test_successive_halving.py",
    "model_selection/tests/test_validation.py",
    "tests/test_calibration.py",
    "tests/test_multiclass.py",
    "tests/test_multioutput.py",
    "ensemble/tests/test_bagging.py",
    "ensemble/tests/test_common.py",
    "ensemble/tests/test_forest.py",
    "ensemble/tests/test_stacking.py",
    "ensemble/tests/test_voting.py",
    "inspection/tests/test_partial_dependence.py",
    "semi_supervised/tests/test_self_training.py",
    "feature_selection/tests/test_from_model.py",
    "feature_selection/tests/test_sequential.py",
    "feature_extraction/tests/test_text.py",
    "manifold/tests/test_isomap.py",
    "manifold/tests/test_locally_linear.py",
    "metrics/tests/test_score_objects.py",
    "utils/tests/test_validation.py",
    "utils/_repr_html/tests/test_estimator.py",
]

COLUMNS = ("passed", "failed", "excused", "skipped", "both")
REPORT = Path(__file__).resolve().parent.parent / "docs" / "conformance.md"

# A test's id, or its id up to the parameters -> why it cannot hold. One that passes must go.
EXCUSED = {
    "neural_network/tests/test_mlp.py::test_fit": (
        "injects weights and private momenta (_coef_velocity) into an estimator never fitted"
    ),
    "neural_network/tests/test_mlp.py::test_gradient": "calls the private _loss_grad_lbfgs",
    "neural_network/tests/test_mlp.py::test_learning_rate_warmstart": "reads private _optimizer",
    "neural_network/tests/test_mlp.py::test_adaptive_learning_rate": "reads private _optimizer",
}


# ------------------------------------------------------------------------- in the subprocess: pytest


def pytest_configure(config):
    if os.environ["CONFORMANCE_CLASSES"] == "sklearn_nets":
        from sklearn_nets.accel import pairs, rebind

        for original, ours in pairs():
            rebind(original, ours)
        assert all(held is ours for held, ours in pairs())


def pytest_collection_modifyitems(config, items):
    reaching = {}
    chosen = []
    for item in items:
        if item.module not in reaching:
            reaching[item.module] = names_that_reach(ast.parse(inspect.getsource(item.module)))
        if is_concerned(item, reaching[item.module]):
            chosen.append(item)
            # scikit-learn asks whether torch was built for CUDA, not whether there is a GPU
            if "cuda" in item.name and not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip("no CUDA device"))
    items[:] = chosen


def pytest_runtest_logreport(report):
    _note(report.nodeid, report)


def pytest_collectreport(report):
    if report.failed:
        _note(report.nodeid, report)


def _note(nodeid, report):
    outcome = OUTCOMES.get(nodeid, ("passed", ""))
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        outcome = "failed", crash.message if crash else str(report.longrepr)
    elif report.skipped and outcome[0] == "passed":
        outcome = "skipped", ""
    OUTCOMES[nodeid] = outcome


def pytest_sessionfinish(session):
    Path(os.environ["CONFORMANCE_RESULT"]).write_text(json.dumps(OUTCOMES))


OUTCOMES: dict[str, tuple[str, str]] = {}


def names_that_reach(tree: ast.Module) -> set[str]:
    """Return the module's top-level names whose definition leads to one of `NAMES`."""
    uses = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            # a parametrised test is judged case by case: its decorators do not count
            parts, defined = [node.args, *node.body], {node.name}
        elif isinstance(node, ast.ClassDef | ast.Assign | ast.AnnAssign):
            parts = [node]
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            defined = {getattr(node, "name", None), *(getattr(t, "id", None) for t in targets)}
        else:
            continue
        found = set().union(*(_words(part) for part in parts))
        for name in defined - {None}:
            uses[name] = uses.get(name, set()) | found
    reach = set(NAMES)
    while more := {name for name, used in uses.items() if name not in reach and used & reach}:
        reach |= more
    return reach


def _words(tree: ast.AST) -> set[str]:
    fields = ("id", "attr", "arg")
    return {getattr(node, field, None) for node in ast.walk(tree) for field in fields} - {None}


def is_concerned(item, reach: set[str]) -> bool:
    """Whether a collected test reaches one of `NAMES` in its body, fixtures or parameters."""
    if getattr(item, "originalname", item.name) in reach:
        return True
    parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
    shown = " ".join(f"{value!r} {getattr(value, '__name__', '')}" for value in parameters)
    return not reach.isdisjoint(re.findall(r"\w+", shown + " " + item.name))


# ------------------------------------------------------------------------------- the command itself


def run(module: str, classes: str, tests: list[str] = ()) -> dict:
    """Run one test module, or some of its tests, in a process of its own."""
    root = Path(sklearn.__file__).parent
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch, "result.json")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
            "CONFORMANCE_CLASSES": classes,
            "CONFORMANCE_RESULT": str(result),
            "SKLEARN_RUN_FLOAT32_TESTS": "1",
            "SCIPY_ARRAY_API": "1",
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        }
        command = [sys.executable, "-m", "pytest", "-p", "conformance", "-p", "no:cacheprovider"]
        # without these, an environment inside the repository would find the repository's settings and conftest
        command += ["-c", os.devnull, f"--rootdir={root}", f"--confcutdir={root}"]
        command += ["--disable-warnings", "-q"]
        command += [str(root / test) for test in tests or [module]]
        process = subprocess.run(
            command, cwd=scratch, env=environment, capture_output=True, text=True, check=False
        )
        if result.exists():
            return json.loads(result.read_text())
        return {module: ("failed", (process.stdout + process.stderr)[-400:])}


def judge(outcomes: dict, module: str) -> dict:
    """Put excuses and scikit-learn's own failures in the place of plain failures."""
    judged = {}
    for test, (outcome, message) in outcomes.items():
        excuse = EXCUSED.get(test) or EXCUSED.get(test.split("[")[0])
        if excuse and outcome == "failed":
            outcome, message = "excused", excuse
        elif excuse and outcome == "passed":
            outcome, message = "failed", "is excused but passes: take it out of EXCUSED"
        judged[test] = outcome, message
    found = {*outcomes, *(test.split("[")[0] for test in outcomes)}
    for test in EXCUSED:
        if test.startswith(module) and not found & {test, module}:
            judged[test] = "failed", "is excused but not found: take it out of EXCUSED"
    suspects = [t for t in judged if judged[t][0] == "failed" and t in outcomes and "::" in t]
    if suspects:
        own = run(module, "sklearn", suspects)
        for test in suspects:
            if own.get(test, ("", ""))[0] == "failed":
                judged[test] = "both", "fails with scikit-learn's class too"
    return judged


def write_report(table: list[str]) -> None:
    """Write the table and the excuses to docs/conformance.md."""
    excuses = "\n".join(f"- `{test}`: {reason}" for test, reason in EXCUSED.items())
    REPORT.write_text(
        f"""# scikit-learn's own tests

`make conformance` runs the tests inside scikit-learn's wheel ({sklearn.__version__}) with
{", ".join(f"`{name}`" for name in sorted(NAMES))} replaced by ours,
and writes this page. Most skipped cases want a library or a device that was not there; those of
"both" fail with scikit-learn's own classes too.

{chr(10).join(table)}

Excused, because they inject or read private attributes:

{excuses}
"""
    )


def main(wanted: list[str]) -> int:
    modules = [m for m in MODULES if not wanted or any(word in m for word in wanted)]
    if not modules:
        raise SystemExit(f"No module matches {wanted}; there are: {', '.join(MODULES)}")

    def examine(module):
        return judge(run(module, "sklearn_nets"), module)

    total, faults, table = Counter(), [], []

    def row(*cells):
        table.append(f"| {' | '.join(map(str, cells))} |")
        print(table[-1], flush=True)

    row("scikit-learn's tests", *COLUMNS)
    row(":--", *["--:"] * len(COLUMNS))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for module, judged in zip(modules, pool.map(examine, modules), strict=True):
            counts = Counter(outcome for outcome, _ in judged.values())
            total += counts
            faults += [(t, message) for t, (o, message) in judged.items() if o == "failed"]
            row(module, *(counts[column] for column in COLUMNS))
    row("all", *(total[column] for column in COLUMNS))
    if modules == MODULES:
        write_report(table)
    for test, message in faults:
        print(f"\nFAILED {test}\n    {message[:400]}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
