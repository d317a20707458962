"""What happens beside the figures: Ctrl-C, and warnings of the estimators."""

from __future__ import annotations

import signal
import threading
import warnings
from collections import defaultdict
from contextlib import contextmanager


@contextmanager
def noticed_interrupts():
    """Notice Ctrl-C also where a fit catches it, as scikit-learn's and our perceptrons do.

    Yields
    ------
    pressed : list
        Empty until then. Outside of the main thread, where Python hears no signal, it stays so.
    """
    pressed = []
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(number, frame):
        pressed.append(number)
        if callable(previous):
            previous(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)


class Warnings:
    """Collects the warnings of one estimator's fits, to say each once."""

    def __init__(self, name, n_folds: int):
        self.name, self.n_folds = name, n_folds
        self.folds = defaultdict(list)

    @contextmanager
    def of_fold(self, fold: int):
        """Hold back the warnings of the block."""
        with warnings.catch_warnings(record=True) as caught:
            yield
        for warning in caught:
            folds = self.folds[warning.category, str(warning.message)]
            folds.extend([fold + 1] if fold + 1 not in folds else [])

    def issue(self) -> None:
        """Warn once of each, with the estimator and the folds."""
        for (category, message), folds in self.folds.items():
            which = ", ".join(map(str, folds)) if len(folds) < self.n_folds else "each"
            where = f"{self.name}, fold {which} of {self.n_folds}"
            warnings.warn(f"{where}: {message}", category, stacklevel=3)
