"""Where tensors live, and how many threads compute on them."""

from __future__ import annotations

from contextlib import contextmanager

import torch

from ._arrays import is_tensor


def resolve_device(device: str | torch.device = "auto", X=None) -> torch.device:
    """Choose the device to compute on.

    Parameters
    ----------
    device : str or torch.device, default="auto"
        ``"auto"`` takes the device of `X` when `X` is a tensor, else the first of
        cuda, mps and cpu that is present. Anything else is torch's own notation.
    X : array-like or tensor, optional
        The data that will be computed on.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If torch does not know the device or does not find it on this machine.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if isinstance(device, str) and device == "auto":
        if is_tensor(X):
            return X.device
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda', 'cuda:<index>' or 'mps', got {device!r}."
        ) from error
    if chosen.type == "cpu":
        return chosen
    found = {"cuda": torch.cuda.device_count, "mps": torch.mps.device_count}.get(chosen.type)
    if found is None:
        raise ValueError(f"device must be on 'cpu', 'cuda' or 'mps', got {device!r}.")
    if (chosen.index or 0) >= found():
        raise ValueError(
            f"device={device!r} was asked for, but torch finds {found()} {chosen.type} device(s) "
            "here. Use device='auto' to take what is present, or device='cpu'."
        )
    return chosen


@contextmanager
def threads(n: int | None):
    """Let torch compute with at most n threads; None changes nothing.

    Threads meet after every operation, and on operations of some 10 µs that costs more than
    sharing the work saves.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if n is None else min(n, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
