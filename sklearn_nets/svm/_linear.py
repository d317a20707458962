"""scikit-learn's linear support vector machine, solved for all classes at once on CPU or GPU."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn import svm
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from .._utils.array_api import (
    convert_like,
    decode_labels,
    from_array_api,
    is_array_api,
    is_tensor,
    to_numpy,
    to_tensor,
)
from .._utils.device import resolve_device
from .._utils.sklearn_compat import check_is_fitted, check_sample_weight, fit_context, validate_data
from .._utils.validation import check_no_images, validate_rows
from ._newton import has_too_wide_range, squared_hinge

__all__ = ["LinearSVC"]

# Multiplications of a class's Hessian below which a step takes longer on a GPU than on the CPU: on
# an H200 60 x 5 took 16 ms instead of 2, 1,797 x 64 (10 classes) 90 instead of 21, 5,000 x 100 23
# instead of 27, and 20,000 x 200 35 instead of 137 on 16 cores.
SMALL = 2**25


def _is_small(X):
    n, d = (*getattr(X, "shape", ()), 1, 1)[:2]  # a list is no large array
    return n * d * min(n, d) < SMALL


class LinearSVC(svm.LinearSVC):
    """Linear support vector classification.

    scikit-learn's class with a Newton method in the place of liblinear, and a `device`. For dense
    `X`, penalty='l2', loss='squared_hinge' and multi_class='ovr' (the defaults) it minimizes what
    liblinear minimizes, ½ ||w||² + C Σ s_i max(0, 1 - y_i w·x_i)² for each class against the
    rest, with the intercept as the penalized weight of a feature `intercept_scaling`. It does so
    to higher accuracy, with the same answer, bitwise, every time on the CPU. Everything else is
    left to scikit-learn's own code.

    Parameters
    ----------
    penalty : {'l1', 'l2'}, default='l2'
        Norm of the penalty; 'l1' is scikit-learn's code.
    loss : {'hinge', 'squared_hinge'}, default='squared_hinge'
        Loss of a sample; 'hinge' is scikit-learn's code.
    dual : bool or 'auto', default='auto'
        Which problem liblinear solves, where it is used. Both have the same minimum.
    tol : float, default=1e-4
        A class is solved when its duality gap is at most tol² times its objective.
    C : float, default=1.0
        Weight of the losses against the penalty.
    multi_class : {'ovr', 'crammer_singer'}, default='ovr'
        One problem a class, or one for all; 'crammer_singer' is scikit-learn's code.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    intercept_scaling : float, default=1.0
        Value of the feature that stands for the intercept: the larger, the less is it penalized.
    class_weight : dict, 'balanced' or None, default=None
        Factor of C for each class. As in liblinear, a problem of one class against more than one
        other weighs that class alone.
    verbose : int, default=0
        Whether to print the number of steps.
    random_state : int, RandomState instance or None, default=None
        Seeds liblinear, where it is used.
    max_iter : int, default=1000
        Maximum number of Newton steps of a class.
    device : str or torch.device, default='auto'
        Where to compute; 'auto' is the device of a tensor `X`, else the CPU for small data, which
        an accelerator takes longer for, and cuda or cpu for other. MPS, which has no float64,
        leaves the work to the CPU.

    Attributes
    ----------
    coef_ : ndarray or tensor of shape (1, n_features) or (n_classes, n_features)
        Weights, in float64; one row if there are two classes. A tensor on the device of `X` if
        `X` was one.
    intercept_ : ndarray or tensor of shape (1,) or (n_classes,)
        Intercepts; 0.0 if `fit_intercept` is False.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if they are strings.
    n_iter_ : int
        Maximum over the classes of the number of Newton steps.
    device_ : str
        Where the problems were solved.
    fallback_ : str or None
        Why scikit-learn's code was used, as ``"loss='hinge'"``.

    References
    ----------
    S. S. Keerthi and D. DeCoste, "A modified finite Newton method for fast solution of large scale
    linear SVMs", JMLR 6 (2005) 341-361.

    R.-E. Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 9 (2008)
    1871-1874.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_nets.svm import LinearSVC
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LinearSVC(device="cpu").fit(X, y)
    >>> model.predict(X[[0, 50, 100]])
    array([0, 1, 2])
    >>> model.n_iter_ < 20, model.device_
    (True, 'cpu')
    """

    _parameter_constraints = {  # noqa: RUF012
        **svm.LinearSVC._parameter_constraints,
        "device": [str, torch.device],
    }

    def __init__(
        self,
        penalty="l2",
        loss="squared_hinge",
        *,
        dual="auto",
        tol=1e-4,
        C=1.0,
        multi_class="ovr",
        fit_intercept=True,
        intercept_scaling=1,
        class_weight=None,
        verbose=0,
        random_state=None,
        max_iter=1000,
        device="auto",
    ):
        super().__init__(
            penalty, loss, dual=dual, tol=tol, C=C, multi_class=multi_class,
            fit_intercept=fit_intercept, intercept_scaling=intercept_scaling,
            class_weight=class_weight, verbose=verbose, random_state=random_state,
            max_iter=max_iter,
        )  # fmt: skip
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None) -> LinearSVC:
        """Fit one hyperplane a class, or one for two classes.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, n_features)
        y : array-like or tensor of shape (n_samples,)
            Labels: numbers or strings.
        sample_weight : array-like or tensor of shape (n_samples,), default=None
            Factor of C for each sample: 2 is the same as having the sample twice, 0 as not at all.

        Returns
        -------
        self : LinearSVC

        Raises
        ------
        ValueError
            If there is but one class; if `X` is a tensor on an accelerator and the parameters
            are for scikit-learn's code.
        """
        X = from_array_api(X)
        check_no_images(self, X)
        device = self._choose_device(X)
        weight = sample_weight
        if weight is not None:
            weight = check_sample_weight(to_numpy(weight), X, dtype=np.float64)
        self.fallback_ = self._fallback_reason(X, weight)
        self.device_ = "cpu" if self.fallback_ else str(device)
        if self.fallback_:
            return self._fit_by_scikit_learn(X, y, weight)

        features, y = self._validate(X, y, device)
        if weight is not None and len(np.unique(y[weight > 0])) < len(np.unique(y)):
            self.fallback_ = "a class of zero weight"  # which liblinear leaves out of coef_
            self.device_ = "cpu"
            return self._fit_by_scikit_learn(X, y, weight)
        Y, c = self._problems(y, np.ones(len(y)) if weight is None else weight)
        if has_too_wide_range(features, c):
            self.fallback_ = "X, or weights, of too wide a range for Newton's method"
            self.device_ = "cpu"
            return self._fit_by_scikit_learn(X, y, weight)
        if device.type != "cpu":
            Y, c = to_tensor(Y, device), to_tensor(c, device)
        W, n_iter = squared_hinge(features, Y, c, tol=self.tol, max_iter=self.max_iter)
        W = to_numpy(W)
        if not np.isfinite(W).all():
            raise ValueError(
                "The weights are not finite: X holds values as large as "
                f"{float(abs(features).max()):.1e}. Scale it, for example by StandardScaler."
            )
        self.n_iter_ = max(n_iter)
        if self.verbose:
            print(f"[LinearSVC] {n_iter} Newton steps on {self.device_}")
        if self.n_iter_ >= self.max_iter:
            warnings.warn(
                "Liblinear failed to converge, increase the number of iterations.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_ = np.ascontiguousarray(W[:, : self.n_features_in_])
        self.intercept_ = self.intercept_scaling * W[:, -1] if self.fit_intercept else 0.0
        return self._convert_fitted(X)

    def _choose_device(self, X):
        device = resolve_device(self.device, X)
        chosen = self.device != "auto" or is_tensor(X)
        if device.type == "mps" or (device.type != "cpu" and not chosen and _is_small(X)):
            return torch.device("cpu")  # MPS has no float64
        return device

    def _fallback_reason(self, X, weight):
        """Say why a fit is for scikit-learn's code; None if it is for Newton's method."""
        if issparse(X) and 3 * X.nnz < 2 * np.prod(X.shape):  # else it would be smaller dense
            return "sparse X"
        if weight is not None and np.min(weight, initial=0) < 0:
            return "negative sample_weight"
        solved = {"multi_class": "ovr", "penalty": "l2", "loss": "squared_hinge"}
        return next(
            (f"{name}={getattr(self, name)!r}" for name in solved
             if getattr(self, name) != solved[name]),
            None,
        )  # fmt: skip

    def _fit_by_scikit_learn(self, X, y, weight):
        if is_tensor(X) and X.device.type != "cpu":
            raise ValueError(
                f"LinearSVC with {self.fallback_} is solved by scikit-learn, on the CPU, but X is "
                f"a tensor on {X.device}. Pass X.cpu(), or keep penalty='l2', "
                "loss='squared_hinge', multi_class='ovr' and weights that are not negative."
            )
        super().fit(to_numpy(X), to_numpy(y), weight)
        return self._convert_fitted(X)

    def _convert_fitted(self, X):
        """Make the weights tensors where `X` is one."""
        if is_tensor(X):
            self.coef_ = to_tensor(self.coef_, X.device)
            if self.fit_intercept:
                self.intercept_ = to_tensor(self.intercept_, X.device)
        return self

    def _validate(self, X, y, device):
        """Check the data; features on `device` in float64, that of the intercept the last."""
        if is_tensor(X) and X.device.type != "cpu":
            X, y = validate_rows(self, X, y, reset=True)
            y = column_or_1d(y, warn=True)
        else:
            dtype = [np.float64, np.float32]
            X, y = validate_data(
                self, to_numpy(X), to_numpy(y), dtype=dtype, accept_sparse="csr",
                accept_large_sparse=False,
            )  # fmt: skip
            X = X.toarray() if issparse(X) else X
        check_classification_targets(y)
        shape = X.shape[0], X.shape[1] + self.fit_intercept
        if device.type == "cpu":
            X, features = to_numpy(X), np.empty(shape)
        else:
            X, features = (
                to_tensor(X, device),
                torch.empty(shape, dtype=torch.float64, device=device),
            )
        features[:, : X.shape[1]] = X
        features[:, X.shape[1] :] = self.intercept_scaling
        return features, y

    def _problems(self, y, weight):
        """Labels -1 and 1 and weights of the loss, both of shape (n_problems, n_samples)."""
        self.classes_, code = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data "
                f"contains only one class: {self.classes_[0]!r}"
            )
        factor = compute_class_weight(
            self.class_weight, classes=self.classes_, y=y, sample_weight=weight
        )
        two = len(self.classes_) == 2
        positive = code == np.arange(1 if two else 0, len(self.classes_))[:, None]
        factor = factor[code] if two else np.where(positive, factor[:, None], 1.0)
        return np.where(positive, 1.0, -1.0), 2 * self.C * weight * np.broadcast_to(
            factor, positive.shape
        )

    def _needs_array_api(self, X):
        """Whether X or the weights are of a kind that scikit-learn's code does not take."""
        check_is_fitted(self)
        return is_tensor(X) or is_array_api(X) or is_tensor(self.coef_)

    def decision_function(self, X):
        """Signed distance to the hyperplanes, times the norm of their weights.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray or tensor of shape (n_samples,) or (n_samples, n_classes)
            Of the kind and on the device of `X`; positive for ``classes_[1]`` of two classes.
        """
        if not self._needs_array_api(X):
            return super().decision_function(X)
        like, X = X, validate_rows(self, from_array_api(X), reset=False)
        if is_tensor(X):
            coef, intercept = (to_tensor(a, X.device) for a in (self.coef_, self.intercept_))
            X = X.to(coef.dtype)
        else:
            coef, intercept = to_numpy(self.coef_), to_numpy(self.intercept_)
        scores = X @ coef.T + intercept
        return convert_like(scores[:, 0] if scores.shape[1] == 1 else scores, like)

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray or tensor of shape (n_samples,)
            A tensor on the device of `X` if `X` is one and the labels are numbers.
        """
        if not self._needs_array_api(X):
            return super().predict(X)
        scores = from_array_api(self.decision_function(X))
        code = scores.argmax(1) if scores.ndim == 2 else (scores > 0) * 1
        return decode_labels(self.classes_, code, like=X)

    def score(self, X, y, sample_weight=None) -> float:
        """Accuracy of the predicted classes.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, n_features)
        y : array-like or tensor of shape (n_samples,)
            True labels.
        sample_weight : array-like or tensor of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        return accuracy_score(
            to_numpy(y), to_numpy(self.predict(X)), sample_weight=to_numpy(sample_weight)
        )
