"""The counterpart of `sklearn.svm`: linear support vector machines by Newton's method."""

from ._linear import LinearSVC

__all__ = ["LinearSVC"]
