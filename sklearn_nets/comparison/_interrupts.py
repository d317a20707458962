"""Ctrl-C, also where a fit catches it."""

from __future__ import annotations

import signal
import threading
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
