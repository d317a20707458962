"""The types that a net computes and answers in, decided once, in `fit`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from .._utils.array_api import dtype_of


class Precision(NamedTuple):
    """Types of one net, by name: a fitted estimator holds plain words.

    Attributes
    ----------
    weights : str
        Type of the weights.
    autocast : str or None
        Type of autocast.
    output : str
        Type of the widest answers.
    """

    weights: str
    autocast: str | None
    output: str

    @property
    def dtype(self) -> torch.dtype:
        return dtype_of(self.weights)

    def output_dtype(self, X) -> torch.dtype:
        """The type scikit-learn would answer in: that of X and of the weights together."""
        own = name_of_dtype(X).replace("bfloat16", "float16")
        together = np.result_type(own, self.output, np.float32)
        return torch.float32 if together == np.float32 else torch.float64


def name_of_dtype(X) -> str:
    """The type of an array of any library, by its name; empty where X is no array."""
    return str(getattr(X, "dtype", "")).rpartition(".")[2]


def row_precision(precision: str, X, device: torch.device, solver: str) -> Precision:
    """Types for rows: X's own on the CPU, as in scikit-learn, float32 on an accelerator.

    'lbfgs' computes in float64 on the CPU, as scipy's solver does.
    """
    own = "float64" if solver == "lbfgs" else name_of_dtype(X)
    if precision == "auto":
        precision = own if device.type == "cpu" else "float32"
    return Precision(precision, None, own)


def image_precision(precision: str, X, device: torch.device, tabular: bool = False) -> Precision:
    """Types for images: float32 on the CPU, bfloat16 autocast on an accelerator.

    Rows that stand for no image (`tabular`) keep their own type on the CPU, and are float32 on an
    accelerator: their values count, and their nets are small.
    """
    if precision == "auto" and (device.type == "cpu" or tabular):
        own = device.type == "cpu" and tabular and name_of_dtype(X) == "float64"
        precision = "float64" if own else "float32"
    elif precision == "auto":
        slow = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "float32" if slow else "bfloat16"
    if precision == "bfloat16":
        return Precision("float32", "bfloat16", "float32")
    return Precision(precision, None, precision)
