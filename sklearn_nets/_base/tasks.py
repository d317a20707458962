"""What targets mean: their encoding, the loss that fits them, and how outputs become answers.

A task is learned from y in `fit` and holds no data. `masks.py` has the one for images of labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix, issparse
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import unique_labels

from .._utils.array_api import convert_like, decode_labels, to_numpy
from ..modules.classification_losses import BinaryFocal, Focal, Hinge, SquaredHinge
from ..modules.losses import BinaryCrossEntropy, CrossEntropy, HalfPoissonDeviance, HalfSquaredError
from ..modules.regression_losses import AbsoluteError, HalfGammaDeviance, HuberLoss, PinballLoss

REGRESSION_LOSSES = {
    "squared_error": HalfSquaredError,
    "absolute_error": AbsoluteError,
    "huber": HuberLoss,
    "quantile": PinballLoss,
    "poisson": HalfPoissonDeviance,
    "gamma": HalfGammaDeviance,
}
CLASS_LOSSES = {
    "log_loss": CrossEntropy,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "focal": Focal,
}  # of one of several classes
OUTPUT_LOSSES = {**CLASS_LOSSES, "log_loss": BinaryCrossEntropy, "focal": BinaryFocal}  # of 0 and 1
LOSSES_WITH_PROBABILITIES = ("log_loss", "focal")


class Task(ABC):
    """One kind of targets.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,) or None
        The labels, where targets are labels.
    n_outputs : int
        Outputs of the net.
    target_dtype : torch.dtype or None
        Type of encoded targets on the device; None for that of the weights.
    """

    classes: np.ndarray | None = None
    n_outputs: int
    target_dtype: ClassVar[torch.dtype | None] = None

    def fit(self, y, weight) -> None:
        """Learn what encoding needs to know of the targets of `fit` and their weights."""
        return None

    @abstractmethod
    def encode(self, y) -> np.ndarray:
        """Targets as the loss takes them; a ValueError where they do not fit those of `fit`."""

    @abstractmethod
    def make_loss(self):
        """The loss of encoded targets."""

    @abstractmethod
    def predict(self, z):
        """Encoded predictions of raw outputs, both tensors on the device."""

    @abstractmethod
    def decode(self, prediction, like):
        """Answers in the user's terms, as the kind of array that `like` is."""

    @abstractmethod
    def score(self, y, prediction, sample_weight=None) -> float:
        """Score of answers, the greater the better."""

    def score_encoded(self, target, prediction, sample_weight=None) -> float:
        """The same of encoded targets and predictions."""
        return self.score(target, prediction, sample_weight)

    def check_eval_target(self, target) -> None:
        """Refuse encoded targets that a net cannot be scored on."""
        return None

    def check_same_classes(self, y) -> None:
        """Refuse targets that a net cannot go on with in a warm start."""
        return None

    def stratify(self, target):
        """Encoded targets to stratify the validation split by, or None."""
        return None


class Regression(Task):
    """One or several real targets.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    loss : str
        Of `REGRESSION_LOSSES`.
    name : str
        Of the estimator, for errors.
    **options
        What the loss takes.

    Attributes
    ----------
    standardize : bool
        Whether the net and the loss see targets of mean 0 and variance 1; with a log link, which
        bears no shift, of mean 1.
    """

    standardize = False

    def __init__(self, y, loss: str, name: str, **options):
        self.name = name
        self.loss = REGRESSION_LOSSES[loss](**options)
        self.n_outputs = _as_columns(y).shape[1]

    def encode(self, y):
        y = _as_columns(y)
        if y.shape[1] != self.n_outputs:
            raise ValueError(
                f"y has {y.shape[1]} output(s), but {self.name} was fitted with {self.n_outputs}."
            )
        if isinstance(self.loss, HalfPoissonDeviance) and (y < 0).any():
            raise ValueError("loss='poisson' needs y >= 0, got negative values.")
        if isinstance(self.loss, HalfGammaDeviance) and (y <= 0).any():
            raise ValueError("loss='gamma' needs y > 0, got values of 0 or less.")
        return (y - self.mean) / self.scale if self.standardize else y

    def fit(self, y, weight):
        if self.standardize:
            y = _as_columns(y)
            self.mean = np.average(y, axis=0, weights=weight)
            scale = np.sqrt(np.average((y - self.mean) ** 2, axis=0, weights=weight))
            if self.loss.out_activation == "exp":
                self.mean, scale = np.zeros_like(self.mean), self.mean
            self.scale = np.where(scale > 0, scale, 1.0)

    def make_loss(self):
        return self.loss

    def predict(self, z):
        p = self.loss.activation(z)
        if not self.standardize:
            return p
        return p * torch.as_tensor(self.scale).to(p) + torch.as_tensor(self.mean).to(p)

    def decode(self, prediction, like):
        return convert_like(prediction[:, 0] if self.n_outputs == 1 else prediction, like)

    def score(self, y, prediction, sample_weight=None):
        return r2_score(y, prediction, sample_weight=sample_weight)

    def score_encoded(self, target, prediction, sample_weight=None):
        if not np.isfinite(prediction).all():
            return np.nan
        if self.standardize:
            target = target * self.scale + self.mean
        return self.score(target, prediction, sample_weight)


class Classification(Task):
    """What the three kinds of labels share.

    Attributes
    ----------
    loss : str
        Of `CLASS_LOSSES`.
    label_smoothing : float
        Of the loss.
    """

    loss = "log_loss"
    label_smoothing = 0.0
    _losses: ClassVar[dict] = OUTPUT_LOSSES

    def __init__(self, classes):
        self.classes = classes
        self.n_outputs = len(classes)

    def encode(self, y):
        y = to_dense(flatten_column(y))
        self._check_shape(y)
        check_classes_known(y, self.classes)
        return self._encode(y)

    def _check_shape(self, y):
        if y.ndim != 1:
            raise ValueError(
                "The object was fitted with one class a sample: y must have the shape "
                f"(n_samples,), got {y.shape}."
            )

    def make_loss(self):
        return self._losses[self.loss](self.label_smoothing)

    @abstractmethod
    def _encode(self, y):
        """Labels that were checked, as the loss takes them."""

    def score(self, y, prediction, sample_weight=None):
        return accuracy_score(y, prediction, sample_weight=sample_weight)

    def check_same_classes(self, y):
        labels = unique_labels(y)
        if set(labels) != set(self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes}, `y` has {labels}"
            )

    def probabilities(self, p):
        """One column for each class, of the loss's activation."""
        return p

    def scores(self, z):
        """What `decision_function` answers, of raw outputs."""
        return z

    def weights_of_classes(self, class_weight, target, weight):
        """The factor of every sample that `class_weight` asks for."""
        codes = np.ravel(target).astype(int)
        if class_weight == "balanced":
            shares = np.bincount(codes, weight, minlength=len(self.classes))
            present = shares > 0  # the others have no sample of any weight to be balanced
            return (shares.sum() / present.sum() / np.where(present, shares, 1))[codes]
        factors = compute_class_weight(class_weight, classes=self.classes, y=self.classes[codes])
        return check_class_weight(factors)[codes]


class Multiclass(Classification):
    """One of three or more classes."""

    target_dtype = torch.int64
    _losses = CLASS_LOSSES

    def _encode(self, y):
        return np.searchsorted(self.classes, y)

    def predict(self, z):
        return z.argmax(1)

    def decode(self, prediction, like):
        return decode_labels(self.classes, prediction, like)


class Binary(Classification):
    """One of two classes, or of one class alone, which is always predicted: one output."""

    def __init__(self, classes):
        super().__init__(classes)
        self.n_outputs = 1

    def _encode(self, y):
        return (np.searchsorted(self.classes, y) == 1)[:, None]

    def predict(self, z):
        return z > 0 if len(self.classes) > 1 else torch.zeros_like(z, dtype=torch.bool)

    def decode(self, prediction, like):
        return decode_labels(self.classes, prediction[:, 0].long(), like)

    def probabilities(self, p):
        return torch.cat([1 - p, p], dim=1)

    def scores(self, z):
        return z[:, 0] if len(self.classes) > 1 else torch.full_like(z[:, 0], -1)

    def stratify(self, target):
        # scikit-learn stratifies two classes, and neither more of them nor multilabel targets
        return target


class Multilabel(Classification):
    """Several of many labels, as 0 and 1: an output for each."""

    def __init__(self, classes, sparse: bool):
        super().__init__(classes)
        self.sparse = sparse

    def _check_shape(self, y):
        if y.ndim != 2 or y.shape[1] != self.n_outputs:
            raise ValueError(
                f"The object was fitted with {self.n_outputs} labels a sample: y must have the "
                f"shape (n_samples, {self.n_outputs}), got {y.shape}."
            )

    def _encode(self, y):
        return y.astype(bool)

    def predict(self, z):
        return z > 0

    def decode(self, prediction, like):
        prediction = prediction.long()
        return csr_matrix(to_numpy(prediction)) if self.sparse else convert_like(prediction, like)

    def weights_of_classes(self, class_weight, target, weight):
        return check_class_weight(compute_sample_weight(class_weight, target.astype(int)))


def check_classes_known(y, classes) -> None:
    """Refuse labels, or columns of them, that are not among the classes."""
    labels = unique_labels(y)
    if len(np.setdiff1d(labels, classes)):
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. "
            f"'y' has {labels}."
        )


def classification(y, classes=None) -> Classification:
    """The task of labels: `classes` are all of them, by default those in y."""
    sparse = issparse(y)
    y = to_dense(flatten_column(y))
    binarizer = LabelBinarizer().fit(y if classes is None else classes)
    if binarizer.y_type_.startswith("multilabel"):
        return Multilabel(binarizer.classes_, sparse)
    return (Multiclass if len(binarizer.classes_) > 2 else Binary)(binarizer.classes_)


def check_class_weight(factors) -> np.ndarray:
    """Refuse factors of classes that are negative or not finite."""
    factors = np.asarray(factors, dtype=float)
    if not np.isfinite(factors).all() or (factors < 0).any():
        raise ValueError(
            f"class_weight must hold finite numbers of at least 0, got {np.unique(factors)[:5]}."
        )
    return factors


def to_dense(y):
    return y.toarray() if issparse(y) else y


def flatten_column(y):
    """Targets in one column as one axis, with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def _as_columns(y):
    y = flatten_column(y)
    return y[:, None] if y.ndim == 1 else y
