"""scikit-learn's nearest-neighbour classifier, searching in torch where that is faster."""

from __future__ import annotations

from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn import neighbors as _reference
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score

from .._utils.array_api import convert_like, from_array_api, is_tensor, to_numpy, to_tensor
from .._utils.device import resolve_device
from .._utils.sklearn_compat import check_is_fitted, fit_context, get_weights
from .._utils.validation import validate_rows
from ._exact_search import nearest

EUCLIDEAN = {"euclidean", "l2", "sqeuclidean"}

# On the CPU scikit-learn's one compiled loop does better outside these than torch's many calls.
LEAST_QUERIES = 128
LEAST_DISTANCES = 2**23
MOST_NEIGHBORS = 32


class KNeighborsClassifier(_reference.KNeighborsClassifier):
    """Vote among the k nearest neighbours.

    scikit-learn's `KNeighborsClassifier` with one parameter more. Exact Euclidean brute-force
    search runs in torch on an accelerator, and on the CPU where it is faster than scikit-learn's;
    everything else is scikit-learn's own code. Neighbours agree up to ties and distances to
    rounding.

    Torch tensors are taken wherever arrays are, and answered by tensors on the same device (string
    labels by numpy arrays, and ``X=None`` by numpy arrays).

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbours that vote.
    weights : {'uniform', 'distance'}, callable or None, default='uniform'
        Weight of each vote: equal, the inverse of the distance, or what a function makes of the
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
    classes_ : ndarray of shape (n_classes,), or list of them
        Class labels.
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
    outputs_2d_ : bool
        Whether `y` had several columns.

    Examples
    --------
    >>> from sklearn_nets.neighbors import KNeighborsClassifier
    >>> X = [[0], [1], [2], [3]]
    >>> y = [0, 0, 1, 1]
    >>> neighbours = KNeighborsClassifier(n_neighbors=3).fit(X, y)
    >>> neighbours.predict([[1.1]])
    array([0])
    >>> neighbours.predict(torch.tensor([[2.9]]))
    tensor([1])
    """

    _parameter_constraints: ClassVar[dict] = {
        **_reference.KNeighborsClassifier._parameter_constraints,
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
    def fit(self, X, y) -> KNeighborsClassifier:
        """Keep the training data, on the device, or in a tree.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, n_features)
            Training data; distances of shape (n_samples, n_samples) if metric='precomputed'.
        y : array-like or tensor of shape (n_samples,) or (n_samples, n_outputs)
            Labels.

        Returns
        -------
        self : KNeighborsClassifier

        Raises
        ------
        ValueError
            If the device is not known or not present, or as scikit-learn raises it.
        """
        X = from_array_api(X)
        device = resolve_device(self.device, X)
        on_host = _is_host(device) or not self._suits_accelerator(X)
        self.device_ = "cpu" if on_host else str(device)
        if on_host:
            return self._fit(to_numpy(X), to_numpy(y))
        X, y = validate_rows(self, X, y, reset=True)
        of_X = {name: vars(self)[name] for name in _OF_X if name in vars(self)}
        # All but the data is scikit-learn's business; of 16 features it would build no tree.
        self._fit(np.zeros((len(X), 16), dtype=np.float32), y)
        vars(self).update(of_X, _fit_X=to_tensor(X, device), _fit_method="brute", _tree=None)
        return self

    def _suits_accelerator(self, X):
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
        """Find the nearest neighbours of points.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), default=None
            Query points. If None, the fitted points, none of which is its own neighbour.
        n_neighbors : int, default=None
            How many; None takes the parameter of the class.
        return_distance : bool, default=True
            Whether to return the distances.

        Returns
        -------
        neigh_dist : ndarray or tensor of shape (n_queries, n_neighbors), float64
            Distances, rising; only if `return_distance`.
        neigh_ind : ndarray or tensor of shape (n_queries, n_neighbors), int64
            Indices of the neighbours in the fitted data.
        """
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if self._searches_in_torch(X, k):
            found = self._search(X, k)
            found = found if return_distance else found[1]
        else:  # its search, or its words about a wrong n_neighbors
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
            and n_queries >= LEAST_QUERIES
            and n_queries * self.n_samples_fit_ >= LEAST_DISTANCES
            and k <= MOST_NEIGHBORS
        )

    @torch.no_grad()
    def _search(self, X, k):
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
        """Compute the graph of neighbours as a scipy sparse array; see scikit-learn's.

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

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), or None
            Samples; None as in `kneighbors`.

        Returns
        -------
        y : ndarray or tensor of shape (n_queries,) or (n_queries, n_outputs)
            Labels; of classes with equal votes the first.
        """
        if not self._searches_in_torch(X, self.n_neighbors):
            return convert_like(super().predict(to_numpy(X)), like=X)
        votes, classes = self._votes(X)
        labels = [c.take(v.argmax(1)) for v, c in zip(votes, classes)]
        return convert_like(np.stack(labels, 1) if self.outputs_2d_ else labels[0], like=X)

    def predict_proba(self, X):
        """Predict each class's share of the votes.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), or None
            Samples; None as in `kneighbors`.

        Returns
        -------
        p : ndarray or tensor of shape (n_queries, n_classes), float64, or list of them
            Columns in the order of `classes_`; for several outputs one array each.
        """
        if not self._searches_in_torch(X, self.n_neighbors):
            shares = super().predict_proba(to_numpy(X))
            if self.outputs_2d_:
                return [convert_like(share, like=X) for share in shares]
            return convert_like(shares, like=X)
        votes, _ = self._votes(X)
        shares = [convert_like(v / v.sum(1, keepdims=True), like=X) for v in votes]
        return shares if self.outputs_2d_ else shares[0]

    def _votes(self, X):
        """Votes (n_queries, n_classes) and classes of each output; few numbers, so on the host."""
        if self.weights in (None, "uniform"):
            indices, weights = to_numpy(self.kneighbors(X, return_distance=False)), None
        else:
            distances, indices = map(to_numpy, self.kneighbors(X))
            weights = get_weights(distances, self.weights)
        if weights is None:
            weights = np.ones(indices.shape)
        elif np.all(weights == 0, axis=1).any():
            raise ValueError(
                "All neighbors of some sample is getting zero weights. Please modify 'weights' to "
                "avoid this case if you are using a user-defined function."
            )
        weights = torch.from_numpy(np.asarray(weights, dtype=np.float64))
        classes = self.classes_ if self.outputs_2d_ else [self.classes_]
        votes = []
        for labels, c in zip(self._y.reshape(len(self._y), -1).T, classes):
            of_neighbors = torch.from_numpy(labels[indices])
            empty = torch.zeros(len(indices), len(c), dtype=torch.float64)
            votes.append(empty.scatter_add_(1, of_neighbors, weights).numpy())
        return votes, classes

    def score(self, X, y, sample_weight=None) -> float:
        """Return the accuracy of `predict`.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), or None
            Samples; None scores the fitted data, leaving out one at a time.
        y : array-like or tensor of shape (n_queries,) or (n_queries, n_outputs)
            True labels.
        sample_weight : array-like or tensor of shape (n_queries,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
        """
        predicted = to_numpy(self.predict(X))
        return accuracy_score(to_numpy(y), predicted, sample_weight=to_numpy(sample_weight))


_OF_X = ("n_features_in_", "feature_names_in_")


def _is_host(device):
    return device.type in ("cpu", "mps")  # mps knows no float64
