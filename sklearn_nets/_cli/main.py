"""The command line: ``sklearn-nets compare`` or ``python -m sklearn_nets compare``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from .. import __version__
from ..comparison import Comparison, _html, _tables, compare
from ..line_up import MODELS, set_device
from . import line_ups
from .read_data import Job, read_job

# name -> title, data with its line-up, and pictures of the data (digits are ink on white paper)
JOBS = {
    "digits": ("Digits: one label per image", line_ups.digits, lambda X: 16 - X.reshape(-1, 8, 8)),
    "scenes": ("Scenes: one label per pixel", line_ups.scenes, lambda X: X),
    "boxes": ("Boxes: what is in an image and where", line_ups.boxes, lambda X: X),
}
HELD_OUT = ("scenes", "boxes")  # a third to test on: one net takes as long as all folds of digits
FOLDS = 5
OF_FILES = ("target", "masks", "coco", "test", "group", "size", "ignore_index")

EPILOG = """examples:
  sklearn-nets compare                                     the built-in data sets
  sklearn-nets compare table.csv --target label            a table: .csv, .parquet, .xlsx
  sklearn-nets compare table.csv --target price --test more.csv
  sklearn-nets compare photos/ --models knn,svm,cnn        a folder per class
  sklearn-nets compare photos/ --masks masks/              a class for each pixel
  sklearn-nets compare photos/ --coco boxes.json           boxes to detect
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sklearn-nets",
        description="Nets behind scikit-learn's fit, predict and score.",
        epilog="example: sklearn-nets compare table.csv --target label --output report.html",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    job = commands.add_parser(
        "compare",
        help="compare models on built-in data or your own, print tables, write a page",
        description="Compare nearest neighbors, a linear SVM, nets and others on the same folds, "
        "print the tables and write them, with confusion matrices, as a page of HTML.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    job.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a table, a folder of images, or built-in data: digits (label images), scenes (label "
        "pixels), boxes (detect); default: all of these, one after the other",
    )
    _add_data_options(job.add_argument_group("your own data"))
    _add_run_options(job.add_argument_group("comparison"))
    parser.set_defaults(fail=job.error)
    return parser


def _add_data_options(group) -> None:
    group.add_argument("--target", metavar="COLUMN", help="the column of a table to predict")
    group.add_argument(
        "--task",
        choices=["auto", "classification", "regression", "segmentation", "detection"],
        default="auto",
        help="what is predicted; by default words, and whole numbers that count classes from 0 or "
        "1, are classes, and other numbers quantities",
    )
    group.add_argument(
        "--group", metavar="COLUMN", help="rows of the same value stay together (patient, day, ...)"
    )
    group.add_argument(
        "--masks", metavar="DIR", help="a mask of the same name for each image: one class per pixel"
    )
    group.add_argument(
        "--ignore-index", metavar="VALUE", help="the value of pixels without a class in masks"
    )
    group.add_argument(
        "--size", type=_size, metavar="HxW", help="scale images to this, such as 64 or 48x64"
    )
    group.add_argument("--coco", metavar="FILE", help="boxes to detect, in COCO's format")


def _add_run_options(group) -> None:
    group.add_argument(
        "--models",
        type=_models,
        metavar="NAMES",
        help="which, of knn,svm,mlp,cnn,vit,hgb; a dummy is always in (default: all that suit)",
    )
    design = group.add_mutually_exclusive_group()
    design.add_argument(
        "--cv", "--folds",
        dest="folds", type=_integer(2, 20), metavar="N",
        help=f"folds of the cross-validation, 2 to 20 (default: {FOLDS}; a third of the built-in "
        f"{' and '.join(HELD_OUT)} is held out instead)",
    )  # fmt: skip
    design.add_argument(
        "--test", metavar="PATH", help="a held-out table or folder to test on, instead of folds"
    )
    group.add_argument(
        "--device",
        type=_device,
        default="auto",
        help="where nets compute: cpu, cuda, mps, ... (default: %(default)s, the fastest)",
    )
    group.add_argument(
        "--output", "--out", "-o",
        type=_writable, default="comparison.html", metavar="FILE",
        help="the page to write (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--seed", type=_integer(0, 2**32 - 1), default=0, metavar="N",
        help="seed of folds, data and estimators (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--quiet", "-q", action="store_true", help="no live progress display")


def _models(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in MODELS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"expected names separated by commas, of {', '.join(MODELS)}; got {text!r}"
        )
    return names


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(
            f"expected pixels, height x width, such as 64 or 48x64, got {text!r}"
        )
    return int(sides[0]), int(sides[-1])


def _device(text: str) -> str:
    import torch

    if text == "auto":
        return text
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here: {reason}") from None
    return text


def _integer(low: int, high: int):
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number {low} to {high}, got {text!r}"
            )
        return value

    return convert


def _writable(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder, expected a file to write")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {str(path.parent)!r} does not exist")
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"nothing can be written to the folder {str(path.parent)!r}: {error}"
        ) from None
    return path


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        0 when all went well; 1 when an estimator failed, 130 after Ctrl-C: the page then holds what
        is complete.

    Raises
    ------
    SystemExit
        With code 2 for arguments that make no sense (the message is on standard error), with code
        0 after ``--help``.
    """
    arguments = _parser().parse_args(argv)
    sections, results = [], []
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        for job in _jobs(arguments):
            try:
                result = compare(
                    job.estimators,
                    job.X,
                    job.y,
                    random_state=arguments.seed,
                    progress=not arguments.quiet,
                    **job.options,
                )
            except ValueError as error:
                # every estimator failed
                notes = " ".join(getattr(error, "__notes__", []))
                print(f"sklearn-nets compare: error: {error} {notes}", file=sys.stderr)
                return 1
            result.provenance.update(job.facts)
            _print(job, result)
            sections.append((job.title, result, job.images))
            results.append(result)
            if result.left_out:
                break
    _html.write_html(arguments.output, sections)
    print(f"Wrote {arguments.output}")
    if any(result.left_out for result in results):
        return 130
    return int(any(result.failures for result in results))


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
    pictures = picture(X)
    if arguments.folds or name not in HELD_OUT:
        return Job(title, estimators, X, y, {"cv": arguments.folds or FOLDS}, pictures)
    n = 2 * len(X) // 3
    return Job(title, estimators, X[:n], y[:n], {"test": (X[n:], y[n:])}, pictures)


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
