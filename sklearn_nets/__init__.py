"""scikit-learn's fit / predict / score, from a nearest neighbor to a U-Net, on CPU or GPU.

Every public name can be imported from here; the module that holds it is loaded when first used.
`__init__.pyi` says which that is.

Examples
--------
>>> from sklearn.datasets import load_iris
>>> from sklearn_nets import MLPClassifier
>>> X, y = load_iris(return_X_y=True)
>>> MLPClassifier(solver="lbfgs", tol=1e-2, random_state=0).fit(X, y).score(X, y) > 0.95
True
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
