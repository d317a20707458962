"""From the arguments of `fit` to a training run: validate, encode, place on the device, build.

A subclass supplies the reading of its inputs, a task, a module and the types to compute in.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from .._training.loader import BatchLoader, place
from .._training.net import Net
from .._training.optimizers import SGD, Adam
from .._training.run import EvalSet, TrainingRun
from .._training.schedules import Constant, InverseScaling, OneCycle
from .._training.stopping import Progress, StoppingRule
from .._utils.array_api import dtype_of, from_array_api, is_tensor, namespace_and_device
from .._utils.device import resolve_device
from .._utils.random import TorchRandom
from .._utils.validation import check_range, fingerprint, validate_weight
from .callbacks import check_callbacks
from .parameters import NetParameters, net_class
from .precision import Precision
from .tasks import Task

FULL_BATCH = ("lbfgs", "gd")  # solvers that take all samples at once
SHAPE = (
    "architecture", "channels", "depth", "embed_dim", "embedding", "encoder", "freeze",
    "hidden_layer_sizes", "mlp_ratio", "n_components", "num_heads", "patch_size", "pool", "stride",
    "width",
)  # parameters that a module is made by, so that a net that goes on keeps them  # fmt: skip


@net_class
class Preparation(NetParameters, ABC):
    """What prepares a training run, from a net's parameters and the arguments of `fit`."""

    _y_numeric: ClassVar[bool] = False

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

    def _update_task(self) -> bool:
        """Give the task of a net that goes on the loss of the parameters; whether it is another."""
        return False

    def _update_module(self, module) -> None:
        """Give the module of a net that goes on the parameters that need no other weights."""
        return None

    def _apply_class_weight(self, target, weight):
        """Combine sample and class weights."""
        return weight

    def _input_dtype(self) -> str | None:
        """Name of the type in which X is held and comes to the module; None for its own."""
        return self._precision.weights

    def _torch_random(self, random_state, device) -> TorchRandom | None:
        """torch's random numbers for one fit; None where nothing is drawn from torch."""
        return None

    def _augmentation(self, source, random_state) -> Callable | None:
        """What changes every training batch of data like the source's."""
        return None

    def _make_loss(self):
        """What is minimized."""
        return self._task.make_loss()

    def _learning_rate(self, batch_size) -> float:
        """Initial learning rate."""
        return self.learning_rate_init

    # ------------------------------------------------------------------------------- preparation
    def _make_run(
        self, X, y, sample_weight, eval_data=None, *, incremental=False, classes=None
    ) -> TrainingRun:
        """From arguments to a training run: validate, encode, place, build."""
        if incremental and self.early_stopping and self.solver not in FULL_BATCH:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "net_") or not (self.warm_start or incremental)
        if not first:
            self._check_shape_of_net()
        data, y = self._validate_data(from_array_api(X), y, reset=first)
        weight = validate_weight(sample_weight, data.shape[0])
        device = resolve_device(self.device, data)
        if incremental and not first:  # the optimizer's state goes on where it is
            device = next(self.net_.module_.parameters()).device
        random_state = check_random_state(self.random_state)
        new_loss = not first and self._go_on_with(y)
        if first:
            task = self._make_task(y, classes)
            task.fit(y, weight)
            self._set_task(task)
            self._precision = self._choose_precision(data, device)
            self._fit_namespace = namespace_and_device(X)
        target = self._task.encode(y)
        weight = self._apply_class_weight(target, weight)
        rows = _weighted_rows(weight)
        if rows is not None and self.solver in FULL_BATCH:
            data, target, weight, rows = _take(data, rows), target[rows], weight[rows], None
        self.device_ = str(device)
        source = self._place(data, target, weight, device)
        random = self._torch_random(random_state, device)
        previous = None if first else self.net_
        if first:
            module = self._initialize(source, random_state, random)
        else:
            module = previous.module_
            self._update_module(module)
        rows, eval_set = self._split(rows, data, target, weight, eval_data, device, random_state)
        stochastic = self.solver not in FULL_BATCH
        loader = BatchLoader(
            source,
            rows=rows,
            batch_size=self._batch_size(data.shape[0] if rows is None else len(rows)),
            random_state=random_state if self.shuffle and stochastic else None,
        )
        # the state of the optimizer goes on with the same loss and solver alone
        if first or new_loss or not incremental or self._net_solver != self.solver:
            self.net_ = self._make_net(module, device, loader.batch_size, previous)
            self._net_solver, self._net_shape = self.solver, self._shape_of_net()
        self._progress = self._start_progress(first, incremental, eval_set, (data, target, weight))
        return TrainingRun(
            net=self.net_,
            loader=loader,
            eval_set=eval_set,
            progress=self._progress,
            random=random,
            augment=self._augmentation(source, random_state),
            **self._training_options(loader, incremental),
        )

    def _shape_of_net(self) -> dict:
        """The parameters that the module is made by, whatever holds several numbers as a list."""
        values = {n: getattr(self, n) for n in SHAPE if n in type(self).__dataclass_fields__}
        return {
            n: [*v] if hasattr(v, "__iter__") and not (isinstance(v, str) or callable(v)) else v
            for n, v in values.items()
        }

    def _check_shape_of_net(self) -> None:
        """Refuse to go on with a net where a parameter asks for another."""
        for name, now in self._shape_of_net().items():
            before = self._net_shape[name]
            if now != before:
                raise ValueError(
                    f"A net that was made with {name}={before!r} cannot go on with {name}={now!r}. "
                    "Fit a new net: clone it, or pass warm_start=False."
                )

    def _go_on_with(self, y) -> bool:
        """Go on with the last task; whether its loss is another by now."""
        if self.warm_start:
            self._task.check_same_classes(y)
        if not self._update_task():
            return False
        self._set_task(self._task)
        if self._progress.best_loss is not None:  # another loss has other values
            self._progress.best_loss, self._progress.no_improvement = np.inf, 0
        return True

    def _set_task(self, task):
        self._task = task
        if task.classes is not None:
            self.classes_ = task.classes
        self.n_outputs_ = task.n_outputs
        self.out_activation_ = task.make_loss().out_activation

    def _place(self, data, target, weight, device):
        check_range(data, self._precision.weights)
        weights_dtype = self._precision.dtype
        return place(
            data, target, weight, device, dtype=dtype_of(self._input_dtype()),
            y_dtype=self._task.target_dtype or weights_dtype, weight_dtype=weights_dtype,
        )  # fmt: skip

    def _initialize(self, source, random_state, random):
        """A new module with its first weights."""
        with nullcontext() if random is None else random.as_default():
            return self._make_module(source.X, source.weight, random_state)

    def _split(self, rows, data, target, weight, eval_data, device, random_state):
        """Of the rows (None for all) those to train on, and the validation set, if there is one."""
        make = partial(self._make_eval_set, device=device)
        if eval_data is not None:
            X, y, w = eval_data
            X, y = self._validate_data(from_array_api(X), y, reset=False)
            eval_data = make(X, self._task.encode(y), validate_weight(w, X.shape[0]))
        if eval_data is not None or not self.early_stopping or self.solver in FULL_BATCH:
            return rows, eval_data
        stratify = self._task.stratify(target if rows is None else target[rows])
        rows = np.arange(len(target)) if rows is None else rows
        rows, held_out = self._hold_out(rows, stratify, random_state)
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        w = None if weight is None else weight[held_out]
        return rows, make(_take(data, held_out), target[held_out], w)

    def _hold_out(self, rows, stratify, random_state):
        """Of the rows those to train on, and those to score."""
        return train_test_split(
            rows, random_state=random_state, test_size=self.validation_fraction, stratify=stratify
        )

    def _make_eval_set(self, X, target, weight, device):
        self._task.check_eval_target(target)
        return EvalSet(
            data=self._place(X, target, weight, device),
            target=target,
            weight=weight,
            predict=self._task.predict,
            score=self._task.score_encoded,
            forward=self._forward_batches,
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
        return int(min(self.batch_size, n_samples))  # torch takes no other integers

    def _make_net(self, module, device, batch_size, previous):
        check_callbacks(self.callbacks)
        optimizer = {  # torch takes no numbers but Python's
            "optimizer": Adam,
            "optimizer__betas": (float(self.beta_1), float(self.beta_2)),
            "optimizer__eps": float(self.epsilon),
            "optimizer__weight_decay": self.alpha if self.solver == "adamw" else 0.0,
        }
        if self.solver == "sgd":
            optimizer = {
                "optimizer": SGD,
                "optimizer__momentum": float(self.momentum),
                "optimizer__nesterov": self.nesterovs_momentum,
            }
        loss = self._make_loss().to(self._precision.dtype)
        net = Net(
            module.to(device, self._precision.dtype),
            input_dtype=self._input_dtype(),
            autocast_dtype=self._precision.autocast,
            criterion=loss,
            predict_nonlinearity=loss.activation,
            max_epochs=self.max_iter,
            batch_size=batch_size,
            train_split=None,
            callbacks=copy.copy(self.callbacks),
            verbose=0,
            device=str(device),
            lr=self._learning_rate(batch_size),
            **optimizer,
        ).initialize()
        if previous is not None:
            net.history = previous.history
        return net

    def _start_progress(self, first, incremental, eval_set, data) -> Progress:
        """Where this run's rule of stopping begins: anew, or where the last run's ended."""
        progress = None if first else self._progress
        early_stopping = self.early_stopping and self.solver not in FULL_BATCH
        if progress is None or progress.early_stopping != early_stopping:
            progress = Progress.start(early_stopping)
        if not incremental:
            progress.start_anew(fingerprint(*data) if early_stopping else None)
        if eval_set is not None and progress.validation_scores is None:
            progress.validation_scores, progress.validation_losses = [], []
        return progress

    def _training_options(self, loader, incremental) -> dict:
        """What the parameters say of a run."""
        sgd, schedule = self.solver == "sgd", Constant()
        one_cycle = self.learning_rate == "onecycle" and self.solver not in FULL_BATCH
        if one_cycle and not incremental:
            schedule = OneCycle(self.max_iter * len(loader))
        elif self.learning_rate == "invscaling" and sgd:
            seen = self._progress.samples_seen
            schedule = InverseScaling(
                self.power_t, loader.n_samples, len(loader), seen, warm_start=not incremental
            )
        return {
            "max_epochs": 1 if incremental and self.solver != "lbfgs" else self.max_iter,
            "stopping": StoppingRule(
                tol=self.tol,
                n_iter_no_change=self.n_iter_no_change,
                early_stopping=self._progress.early_stopping,
                fixed_length=one_cycle,
                adaptive=sgd and self.learning_rate == "adaptive",
            ),
            "learning_rate": self._learning_rate(loader.batch_size),
            "schedule": schedule,
            "alpha": 0.0 if self.solver == "adamw" else self.alpha,
            "report_factor": self.net_.criterion_.report_factor(self.n_outputs_),
            "warn": not incremental and not one_cycle,
            "verbose": bool(self.verbose),
        }


def _weighted_rows(weight):
    """The samples that have weight, None for all: no weight is absence."""
    if weight is None or weight.all():
        return None
    if not weight.any():
        raise ValueError("class_weight and sample_weight leave no sample of any weight.")
    return np.flatnonzero(weight)


def _take(data, rows):
    """The samples at these rows."""
    return data[torch.from_numpy(rows).to(data.device)] if is_tensor(data) else data[rows]
