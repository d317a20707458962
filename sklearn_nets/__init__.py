"""scikit-learn's fit / predict / score, from a nearest neighbour to a U-Net, on CPU or GPU.

Every public name can be imported from here; the module that holds it is loaded when first used.

Examples
--------
>>> from sklearn.datasets import load_iris
>>> from sklearn_nets import MLPClassifier
>>> X, y = load_iris(return_X_y=True)
>>> MLPClassifier(solver="lbfgs", tol=1e-2, random_state=0).fit(X, y).score(X, y) > 0.95
True
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "CNNClassifier": "vision",
    "Comparison": "comparison",
    "KNeighborsClassifier": "neighbors",
    "LinearSVC": "svm",
    "MLPClassifier": "neural_network",
    "MLPRegressor": "neural_network",
    "PixelClassifier": "segmentation",
    "SegmentationNet": "segmentation",
    "RandomFlipShift": "vision",
    "ViTClassifier": "vision",
    "compare": "comparison",
    "make_digit_scenes": "datasets",
    "patch_sklearn": "accel",
    "unpatch_sklearn": "accel",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME})
