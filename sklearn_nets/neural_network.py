"""`sklearn.neural_network`: multi-layer perceptrons on torch, all else scikit-learn's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.preprocessing import LabelBinarizer

from ._base.classifier import ClassifierNet
from ._base.estimator import FITTED
from ._base.labels import Multilabel
from ._base.parameters import POSITIVE_INT, check_sizes, net_class, parameter
from ._base.precision import row_precision
from ._base.regressor import RegressorNet, regression_loss
from ._utils.sklearn_compat import StrOptions, mirror
from ._utils.validation import validate_rows
from .modules.mlp import MLP

# from scikit-learn's nets: part of both docstrings
DIFFERENCES = """\
From one `random_state` it is scikit-learn's net up to rounding, except where that would be
wrong: sample weights are not negative, and none is absence; a loss that overflows raises an
error; a warm start with early stopping forgets the scores of other data. Of float32 X all is
float32, weights of samples, targets and gradients too, so that numbers of an extreme scale
overflow or vanish earlier; but 'lbfgs' computes in float64, where scikit-learn rounds the
weights to float32 for each loss. Losses are computed from raw outputs, so that they keep the
digits, or stay finite, where an output itself rounds off to 0 or 1. `predict` takes what `fit`
takes, times and frames of categories that are numbers too."""


class _Layers(list):
    """One array a layer; an array put in another's place goes into the net."""

    def __init__(self, tensors):
        super().__init__(tensor.cpu().numpy() for tensor in tensors)
        self._tensors = tensors

    def __setitem__(self, layer, value):
        many = isinstance(layer, slice)
        tensors, values = self._tensors[layer], value
        for tensor, array in zip(tensors, values, strict=True) if many else [(tensors, values)]:
            array = np.array(array)
            if array.shape != tuple(tensor.shape):  # torch would broadcast
                raise ValueError(
                    f"A layer's array must keep its shape {tuple(tensor.shape)}, got {array.shape}."
                )
            tensor.copy_(torch.from_numpy(array))
        super().__setitem__(layer, value)

    def __reduce__(self):
        return list, (list(self),)


@net_class
class _MLPMixin:
    """Rows in, fully connected layers: what both perceptrons share."""

    hidden_layer_sizes: int | Sequence[int] = parameter(
        (100,), ["array-like", POSITIVE_INT], "Units in each hidden layer.",
        words="int or array-like of shape (n_layers - 2,)", kw_only=False,
    )  # fmt: skip
    activation: str = parameter(
        "relu", [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "Activation of the hidden layers.", kw_only=False,
    )  # fmt: skip
    solver: str = parameter(
        "adam", [StrOptions({"lbfgs", "sgd", "adam", "gd"})],
        """Optimizer: 'sgd' with momentum, 'adam' (Kingma & Ba 2014), or 'lbfgs' on all samples at
        once. 'gd' is gradient descent on all samples with a line search, to look at step by step:
        each step begins at twice the last length and is halved until the loss falls; `max_iter`
        bounds the steps, `tol` the gradient, `learning_rate_init` is the length that is tried
        first. Plain gradient descent, whose rate is constant, is solver='sgd' with
        ``batch_size=len(X), momentum=0, learning_rate="constant", shuffle=False``.""",
    )  # fmt: skip
    early_stopping: bool = parameter(
        False, ["boolean"],
        """Whether to hold out data, score it after every epoch, stop when the score stalls and
        keep the weights that scored best. Does nothing with 'lbfgs' and 'gd'.""",
    )  # fmt: skip
    precision: str = parameter(
        "auto", [StrOptions({"auto", "float32", "float64"})],
        """Type to compute in. 'auto' is X's own on the CPU, or float64 with 'lbfgs', and float32 on
        an accelerator.""",
    )  # fmt: skip
    max_fun: int = parameter(
        15000, [POSITIVE_INT], "Maximum number of evaluations of the loss by 'lbfgs'."
    )

    def _validate_data(self, X, y="no_validation", *, reset):
        # what is trained on becomes floating point here; what is predicted on later, on the device
        dtype = "numeric" if isinstance(y, str) else [np.float64, np.float32]
        return validate_rows(
            self, X, y, reset=reset, dtype=dtype, y_numeric=self._y_numeric, sparse=True
        )

    def _choose_precision(self, X, device):
        return row_precision(self.precision, X, device, self.solver)

    def _make_module(self, X, weight, random_state):
        hidden = check_sizes("hidden_layer_sizes", self.hidden_layer_sizes, optional=True)
        sizes = [X.shape[1], *hidden, self.n_outputs_]
        self.n_layers_ = len(sizes)
        return MLP(sizes, self.activation, self._precision.dtype).initialize(random_state)

    def _update_module(self, module):
        module.activation = self.activation

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def coefs_(self) -> list:
        """Weight matrices, one of shape (n_in, n_out) a layer; on the CPU views of the net's."""
        return _Layers([layer.weight.detach().t() for layer in self.net_.module_.layers])

    @coefs_.setter
    def coefs_(self, coefs):
        self.coefs_[:] = coefs

    @property
    def intercepts_(self) -> list:
        """Bias vectors, one of shape (n_out,) a layer; on the CPU views of the net's."""
        return _Layers([layer.bias.detach() for layer in self.net_.module_.layers])

    @intercepts_.setter
    def intercepts_(self, intercepts):
        self.intercepts_[:] = intercepts


@net_class(fitted=FITTED, differences=DIFFERENCES)
class MLPClassifier(_MLPMixin, ClassifierNet):
    """Multi-layer perceptron classifier.

    The counterpart of `sklearn.neural_network.MLPClassifier` on torch: the same parameters and
    fitted attributes and, in float64 on the CPU, from the same `random_state` the same net up to
    rounding. Beside them it takes `loss`, `label_smoothing` and solver='gd'. Sparse rows stay
    sparse in memory and, where less than a tenth is not zero, on the CPU in the products, too;
    else a batch of them becomes dense.

    Parameters
    ----------
    {parameters}

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

    Notes
    -----
    With ``hidden_layer_sizes=()`` it is a perceptron of one layer, the linear model of its loss:
    logistic regression, or with loss='hinge' a linear SVM, whose penalty alpha is 1 / C.

    {differences}
    The classes of multilabel y are its columns, whatever `classes` of `partial_fit` names.

    References
    ----------
    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks" (initialization). Kingma & Ba (2014), "Adam: A method for stochastic optimization".

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

    @property
    def _label_binarizer(self) -> LabelBinarizer:
        """scikit-learn's encoder of y: converters to ONNX ask it whether y holds several labels."""
        classes = self._task.classes
        several = isinstance(self._task, Multilabel)
        return LabelBinarizer().fit(np.eye(len(classes), dtype=int) if several else classes)


@net_class(fitted=FITTED, differences=DIFFERENCES)
class MLPRegressor(_MLPMixin, RegressorNet):
    """Multi-layer perceptron regressor.

    The counterpart of `sklearn.neural_network.MLPRegressor` on torch: the same parameters and
    fitted attributes and, in float64 on the CPU, from the same `random_state` the same net up to
    rounding. Beside them it takes more losses and solver='gd'. Sparse rows stay sparse in memory
    and, where less than a tenth is not zero, on the CPU in the products, too; else a batch of them
    becomes dense.

    Parameters
    ----------
    {parameters}

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
    sklearn_nets.inspection.WeightRecorder : Keeps the weights of every step.

    Notes
    -----
    With ``hidden_layer_sizes=()`` it is the linear model of its loss, a line for one feature, and
    with ``solver="gd"`` its descent can be looked at step by step.

    With several outputs 'lbfgs' minimizes the sum over outputs, whose gradient it follows;
    scikit-learn hands its line search the mean, so results differ there.

    {differences}

    References
    ----------
    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural
    networks" (initialization). Kingma & Ba (2014), "Adam: A method for stochastic optimization".

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sklearn_nets.neural_network import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=5, random_state=0)
    >>> model = MLPRegressor(solver="lbfgs", max_iter=500, tol=1e-2, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.99
    True
    """

    loss: str = regression_loss(kw_only=False)  # scikit-learn's first argument


__getattr__, __dir__, __all__ = mirror("neural_network", [MLPClassifier, MLPRegressor])
