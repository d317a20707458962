"""The live display of a comparison: estimator, fold and epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

Show = Callable[..., None]


@contextmanager
def live_progress(names: list[str], n_folds: int, wanted: bool) -> Iterator[Show | None]:
    """Show a bar per estimator on standard error while the block runs.

    Yields
    ------
    show : callable ``show(name, fold, done=0.0, status="")`` or None
        Says that a fraction `done` of a fold (counted from 0) is over; the status None leaves the
        last one standing. None where nobody would see it: unwanted, rich is missing, or standard
        error is no terminal.
    """
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        wanted = False
    if not wanted or not (console := Console(stderr=True)).is_terminal:
        yield None
        return
    columns = [
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True) as display:
        new_bar = partial(display.add_task, start=False, total=n_folds, status="")
        bars = {name: new_bar(str(name)) for name in names}

        def show(name: str, fold: int, done: float = 0.0, status: str | None = "") -> None:
            display.start_task(bars[name])
            display.update(bars[name], completed=fold + done)
            if status is not None:
                status = ", ".join(filter(None, [f"fold {fold + 1} of {n_folds}", status]))
                display.update(bars[name], status=status)

        yield show


@contextmanager
def epochs_shown(model, show: Show | None, name: str, fold: int) -> Iterator[None]:
    """Show a fold and, if the last step of `model` takes callbacks, the epochs of its fit.

    The callback goes to the last step itself: scikit-learn passes one that is set on a pipeline
    on to every step, and warns about each that takes none.
    """
    if show is None:
        yield
        return
    show(name, fold)
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    # scikit-learn has no public way to ask which callbacks an estimator already has.
    theirs = getattr(model, "_skl_callbacks", [])
    callback = EpochCallback(lambda done, status: show(name, fold, done, status))
    _set_callbacks(model, *theirs, callback)
    try:
        yield
    finally:
        _set_callbacks(model, *theirs)
    show(name, fold, 1.0, None)


def _set_callbacks(model, *callbacks) -> None:
    if hasattr(model, "set_callbacks"):
        with warnings.catch_warnings():
            # An estimator may say here that its solver will not call them: no loss.
            warnings.simplefilter("ignore")
            model.set_callbacks(*callbacks)


class EpochCallback:
    """A scikit-learn ``FitCallback`` that tells how far a fit has come.

    Parameters
    ----------
    tell : callable ``tell(done, status)``
        Called at the end of every epoch, iteration or candidate with the fraction that is done.
    """

    def __init__(self, tell: Callable[[float, str], None]):
        self.tell = tell

    def __reduce__(self):
        # In the worker processes of a search there is no display to tell.
        return EpochCallback, (_tell_nobody,)

    def setup(self, estimator, context) -> None: ...

    def teardown(self, estimator, context) -> None: ...

    def on_fit_task_begin(self, estimator, context) -> None: ...

    def on_fit_task_end(self, estimator, context) -> None:
        parent = context.parent
        if parent is None or context.source_estimator_name:
            return  # the fit as a whole, alone or as a step of a pipeline
        n, total = context.task_id + 1, parent.max_subtasks
        unit = context.task_name or "step"
        if total:
            self.tell(n / total, f"{unit} {n} of {total}")
        else:
            self.tell(0.0, f"{unit} {n}")


def _tell_nobody(done: float, status: str) -> None: ...
