"""skorch's callbacks that need its own loop, and scikit-learn's, called at the ends of epochs."""

from __future__ import annotations

import copy
from contextlib import contextmanager

from skorch.callbacks import Callback, Freezer, LRScheduler, PassthroughScoring, Unfreezer
from skorch.callbacks.scoring import ScoringBase

# callbacks that would do nothing here, or fail, and what does the same
REPLACEMENTS = {
    (LRScheduler,): "learning_rate and learning_rate_init set the rate of every step",
    (PassthroughScoring, ScoringBase): (
        "pass X_val and y_val to fit, and read validation_scores_ and history_"
    ),
    (Freezer, Unfreezer): "freeze='backbone' of the image nets trains the last layer alone",
}


def check_callbacks(callbacks) -> None:
    """Refuse callbacks that work in skorch's own training loop alone."""
    for callback in callbacks or []:
        callback = callback[1] if isinstance(callback, tuple) else callback  # (name, callback)
        cls = callback if isinstance(callback, type) else type(callback)
        for unsupported, instead in REPLACEMENTS.items():
            if issubclass(cls, unsupported):
                raise ValueError(
                    f"callbacks cannot hold a {cls.__name__}, which works in skorch's own training "
                    f"loop alone. Leave it out; {instead}."
                )


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
