"""Nets that predict numbers."""

from __future__ import annotations

from typing import ClassVar

from sklearn.base import RegressorMixin

from .._utils.sklearn_compat import StrOptions, fit_context
from .estimator import BaseNet
from .parameters import net_class, parameter
from .tasks import Regression


@net_class
class RegressorNet(RegressorMixin, BaseNet):
    """One or several real targets."""

    loss: str = parameter(
        "squared_error", [StrOptions({"squared_error", "poisson"})],
        "Half the squared error, or half the Poisson deviance with log link, which needs y >= 0.",
        kw_only=False,
    )  # fmt: skip
    _y_numeric: ClassVar[bool] = True

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train one more epoch on the given data; with solver='lbfgs' up to `max_iter` iterations.

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

    score = BaseNet.score  # not RegressorMixin's, which knows no tensors

    def _make_task(self, y, classes=None):
        return Regression(y, self.loss, type(self).__name__)
