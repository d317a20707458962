"""An unchanged scikit-learn script runs on this package's classes, and everything comes back."""

import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sklearn.calibration
import sklearn.neighbors
import sklearn.neural_network
import sklearn.svm
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier as Reference

import sklearn_nets
from sklearn_nets import MLPClassifier, accel
from sklearn_nets.accel import REPLACED, Fit, pairs, patch_sklearn, unpatch_sklearn

X, y = load_iris(return_X_y=True)
PUBLIC = [(f"sklearn.{module}", name) for module, names in REPLACED.items() for name in names]


@pytest.fixture(autouse=True)
def _unpatched():
    yield
    unpatch_sklearn()


def places():
    """Every public place where scikit-learn holds one of the classes, and what it holds."""
    found = {place: getattr(sys.modules[place[0]], place[1]) for place in PUBLIC}
    found["calibration"] = sklearn.calibration.LinearSVC
    return found


def net(Net, **parameters):
    return Net(hidden_layer_sizes=4, solver="lbfgs", max_iter=200, random_state=0, **parameters)


def test_patch_puts_ours_and_unpatch_the_very_same_objects_back():
    before = places()
    methods = {ours: dict(vars(ours)) for _, ours in pairs()}
    patch_sklearn()
    assert all(held.__module__.startswith("sklearn_nets.") for held in places().values())
    assert sklearn.svm._classes.LinearSVC is before["sklearn.svm", "LinearSVC"]
    unpatch_sklearn()
    assert places() == before
    assert {ours: dict(vars(ours)) for ours in methods} == methods


def test_patch_is_idempotent_and_the_inner_block_leaves_the_outer_patch():
    before = places()
    outer = patch_sklearn()
    patched = places()
    with patch_sklearn() as inner:
        assert places() == patched
    assert places() == patched
    assert inner.fits is outer.fits
    unpatch_sklearn()
    unpatch_sklearn()
    assert places() == before


def test_block_unpatches_after_an_error():
    before = places()
    with pytest.raises(ZeroDivisionError), patch_sklearn():
        1 / 0  # noqa: B018
    assert places() == before


def test_package_root_offers_both():
    assert sklearn_nets.patch_sklearn is patch_sklearn
    assert sklearn_nets.unpatch_sklearn is unpatch_sklearn


def test_default_estimators_inside_scikit_learn_are_ours():
    with patch_sklearn() as patch:
        calibrated = sklearn.calibration.CalibratedClassifierCV(cv=2).fit(X, y)
    used = type(calibrated.calibrated_classifiers_[0].estimator)
    assert used is sklearn_nets.LinearSVC
    assert [fit.estimator for fit in patch.fits] == ["LinearSVC"] * 2


def test_record_counts_fits_and_partial_fits_with_their_device():
    with patch_sklearn() as patch:
        model = sklearn.neural_network.MLPClassifier(max_iter=2, random_state=0)
        model.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
        sklearn.neighbors.KNeighborsClassifier().fit(X, y)
    assert patch.fits[:2] == [Fit("MLPClassifier", str(model.device_), None)] * 2
    assert [fit.estimator for fit in patch.fits[2:]] == ["KNeighborsClassifier"]
    model.partial_fit(X, y)
    assert len(patch.fits) == 3, "recorded after the patch had ended"


def test_record_keeps_what_is_available_only_for_some_solvers():
    with patch_sklearn():
        assert not hasattr(net(sklearn.neural_network.MLPClassifier), "partial_fit")


def test_record_tells_a_declared_fallback(monkeypatch):
    own = sklearn_nets.LinearSVC.fit

    def fit(self, X, y, sample_weight=None):
        self.fallback_ = "loss='hinge'"
        return own(self, X, y, sample_weight)

    monkeypatch.setattr(sklearn_nets.LinearSVC, "fit", fit)
    with patch_sklearn() as patch:
        sklearn.svm.LinearSVC(loss="hinge", C=1e-3, random_state=0).fit(X, y)
    assert [fit.fallback for fit in patch.fits] == ["loss='hinge'"]
    assert "LinearSVC                 1 by scikit-learn (loss='hinge')" in patch.report()


def test_failed_fit_is_not_recorded():
    with patch_sklearn() as patch, pytest.raises(ValueError):
        sklearn.svm.LinearSVC().fit(X, y[:3])
    assert patch.fits == []
    assert "no fit of MLPClassifier, MLPRegressor" in patch.report()


@pytest.mark.usefixtures("host")
def test_fits_of_many_threads_are_all_recorded():
    with patch_sklearn() as patch, ThreadPoolExecutor(4) as pool:
        models = [sklearn.neighbors.KNeighborsClassifier() for _ in range(40)]
        list(pool.map(lambda model: model.fit(X, y), models))
    assert len(patch.fits) == 40
    assert "KNeighborsClassifier     40 on cpu" in patch.report()


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", REPLACED["neural_network"])
def test_sparse_X_needs_no_fallback(name):
    expected = net(getattr(sklearn.neural_network, name)).fit(sparse.csr_array(X), y)
    with patch_sklearn() as patch:
        model = net(getattr(sklearn.neural_network, name)).fit(sparse.csr_array(X), y)
    assert type(model) is getattr(sklearn_nets, name)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-6)
    assert patch.fits == [Fit(name, "cpu", None)]


def test_sparse_X_stays_with_the_classes_that_take_it():
    with patch_sklearn() as patch:
        model = sklearn.neighbors.KNeighborsClassifier().fit(sparse.csr_array(X), y)
    assert type(model) is sklearn_nets.KNeighborsClassifier
    assert len(patch.fits) == 1


def test_pickles_of_scikit_learns_own_survive_the_patch():
    own = sklearn.svm.LinearSVC(random_state=0).fit(X, y)
    with patch_sklearn():
        copy = pickle.loads(pickle.dumps(own))
    assert type(copy) is type(own) is not sklearn_nets.LinearSVC


SCRIPT = """
    import pickle, sys
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC
    import beside

    X, y = load_iris(return_X_y=True)
    LinearSVC(random_state=0).fit(X, y)
    models = [MLPClassifier(solver="lbfgs", random_state=seed).fit(X, y) for seed in (0, 1)]
    with open(sys.argv[1], "wb") as file:
        pickle.dump((models[0], models[0].predict(X)), file)
    print(__name__, sys.argv[2:], type(models[0]).__module__)
    sys.exit(3)
"""


def python(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_script_runs_unchanged_and_its_pickles_load_without_the_patch(tmp_path):
    (tmp_path / "beside.py").touch()
    script, pickled = tmp_path / "script.py", tmp_path / "model.pkl"
    script.write_text(textwrap.dedent(SCRIPT))
    done = python("-m", "sklearn_nets.accel", str(script), str(pickled), "--flag", "x")
    assert done.returncode == 3, done.stderr
    assert done.stdout == "__main__ ['--flag', 'x'] sklearn_nets.neural_network\n"
    head, svm, mlp = done.stderr.splitlines()[-3:]  # above them, the script's own warnings
    assert head == "sklearn_nets.accel: fits in this process"
    assert svm.split()[:3] == ["LinearSVC", "1", "on"]
    assert mlp.split()[:3] == ["MLPClassifier", "2", "on"]
    check = f"import pickle; m, p = pickle.load(open({str(pickled)!r}, 'rb')); import sklearn.svm; "
    check += (
        "from sklearn.datasets import load_iris; assert (m.predict(load_iris().data) == p).all()"
    )
    check += "; print(sklearn.svm.LinearSVC.__module__)"
    loaded = python("-c", check)
    assert loaded.stdout == "sklearn.svm._classes\n", loaded.stderr


@pytest.fixture
def main(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["accel"])
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return accel.main


def test_exception_of_the_script_passes_through_after_the_report(main, tmp_path, capsys):
    script = tmp_path / "fails.py"
    script.write_text("def deep():\n    return 1 / 0\n\ndeep()\n")
    with pytest.raises(ZeroDivisionError) as caught:
        main([str(script)])
    assert [(frame.path, frame.lineno + 1) for frame in caught.traceback[-2:]] == [
        (script, 4),
        (script, 2),
    ]
    assert "sklearn_nets.accel: no fit" in capsys.readouterr().err


def test_missing_script_is_a_usage_error(main, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["nowhere.py"])
    assert "no such file: nowhere.py" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [int, bool, str, "several labels"])
def test_converters_find_the_encoder_of_labels(kind):
    """skl2onnx, which takes a patched class for scikit-learn's, reads it."""
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    y = np.c_[y > 0, y > 1].astype(int) if kind == "several labels" else y.astype(kind)
    ours, theirs = (cls(max_iter=1).fit(X, y) for cls in (MLPClassifier, Reference))
    assert ours._label_binarizer.y_type_ == theirs._label_binarizer.y_type_
    assert not hasattr(MLPClassifier(), "_label_binarizer")
