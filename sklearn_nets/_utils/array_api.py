"""The kind of array that comes in goes out: numpy, torch, or another library of the array API."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from scipy.sparse import issparse

MAX_DENSITY = 0.1  # of sparse rows that are multiplied as they are


def is_tensor(X) -> bool:
    """Whether X is a torch tensor (and results should go back as tensors)."""
    return isinstance(X, torch.Tensor)


def is_array_api(X) -> bool:
    """Whether X is an array of another library of the array API standard: cupy's, jax's, ..."""
    own = isinstance(X, np.ndarray | np.generic | torch.Tensor)
    return not own and hasattr(type(X), "__array_namespace__")  # of a frame it would ask columns


def from_array_api(X):
    """Another library's array as a tensor that shares its memory; all else passes through.

    Tensors come out detached: nothing is differentiated by the data.
    """
    if isinstance(X, np.ndarray):
        return X
    if is_array_api(X):
        return torch.from_dlpack(X)
    if not is_tensor(X):
        return X
    if X.layout != torch.strided:
        raise TypeError(f"A sparse tensor ({X.layout}) was passed; pass X.to_dense().")
    return X.detach()


def to_numpy(X):
    """Bring an array of any library to the host as numpy; anything else passes through."""
    X = from_array_api(X)
    if not is_tensor(X):
        return X
    return (X.float() if X.dtype == torch.bfloat16 else X).cpu().numpy()


def stays_sparse(X, device: torch.device) -> bool:
    """Whether products by X as it is, sparse rows on the host, are faster than by dense rows."""
    return issparse(X) and device.type == "cpu" and X.nnz < MAX_DENSITY * X.shape[0] * X.shape[1]


def to_tensor(X, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Move an array to the device without copying what is already there; sparse rows as dense.

    Read-only arrays (memory maps, pandas 3 columns) share their memory like any other: nothing in
    this package writes to its inputs, so torch's warning about them is not for the user.
    """
    X = from_array_api(X)
    if not is_tensor(X):
        X = _share_memory(X.toarray() if issparse(X) else np.asarray(X))
    if device.type == "mps" and dtype is None and X.dtype == torch.float64:
        dtype = torch.float32  # all that Apple's GPUs know
    return X.to(device=device, dtype=dtype)


def concatenate(parts: Iterable[torch.Tensor], n: int) -> torch.Tensor:
    """Consecutive parts of n rows in one tensor; each part is let go as soon as it is copied."""
    parts = iter(parts)
    first = next(parts)
    if len(first) == n:
        return first
    whole = _empty_like(first, (n, *first.shape[1:]))
    end = 0
    for part in chain([first], parts):
        start, end = end, end + len(part)
        whole[start:end] = part
    return whole


def convert_like(answer, like):
    """An answer as the kind of array that `like` is, on its device.

    Parameters
    ----------
    answer : tensor or ndarray
    like : object
        The X that the answer belongs to.

    Returns
    -------
    array of the library of `like`, or ndarray for what is no array (lists, data frames) and for
    an answer of strings, which only numpy holds
    """
    if not is_tensor(answer) and answer.dtype.kind not in "biuf":
        return answer
    if is_tensor(like):
        return to_tensor(answer, like.device)
    if is_array_api(like):
        answer = to_tensor(answer, torch.from_dlpack(like).device)
        return like.__array_namespace__().from_dlpack(answer, device=like.device)
    return to_numpy(answer)


def decode_labels(classes: np.ndarray, codes: torch.Tensor, like):
    """The labels that `codes` stand for, as the kind of array that `like` is."""
    if classes.dtype.kind in "biuf" and (is_tensor(like) or is_array_api(like)):
        return convert_like(to_tensor(classes, codes.device)[codes.long()], like)
    return classes[to_numpy(codes).astype(np.intp, copy=False)]


def dtype_of(name: str | None) -> torch.dtype | None:
    """torch's type of a name; fitted estimators hold names, which any file format can store."""
    return None if name is None else getattr(torch, name)


def numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """numpy's type of torch's; numpy knows no bfloat16."""
    return torch.empty(0, dtype=dtype).numpy().dtype


def namespace_and_device(X) -> tuple[str, str]:
    """Name of the library and of the device of X, as the array API standard tells them apart."""
    if is_tensor(X):
        return "torch", str(X.device)
    if is_array_api(X):
        return X.__array_namespace__().__name__, str(X.device)
    return "numpy", "cpu"


def _empty_like(X: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Memory of the type of X, on its device; on the host numpy's, whose first use is faster.

    numpy asks the system for large pages, torch takes small ones.
    """
    if X.device.type != "cpu" or X.dtype == torch.bfloat16:
        return X.new_empty(shape)
    return torch.from_numpy(np.empty(shape, dtype=numpy_dtype(X.dtype)))


def _share_memory(X: np.ndarray) -> torch.Tensor:
    """The array as a tensor, a copy only where torch cannot read it."""
    if not X.flags.writeable:
        X = _as_writeable(X)
    try:
        return torch.from_numpy(X)
    except (TypeError, ValueError):  # tried first, for small data most of its time
        # not ascontiguousarray, which keeps a negative stride on an axis of length one
        X = np.array(X, dtype=X.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(X.astype(np.float64) if X.dtype == np.longdouble else X)


def _as_writeable(X: np.ndarray) -> np.ndarray:
    """View a read-only array as a writeable one, so that torch shares it without a warning."""

    interface = dict(X.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    # the class keeps X, and with it the memory, alive
    holder = type("Writeable", (), {"__array_interface__": interface, "base": X})
    return np.asarray(holder())
