"""What labels mean: one of several classes, one of two, or several of many."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix, issparse
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import unique_labels

from .._utils.array_api import convert_like, decode_labels, to_numpy
from ..modules.classification_losses import BinaryFocal, Focal, Hinge, SquaredHinge
from ..modules.losses import BinaryCrossEntropy, CrossEntropy
from .tasks import Task, flatten_column

CLASS_LOSSES = {
    "log_loss": CrossEntropy,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "focal": Focal,
}  # of one of several classes
OUTPUT_LOSSES = {**CLASS_LOSSES, "log_loss": BinaryCrossEntropy, "focal": BinaryFocal}  # of 0 and 1
LOSSES_WITH_PROBABILITIES = ("log_loss", "focal")


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

    def factors_of_samples(self, class_weight, target, weight):
        """The factor of every sample that `class_weight` asks for."""
        codes = np.ravel(target).astype(int)
        if class_weight == "balanced":
            return balanced_factors(codes, weight, len(self.classes))[codes]
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
        return decode_labels(self.classes, prediction[:, 0], like)

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
        return (z > 0).long()

    def decode(self, prediction, like):
        return csr_matrix(to_numpy(prediction)) if self.sparse else convert_like(prediction, like)

    def factors_of_samples(self, class_weight, target, weight):
        target = target.astype(int)
        if class_weight == "balanced":
            return np.prod([balanced_factors(t, weight, 2)[t] for t in target.T], axis=0)
        return check_class_weight(compute_sample_weight(class_weight, target))


def check_classes_known(y, classes) -> None:
    """Refuse labels, or columns of them, that are not among the classes."""
    if y.ndim == 1 and y.dtype == classes.dtype and np.isin(y, classes).all():
        return  # in a tenth of the time
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


def balanced_factors(codes, weight, n_classes):
    """One factor for each class, after which all weigh the same, as scikit-learn computes them.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, ...)
        Class indices; what is negative has no class.
    weight : ndarray of shape (n_samples,) or None
    n_classes : int
    """
    known = codes >= 0
    if weight is not None:
        weight = np.broadcast_to(weight, codes.T.shape).T[known]
    shares = np.bincount(codes[known].astype(int, copy=False), weight, minlength=n_classes)
    present = shares > 0  # the others have nothing of any weight to be balanced
    return shares.sum() / max(1, present.sum()) / np.where(present, shares, 1)


def factors_of_classes(class_weight, codes, classes, weight):
    """One factor for each class of pixels or boxes.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
    codes, weight : ndarray
        As in `balanced_factors`.
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    ndarray of shape (n_classes,) or None
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, dict):
        classes = classes.tolist()
        unknown = set(class_weight) - set(classes)
        if unknown:
            raise ValueError(
                f"class_weight names {sorted(unknown, key=str)}, which y does not hold; its "
                f"classes are {classes}."
            )
        factors = check_class_weight([float(class_weight.get(c, 1.0)) for c in classes])
        if not factors.any():
            raise ValueError("class_weight leaves no class of any weight.")
        return factors
    return balanced_factors(codes, weight, len(classes))
