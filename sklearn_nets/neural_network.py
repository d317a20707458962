"""Multi-layer perceptrons, the counterpart of `sklearn.neural_network`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch

from ._base.docs import describe, net_blocks
from ._base.estimator import Precision
from ._base.tasks import ClassifierNet, RegressorNet
from ._utils.sklearn_compat import Interval, StrOptions
from ._utils.validation import validate_rows
from .modules.mlp import MLP

__all__ = ["MLPClassifier", "MLPRegressor"]

SHARED_CONSTRAINTS = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
}


class _Layers(list):
    """One array a layer; an array put in another's place goes into the net."""

    def __init__(self, tensors):
        super().__init__(tensor.cpu().numpy() for tensor in tensors)
        self._tensors = tensors

    def __setitem__(self, layer, value):
        many = isinstance(layer, slice)
        tensors, values = self._tensors[layer], value
        for tensor, array in zip(tensors, values, strict=True) if many else [(tensors, values)]:
            tensor.copy_(torch.from_numpy(np.array(array)))
        super().__setitem__(layer, value)

    def __reduce__(self):
        return list, (list(self),)


@dataclass(eq=False, repr=False, kw_only=True)
class _MLPArchitecture:
    """Rows in, fully connected layers: the architecture axis of both perceptrons."""

    hidden_layer_sizes: int | Sequence[int] = field(default=(100,), kw_only=False)
    activation: str = field(default="relu", kw_only=False)
    max_fun: int = 15000

    def _read(self, X, y="no_validation", *, reset):
        # what is trained on becomes floating point here; what is predicted on later, on the device
        dtype = "numeric" if isinstance(y, str) else [np.float64, np.float32]
        return validate_rows(self, X, y, reset=reset, dtype=dtype, y_numeric=self._y_numeric)

    def _precision(self, X, device):
        if self.precision == "bfloat16":
            raise ValueError(
                f"{type(self).__name__} computes in float32 or float64, got precision='bfloat16'. "
                "Use precision='auto'."
            )
        own = str(X.dtype).removeprefix("torch.")
        name = self.precision
        if name == "auto":
            name = own if device.type == "cpu" else "float32"
        return Precision(getattr(torch, name), None, np.dtype(own))

    def _make_module(self, X, weight, random_state):
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        sizes = [X.shape[1], *hidden, self.n_outputs_]
        self.n_layers_ = len(sizes)
        return MLP(sizes, self.activation, self._precision_.weights).initialize(random_state)

    @property
    def coefs_(self) -> list:
        """Weight matrices, one of shape (n_in, n_out) a layer; on the CPU views of the net's."""
        return _Layers([layer.weight.detach().t() for layer in self.net_.module_.layers])

    @coefs_.setter
    def coefs_(self, coefs):
        self._load([(layer.weight, np.asarray(W).T) for layer, W in self._layers_with(coefs)])

    @property
    def intercepts_(self) -> list:
        """Bias vectors, one of shape (n_out,) a layer; on the CPU views of the net's."""
        return _Layers([layer.bias.detach() for layer in self.net_.module_.layers])

    @intercepts_.setter
    def intercepts_(self, intercepts):
        self._load([(layer.bias, np.asarray(b)) for layer, b in self._layers_with(intercepts)])

    def _layers_with(self, values):
        return zip(self.net_.module_.layers, values, strict=True)

    @torch.no_grad()
    def _load(self, pairs):
        for parameter, value in pairs:
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


@describe(**net_blocks(kind="mlp"))
@dataclass(eq=False, repr=False, kw_only=True)
class MLPClassifier(_MLPArchitecture, ClassifierNet):
    """Multi-layer perceptron classifier.

    The counterpart of `sklearn.neural_network.MLPClassifier` on torch: the same parameters and
    fitted attributes and, in float64 on the CPU, from the same `random_state` the same net up to
    rounding. It minimises the log-loss; sparse X is not read.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of shape (n_layers - 2,), default=(100,)
        Units in each hidden layer.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        Activation of the hidden layers.
    {training}
    {class_weight}
    max_fun : int, default=15000
        Most evaluations of the loss by 'lbfgs'.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of every layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of every layer.
    n_layers_ : int
        Layers, inputs and outputs included.
    {fitted}

    See Also
    --------
    MLPRegressor : The same for real targets.
    sklearn_nets.vision.CNNClassifier : For images.

    References
    ----------
    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks" (initialisation). Kingma & Ba (2014), "Adam: A method for stochastic optimization".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_nets.neural_network import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> clf = MLPClassifier(learning_rate_init=0.01, tol=0.01, random_state=0)
    >>> clf.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **ClassifierNet._parameter_constraints,
        **SHARED_CONSTRAINTS,
    }


@describe(**net_blocks(kind="mlp regressor"))
@dataclass(eq=False, repr=False, kw_only=True)
class MLPRegressor(_MLPArchitecture, RegressorNet):
    """Multi-layer perceptron regressor.

    The counterpart of `sklearn.neural_network.MLPRegressor` on torch: the same parameters and
    fitted attributes and, in float64 on the CPU, from the same `random_state` the same net up to
    rounding. Sparse X is not read.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        Half the squared error, or half the Poisson deviance with log link, which needs y >= 0.
    hidden_layer_sizes : int or array-like of shape (n_layers - 2,), default=(100,)
        Units in each hidden layer.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        Activation of the hidden layers.
    {training}
    max_fun : int, default=15000
        Most evaluations of the loss by 'lbfgs'.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of every layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of every layer.
    n_layers_ : int
        Layers, inputs and outputs included.
    {fitted}

    See Also
    --------
    MLPClassifier : The same for labels.

    Notes
    -----
    With several outputs 'lbfgs' minimises the sum over outputs, whose gradient it follows;
    scikit-learn hands its line search the mean, so results differ there.

    References
    ----------
    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks" (initialisation). Kingma & Ba (2014), "Adam: A method for stochastic optimization".

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sklearn_nets.neural_network import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=5, random_state=0)
    >>> model = MLPRegressor(solver="lbfgs", max_iter=500, tol=1e-2, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **RegressorNet._parameter_constraints,
        **SHARED_CONSTRAINTS,
    }
