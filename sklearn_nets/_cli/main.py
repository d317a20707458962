"""The command line: ``sklearn-nets compare`` or ``python -m sklearn_nets compare``."""

from __future__ import annotations

from .arguments import build_parser


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
    arguments = build_parser().parse_args(argv)
    from .compare import run  # after the arguments: --help need not wait for torch

    return run(arguments)
