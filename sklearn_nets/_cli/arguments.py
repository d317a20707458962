"""What the command line takes; scikit-learn and torch are imported by what needs them."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryFile

from .. import __version__

AT_A_TIME = {"digits": 4}  # processes at most: these nets have a thread each, and many folds
HELD_OUT = ("scenes", "boxes")  # a third to test on: one net takes as long as all folds of digits
FOLDS = 5

EPILOG = """examples:
  sklearn-nets compare                                     the built-in data sets
  sklearn-nets compare table.csv --target label            a table: .csv, .parquet, .xlsx
  sklearn-nets compare table.csv --target price --test more.csv
  sklearn-nets compare photos/ --models knn,svm,cnn        a folder per class
  sklearn-nets compare photos/ --masks masks/              a class for each pixel
  sklearn-nets compare photos/ --coco boxes.json           boxes to detect
"""


def build_parser() -> argparse.ArgumentParser:
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
        "--jobs", "-j", type=_integer(1, 1024), metavar="N",
        help="processes that fit at a time; times then include what they take from each other "
        "(default: 1; the built-in digits, on a CPU, one for each core, at most "
        f"{AT_A_TIME['digits']})",
    )  # fmt: skip
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
    from ..line_up import MODELS

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
    from .._utils.device import resolve_device

    try:
        resolve_device(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
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
    from ..comparison._files import file_to_write

    try:
        folder = file_to_write(text).parent
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"nothing can be written to the folder {str(folder)!r}: {error}"
        ) from None
    return Path(text)
