"""torch's random numbers of one fit, apart from those of the rest of the process."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import torch
from torch import nn

_lock = threading.RLock()  # torch's default generators belong to the whole process

# Modules of torch that draw nothing while training; any other may draw from the default generators.
_DETERMINISTIC = {
    f"torch.nn.modules.{name}"
    for name in (
        "batchnorm", "container", "conv", "flatten", "instancenorm", "linear", "normalization",
        "padding", "pixelshuffle", "pooling", "sparse", "upsampling",
    )
}  # fmt: skip


class TorchRandom:
    """The random numbers of one fit.

    Parameters
    ----------
    seed : int
    device : torch.device

    Attributes
    ----------
    generator : torch.Generator or None
        On the device, for whatever takes a generator; None where torch has none for the device.
    """

    def __init__(self, seed: int, device: torch.device):
        self.seed, self.device = seed, device
        known = device.type in ("cpu", "cuda", "mps")
        self.generator = torch.Generator(device).manual_seed(seed) if known else None
        self._default = None  # states of torch's default generators in this fit's sequence
        self._is_default = False

    @contextmanager
    def as_default(self):
        """Let torch's default generators go on with this fit's sequence, and put them back.

        They belong to the process, so this is for one thread at a time: others wait.
        """
        with _lock:
            before = _default_states(self.device)
            try:
                if self._default is None:
                    _seed_default(self.seed, self.device)
                else:
                    _set_default_states(self._default, self.device)
                self._is_default = True
                yield
            finally:
                self._default = _default_states(self.device)
                self._is_default = False
                _set_default_states(before, self.device)

    @contextmanager
    def undone(self):
        """What is drawn within the block is drawn again after it."""
        state = self.state_dict()
        try:
            yield
        finally:
            self.load_state_dict(state)
            if self._is_default:
                _set_default_states(state["default"], self.device)

    def state_dict(self) -> dict:
        """States of the generator and of this fit's sequence of the default ones."""
        generator = None if self.generator is None else self.generator.get_state()
        default = _default_states(self.device) if self._is_default else self._default
        return {"generator": generator, "default": default}

    def load_state_dict(self, state: dict) -> None:
        """Go on where another fit's random numbers were."""
        if self.generator is not None:
            self.generator.set_state(state["generator"])
        self._default = state["default"]


def draws_from_default(module: nn.Module) -> bool:
    """Whether training a module may draw from torch's default generators, as dropout does."""
    for m in module.modules():
        origin = type(m).__module__
        if isinstance(m, nn.Dropout) and m.p == 0:
            continue
        ours = origin.startswith("sklearn_nets.modules.")
        activation = origin == "torch.nn.modules.activation" and not isinstance(
            m, nn.RReLU | nn.MultiheadAttention
        )
        if not (ours or activation or origin in _DETERMINISTIC):
            return True
    return False


def _default_states(device):
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def _set_default_states(states, device):
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])


def _seed_default(seed, device):
    # only the generators that are put back are seeded: torch.manual_seed seeds those of all GPUs
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
