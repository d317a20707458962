"""Memory of the host for what every step computes anew."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


class Buffer:
    """Holds one tensor at a time, in memory that is asked for once.

    Memory of some megabytes that is let go and asked for again in every step goes back to the
    system in between, which clears it: a tenth of the step of a stack. torch keeps that of
    accelerators by itself.
    """

    def __init__(self):
        self._line = None

    def view(self, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor | None:
        """Where to write a tensor of a type and device, over the one before; None for no place."""
        if like.device.type != "cpu":
            return None
        n = math.prod(shape)
        if self._line is None or len(self._line) < n or self._line.dtype != like.dtype:
            self._line = like.new_empty(n)
        return self._line[:n].view(*shape)
