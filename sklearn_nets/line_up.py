"""The estimators that are worth comparing on the data at hand, as ordinary pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy.sparse import issparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVR

from ._utils.array_api import to_numpy
from ._utils.optional import require
from ._utils.validation import is_ragged
from .datasets._task import choose_task
from .detection import DetectionNet, PixelDetector
from .metrics._boxes import boxes_as_dicts, holds_boxes
from .neighbors import KNeighborsClassifier, KNeighborsRegressor
from .neural_network import MLPClassifier, MLPRegressor
from .segmentation import PixelClassifier, SegmentationNet
from .svm import LinearSVC
from .vision import CNNClassifier, FlattenImages, ViTClassifier

__all__ = ["MODELS", "default_models"]

# short name -> name in tables; the dummy is always the first
MODELS = {
    "dummy": "dummy",
    "knn": "kNN",
    "svm": "linear SVM",
    "mlp": "MLP",
    "cnn": "CNN",
    "vit": "ViT",
    "hgb": "HistGradientBoosting",
}
ENOUGH_TO_HOLD_OUT = 2000  # rows from which on a perceptron stops early on a tenth of them
MAX_PIXELS = 4000  # that a classifier of patches learns from: kNN compares every pixel with them


def default_models(
    X,
    y,
    *,
    task: str = "auto",
    models: Iterable[str] | None = None,
    device: str = "auto",
    ignore_index=None,
    random_state: int | np.random.RandomState | None = None,
) -> dict:
    """Choose the estimators to compare on given data.

    They are unfitted pipelines, to be edited like any others before they go to
    :func:`~sklearn_nets.comparison.compare`. What they hold depends on the data:

    ============================ ======================================================
    tables (a DataFrame)         kNN, linear SVM, MLP and histogram gradient boosting,
                                 each behind :func:`skrub.tabular_pipeline`: dates and
                                 categories encoded, missing values filled, scaled
    rows of numbers              the same, scaled by StandardScaler
    images                       kNN, linear SVM and MLP on flat pixels, CNN, ViT
    images with masks            kNN and linear SVM on patches of pixels, SegmentationNet
    images with boxes            boxes around regions that kNN and linear SVM make of pixels,
                                 DetectionNet
    ============================ ======================================================

    A dummy, which never looks at X, always comes first: what is no better has learned nothing.

    Parameters
    ----------
    X : DataFrame, or array-like of shape (n_samples, n_features), or images
        Images as `CNNClassifier` reads them, of 3 or 4 axes; with boxes also a list of images of
        several sizes.
    y : array-like of shape (n_samples,) or (n_samples, height, width), list of dicts or DataFrame
        Labels, quantities, masks, or boxes as `DetectionNet` takes them.
    task : {"auto", "classification", "regression", "segmentation", "detection"}, default="auto"
        "auto" is segmentation for masks, detection for boxes, or else decided as in
        :func:`~sklearn_nets.datasets.load_table`.
    models : iterable of {"knn", "svm", "mlp", "cnn", "vit", "hgb"}, optional
        Which ones, in their order; by default all that suit the data. For masks "cnn" is the
        `SegmentationNet`, for boxes the `DetectionNet`. "hgb", on images, masks and boxes, is for
        those who have time.
    device : str, default="auto"
        Where the nets and nearest neighbors compute.
    ignore_index : int or str, optional
        The value of pixels without a label.
    random_state : int, RandomState instance or None, default=None
        Seeds every estimator.

    Returns
    -------
    estimators : dict of str to estimator
        Named as in tables: "dummy", "kNN", "linear SVM", "MLP", "CNN", "ViT", "SegmentationNet",
        "DetectionNet", "HistGradientBoosting".

    Raises
    ------
    ImportError
        If X is a DataFrame and skrub is missing.
    ValueError
        If a model is unknown or does not suit the data, if `task` does not suit `y`, or if X is
        sparse, or a DataFrame that is not pandas'.

    See Also
    --------
    sklearn_nets.datasets.load_table, sklearn_nets.datasets.load_images : Data from files.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets import default_models
    >>> digits = load_digits()
    >>> estimators = default_models(digits.images, digits.target, random_state=0)
    >>> list(estimators)
    ['dummy', 'kNN', 'linear SVM', 'MLP', 'CNN', 'ViT']
    >>> _ = estimators["CNN"].set_params(max_iter=20)
    """
    X = _as_array_or_table(X)
    y = np.asarray(to_numpy(boxes_as_dicts(y, X)))
    task = _check_task(task, X, y)
    if isinstance(random_state, np.random.RandomState):  # one seed for all
        random_state = int(random_state.randint(np.iinfo(np.int32).max))
    makers = _makers(X, y, task, ignore_index, random_state)
    estimators = {}
    for name in ["dummy", *_check_models(models, makers, X, task)]:
        title, estimator = makers[name]()
        estimators[title] = set_device(estimator, device)
    return estimators


def set_device(estimator, device):
    """Set `device` wherever an estimator or a part of it has this parameter."""
    names = [key for key in estimator.get_params() if key.split("__")[-1] == "device"]
    return estimator.set_params(**dict.fromkeys(names, device))


def _as_array_or_table(X):
    """A numpy array or a DataFrame, of which axes, length and missing values are looked at."""
    if issparse(X):
        raise ValueError(
            f"default_models takes no sparse X, got {type(X).__name__}: its pipelines center the "
            "features. Pass X.toarray()."
        )
    if is_ragged(X):  # one image stands for all
        return np.broadcast_to(X[0], (len(X), *np.shape(X[0])))
    if hasattr(X, "columns") and not hasattr(X, "iloc"):
        raise ValueError(
            f"default_models reads tables of pandas, got {type(X).__module__}.{type(X).__name__}. "
            "Pass X.to_pandas()."
        )
    return X if hasattr(X, "iloc") else np.asarray(to_numpy(X))


def _check_task(task, X, y) -> str:
    tasks = ("auto", "classification", "regression", "segmentation", "detection")
    if task not in tasks:
        raise ValueError(f"task must be one of {', '.join(tasks)}, got {task!r}.")
    if len(X) != len(y):
        raise ValueError(f"X and y must have as many samples, got {len(X)} and {len(y)}.")
    boxes = holds_boxes(y)
    if task == "auto" and (boxes or y.ndim == 3):
        task = "detection" if boxes else "segmentation"
    if boxes != (task == "detection"):
        kind = "boxes" if boxes else "no dicts of boxes"
        raise ValueError(f"task={task!r} does not suit y, which holds {kind}.")
    if y.ndim != (3 if task == "segmentation" else 1):
        raise ValueError(
            "y must hold a label or a number per sample, of shape (n_samples,), or masks of shape "
            f"(n_samples, height, width), got shape {y.shape} for task {task!r}."
        )
    if task in ("segmentation", "detection") and X.ndim not in (3, 4):
        what = "Boxes" if boxes else "Masks"
        raise ValueError(f"{what} need images of 3 or 4 axes, got X of shape {X.shape}.")
    return choose_task(y)[0] if task == "auto" else task


def _check_models(models, makers, X, task) -> list[str]:
    slow = {"hgb"} if X.ndim > 2 else set()
    if models is None:
        return [name for name in makers if name != "dummy" and name not in slow]
    chosen = list(dict.fromkeys(models))
    for name in chosen:
        if name not in MODELS:
            raise ValueError(f"Unknown model {name!r}: choose from {', '.join(MODELS)}.")
        if name not in makers:
            what = "a table" if X.ndim == 2 else "images"
            suited = ", ".join(n for n in makers if n != "dummy")
            raise ValueError(f"{name} does not suit {task} of {what}: choose from {suited}.")
    return [name for name in chosen if name != "dummy"]


def _makers(X, y, task, ignore_index, random_state) -> dict[str, Callable]:
    """For each short name, what makes its name in tables and its estimator."""
    if task == "segmentation":
        return _segmenters(ignore_index, random_state)
    if task == "detection":
        return _detectors(random_state)
    plain = _regressors(y, random_state) if task == "regression" else _classifiers(y, random_state)
    if X.ndim > 2:
        plain = {name: _with_flat_pixels(make) for name, make in plain.items()}
        if task == "classification":
            plain |= {
                "cnn": lambda: CNNClassifier(random_state=random_state),
                "vit": lambda: ViTClassifier(random_state=random_state),
            }
    elif hasattr(X, "iloc"):
        plain = {name: _with_encoded_columns(make) for name, make in plain.items()}
    else:
        incomplete = X.dtype.kind == "f" and bool(np.isnan(X).any())
        plain = {name: _with_scaled_columns(make, incomplete) for name, make in plain.items()}
    return {name: _titled(MODELS[name], plain[name]) for name in MODELS if name in plain}


def _titled(title, make):
    return lambda: (title, make())


def _classifiers(y, random_state) -> dict[str, Callable]:
    rarest = np.unique(y, return_counts=True)[1].min()
    early = {"early_stopping": True} if len(y) >= ENOUGH_TO_HOLD_OUT and rarest >= 10 else {}
    return {
        "dummy": DummyClassifier,
        "knn": KNeighborsClassifier,
        "svm": lambda: LinearSVC(random_state=random_state),
        "mlp": lambda: MLPClassifier(**early, random_state=random_state),
        "hgb": lambda: HistGradientBoostingClassifier(random_state=random_state),
    }


def _regressors(y, random_state) -> dict[str, Callable]:
    def scaled(regressor):
        # prices and fractions alike: a step of the solver means the same for both
        return TransformedTargetRegressor(regressor, transformer=StandardScaler())

    early = {"early_stopping": True} if len(y) >= ENOUGH_TO_HOLD_OUT else {}
    return {
        "dummy": DummyRegressor,
        "knn": KNeighborsRegressor,
        "svm": lambda: scaled(LinearSVR(random_state=random_state)),
        "mlp": lambda: scaled(MLPRegressor(**early, random_state=random_state)),
        "hgb": lambda: HistGradientBoostingRegressor(random_state=random_state),
    }


def _segmenters(ignore_index, random_state) -> dict[str, Callable]:
    pixels = {
        "max_pixels": MAX_PIXELS, "ignore_index": ignore_index, "random_state": random_state,
    }  # fmt: skip

    def of_patches(name, classifier):
        return lambda: (MODELS[name], PixelClassifier(classifier, **pixels))

    svm = make_pipeline(MinMaxScaler(), LinearSVC(random_state=random_state))
    net = SegmentationNet(ignore_index=ignore_index, random_state=random_state)
    return {
        "dummy": of_patches("dummy", DummyClassifier()),
        "knn": of_patches("knn", KNeighborsClassifier()),
        "svm": of_patches("svm", svm),
        "cnn": lambda: ("SegmentationNet", net),
        "hgb": of_patches("hgb", HistGradientBoostingClassifier(random_state=random_state)),
    }


def _detectors(random_state) -> dict[str, Callable]:
    def of_pixels(name, classifier):
        detector = PixelDetector(classifier, max_pixels=MAX_PIXELS, random_state=random_state)
        return lambda: (MODELS[name], detector)

    svm = make_pipeline(MinMaxScaler(), LinearSVC(random_state=random_state))
    return {
        "dummy": of_pixels("dummy", DummyClassifier()),
        "knn": of_pixels("knn", KNeighborsClassifier()),
        "svm": of_pixels("svm", svm),
        "cnn": lambda: ("DetectionNet", DetectionNet(random_state=random_state)),
        "hgb": of_pixels("hgb", HistGradientBoostingClassifier(random_state=random_state)),
    }


def _is_dummy(estimator) -> bool:
    return isinstance(estimator, DummyClassifier | DummyRegressor)


def _with_encoded_columns(make):
    skrub = require("skrub", "default_models of a DataFrame", extra="data")

    def pipeline():
        estimator = make()
        if _is_dummy(estimator):
            return estimator
        if "categorical_features" in estimator.get_params():
            estimator.set_params(categorical_features="from_dtype")
        return skrub.tabular_pipeline(estimator)

    return pipeline


def _with_scaled_columns(make, incomplete):
    def pipeline():
        estimator = make()
        if _is_dummy(estimator) or "categorical_features" in estimator.get_params():
            return estimator  # trees need no scale, and take missing values
        imputer = [SimpleImputer(add_indicator=True)] if incomplete else []
        return make_pipeline(*imputer, StandardScaler(), estimator)

    return pipeline


def _with_flat_pixels(make):
    def pipeline():
        estimator = make()
        if _is_dummy(estimator):
            return estimator
        return make_pipeline(FlattenImages(), MinMaxScaler(), estimator)

    return pipeline
