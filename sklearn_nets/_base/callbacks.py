"""scikit-learn's callbacks (`set_callbacks`), called at the ends of skorch's epochs."""

from __future__ import annotations

import copy
from contextlib import contextmanager

from skorch.callbacks import Callback


class EstimatorCallbacks(Callback):
    """Passes the epochs of one fit on to the callbacks of its estimator.

    Parameters
    ----------
    estimator : estimator
    X, y : array-like
        The data as the user gave them.
    metadata : dict
        Other arguments of `fit`.
    max_subtasks : int
        Maximum number of epochs.
    """

    def __init__(self, estimator, X, y, metadata, max_subtasks):
        self.estimator = estimator
        self.active = hasattr(estimator, "_skl_callbacks")
        self.arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=max_subtasks)
        if self.active:
            self.context.call_on_fit_task_begin(**self.arguments)

    @contextmanager
    def attached(self, net):
        """Among the callbacks of a skorch net while it is trained, where anyone listens."""
        callbacks = net.callbacks_
        if self.active:
            net.callbacks_ = [*callbacks, ("scikit_learn", self)]
        try:
            yield
        finally:
            net.callbacks_ = callbacks

    def on_epoch_begin(self, net, **kwargs):
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.arguments)

    def on_epoch_end(self, net, **kwargs):
        if self.epoch.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=self._fitted_so_far
        ):
            raise KeyboardInterrupt

    def _fitted_so_far(self):
        """A copy, made only for a callback that asks: later epochs must not change it."""
        net = copy.copy(self.estimator.net_)
        # without this callback, which holds the data
        net.callbacks_ = [named for named in net.callbacks_ if named[1] is not self]
        return {"net_": copy.deepcopy(net)}

    def end(self):
        """The fit is over."""
        if self.active:
            self.context.call_on_fit_task_end(**self.arguments, reconstruction_attributes={})
