"""The command line, with small line-ups in place of the real ones."""

import builtins
import re

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.naive_bayes import GaussianNB

from sklearn_nets._cli import compare
from sklearn_nets._cli import main as cli

DIGITS, LABELS = (part[:200] for part in load_digits(return_X_y=True))


class Everywhere(DummyClassifier):
    """The most frequent class, at every pixel."""

    def fit(self, X, y):
        return super().fit(np.zeros((y.size, 1)), y.ravel())

    def predict(self, X):
        return np.full(X.shape[:3], super().predict(np.zeros((1, 1)))[0])


class Corner(BaseEstimator):
    """A box at the same place of every image."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return [{"boxes": [[0, 0, 4, 4]], "labels": ["3"], "scores": [0.9]} for _ in X]


@pytest.fixture
def small(monkeypatch):
    """Replace the line-ups; return the seeds that they were asked for."""
    asked = []

    def digits(random_state):
        asked.append(("digits", random_state))
        return {"Bayes": GaussianNB(var_smoothing=0.1), "dummy": DummyClassifier()}, DIGITS, LABELS

    def scenes(random_state):
        asked.append(("scenes", random_state))
        rng = np.random.default_rng(random_state)
        images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
        return {"everywhere": Everywhere()}, images, rng.integers(0, 3, (12, 8, 8))

    def boxes(random_state):
        asked.append(("boxes", random_state))
        images = np.random.default_rng(random_state).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
        y = [{"boxes": [[0, 0, 4, 4], [3, 3, 8, 8]], "labels": ["3", "8"]}] * 12
        return {"corner": Corner()}, images, y

    makers = {"digits": digits, "scenes": scenes, "boxes": boxes}
    jobs = {name: (title, makers[name], show) for name, (title, _, show) in compare.JOBS.items()}
    monkeypatch.setattr(compare, "JOBS", jobs)
    monkeypatch.setattr(compare, "AT_A_TIME", {})  # processes take seconds to start
    return asked


@pytest.mark.parametrize("rich", [True, False])
def test_compare_digits_prints_tables_and_writes_a_page(small, tmp_path, capsys, monkeypatch, rich):
    if rich:
        pytest.importorskip("rich")
    else:
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.startswith("rich"):
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
    page = tmp_path / "page.html"
    assert (
        cli.main(["compare", "digits", "--folds", "3", "--seed", "7", "--output", str(page)]) == 0
    )
    out, err = capsys.readouterr()
    assert small == [("digits", 7)]
    assert err == ""
    for word in [
        "accuracy",
        "macro precision",
        "macro recall",
        "fit [s]",
        "predict [s]",
        "parameters",
        "device",
        "200 samples",
        "3 folds",
        "Bayes",
        "dummy",
        str(page),
    ]:
        assert word in out  # fmt: skip
    assert ("┃" in out) == rich
    accuracies = [word for word in out.split() if word.startswith("0.")]
    assert all(a in page.read_text(encoding="utf-8") for a in accuracies)


@pytest.mark.parametrize("asked", [True, False])
def test_folds_in_several_processes(small, asked, tmp_path, capsys, monkeypatch):
    page, arguments = tmp_path / "page.html", ["--jobs", "2"]
    if not asked:  # the digits take the cores that there are, and no more
        monkeypatch.setattr(compare, "AT_A_TIME", {"digits": 4})
        monkeypatch.setattr(compare.joblib, "cpu_count", lambda: 2)
        arguments = ["--device", "cpu"]
    command = ["compare", "digits", "--folds", "2", "--output", str(page)]
    assert cli.main([*command, *arguments]) == 0
    together = capsys.readouterr().out
    assert "2 fits at a time" in page.read_text(encoding="utf-8")
    assert cli.main([*command, "--jobs", "1"]) == 0
    assert "at a time" not in page.read_text(encoding="utf-8")
    accuracy = re.compile(r"Bayes\D+(0\.\d+ ± 0\.\d+)")
    assert accuracy.search(together)[1] == accuracy.search(capsys.readouterr().out)[1]


@pytest.mark.parametrize("folds", [[], ["--folds", "2"]])
def test_plain_compare_runs_all_jobs_into_one_page(small, folds, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *folds]) == 0
    assert small == [("digits", 0), ("scenes", 0), ("boxes", 0)]
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "Digits" in page
    assert "Scenes" in page
    assert "Boxes" in page
    assert '<rect class="hit"' in page
    out = capsys.readouterr().out
    for metric in ("mean IoU", "mAP@0.5"):
        assert metric in page
        assert metric in out
    assert out.count("over the folds") == (3 if folds else 1)
    assert out.count("a test set of 4") == (0 if folds else 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["judge"], "invalid choice: 'judge'"),
        (["compare", "letters"], "'letters' does not exist: expected a table, a folder"),
        (["compare", "--folds", "1"], "--folds: expected a whole number 2 to 20, got '1'"),
        (["compare", "--folds", "two"], "got 'two'"),
        (["compare", "--seed", "-1"], "--seed: expected a whole number"),
        (["compare", "--output", "no/such/place.html"], "no/such' does not exist"),
        (["compare", "--output", "."], "is a folder"),
        (["compare", "--what"], "unrecognized arguments: --what"),
    ],
)
def test_bad_arguments_leave_with_two_and_a_message(small, arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    assert not small
    assert message in capsys.readouterr().err


class Interrupted(DummyClassifier):
    def fit(self, X, y):
        raise KeyboardInterrupt


class Fails(DummyClassifier):
    def fit(self, X, y):
        raise RuntimeError("no memory left")


def digits_of(estimator):
    """The job of the digits with another line-up."""
    title, _, picture = compare.JOBS["digits"]
    return {"digits": (title, lambda random_state: ({"net": estimator}, DIGITS, LABELS), picture)}


@pytest.mark.parametrize("complete", [False, True])
def test_an_interrupt_ends_with_what_is_complete(small, complete, tmp_path, monkeypatch, capsys):
    """In the first estimator's first fold; tables before it are kept."""
    monkeypatch.chdir(tmp_path)
    jobs = {"scenes": compare.JOBS["scenes"]} if complete else {}
    monkeypatch.setattr(compare, "JOBS", jobs | digits_of(Interrupted()))
    assert cli.main(["compare"]) == 130
    printed = capsys.readouterr()
    assert "interrupted" in printed.err
    assert ("Wrote comparison.html" in printed.out) == complete
    assert (tmp_path / "comparison.html").exists() == complete


def test_if_all_estimators_fail_the_first_error_is_said(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "JOBS", digits_of(Fails()))
    assert cli.main(["compare", "digits"]) == 1
    error = capsys.readouterr().err
    assert "no memory left" in error
    assert "net" in error
    assert not (tmp_path / "comparison.html").exists()


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["compare", "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert all(
        word in out
        for word in ["digits", "scenes", "boxes", "--coco", "--output", "--folds", "--seed"]
    )
    assert "(default: 5;" in out
    assert "None" not in out
