"""The command ``compare``: judge the models, print the tables, write the page."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import joblib

from .._utils.device import resolve_device
from ..comparison import Comparison, _html, _tables, compare
from ..line_up import MODELS, set_device
from . import built_in_data
from .arguments import AT_A_TIME, FOLDS, HELD_OUT
from .read_data import Job, read_job

# name -> title, data with its line-up, and pictures of the data (digits are ink on white paper)
JOBS = {
    "digits": (
        "Digits: one label per image",
        built_in_data.digits,
        lambda X: 16 - X.reshape(-1, 8, 8),
    ),
    "scenes": ("Scenes: one label per pixel", built_in_data.scenes, lambda X: X),
    "boxes": ("Boxes: what is in an image and where", built_in_data.boxes, lambda X: X),
}
OF_FILES = ("target", "masks", "coco", "test", "group", "size", "ignore_index")


def run(arguments) -> int:
    """Run what was asked for; the status for the process, as `main` returns it."""
    sections, results, interrupted = [], [], False
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            for job in _jobs(arguments):
                try:
                    result = _compare(job, arguments)
                except Exception as error:
                    notes = getattr(error, "__notes__", [])
                    if not notes and not isinstance(error, ValueError):
                        raise  # not because every estimator failed
                    print("sklearn-nets compare: error:", error, *notes, file=sys.stderr)
                    return 1
                _print(job, result)
                sections.append((job.title, result, job.images))
                results.append(result)
                if result.left_out:
                    break
        except KeyboardInterrupt:  # before an estimator was complete, or while data was read
            interrupted = True
            print("sklearn-nets compare: interrupted", file=sys.stderr)
    if sections:
        _html.write_html(arguments.output, sections)
        print(f"Wrote {arguments.output}")
    if interrupted or any(result.left_out for result in results):
        return 130
    return int(any(result.failures for result in results))


def _compare(job: Job, arguments) -> Comparison:
    options = {"n_jobs": arguments.jobs, **job.options}
    result = compare(
        job.estimators, job.X, job.y, random_state=arguments.seed, progress=not arguments.quiet,
        **options,
    )  # fmt: skip
    result.provenance.update(job.facts)
    return result


def _n_jobs(arguments, data: str) -> int | None:
    """How many processes fit at a time."""
    if arguments.jobs is None and resolve_device(arguments.device).type == "cpu":
        return min(AT_A_TIME.get(data, 1), joblib.cpu_count())
    return arguments.jobs


def _jobs(arguments) -> Iterator[Job]:
    """The comparisons that are asked for; leaves with code 2 where that makes no sense."""
    if arguments.data is None or arguments.data in JOBS:
        for name in OF_FILES:
            if getattr(arguments, name) is not None:
                flag = "--" + name.replace("_", "-")
                arguments.fail(f"{flag} is for data of your own: name a file or a folder before it")
        for name in [arguments.data] if arguments.data else JOBS:
            yield _built_in(name, arguments)
        return
    if not Path(arguments.data).exists():
        arguments.fail(
            f"{arguments.data!r} does not exist: expected a table, a folder of images, or one of "
            f"{', '.join(JOBS)} (looked in {Path.cwd()})"
        )
    arguments.folds = arguments.folds or FOLDS
    try:
        job = read_job(arguments)
    except (OSError, ValueError, ImportError) as error:
        arguments.fail(str(error))
    for fact in job.facts.values():
        print(fact)
    print(f"Models: {', '.join(job.estimators)}.")
    yield job


def _built_in(name, arguments) -> Job:
    title, make, picture = JOBS[name]
    estimators, X, y = make(random_state=arguments.seed)
    if arguments.models:
        titles = [MODELS[model] for model in arguments.models]
        if "cnn" in arguments.models:
            titles += ["SegmentationNet", "DetectionNet"]
        estimators = {title: estimators[title] for title in titles if title in estimators}
        if not estimators:
            arguments.fail(f"none of the models {','.join(arguments.models)} is in {name}")
    if arguments.device != "auto":
        estimators = {n: set_device(e, arguments.device) for n, e in estimators.items()}
    pictures, options = picture(X), {"n_jobs": _n_jobs(arguments, name)}
    if arguments.folds or name not in HELD_OUT:
        options["cv"] = arguments.folds or FOLDS
    else:
        n = 2 * len(X) // 3
        X, y, options["test"] = X[:n], y[:n], (X[n:], y[n:])
    return Job(title, estimators, X, y, options, pictures)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Say what is wrong, and not in which line of which library."""
    print(f"warning: {message}", file=file or sys.stderr)


def _print(job: Job, result: Comparison) -> None:
    heading = f"{job.title} ({_tables.describe(result)})"
    several = len(result.splits) > 1
    caption = f"{heading}\nmean ± standard deviation over the folds" if several else heading
    tables = {caption: _tables.summary(result)}
    if hasattr(result.problem, "classes"):
        caption = "precision / recall per class" + ", all test folds together" * several
        tables[caption] = _tables.class_summary(result)
    for caption, table in tables.items():
        _print_table(caption, table)
    print(result.verdict())
    for remark in result.remarks():
        print(remark)
    for finding in result.diagnose():
        print(f"{finding.severity}: {finding.sentence}")


def _print_table(caption: str, table) -> None:
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Column, Table
    except ImportError:
        print(f"{caption}\n{table.to_string()}\n")
        return
    table = table.reset_index().astype(str)
    rich_table = Table(*[Column(escape(str(c)), justify="right") for c in table.columns])
    rich_table.columns[0].justify, rich_table.columns[0].style = "left", "bold"
    for row in table.itertuples(index=False):
        rich_table.add_row(*map(escape, row))
    # A pipe or a file has no width of its own: do not fold the rows there.
    console = Console()
    console = console if console.is_terminal else Console(width=200)
    console.print(f"[bold]{escape(caption)}[/]", rich_table, "", sep="\n", highlight=False)
