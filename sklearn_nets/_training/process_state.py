"""What belongs to the process, and one thread must not leave to another."""

from __future__ import annotations

import sys
import warnings


class ProcessState:
    """Warnings' filters and display, and where prints go, as a thread left them.

    They belong to the process. `warnings.catch_warnings` and `contextlib.redirect_stdout` put back
    what they found; where their block is left for another thread, that thread must not find, nor
    put back, what is in it.
    """

    NAMES = (
        *((warnings, name) for name in ("filters", "showwarning", "_showwarnmsg_impl")),
        (sys, "stdout"),
        (sys, "stderr"),
    )

    def __init__(self):
        self.values = {(o, n): getattr(o, n) for o, n in self.NAMES if hasattr(o, n)}

    def __eq__(self, other):
        return self._comparable() == other._comparable()

    def _comparable(self):
        # scikit-learn builds the filters of a task anew: without doubles, of compiled patterns
        key = warnings, "filters"
        filters = [tuple(getattr(part, "pattern", part) for part in f) for f in self.values[key]]
        return {**self.values, key: list(dict.fromkeys(filters))}

    def restore(self):
        """Put them back."""
        before, changed = ProcessState().values, False
        for (owner, name), value in self.values.items():
            changed |= owner is warnings and before[owner, name] is not value
            setattr(owner, name, value)
        if changed:
            with warnings.catch_warnings():  # makes Python forget what other filters have shown
                pass
