"""Provisional."""
from sklearn import neighbors as _reference
from ._device import resolve_device
class KNeighborsClassifier(_reference.KNeighborsClassifier):
    """Provisional."""
    def __init__(self, n_neighbors=5, *, weights="uniform", algorithm="auto", leaf_size=30, p=2, metric="minkowski", metric_params=None, n_jobs=None, device="auto"):
        super().__init__(n_neighbors, weights=weights, algorithm=algorithm, leaf_size=leaf_size, p=p, metric=metric, metric_params=metric_params, n_jobs=n_jobs)
        self.device = device
    def fit(self, X, y):
        """Fit."""
        self.device_ = str(resolve_device(self.device))
        return super().fit(X, y)
