"""Every finding on data made to have it, with its evidence, and silence on data that have none."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, make_blobs
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

from sklearn_nets.comparison import Comparison, compare
from sklearn_nets.comparison._diagnosis import _gap, diagnose, sample_errors
from sklearn_nets.comparison._metrics import Answer, Evidence
from sklearn_nets.comparison._problems import choose_problem
from sklearn_nets.comparison._statistics import corrected_t_interval
from sklearn_nets.datasets import make_digit_scenes

RNG = np.random.default_rng(0)


def judged(
    y, answers, *, train_score=None, n_folds=4, ignore_index=None, kind=None, scoring=None, **others
):
    """A comparison of given answers on every sample; with one fold, the last half is held out."""
    y = np.asarray(y)
    index = np.arange(len(y))
    splits = list(KFold(n_folds).split(y)) if n_folds > 1 else [np.array_split(index, 2)]
    if kind is None:
        kind = "segmentation" if y.ndim == 3 else "classification"
        kind = "regression" if y.dtype.kind == "f" else kind
    problem = choose_problem(y, ignore_index, scoring=scoring, task=kind)
    rows, predictions = [], {}
    for name, answer in answers.items():
        predictions[name] = [np.asarray(answer)[test] for _, test in splits]
        for fold, (train, test) in enumerate(splits):
            evidence = Evidence(problem, problem.take(test), Answer(predictions[name][fold]))
            row = {"estimator": name, "fold": fold, "n_train": len(train), "n_test": len(test)}
            rows.append(row | problem.judge(evidence))
    folds = pd.DataFrame(rows)
    if train_score is not None:
        folds["train_score"] = folds["estimator"].map(train_score) + 1e-3 * (folds["fold"] % 2)
    metrics = [name for name in problem.metrics if folds[name].notna().any()]
    return Comparison(
        folds=folds, metrics=metrics, confusion_matrices={}, predictions=predictions, splits=splits,
        problem=problem, provenance={}, **others,
    )  # fmt: skip


def flipped(y, share, seed=0):
    """Labels 0 and 1 of which a share is wrong."""
    return np.where(np.random.default_rng(seed).random(len(y)) < share, 1 - y, y)


def kinds(findings):
    return [finding.kind for finding in findings]


Y = RNG.integers(0, 2, 4000)


def test_a_sound_comparison_has_no_finding():
    X, y = make_blobs(200, centers=3, cluster_std=0.6, random_state=0)
    result = compare({"dummy": DummyClassifier(), "Bayes": GaussianNB()}, X, y, random_state=0)
    assert diagnose(result, X) == []


def test_over_fit_comes_with_the_gap_and_its_interval():
    answers = {"good": flipped(Y, 0.1), "learned by heart": flipped(Y, 0.2, 1)}
    result = judged(Y, answers, train_score={"good": 0.9, "learned by heart": 0.999})
    (finding,) = diagnose(result)
    assert finding.kind == "over-fit"
    assert finding.severity == "warning"
    evidence = finding.evidence
    low, high = evidence["interval"]
    assert evidence["estimator"] == "learned by heart"
    assert low < evidence["gap"] < high
    assert evidence["gap"] == pytest.approx(evidence["train_score"] - evidence["test_score"])
    for number in [
        f"{evidence['train_score']:.3f}",
        f"{evidence['gap']:.3f}",
        f"{low:.3f} to {high:.3f}",
    ]:
        assert number in finding.sentence
    best = judged(Y, {"best": flipped(Y, 0.2)}, train_score={"best": 0.999})
    assert diagnose(best)[0].severity == "note"


def test_under_fit_is_worse_in_training_than_the_best_on_unseen_data():
    answers = {"good": flipped(Y, 0.1), "stiff": flipped(Y, 0.3, 1)}
    (finding,) = diagnose(judged(Y, answers, train_score={"good": 0.9, "stiff": 0.7}))
    assert finding.kind == "under-fit"
    assert finding.evidence["estimator"] == "stiff"
    assert finding.evidence["best"] == "good"
    assert finding.evidence["interval"][0] > 0


def test_no_better_than_a_dummy_is_under_fit():
    answers = {"dummy": np.zeros_like(Y), "lost": flipped(Y, 0.5)}
    (finding,) = diagnose(judged(Y, answers))
    assert (finding.kind, finding.evidence["baseline"]) == ("under-fit", "dummy")
    assert "dummy, which says the same of every sample" in finding.sentence
    assert diagnose(judged(Y, {"dummy": np.zeros_like(Y), "fine": flipped(Y, 0.2)})) == []


def test_without_a_dummy_the_best_constant_answer_takes_its_place():
    (finding,) = diagnose(judged(Y, {"lost": flipped(Y, 0.5), "fine": flipped(Y, 0.2)}))
    assert (finding.kind, finding.severity) == ("under-fit", "warning")
    assert "lost is not clearly better than always answering the most frequent" in finding.sentence
    splits = KFold(4).split(Y)
    majority = [np.mean(Y[test] == np.median(Y[train])) for train, test in splits]
    assert f"against {np.mean(majority):.3f} " in finding.sentence
    noise = RNG.normal(size=400)
    (finding,) = diagnose(judged(noise, {"noise": 0.1 * RNG.normal(size=400)}))
    assert "always answering the mean" in finding.sentence
    assert diagnose(judged(noise, {"fine": noise + 0.5 * RNG.normal(size=400)})) == []
    ranked = judged(Y, {"lost": flipped(Y, 0.5)}, scoring="f1")  # asks for more than right or wrong
    assert diagnose(ranked) == []


def test_train_scores_may_be_missing():
    result = judged(Y, {"a": flipped(Y, 0.1)})
    assert "train_score" not in result.folds
    assert diagnose(result) == []


@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_the_interval_is_nadeau_and_bengios(n_folds):
    """At a ratio of 0 it is the plain t interval; the variance grows by n times the ratio."""
    from scipy import stats

    values = RNG.normal(size=n_folds)
    plain = stats.t.interval(0.95, n_folds - 1, values.mean(), stats.sem(values))
    np.testing.assert_allclose(corrected_t_interval(values, 0)[1:3], plain)
    ratio = 1 / (n_folds - 1)
    width = np.ptp(corrected_t_interval(values, ratio)[1:3]) / np.ptp(plain)
    assert width == pytest.approx(np.sqrt(1 + n_folds * ratio))


def test_one_held_out_test_set_has_an_interval_too():
    result = judged(Y, {"a": flipped(Y, 0.3)}, train_score={"a": 0.99}, n_folds=1)
    (finding,) = diagnose(result)
    low, high = finding.evidence["interval"]
    assert finding.kind == "over-fit"
    assert 0.05 < low < finding.evidence["gap"] < high < 0.5


def test_warnings_of_convergence_name_the_folds():
    text = "Maximum iterations (200) reached and the optimization hasn't converged yet."
    told = {"MLP": [(0, text), (2, text), (1, "some feature is unknown")], "kNN": [(0, "odd")]}
    (finding,) = diagnose(judged(Y, {"MLP": flipped(Y, 0.1)}, warnings=told))
    assert finding.kind == "not converged"
    assert finding.evidence == {"estimator": "MLP", "folds": [0, 2], "message": text}
    assert "2 of 4 folds" in finding.sentence


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (np.exp(-np.arange(60) / 5), None),
        (np.linspace(1, 0.5, 20), "still falling"),
        (np.r_[np.linspace(1, 0.1, 20), 0.9], "went up again"),
        (np.array([1.0, 0.5, np.nan]), "went up again"),
        (np.ones(20), None),
        (np.array([]), None),
        (np.array([1.0]), None),
    ],
)
def test_curves_of_the_loss(loss, words):
    curves = {"net": [{"loss": loss, "score": None}, {"loss": np.exp(-np.arange(60) / 5)}]}
    findings = diagnose(judged(Y, {"net": flipped(Y, 0.1)}, curves=curves))
    if words is None:
        assert findings == []
    else:
        assert words in findings[0].sentence
        assert findings[0].evidence["folds"] == [0]


def test_leaders_that_the_test_set_cannot_tell_apart():
    """What is said of them is what the verdict says."""
    n = 400
    y = np.zeros(n, int) + (np.arange(n) % 2)
    answers = {"a": flipped(y, 0.10, 1), "b": flipped(y, 0.13, 2), "dummy": np.zeros(n, int)}
    result = judged(y, answers)
    (finding,) = diagnose(result)
    assert finding.kind == "test set too small"
    assert finding.evidence["n_samples"] == n
    assert set(finding.evidence["estimators"]) == {"a", "b"}
    low, high = finding.evidence["interval"]
    assert low <= 0 <= high
    (more,) = re.findall(r"about ([\d,]+) more would do", finding.sentence)
    assert f"about {more} more samples" in result.verdict()
    assert finding.evidence["more_samples"] == pytest.approx(int(more.replace(",", "")), rel=0.06)


def test_equal_leaders_need_no_number_of_samples():
    answers = {"a": flipped(Y, 0.1, 1), "b": flipped(Y, 0.1, 1)}
    (finding,) = diagnose(judged(Y, answers))
    assert finding.evidence["more_samples"] is None
    assert "No number of samples" in finding.sentence


LOSSES = {"mae": "neg_mean_absolute_error", "rmse": "neg_root_mean_squared_error"}


@pytest.mark.parametrize("scoring", [*LOSSES, *LOSSES.values()])
@pytest.mark.parametrize("n_folds", [1, 4])
def test_of_losses_the_smaller_is_better(scoring, n_folds):
    """As of scores: the same findings, whichever sign the metric has."""
    sign = -1 if scoring in LOSSES.values() else 1
    noise, truth = RNG.normal(size=(3, 400)), RNG.normal(size=400) * 10
    answers = {
        "good": truth + noise[0],
        "learned by heart": truth + 5 * noise[1],
        "stiff": truth + 6 * noise[2],
        "dummy": np.zeros(400),
    }
    size = np.sqrt(2 / np.pi) if "abs" in scoring or scoring == "mae" else 1  # of normal errors
    trained = {"good": size, "learned by heart": 0.0, "stiff": 6 * size, "dummy": 10 * size}
    trained = {name: sign * score for name, score in trained.items()}
    result = judged(truth, answers, train_score=trained, n_folds=n_folds, scoring=scoring)
    found = {(f.kind, f.evidence["estimator"]): f for f in diagnose(result)}
    assert set(found) == {("over-fit", "learned by heart"), ("under-fit", "stiff")}
    gap = found["over-fit", "learned by heart"].evidence
    assert gap["interval"][0] < gap["gap"] < gap["interval"][1]
    mean = result.fold_scores("learned by heart", scoring).mean()
    assert gap["test_score"] == pytest.approx(mean)
    assert "-0" not in found["over-fit", "learned by heart"].sentence


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "r2"])
def test_the_interval_of_a_gap_on_a_test_set_covers_as_often_as_it_says(metric):
    """Where training and unseen data are alike, it holds 0 in 95 % of cases: of 80, in 69 or more
    with a probability of .999."""
    rng, n, covered = np.random.default_rng(0), 200, []
    for _ in range(80):
        if metric == "r2":
            truth = rng.normal(size=2 * n)
            answer = truth + rng.normal(size=2 * n)
        else:
            truth = rng.integers(0, 2, 2 * n)
            answer = np.where(rng.random(2 * n) < 0.2, 1 - truth, truth)
        result = judged(truth, {"a": answer}, n_folds=1, scoring=metric)
        seen = Evidence(result.problem, truth[:n], Answer(answer[:n]))
        result.folds["train_score"] = result.problem.judge(seen, [metric])[metric]
        low, high = _gap(result, "a", "a")[1:]
        covered.append(low <= 0 <= high)
    assert sum(covered) >= 69


def test_errors_of_samples():
    numbers = RNG.normal(size=40)
    result = judged(numbers, {"a": numbers + 2})
    np.testing.assert_allclose(sample_errors(result, result.predictions["a"]), 4)
    masks = RNG.integers(0, 3, (8, 4, 4))
    wrong = masks.copy()
    wrong[:, 0] = 1 - masks[:, 0] % 2  # of the two classes that are judged
    result = judged(masks, {"a": wrong}, ignore_index=2)
    judged_pixels = (masks != 2).reshape(8, -1).sum(axis=1)
    expected = (masks[:, 0] != 2).sum(axis=1) / judged_pixels
    np.testing.assert_allclose(sample_errors(result, result.predictions["a"]), expected)
    result = judged(Y, {"a": flipped(Y, 0.1)})
    result.splits, result.predictions["a"] = result.splits * 2, result.predictions["a"] * 2
    np.testing.assert_array_equal(
        sample_errors(result, result.predictions["a"]), flipped(Y, 0.1) != Y
    )


def test_small_classes_and_imbalance():
    y = np.r_[np.zeros(97, int), 1, 2, 2]
    findings = {f.kind: f for f in diagnose(judged(y, {"a": y}))}
    small = findings["small classes"].evidence
    assert small["counts"] == {"1": 1, "2": 2}
    assert small["not_in_training"] == {"1": [3], "2": [3]}
    assert small["not_in_test"] == {"1": [0, 1, 2], "2": [0, 1, 2]}
    assert findings["imbalance"].severity == "warning"
    assert findings["imbalance"].evidence["share"] == pytest.approx(
        {"0": 0.97, "1": 0.01, "2": 0.02}
    )
    assert "always saying 0 has accuracy 0.970" in findings["imbalance"].sentence


def test_classes_that_a_held_out_test_set_does_not_hold():
    y = np.r_[np.tile([0, 1], 50), np.tile([0, 2], 50)]
    (small,) = [f for f in diagnose(judged(y, {"a": y}, n_folds=1)) if f.kind == "small classes"]
    assert small.sentence.startswith(
        "Classes that training and test data do not both hold: 1 (50), 2 (50). Missing are 1 of them "
        "from training data and 1 of them from test data. "
    )


def test_duplicates_across_the_folds_are_counted_with_contradicting_labels():
    X = RNG.normal(size=(200, 3))
    y = np.tile([0, 1], 100)
    X[199], X[198] = X[0], X[2]  # sample 199 has another label than 0, and 198 the same as 2
    X[1] = X[3]  # in the same fold
    for data in (X, pd.DataFrame(X), pd.DataFrame(X.astype(str))):
        (finding,) = (f for f in diagnose(judged(y, {"a": y}), data) if f.kind == "duplicates")
        assert finding.evidence["indices"].tolist() == [0, 2, 198, 199]
        assert finding.evidence["share"] == 4 / 200
        assert finding.evidence["n_contradicting"] == 2
        assert "2 samples are the same but for y" in finding.sentence


def test_near_copies_of_images():
    images = make_digit_scenes(40, image_size=(48, 48), random_state=0).images
    brighter = np.clip(images[0] * 0.9 + 12, 0, 255).astype(np.uint8)
    images[39] = brighter
    images[37] = images[1]  # exact
    y = np.tile([0, 1], 20)
    for data in (images, images.transpose(0, 3, 1, 2)):
        found = {f.kind: f for f in diagnose(judged(y, {"a": y}), data)}
        assert found["near duplicates"].evidence["pairs"].tolist() == [[0, 39], [39, 0]]
        assert found["duplicates"].evidence["indices"].tolist() == [1, 37]


def test_other_images_are_no_copies():
    X, y = load_digits(return_X_y=True)
    assert "near duplicates" not in kinds(diagnose(judged(y, {"a": y}), X.reshape(-1, 8, 8)))


def test_images_of_other_sizes_are_no_copies():
    """Though the same numbers lie in memory."""
    X = [np.full((2, 3) if i < 20 else (3, 2), i % 20, np.uint8) for i in range(40)]
    y = np.arange(40) % 2
    assert "duplicates" not in kinds(diagnose(judged(y, {"a": y}), X))
    assert "duplicates" in kinds(diagnose(judged(y, {"a": y}), X[:39] + X[:1]))


def test_blank_images():
    images = RNG.integers(0, 255, (40, 8, 8), dtype=np.uint8)
    images[[3, 30]] = [[[7]], [[9]]]
    (finding,) = diagnose(judged(np.tile([0, 1], 20), {"a": np.tile([0, 1], 20)}), images)
    assert (finding.kind, finding.evidence["indices"].tolist()) == ("blank images", [3, 30])


@pytest.mark.parametrize("target", ["labels", "amounts"])
def test_features_that_say_nothing_or_all(target):
    n, rng = 300, np.random.default_rng(0)
    y = rng.integers(0, 3, n) if target == "labels" else rng.random(n)
    table = pd.DataFrame({
        "noise": rng.normal(size=n),
        "same": np.ones(n),
        "empty": np.full(n, np.nan),
        "date": pd.date_range("2020-01-01", periods=n),
        "word": rng.choice(["a", "b"], n),
        "code": pd.Series(y).map("k{}".format) if target == "labels" else 3 * y + 1,
    })  # fmt: skip
    found = {
        f.kind: f
        for f in diagnose(
            judged(y, {"a": y}, kind=None if target == "labels" else "regression"), table
        )
    }
    assert found["constant features"].evidence["features"] == ["same", "empty"]
    assert found["leaking features"].evidence["features"] == ["code"]
    if target == "labels":
        expected = 1  # one code for each label
    else:
        tree = DecisionTreeRegressor(min_samples_leaf=2, random_state=0)
        folds = KFold(3, shuffle=True, random_state=0)
        expected = cross_val_score(tree, table[["code"]], y, cv=folds).mean()
    assert found["leaking features"].evidence["scores"] == {"code": pytest.approx(expected)}


def test_no_feature_leaks_where_one_class_is_rare():
    y = np.zeros(2000, int)
    y[:5] = 1
    X = np.random.default_rng(0).normal(size=(2000, 4))
    assert "leaking features" not in kinds(diagnose(judged(y, {"a": y}), X))
    X, y = X[:400], np.repeat([1, 0], [3, 397])
    X[:, 2] = y
    (leak,) = [f for f in diagnose(judged(y, {"a": y}), X) if f.kind == "leaking features"]
    assert leak.evidence["features"] == [2]


def test_flipped_labels_are_found_and_few_others():
    X, y = load_digits(return_X_y=True)
    flips = np.random.default_rng(1).choice(len(y), 40, replace=False)
    noisy = y.copy()
    noisy[flips] = (y[flips] + np.random.default_rng(2).integers(1, 10, 40)) % 10
    result = compare({"kNN": KNeighborsClassifier()}, X, noisy, random_state=0)
    (finding,) = (f for f in diagnose(result, X) if f.kind == "label errors")
    found = finding.evidence["indices"]
    assert np.isin(found, flips).mean() > 0.85
    assert np.isin(flips, found).mean() > 0.7
    right = np.isin(found, flips)
    np.testing.assert_array_equal(finding.evidence["suggested"][right], y[found][right])
    np.testing.assert_array_equal(finding.evidence["labels"], noisy[found])


def test_overlapping_classes_are_no_label_errors():
    X = RNG.normal(size=(500, 2))
    y = (RNG.random(500) < 0.05).astype(int)  # a rare class anywhere among the other
    result = compare({"kNN": KNeighborsClassifier()}, X, y, random_state=0)
    assert "label errors" not in kinds(diagnose(result, X))


TEXTS = [f"{word} {number}" for number in range(20) for word in ("cold", "warm")]
DICTS = [{"word": text, "length": len(text)} for text in TEXTS]
LISTS = [text.split() for text in TEXTS]


@pytest.mark.parametrize(
    ("X", "model", "finds_copies"),
    [
        (TEXTS, TfidfVectorizer(), True),
        (pd.Series(TEXTS), TfidfVectorizer(), True),
        (np.array(TEXTS, dtype=object), TfidfVectorizer(), True),
        (DICTS, DictVectorizer(), False),
        (LISTS, TfidfVectorizer(analyzer=tuple), True),
        ([[*words, "x"][: 2 + len(words[0]) % 2] for words in LISTS], TfidfVectorizer(analyzer=tuple), True),
        (pd.DataFrame({"words": LISTS, "one": 1}), FunctionTransformer(lambda X: X[["one"]]), False),
        (RNG.random((40, 2, 3, 4, 5)), FunctionTransformer(lambda X: X.reshape(len(X), -1)), True),
        (np.array(LISTS)[:, None], FunctionTransformer(lambda X: np.char.str_len(X[:, 0])), True),
    ],
    ids=["texts", "series", "objects", "dicts", "lists", "ragged", "frame", "5-d", "3-d texts"],
)  # fmt: skip
def test_samples_of_any_kind_pass(X, model, finds_copies, tmp_path):
    """Samples that only the estimators can read, the last one twice there."""
    if isinstance(X, list):
        X = [*X[:-1], X[1]]
    else:
        rows = [*range(39), 1]
        X = X.iloc[rows] if hasattr(X, "iloc") else X[rows]
    y = np.tile([0, 1], 20)
    result = compare({"dummy": make_pipeline(model, DummyClassifier())}, X, y, cv=KFold(20))
    found = {finding.kind: finding for finding in result.diagnose()}
    assert ("duplicates" in found) == finds_copies
    if finds_copies:
        assert found["duplicates"].evidence["indices"].tolist() == [1, 39]
    assert not {"near duplicates", "blank images"} & set(found)
    result.to_html(tmp_path / "page.html")


def test_X_must_be_of_the_same_samples():
    with pytest.raises(ValueError, match="must hold the 4,000 samples of the comparison, got 5"):
        diagnose(judged(Y, {"a": Y}), np.zeros((5, 2)))


def test_values_beyond_the_range_of_float32_do_no_harm():
    X = RNG.normal(size=(100, 3))
    X[:, 1], X[3, 2] = 1e300, -1e200
    y = RNG.integers(0, 2, 100)
    for data in (X, pd.DataFrame(X)):
        assert "constant features" in kinds(diagnose(judged(y, {"a": y}), data))


def test_warnings_come_first():
    y = np.r_[np.zeros(970, int), np.ones(30, int)]
    X = np.ones((1000, 2))
    severities = [f.severity for f in diagnose(judged(RNG.permutation(y), {"a": y}), X)]
    assert severities == sorted(severities, reverse=True)
    assert set(severities) == {"warning", "note"}
