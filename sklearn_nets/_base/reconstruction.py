"""The task of giving the input back, and how many numbers it takes to keep most of it."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import r2_score

from .._utils.array_api import to_numpy
from ..modules.autoencoder import ReconstructionLoss
from .images import rows_at_once
from .tasks import Task

PCA_SAMPLES = 2000  # at most, from which the number of components is found


class Reconstruction(Task):
    """The target is the input.

    Parameters
    ----------
    n_outputs : int
        Values of one sample.
    loss : str
        As in `ReconstructionLoss`.

    Attributes
    ----------
    scale : float
        What the loss divides differences by; known once the training data is weighted.
    """

    def __init__(self, n_outputs: int, loss: str):
        self.n_outputs, self.loss = n_outputs, loss
        self.scale = 1.0

    def encode(self, y):
        return y

    def make_loss(self):
        return ReconstructionLoss(self.loss, self.scale)

    def predict(self, z):
        return z

    def decode(self, prediction, like):
        raise NotImplementedError("An auto-encoder answers by its methods.")

    def score(self, y, prediction, sample_weight=None):
        y, prediction = (np.reshape(to_numpy(a), (len(a), -1)) for a in (y, prediction))
        if not np.isfinite(prediction).all():
            return np.nan
        return r2_score(y, prediction, sample_weight=sample_weight, multioutput="variance_weighted")


def reconstruction_statistics(X, weight):
    """Weighted mean of every value of a sample, and one standard deviation of them all.

    Parameters
    ----------
    X : tensor of shape (n, ...)
    weight : tensor of shape (n,) or None

    Returns
    -------
    mean : tensor of shape X.shape[1:]
    scale : tensor of shape ()
    """
    dtype = torch.float32 if X.device.type == "mps" else torch.float64
    weight = torch.ones(len(X), dtype=dtype, device=X.device) if weight is None else weight
    share = (weight / weight.sum()).to(dtype)
    mean, square, few = 0.0, 0.0, rows_at_once(X)
    for rows, w in zip(X.split(few), share.split(few), strict=True):
        mean = mean + torch.tensordot(w, rows.to(dtype), 1)
    for rows, w in zip(X.split(few), share.split(few), strict=True):
        square = square + w @ (rows.to(dtype) - mean).square().flatten(1).mean(1)
    return mean, square.sqrt()


def count_components(X, weight, mean, share: float) -> int:
    """How many principal components keep this share of the variance.

    Found from up to 2000 samples, evenly spaced in X.
    """
    some = slice(None, None, -(-len(X) // PCA_SAMPLES))
    rows = X[some].to(mean.dtype).sub(mean).flatten(1)
    if weight is not None:
        rows = rows * weight[some].to(mean.dtype).sqrt()[:, None]
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    variances = np.linalg.eigvalsh(to_numpy(gram))[::-1].clip(min=0)
    if not variances[0]:
        return 1
    kept = np.cumsum(variances) / variances.sum()
    return int(np.searchsorted(kept, share - 1e-9)) + 1
