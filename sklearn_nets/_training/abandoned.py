"""Whether anybody still waits for what a thread trains."""

from __future__ import annotations

import threading

here = threading.local()  # `member`: what this thread is to a rendezvous


class Abandoned(BaseException):
    """Ends a task whose result nobody waits for; not an Exception, which `fit`s may catch."""


def raise_if_abandoned() -> None:
    """End a fit that was given up, after an interrupt say, which only the main thread hears.

    Raises
    ------
    Abandoned
    """
    member = getattr(here, "member", None)
    if member is not None and member.call is not None and member.call.is_aborted():
        raise Abandoned
