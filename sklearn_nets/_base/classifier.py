"""Nets that predict labels."""

from __future__ import annotations

from numbers import Real
from typing import Any

import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from .._utils.array_api import convert_like, to_numpy
from .._utils.sklearn_compat import (
    Interval,
    StrOptions,
    check_is_fitted,
    check_partial_fit_first_call,
    fit_context,
)
from .estimator import BaseNet, available_if_stochastic
from .labels import CLASS_LOSSES, LOSSES_WITH_PROBABILITIES, check_classes_known, classification
from .parameters import net_class, parameter


def _gives_probabilities(estimator):
    if estimator.loss not in LOSSES_WITH_PROBABILITIES:
        raise AttributeError(
            f"loss={estimator.loss!r} gives no probabilities. Use decision_function, "
            "sklearn.calibration.CalibratedClassifierCV, or loss='log_loss'."
        )
    return True


def _gives_no_probabilities(estimator):
    if estimator.loss in LOSSES_WITH_PROBABILITIES:
        raise AttributeError(
            f"loss={estimator.loss!r} gives probabilities: use predict_proba. decision_function is "
            "for loss='hinge' and 'squared_hinge'."
        )
    return True


@net_class
class ClassifierNet(ClassifierMixin, BaseNet):
    """Labels of one of two, one of many, or several of many classes."""

    loss: str = parameter(
        "log_loss", [StrOptions(set(CLASS_LOSSES))],
        """What is minimized: the log-loss; 'focal', the log-loss times (1 - p)² of the true class's
        probability p, so that samples predicted well count little (Lin et al. 2017); 'hinge' and
        'squared_hinge', of more than two classes one-vs-rest as in `sklearn.svm.LinearSVC`, which
        give no probabilities but a `decision_function`.""",
    )  # fmt: skip
    label_smoothing: float = parameter(
        0.0, [Interval(Real, 0, 1, closed="left")],
        """Share of every target that is spread over all classes (Szegedy et al. 2016). The loss
        holds it too, and probabilities stay away from 0 and 1.""",
    )  # fmt: skip
    class_weight: Any = parameter(
        None, [dict, list, StrOptions({"balanced"}), None],
        """Factor for the weight of each class's samples; 'balanced' makes all classes weigh the
        same. For multilabel y a list of one dict for each label.""",
        words="dict, list of dicts, 'balanced' or None",
    )  # fmt: skip

    score = BaseNet.score  # not ClassifierMixin's, which knows no tensors

    @available_if_stochastic
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train one more epoch on the given data.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; `y` need not hold every class.
        classes : array-like of shape (n_classes,), default=None
            All classes of all calls; needed in the first call.

        Returns
        -------
        self : object
            The estimator after one epoch more.

        Raises
        ------
        ValueError
            If ``class_weight="balanced"``, which needs all samples, or `early_stopping` is set;
            if the first call names no `classes`, or a later one others; if `y` holds a class that
            they do not.
        """
        y, classes = to_numpy(y), to_numpy(classes)
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit, which does not see all "
                "samples. Use compute_class_weight('balanced', classes=classes, y=y) of "
                "sklearn.utils.class_weight, over all y, and pass its result as a dict."
            )
        first = check_partial_fit_first_call(self, classes)
        if first and type_of_target(y).startswith("multilabel"):
            check_classes_known(y, unique_labels(classes))
            classes = None  # the columns of y name every class
        run = self._make_run(X, y, sample_weight, incremental=True, classes=classes)
        return self._train(run, X, y, sample_weight)

    def _make_task(self, y, classes=None):
        task = classification(y, classes)
        task.loss, task.label_smoothing = self.loss, self.label_smoothing
        return task

    def _update_task(self):
        before, now = vars(self._task), {n: getattr(self, n) for n in ("loss", "label_smoothing")}
        changed = any(before[name] != value for name, value in now.items())
        before.update(now)
        return changed

    def _apply_class_weight(self, target, weight):
        if self.class_weight is None:
            return weight
        factor = self._task.factors_of_samples(self.class_weight, target, weight)
        return factor if weight is None else weight * factor

    @available_if(_gives_probabilities)
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        y_prob : ndarray or torch.Tensor of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        return convert_like(self._probabilities(X, "predict_proba"), like=X)

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X):
        """Predict the logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        log_y_prob : ndarray or torch.Tensor of shape (n_samples, n_classes)
        """
        log_y_prob = self._probabilities(X, "predict_log_proba", torch.log_)
        return convert_like(log_y_prob, like=X)

    @available_if(_gives_no_probabilities)
    def decision_function(self, X):
        """Raw outputs of a hinge loss, the greater the surer of the class.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        scores : ndarray or torch.Tensor of shape (n_samples,) or (n_samples, n_classes)
            Of two classes one number, positive for ``classes_[1]``.
        """
        check_is_fitted(self, "net_")
        scores = self._forward(X, lambda z, dtype: self._task.scores(z), "decision_function")
        return convert_like(scores, like=X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
