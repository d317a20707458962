"""What these estimators share: fit and search on a device, or by scikit-learn's code."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from joblib import effective_n_jobs
from scipy.sparse import issparse
from sklearn import neighbors as _reference
from sklearn.base import BaseEstimator

from .._utils.array_api import convert_like, from_array_api, is_tensor, to_numpy, to_tensor
from .._utils.device import resolve_device
from .._utils.sklearn_compat import check_is_fitted, get_weights
from .._utils.validation import check_no_images, validate_rows
from ._exact_search import nearest

EUCLIDEAN = {"euclidean", "l2", "sqeuclidean"}

# On the CPU scikit-learn's one compiled loop is faster outside these bounds.
MIN_QUERIES = 128
MIN_DISTANCES = 2**23
MAX_NEIGHBORS = 32


class DeviceSearchMixin:
    """Exact Euclidean search in torch; comes before scikit-learn's estimator among the bases."""

    def _fit_on_device(self, X, *y):
        """Keep the data on the device, or let scikit-learn fit; `y` is one argument or none."""
        X = from_array_api(X)
        check_no_images(self, X)
        device = resolve_device(self.device, X)
        on_host = _computes_on_host(device) or not self._supported_on_accelerator(X)
        self.device_ = "cpu" if on_host else str(device)
        if on_host:
            return self._fit(to_numpy(X), *map(to_numpy, y))
        validated = validate_rows(self, X, *y, reset=True)
        X, *y = validated if y else (validated,)
        feature_attributes = {k: v for k, v in vars(self).items() if k in _FEATURE_ATTRIBUTES}
        # All but the data is scikit-learn's business; of 16 features it would build no tree.
        self._fit(np.zeros((len(X), 16), dtype=np.float32), *y)
        vars(self).update(
            feature_attributes, _fit_X=to_tensor(X, device), _fit_method="brute", _tree=None
        )
        return self

    def _supported_on_accelerator(self, X):
        metric = "euclidean" if self.metric == "minkowski" and self.p == 2 else self.metric
        return (
            isinstance(metric, str)
            and metric in EUCLIDEAN
            and not self.metric_params
            and self.algorithm in ("auto", "brute")
            and not issparse(X)
            and not isinstance(X, BaseEstimator | _reference.KDTree | _reference.BallTree)
        )

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Find the nearest neighbors of points.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), default=None
            Query points. If None, the fitted points, none of which is its own neighbor.
        n_neighbors : int, default=None
            How many; None takes the parameter of the class.
        return_distance : bool, default=True
            Whether to return the distances.

        Returns
        -------
        neigh_dist : ndarray or tensor of shape (n_queries, n_neighbors), float64
            Distances, rising; only if `return_distance`.
        neigh_ind : ndarray or tensor of shape (n_queries, n_neighbors), int64
            Indices of the neighbors in the fitted data.
        """
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if self._searches_in_torch(X, k):
            found = self._search(X, k)
            found = found if return_distance else found[1]
        else:  # scikit-learn's search, or its error for a wrong n_neighbors
            found = super().kneighbors(to_numpy(X), n_neighbors, return_distance)
        if return_distance:
            return tuple(convert_like(part, like=X) for part in found)
        return convert_like(found, like=X)

    def _searches_in_torch(self, X, k):
        check_is_fitted(self)
        if not isinstance(k, Integral) or not 0 < k <= self.n_samples_fit_ - (X is None):
            return False
        if is_tensor(self._fit_X):
            return True
        shape = (self.n_samples_fit_,) if X is None else getattr(X, "shape", None)
        n_queries = shape[0] if shape else 0  # lists, which have none, are short
        return (
            self._fit_method == "brute"
            and self.effective_metric_ in EUCLIDEAN
            and not self.effective_metric_params_
            and isinstance(self._fit_X, np.ndarray)
            and self._fit_X.dtype.kind in "iuf"
            and self._fit_X.dtype.itemsize <= 8
            and not issparse(X)
            and n_queries >= MIN_QUERIES
            and n_queries * self.n_samples_fit_ >= MIN_DISTANCES
            and k <= MAX_NEIGHBORS
        )

    @torch.no_grad()
    def _search(self, X, k):
        effective_n_jobs(self.n_jobs)  # raises for 0, as in scikit-learn
        device = self._fit_X.device if is_tensor(self._fit_X) else torch.device("cpu")
        points = to_tensor(self._fit_X, device)
        if X is not None:
            queries = to_tensor(validate_rows(self, from_array_api(X), reset=False), device)
            distances, indices = nearest(points, queries, k)
        else:
            distances, indices = nearest(points, points, k + 1)
            # as scikit-learn: where duplicates crowd a point out of its own list, the first goes
            others = indices != torch.arange(len(points), device=device)[:, None]
            others[:, 0] &= ~others.all(1)
            distances, indices = distances[others].view(-1, k), indices[others].view(-1, k)
        return distances if self.effective_metric_ == "sqeuclidean" else distances.sqrt(), indices

    def kneighbors_graph(self, X=None, n_neighbors=None, mode="connectivity"):
        """Compute the graph of neighbors as a scipy sparse array; see scikit-learn's.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), default=None
            Query points; None as in `kneighbors`.
        n_neighbors : int, default=None
            How many; None takes the parameter of the class.
        mode : {'connectivity', 'distance'}, default='connectivity'
            Ones, or distances.

        Returns
        -------
        graph : sparse array of shape (n_queries, n_samples_fit)
        """
        return super().kneighbors_graph(to_numpy(X), n_neighbors, mode)

    def _neighbors_and_weights(self, X):
        """Indices of neighbors and their weights, None for equal ones; few numbers: on the host."""
        if self.weights in (None, "uniform"):
            return to_numpy(self.kneighbors(X, return_distance=False)), None
        distances, indices = map(to_numpy, self.kneighbors(X))
        weights = get_weights(distances, self.weights)
        if weights is None:  # of a function: uniform, as scikit-learn reads it
            return indices, None
        weights = np.asarray(weights)
        if weights.shape != distances.shape:
            raise ValueError(
                f"weights={self.weights!r} must give one weight for each distance, of the shape "
                f"{distances.shape}, but its answer has the shape {weights.shape}."
            )
        return indices, weights


_FEATURE_ATTRIBUTES = ("n_features_in_", "feature_names_in_")


def _computes_on_host(device):
    return device.type in ("cpu", "mps")  # mps knows no float64
