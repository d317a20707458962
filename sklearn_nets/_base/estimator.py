"""What all nets share as scikit-learn's estimators: `fit`, `partial_fit`, `predict` and `score`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.metaestimators import available_if

from .._training.gradient_descent import train_gd
from .._training.lbfgs import train_lbfgs
from .._training.loop import train
from .._training.rendezvous import current_rendezvous
from .._training.run import TrainingRun
from .._training.threads import prediction_threads
from .._utils.array_api import (
    concatenate,
    from_array_api,
    is_tensor,
    namespace_and_device,
    to_numpy,
    to_tensor,
)
from .._utils.sklearn_compat import check_is_fitted, fit_context
from .._utils.validation import check_range
from .callbacks import EstimatorCallbacks
from .parameters import net_class
from .preparation import Preparation

PREDICT_PIXELS = 2**17  # of one forward pass

TRAINED = """
net_ : skorch.NeuralNet
    The fitted net; its torch module is ``net_.module_``.
history_ : skorch.history.History
    One row an epoch.
loss_ : float
    Loss of the last epoch, penalty included.
loss_curve_ : list of shape (n_iter_,)
    Loss of every epoch (not of 'lbfgs').
best_loss_ : float or None
    Least loss of an epoch; None with early stopping (not of 'lbfgs').
validation_scores_ : list of shape (n_iter_,) or None
    Score of the validation set after every epoch: accuracy (of an `EmbeddingNet` that of nearest
    neighbors), R², mean IoU, or mAP at an IoU of 0.5 (of 'lbfgs' only where there is one).
validation_loss_curve_ : list of shape (n_iter_,)
    Its loss, without penalty; only where there is a validation set.
best_validation_score_ : float or None
    Best of these with early stopping (not of 'lbfgs').
n_iter_ : int
    Epochs run by the last `fit`.
t_ : int
    Training samples seen by the optimizer.
n_outputs_ : int
    Outputs of the net; a classifier of two classes has one.
out_activation_ : str
    Activation of the outputs.
n_parameters_ : int
    Number of learned weights.
device_ : str
    Where the net was fitted.
""".strip()

# of the nets whose samples are all of one size
FITTED = f"""{TRAINED}
n_features_in_ : int
    Values of one sample.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the columns, where X was a DataFrame whose names are all strings.
"""


def _is_stochastic(estimator):
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


# `partial_fit` exists for solvers that go through the data batch by batch
available_if_stochastic = available_if(_is_stochastic)


@net_class
class TrainableNet(Preparation, CallbackSupportMixin, BaseEstimator):
    """A net as an estimator: its training, its fitted attributes, its outputs batch by batch."""

    _predict_batch_size: ClassVar[int] = 2048  # samples of one forward pass, if they are small

    def _trainer(self) -> Callable[[TrainingRun], None]:
        """The way to train."""
        if self.solver == "lbfgs":
            return partial(train_lbfgs, max_fun=self.max_fun)
        if self.solver == "gd":
            return train_gd
        rendezvous = current_rendezvous()  # of the `stacked` block that this thread belongs to
        return train if rendezvous is None else partial(train, run_all_epochs=rendezvous.train)

    def _train(self, run, X, y, sample_weight):
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        callbacks = EstimatorCallbacks(self, X, y, metadata, max_subtasks=run.max_epochs)
        try:
            with callbacks.attached(run.net):
                self._trainer()(run)
        finally:
            self._set_fitted_attributes(run)
        callbacks.end()
        return self

    def _set_fitted_attributes(self, run):
        """Publish what training learned under scikit-learn's names, and nothing of earlier fits."""
        progress = run.progress
        self.n_iter_ = run.epoch
        self.t_ = progress.samples_seen
        self.loss_ = progress.loss
        scored = progress.validation_scores is not None
        stochastic = self.solver != "lbfgs"
        for name, value, exists in (
            ("loss_curve_", progress.loss_curve, stochastic),
            ("best_loss_", progress.best_loss, stochastic),
            ("best_validation_score_", progress.best_score, stochastic),
            ("_no_improvement_count", progress.no_improvement, stochastic),
            ("validation_scores_", progress.validation_scores, stochastic or scored),
            ("validation_loss_curve_", progress.validation_losses, scored),
        ):
            if exists:
                setattr(self, name, value)
            else:
                vars(self).pop(name, None)

    @property
    def history_(self):
        """skorch's history of the training, one row an epoch."""
        return self.net_.history

    @property
    def n_parameters_(self) -> int:
        """Number of learned weights."""
        return sum(p.numel() for p in self.net_.module_.parameters() if p.requires_grad)

    def _forward(self, X, decode: Callable, method: str, through=None) -> torch.Tensor:
        """Decode the raw outputs of X in memory that does not grow with X.

        `decode` takes raw outputs and the type to answer in, which floating point answers have.
        `through` is what batches go through, by default the module.
        """
        self._check_same_namespace(X, method)
        data = self._validate_data(from_array_api(X), reset=False)
        check_range(data, self._precision.weights)
        if not issparse(data):
            data = to_tensor(data, data.device if is_tensor(data) else torch.device("cpu"))
        self._check_like_fit(data)
        dtype = self._precision.output_dtype(data)
        n = data.shape[0]
        with prediction_threads(self.net_, n):
            parts = (decode(z, dtype) for z in self._forward_batches(data, through))
            answer = concatenate(parts, n)
            answer = answer.to(dtype) if answer.is_floating_point() else answer
        return answer.cpu() if answer.device.type == "mps" else answer  # mps knows no float64

    def _check_like_fit(self, data):
        """Warn of data that cannot be of the kind seen in `fit`."""
        return None

    def _forward_batches(self, data, through=None):
        """Yield the raw outputs of consecutive batches."""
        return self.net_.forward_batches(data, self._samples_at_once(data.shape[1:]), through)

    def _samples_at_once(self, shape) -> int:
        """Samples of this shape in one forward pass, whose activations fit into caches."""
        n_pixels = math.prod(shape[1:])  # 1 for rows
        return max(1, min(self._predict_batch_size, PREDICT_PIXELS // n_pixels))

    def _check_same_namespace(self, X, method):
        """Under dispatch, refuse X of another library or device than in fit, as scikit-learn."""
        if not get_config()["array_api_dispatch"]:
            return
        if namespace_and_device(X) == self._fit_namespace:
            return
        raise ValueError(
            f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace and "
            f"the same device as those passed to fit(). fit() got "
            f"{' on '.join(self._fit_namespace)}, {method}() got "
            f"{' on '.join(namespace_and_device(X))}. Convert X, or leave "
            "config_context(array_api_dispatch=True): outside of it arrays of any kind go in."
        )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags


@net_class
class BaseNet(TrainableNet):
    """A net that predicts: `fit`, `predict` and `score`."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the net to X and y.

        Parameters
        ----------
        X : array-like or torch.Tensor of shape (n_samples, n_features)
            Training data; what else is read is said in the class's description.
        y : array-like or torch.Tensor of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; an integer weight counts like repetition.
        X_val, y_val : array-like, default=None
            A validation set of one's own, scored after each epoch. With ``early_stopping=True``
            it takes the place of the split by `validation_fraction`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of the validation set.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X, y or weights do not fit each other, hold NaN or infinity, or if the loss turns
            NaN: the message names the epoch and the learning rate. If a warm start is to change
            what the net is made of.
        """
        for given, missing, one, other in (
            (X_val, y_val, "X_val", "y_val"),
            (y_val, X_val, "y_val", "X_val"),
            (sample_weight_val, X_val, "sample_weight_val", "X_val"),
        ):
            if given is not None and missing is None:
                raise ValueError(f"{one} is provided, but {other} was not provided.")
        eval_data = None if X_val is None else (X_val, y_val, sample_weight_val)
        run = self._make_run(X, y, sample_weight, eval_data)
        return self._train(run, X, y, sample_weight)

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        y : ndarray or torch.Tensor
            Labels or numbers, one for each sample, of the shape of y in `fit`; of the kind that X
            is, but numpy for strings.
        """
        check_is_fitted(self, "net_")
        prediction = self._forward(X, lambda z, dtype: self._task.predict(z), "predict")
        return self._task.decode(prediction, like=X)

    def score(self, X, y, sample_weight=None):
        """Score of the predictions: accuracy of labels, R² of numbers.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.
        y : array-like or torch.Tensor
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
        """
        # targets are few numbers: on the host they need no dispatch, from whatever device they come
        arrays = (to_numpy(a) for a in (y, self.predict(X), sample_weight))
        return self._task.score(*arrays)

    def _probabilities(self, X, method, function: Callable = lambda p: p):
        """The loss's activation, one column or map for each class, in the type of the answer.

        `function` is applied to them.
        """
        check_is_fitted(self, "net_")
        activation, columns = self.net_.criterion_.activation, self._task.probabilities

        def decode(z, dtype):
            return function(columns(activation(z.to(dtype))))

        return self._forward(X, decode, method)
