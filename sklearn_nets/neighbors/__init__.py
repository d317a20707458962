"""The counterpart of `sklearn.neighbors`: exact search in torch where that is faster."""

from ._classification import KNeighborsClassifier

__all__ = ["KNeighborsClassifier"]
