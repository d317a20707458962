"""The direction of the house: imports point down, siblings do not import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sklearn_nets"

# From the ground up; a room may use rooms of lower floors, never its own floor or above.
FLOORS = [
    {"_utils.array_api", "_utils.sklearn_compat", "_utils.random"},
    {"_utils.device", "_utils.validation"},
    {"modules.losses", "modules.layers", "modules.augment", "modules.interfaces"},
    {"modules.mlp", "modules.resnet", "modules.vit", "modules.unet", "datasets", "metrics",
     "neighbors._exact_search", "svm._newton"},
    {"_training.schedules", "_training.gradient", "_training.loader", "_training.optimizers",
     "_training.stopping"},
    {"_training.net", "_training.cuda_graph"},
    {"_training.run"},
    {"_training.loop", "_training.lbfgs"},
    {"_base.precision", "_base.parameters", "_base.callbacks", "_base.tasks"},
    {"_base.preparation", "_base.masks", "_base.images"},
    {"_base.estimator"},
    {"_base.classifier", "_base.regressor"},
    {"neural_network", "vision", "segmentation", "neighbors._classification", "svm._linear"},
    {"neighbors", "svm"},
    {"comparison._measure", "comparison._progress", "comparison._tables", "comparison._html"},
    {"comparison._compare", "_cli.line_ups", "accel"},
    {"comparison"},
    {"_cli.main"},
    {"__main__"},
]  # fmt: skip
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ALLOWED_ON_ONE_FLOOR = {("comparison._html", "comparison._tables")}


def rooms():
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    } | {name: PACKAGE / name / "__init__.py" for name in ("neighbors", "svm", "comparison")}


def own_imports(room, path):
    """Rooms of this package that a room imports, wherever in the file."""
    package = room.split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            if node.module:
                name = ".".join([*base, *node.module.split(".")])
                inside = [f"{name}.{alias.name}" for alias in node.names]
                yield from (
                    (i for i in inside if i in FLOOR_OF)
                    if name == "comparison" and any(i in FLOOR_OF for i in inside)
                    else [name]
                )
            else:
                yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn_nets."):
            yield node.module.removeprefix("sklearn_nets.")


def outside_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)


def test_every_room_has_a_floor():
    assert set(rooms()) == set(FLOOR_OF)


@pytest.mark.parametrize("room", sorted(FLOOR_OF))
def test_imports_point_down(room):
    for other in own_imports(room, rooms()[room]):
        if (room, other) not in ALLOWED_ON_ONE_FLOOR:
            assert FLOOR_OF[other] < FLOOR_OF[room], f"{room} imports {other}"


def test_comparison_knows_no_estimator():
    estimators = {"neural_network", "vision", "segmentation", "neighbors", "svm"}
    for room in FLOOR_OF:
        if not room.startswith("comparison"):
            continue
        assert not estimators & set(own_imports(room, rooms()[room]))


def test_modules_know_torch_alone():
    for room, path in rooms().items():
        if room.startswith("modules."):
            names = {name.split(".")[0] for name, _ in outside_imports(path)}
            assert not names & {"sklearn", "skorch", "pandas"}, room


def test_private_names_of_scikit_learn_live_in_one_file():
    for room, path in rooms().items():
        if room == "_utils.sklearn_compat":
            continue
        for module, name in outside_imports(path):
            if module.split(".")[0] == "sklearn":
                parts = [*module.split("."), name or ""]
                private = [p for p in parts if p.startswith("_") and not p.startswith("__")]
                assert not private, f"{room} imports {module}.{name}"


def test_package_root_is_light():
    """Importing the package loads neither torch nor scikit-learn: that waits for first use."""
    code = "import sys, sklearn_nets; print({'torch', 'sklearn', 'skorch'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_every_public_name_is_exported_and_documented():
    import sklearn_nets

    for name in sklearn_nets.__all__:
        assert getattr(sklearn_nets, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sklearn_nets.nothing  # noqa: B018
