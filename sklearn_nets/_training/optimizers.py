"""torch's fused optimizers, stepped without the bookkeeping that outweighs small steps.

`torch.optim.Adam(fused=True).step()` spends about 45 µs in Python around a kernel of 5 µs. The
optimizers here are torch's own, with torch's state, param groups and state dicts; only the call of
the kernel is shorter: `step_scalars` gives, for many steps ahead, what changes from step to step,
and `fused_step` takes one step with such scalars, numbers or a tensor on the device. So a step
reads nothing from the host, and a CUDA graph can replay it. `step` is the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch


def _without_compiler(method):
    """A method of torch's without the decorator whose first call imports torch.compile's compiler.

    With it come sympy and triton: two seconds in the first fit of every process.
    """
    return getattr(method, "__wrapped__", method)


class FusedOptimizer:
    """What both optimizers share: their state as lists that the kernel takes as they are."""

    _lists = None
    add_param_group = _without_compiler(torch.optim.Optimizer.add_param_group)

    @torch.no_grad()
    def step(self, closure=None):
        """One step at the param group's learning rate, as torch's optimizers take it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        (group,) = self.param_groups
        self.fused_step(self.step_scalars([group["lr"]])[0].tolist())
        return loss

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        (group,) = self.param_groups
        group["lr"] = learning_rate

    def _state_lists(self, *names):
        """The parameters and each of their states as lists; states are zero at first."""
        (group,) = self.param_groups
        for p in group["params"]:
            for name in names:
                state = self.state[p].get(name)
                if state is None or state.stride() != p.stride():  # loaded, from another layout
                    own = self.state[p][name] = torch.zeros_like(p, requires_grad=False)
                    own.copy_(0 if state is None else state)
        self._channels_last = [
            not p.is_contiguous() and p.ndim == 4 and p.permute(0, 2, 3, 1).is_contiguous()
            for p in group["params"]
        ]
        # detached: the kernel writes to the weights behind autograd's back, as it is meant to
        params = [p.detach() for p in group["params"]]
        states = [[self.state[p][name] for p in group["params"]] for name in names]
        return [self._in_order(tensors) for tensors in (params, *states)]

    def _gradients(self):
        (group,) = self.param_groups
        return self._in_order([p.grad for p in group["params"]])

    def _in_order(self, tensors):
        """Views with the axes in memory's order, since the kernels go by that and not by strides.

        Of weights whose axes are in another order they also make copies that they do not need.
        """
        if not any(self._channels_last):
            return tensors
        return [
            t.permute(0, 2, 3, 1).contiguous() if last else t
            for t, last in zip(tensors, self._channels_last, strict=True)
        ]

    def load_state_dict(self, state_dict):
        self._lists = None
        super().load_state_dict(state_dict)

    def __getstate__(self):
        return {**super().__getstate__(), "_lists": None}


class Adam(FusedOptimizer, torch.optim.Adam):
    """`torch.optim.Adam`, its fused kernel called directly by `fused_step`.

    Its `eps` is the "epsilon hat" of Kingma & Ba (2014, end of section 2), as in scikit-learn:
    added to the square root of v before the correction of the bias, not after it. So the
    corrections become a factor of the learning rate, and the kernel is passed an infinite number
    of steps, at which its own corrections are 1.

    Its `weight_decay` is decoupled, as in `torch.optim.AdamW` (Loshchilov & Hutter 2019), and is
    for weights alone, not for biases and scales.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
            decoupled_weight_decay=True, fused=True,
        )  # fmt: skip
        self._make_lists()

    def step_scalars(self, learning_rates: Sequence[float]) -> np.ndarray:
        """Scalars of the next steps, which count as taken: (n_steps, 2), rate and decay."""
        (group,) = self.param_groups
        done = int(self.state[group["params"][0]]["step"])
        step = torch.tensor(float(done + len(learning_rates)))
        for p in group["params"]:
            self.state[p]["step"] = step
        beta1, beta2 = group["betas"]
        lr = np.asarray(learning_rates)
        corrected = lr * _bias_corrections(done, len(lr), beta1, beta2)
        return np.stack([corrected, 1 - lr * group["weight_decay"]], axis=1)

    def _make_lists(self):
        lists = self._state_lists("exp_avg", "exp_avg_sq")
        for state in self.state.values():
            state.setdefault("step", torch.zeros(()))
        endless = torch.full((), float("inf"), dtype=torch.float32, device=lists[0][0].device)
        self._lists = *lists, [endless] * len(lists[0])
        return self._lists

    def fused_step(self, scalars):
        """One step over all parameters; every parameter must hold a gradient."""
        (group,) = self.param_groups
        params, first, second, steps = self._lists or self._make_lists()
        decayed = [p for p in params if p.ndim > 1] if group["weight_decay"] else None
        if decayed:
            torch._foreach_mul_(decayed, scalars[1])
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            params, self._gradients(), first, second, [], steps,
            lr=scalars[0], beta1=beta1, beta2=beta2, eps=group["eps"],
            weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip


@lru_cache(maxsize=128)  # nets that are trained together ask for the same
def _bias_corrections(done, n, beta1, beta2):
    """Adam's factors of the learning rate in the next n steps."""
    t = np.arange(done + 1, done + n + 1)
    return np.sqrt(1 - beta2**t) / (1 - beta1**t)


class SGD(FusedOptimizer, torch.optim.SGD):
    """`torch.optim.SGD` with momentum that means the same when the learning rate changes.

    scikit-learn's velocity carries the learning rate of the steps that made it, torch's buffer
    does not; `set_learning_rate` rescales the buffers, so that both take the same steps.
    """

    def __init__(self, params, lr=1e-3, momentum=0.9, nesterov=True):
        super().__init__(
            params, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, fused=True
        )
        self._make_lists()

    def step_scalars(self, learning_rates: Sequence[float]) -> np.ndarray:
        """Scalars of the next steps, (n_steps, 1): the learning rates themselves."""
        return np.asarray(learning_rates)[:, None]

    def _make_lists(self):
        (group,) = self.param_groups
        self._lists = self._state_lists(*(["momentum_buffer"] if group["momentum"] else []))
        return self._lists

    def fused_step(self, scalars):
        """One step over all parameters; every parameter must hold a gradient."""
        (group,) = self.param_groups
        params, *buffers = self._lists or self._make_lists()
        torch._fused_sgd_(
            params, self._gradients(), *(buffers or [[]]),
            lr=scalars[0], momentum=group["momentum"], nesterov=group["nesterov"],
            weight_decay=0.0, dampening=0.0, maximize=False, is_first_step=False,
        )  # fmt: skip

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps; the velocity so far stays what it is."""
        (group,) = self.param_groups
        ratio = group["lr"] / learning_rate
        super().set_learning_rate(learning_rate)
        if ratio != 1 and group["momentum"]:
            for state in self.state.values():
                state["momentum_buffer"].mul_(ratio)
