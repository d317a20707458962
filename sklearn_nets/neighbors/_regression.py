"""scikit-learn's regression by nearest neighbors, searching in torch where that is faster."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from sklearn import neighbors as _reference
from sklearn.metrics import r2_score

from .._utils.array_api import convert_like, to_numpy
from .._utils.sklearn_compat import fit_context
from ._base import DeviceSearchMixin


class KNeighborsRegressor(DeviceSearchMixin, _reference.KNeighborsRegressor):
    """Average over the k nearest neighbors.

    scikit-learn's `KNeighborsRegressor` with one parameter more. Exact Euclidean brute-force
    search runs in torch on an accelerator, and on the CPU where it is faster than scikit-learn's;
    everything else is scikit-learn's own code. Neighbors agree up to ties and distances to
    rounding.

    Torch tensors are taken wherever arrays are, and answered by tensors on the same device
    (``X=None`` by numpy arrays).

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbors to average over.
    weights : {'uniform', 'distance'}, callable or None, default='uniform'
        Weight of each neighbor: equal, the inverse of the distance, or what a function makes of the
        numpy array of distances, of shape (n_queries, n_neighbors).
    algorithm : {'auto', 'ball_tree', 'kd_tree', 'brute'}, default='auto'
        How to search. 'auto' on an accelerator is 'brute'; on the CPU scikit-learn chooses.
    leaf_size : int, default=30
        Leaf size of the trees.
    p : float, default=2
        Power of the Minkowski metric.
    metric : str or callable, default='minkowski'
        Metric of the distances.
    metric_params : dict, default=None
        Further arguments of the metric.
    n_jobs : int, default=None
        Number of parallel jobs of scikit-learn's search.
    device : str or torch.device, default='auto'
        Where to search: torch's notation, or 'auto': the device of X if X is a tensor, else cuda
        if present, else the CPU. Apple's 'mps' knows no float64, which exactness takes: such data
        is searched on the CPU. So are trees, sparse data and metrics other than the Euclidean:
        tensors are copied to the host for them, and the answer goes back to their device.

    Attributes
    ----------
    device_ : str
        Where the search takes place.
    effective_metric_ : str or callable
        The metric used.
    effective_metric_params_ : dict
        Its arguments.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features, where X had any.
    n_samples_fit_ : int
        Number of samples in the fitted data.

    Notes
    -----
    scikit-learn's brute-force search gets squared distances as differences of large products, and
    loses digits where the points are far from the origin and near each other. The search in torch
    measures the neighbors again, coordinate by coordinate. So there may be other neighbors among
    near ties, and other results of a `weights` that depends on distances.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.neighbors import KNeighborsRegressor
    >>> X = [[0], [1], [2], [3]]
    >>> y = [0.0, 0.0, 1.0, 1.0]
    >>> neighbors = KNeighborsRegressor(n_neighbors=2).fit(X, y)
    >>> neighbors.predict([[1.5]])
    array([0.5])
    >>> neighbors.predict(torch.tensor([[2.9]]))
    tensor([1.], dtype=torch.float64)
    """

    _parameter_constraints: ClassVar[dict] = {
        **_reference.KNeighborsRegressor._parameter_constraints,
        "device": [str, torch.device],
    }

    def __init__(
        self,
        n_neighbors=5,
        *,
        weights="uniform",
        algorithm="auto",
        leaf_size=30,
        p=2,
        metric="minkowski",
        metric_params=None,
        n_jobs=None,
        device="auto",
    ):
        super().__init__(
            n_neighbors=n_neighbors,
            weights=weights,
            algorithm=algorithm,
            leaf_size=leaf_size,
            p=p,
            metric=metric,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )
        self.device = device

    @fit_context(prefer_skip_nested_validation=False)  # as scikit-learn: metric may hold parameters
    def fit(self, X, y) -> KNeighborsRegressor:
        """Keep the training data, on the device, or in a tree.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, n_features)
            Training data; distances of shape (n_samples, n_samples) if metric='precomputed'.
        y : array-like or tensor of shape (n_samples,) or (n_samples, n_outputs)
            Targets.

        Returns
        -------
        self : KNeighborsRegressor

        Raises
        ------
        ValueError
            If the device is not known or not present, or as scikit-learn raises it.
        """
        return self._fit_on_device(X, y)

    def predict(self, X):
        """Predict the target of each sample.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), or None
            Samples; None as in `kneighbors`.

        Returns
        -------
        y : ndarray or tensor of shape (n_queries,) or (n_queries, n_outputs)
            Weighted means of the targets of the neighbors.
        """
        if not self._searches_in_torch(X, self.n_neighbors):
            return convert_like(super().predict(to_numpy(X)), like=X)
        indices, weights = self._neighbors_and_weights(X)
        columns = self._y.reshape(len(self._y), -1).T
        if weights is None:
            means = [column[indices].mean(1) for column in columns]
        else:
            total = weights.sum(1)
            means = [
                np.asarray((column[indices] * weights).sum(1) / total, dtype=np.float64)
                for column in columns
            ]
        return convert_like(means[0] if self._y.ndim == 1 else np.stack(means, 1), like=X)

    def score(self, X, y, sample_weight=None) -> float:
        """Return the coefficient of determination, R², of `predict`.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), or None
            Samples; None scores the fitted data, leaving out one at a time.
        y : array-like or tensor of shape (n_queries,) or (n_queries, n_outputs)
            True targets.
        sample_weight : array-like or tensor of shape (n_queries,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
        """
        predicted = to_numpy(self.predict(X))
        return r2_score(to_numpy(y), predicted, sample_weight=to_numpy(sample_weight))
