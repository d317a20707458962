"""Judge any scikit-learn estimators alike: the same folds, the same metrics, times and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import indexable

from .._utils.array_api import to_numpy
from ._measure import count_parameters, describe_run, find_device, fit_predict
from ._notices import Warnings, noticed_interrupts
from ._problems import choose_problem
from ._progress import epochs_shown, live_progress
from ._result import Comparison


def compare(
    estimators: Mapping,
    X,
    y,
    *,
    cv=5,
    random_state=None,
    ignore_index: int | str | None = None,
    progress: bool = True,
) -> Comparison:
    """Cross-validate several estimators on the same folds.

    Labels (`y` of one dimension) are judged by accuracy, macro precision and macro recall; masks
    (`y` of three) by pixel accuracy, mean IoU, macro precision and macro recall. With TP, FP and FN
    read off one confusion matrix per fold (of all its pixels together, for masks), the precision
    of a class is TP / (TP + FP), its recall TP / (TP + FN), its IoU TP / (TP + FP + FN) [1]_; 0/0
    counts as 0. Macro values and the mean IoU are unweighted means over the classes that occur in
    the fold, in the truth or in the prediction: scikit-learn's convention.

    Parameters
    ----------
    estimators : dict of str to estimator
        Any scikit-learn classifiers, pipelines or segmenters. They are cloned, never fitted.
    X : array-like of n_samples rows, images or anything else that the estimators take
        The data.
    y : array-like of shape (n_samples,) or (n_samples, height, width)
        Labels, or masks with one label per pixel: integers or strings.
    cv : int, splitter or iterable of (train, test), default=5
        An int asks for that many shuffled folds, stratified by `y` if it holds labels. For
        splitters that need groups pass ``splitter.split(X, y, groups)``.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds when `cv` is an int. Estimators have a `random_state` of their own.
    ignore_index : int or str, optional
        The value of pixels without a label, which are not judged. Whether an estimator learns from
        them is its own parameter.
    progress : bool, default=True
        Show estimator, fold and epoch while it runs, if standard error is a terminal and rich is
        installed.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError
        If `estimators` is not a dict of estimators.
    ValueError
        If `y` holds neither labels nor masks, or a prediction does not fit `y`.
    Exception
        What the first estimator raised, with a note that names it and the fold, if every estimator
        failed; else failures are in the result, beside those that did not.
    KeyboardInterrupt
        After Ctrl-C, if no estimator was judged on every fold; else those that were are returned.

    References
    ----------
    .. [1] M. Everingham, L. Van Gool, C. Williams, J. Winn, A. Zisserman, "The Pascal Visual
       Object Classes (VOC) Challenge", International Journal of Computer Vision 88, 2010.

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
    """
    _check_estimators(estimators)
    X, y = indexable(X, np.asarray(to_numpy(y)))
    X = np.asarray(X) if isinstance(X, (list, tuple)) else X
    problem = choose_problem(y, ignore_index)
    if cv is None or isinstance(cv, Integral):
        cv = problem.splitter(5 if cv is None else int(cv), random_state)
    provenance = describe_run(str(cv) if hasattr(cv, "split") else "given train and test indices")
    index = np.arange(len(y))  # turns lists and boolean masks into indices
    splits = [(index[train], index[test]) for train, test in check_cv(cv).split(X, y)]
    if not splits:
        raise ValueError("cv gives no fold: pass an int, a splitter or (train, test) indices.")

    complete, failures, left_out = {}, {}, []
    with (
        live_progress(list(estimators), len(splits), progress) as show,
        noticed_interrupts() as interrupted,
    ):
        for name, estimator in estimators.items():
            try:
                complete[name] = _judge_folds(
                    name, estimator, X, problem, splits, show, interrupted
                )
            except KeyboardInterrupt:
                left_out = [n for n in estimators if n not in complete and n not in failures]
                break
            except Exception as error:
                failures[name] = error
    if not complete:
        raise next(iter(failures.values()), KeyboardInterrupt())

    return Comparison(
        folds=pd.DataFrame([row for folds in complete.values() for row, _, _, _ in folds]).astype(
            {"n_parameters": "Int64"}
        ),
        metrics=list(next(iter(complete.values()))[0][1]),
        confusion_matrices={n: np.stack([c for *_, c, _ in f]) for n, f in complete.items()},
        predictions={n: [p for *_, p in folds] for n, folds in complete.items()},
        splits=splits,
        problem=problem,
        provenance=provenance,
        failures=failures,
        left_out=left_out,
    )


def _judge_folds(name, estimator, X, problem, splits, show, interrupted) -> list[tuple]:
    """Fit and judge an estimator on every fold: row of figures, metrics, evidence, prediction."""
    results, y, held_back = [], problem.y, Warnings(name, len(splits))
    for fold, (train, test) in enumerate(splits):
        model = clone(estimator)
        try:
            with held_back.of_fold(fold), epochs_shown(model, show, name, fold):
                times, predicted = fit_predict(model, X, y, train, test)
            if interrupted:  # a fit that was cut short is no result
                raise KeyboardInterrupt
            metrics, evidence = problem.judge(y[test], predicted)
        except Exception as error:
            error.add_note(f"Estimator {name!r}, fold {fold + 1} of {len(splits)}.")
            raise
        size = {"n_parameters": count_parameters(model), "device": find_device(model)}
        counts = {"n_train": len(train), "n_test": len(test)}
        row = {"estimator": name, "fold": fold} | counts | metrics | times | size
        results.append((row, metrics, evidence, predicted))
    held_back.issue()
    return results


def _check_estimators(estimators) -> None:
    if not isinstance(estimators, Mapping) or not estimators:
        raise TypeError(
            "estimators must be a dict such as {'kNN': KNeighborsClassifier()} with one entry "
            f"or more, got {estimators!r}."
        )
    for name, estimator in estimators.items():
        if isinstance(estimator, type) or not all(
            hasattr(estimator, method) for method in ("fit", "predict", "get_params")
        ):
            raise TypeError(
                f"estimators[{name!r}] must be an instance of a scikit-learn classifier or "
                f"segmenter with fit and predict, got {estimator!r}."
            )
