"""From `fit` to a training run and back, and from `predict` through the net: what all nets share.

A subclass supplies the reading of its inputs, a task, a module and the types to compute in.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from .._training.lbfgs import train_lbfgs
from .._training.loader import BatchLoader, StreamedData, place
from .._training.loop import train
from .._training.net import Net
from .._training.optimizers import SGD, Adam
from .._training.run import EvalSet, TrainingRun
from .._training.schedules import Constant, InverseScaling, OneCycle
from .._training.stopping import Progress, StoppingRule
from .._utils.array_api import from_array_api, is_tensor, namespace_and_device, to_numpy, to_tensor
from .._utils.device import copy_to_device, fits_on_device, free_memory, resolve_device
from .._utils.random import TorchRandom
from .._utils.sklearn_compat import check_is_fitted, fit_context
from .._utils.validation import validate_weight
from .callbacks import EstimatorCallbacks
from .parameters import NetParameters, net_class
from .precision import Precision
from .tasks import Task

FITTED = """
net_ : skorch.NeuralNet
    The fitted net; its torch module is ``net_.module_``.
history_ : skorch.history.History
    One row an epoch.
loss_ : float
    Loss of the last epoch, penalty included.
loss_curve_ : list of shape (n_iter_,)
    Loss of every epoch (not of 'lbfgs').
best_loss_ : float or None
    Least loss of an epoch; None with early stopping.
validation_scores_ : list of shape (n_iter_,) or None
    Score of the validation set after every epoch: accuracy, R² or mean IoU.
validation_loss_curve_ : list of shape (n_iter_,)
    Its loss, without penalty; only where there is a validation set.
best_validation_score_ : float or None
    Best of these with early stopping.
n_iter_ : int
    Epochs run by the last `fit`.
t_ : int
    Training samples seen by the optimizer.
n_outputs_ : int
    Outputs of the net; two classes need one.
out_activation_ : str
    Activation of the outputs.
n_parameters_ : int
    Number of learned weights.
device_ : str
    Where the net was fitted.
n_features_in_ : int
    Values of one sample.
""".strip()


def _is_stochastic(estimator):
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


# `partial_fit` exists for solvers that go through the data batch by batch
available_if_stochastic = available_if(_is_stochastic)


@net_class
class BaseNet(NetParameters, CallbackSupportMixin, BaseEstimator, ABC):
    """What every net shares: `fit`, `partial_fit`, `predict` and `score`."""

    _y_numeric: ClassVar[bool] = False
    _predict_batch_size: ClassVar[int] = 1024  # samples of one forward pass that fit into caches

    # ------------------------------------------------------------------ what a subclass supplies
    @abstractmethod
    def _validate_data(self, X, y="no_validation", *, reset):
        """Check X (and y): the data, sample axis first, as the device will hold it."""

    @abstractmethod
    def _make_task(self, y, classes=None) -> Task:
        """What the targets mean."""

    @abstractmethod
    def _make_module(self, X, weight, random_state) -> torch.nn.Module:
        """The module for data like the tensor X with sample weights, before it is moved."""

    @abstractmethod
    def _choose_precision(self, X, device) -> Precision:
        """The types to compute and to answer in for data like X."""

    def _apply_class_weight(self, target, weight):
        """Combine sample and class weights."""
        return weight

    def _input_dtype(self) -> torch.dtype | None:
        """The type in which X is held and comes to the module; None for its own."""
        return self._precision.dtype

    def _torch_random(self, random_state, device) -> TorchRandom | None:
        """torch's random numbers for one fit; None where nothing is drawn from torch."""
        return None

    def _augmentation(self) -> Callable | None:
        """What changes every training batch."""
        return None

    # ------------------------------------------------------------------------------------- fit
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
            NaN: the message names the epoch and the learning rate.
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

    @available_if_stochastic
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train one more epoch on the given data.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self : object
            The estimator after one epoch more.
        """
        run = self._make_run(X, y, sample_weight, incremental=True)
        return self._train(run, X, y, sample_weight)

    def _make_run(
        self, X, y, sample_weight, eval_data=None, *, incremental=False, classes=None
    ) -> TrainingRun:
        """From arguments to a training run: validate, encode, place, build."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "net_") or not (self.warm_start or incremental)
        data, y = self._validate_data(from_array_api(X), y, reset=first)
        weight = validate_weight(sample_weight, len(data))
        if first:
            self._set_task(self._make_task(y, classes))
        elif self.warm_start:
            self._task.check_same_classes(y)
        target = self._task.encode(y)
        weight = self._apply_class_weight(target, weight)
        device = resolve_device(self.device, data)
        if incremental and not first:  # the optimizer's state goes on where it is
            device = next(self.net_.module_.parameters()).device
        random_state = check_random_state(self.random_state)
        if first:
            self._precision = self._choose_precision(data, device)
            self._fit_namespace = namespace_and_device(X)
        self.device_ = str(device)
        source = place(
            data, target, weight, device, dtype=self._input_dtype(),
            y_dtype=self._target_dtype(), weight_dtype=self._precision.dtype,
        )  # fmt: skip
        random = self._torch_random(random_state, device)
        if first:
            module = self._initialize(source, random_state, random, device)
        else:
            module = self.net_.module_.to(device)
        rows, eval_set = self._split(data, target, weight, eval_data, device, random_state)
        stochastic = self.solver != "lbfgs"
        if isinstance(source, StreamedData) and not stochastic:
            raise ValueError(
                f"solver='lbfgs' takes all of X at once, but X ({data.nbytes / 2**30:.1f} GiB) has "
                f"no room on {device} ({free_memory(device) / 2**30:.1f} GiB free, half of it for "
                "data). Use solver='adam' or 'sgd', whose batches stream, or device='cpu'."
            )
        loader = BatchLoader(
            source,
            rows=rows,
            batch_size=self._batch_size(len(data) if rows is None else len(rows)),
            random_state=random_state if self.shuffle and stochastic else None,
        )
        if first or not incremental:
            self.net_ = self._make_net(module, device, None if first else self.net_)
        progress = self._start_progress(first, incremental, eval_set)
        return TrainingRun(
            net=self.net_,
            loader=loader,
            max_epochs=1 if incremental else self.max_iter,
            stopping=StoppingRule(
                tol=self.tol,
                n_iter_no_change=self.n_iter_no_change,
                early_stopping=self.early_stopping and stochastic,
                fixed_length=self.learning_rate == "onecycle",
                adaptive=self.solver == "sgd" and self.learning_rate == "adaptive",
            ),
            progress=progress,
            learning_rate=self.learning_rate_init,
            schedule=self._make_schedule(loader, progress, incremental),
            alpha=0.0 if self.solver == "adamw" else self.alpha,
            report_factor=self.net_.criterion_.report_factor(self.n_outputs_),
            eval_set=eval_set,
            augment=self._augmentation(),
            random=random,
            warn=not incremental and self.learning_rate != "onecycle",
            verbose=bool(self.verbose),
        )

    def _set_task(self, task):
        self._task = task
        if task.classes is not None:
            self.classes_ = task.classes
        self.n_outputs_ = task.n_outputs
        self.out_activation_ = task.make_loss().out_activation

    def _target_dtype(self):
        return self._task.target_dtype or self._precision.dtype

    def _initialize(self, source, random_state, random, device):
        """A new module, with its first weights, on the device."""
        make = partial(self._make_module, source.X, source.weight, random_state)
        if random is None:
            module = make()
        else:
            with random.as_default():
                module = make()
        return module.to(device, self._precision.dtype)

    def _split(self, data, target, weight, eval_data, device, random_state):
        """Rows to train on (None for all) and the validation set, if there is one."""
        rows = None
        if self.solver == "lbfgs":
            return None, self._validated_eval_set(eval_data, device)
        if weight is not None and not weight.all():
            rows = np.flatnonzero(weight)  # no weight is absence
            if not len(rows):
                raise ValueError("class_weight and sample_weight leave no sample of any weight.")
        if eval_data is not None or not self.early_stopping:
            return rows, self._validated_eval_set(eval_data, device)
        train_rows, held_out = train_test_split(
            np.arange(len(target)) if rows is None else rows,
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=self._task.stratify(target if rows is None else target[rows]),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        weight = None if weight is None else weight[held_out]
        X = data[torch.from_numpy(held_out).to(data.device)] if is_tensor(data) else data[held_out]
        return train_rows, self._make_eval_set(X, target[held_out], weight, device)

    def _validated_eval_set(self, eval_data, device):
        if eval_data is None:
            return None
        X, y, sample_weight = eval_data
        X, y = self._validate_data(from_array_api(X), y, reset=False)
        weight = validate_weight(sample_weight, len(X))
        return self._make_eval_set(X, self._task.encode(y), weight, device)

    def _make_eval_set(self, X, target, weight, device):
        dtype = self._input_dtype()
        resident = fits_on_device(X, device, dtype)
        ones = np.ones(len(X)) if weight is None else weight
        return EvalSet(
            X=copy_to_device(X, device if resident else torch.device("cpu"), dtype),
            target=target,
            weight=weight,
            y=to_tensor(target, device, self._target_dtype()),
            loss_weight=to_tensor(ones, device, self._precision.dtype),
            predict=self._task.predict,
            score=self._task.score_encoded,
            batch_size=self._predict_batch_size,
        )

    def _batch_size(self, n_samples):
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples and self.solver != "lbfgs":
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=4,
            )
        return min(self.batch_size, n_samples)

    def _make_net(self, module, device, previous):
        optimizer = {
            "optimizer": Adam,
            "optimizer__betas": (self.beta_1, self.beta_2),
            "optimizer__eps": self.epsilon,
            "optimizer__weight_decay": self.alpha if self.solver == "adamw" else 0.0,
        }
        if self.solver == "sgd":
            optimizer = {
                "optimizer": SGD,
                "optimizer__momentum": self.momentum,
                "optimizer__nesterov": self.nesterovs_momentum,
            }
        loss = self._task.make_loss().to(self._precision.dtype)
        net = Net(
            module,
            input_dtype=self._input_dtype(),
            autocast_dtype=self._precision.autocast_dtype,
            criterion=loss,
            predict_nonlinearity=loss.activation,
            max_epochs=self.max_iter,
            batch_size=None if self.batch_size == "auto" else self.batch_size,
            train_split=None,
            callbacks=copy.copy(self.callbacks),
            verbose=0,
            device=str(device),
            lr=self.learning_rate_init,
            **optimizer,
        ).initialize()
        if previous is not None:
            net.history = previous.history
        return net

    def _start_progress(self, first, incremental, eval_set) -> Progress:
        """Where this run's rule of stopping begins: anew, or where the last run's ended."""
        progress = None if first else self._progress
        early_stopping = self.early_stopping and self.solver != "lbfgs"
        if progress is None or progress.early_stopping != early_stopping:
            progress = Progress.start(early_stopping)
        if not incremental:
            progress.rate_factor = 1.0
        if eval_set is not None and progress.validation_scores is None:
            progress.validation_scores, progress.validation_losses = [], []
        self._progress = progress
        return progress

    def _make_schedule(self, loader, progress, incremental):
        if self.learning_rate == "onecycle" and not incremental:
            return OneCycle(self.max_iter * len(loader))
        if self.learning_rate == "invscaling" and self.solver == "sgd":
            return InverseScaling(
                self.power_t, loader.n_samples, len(loader), progress.samples_seen, not incremental
            )
        return Constant()

    def _trainer(self) -> Callable[[TrainingRun], None]:
        """The way to train."""
        if self.solver == "lbfgs":
            return partial(train_lbfgs, max_fun=self.max_fun)
        return train

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
        return sum(p.numel() for p in self.net_.module_.parameters())

    # ---------------------------------------------------------------------------------- predict
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
        prediction = self._forward(X, self._task.predict, "predict")
        if prediction.is_floating_point():
            prediction = prediction.to(self._precision.output_dtype(X))
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

    def _forward(self, X, decode: Callable, method: str) -> torch.Tensor:
        """Decode the raw outputs of X in memory that does not grow with X."""
        self._check_same_namespace(X, method)
        data = self._validate_data(from_array_api(X), reset=False)
        data = to_tensor(data, data.device if is_tensor(data) else torch.device("cpu"))
        parts = [decode(z) for z in self.net_.forward_batches(data, self._predict_batch_size)]
        answer = parts[0] if len(parts) == 1 else torch.cat(parts)
        return answer.cpu() if answer.device.type == "mps" else answer  # mps knows no float64

    def _probabilities(self, X, method):
        """The loss's activation, one column or map for each class, in the type of the answer."""
        check_is_fitted(self, "net_")
        dtype, task = self._precision.output_dtype(X), self._task
        activation = self.net_.criterion_.activation
        return self._forward(X, lambda z: task.probabilities(activation(z.to(dtype))), method)

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
