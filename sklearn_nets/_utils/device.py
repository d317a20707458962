"""Where tensors live, whether they fit there, and how many threads compute on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock, local

import torch
from threadpoolctl import ThreadpoolController

from .array_api import is_tensor, to_tensor


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
    >>> from sklearn_nets._utils.device import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if isinstance(device, str) and device == "auto":
        return X.device if is_tensor(X) else fastest_device()
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
    if chosen.type == "cuda" and chosen.index is None and found():
        chosen = torch.device("cuda", torch.cuda.current_device())
    if (chosen.index or 0) >= found():
        raise ValueError(
            f"device={device!r} was asked for, but torch finds {found()} {chosen.type} device(s) "
            "here. Use device='auto' to take what is present, or device='cpu'."
        )
    return chosen


def fastest_device() -> torch.device:
    """The first of cuda, mps and cpu that is present."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


DATA_MEMORY_FRACTION = 0.5  # of the free memory; the rest is for the net and its activations
CHUNK = 2**26  # bytes copied to an accelerator at a time


def free_memory(device: torch.device) -> float:
    """Bytes that are free on an accelerator; infinite where data lies already, on the host."""
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + idle
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return math.inf


def available_memory(device: torch.device) -> float:
    """Bytes that may be taken: on an accelerator those that are free, on the host those that the
    system can give without swapping; infinite where it does not say.
    """
    if device.type != "cpu":
        return free_memory(device)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return math.inf
    group = Path("/sys/fs/cgroup")  # a container's limit
    try:
        limit, used = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
    except (OSError, ValueError):
        return free * 1024
    return min(free * 1024, limit - used)


def fits_on_device(X, device: torch.device, dtype: torch.dtype | None = None) -> bool:
    """Whether X can be held on the device as a whole, beside a net."""
    if is_tensor(X) and X.device.type == device.type and device.index in (None, X.device.index):
        return True
    itemsize = X.dtype.itemsize if dtype is None else dtype.itemsize
    return math.prod(X.shape) * itemsize <= DATA_MEMORY_FRACTION * free_memory(device)


def copy_to_device(X, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Move an array to the device, in pieces, so that no second whole copy of it is ever held."""
    X = to_tensor(X, X.device if is_tensor(X) else torch.device("cpu"))
    if device.type == "cpu" or X.device.type != "cpu":
        return to_tensor(X, device, dtype)
    few = max(1, CHUNK // max(1, X[:1].nbytes))
    first = to_tensor(X[:few], device, dtype)  # of the type that the device knows
    if len(X) <= few:
        return first
    on_device = torch.empty_like(X, device=device, dtype=first.dtype)
    for target, source in zip(on_device.split(few), X.split(few), strict=True):
        target.copy_(source if source.dtype == target.dtype else source.to(target.dtype))
    return on_device


_thread_lock = Lock()
_limits = local()  # of each Python thread, the innermost last
_limited = {"count": 0, "before": 1}  # how many limits there are, and torch's own number


@contextmanager
def threads(n: int | None):
    """Let torch compute with at most n threads; None changes nothing.

    Threads meet after every operation, and on operations of some 10 µs that costs more than
    sharing the work saves. The number belongs to the process: the first of overlapping limits, in
    whatever Python threads, remembers it, and the last one puts it back.
    """
    if n is None:
        yield
        return
    stack = vars(_limits).setdefault("stack", [])
    with _thread_lock:
        # in a Python thread of no operation yet the first one would take the process's number
        # instead of the one set here; this call comes before
        now = torch.get_num_threads()
        if not _limited["count"]:
            _limited["before"] = now
        _limited["count"] += 1
        stack.append(min([n, _limited["before"], *stack[-1:]]))
        torch.set_num_threads(stack[-1])
    try:
        yield
    finally:
        with _thread_lock:
            stack.pop()
            _limited["count"] -= 1
            torch.set_num_threads(stack[-1] if stack else _limited["before"])


_blas_lock = Lock()
_limited_blas = {"count": 0, "before": []}  # how many limits there are; libraries and their numbers


@contextmanager
def blas_threads(n: int | None):
    """Let numpy's and scipy's products use at most n threads; None changes nothing.

    Of overlapping limits, in whatever Python threads, the least holds until the last one ends.
    """
    if n is None:
        yield
        return
    with _blas_lock:
        libraries = _blas_libraries()
        if not _limited_blas["count"]:
            _limited_blas["before"] = [(library, library.num_threads) for library in libraries]
        _limited_blas["count"] += 1
        for library in libraries:
            _set_blas_threads(library, min(n, library.num_threads))
    try:
        yield
    finally:
        with _blas_lock:
            _limited_blas["count"] -= 1
            if not _limited_blas["count"]:
                for library, number in _limited_blas["before"]:
                    _set_blas_threads(library, number)


def parallel_map(work: Callable, pieces: Sequence, device: torch.device) -> list:
    """Results of `work` on each piece: on the host one piece a core, elsewhere one by one.

    The threads of numpy's and of torch's products are two pools, which fight for the cores when
    the work mixes them; so each piece computes with one thread of either.
    """
    cores = torch.get_num_threads()
    if device.type != "cpu" or cores == 1 or len(pieces) == 1:
        return [work(piece) for piece in pieces]
    with threads(1), blas_threads(1), ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, pieces))


def _set_blas_threads(library, n):
    """Set the number of a library's threads, whichever Python thread did so before."""
    # newer versions of threadpoolctl let one thread alone do so, until they are told to forget it;
    # here the lock keeps them apart
    forget = getattr(library, "clear_controlling_thread", lambda force: None)
    forget(force=True)
    library.set_num_threads(n)
    forget(force=True)


@cache
def _blas_libraries():
    import scipy.linalg  # noqa: F401 - it brings a library of its own

    pools = ThreadpoolController()  # looks at every loaded library: some milliseconds
    return pools.select(user_api="blas").lib_controllers
