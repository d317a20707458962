"""torch's fused optimisers, stepped without the bookkeeping that outweighs small steps.

`torch.optim.Adam(fused=True).step()` spends about 45 µs in Python around a kernel of 5 µs. The
optimisers here are torch's own, with torch's state, param groups and schedulers; only the way to
the kernel is shorter.
"""

from __future__ import annotations

import torch


class Adam(torch.optim.Adam):
    """`torch.optim.Adam` with its fused kernel called directly by `lean_step`.

    Its `eps` is the "epsilon hat" of Kingma & Ba (2014, end of section 2), as in scikit-learn:
    added to the square root of v before the correction of the bias, not after it.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, lr=lr, betas=betas, eps=eps, fused=True)
        self._lists = None

    def lean_step(self):
        """One step over all parameters; every parameter must hold a gradient."""
        (group,) = self.param_groups
        if self._lists is None:
            self._lists = self._make_lists(group["params"])
        params, first, second, steps = self._lists
        steps[0].add_(1)
        self._t += 1
        beta1, beta2 = group["betas"]
        eps = group["eps"] / (1 - beta2**self._t) ** 0.5
        torch._fused_adam_(
            params, [p.grad for p in group["params"]], first, second, [], steps,
            lr=group["lr"], beta1=beta1, beta2=beta2, eps=eps,
            weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip

    def _make_lists(self, params):
        self._t = int(self.state[params[0]].get("step", 0))
        # one counter for all: the fused kernel only reads it
        step = torch.full((), float(self._t), device=params[0].device)
        for p in params:
            if not self.state[p]:
                self.state[p] = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            self.state[p]["step"] = step
        first, second = ([self.state[p][key] for p in params] for key in ("exp_avg", "exp_avg_sq"))
        # detached: the kernel writes to the weights behind autograd's back, as it is meant to
        return [p.detach() for p in params], first, second, [step] * len(params)

    def load_state_dict(self, state_dict):
        self._lists = None
        super().load_state_dict(state_dict)

    def __getstate__(self):
        return {**super().__getstate__(), "_lists": None}


class SGD(torch.optim.SGD):
    """`torch.optim.SGD` with momentum that means the same when the learning rate changes.

    scikit-learn's velocity carries the learning rate of the steps that made it, torch's buffer
    does not; `set_learning_rate` rescales the buffers, so that both walk the same path.
    """

    def __init__(self, params, lr=1e-3, momentum=0.9, nesterov=True):
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0)

    def lean_step(self):
        """One step over all parameters."""
        self.step()

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self.param_groups:
            ratio = group["lr"] / learning_rate
            group["lr"] = learning_rate
            for p in group["params"]:
                buffer = self.state[p].get("momentum_buffer")
                if buffer is not None and ratio != 1:
                    buffer.mul_(ratio)
