"""`sklearn.svm`: `LinearSVC` by Newton's method, all else scikit-learn's own."""

from .._utils.sklearn_compat import mirror
from ._linear import LinearSVC

__getattr__, __dir__, __all__ = mirror("svm", [LinearSVC])
