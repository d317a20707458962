"""What targets mean: their encoding, the loss that fits them, and how outputs become answers.

A task is learned from y in `fit` and holds no data. Here is the one of numbers; those of labels are
in `labels.py`, of labels of pixels in `masks.py`, of boxes in `boxes.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d

from .._utils.array_api import convert_like
from ..modules.losses import HalfPoissonDeviance, HalfSquaredError
from ..modules.regression_losses import AbsoluteError, HalfGammaDeviance, HuberLoss, PinballLoss

REGRESSION_LOSSES = {
    "squared_error": HalfSquaredError,
    "absolute_error": AbsoluteError,
    "huber": HuberLoss,
    "quantile": PinballLoss,
    "poisson": HalfPoissonDeviance,
    "gamma": HalfGammaDeviance,
}


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
        self.n_outputs = self._as_columns(y).shape[1]

    def encode(self, y):
        y = self._as_columns(y)
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
            y = self._as_columns(y)
            self.mean = np.average(y, axis=0, weights=weight)
            scale = np.sqrt(np.average((y - self.mean) ** 2, axis=0, weights=weight))
            if self.loss.out_activation == "exp":
                self.mean, scale = np.zeros_like(self.mean), self.mean
            self.scale = np.where(scale > 0, scale, 1.0)

    def _as_columns(self, y):
        if y.dtype.kind not in "fiub":
            raise ValueError(
                f"{self.name} needs a y of numbers, got one of type {y.dtype}. For labels take "
                f"{self.name.replace('Regressor', 'Classifier')}."
            )
        y = flatten_column(y)
        return y[:, None] if y.ndim == 1 else y

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


def flatten_column(y):
    """Targets in one column as one axis, with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
