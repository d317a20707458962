"""`sklearn.neighbors`: exact search in torch where that is faster, all else scikit-learn's own."""

from sklearn import neighbors as _reference

from ._classification import KNeighborsClassifier
from ._regression import KNeighborsRegressor
from ._unsupervised import NearestNeighbors

__all__ = ["KNeighborsClassifier", "KNeighborsRegressor", "NearestNeighbors"]
__all__ += [name for name in _reference.__all__ if name not in __all__]


def __getattr__(name: str):
    if name in _reference.__all__:
        return getattr(_reference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
