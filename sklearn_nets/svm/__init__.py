"""`sklearn.svm`: `LinearSVC` by Newton's method, all else scikit-learn's own."""

from sklearn import svm as _reference

from ._linear import LinearSVC

__all__ = ["LinearSVC"]
__all__ += [name for name in _reference.__all__ if name not in __all__]


def __getattr__(name: str):
    if name in _reference.__all__:
        return getattr(_reference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
