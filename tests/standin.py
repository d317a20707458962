"""An accelerator that every machine has: it computes on the host, and notices what a GPU would.

A tensor on the device ``"standin"`` wraps a hidden tensor of the host. Any operation in which a
host tensor of one or more axes meets a device tensor raises, as on a GPU, unless it is a copy. What
would make the host wait for a GPU is counted: values read back (``.item()``, ``.cpu()``, ``float``)
and operations whose output has a shape that depends on the data (``nonzero``, an index of
booleans).

Not covered: CUDA graphs, streams, pinned memory and autocast.

`register` changes the whole process and cannot be undone, so tests on this device run in a process
of their own.

References
----------
``torch.utils.backend_registration._setup_privateuseone_for_python_backend`` and torch's
``test/test_privateuseone_python_backend.py``, which it follows.
"""

from collections import Counter
from contextlib import contextmanager, nullcontext

import torch
import torch.utils._pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "standin"
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
SCALAR_READS = {aten._local_scalar_dense.default, aten.equal.default}
DATA_DEPENDENT = {aten.nonzero.default, aten.masked_select.default, aten._unique2.default}


def register():
    """Make ``"standin"`` a device of torch in this process; call it once."""
    from torch.utils.backend_registration import (
        _DummyBackendModule,
        _setup_privateuseone_for_python_backend,
    )

    module = _DummyBackendModule()
    module.device = nullcontext  # a context that makes a device the current one: there is one
    module.get_amp_supported_dtype = lambda: [
        torch.bfloat16
    ]  # autocast is taken, and casts nothing
    _setup_privateuseone_for_python_backend(NAME, backend_module=module)
    # What torch makes in C++ where no mode sees it: `torch.tensor(list, device=...)`, `X[list]`.
    _library.impl("empty_strided", _empty_strided, "PrivateUse1")
    _library.impl("_copy_from", _copy_from, "PrivateUse1")
    # `module.to(device)` puts other tensors in the place of the parameters, as it must with
    # tensors of another class.
    torch.__future__.set_swap_module_params_on_conversion(True)
    # What `DeviceTensor.__reduce_ex__` stores is a host tensor, and stays one when loaded.
    torch.serialization.register_package(
        0, lambda storage: None, lambda storage, place: storage if NAME in place else None
    )


class DeviceTensor(torch.Tensor):
    """A tensor that says it lives on the device; its values are in `raw`, on the host."""

    @staticmethod
    def __new__(cls, raw, requires_grad=False):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(NAME, 0),
            requires_grad=requires_grad,
        )
        tensor.raw = raw
        return tensor

    def __repr__(self):
        return f"DeviceTensor({self.raw!r})"

    def tolist(self):
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol):
        return DeviceTensor, (self.raw, self.requires_grad)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _call(function, args, kwargs or {})


class StandIn(TorchDispatchMode):
    """The context in which the device can be used: ``with StandIn(): ...``."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _call(function, args, kwargs or {})


def to_device(X) -> DeviceTensor:
    """Return a copy of an array on the device."""
    return DeviceTensor(torch.as_tensor(X).clone())


@contextmanager
def record():
    """Count, within the block, operations by name, and under ``"reads"`` what the host waited for.

    Yields
    ------
    counts : Counter
    """
    counts = Counter()
    _recorders.append(counts)
    try:
        yield counts
    finally:
        _recorders.remove(counts)


_recorders = []
_library = torch.library.Library("aten", "IMPL")


def _empty_strided(size, stride, **options):
    return DeviceTensor(torch.empty_strided(size, stride, dtype=options.get("dtype")))


def _copy_from(source, target, non_blocking=False):
    _unwrap(target).copy_(_unwrap(source))
    return target


def _call(function, args, kwargs):
    """Do on hidden tensors what is asked of device tensors, and wrap what comes out."""
    leaves = pytree.tree_leaves((args, kwargs))
    ours = [leaf for leaf in leaves if isinstance(leaf, DeviceTensor)]
    device = kwargs.get("device")
    to_us = torch.device(device).type == NAME if device is not None else bool(ours)
    if ours and function not in COPIES:
        for leaf in leaves:
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu" and leaf.ndim > 0:
                raise RuntimeError(f"{function}: a host tensor meets a tensor on {NAME!r}")
    if ours or to_us:
        _count(function, args, leaves, ours, to_us)
    result = function(*pytree.tree_map(_unwrap, args), **pytree.tree_map(_unwrap, kwargs))
    if function is aten.copy_.default:
        return args[0]
    if not to_us:
        return result
    known = {id(tensor.raw): tensor for tensor in ours}  # in-place operations return what came in

    def wrap(raw):
        return known[id(raw)] if id(raw) in known else DeviceTensor(raw)

    return pytree.tree_map_only(torch.Tensor, wrap, result)


def _unwrap(value):
    if isinstance(value, DeviceTensor):
        return value.raw
    if isinstance(value, torch.device) and value.type == NAME:
        return torch.device("cpu")
    return value


def _count(function, args, leaves, ours, to_us):
    to_host = not isinstance(args[0], DeviceTensor) if function is aten.copy_.default else not to_us
    by_mask = "index" in str(function) and any(leaf.dtype == torch.bool for leaf in ours)
    reads = (function in COPIES and ours and to_host) or function in SCALAR_READS | DATA_DEPENDENT
    for counts in _recorders:
        counts[str(function)] += 1
        counts["reads"] += bool(reads or by_mask)
