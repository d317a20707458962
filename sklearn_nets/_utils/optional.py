"""Packages that only some features need."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(module: str, what: str, extra: str = "vision") -> ModuleType:
    """Import an optional package, or say which command installs it.

    Parameters
    ----------
    module : str
        Its import name.
    what : str
        What needs it.
    extra : str, default="vision"
        The extra of this package that holds it.

    Raises
    ------
    ImportError
        If it is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs {module.partition('.')[0]}, which is not installed: "
            f"pip install 'sklearn-nets[{extra}]'."
        ) from error
