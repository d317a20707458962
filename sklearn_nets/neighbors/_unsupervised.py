"""scikit-learn's search for nearest neighbors, in torch where that is faster."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from sklearn import neighbors as _reference

from .._utils.array_api import is_tensor, to_numpy
from .._utils.sklearn_compat import fit_context
from ._base import DeviceSearchMixin


class NearestNeighbors(DeviceSearchMixin, _reference.NearestNeighbors):
    """Find the nearest neighbors of points.

    scikit-learn's `NearestNeighbors` with one parameter more. Exact Euclidean brute-force search
    of the k nearest runs in torch on an accelerator, and on the CPU where it is faster than
    scikit-learn's; everything else, also search within a radius, is scikit-learn's own code.
    Neighbors agree up to ties and distances to rounding.

    Torch tensors are taken wherever arrays are. `kneighbors` answers them by tensors on the same
    device; searches within a radius, of unequal lengths, and graphs are numpy's and scipy's.

    Parameters
    ----------
    n_neighbors : int, default=5
        Number of neighbors to find.
    radius : float, default=1.0
        Radius of `radius_neighbors`.
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
    measures the neighbors again, coordinate by coordinate. So there may be other
    neighbors among near ties.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.neighbors import NearestNeighbors
    >>> search = NearestNeighbors(n_neighbors=2).fit([[0.0], [1.0], [3.0]])
    >>> distances, indices = search.kneighbors(torch.tensor([[2.5]]))
    >>> distances.tolist(), indices.tolist()
    ([[0.5, 1.5]], [[2, 1]])
    """

    _parameter_constraints: ClassVar[dict] = {
        **_reference.NearestNeighbors._parameter_constraints,
        "device": [str, torch.device],
    }

    def __init__(
        self,
        *,
        n_neighbors=5,
        radius=1.0,
        algorithm="auto",
        leaf_size=30,
        metric="minkowski",
        p=2,
        metric_params=None,
        n_jobs=None,
        device="auto",
    ):
        super().__init__(
            n_neighbors=n_neighbors,
            radius=radius,
            algorithm=algorithm,
            leaf_size=leaf_size,
            metric=metric,
            p=p,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )
        self.device = device

    @fit_context(prefer_skip_nested_validation=False)  # as scikit-learn: metric may hold parameters
    def fit(self, X, y=None) -> NearestNeighbors:
        """Keep the points, on the device, or in a tree.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, n_features)
            Points; distances of shape (n_samples, n_samples) if metric='precomputed'.
        y : None
            Ignored.

        Returns
        -------
        self : NearestNeighbors

        Raises
        ------
        ValueError
            If the device is not known or not present, or as scikit-learn raises it.
        """
        return self._fit_on_device(X)

    def radius_neighbors(self, X=None, radius=None, return_distance=True, sort_results=False):
        """Find the neighbors within a radius of points, by scikit-learn's code on the host.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_queries, n_features), default=None
            Query points. If None, the fitted points, none of which is its own neighbor.
        radius : float, default=None
            Greatest distance of a neighbor; None takes the parameter of the class.
        return_distance : bool, default=True
            Whether to return the distances.
        sort_results : bool, default=False
            Whether to sort the neighbors of each point by distance.

        Returns
        -------
        neigh_dist : ndarray of shape (n_queries,) of ndarrays
            Distances; only if `return_distance`.
        neigh_ind : ndarray of shape (n_queries,) of ndarrays
            Indices of the neighbors in the fitted data.
        """
        if is_tensor(getattr(self, "_fit_X", None)):
            host = copy.copy(self)
            host._fit_X = to_numpy(self._fit_X)
            return host.radius_neighbors(to_numpy(X), radius, return_distance, sort_results)
        return super().radius_neighbors(to_numpy(X), radius, return_distance, sort_results)
