"""What a comparison hands on: files, tables, figures, a page; and runs that go on after a kill."""

import html
import json
import re
import subprocess
import sys
import textwrap
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from sklearn_nets.comparison import Comparison, _tables, compare
from sklearn_nets.comparison._pictures import misclassified

X, Y = load_iris(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=0.8, size=X.shape)
NAMES = np.array(["setosa", "versicolor", "virginica"])
BAYES, KNN, DUMMY = GaussianNB(), KNeighborsClassifier(), DummyClassifier()


class Threshold(BaseEstimator):
    """A segmenter: pixels above a value."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return (X > 0.5).astype(int)


def masks(n=12):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, (n, 6, 7))
    return y + rng.normal(scale=0.5, size=y.shape), y


def of_each_kind():
    """A comparison of every kind of targets, with a failure and a warning."""
    net = MLPClassifier((3,), max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = compare(
            {"Bayes": BAYES, "SVM": LinearSVC(), "net": net, "bad": KNeighborsClassifier(-1)},
            X, pd.Series(NAMES[Y]), cv=3, random_state=0, scoring=["jaccard_macro", "accuracy"],
        )  # fmt: skip
    amounts = compare({"ridge": Ridge()}, *load_diabetes(return_X_y=True), random_state=0)
    return {
        "labels": labels,
        "amounts": amounts,
        "masks": compare({"half": Threshold()}, *masks(), cv=3, ignore_index=7),
        "test set": compare({"Bayes": BAYES, "kNN": KNN}, X[::2], Y[::2], test=(X[1::2], Y[1::2])),
    }


@pytest.fixture(scope="module")
def results():
    return of_each_kind()


KINDS = ["labels", "amounts", "masks", "test set"]


# -- files without pickle


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_says_the_same(kind, results, tmp_path):
    result, path = results[kind], tmp_path / "result.zip"
    result.save(path)
    again = Comparison.load(path)
    pd.testing.assert_frame_equal(again.folds, result.folds)
    pd.testing.assert_frame_equal(again.frame("long"), result.frame("long"))
    pd.testing.assert_frame_equal(again.pairs(), result.pairs())
    assert str(again) == str(result)
    assert repr(again) == repr(result)
    assert again.curves == result.curves
    assert again.warnings == result.warnings
    np.testing.assert_array_equal(again.y, result.y)
    for name, folds in result.predictions.items():
        for ours, theirs in zip(again.predictions[name], folds):
            np.testing.assert_array_equal(ours, theirs)
    again.to_html(tmp_path / "page.html")
    with pytest.raises(AttributeError, match="needs the estimators and samples"):
        _ = again.best_estimator_
    with pytest.raises(ValueError, match="are not stored"):
        again.learning_curve()


def test_a_saved_file_holds_json_and_arrays_only(results, tmp_path):
    path = tmp_path / "result.zip"
    results["labels"].save(path)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("contents.json"))["names"] == ["Bayes", "SVM", "net"]
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    np.lib.format.read_array(file, allow_pickle=False)
            else:
                assert name == "contents.json"


def test_a_file_of_another_kind_is_refused(results, tmp_path):
    path = tmp_path / "result.zip"
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"no file that Comparison\.save\(\) wrote"):
        Comparison.load(path)
    np.savez(tmp_path / "result", y=Y)
    (tmp_path / "result.npz").rename(path)
    with pytest.raises(ValueError, match=r"no file that Comparison\.save\(\) wrote"):
        Comparison.load(path)
    results["labels"].save(path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    contents = json.loads(entries["contents.json"])
    entries["contents.json"] = json.dumps(contents | {"version": 99})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="update sklearn_nets"):
        Comparison.load(path)


def test_a_damaged_file_is_refused_wherever_the_damage_is(results, tmp_path):
    path = tmp_path / "result.zip"
    results["test set"].save(path)
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 41):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            Comparison.load(path)
        except ValueError as error:
            refused += "no file that Comparison.save() wrote, or damaged" in str(error)
    assert refused > 0.8 * len(whole) / 41  # some bytes of a zip, such as dates, mean nothing
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as full, zipfile.ZipFile(tmp_path / "less.zip", "w") as less:
        for name in full.namelist()[:-1]:
            less.writestr(name, full.read(name))
    with pytest.raises(ValueError, match="or damaged: it lacks"):
        Comparison.load(tmp_path / "less.zip")
    for n_bytes in range(0, len(whole), 997):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(ValueError, match="or damaged"):
            Comparison.load(path)
    with pytest.raises(FileNotFoundError):
        Comparison.load(tmp_path / "none.zip")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_files_have_the_permissions_of_new_files_or_of_the_old_one(results, tmp_path, monkeypatch):
    (tmp_path / "plain").touch()
    path = tmp_path / "result.zip"
    monkeypatch.setattr("os.umask", None)  # that of the process is for all threads: left alone
    results["test set"].save(path)
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o640)
    results["test set"].save(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_objects_that_only_pickle_could_store_are_refused(tmp_path):
    result = compare({"Bayes": BAYES}, X, Y, cv=2)
    result.predictions["Bayes"][0] = np.array([{}] * 75, dtype=object)
    with pytest.raises(ValueError, match="holds objects, which only pickle can store"):
        result.save(tmp_path / "result.zip")
    assert not list(tmp_path.iterdir())


# -- tables and estimators


def test_markdown_and_latex_hold_the_numbers(results):
    result = compare({"a|b": BAYES, "50 %_x": DUMMY}, X, Y, random_state=0)
    mean = f"{result.frame()['mean_accuracy']['a|b']:.3f}"
    lines = result.to_markdown().splitlines()
    assert lines[2].startswith(r"| a\|b | " + mean)
    assert len({re.sub(r"\\\|", "", line).count("|") for line in lines[:4]}) == 1
    latex = result.to_latex()
    assert mean in latex
    assert r"50 \%\_x" in latex
    assert r"95 \% interval" in latex.split(r"\begin{tabular}")[0]
    assert r"\toprule" in latex


def test_the_best_estimator_is_fitted_on_everything():
    result = compare({"dummy": DUMMY, "kNN": KNN}, X, Y, random_state=0)
    best = result.best_estimator_
    assert isinstance(best, KNeighborsClassifier)
    assert best.n_samples_fit_ == 150
    assert result.best_estimator_ is best
    assert not hasattr(KNN, "classes_")


def test_the_learning_curve_is_scikit_learns_at_full_size():
    result = compare({"Bayes": BAYES, "kNN": KNN}, X, Y, cv=3, random_state=0)
    curve = result.learning_curve((0.3, 1.0))
    assert len(curve) == 2 * 3 * 2
    full = curve[curve["n_train"] == 100]
    np.testing.assert_allclose(
        full.loc[full["estimator"] == "kNN", "score"], result.fold_scores("kNN", "accuracy")
    )
    assert set(curve["n_train"]) == {30, 100}
    with pytest.raises(ValueError, match="fractions above 0 and at most 1"):
        result.learning_curve((0, 1))


def test_the_learning_curve_says_why_scores_are_missing():
    models = {"Bayes": BAYES, "kNN": KNeighborsClassifier(20)}
    result = compare(models, X, Y, cv=3, random_state=0)
    said = r"^kNN: 3 of 6 scores of the learning curve are missing\. Fold 1, 10 training samples: .*n_neighbors = 20"
    with pytest.warns(FitFailedWarning, match=said) as caught:
        curve = result.learning_curve((0.1, 1.0))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    missing = curve[curve["score"].isna()]
    assert set(missing["estimator"]) == {"kNN"}
    assert set(missing["n_train"]) == {10}


@pytest.mark.parametrize(
    "kind",
    ["accuracy", "precision_recall", "calibration", "loss", "learning_curve", "cost", "confusion"],
)
def test_every_kind_of_figure_is_drawn(kind):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    net = MLPClassifier((3,), max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = compare({"Bayes": BAYES, "net": net}, X, Y, cv=3, random_state=0)
        ax = result.plot(kind)
    assert ax.has_data() or ax.images
    assert ax.get_xlabel()
    if kind not in ("confusion", "accuracy", "cost", "loss"):
        assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Bayes", "net"]
    plt.close("all")


def test_figures_that_cannot_be_drawn_say_why(results):
    pytest.importorskip("matplotlib")
    amounts = results["amounts"]
    assert amounts.plot("predicted").has_data()
    for kind, message in [("calibration", "no estimator gives prob"), ("loss", "loss_curve_")]:
        with pytest.raises(ValueError, match=message):
            amounts.plot(kind)
    with pytest.raises(ValueError, match="got 'pie'"):
        amounts.plot("pie")


def texts_of_figures(result, path):
    """The texts of every figure of the page, by its title."""
    result.to_html(path)
    page = path.read_text(encoding="utf-8")
    figures = re.findall(r"<figcaption><b>([^<]*)</b>[^<]*</figcaption>(<svg.*?</svg>)", page)
    assert figures
    return {
        title: [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
        for title, svg in figures
    }


def test_figures_show_numbers_and_names_as_they_are(tmp_path):
    pytest.importorskip("matplotlib")
    models = {"alpha=0.001": Ridge(0.001), "alpha=0.0001": Ridge(0.0001), "_hidden": Ridge(0.1)}
    result = compare(models, *load_diabetes(return_X_y=True), random_state=0)
    for texts in texts_of_figures(result, tmp_path / "page.html").values():
        assert set(models) <= set(texts)
        numbers = [text for text in texts if re.fullmatch(r"[−\d.]+", text)]
        # ticks may repeat between the two axes, but only there
        assert max(numbers.count(number) for number in numbers) <= 2
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    paths = re.findall(r'<path d="([^"]*)"', page)
    assert not any(re.search(r"\d\.\d{3}", path) for path in paths)


def test_names_and_classes_are_no_formulas_and_no_markup(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    models = {r"x$\foo$": BAYES, "font: 9px a;#16181d": KNN, ' xmlns:a="b"': DUMMY}
    classes = [r"$\x$", "$5", "$6"]
    result = compare(models, X, np.array(classes)[Y], random_state=0)
    texts = texts_of_figures(result, tmp_path / "page.html")
    assert set(models) <= set(texts["Precision and recall"])
    for kind in ("scores", "precision_recall", "calibration", "cost", "confusion"):
        figure = result.plot(kind).figure
        figure.canvas.draw()
        shown = {text.get_text() for text in figure.findobj(plt.Text)}
        assert set(classes if kind == "confusion" else models) <= shown
    plt.close("all")


class NoNumbers(GaussianNB):
    """Knows labels, but no probabilities."""

    def predict_proba(self, X):
        return np.full_like(super().predict_proba(X), np.nan)


def test_an_estimator_without_finite_probabilities_is_left_out_of_their_figures(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    result = compare({"NaN": NoNumbers(), "Bayes": BAYES}, X, Y, random_state=0)
    texts = texts_of_figures(result, tmp_path / "page.html")
    for title in ("Precision and recall", "Calibration"):
        assert "Bayes" in texts[title]
        assert "NaN" not in texts[title]
    alone = compare({"NaN": NoNumbers()}, X, Y, random_state=0)
    assert "Calibration" not in texts_of_figures(alone, tmp_path / "page.html")
    with pytest.raises(ValueError, match="no estimator gives probabilities that are all finite"):
        alone.plot("calibration")
    plt.close("all")


def test_the_most_misread_are_misread_also_without_finite_probabilities():
    result = compare({"NaN": NoNumbers(), "Bayes": BAYES}, X, Y, random_state=0)
    samples = misclassified(result, np.zeros((150, 4, 4)))
    assert samples
    assert not any(right for sample in samples for _, _, right in sample["answers"])


def test_scores_that_are_all_zero_have_a_figure_of_costs():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    result = compare({"Bayes": BAYES, "kNN": KNN}, X, Y, random_state=0)
    result.folds["accuracy"] = 0.0
    low, high = result.plot("cost").get_ylim()
    assert low < 0 < high
    plt.close("all")


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_an_estimator_without_finite_scores_is_left_out_of_the_figure_of_costs(score, tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    result = compare({"bad": DUMMY, "Bayes": BAYES, "kNN": KNN}, X, Y, random_state=0)
    result.folds.loc[result.folds["estimator"] == "bad", "accuracy"] = score
    ax = result.plot("cost")
    assert [text.get_text() for text in ax.texts] == ["Bayes", "kNN"]
    assert np.isfinite(ax.get_ylim()).all()
    with np.errstate(invalid="ignore"):
        result.to_html(tmp_path / "page.html")
    plt.close("all")


def test_the_learning_curve_has_one_point_for_each_size_asked_for():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    result = compare({"Bayes": BAYES}, X[:149], Y[:149], random_state=0)
    sizes = (1.0, 0.5)  # in any order
    table = result.learning_curve(sizes)
    assert table["n_train"].nunique() > len(sizes)  # folds differ by a sample
    line = result.plot("learning_curve").lines[0]
    half, full = table[1::2], table[::2]
    np.testing.assert_allclose(line.get_xdata(), [half["n_train"].mean(), full["n_train"].mean()])
    np.testing.assert_allclose(line.get_ydata(), [half["score"].mean(), full["score"].mean()])
    plt.close("all")


@pytest.mark.parametrize("factor", [1e-9, 1e-6, 1e-3, 1, 1e4, 1e9])
def test_scores_of_any_size_are_told_to_three_digits(factor, tmp_path):
    diabetes, y = load_diabetes(return_X_y=True)
    models = {"ridge": Ridge(), "dummy": DummyRegressor()}
    result = compare(models, diabetes, factor * y, random_state=0)
    result.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    table = _tables.summary(result)
    for name, mean in result.frame()["mean_mae"].items():
        told = table.loc[name, "MAE"].split(" ± ")
        assert float(told[0].replace(",", "")) == pytest.approx(mean, rel=5e-3)
        assert float(told[1].replace(",", "")) > 0
        assert ("e" in told[0]) == (not 1e-3 < mean < 1e9)
        assert f">{told[0]}</span>" in page
        low, high, _ = result.interval(name, "mae")
        bounds = _tables.interval(result, name, "mae").replace(",", "").split(" to ")
        np.testing.assert_allclose(list(map(float, bounds)), [low, high], rtol=5e-3)


def test_p_values_have_two_digits_and_none_far_out_in_a_tail(tmp_path):
    told = [_tables.p_value(p) for p in (1.0, 0.0432, 0.00123, 0.001, 0.00099, 1e-168, 0.0, np.nan)]
    assert told == ["1", "0.043", "0.0012", "0.001", *["< 0.001"] * 3, "-"]
    result = compare({"Bayes": BAYES, "guess": DUMMY}, X, Y, random_state=0)
    assert (result.pairs()["p"] < 1e-3).all()
    result.to_html(tmp_path / "page.html")
    assert "<td>&lt; 0.001</td>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("names", [(("a", 1), ("b", 2)), (("a",), "b"), (frozenset("a"), 1)])
def test_names_may_be_anything_hashable(names, tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    result = compare(dict(zip(names, (BAYES, KNN))), X, Y, random_state=0)
    strings = compare({str(n): m for n, m in zip(names, (BAYES, KNN))}, X, Y, random_state=0)
    figures = texts_of_figures(result, tmp_path / "page.html")
    assert set(map(str, names)) <= set(figures["Score against cost"])
    assert list(result.per_class().index.get_level_values("estimator").unique()) == list(names)
    np.testing.assert_array_equal(result.per_class(), strings.per_class())
    for kind in ("scores", "precision_recall", "calibration", "learning_curve", "cost"):
        result.plot(kind).figure.canvas.draw()
    plt.close("all")


def test_names_that_are_tuples_are_told_alike_and_kept_by_a_file(tmp_path):
    models = {("a", (1, 2)): BAYES, ("b",): KNeighborsClassifier(-1), 3: DUMMY}
    result = compare(models, X, Y, cv=2, random_state=0)
    told = str(result)
    assert told.count(str(("a", (1, 2)))) == 2  # in the table and in the verdict
    result.learning_curve((1.0,))
    result.save(tmp_path / "result.zip")
    again = Comparison.load(tmp_path / "result.zip")
    assert again.names == [("a", (1, 2)), 3]
    assert str(again) == told
    pd.testing.assert_frame_equal(again.learning_curves, result.learning_curves)
    with pytest.raises(ValueError, match=r"Cannot store frozenset.*expected strings"):
        compare({frozenset("a"): BAYES}, X, Y, cv=2).save(tmp_path / "result.zip")


# -- the page


def test_findings_are_told_and_shown(tmp_path):
    copies = np.concatenate([X, X[:30]])
    result = compare({"Bayes": BAYES, "dummy": DUMMY}, copies, np.r_[Y, Y[:30]], random_state=0)
    kinds = [finding.kind for finding in result.diagnose()]
    assert "duplicates" in kinds
    result.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    sentence = next(f.sentence for f in result.diagnose() if f.kind == "duplicates")
    assert sentence[:40] in page
    result.save(tmp_path / "result.zip")
    assert "duplicates" not in [f.kind for f in Comparison.load(tmp_path / "result.zip").diagnose()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_every_kind_of_targets(kind, results, tmp_path):
    result = results[kind]
    result.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    for name in result.names:
        low, high, _ = result.interval(name)
        assert f"{low:.3f} to {high:.3f}" in page
    assert "All metrics with their intervals" in page
    assert ("Hoeffding" in page) == (kind == "test set")
    assert ("Confusion matrices" in page) == (kind != "amounts")


def test_ids_of_figures_are_unique_and_found(results, tmp_path):
    pytest.importorskip("matplotlib")
    results["labels"].to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg role=") >= 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    assert "currentColor" in page


def test_many_classes_show_the_worst_confusions(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(240) % 80
    values = y[:, None] + rng.normal(scale=2.0, size=(240, 1))
    result = compare({"kNN": KNN}, values, y, cv=3, random_state=0)
    result.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The most frequent confusions" in page
    assert "20 more are in per_class()" in page
    assert len(page) < 300_000


def test_ten_estimators_make_less_than_three_megabytes(tmp_path):
    digits, y = load_digits(return_X_y=True)
    models = {f"{k} neighbors": KNeighborsClassifier(k) for k in range(1, 11)}
    result = compare(models, digits[:600], y[:600], cv=3, random_state=0)
    result.to_html(tmp_path / "page.html", images=digits[:600].reshape(-1, 8, 8))
    assert (tmp_path / "page.html").stat().st_size < 3e6


def test_large_pictures_are_made_smaller(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (150, 400, 500), dtype=np.uint8)
    compare({"dummy": DUMMY}, X, Y, cv=2).to_html(tmp_path / "page.html", images=images)
    assert (tmp_path / "page.html").stat().st_size < 3e6


def test_several_data_sets_make_one_page(tmp_path):
    data = {"first": (X, Y), "<second>": (X[::-1], Y[::-1])}
    result = compare({"Bayes": BAYES, "dummy": DUMMY}, data, random_state=0, cv=2)
    result.to_html(tmp_path / "page.html", title="Two sets")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h2>first</h2>" in page
    assert "<h2>&lt;second&gt;</h2>" in page
    assert "best average rank" in page


# -- going on after a kill

MODULE = """
    import os, sys
    from sklearn.datasets import load_iris
    from sklearn.naive_bayes import GaussianNB
    from sklearn.tree import DecisionTreeClassifier
    from sklearn_nets.comparison import compare

    class Killed(GaussianNB):
        fits = 0
        def fit(self, X, y):
            Killed.fits += 1
            if __name__ == "killed" and Killed.fits == killed_in:
                os._exit(9)
            return super().fit(X, y)

    killed_in = 0

    def run(folder, seed):
        X, y = load_iris(return_X_y=True)
        models = {"tree": DecisionTreeClassifier(random_state=0), "net": Killed()}
        return compare(models, X[:, :2], y, random_state=seed, checkpoint=folder)
"""


@pytest.mark.parametrize("seed", [0, None])
def test_a_killed_run_goes_on_where_it_stopped_with_equal_results(tmp_path, monkeypatch, seed):
    (tmp_path / "killed.py").write_text(textwrap.dedent(MODULE))
    kill = f"import killed; killed.killed_in = 3; killed.run('checkpoint', {seed})"
    assert subprocess.run([sys.executable, "-c", kill], cwd=tmp_path).returncode == 9
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "killed", raising=False)
    import killed

    resumed = killed.run(tmp_path / "checkpoint", seed)
    assert killed.Killed.fits == 3  # two of five were done
    again = killed.run(tmp_path / "checkpoint", seed)
    assert killed.Killed.fits == 3
    pd.testing.assert_frame_equal(resumed.folds, again.folds)
    if seed is not None:
        whole = killed.run(tmp_path / "other", seed)
        pd.testing.assert_frame_equal(resumed.folds[whole.metrics], whole.folds[whole.metrics])
        assert resumed.verdict() == whole.verdict()
    monkeypatch.delitem(sys.modules, "killed")


def test_a_checkpoint_knows_what_has_changed(tmp_path):
    class Counts(GaussianNB):
        fits = 0

        def fit(self, X, y):
            Counts.fits += 1
            return super().fit(X, y)

    import builtins

    builtins.Counts = Counts  # so that it can be pickled
    Counts.__module__, Counts.__qualname__ = "builtins", "Counts"

    def run(model=None, data=X, **options):
        before = Counts.fits
        compare(
            {"model": model or Counts()}, data, Y, checkpoint=tmp_path / "done",
            **{"random_state": 0, "cv": 3} | options,
        )  # fmt: skip
        return Counts.fits - before

    try:
        assert run() == 3
        assert run() == 0
        assert run(Counts(var_smoothing=0.1)) == 3
        assert run(data=X + 1) == 3
        assert run(random_state=1) == 3
        assert run() == 0
        assert run(scoring="roc_auc_ovr") == 3  # train_score is of the main metric
        assert run(scoring="roc_auc_ovr") == 0
        splitter = KFold(3, shuffle=True)
        assert run(cv=splitter) == 3
        assert run(cv=splitter) == 0  # the folds of the run that was cut short
        assert run(cv=KFold(3)) == 3
        given = list(KFold(3, shuffle=True, random_state=1).split(X))
        assert run(cv=given) == 3
        assert run(cv=given[1:] + given[:1]) == 3
        with pytest.raises(ValueError, match="estimators that can be pickled"):
            model = GaussianNB(priors=(lambda: 0))
            run(model)
    finally:
        del builtins.Counts


def test_a_checkpoint_knows_its_groups(tmp_path):
    """Of folds that are drawn anew, those of the same groups are taken."""

    def run(groups, **options):
        return compare({"Bayes": BAYES}, X, Y, groups=groups, checkpoint=tmp_path, **options)

    first, other = np.arange(150) // 5, np.arange(150) % 30
    drawn = run(first).splits
    for groups in (first.tolist(), other):
        for train, test in run(groups).splits:
            assert not np.intersect1d(np.array(groups)[train], np.array(groups)[test]).size
    np.testing.assert_array_equal(run(first).splits[0][1], drawn[0][1])


def test_remarks_are_of_the_folds_that_a_checkpoint_brings_back(tmp_path):
    class Draws(KFold):
        """Leaks every sample that it tests, but for the first time."""

        leaks = False

        def split(self, X, y=None, groups=None):
            for train, test in super().split(X):
                yield (np.arange(len(X)) if Draws.leaks else train), test
            Draws.leaks = True

    def run():
        cv = Draws(3, shuffle=True)
        return compare({"Bayes": BAYES}, X, Y, cv=cv, checkpoint=tmp_path)

    assert not run().remarks()
    assert not run().remarks()


def test_a_checkpoint_keeps_warnings_and_answers(tmp_path):
    net = MLPClassifier((3,), max_iter=2, random_state=0)
    found = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="each of 3: Stochastic Optimizer"):
            found.append(compare({"net": net, "SVM": LinearSVC()}, X, NAMES[Y], cv=3,
                                 random_state=0, checkpoint=tmp_path))  # fmt: skip
    fresh, kept = found
    pd.testing.assert_frame_equal(fresh.folds, kept.folds)
    assert fresh.warnings == kept.warnings
    assert fresh.curves == kept.curves
    pd.testing.assert_frame_equal(fresh.per_class(), kept.per_class())
    pd.testing.assert_frame_equal(fresh.frame("long"), kept.frame("long"))


# -- other libraries


def test_skores_cross_validation_report_takes_our_estimators():
    skore = pytest.importorskip("skore", reason="skore is not installed")
    from sklearn_nets import MLPClassifier as Net

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Net(hidden_layer_sizes=(8,), max_iter=40, random_state=0)
        report = skore.CrossValidationReport(net, X, Y, splitter=3)
        accuracy = report.metrics.accuracy()
    values = np.asarray(accuracy, dtype=float)
    assert ((values > 0.3) & (values <= 1)).any()


def test_it_costs_little_beside_cross_validate():
    """The judge's own work, in CPU seconds, beside scikit-learn's for the same numbers."""
    import time

    from sklearn.model_selection import StratifiedKFold, cross_validate

    digits, y = load_digits(return_X_y=True)
    models = {f"C={C}": LogisticRegression(C=C, max_iter=150, tol=1e-3) for C in (0.01, 0.1, 1)}
    cv = StratifiedKFold(5, shuffle=True, random_state=0)

    def ours():
        compare(models, digits, y, cv=cv, progress=False)

    def theirs():
        for model in models.values():
            cross_validate(model, digits, y, cv=cv, return_train_score=True,
                           scoring=["accuracy", "neg_log_loss"])  # fmt: skip

    def cpu_seconds(run):
        start = time.process_time()
        run()
        return time.process_time() - start

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours(), theirs()
        pairs = [(cpu_seconds(ours), cpu_seconds(theirs)) for _ in range(3)]
    best, plain = (min(times) for times in zip(*pairs))
    assert best <= 1.05 * plain + 0.5
