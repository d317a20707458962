"""The command line: ``sklearn-nets compare`` or ``python -m sklearn_nets compare``."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryFile

from .. import __version__
from ..comparison import Comparison, _html, _tables, compare
from . import line_ups

# name -> title, data with its line-up, and pictures of the data (digits are ink on white paper)
JOBS = {
    "digits": ("Digits: one label per image", line_ups.digits, lambda X: 16 - X.reshape(-1, 8, 8)),
    "scenes": ("Scenes: one label per pixel", line_ups.scenes, lambda X: X),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sklearn-nets",
        description="Nets behind scikit-learn's fit, predict and score.",
        epilog="example: sklearn-nets compare digits --output digits.html",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    job = commands.add_parser(
        "compare",
        help="cross-validate the whole line-up, print tables, write a page",
        description="Cross-validate nearest neighbors, a linear SVM and nets on the same folds, "
        "print the tables and write them, with confusion matrices, as a page of HTML.",
    )
    for names, options in {
        ("data",): {
            "nargs": "?",
            "choices": list(JOBS),
            "help": "digits: label images; scenes: label pixels; default: one after the other",
        },
        ("--output", "-o"): {
            "type": _writable,
            "default": "comparison.html",
            "metavar": "FILE",
            "help": "the page to write (default: %(default)s)",
        },
        ("--folds",): {
            "type": _integer(2, 20),
            "default": 5,
            "metavar": "N",
            "help": "folds of the cross-validation, 2 to 20 (default: %(default)s)",
        },
        ("--seed",): {
            "type": _integer(0, 2**32 - 1),
            "default": 0,
            "metavar": "N",
            "help": "seed of folds, data and estimators (default: %(default)s)",
        },
        ("--quiet", "-q"): {"action": "store_true", "help": "no live progress display"},
    }.items():
        job.add_argument(*names, **options)
    return parser


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
    for name in [arguments.data] if arguments.data else JOBS:
        title, make, picture = JOBS[name]
        estimators, X, y = make(random_state=arguments.seed)
        result = compare(
            estimators,
            X,
            y,
            cv=arguments.folds,
            random_state=arguments.seed,
            progress=not arguments.quiet,
        )
        _print(title, result)
        sections.append((title, result, picture(X)))
        results.append(result)
        if result.left_out:
            break
    _html.write_html(arguments.output, sections)
    print(f"Wrote {arguments.output}")
    if any(result.left_out for result in results):
        return 130
    return int(any(result.failures for result in results))


def _print(title: str, result: Comparison) -> None:
    heading = f"{title} ({_tables.describe(result)})"
    tables = {
        f"{heading}\nmean ± standard deviation over the folds": _tables.summary(result),
        "precision / recall per class, all test folds together": _tables.class_summary(result),
    }
    for caption, table in tables.items():
        _print_table(caption, table)
    for remark in result.remarks():
        print(remark)


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
