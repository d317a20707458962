"""Tasks as threads whose nets wait for each other, to be trained together.

A net's run comes in the middle of its `fit`, on the stack of whatever called it; so each task has a
thread, which can wait there. Apart from training, no more of them compute at a time than were asked
for, usually one: the rest wait, so that a hundred threads neither compete for the cores nor mix up
what belongs to the process, such as the filters of warnings.

The thread that opened the rendezvous and waits for its tasks is the driver: when no other thread
can go on, it trains the runs that wait, and wakes their threads.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable

from .abandoned import Abandoned
from .abandoned import here as _here
from .admission import StackedTraining
from .process_state import ProcessState
from .run import TrainingRun


class Task:
    """One function to be run by a thread.

    Parameters
    ----------
    call : Call
    function : callable()
    callback : callable(result)
        Called once, by whoever takes the result: it may go on with an iterator of the user's, which
        no other thread is to be in, let alone wait in.
    """

    def __init__(self, call, function, callback):
        self.call, self.function, self.callback = call, function, callback
        self.context = contextvars.copy_context()  # numpy.errstate, and what else belongs to it
        self.done, self.result, self.error = False, None, None

    def run(self):
        """Run the function, and keep what it returns or raises."""
        try:
            if self.call.is_aborted():
                raise Abandoned
            self.result = self.context.run(self.function)
        except BaseException as error:
            self.error = error
        self.function = self.context = None

    def take(self):
        """What the function returned, or raise what it raised."""
        callback, self.callback = self.callback, None
        if self.error is not None:
            raise self.error
        if callback is not None:
            callback(self.result)
        return self.result


class Call:
    """The tasks that one thread wants done.

    Parameters
    ----------
    n_jobs : int
        How many may compute at a time.
    parent : Call or None
        The one that the thread itself is a task of.
    """

    def __init__(self, n_jobs, parent=None):
        self.n_jobs, self.parent = n_jobs, parent
        self.tasks = deque()
        self.aborted = False

    def is_aborted(self) -> bool:
        """Whether nobody waits for the results any more."""
        return self.aborted or (self.parent is not None and self.parent.is_aborted())


class Member:
    """A thread of a rendezvous: what it works on, and what it waits by."""

    def __init__(self, rendezvous):
        self.rendezvous = rendezvous
        self.call = self.run = self.outcome = None
        self.gate = threading.Semaphore(0)


class Rendezvous:
    """Where threads hand in their runs, to be trained together.

    Parameters
    ----------
    training : StackedTraining
        Admits runs, and trains them.
    max_threads : int
        Fewer if the system gives fewer.
    """

    def __init__(self, training: StackedTraining, max_threads: int):
        self._training, self._max_threads = training, max_threads
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._ready: deque[Member] = deque()  # could go on
        self._waiting: list[Member] = []  # for training
        self._asking: dict[Member, Task] = {}  # for the result of a task
        self._n_active = self._n_threads = 0
        self._wake_driver = threading.Event()
        self._state = ProcessState()

    def is_here(self) -> bool:
        """Whether this is its process: in a fork of it none of its threads goes on."""
        return self._process == os.getpid()

    # ---------------------------------------------------------------- for the thread that calls
    def begin_call(self, n_jobs: int) -> Call:
        """Begin to hand in tasks from this thread."""
        member = getattr(_here, "member", None)
        call = Call(n_jobs, None if member is None else member.call)
        with self._lock:
            self._calls.append(call)
        return call

    def end_call(self, call: Call) -> None:
        """No more tasks come."""
        with self._lock:
            if call in self._calls:
                self._calls.remove(call)
        if not self._calls and getattr(_here, "member", None) is None:
            self._state.restore()

    def submit(self, call: Call, function: Callable, callback: Callable) -> Task:
        """Hand in a task, to be started when there is time."""
        task = Task(call, function, callback)
        with self._lock:
            call.tasks.append(task)
        return task

    def result(self, task: Task):
        """Wait for a task; what it returned, or raise what it raised."""
        member = getattr(_here, "member", None)
        if member is None:
            self._drive(lambda: task.done)
        else:
            self._ask(member, task)
        return task.take()

    def abort(self, call: Call) -> None:
        """Give up what is left of a call: threads that wait for training end, no task begins.

        The driver waits until all threads have ended.
        """
        with self._lock:
            call.aborted = True
            given_up = [m for m in self._waiting if m.call.is_aborted()]
            self._waiting = [m for m in self._waiting if m not in given_up]
            for member in given_up:
                member.outcome = Abandoned()
            self._ready.extend(given_up)
        if getattr(_here, "member", None) is None:
            self._drive(lambda: not self._n_threads)

    def close(self) -> None:
        """Give up everything."""
        for call in list(self._calls):
            self.abort(call)
            self.end_call(call)

    # ------------------------------------------------------------------- for a thread with a net
    def train(self, run: TrainingRun) -> bool | None:
        """Hand in a run and wait until it is trained.

        Returns
        -------
        bool or None
            Whether it stopped before all its epochs were run; None if it is to be trained alone.

        Raises
        ------
        BaseException
            What ended the training of this run.
        """
        member = _here.member
        with self._lock:
            if member.call.is_aborted():
                raise Abandoned
            reason = None
            if listens(run) and ProcessState() != self._state:  # it would warn and print elsewhere
                reason = "its fit has filters of warnings, or prints to a place, of its own"
            if not self._training.admit(run, reason):
                return None
            member.run = run
            self._waiting.append(member)
        self._pause(member)
        outcome, member.run, member.outcome = member.outcome, None, None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    # ------------------------------------------------------------------------------- scheduling
    def _drive(self, is_done):
        """Keep all threads going, and train what waits, until something is done."""
        with self._lock:
            if not self._n_active:  # else a thread, going on since the last result, has set its own
                self._state = ProcessState()
        try:
            while True:
                with self._lock:
                    self._wake_driver.clear()
                    if is_done():
                        return
                    self._start()
                    members = [] if self._n_active else self._waiting
                    if members:
                        self._waiting = []
                if members:
                    self._train(members)
                else:
                    self._wake_driver.wait(1.0)  # a signal that another thread gets is seen then
        finally:
            with self._lock:
                if not self._n_active:
                    self._state.restore()

    def _train(self, members):
        self._state.restore()
        outcomes = [Abandoned()] * len(members)  # after an interrupt
        try:
            outcomes = self._training.train([member.run for member in members])
        finally:
            with self._lock:
                for member, outcome in zip(members, outcomes, strict=True):
                    member.outcome = outcome
                self._ready.extend(members)

    def _ask(self, member, task):
        """Wait for a task in a thread that is itself one of the tasks'."""
        while not task.done:
            with self._lock:
                mine = self._is_full() and task in task.call.tasks
                if mine:
                    task.call.tasks.remove(task)
                wait = not mine and not task.done
                if wait:
                    self._asking[member] = task
            if mine:
                self._run_in(member, task)
            elif wait:
                self._pause(member)

    def _run_in(self, member, task):
        """Run a task in the thread that wants its result, because there is no other for it."""
        outer, member.call = member.call, task.call
        task.run()
        task.done, member.call = True, outer

    def _pause(self, member):
        """Let other threads go on until this one may."""
        state = ProcessState()
        self._state.restore()
        with self._lock:
            self._n_active -= 1
            self._start()
        member.gate.acquire()
        state.restore()

    def _start(self):
        """Let as many threads compute as may, those first that have begun; under the lock."""
        n_jobs = max((call.n_jobs for call in self._calls), default=1)
        while self._n_active < n_jobs:
            if self._ready:
                self._ready.popleft().gate.release()
            elif not self._start_thread() and not self._let_ask():
                break
            self._n_active += 1
        if not self._n_active:
            self._wake_driver.set()

    def _start_thread(self) -> bool:
        if self._is_full():
            return False
        if self._waiting and not self._training.has_room():
            return False
        task = self._next_task()
        if task is None:
            return False
        try:
            threading.Thread(target=self._work, args=(task,), daemon=True).start()
        except RuntimeError:  # the system gives no more of them
            if not self._n_threads:
                raise
            self._max_threads = self._n_threads
            task.call.tasks.appendleft(task)
            return False
        self._n_threads += 1
        return True

    def _is_full(self):
        return self._n_threads >= self._max_threads

    def _let_ask(self) -> bool:
        """If nothing else can go on, wake a thread that can run the task it waits for."""
        if self._n_active or self._waiting:
            return False
        for member, task in self._asking.items():
            if task in task.call.tasks:
                del self._asking[member]
                member.gate.release()
                return True
        return False

    def _next_task(self):
        """A task that has not begun, if there is one; under the lock."""
        for call in reversed(self._calls):  # innermost first: less is begun at a time
            if call.tasks:
                return call.tasks.popleft()
        return None

    def _work(self, task):
        """What a thread does: tasks, one after the other, while no other thread waits to go on."""
        member = _here.member = Member(self)
        while task is not None:
            member.call = task.call
            task.run()
            with self._lock:
                task.done = True
                for asking in [m for m, asked in self._asking.items() if asked is task]:
                    del self._asking[asking]
                    self._ready.append(asking)
                task = None if self._ready else self._next_task()
                if task is None:
                    self._n_active -= 1
                    self._n_threads -= 1
                    self._start()
                self._wake_driver.set()


def listens(run: TrainingRun) -> bool:
    """Whether a run calls what is not of this package, or prints."""
    return run.verbose or any(name != "epoch_timer" for name, _ in run.net.callbacks_)


def current_rendezvous() -> Rendezvous | None:
    """The rendezvous that this thread is a member of."""
    member = getattr(_here, "member", None)
    return member.rendezvous if member is not None and member.rendezvous.is_here() else None
