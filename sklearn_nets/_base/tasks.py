"""The task axis: how targets are encoded, which loss fits them, how outputs become answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix, issparse
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from .._utils.array_api import hand_back, take_labels, to_numpy
from .._utils.sklearn_compat import StrOptions, check_partial_fit_first_call, fit_context
from ..modules.losses import BinaryCrossEntropy, CrossEntropy, HalfPoissonDeviance, SquaredError
from .estimator import BaseNet


def _flat_if_one_column(y):
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def _score_on_host(metric, y, prediction, sample_weight):
    # labels are few: on the host they need no dispatch, from whatever device they come
    arrays = (None if a is None else to_numpy(a) for a in (y, prediction, sample_weight))
    y, prediction, sample_weight = arrays
    return metric(y, prediction, sample_weight=sample_weight)


@dataclass(eq=False, repr=False, kw_only=True)
class ClassifierNet(ClassifierMixin, BaseNet):
    """Labels of one of two, one of many, or several of many classes."""

    class_weight: Any = None

    _parameter_constraints: ClassVar[dict] = {
        **BaseNet._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    @available_if(lambda est: est._check_solver())
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train one more epoch on the given data.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; `y` need not hold every class.
        classes : array-like of shape (n_classes,), default=None
            All classes of all calls; needed in the first call.

        Returns
        -------
        self : object
            The estimator after one epoch more.
        """
        y, classes = to_numpy(y), to_numpy(classes)
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit, which does not see all "
                "samples. Use compute_class_weight('balanced', classes=classes, y=y) of "
                "sklearn.utils.class_weight, over all y, and pass its result as a dict."
            )
        first = check_partial_fit_first_call(self, classes)
        if first and type_of_target(y).startswith("multilabel"):
            classes = None  # the columns of y already name every class
        self._train(self._prepare(X, y, sample_weight, incremental=True, classes=classes))
        return self

    def _encode_target(self, y, *, reset, classes=None):
        if reset:
            self._sparse_target = issparse(y)
        y = _flat_if_one_column(y.toarray() if issparse(y) else y)
        if reset:
            binarizer = LabelBinarizer().fit(y if classes is None else classes)
            self.classes_ = binarizer.classes_
            multilabel = binarizer.y_type_.startswith("multilabel")
            n_classes = len(self.classes_)
            self.n_outputs_ = n_classes if multilabel or n_classes > 2 else 1
            single = n_classes > 2 and not multilabel
            self.out_activation_ = "softmax" if single else "logistic"
        if not reset or classes is not None:
            self._check_shape(y)
            self._check_known(y)
        if y.ndim == 2:
            return y.astype(bool)
        codes = np.searchsorted(self.classes_, y)
        return codes if self.out_activation_ == "softmax" else (codes == 1)[:, None]

    def _check_shape(self, y):
        multilabel = self.out_activation_ == "logistic" and self.n_outputs_ > 1
        if multilabel != (y.ndim == 2) or (multilabel and y.shape[1] != self.n_outputs_):
            kind = f"{self.n_outputs_} labels a sample" if multilabel else "one class a sample"
            expected = f"(n_samples, {self.n_outputs_})" if multilabel else "(n_samples,)"
            raise ValueError(
                f"The object was fitted with {kind}: y must have the shape {expected}, got "
                f"{y.shape}."
            )

    def _check_known(self, y):
        labels = unique_labels(y)
        if len(np.setdiff1d(labels, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {labels}."
            )

    def _check_warm_start(self, y):
        labels = unique_labels(y)
        if set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {labels}"
            )

    def _make_loss(self):
        return CrossEntropy() if self.out_activation_ == "softmax" else BinaryCrossEntropy()

    def _weigh(self, target, weight):
        if self.class_weight is None:
            return weight
        if target.ndim == 2 and target.shape[1] > 1:
            by_class = compute_sample_weight(self.class_weight, target.astype(int))
        elif self.class_weight == "balanced":
            codes = np.ravel(target).astype(int)
            shares = np.bincount(codes, weight, minlength=len(self.classes_))
            present = shares > 0  # the others have no sample of any weight to be balanced
            by_class = (shares.sum() / present.sum() / np.where(present, shares, 1))[codes]
        else:
            codes = np.ravel(target).astype(int)
            by_class = compute_class_weight(
                self.class_weight, classes=self.classes_, y=self.classes_[codes]
            )[codes]
        return by_class if weight is None else weight * by_class

    def _stratify(self, target):
        # scikit-learn stratifies two classes, and neither more of them nor multilabel targets
        return target if self.n_outputs_ == 1 else None

    def _decode(self, z):
        return z.argmax(1) if self.out_activation_ == "softmax" else z > 0

    def _validation_score(self, target, prediction, weight):
        return accuracy_score(target, prediction, sample_weight=weight)

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        y : ndarray or torch.Tensor of shape (n_samples,) or (n_samples, n_classes)
            Labels, or 0 and 1 per class for multilabel targets.
        """
        prediction = self._predict_with(X, self._decode, "predict").to(torch.int64)
        if prediction.ndim == 2 and self.n_outputs_ > 1:  # multilabel: 0 and 1 as they are
            if self._sparse_target:
                return csr_matrix(to_numpy(prediction))
            return hand_back(prediction, like=X)
        codes = prediction.reshape(-1).clamp(max=len(self.classes_) - 1)  # of one class, the first
        return take_labels(self.classes_, codes, like=X)

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        y_prob : ndarray or torch.Tensor of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        return hand_back(self._probabilities(X, "predict_proba"), like=X)

    def _probabilities(self, X, method):
        p = self._predict_with(X, lambda z: self.net_.criterion_.activation(z), method)
        p = p.to(self._output_dtype(X))
        return torch.cat([1 - p, p], dim=1) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X):
        """Predict the logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        log_y_prob : ndarray or torch.Tensor of shape (n_samples, n_classes)
        """
        return hand_back(self._probabilities(X, "predict_log_proba").log(), like=X)

    def score(self, X, y, sample_weight=None):
        """Accuracy of the predicted labels.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.
        y : array-like or torch.Tensor of shape (n_samples,) or (n_samples, n_classes)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
        """
        return _score_on_host(accuracy_score, y, self.predict(X), sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@dataclass(eq=False, repr=False, kw_only=True)
class RegressorNet(RegressorMixin, BaseNet):
    """One or several real targets."""

    loss: str = field(default="squared_error", kw_only=False)
    _y_numeric: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict] = {
        **BaseNet._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def _encode_target(self, y, *, reset, classes=None):
        y = _flat_if_one_column(y)
        y = y[:, None] if y.ndim == 1 else y
        if reset:
            self.n_outputs_ = y.shape[1]
            self.out_activation_ = self._make_loss().out_activation
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {y.shape[1]} output(s), but {type(self).__name__} was fitted with "
                f"{self.n_outputs_}."
            )
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("loss='poisson' needs y >= 0, got negative values.")
        return y

    def _make_loss(self):
        return HalfPoissonDeviance() if self.loss == "poisson" else SquaredError()

    def _decode(self, z):
        return self.net_.criterion_.activation(z)

    def _validation_score(self, target, prediction, weight):
        if not np.isfinite(prediction).all():
            return np.nan
        return r2_score(target, prediction, sample_weight=weight)

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        y : ndarray or torch.Tensor of shape (n_samples,) or (n_samples, n_outputs)
        """
        y = self._predict_with(X, self._decode, "predict").to(self._output_dtype(X))
        return hand_back(y[:, 0] if y.shape[1] == 1 else y, like=X)

    def score(self, X, y, sample_weight=None):
        """Coefficient of determination R² of the prediction.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.
        y : array-like or torch.Tensor of shape (n_samples,) or (n_samples, n_outputs)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
        """
        return _score_on_host(r2_score, y, self.predict(X), sample_weight)
