"""`stacked`: nets that many fits train, trained together, behind scikit-learn's own functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from joblib.parallel import (
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    get_active_backend,
)

from ._training.admission import StackedTraining
from ._training.rendezvous import Rendezvous

MAX_NETS = 1000  # as many are prepared at a time, each in a thread of its own


@contextmanager
def stacked(progress: bool = False) -> Iterator[None]:
    """Train the nets of many fits together, as one stack, inside the block.

    Nothing else changes: `GridSearchCV`, `RandomizedSearchCV`, the halving searches,
    `cross_validate`, `cross_val_predict`, `learning_curve`, `validation_curve`,
    `permutation_test_score`, `BaggingClassifier`, `OneVsRestClassifier`, `MultiOutputClassifier`,
    `compare` and whatever else calls `joblib.Parallel` give the results that they give without it,
    up to rounding.

    Nets are trained together if they have as many layers of similar sizes, the same activation,
    loss and solver and the same number of batches; data, folds, seeds, weights of samples and
    classes, `alpha`, learning rates, momentum and stopping may differ. A net that cannot be part of
    a stack trains alone: that is so for solver 'lbfgs', sparse X, callbacks of batches, and nets
    other than perceptrons. The logger ``sklearn_nets.stacked`` tells which.

    Besides training, the fits run one at a time, or as many at a time as `n_jobs` says, in threads
    of this process.

    Parameters
    ----------
    progress : bool, default=False
        Whether to show a bar of all epochs on standard error; needs the package rich.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, which ends all the fits.

    Notes
    -----
    Times of single fits (``mean_fit_time``, the page of `compare`) count the wait for the others. A
    fit must not wait for a lock that another fit holds while it trains. Functions of scikit-learn
    that ask joblib in how many pieces to cut their work (`pairwise_distances`, forests) cut it into
    many small ones. Results of a generator (``return_as="generator"``) come one after the other,
    without stacks.

    Candidates that are alike, say of a parameter that has no effect, may differ by rounding, and so
    their ranks. With ``random_state=None`` the fits draw from numpy's global generator in another
    order. A step that changes its X in place changes that of fits that wait for training: let it
    copy. What else belongs to the process (the working directory, environment variables) must not
    change during a fit.

    Examples
    --------
    >>> import sklearn_nets
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = sklearn_nets.MLPClassifier(20, learning_rate_init=0.05, max_iter=60, tol=0.1,
    ...                                  random_state=0)
    >>> search = GridSearchCV(mlp, {"alpha": [1e-4, 1e-2, 1.0]})
    >>> with sklearn_nets.stacked():
    ...     bool(search.fit(X, y).best_score_ > 0.9)
    True
    """
    if isinstance(get_active_backend()[0], StackedBackend):  # also inside one of the fits
        yield
        return
    rendezvous = Rendezvous(StackedTraining(progress), MAX_NETS)
    try:
        with joblib.parallel_config(backend=StackedBackend(rendezvous)):
            yield
    finally:
        rendezvous.close()


class StackedBackend(ParallelBackendBase):
    """joblib's way to a rendezvous: every task is a thread, and all of them begin.

    Parameters
    ----------
    rendezvous : Rendezvous
    nesting_level : int
    parallel : joblib.Parallel, optional
        The one that it belongs to: joblib gives the same backend to all of a thread, also to one
        that is called while another one is not over.
    """

    uses_threads = True
    supports_sharedmem = True
    supports_return_generator = True  # one after the other
    tasks_wait_for_each_other = True

    def __init__(self, rendezvous, nesting_level=0, parallel=None):
        super().__init__(nesting_level=nesting_level)
        self.rendezvous, self.call, self.parallel = rendezvous, None, parallel

    def effective_n_jobs(self, n_jobs):
        """In as many pieces is work to be cut: every net can be one."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return MAX_NETS

    def configure(self, n_jobs=1, parallel=None, **kwargs):
        """Begin a call; `n_jobs` of its tasks compute at a time while no net is trained."""
        pieces = self.effective_n_jobs(n_jobs)
        if parallel.return_generator or not self.rendezvous.is_here():
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if parallel is not self.parallel:
            raise FallbackToBackend(StackedBackend(self.rendezvous, self.nesting_level, parallel))
        self.n_jobs = n_jobs if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)
        self.call = self.rendezvous.begin_call(self.n_jobs)
        return pieces

    def submit(self, func, callback=None):
        """Hand in a task."""
        return self.rendezvous.submit(self.call, func, callback)

    def retrieve_result(self, out, timeout=None):
        """Wait for a task; meanwhile nets are trained."""
        return self.rendezvous.result(out)

    def terminate(self):
        """End a call."""
        self.rendezvous.end_call(self.call)

    def abort_everything(self, ensure_ready=True):
        """Give up a call."""
        self.rendezvous.abort(self.call)
        self.rendezvous.end_call(self.call)
        if ensure_ready:
            self.call = self.rendezvous.begin_call(self.n_jobs)

    def get_nested_backend(self):
        """The same rendezvous for calls inside a task."""
        return StackedBackend(self.rendezvous, self.nesting_level + 1), None
