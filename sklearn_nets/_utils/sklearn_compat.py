"""The private names of scikit-learn that this package leans on, imported here and nowhere else."""

from collections.abc import Callable, Sequence
from importlib import import_module

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_partial_fit_first_call
from sklearn.utils.optimize import _check_optimize_result as check_optimize_result
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _check_y as check_y
from sklearn.utils.validation import check_array, check_is_fitted, validate_data


def get_weights(distances, weights):
    """Weights of neighbors; imported when called, for it brings a third of scikit-learn along."""
    from sklearn.neighbors._base import _get_weights

    return _get_weights(distances, weights)


def mirror(module: str, own: list[Callable], instances: Sequence[str] = ()):
    """`__getattr__`, `__dir__` and `__all__` of a module that mirrors one of scikit-learn's.

    The module's own classes, functions and named instances stand in the place of scikit-learn's;
    every other public name is scikit-learn's, so that an import line of several names works with
    the package changed.
    The notebook's box of an own class links to the page of the class whose place it takes, if any.
    """
    reference = import_module(f"sklearn.{module}")
    names = [cls.__name__ for cls in own] + list(instances)
    names += [name for name in reference.__all__ if name not in names]
    for cls in own:
        if not (isinstance(cls, type) and hasattr(reference, cls.__name__)):
            continue
        cls._doc_link_module = "sklearn_nets"
        cls._doc_link_url_param_generator = lambda self: {
            "estimator_module": f"sklearn.{module}",
            "estimator_name": type(self).__name__,
        }

    def __getattr__(name: str):
        if name in names:
            return getattr(reference, name)
        raise AttributeError(f"module 'sklearn_nets.{module}' has no attribute {name!r}")

    return __getattr__, lambda: sorted(names), names


__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_array",
    "check_is_fitted",
    "check_optimize_result",
    "check_partial_fit_first_call",
    "check_sample_weight",
    "check_y",
    "fit_context",
    "get_weights",
    "mirror",
    "validate_data",
]
