"""Nets that predict numbers."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

from sklearn.base import RegressorMixin

from .._utils.sklearn_compat import Interval, StrOptions, fit_context
from .estimator import BaseNet
from .parameters import POSITIVE, net_class, parameter
from .tasks import REGRESSION_LOSSES, Regression


def regression_loss(kw_only: bool = True):
    """The parameter `loss` of a regressor."""
    return parameter(
        "squared_error", [StrOptions(set(REGRESSION_LOSSES))],
        """What is minimized: half the squared error; the absolute error, which predicts a median;
        'huber', squared up to `delta` and absolute beyond (Huber 1964); 'quantile', the pinball
        loss (Koenker & Bassett 1978); half the 'poisson' deviance, which needs y >= 0, or the
        'gamma' deviance, which needs y > 0, both with log link.""",
        kw_only=kw_only,
    )  # fmt: skip


@net_class
class RegressorNet(RegressorMixin, BaseNet):
    """One or several real targets."""

    loss: str = regression_loss()
    quantile: float = parameter(
        0.5, [Interval(Real, 0, 1, closed="neither")],
        "The quantile that loss='quantile' predicts, between 0 and 1.",
    )  # fmt: skip
    delta: float = parameter(
        1.35, [POSITIVE],
        """Errors beyond it are outliers for loss='huber', in units of y: the default suits targets
        of standard deviation 1 (`sklearn.compose.TransformedTargetRegressor` scales them).""",
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

    def _loss_options(self):
        needed = {"huber": "delta", "quantile": "quantile"}.get(self.loss)
        return {needed: getattr(self, needed)} if needed else {}

    def _make_task(self, y, classes=None):
        return Regression(y, self.loss, type(self).__name__, **self._loss_options())

    def _update_task(self):
        before, options = self._task.loss, self._loss_options()
        loss = REGRESSION_LOSSES[self.loss](**options)
        if loss.out_activation != before.out_activation:
            raise ValueError(
                f"A net whose out_activation_ is {before.out_activation!r} cannot go on with "
                f"loss={self.loss!r}, whose outputs mean something else "
                f"({loss.out_activation!r}). Fit a new net: clone it, or pass warm_start=False."
            )
        self._task.loss = loss
        same = all(getattr(before, name) == value for name, value in options.items())
        return type(loss) is not type(before) or not same
