"""Judge any scikit-learn estimators alike: the same folds, the same metrics, times and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import indexable
from sklearn.utils.multiclass import type_of_target

from .._utils.array_api import to_numpy
from ..metrics import class_scores, confusion_matrix
from . import _html, _tables
from ._measure import count_parameters, describe_run, find_device, fit_predict, fold_metrics
from ._progress import epochs_shown, live_progress


@dataclass(eq=False, repr=False, kw_only=True)
class Comparison:
    """What :func:`compare` found: raw results of every fold, and the tables made of them.

    Attributes
    ----------
    folds : DataFrame
        One row per estimator and fold: ``estimator``, ``fold``, ``n_train``, ``n_test``, the
        metrics, ``fit_time`` and ``predict_time`` in seconds, ``n_parameters``, ``device``.
    metrics : list of str
        The metrics, in the order of the tables.
    confusion_matrices : dict of str to ndarray of shape (n_folds, n_classes, n_classes)
        Counts of samples (labels) or pixels (masks): true classes in rows, predicted in columns.
    predictions : dict of str to list of ndarray
        Out-of-fold predictions: entry k belongs to the samples ``splits[k][1]``.
    splits : list of (ndarray, ndarray)
        Train and test indices of every fold, the same for all estimators.
    y : ndarray of shape (n_samples,) or (n_samples, height, width)
        The truth.
    classes : ndarray of shape (n_classes,)
        The sorted classes in `y`, without `ignore_index`.
    ignore_index : int, str or None
        The value in masks that is not judged.
    provenance : dict of str to str
        Date, splitter, machine and library versions of the run.
    """

    folds: pd.DataFrame
    metrics: list[str]
    confusion_matrices: dict[str, np.ndarray]
    predictions: dict[str, list[np.ndarray]]
    splits: list[tuple[np.ndarray, np.ndarray]]
    y: np.ndarray
    classes: np.ndarray
    ignore_index: int | str | None
    provenance: dict[str, str]

    def __repr__(self) -> str:
        return (
            f"Comparison({', '.join(self.confusion_matrices)}: n={len(self.y)}, "
            f"{len(self.splits)} folds, {len(self.classes)} classes)"
        )

    def frame(self) -> pd.DataFrame:
        """One row per estimator: mean and standard deviation over the folds.

        Returns
        -------
        DataFrame
            Indexed by estimator. ``mean_<metric>`` and ``std_<metric>`` for each metric,
            ``fit_time`` and ``predict_time`` (seconds), with numpy's standard deviation (divided
            by the number of folds), as in scikit-learn's ``cv_results_``; then ``n_parameters``
            (the largest over the folds, missing where unknown) and ``device``.
        """
        by_estimator = self.folds.groupby("estimator", sort=False)
        columns = {}
        for name in [*self.metrics, "fit_time", "predict_time"]:
            columns[f"mean_{name}"] = by_estimator[name].mean()
            columns[f"std_{name}"] = by_estimator[name].std(ddof=0)
        columns["n_parameters"] = by_estimator["n_parameters"].max()
        columns["device"] = by_estimator["device"].first()
        return pd.DataFrame(columns)

    def per_class(self) -> pd.DataFrame:
        """Precision and recall of every class, from the confusion matrix summed over the folds.

        Returns
        -------
        DataFrame
            Indexed by estimator and class: ``precision``, ``recall``, for masks ``iou``, and
            ``support``, the number of samples (pixels) of that class in the test folds.
        """
        tables = {}
        for name, matrices in self.confusion_matrices.items():
            matrix = matrices.sum(axis=0)
            scores = class_scores(matrix)
            if "mean_iou" not in self.metrics:
                del scores["iou"]
            index = pd.Index(self.classes, name="class")
            tables[name] = pd.DataFrame({**scores, "support": matrix.sum(axis=1)}, index=index)
        return pd.concat(tables, names=["estimator"])

    def plot(self, metric: str | None = None, *, ax=None):
        """Draw one metric of every fold, with its mean and standard deviation.

        Parameters
        ----------
        metric : str, optional
            One of ``metrics``; by default the accuracy, for masks the mean IoU.
        ax : matplotlib Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If `metric` is not among ``metrics``.
        """
        metric = metric or _tables.main_metric(self)
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {self.metrics}, got {metric!r}.")
        return _tables.draw(self, metric, ax)

    def to_html(self, path, *, title: str = "Comparison", images=None) -> None:
        """Write tables and confusion matrices as one page that needs no other file and no network.

        Parameters
        ----------
        path : str or path-like
            The file to write; an existing one is replaced.
        title : str, default="Comparison"
            The heading.
        images : array-like of shape (n_samples, height, width) or (n_samples, height, width, 3), \
                optional
            Pictures of the samples, to show the most misread (labels) or the first (masks).
        """
        _html.write_html(path, [(title, self, images)])


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
        Whatever an estimator raises, with a note that names the estimator and the fold.

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
    classes = _check_classes(y, ignore_index)
    if cv is None or isinstance(cv, Integral):
        kind = StratifiedKFold if y.ndim == 1 else KFold
        cv = kind(5 if cv is None else int(cv), shuffle=True, random_state=random_state)
    provenance = describe_run(str(cv) if hasattr(cv, "split") else "given train and test indices")
    index = np.arange(len(y))  # turns lists and boolean masks into indices
    splits = [(index[train], index[test]) for train, test in check_cv(cv).split(X, y)]
    if not splits:
        raise ValueError("cv gives no fold: pass an int, a splitter or (train, test) indices.")

    rows, confusions, predictions = [], {}, {}
    with live_progress(list(estimators), len(splits), progress) as show:
        for name, estimator in estimators.items():
            predictions[name], confusions[name] = [], []
            for fold, (train, test) in enumerate(splits):
                model = clone(estimator)
                try:
                    with epochs_shown(model, show, name, fold):
                        times, predicted = fit_predict(model, X, y, train, test)
                    confusion = confusion_matrix(
                        y[test], predicted, classes=classes, ignore_index=ignore_index
                    )
                except Exception as error:
                    error.add_note(f"Estimator {name!r}, fold {fold + 1} of {len(splits)}.")
                    raise
                predictions[name].append(predicted)
                confusions[name].append(confusion)
                measured = fold_metrics(confusion, masks=y.ndim == 3)
                size = {"n_parameters": count_parameters(model), "device": find_device(model)}
                counts = {"n_train": len(train), "n_test": len(test)}
                rows.append({"estimator": name, "fold": fold} | counts | measured | times | size)

    return Comparison(
        folds=pd.DataFrame(rows).astype({"n_parameters": "Int64"}),
        metrics=list(measured),
        confusion_matrices={name: np.stack(matrices) for name, matrices in confusions.items()},
        predictions=predictions,
        splits=splits,
        y=y,
        classes=classes,
        ignore_index=ignore_index,
        provenance=provenance,
    )


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


def _check_classes(y: np.ndarray, ignore_index) -> np.ndarray:
    labels = y.ndim == 1 and type_of_target(y) in ("binary", "multiclass")
    masks = y.ndim == 3 and y.dtype.kind != "f"
    if not (labels or masks):
        raise ValueError(
            "y must hold labels of shape (n_samples,) or integer or string masks of shape "
            f"(n_samples, height, width), got shape {y.shape} of dtype {y.dtype}."
        )
    if labels and ignore_index is not None:
        raise ValueError("ignore_index is for masks, and y holds one label per sample.")
    classes = np.unique(y)
    return classes if ignore_index is None else classes[classes != ignore_index]
