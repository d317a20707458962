"""Fit and judge every estimator on every fold, one after the other or in processes."""

from __future__ import annotations

import pickle
import warnings
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from sklearn.base import clone

from ._interrupts import noticed_interrupts
from ._measure import (
    count_parameters,
    find_device,
    fit_predict,
    latency,
    read_curves,
    size_on_disk,
    train_score,
)
from ._metrics import Answer, Evidence
from ._problems import Problem
from ._progress import epochs_shown, live_progress


@dataclass
class FoldResult:
    """What one estimator did on one fold.

    Attributes
    ----------
    row : dict
        Its line in ``Comparison.folds``.
    answer : Answer
    confusion : ndarray or None
    curves : dict of str to list of float
    warnings : list of (type, str)
        Category and message.
    """

    row: dict
    answer: Answer
    confusion: np.ndarray | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    warnings: list[tuple[type, str]] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of all estimators."""

    complete: dict[str, list[FoldResult]]
    failures: dict[str, Exception]
    left_out: list[str]


@dataclass
class Work:
    """What is to be judged, and where results go.

    Attributes
    ----------
    estimators : dict of str to estimator
    X : array-like
    problem : Problem
    splits : list of (ndarray, ndarray)
    done : dict of (str, int) to FoldResult
        Results by estimator and fold; those of a checkpoint, to begin with.
    outcome : Outcome
        Its `failures` are written to.
    checkpoint : Checkpoint or None
    """

    estimators: dict[str, Any]
    X: Any
    problem: Problem
    splits: list[tuple[np.ndarray, np.ndarray]]
    done: dict[tuple[str, int], FoldResult]
    outcome: Outcome
    checkpoint: Any  # whose module imports this one

    def keep(self, name, fold, result):
        self.done[name, fold] = result
        if self.checkpoint:
            self.checkpoint.save(name, fold, result)


def judge_fold(name, estimator, X, problem, splits, fold, show=None, interrupted=()) -> FoldResult:
    """Fit a clone of an estimator on one fold, and judge it; an error names both."""
    try:
        return _judge_fold(name, estimator, X, problem, splits, fold, show, interrupted)
    except Exception as error:
        error.add_note(f"Estimator {name!r}, fold {fold + 1} of {len(splits)}.")
        raise


def _judge_fold(name, estimator, X, problem, splits, fold, show, interrupted) -> FoldResult:
    (train, test), model = splits[fold], clone(estimator)
    with warnings.catch_warnings(record=True) as caught, epochs_shown(model, show, name, fold):
        costs, answer = fit_predict(model, X, problem, train, test)
    if interrupted:  # a fit that was cut short is no result
        raise KeyboardInterrupt
    evidence = Evidence(problem, problem.take(test), answer)
    metrics = problem.judge(evidence)
    with warnings.catch_warnings():  # the same warnings again, of the same model
        warnings.simplefilter("ignore")
        costs["train_score"] = train_score(model, X, problem, train, len(test), fold)
        once = fold == 0  # they hardly differ from fold to fold
        costs["latency"] = latency(model, X, test[0]) if once else np.nan
        costs["size_on_disk"] = size_on_disk(model) if once else np.nan
    row = {"estimator": name, "fold": fold, "n_train": len(train), "n_test": len(test)}
    row |= metrics | costs
    row |= {"n_parameters": count_parameters(model), "device": find_device(model)}
    messages = list(dict.fromkeys((w.category, str(w.message)) for w in caught))
    return FoldResult(row, answer, problem.confusion(evidence), read_curves(model), messages)


def run_folds(estimators, X, problem, splits, *, n_jobs, progress, checkpoint) -> Outcome:
    """Judge all estimators on all folds; one that fails does not stop the others."""
    done = checkpoint.load(estimators, splits) if checkpoint else {}
    outcome = Outcome({}, {}, [])
    work = Work(estimators, X, problem, splits, done, outcome, checkpoint)
    with (
        live_progress(list(estimators), len(splits), progress) as show,
        noticed_interrupts() as interrupted,
        suppress(KeyboardInterrupt),
    ):
        if effective_n_jobs(n_jobs) == 1:
            _run_serially(work, show, interrupted)
        else:
            _run_in_processes(work, show, n_jobs)
    n_folds = len(splits)
    for name in estimators:
        if name in outcome.failures:
            continue
        folds = [done[name, fold] for fold in range(n_folds) if (name, fold) in done]
        if len(folds) == n_folds:
            outcome.complete[name] = folds
            issue_warnings(name, folds)
        else:
            outcome.left_out.append(name)
    return outcome


def _run_serially(work: Work, show, interrupted):
    for name, estimator in work.estimators.items():
        for fold in range(len(work.splits)):
            if (name, fold) in work.done:
                continue
            args = name, estimator, work.X, work.problem, work.splits, fold
            try:
                result = judge_fold(*args, show, interrupted)
            except Exception as error:
                work.outcome.failures[name] = error
                break
            work.keep(name, fold, result)


def _run_in_processes(work: Work, show, n_jobs):
    tasks = [
        delayed(_judge_or_fail)(name, estimator, work.X, work.problem, work.splits, fold)
        for name, estimator in work.estimators.items()
        for fold in range(len(work.splits))
        if (name, fold) not in work.done
    ]
    n_done, failed_fold = defaultdict(int), {}
    # as they come, where the backend can: not if nets wait for each other (`stacked`), or for dask
    backend = get_active_backend()[0]
    together = getattr(backend, "tasks_wait_for_each_other", False)
    one_by_one = backend.supports_return_generator and not together
    return_as = "generator_unordered" if one_by_one else "list"
    for name, fold, result in Parallel(n_jobs=n_jobs, return_as=return_as)(tasks):
        if isinstance(result, Exception):
            # of several folds that fail, the first is told, as when they run one by one
            if fold < failed_fold.get(name, len(work.splits)):
                work.outcome.failures[name], failed_fold[name] = result, fold
            continue
        work.keep(name, fold, result)
        if show:
            show(name, n_done[name], 1.0)
            n_done[name] += 1


def _judge_or_fail(name, estimator, X, problem, splits, fold):
    """In a process: an error comes back as a value, so that the others go on."""
    try:
        return name, fold, judge_fold(name, estimator, X, problem, splits, fold)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            notes = getattr(error, "__notes__", [])
            error = RuntimeError(f"{type(error).__name__}: {error}")
            error.__notes__ = notes
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return name, fold, error


def issue_warnings(name, folds: list[FoldResult]) -> None:
    """Warn once of each warning, with the estimator and the folds."""
    where = defaultdict(list)
    for fold, result in enumerate(folds):
        for warning in result.warnings:
            where[warning].append(fold + 1)
    for (category, message), numbers in where.items():
        which = ", ".join(map(str, numbers)) if len(numbers) < len(folds) else "each"
        text = f"{name}, fold {which} of {len(folds)}: {message}"
        warnings.warn(text, category, stacklevel=4)
