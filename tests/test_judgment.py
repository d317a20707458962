"""Numbers, designs and verdicts of a comparison: equal to scikit-learn, true to simulations."""

import re
import warnings
from html import escape

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn import metrics as skm
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_nets.comparison import Comparison, ComparisonAcrossDatasets, _statistics, compare
from sklearn_nets.metrics import get_scorer

X, Y = load_iris(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=0.8, size=X.shape)
AMOUNTS_X, AMOUNTS = load_diabetes(return_X_y=True)
TUMORS_X, TUMORS = load_breast_cancer(return_X_y=True)
BAYES, KNN = GaussianNB(), KNeighborsClassifier()
REGRESSORS = {"ridge": Ridge(), "lasso": Lasso(), "dummy": DummyRegressor()}


# -- numbers, equal to scikit-learn's

SCORERS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_precision": "precision_macro",
    "macro_recall": "recall_macro",
    "macro_f1": "f1_macro",
    "weighted_precision": "precision_weighted",
    "weighted_recall": "recall_weighted",
    "weighted_f1": "f1_weighted",
    "log_loss": "neg_log_loss",
    "brier_score": "neg_brier_score",
    "roc_auc": "roc_auc_ovr",
    "average_precision": "average_precision",
}


@pytest.mark.parametrize("data", ["three classes", "two classes"])
def test_metrics_of_labels_equal_scikit_learns_scorers(data):
    inputs, y = (X, Y) if data == "three classes" else (TUMORS_X[:200], TUMORS[:200])
    splits = list(KFold(3, shuffle=True, random_state=0).split(inputs))
    result = compare({"Bayes": BAYES}, inputs, y, cv=splits)
    expected = cross_validate(BAYES, inputs, y, cv=splits, scoring=list(SCORERS.values()))
    assert result.metrics == list(SCORERS)
    for ours, theirs in SCORERS.items():
        sign = -1 if theirs.startswith("neg_") else 1
        np.testing.assert_allclose(
            result.folds[ours], sign * expected[f"test_{theirs}"], rtol=1e-10, err_msg=ours
        )


def test_metrics_of_decision_values_equal_scikit_learns_scorers():
    splits = list(KFold(3, shuffle=True, random_state=0).split(TUMORS_X))
    result = compare({"SVM": SVC()}, TUMORS_X, TUMORS, cv=splits)
    expected = cross_validate(
        SVC(), TUMORS_X, TUMORS, cv=splits, scoring=["roc_auc", "average_precision"]
    )
    for metric in ("roc_auc", "average_precision"):
        np.testing.assert_allclose(result.folds[metric], expected[f"test_{metric}"], rtol=1e-12)
    assert "log_loss" not in result.metrics
    assert result.folds["log_loss"].isna().all()
    assert set(result.decision_values) == {"SVM"}
    assert not result.probabilities


def test_metrics_of_amounts_equal_scikit_learns_scorers():
    result = compare(REGRESSORS, AMOUNTS_X, AMOUNTS, random_state=0)
    scorers = {"r2": "r2", "mae": "neg_mean_absolute_error", "rmse": "neg_root_mean_squared_error"}
    for name, model in REGRESSORS.items():
        expected = cross_validate(
            model, AMOUNTS_X, AMOUNTS, cv=KFold(5, shuffle=True, random_state=0),
            scoring=list(scorers.values()),
        )  # fmt: skip
        for ours, theirs in scorers.items():
            sign = -1 if theirs.startswith("neg_") else 1
            np.testing.assert_allclose(
                result.fold_scores(name, ours), sign * expected[f"test_{theirs}"], rtol=1e-9
            )
    assert "amounts from 25 to 346" in str(result)
    assert not result.confusion_matrices
    with pytest.raises(ValueError, match="no classes in a regression"):
        result.per_class()


def test_amounts_with_many_digits_keep_them():
    y = 1e9 + AMOUNTS
    result = compare({"line": LinearRegression()}, AMOUNTS_X, y, cv=3, random_state=0)
    for (_, test), predicted, r2 in zip(
        result.splits, result.predictions["line"], result.folds["r2"]
    ):
        assert r2 == pytest.approx(skm.r2_score(y[test], predicted), abs=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16"])
def test_amounts_of_small_types_are_judged_as_those_of_large_ones(dtype):
    """Differences of unsigned or small integers would wrap around."""

    class Column(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            return self

        def predict(self, X):
            return X[:, 0]

    y = np.linspace(0, 120, 60).round()
    predicted = np.random.default_rng(0).permutation(y)[:, None]
    small, large = (
        compare(
            {"column": Column()}, predicted.astype(t), y.astype(t), cv=KFold(3), task="regression"
        )
        for t in (dtype, float)
    )
    pd.testing.assert_frame_equal(small.folds[small.metrics], large.folds[large.metrics])
    splits = list(KFold(5, shuffle=True, random_state=0).split(AMOUNTS_X))
    counts = AMOUNTS.astype(np.uint16)
    result = compare({"ridge": Ridge()}, AMOUNTS_X, counts, cv=splits)
    expected = cross_validate(Ridge(), AMOUNTS_X, counts.astype(float), cv=splits)["test_score"]
    np.testing.assert_allclose(result.folds["r2"], expected)


def test_whole_numbers_are_amounts_to_regressors_alone():
    counts = AMOUNTS.astype(int)
    assert compare({"ridge": Ridge()}, AMOUNTS_X, counts).problem.name == "regression"
    assert compare({"Bayes": BAYES}, X, Y).problem.name == "classification"
    asked = compare({"tree": DecisionTreeClassifier()}, X, Y, task="regression")
    assert asked.problem.name == "regression"
    with pytest.raises(ValueError, match="must hold finite numbers"):
        compare({"ridge": Ridge()}, X, np.where(Y == 1, np.nan, Y * 1.5), task="regression")


@pytest.mark.parametrize(
    ("scoring", "estimator"),
    [
        ("matthews_corrcoef", BAYES),
        ("jaccard_macro", BAYES),
        ("neg_log_loss", BAYES),
        ("roc_auc_ovo", BAYES),
        ("top_k_accuracy", BAYES),
        ("roc_auc", SVC()),
    ],
)
def test_any_scorer_by_its_name(scoring, estimator):
    data = (TUMORS_X, TUMORS) if scoring == "roc_auc" else (X, Y)
    splits = list(KFold(4, shuffle=True, random_state=0).split(data[0]))
    result = compare({"model": estimator}, *data, cv=splits, scoring=[scoring, "accuracy"])
    expected = cross_validate(estimator, *data, cv=splits, scoring=scoring)["test_score"]
    np.testing.assert_allclose(result.folds[scoring], expected, rtol=1e-10)
    assert result.problem.main_metric == scoring
    low, high, _ = result.interval("model")
    assert low < expected.mean() < high


def test_a_scorer_on_a_test_set_has_a_bootstrap_interval():
    models = {"Bayes": BAYES, "dummy": DummyClassifier()}
    held_out = (X[::2], Y[::2])
    result = compare(models, X[1::2], Y[1::2], test=held_out, scoring="matthews_corrcoef")
    low, high, method = result.interval("Bayes")
    assert low < result.folds["matthews_corrcoef"][0] < high
    assert method == "bootstrap over samples"
    assert "Bayes beats dummy" in result.verdict()


def test_a_scorer_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"scoring must name metrics.*got 'accurracy'"):
        compare({"Bayes": BAYES}, X, Y, scoring="accurracy")


@pytest.mark.parametrize(
    "scoring",
    [
        skm.make_scorer(skm.accuracy_score),
        {"mine": skm.make_scorer(skm.accuracy_score)},
        ["accuracy", skm.get_scorer("f1_macro")],
        get_scorer("mean_iou"),
    ],
)
def test_scorers_go_by_their_names_alone(scoring):
    with pytest.raises(TypeError, match=r"scoring must be a name or a list of names.*got "):
        compare({"Bayes": BAYES}, X, Y, scoring=scoring)


def test_classes_that_a_fold_lacks_have_no_probability():
    y = np.repeat([0, 1, 2], 10)
    values = y[:, None] + np.random.default_rng(0).normal(scale=0.1, size=(30, 1))
    splits = [(np.arange(20), np.arange(20, 30)), (np.arange(30), np.arange(30))]
    result = compare({"Bayes": BAYES}, values, y, cv=splits)
    assert result.probabilities["Bayes"][0].shape == (10, 3)
    assert (result.probabilities["Bayes"][0][:, 2] == 0).all()
    assert result.folds["log_loss"][0] == pytest.approx(-np.log(np.finfo(float).eps))


# -- intervals


def test_every_number_has_an_interval():
    long = compare({"Bayes": BAYES}, X, Y, random_state=0).frame("long")
    assert long["metric"].tolist() == list(SCORERS)
    assert (long["low"] < long["mean"]).all()
    assert (long["mean"] < long["high"]).all()
    assert set(long["method"]) == {"Nadeau-Bengio"}
    with pytest.raises(ValueError, match="layout must be"):
        compare({"Bayes": BAYES}, X, Y, cv=2).frame("tall")


def test_intervals_of_a_test_set_name_their_method():
    result = compare({"Bayes": BAYES}, X[::2], Y[::2], test=(X[1::2], Y[1::2]))
    long = result.frame("long").set_index("metric")
    assert (long["low"] < long["mean"]).all()
    assert (long["mean"] < long["high"]).all()
    assert long.loc["accuracy", "method"] == "Wilson"
    assert long.loc["roc_auc", "method"] == "DeLong"
    assert long.loc["macro_f1", "method"] == "bootstrap over samples"


def test_equal_folds_do_not_make_an_interval_of_no_width():
    y = np.repeat([0, 1], 40)
    result = compare({"exact": KNeighborsClassifier(1)}, y[:, None] * 1.0, y, random_state=0)
    low, high, method = result.interval("exact")
    assert (high, method) == (1, "Wilson")
    assert low == pytest.approx(0.954, abs=0.001)  # 80 of 80


def test_repeats_make_the_interval_narrower_and_count_a_sample_once():
    once = compare({"Bayes": BAYES}, X, Y, random_state=0)
    often = compare({"Bayes": BAYES}, X, Y, repeats=10, random_state=0)
    assert (len(once.splits), len(often.splits), often.n_repeats) == (5, 50, 10)
    widths = [np.diff(r.interval("Bayes")[:2])[0] for r in (once, often)]
    assert widths[1] < widths[0]
    first, again = once.per_class(), often.per_class()
    assert (again["support"] == 10 * first["support"]).all()
    ratio = (again["recall_high"] - again["recall_low"]) / (
        first["recall_high"] - first["recall_low"]
    )
    assert ratio.between(0.7, 1.4).all()


def test_per_class_intervals_hold_the_score():
    table = compare({"Bayes": BAYES}, X, Y, random_state=0).per_class()
    for score in ("precision", "recall", "f1"):
        assert (table[f"{score}_low"] < table[score]).all()
        assert (table[score] < table[f"{score}_high"]).all()
    f1 = skm.f1_score
    result = compare({"Bayes": BAYES}, X, Y, random_state=0)
    order = np.concatenate([test for _, test in result.splits])
    expected = f1(Y[order], np.concatenate(result.predictions["Bayes"]), average=None)
    np.testing.assert_allclose(result.per_class()["f1"], expected)


def test_error_bounds_of_a_test_set():
    result = compare({"Bayes": BAYES}, X[::2], Y[::2], test=(X[1::2], Y[1::2]))
    row = result.error_bounds(delta=0.1).loc["Bayes"]
    assert row["error"] == pytest.approx(1 - result.folds["accuracy"][0])
    assert row["hoeffding"] == pytest.approx(row["error"] + np.sqrt(np.log(10) / (2 * 75)))
    assert row["error"] < row["exact"] < row["hoeffding"]
    with pytest.raises(ValueError, match="need a held-out test set"):
        compare({"Bayes": BAYES}, X, Y).error_bounds()


# -- masks


class Threshold(BaseEstimator):
    """A segmenter: pixels above a value."""

    def __init__(self, value=0.5):
        self.value = value

    def fit(self, X, y):
        return self

    def predict(self, X):
        return (self.value < X).astype(int)


def noisy_masks(n=40, seed=0):
    rng = np.random.default_rng(seed)
    masks = (rng.random((n, 8, 8)) < rng.uniform(0.2, 0.6, (n, 1, 1))).astype(int)
    return masks + rng.normal(scale=rng.uniform(0.1, 0.8, (n, 1, 1)), size=masks.shape), masks


def test_evidence_is_computed_once():
    evidence = compare({"Bayes": BAYES}, X, Y, cv=2).evidence("Bayes", 0)
    problem = evidence.problem
    assert problem.confusion(evidence) is problem.confusion(evidence)
    metric = problem.metrics["average_precision"]
    assert metric._resampled(evidence) is metric._resampled(evidence)
    assert evidence.cached("a", list) is evidence.cached("a", dict)


def test_masks_are_judged_image_by_image():
    images, masks = noisy_masks()
    models = {"half": Threshold(0.5), "high": Threshold(1.2)}
    result = compare(models, images[:10], masks[:10], test=(images[10:], masks[10:]))
    predicted, true = result.predictions["half"][0].ravel(), masks[10:].ravel()
    row = result.folds.iloc[0]
    assert row["dice"] == pytest.approx(skm.f1_score(true, predicted, average="macro"))
    low, high, method = result.interval("half")
    assert method == "bootstrap over images"
    assert low < row["mean_iou"] < high
    # Pixels of an image go together: taking them for independent would be too sure.
    table = result.per_class().loc["half"]
    assert (table["iou_low"] < table["iou"]).all()
    n_pixels = table["support"].sum()
    p = row["pixel_accuracy"]
    low, high, _ = result.interval("half", "pixel_accuracy")
    assert high - low > 2 * 1.96 * np.sqrt(p * (1 - p) / n_pixels)
    assert "half beats high" in result.verdict()


def test_cases_add_up_to_the_sums():
    images, masks = noisy_masks()
    masks[:, 0] = 7
    result = compare({"half": Threshold()}, images, masks, ignore_index=7, cv=3)
    for fold in range(3):
        evidence = result.evidence("half", fold)
        np.testing.assert_array_equal(evidence.cases.sum(axis=0), evidence.sums)
    labels = compare({"Bayes": BAYES}, X, Y, cv=3).evidence("Bayes", 1)
    np.testing.assert_allclose(labels.cases.sum(axis=0), labels.sums)


# -- designs


@pytest.mark.parametrize("kind", ["array", "frame", "list", "sparse", "tensor"])
def test_a_test_set_of_any_kind_is_held_out(kind):
    convert = {
        "array": np.asarray,
        "frame": lambda a: pd.DataFrame(a, columns=list("abcd")),
        "list": lambda a: a.tolist(),
        "sparse": sparse.csr_matrix,
        "tensor": lambda a: pytest.importorskip("torch").tensor(a),
    }[kind]
    model = LogisticRegression(max_iter=1000)
    result = compare({"model": model}, convert(X[:100]), Y[:100], test=(convert(X[100:]), Y[100:]))
    train, test = result.splits[0]
    assert (train.tolist(), test.tolist()) == (list(range(100)), list(range(100, 150)))
    expected = model.fit(X[:100], Y[:100]).predict(X[100:])
    np.testing.assert_array_equal(result.predictions["model"][0], expected)
    assert "a test set of 50" in repr(result)


@pytest.mark.parametrize("convert", [pd.Series, np.asarray, list])
def test_a_series_of_targets_takes_test_targets_of_any_kind(convert):
    y, y_test = pd.Series(Y[:100]), convert(Y[100:])
    result = compare({"Bayes": BAYES}, X[:100], y, test=(X[100:], y_test))
    np.testing.assert_array_equal(result.y, Y)


def test_a_frame_takes_test_samples_with_its_columns_alone():
    frame = pd.DataFrame(X, columns=list("abcd"))
    for test in (X, frame[list("abdc")]):
        with pytest.raises(ValueError, match="the columns of the data frames differ"):
            compare({"Bayes": BAYES}, frame, Y, test=(test, Y))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"test": X}, TypeError, r"test must be a pair \(X_test, y_test\)"),
        ({"test": (X[:, :2], Y)}, ValueError, r"test must hold samples like those of X and y"),
        ({"test": (X, Y), "repeats": 2}, ValueError, "there is one test set"),
        ({"repeats": 0}, ValueError, "repeats must be an int of 1 or more"),
        ({"repeats": 2, "cv": KFold(2)}, ValueError, "repeats is for an int cv"),
        ({"groups": Y[:-1]}, ValueError, "inconsistent numbers of samples"),
        ({"cv": [(np.arange(150), [])]}, ValueError, "150 training and 0 test samples"),
    ],
)
def test_designs_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        compare({"Bayes": BAYES}, X, Y, **options)


@pytest.mark.parametrize("repeats", [1, 2])
def test_groups_stay_together(repeats):
    groups = np.arange(150) % 30
    for model, y in [(BAYES, Y), (Ridge(), X[:, 0])]:
        result = compare({"m": model}, X, y, groups=groups, repeats=repeats, cv=3, random_state=0)
        assert len(result.splits) == 3 * repeats
        for train, test in result.splits:
            assert not set(groups[train]) & set(groups[test])
        assert not result.design_remarks
    splitter = compare({"m": BAYES}, X, Y, groups=groups, cv=GroupKFold(5))
    assert len(splitter.splits) == 5


def test_odd_folds_are_remarked():
    groups = np.arange(150) % 30
    with pytest.warns(UserWarning, match="ignored by KFold"):
        result = compare({"m": BAYES}, X, Y, groups=groups, cv=KFold(3))
    assert "30 groups are in both halves" in str(result)
    result = compare({"m": BAYES}, X, Y, cv=[(np.arange(150), np.arange(50))])
    assert "50 test samples of a fold are among its training samples" in str(result)


def test_several_data_sets_are_ranked():
    data = {}
    for seed in range(6):
        data[f"set {seed}"] = make_classification(
            120, 6, n_informative=4, class_sep=0.8, random_state=seed
        )
    models = {
        "kNN": KNN, "Bayes": BAYES, "coin": DummyClassifier(strategy="uniform", random_state=0),
    }  # fmt: skip
    result = compare(models, data, random_state=0, cv=3)
    assert isinstance(result, ComparisonAcrossDatasets)
    scores = result.scores()
    assert scores.shape == (6, 3)
    for name, (features, y) in data.items():
        alone = compare(models, features, y, random_state=0, cv=3)
        np.testing.assert_allclose(scores.loc[name], alone.frame()["mean_accuracy"])
    np.testing.assert_allclose(result.ranks(), (-scores).rank(axis=1).mean())
    pairs = result.pairs()
    assert len(pairs) == 3
    assert (pairs["rank_difference"] >= 0).all()
    np.testing.assert_allclose(pairs[["p_better", "p_equal", "p_worse"]].sum(axis=1), 1)
    assert (
        pairs.iloc[-1][["second", "nemenyi"]].tolist() == ["coin", True] or pairs["nemenyi"].any()
    )
    assert "best average rank" in str(result)
    assert "beats coin" in result.verdict()
    frame = result.frame()
    assert set(frame["dataset"]) == set(data)
    assert len(frame) == 6 * 3 * len(SCORERS)
    with pytest.raises(ValueError, match="bring their y along"):
        compare(models, data, Y)
    with pytest.raises(ValueError, match="ranked by one metric"):
        masks = compare({"half": Threshold()}, *noisy_masks())
        ComparisonAcrossDatasets({"labels": compare({"Bayes": BAYES}, X, Y), "masks": masks})


def test_of_errors_the_smaller_ranks_first_on_several_data_sets():
    """Of the estimators that were judged on every one of them."""
    data = {"all": slice(None), "half": slice(None, None, 2), "other half": slice(1, None, 2)}
    models = {"dummy": REGRESSORS["dummy"], "ridge": REGRESSORS["ridge"]}
    found = {
        name: compare(
            {"only here": REGRESSORS["ridge"], **models} if name == "all" else models,
            AMOUNTS_X[some], AMOUNTS[some], scoring="rmse", random_state=0, cv=3,
        )
        for name, some in data.items()
    }  # fmt: skip
    result = ComparisonAcrossDatasets(found)
    assert result.ranks().to_dict() == {"dummy": 2.0, "ridge": 1.0}
    (row,) = result.pairs().itertuples()
    assert (row.first, row.second) == ("ridge", "dummy")
    assert row.difference < 0
    assert row.p_better > 0.5 > row.p_worse


def across(scores: dict, metric="accuracy"):
    """Data sets of those mean scores."""
    comparisons = {}
    for k, row in enumerate(zip(*scores.values())):
        result = compare(dict.fromkeys(scores, DummyClassifier()), X, Y, cv=2)
        if metric == "rmse":
            result = compare(dict.fromkeys(scores, DummyRegressor()), X, X[:, 0], cv=2)
            result.problem.rank_by("rmse")
        for name, value in zip(scores, row):
            result.folds.loc[result.folds["estimator"] == name, metric] = value
        comparisons[f"set {k}"] = result
    return ComparisonAcrossDatasets(comparisons)


def test_who_fails_on_a_data_set_is_named(tmp_path):
    models = {"Bayes": BAYES, "many": KNeighborsClassifier(60), "dummy": DummyClassifier()}
    data = {"small": (X[::2], Y[::2]), "large": (X, Y)}
    result = compare(models, data, cv=2)
    assert result.names == ["Bayes", "dummy"]
    left_out, why = "Not judged on every data set, so not ranked: many.", "n_neighbors &lt;="
    assert [text.split(": Expected")[0] for text in result.remarks()] == [
        left_out, "small: many failed: ValueError"
    ]  # fmt: skip
    result.to_html(tmp_path / "page.html")
    for told in (escape(str(result)), result._repr_html_(), (tmp_path / "page.html").read_text()):
        assert left_out in told
        assert why in told
    assert across({"a": [0.9, 0.8]}).remarks() == []


def test_the_region_of_equivalence_is_one_rule_for_one_data_set_and_several():
    """A hundredth of the mean of a metric without bounds, else a hundredth."""
    errors = {"a": [1000.0, 990, 1010] * 3, "b": [1001.0, 992, 1011] * 3}
    mean = np.mean(list(errors.values()))
    result = across(errors, "rmse")
    pd.testing.assert_frame_equal(result.pairs(), result.pairs(rope=0.01 * mean))
    assert result.pairs()["p_equal"][0] > 0.99
    assert result.pairs(rope=0.01)["p_better"][0] > 0.99
    shares = across({"a": [0.5, 0.6], "b": [0.7, 0.8]})
    pd.testing.assert_frame_equal(shares.pairs(), shares.pairs(rope=0.01))


def test_verdicts_across_data_sets_have_a_subject_of_one_or_several():
    worse = np.linspace(0.2, 0.4, 12)
    alone = across({"x": worse + 0.4, "y": worse, "z": worse + 0.2}).verdict()
    assert "x has the best average rank, 1.00 over 12 data sets, and beats y" in alone
    tied = across({"x": worse + 0.4, "y": worse, "z": worse + 0.4}).verdict()
    assert "x and z have the best average rank, 1.50 over 12 data sets, and beat y" in tied


def test_processes_give_the_same_numbers_and_the_first_failure():
    models = {"Bayes": BAYES, "broken": KNeighborsClassifier(-1), "tree": DecisionTreeClassifier(random_state=0)}  # fmt: skip
    one, two = (compare(models, X, Y, random_state=0, n_jobs=n, cv=3) for n in (None, 2))
    pd.testing.assert_frame_equal(one.folds[one.metrics], two.folds[two.metrics])
    assert one.remarks() == two.remarks()
    assert "broken failed" in one.remarks()[0]
    assert "fold 1 of 3" in one.remarks()[0]


# -- which is better


def test_pairs_are_those_of_the_statistics():
    models = {"Bayes": BAYES, "kNN": KNN, "dummy": DummyClassifier()}
    result = compare(models, X, Y, random_state=0, repeats=4)
    table = result.pairs().set_index(["first", "second"])
    assert len(table) == 3
    leader = result.frame()["mean_accuracy"].idxmax()
    assert table.index[0][0] == leader
    for (first, second), row in table.iterrows():
        values = result.fold_scores(first, "accuracy") - result.fold_scores(second, "accuracy")
        expected = _statistics.corrected_t_interval(values, 30 / 120)
        np.testing.assert_allclose(row[["difference", "low", "high", "p"]].astype(float),
                                   expected[:4])  # fmt: skip
        bayes = _statistics.correlated_bayes(values, 30 / 120, 0.01)
        np.testing.assert_allclose(row[["p_worse", "p_equal", "p_better"]].astype(float), bayes)
    np.testing.assert_allclose(table["p_holm"], _statistics.holm(table["p"]))


def test_the_correction_uses_the_real_sizes_of_the_splits():
    splits = [(np.arange(0, 150, 3) + k, np.flatnonzero(np.arange(150) % 3 != k)) for k in range(3)]
    result = compare({"Bayes": BAYES}, X, Y, cv=splits)
    values = result.folds["accuracy"].to_numpy()
    std = values.std(ddof=1) * np.sqrt(1 / 3 + 100 / 50)
    low, high, _ = result.interval("Bayes")
    assert high - values.mean() == pytest.approx(4.302653 * std) or high == 1
    assert values.mean() - low == pytest.approx(4.302653 * std) or low == 0


def test_mcnemar_counts_every_sample_once():
    result = compare({"Bayes": BAYES, "kNN": KNN}, X, Y, repeats=3, random_state=0)
    right = {}
    for name, folds in result.predictions.items():
        answer = np.empty_like(Y)
        for (_, test), predicted in list(zip(result.splits, folds))[:5][::-1]:
            answer[test] = predicted
        right[name] = answer == Y
    b = np.sum(right["Bayes"] & ~right["kNN"])
    c = np.sum(~right["Bayes"] & right["kNN"])
    from scipy.stats import binomtest

    expected = binomtest(int(min(b, c)), int(b + c)).pvalue
    assert result.pairs()["p_mcnemar"][0] == pytest.approx(expected)


def test_the_verdict_is_a_sentence():
    models = {"Bayes": BAYES, "dummy": DummyClassifier(), "kNN": KNN}
    result = compare(models, X, Y, random_state=0)
    leader = result.frame()["mean_accuracy"].idxmax()
    row = result.pairs().set_index(["first", "second"]).loc[(leader, "dummy")]
    numbers = [f"{100 * row[c]:.1f}" for c in ("difference", "low", "high")]
    expected = f"{leader} beats dummy: +{{}} points (95 % interval {{}} to {{}})".format(*numbers)
    verdict = result.verdict()
    assert verdict.startswith(expected)
    assert "cannot be told apart on this data: it would take about" in verdict
    assert verdict in str(result)
    assert verdict in result.to_markdown()


def test_the_verdict_decides_at_the_level_of_its_intervals():
    models = {"Bayes": BAYES, "kNN": KNN}
    result = compare(models, X, Y, random_state=0)
    (p,) = result.pairs()["p_holm"]
    for confidence, beats in ((0.99 * (1 - p), True), (1 - p / 2, False)):
        assert (" beats " in result.verdict(confidence=confidence)) == beats
        (row,) = result.pairs(confidence=confidence).itertuples()
        assert (row.more_samples == 0) == beats


def test_a_lower_error_is_better():
    result = compare(REGRESSORS, AMOUNTS_X, AMOUNTS, scoring="rmse", random_state=0, repeats=3)
    pairs = result.pairs()
    assert pairs["second"].iloc[-1] == "dummy"
    assert (pairs["difference"] < 0).all()
    assert (pairs["p_better"] > 0.5).all()
    assert "ridge beats dummy: -" in result.verdict()


def test_equal_estimators_are_practically_equal():
    """On enough samples: on few, equal answers do not say that more would be equal, too."""
    models, n = {"a": BAYES, "b": GaussianNB()}, 600
    many = compare(models, np.tile(X, (4, 1)), np.tile(Y, 4), cv=KFold(5), random_state=0)
    few = compare(models, X[45:55], Y[45:55], cv=KFold(5), random_state=0)
    for result, n_samples in ((many, n), (few, 10)):
        row = result.pairs().iloc[0]
        assert (row["difference"], row["p"]) == (0, 1)
        posterior = stats.norm(0, (row["high"] - row["low"]) / 2 / stats.norm.isf(0.025))
        assert row["p_equal"] == pytest.approx(posterior.cdf(0.01) - posterior.cdf(-0.01))
        assert row["high"] == pytest.approx(_statistics.paired_proportions(0, 0, n_samples).high)
    assert "a and b are practically equal" in many.verdict()
    assert "a and b cannot be told apart" in few.verdict()


def test_equal_differences_of_all_folds_are_no_certainty():
    """They say nothing of the spread: all samples together do, here by McNemar's test."""
    models = {
        "first": DummyClassifier(),
        "any": DummyClassifier(strategy="uniform", random_state=0),
    }
    result = compare(models, X, Y, random_state=0)
    scores = [result.fold_scores(name, "accuracy") for name in result.names]
    assert np.ptp(scores[0] - scores[1]) < 1e-12
    row = result.pairs().iloc[0]
    assert row["difference"] == pytest.approx(abs(scores[0] - scores[1]).mean())
    assert row["p"] == row["p_mcnemar"] > 0.05
    assert row["low"] < 0 < row["high"]
    assert 0.5 < row["p_better"] < 0.95
    assert "cannot be told apart" in result.verdict()


def test_what_has_no_score_is_not_judged_by_it():
    models = {"prior": DummyClassifier(), "SVM": LinearSVC(), "Bayes": BAYES}
    result = compare(models, X, Y, scoring="log_loss", random_state=0)
    pairs = result.pairs()
    without = (pairs[["first", "second"]] == "SVM").any(axis=1)
    assert pairs.loc[without, ["p", "p_holm", "low", "high", "p_better"]].isna().all(axis=None)
    assert pairs.loc[~without, "p"].notna().all()
    assert "Bayes and SVM cannot be compared: SVM has no log loss" in result.verdict()


def test_where_the_main_metric_has_no_value_another_one_ranks():
    """R² of a single sample is not defined."""
    result = compare(REGRESSORS, AMOUNTS_X[:12], AMOUNTS[:12], cv=LeaveOneOut())
    assert result.problem.main_metric == "mae"
    assert "R² has no value" in " ".join(result.remarks())
    assert "cannot be told apart" in str(result)


def test_the_metric_that_ranks_instead_is_shown_and_stored(tmp_path):
    models, path = {"ridge": Ridge(), "dummy": DummyRegressor()}, tmp_path / "result.zip"
    result = compare(models, AMOUNTS_X[:12], AMOUNTS[:12], cv=LeaveOneOut(), scoring="r2")
    assert str(result).splitlines()[1].split()[:2] == ["MAE", "95"]
    result.save(path)
    again = Comparison.load(path)
    assert str(again) == str(result)
    assert again.verdict() == result.verdict("mae")


def test_r2_is_scikit_learns_where_the_target_of_a_fold_is_constant():
    y = np.zeros(60)
    y[:4] = [3.0, 1.0, 4.0, 1.5]
    result = compare({"ridge": Ridge(), "dummy": DummyRegressor()}, AMOUNTS_X[:60], y, cv=KFold(6))
    for name in result.names:
        expected = [
            skm.r2_score(y[test], p)
            for (_, test), p in zip(result.splits, result.predictions[name])
        ]
        np.testing.assert_allclose(result.fold_scores(name, "r2"), expected, rtol=1e-9, atol=1e-12)


def test_predictions_must_be_finite():
    class Overflows(DummyRegressor):
        def predict(self, X):
            return np.full(len(X), np.inf)

    with pytest.raises(ValueError, match="predict must give finite numbers"):
        compare({"model": Overflows()}, AMOUNTS_X, AMOUNTS, cv=2)


def test_resamples_without_a_class_do_not_count():
    few = np.r_[0:40, 50:90, 100:110], np.r_[40:50, 90:100, 148:150]
    train, test = few
    models = {"Bayes": BAYES, "stratified": DummyClassifier(strategy="stratified", random_state=0)}
    result = compare(models, X[train], Y[train], test=(X[test], Y[test]), scoring="roc_auc_ovr")
    row = result.pairs().iloc[0]
    assert row["low"] < row["difference"] < row["high"]


def test_one_estimator_far_ahead_of_many_beats_them():
    """Though the resamples are fewer than the pairs demand."""
    scorer, rng = "average_precision", np.random.default_rng(0)
    y, noise = rng.integers(0, 2, 400), rng.normal(size=(400, 6))
    inputs = np.column_stack([y + 0.1 * noise[:, 0], noise[:, 1:]])

    class Column(ClassifierMixin, BaseEstimator):
        def __init__(self, column=0):
            self.column = column

        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def decision_function(self, X):
            return X[:, self.column]

        def predict(self, X):
            return (self.decision_function(X) > 0.5) * 1

    models = {f"column {k}": Column(k) for k in range(6)}
    result = compare(models, inputs[:200], y[:200], test=(inputs[200:], y[200:]), scoring=scorer)
    pairs = result.pairs()
    assert (pairs.loc[pairs["first"] == "column 0", "p_holm"] < 1e-3).all()
    assert result.verdict().count("column 0 beats") == 5


def test_one_estimator_or_one_fold_without_an_interval_is_said():
    assert "Only Bayes was judged" in compare({"Bayes": BAYES}, X, Y, cv=2).verdict()


def test_the_verdict_names_what_failed():
    class Broken(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            raise ArithmeticError("the loss is NaN")

        def predict(self, X):
            return X[:, 0]

    models = {"Bayes": BAYES, "broken": Broken()}
    verdict = compare(models, X, Y, random_state=0).verdict()
    assert verdict.endswith("compare it with. broken failed.")
    models["dummy"] = DummyClassifier()
    verdict = compare(models, X, Y, random_state=0).verdict()
    assert re.fullmatch(r"Bayes beats .*\)\. broken failed\.", verdict)


def test_the_samples_it_would_take_tell_the_pair_apart():
    """With about as many more samples of the same kind, the p-value comes down to the level."""

    class Fixed(ClassifierMixin, BaseEstimator):
        def __init__(self, column=0):
            self.column = column

        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return X[:, self.column].astype(int)

    def draw(n):
        y = np.zeros(n, int)
        y[: n // 2] = 1
        answers = np.stack([y, y], axis=1)
        answers[: int(0.08 * n), 0] ^= 1
        answers[int(0.3 * n) : int(0.42 * n), 1] ^= 1
        return answers, y

    def judge(n):
        answers, y = draw(n)
        return compare({"a": Fixed(0), "b": Fixed(1)}, answers, y, test=(answers, y))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = judge(200)
        row = small.pairs().iloc[0]
        assert row["p_holm"] > 0.05
        enough = judge(int(200 + 1.6 * row["more_samples"]))
    assert enough.pairs().iloc[0]["p_holm"] < 0.05
    assert enough.pairs().iloc[0]["more_samples"] == 0


def test_more_samples_bring_the_interval_down_to_the_difference():
    """Every sample counts once, however often it is tested; a pair among several needs more."""
    models = {"Bayes": BAYES, "kNN": KNN, "tree": DecisionTreeClassifier(random_state=0)}
    settings, n = {"random_state": 0, "repeats": 2}, len(Y)
    adjusted = 0
    for names in (["Bayes", "kNN"], list(models)):
        result = compare({name: models[name] for name in names}, X, Y, **settings)
        for row in result.pairs().itertuples():
            then = (row.high - row.low) / 2 * np.sqrt(n / (n + row.more_samples))
            # Holm compares p with less than 0.05, at which intervals are wider
            level, t = 0.05 * row.p / row.p_holm, stats.t(len(result.splits) - 1)
            wider = t.isf(level / 2) / t.isf(0.025)
            assert then * wider == pytest.approx(abs(row.difference))
            adjusted += wider > 1.01
    assert adjusted


def test_simulated_cross_validation_keeps_its_promises():
    """Equal models are called different in at most 5 %, and intervals hold the truth in 95 %."""
    from benchmarks.coverage import cross_validated

    different, covered, uncorrected = cross_validated(100, 5, 4, n_runs=400)
    chance = 2 * np.sqrt(0.05 * 0.95 / 400)
    assert different <= 0.05 + chance
    assert covered >= 0.93
    assert uncorrected > 0.2  # what the correction is for


# -- costs and evidence


def test_costs_and_evidence_are_kept():
    models = {
        "MLP": MLPClassifier((5,), max_iter=30, early_stopping=True, random_state=0),
        "Bayes": BAYES,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = compare(models, X, Y, cv=3, random_state=0)
    frame = result.frame()
    assert (frame[["latency", "size_on_disk", "train_score"]] > 0).all(axis=None)
    assert frame["size_on_disk"]["MLP"] > frame["size_on_disk"]["Bayes"]
    curves = result.curves["MLP"]
    assert len(curves) == 3
    assert len(curves[0]["loss"]) == len(curves[0]["score"]) > 1
    assert result.curves["Bayes"][0] == {"loss": [], "score": []}
    assert result.warnings["Bayes"] == []
    assert {fold for fold, _ in result.warnings["MLP"]} <= {0, 1, 2}


class _Greedy(DummyClassifier):
    """Holds 128 MiB while it is fitted."""

    def fit(self, X, y, sample_weight=None):
        held = np.ones(2**27, np.uint8)  # written to, so that it is resident
        super().fit(X, y, sample_weight)
        del held
        return self


def test_peak_memory_is_what_fit_held():
    frame = compare({"greedy": _Greedy(), "modest": DummyClassifier()}, X, Y, cv=2).frame()
    peak = frame["peak_memory"]
    if peak.isna().all():
        pytest.skip("this system does not tell the peak of a process's memory")
    assert peak["greedy"] == pytest.approx(2**27, rel=0.05)
    assert peak["modest"] < 2**24


def test_the_size_on_disk_is_that_of_the_pickle():
    import pickle

    values = np.random.default_rng(0).random((3000, 30))  # a buffer of its own in the pickle
    y = values[:, 0] > 0.5
    result = compare({"kNN": KNN}, values[:1500], y[:1500], test=(values[1500:], y[1500:]))
    pickled = pickle.dumps(KNN.fit(values[:1500], y[:1500]), protocol=5)
    assert result.frame()["size_on_disk"]["kNN"] == pytest.approx(len(pickled), rel=0.01)


def test_train_scores_show_what_was_learned_by_heart():
    tree = DecisionTreeClassifier(random_state=0)
    result = compare({"tree": tree, "SVM": LinearSVC()}, X, Y, random_state=0)
    assert (result.fold_scores("tree", "train_score") == 1).all()
    assert (result.folds["train_score"] > result.folds["accuracy"]).any()
