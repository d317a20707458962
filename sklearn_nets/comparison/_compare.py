"""Judge any scikit-learn estimators alike: the same folds, the same metrics, times and sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from joblib import effective_n_jobs
from sklearn.utils import check_consistent_length, indexable

from .._utils.array_api import to_numpy
from .._utils.validation import is_ragged
from ..metrics._boxes import boxes_as_dicts
from ._across import ComparisonAcrossDatasets
from ._checkpoint import Checkpoint
from ._designs import is_several_data_sets, join_test_set, make_design
from ._measure import describe_run
from ._problems import choose_problem
from ._result import Comparison
from ._run import run_folds
from ._tables import label


def compare(
    estimators: Mapping,
    X,
    y=None,
    *,
    cv=5,
    test=None,
    repeats: int = 1,
    groups=None,
    scoring: str | list[str] | None = None,
    task: str = "auto",
    random_state=None,
    ignore_index: int | str | None = None,
    n_jobs: int | None = None,
    checkpoint=None,
    progress: bool = True,
) -> Comparison | ComparisonAcrossDatasets:
    """Judge several estimators on the same folds, or on the same held-out test set.

    Labels (`y` of one dimension) are judged by accuracy and balanced accuracy; precision, recall
    and F1, macro and weighted; and, where there are probabilities or decision values, log loss,
    Brier score, area under the ROC curve and average precision (of several classes: the mean of
    each against the rest). Amounts are judged by R², mean absolute and root mean squared error;
    masks (`y` of three dimensions) by pixel accuracy, mean IoU, dice, macro precision and recall;
    boxes by COCO's mean average precision, at an IoU of 0.5 and over IoUs, and by macro precision
    and recall at an IoU of 0.5 of the boxes whose score is at least 0.5.
    With TP, FP and FN read off one confusion matrix per fold (of all its pixels together, for
    masks), the precision of a class is TP / (TP + FP), its recall TP / (TP + FN), its IoU
    TP / (TP + FP + FN) [1]_; 0/0 counts as 0. Macro values and the mean IoU are unweighted means
    over the classes that occur in the fold, in the truth or in the prediction: scikit-learn's
    convention.

    Every score has an interval: of a cross-validated mean Nadeau and Bengio's [2]_, with the test
    and training sizes of the actual folds; on a held-out test set Wilson's for the accuracy,
    DeLong's for areas under ROC curves, else the bootstrap over samples or images.

    Parameters
    ----------
    estimators : dict of str to estimator
        Any scikit-learn classifiers, regressors, pipelines, segmenters or detectors. They are
        cloned, never fitted.
    X : array-like of n_samples rows, images or anything else that the estimators take
        The data. Or a dict of ``name: (X, y)``: several data sets, judged one after the other.
    y : array-like of shape (n_samples,) or (n_samples, height, width), or list of dicts
        Labels or amounts; masks with one label per pixel: integers or strings; or, for each image,
        a dict of ``"boxes"`` of shape (k, 4) and ``"labels"`` of shape (k,), as in torchvision, or
        a DataFrame of boxes as `DetectionNet` takes it.
    cv : int, splitter or iterable of (train, test), default=5
        An int asks for that many shuffled folds, stratified by `y` if it holds labels.
    test : tuple (X_test, y_test), optional
        A held-out test set in place of a cross-validation: everything in `X` is learned from. The
        samples of the result are then those of `X`, followed by those of the test set.
    repeats : int, default=1
        How often an int `cv` is repeated with other folds; the intervals become narrower.
    groups : array-like of shape (n_samples,), optional
        Samples of a group (a patient, a film) stay in one fold.
    scoring : str or list of str, optional
        Metrics of the comparison, or scorers of scikit-learn's, by name; the first ranks the
        estimators.
    task : {"auto", "classification", "regression", "segmentation", "detection"}, default="auto"
        What `y` is. By itself it is told from `y`; whole numbers are amounts if all estimators are
        regressors, else labels.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds when `cv` is an int. Estimators have a `random_state` of their own.
    ignore_index : int or str, optional
        The value of pixels without a label, which are not judged. Whether an estimator learns from
        them is its own parameter.
    n_jobs : int, optional
        How many processes fit at the same time, as in scikit-learn. Times then include what the
        processes take from each other.
    checkpoint : str or path-like, optional
        A folder for what is done, fold by fold. The same call with the same folder goes on where an
        earlier one was stopped, and gives what it would have given.
    progress : bool, default=True
        Show estimator, fold and epoch while it runs, if standard error is a terminal and rich is
        installed.

    Returns
    -------
    Comparison
        Or, of several data sets, a `ComparisonAcrossDatasets`.

    Raises
    ------
    TypeError
        If `estimators` is not a dict of estimators, `test` is not a pair, or `scoring` holds
        anything but names.
    ValueError
        If `y` holds neither labels, amounts, masks nor boxes, a prediction does not fit `y`, or
        options contradict each other.
    Exception
        What the first estimator raised, with a note that names it and the fold, if every estimator
        failed; else failures are in the result, beside those that did not.
    KeyboardInterrupt
        After Ctrl-C, if no estimator was judged on every fold; else those that were are returned.

    References
    ----------
    .. [1] M. Everingham, L. Van Gool, C. Williams, J. Winn, A. Zisserman, "The Pascal Visual
       Object Classes (VOC) Challenge", International Journal of Computer Vision 88, 2010.
    .. [2] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52,
       2003.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_nets.comparison import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> result = compare({"kNN": KNeighborsClassifier(), "dummy": DummyClassifier()}, X, y,
    ...                  random_state=0)
    >>> result.frame()["mean_accuracy"].round(2).to_dict()
    {'kNN': 0.95, 'dummy': 0.33}
    >>> print(result.verdict())
    kNN beats dummy: +62.0 points (95 % interval 58.6 to 65.4).
    """
    _check_estimators(estimators)
    options = {
        "cv": cv, "repeats": repeats, "scoring": scoring, "task": task,
        "random_state": random_state, "ignore_index": ignore_index, "n_jobs": n_jobs,
        "checkpoint": checkpoint, "progress": progress,
    }  # fmt: skip
    if is_several_data_sets(X):
        if y is not None or test is not None or groups is not None:
            raise ValueError("Several data sets bring their y along; leave out y, test and groups.")
        results = {n: compare(estimators, *data, **options) for n, data in X.items()}
        return ComparisonAcrossDatasets(results)
    if y is None:
        raise ValueError("y is missing: expected targets, or X as a dict of name: (X, y).")
    y, test_size = boxes_as_dicts(y, X), None
    if test is not None:
        if isinstance(test, (tuple, list)) and len(test) == 2:
            test = test[0], boxes_as_dicts(test[1], test[0])
        X, y, test_size = join_test_set(X, y, test)
    (X,) = indexable(X)
    y = to_numpy(y)
    check_consistent_length(X, y)
    if isinstance(X, (list, tuple)) and not is_ragged(X):
        X = np.asarray(X)
    problem = choose_problem(y, ignore_index, estimators.values(), scoring, task)
    design = make_design(
        problem, X, cv=cv, test_size=test_size, repeats=repeats, groups=groups,
        random_state=random_state,
    )  # fmt: skip
    provenance = describe_run(design.description, effective_n_jobs(n_jobs))
    keeper = None
    if checkpoint is not None:
        keeper = Checkpoint(checkpoint, problem, X)
        design = keeper.fix_splits(design)
    outcome = run_folds(
        estimators, X, problem, design.splits, n_jobs=n_jobs, progress=progress, checkpoint=keeper
    )
    if not outcome.complete:
        raise next(iter(outcome.failures.values()), KeyboardInterrupt())
    return _collect(estimators, X, problem, design, provenance, outcome)


def _collect(estimators, X, problem, design, provenance, outcome) -> Comparison:
    """One result of all folds of all estimators."""
    complete = outcome.complete
    folds = pd.DataFrame([fold.row for results in complete.values() for fold in results])
    folds = folds.astype({"n_parameters": "Int64"})

    def of_answers(part):
        found = {n: [getattr(f.answer, part) for f in results] for n, results in complete.items()}
        return {n: values for n, values in found.items() if all(v is not None for v in values)}

    metrics = [name for name in problem.metrics if folds[name].notna().any()]
    remarks = list(design.remarks)
    if problem.main_metric not in metrics:
        remarks.append(
            f"{label(problem.main_metric)} has no value for any estimator or fold: "
            f"{label(metrics[0])} ranks the estimators instead."
        )
        problem.rank_by(metrics[0])
    confusions = {n: [f.confusion for f in results] for n, results in complete.items()}
    return Comparison(
        folds=folds,
        metrics=metrics,
        confusion_matrices={n: np.stack(c) for n, c in confusions.items() if c[0] is not None},
        predictions=of_answers("predicted"),
        probabilities=of_answers("probabilities"),
        decision_values=of_answers("decision_values"),
        curves={n: [f.curves for f in results] for n, results in complete.items()},
        warnings={
            n: [(k, text) for k, fold in enumerate(results) for _, text in fold.warnings]
            for n, results in complete.items()
        },
        splits=design.splits,
        problem=problem,
        provenance=provenance,
        failures=outcome.failures,
        left_out=outcome.left_out,
        design_remarks=remarks,
        X=X,
        estimators=dict(estimators),
    )


def _check_estimators(estimators) -> None:
    if not isinstance(estimators, Mapping) or not estimators:
        raise TypeError(
            "estimators must be a dict such as {'kNN': KNeighborsClassifier()} with one entry "
            f"or more, got {estimators!r}."
        )
    for name, estimator in estimators.items():
        if name is None or name != name:  # pandas takes both for a missing value
            raise TypeError(f"An estimator's name must not be {name!r}: give it another.")
        if isinstance(estimator, type) or not all(
            hasattr(estimator, method) for method in ("fit", "predict", "get_params")
        ):
            raise TypeError(
                f"estimators[{name!r}] must be an instance of a scikit-learn classifier, regressor "
                f"or segmenter with fit and predict, got {estimator!r}."
            )
