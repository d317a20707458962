"""One estimator = validate -> encode -> build -> train -> decode.

`BaseNet` owns that road. The *task* (classifier, regressor; masks in `segmentation.py`) owns the
encoding of targets, the loss and the decoding; the *architecture* (`neural_network.py`,
`vision.py`) owns the reading of X and `_make_module`.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from .._training.lbfgs import train_lbfgs
from .._training.loader import Batches
from .._training.loop import TrainingNet
from .._training.optimizers import SGD, Adam
from .._training.stopping import Convergence, EstimatorCallbacks
from .._utils.array_api import from_foreign, is_tensor, namespace_and_device, to_tensor
from .._utils.device import free_memory, has_room, resolve_device, upload
from .._utils.sklearn_compat import check_is_fitted, fit_context
from .._utils.validation import validate_weight
from .parameters import NetParameters


class Precision(NamedTuple):
    """Types of one net: of its weights, of autocast (or None), and of its answers."""

    weights: torch.dtype
    autocast: torch.dtype | None
    answers: np.dtype


class Validation(NamedTuple):
    """A validation set: for the score on the host, and for the loss on the device."""

    X: torch.Tensor
    target: np.ndarray
    weight: np.ndarray | None
    y: torch.Tensor
    w: torch.Tensor


@dataclass
class Job:
    """One training run, prepared: everything that training needs and nothing of the estimator's."""

    net: TrainingNet
    train: Batches
    validation: Validation | None
    incremental: bool
    random_state: np.random.RandomState
    arguments: tuple[Any, Any, dict]  # X, y, metadata as the user gave them


@dataclass(eq=False, repr=False, kw_only=True)
class BaseNet(NetParameters, CallbackSupportMixin, BaseEstimator, ABC):
    """The road of `fit` and `predict` that every net shares."""

    # ------------------------------------------------------------------ what a subclass supplies
    @abstractmethod
    def _read(self, X, y="no_validation", *, reset):
        """Check X (and y): the data, sample axis first, as the device will hold it."""

    @abstractmethod
    def _encode_target(self, y, *, reset, classes=None):
        """Learn (`reset`) or apply the encoding of targets: a numpy array for the loss."""

    @abstractmethod
    def _make_loss(self):
        """The loss of the encoded targets."""

    @abstractmethod
    def _make_module(self, X, weight, random_state):
        """The module for data like the tensor X with sample weights, before it is moved."""

    @abstractmethod
    def _decode(self, z):
        """Turn raw outputs into predictions as a tensor on the device, before labels."""

    @abstractmethod
    def _validation_score(self, target, prediction, weight):
        """Score of decoded predictions against encoded targets, the greater the better."""

    _y_numeric: ClassVar[bool] = False
    _predict_batch: ClassVar[int] = 1024  # samples of one forward pass: more fall out of cache

    def _weigh(self, y, sample_weight):
        """Combine sample and class weights."""
        return sample_weight

    def _check_warm_start(self, y):
        """Refuse targets that the net so far cannot be trained on with."""

    def _stratify(self, y):
        """Encoded targets to stratify the validation split by, or None."""
        return None

    def _target_tensor(self, target, device):
        """Encoded targets as the loss takes them: indices, or numbers of the weights' type."""
        indices = target.dtype == np.int64
        return to_tensor(target, device, None if indices else self._precision_.weights)

    @abstractmethod
    def _precision(self, X, device) -> Precision:
        """The types to compute and to answer in for data like X."""

    def _forked_rng(self, random_state, device):
        """Context in which torch's global generators are seeded, and put back afterwards."""
        return nullcontext()

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
        validation = self._check_validation(X_val, y_val, sample_weight_val)
        job = self._prepare(X, y, sample_weight, validation)
        self._train(job)
        return self

    @available_if(lambda est: est._check_solver())
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
        self._train(self._prepare(X, y, sample_weight, incremental=True))
        return self

    def _check_solver(self):
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    @staticmethod
    def _check_validation(X_val, y_val, sample_weight_val):
        for given, missing, one, other in (
            (X_val, y_val, "X_val", "y_val"),
            (y_val, X_val, "y_val", "X_val"),
            (sample_weight_val, X_val, "sample_weight_val", "X_val"),
        ):
            if given is not None and missing is None:
                raise ValueError(f"{one} is provided, but {other} was not provided.")
        return None if X_val is None else (X_val, y_val, sample_weight_val)

    def _prepare(self, X, y, sample_weight, validation=None, *, incremental=False, classes=None):
        """From arguments to a `Job`: validate, encode, build."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "net_") or not (self.warm_start or incremental)
        arguments = (X, y, {} if sample_weight is None else {"sample_weight": sample_weight})
        data, y = self._read(from_foreign(X), y, reset=first)
        weight = validate_weight(sample_weight, len(data))
        if not first and self.warm_start:
            self._check_warm_start(y)
        target = self._encode_target(y, reset=first, classes=classes)
        weight = self._weigh(target, weight)
        device = resolve_device(self.device, data)
        if incremental and not first:  # the optimiser's state goes on where it is
            device = next(self.net_.module_.parameters()).device
        random_state = check_random_state(self.random_state)
        if first:
            self._precision_ = self._precision(data, device)
        dtype = self._precision_.weights
        streams = not has_room(data, device, self._input_type())
        home = torch.device("cpu") if streams else device
        data = to_tensor(data, home) if streams else upload(data, device, self._input_type())
        weights = None if weight is None else to_tensor(weight, home, dtype)
        self.device_ = str(device)
        if first:
            self._seen_on = namespace_and_device(X)
            with self._forked_rng(random_state, device):
                module = self._make_module(data, weights, random_state).to(device, dtype)
        else:
            module = self.net_.module_.to(device)
        rows = None
        if weight is not None and not weight.all() and self.solver != "lbfgs":
            rows = np.flatnonzero(weight)  # no weight is absence
            if not len(rows):
                raise ValueError("class_weight and sample_weight leave no sample of any weight.")
        if validation is None and self.early_stopping and self.solver != "lbfgs":
            rows, held_out = self._split(target, rows, random_state)
            validation = self._select(data, target, weight, held_out, device)
        elif validation is not None:
            validation = self._prepare_validation(*validation, device)
        if streams and self.solver == "lbfgs":
            raise ValueError(
                f"solver='lbfgs' takes all of X at once, but X ({data.nbytes / 2**30:.1f} GiB) has "
                f"no room on {device} ({free_memory(device) / 2**30:.1f} GiB free, half of it for "
                "data). Use solver='adam' or 'sgd', whose batches stream, or device='cpu'."
            )
        train = Batches(
            data,
            self._target_tensor(target, home),
            weights,
            rows=rows,
            batch_size=self._batch_size(len(data) if rows is None else len(rows)),
            random_state=random_state if self.shuffle and self.solver != "lbfgs" else None,
            device=device,
            dtype=self._input_type(),
            streams=streams,
        )
        if first or not incremental:
            previous = None if first else self.net_
            self.net_ = self._make_net(module, device, previous, incremental)
        return Job(self.net_, train, validation, incremental, random_state, arguments)

    def _input_type(self) -> torch.dtype | None:
        """The type in which X is held and comes to the module; None for its own."""
        return self._precision_.weights

    def _split(self, target, rows, random_state):
        """Indices of the training and the held-out part, drawn as scikit-learn draws them."""
        train, held_out = train_test_split(
            np.arange(len(target)) if rows is None else rows,
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(target if rows is None else target[rows]),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return train, held_out

    def _select(self, data, target, weight, rows, device):
        index = torch.from_numpy(rows).to(data.device)
        weight = None if weight is None else weight[rows]
        return self._validation(data.index_select(0, index), target[rows], weight, device)

    def _prepare_validation(self, X_val, y_val, sample_weight_val, device):
        data, y_val = self._read(from_foreign(X_val), y_val, reset=False)
        target = self._encode_target(y_val, reset=False)
        room = has_room(data, device, self._input_type())
        data = upload(data, device if room else torch.device("cpu"), self._input_type())
        weight = validate_weight(sample_weight_val, len(data))
        return self._validation(data, target, weight, device)

    def _validation(self, X, target, weight, device):
        of_loss = np.ones(len(X)) if weight is None else weight
        w = to_tensor(of_loss, device, self._precision_.weights)
        return Validation(X, target, weight, self._target_tensor(target, device), w)

    def _batch_size(self, n_samples):
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=4,
            )
        return min(self.batch_size, n_samples)

    def _make_net(self, module, device, previous, incremental):
        net = TrainingNet(
            module,
            alpha=0.0 if self.solver == "adamw" else self.alpha,
            augment=getattr(self, "augment", None),
            amp_dtype=self._precision_.autocast,
            one_cycle=self.learning_rate == "onecycle" and not incremental,
            criterion=self._make_loss(),
            max_epochs=self.max_iter,
            batch_size=None if self.batch_size == "auto" else self.batch_size,
            train_split=None,
            callbacks=copy.copy(self.callbacks),
            verbose=0,
            device=str(device),
            lr=self.learning_rate_init,
            **self._optimizer_params(),
        ).initialize()
        if self.solver != "lbfgs":  # there the reported loss must match its gradient
            net.loss_scale = net.criterion_.reported_scale(self.n_outputs_)
        if previous is not None:
            net.progress_, net.history = previous.progress_, previous.history
        return net

    def _optimizer_params(self):
        if self.solver == "sgd":
            return {
                "optimizer": SGD,
                "optimizer__momentum": self.momentum,
                "optimizer__nesterov": self.nesterovs_momentum,
            }
        return {
            "optimizer": Adam,
            "optimizer__betas": (self.beta_1, self.beta_2),
            "optimizer__eps": self.epsilon,
            "optimizer__weight_decay": self.alpha if self.solver == "adamw" else 0.0,
        }

    # ------------------------------------------------------------------------------------ train
    def _train(self, job: Job):
        """Train the job's net and take the result."""
        if self.solver == "lbfgs":
            self._train_lbfgs(job)
            return
        X, y, metadata = job.arguments
        net = job.net
        convergence = Convergence(self, job)
        bridge = EstimatorCallbacks(
            self, X, y, metadata, max_subtasks=1 if job.incremental else self.max_iter
        )
        net.callbacks_.extend(bridge.as_named())
        try:
            with self._forked_rng(job.random_state, job.train.device):
                net.partial_fit(
                    job.train,
                    epochs=1 if job.incremental else self.max_iter,
                    epoch_end=convergence.epoch_end,
                )
        finally:
            net.callbacks_ = [named for named in net.callbacks_ if named[1] is not bridge]
            self._take(convergence)
        convergence.finish()
        bridge.end()

    def _take(self, convergence):
        """Publish what training learnt under scikit-learn's names."""
        progress = convergence.progress
        self.n_iter_ = convergence.n_iter
        self.t_ = progress.t
        self.loss_curve_ = progress.loss_curve
        self.loss_ = progress.loss_curve[-1] if progress.loss_curve else np.inf
        self.best_loss_ = progress.best_loss
        self.validation_scores_ = progress.validation_scores
        self.best_validation_score_ = progress.best_score
        if progress.validation_losses is not None:
            self.validation_loss_curve_ = progress.validation_losses
        else:
            vars(self).pop("validation_loss_curve_", None)  # of an earlier fit
        self._no_improvement_count = progress.no_improvement

    def _train_lbfgs(self, job):
        X, y, metadata = job.arguments
        bridge = EstimatorCallbacks(self, X, y, metadata, max_subtasks=self.max_iter)
        net = job.net
        vars(self).pop("validation_loss_curve_", None)  # of an earlier fit
        validate = None
        if job.validation is not None:
            self.validation_scores_, self.validation_loss_curve_ = [], []

            def validate():
                score, loss = self._validate(net, job.validation)
                self.validation_scores_.append(score)
                self.validation_loss_curve_.append(loss)

        self.n_iter_ = train_lbfgs(
            net, job.train, max_iter=self.max_iter, max_fun=self.max_fun, tol=self.tol,
            verbose=self.verbose, bridge=bridge, validate=validate,
        )  # fmt: skip
        net.loss_scale = net.criterion_.reported_scale(self.n_outputs_)
        net.prepare_gradient()
        with torch.no_grad():
            loss = net.batch_gradient(job.train.X, job.train.y, job.train.weight)
        self.loss_ = float(loss) / job.train.n_samples
        self.t_ = 0
        bridge.end()

    def _validate(self, net, validation) -> tuple[float, float]:
        """Score and loss of the validation set."""
        X, target, weight, y, w = validation
        total, start, predictions = 0.0, 0, []
        for z in net.raw_outputs(X, self._predict_batch, self._input_type()):
            batch = slice(start, start + len(z))
            total += torch.dot(net.criterion_.per_sample(z, y[batch]), w[batch])
            start = batch.stop
            predictions.append(self._decode(z))
        loss = float(total / w.sum()) * net.criterion_.reported_scale(self.n_outputs_)
        prediction = torch.cat(predictions).cpu().numpy()
        return float(self._validation_score(target, prediction, weight)), loss

    @property
    def history_(self):
        """skorch's history of the training, one row an epoch."""
        return self.net_.history

    @property
    def n_parameters_(self) -> int:
        """Number of learnt weights."""
        return sum(p.numel() for p in self.net_.module_.parameters())

    # ---------------------------------------------------------------------------------- predict
    def _predict_with(self, X, decode: Callable, method: str):
        """Decode the raw outputs of X in memory that does not grow with X; a tensor."""
        check_is_fitted(self, "net_")
        self._check_same_namespace(X, method)
        data = self._read(from_foreign(X), reset=False)
        data = to_tensor(data, data.device if is_tensor(data) else torch.device("cpu"))
        outputs = self.net_.raw_outputs(data, self._predict_batch, self._input_type())
        parts = [decode(z) for z in outputs]
        answer = parts[0] if len(parts) == 1 else torch.cat(parts)
        return answer.cpu() if answer.device.type == "mps" else answer  # mps knows no float64

    def _check_same_namespace(self, X, method):
        """Under dispatch, refuse X of another library or device than in fit, as scikit-learn."""
        if not get_config()["array_api_dispatch"] or namespace_and_device(X) == self._seen_on:
            return
        raise ValueError(
            f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace and "
            f"the same device as those passed to fit(). fit() got {' on '.join(self._seen_on)}, "
            f"{method}() got {' on '.join(namespace_and_device(X))}. Convert X, or leave "
            "config_context(array_api_dispatch=True): outside of it arrays of any kind go in."
        )

    def _output_dtype(self, X) -> torch.dtype:
        """The type scikit-learn would answer in: that of X and of the weights together."""
        given = str(getattr(X, "dtype", "")).rpartition(".")[2]  # of any library's array
        narrow = given in {"float32", "float16", "bfloat16"}
        return torch.float32 if narrow and self._precision_.answers.itemsize < 8 else torch.float64

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags
