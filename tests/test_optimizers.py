"""The fused optimizers take torch's own steps."""

import pickle

import pytest
import torch
from numpy.testing import assert_allclose
from small_nets import IMAGES, Y, cnn

from sklearn_nets._training.optimizers import SGD, Adam

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def walk(
    optimizer_class, steps=7, device="cpu", rate=None, layout=torch.preserve_format, **settings
):
    """Weights after some steps down a fixed slope, by torch's own step or by the lean one."""
    torch.manual_seed(0)
    params = [torch.randn(shape, dtype=torch.float64) for shape in [(3, 4), (4,), (3, 4, 2, 2)]]
    params[2] = params[2].to(memory_format=torch.channels_last)
    params = [p.to(device).requires_grad_() for p in params]
    optimizer = optimizer_class(params, lr=0.1, **settings)
    for _ in range(steps):
        for p in params:
            p.grad = (p.detach() * 3).cos().clone(memory_format=layout)
        if rate is None:
            optimizer.step()
        else:
            optimizer.fused_step(rate(optimizer.step_scalars([0.1])[0]))
    return [p.detach().cpu().numpy() for p in params]


@pytest.mark.parametrize("rate", [list, torch.from_numpy], ids=["numbers", "tensor"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("layout", [torch.preserve_format, torch.contiguous_format])
def test_sgd_walks_as_torch(momentum, nesterov, rate, layout):
    """Gradients of a channels-last weight may lie in memory in another order than it does."""
    ours = walk(SGD, rate=rate, layout=layout, momentum=momentum, nesterov=nesterov)
    theirs = walk(torch.optim.SGD, momentum=momentum, nesterov=nesterov and momentum > 0)
    for a, b in zip(ours, theirs, strict=True):
        assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("rate", [list, torch.from_numpy], ids=["numbers", "tensor"])
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("layout", [torch.preserve_format, torch.contiguous_format])
def test_adam_walks_as_torch(decay, rate, layout):
    """With no epsilon torch's two meanings of it are one; decay is for weights alone."""
    ours = walk(Adam, rate=rate, layout=layout, eps=0.0, weight_decay=decay)
    theirs = walk(torch.optim.AdamW, eps=0.0, weight_decay=decay)
    without = walk(torch.optim.AdamW, eps=0.0, weight_decay=0.0)
    assert_allclose(ours[0], theirs[0], rtol=1e-12)
    assert_allclose(ours[1], without[1], rtol=1e-12)
    assert_allclose(ours[2], theirs[2], rtol=1e-12)


@pytest.mark.parametrize("layout", [torch.preserve_format, torch.contiguous_format])
def test_adam_goes_on_where_its_state_was_left(layout):
    def steps(optimizer, n):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = torch.arange(24.0).view_as(p).clone(memory_format=torch.channels_last)
        for rate in optimizer.step_scalars([0.1] * n).tolist():
            optimizer.fused_step(rate)

    def start():
        p = torch.zeros(2, 3, 2, 2).to(memory_format=torch.channels_last).requires_grad_()
        return p, Adam([p])

    whole, optimizer = start()
    steps(optimizer, 6)
    parts, optimizer = start()
    steps(optimizer, 2)
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    moments = state["state"][0]
    for name in ("exp_avg", "exp_avg_sq"):
        moments[name] = moments[name].clone(memory_format=layout)
    again = Adam([parts])
    again.load_state_dict(state)
    steps(again, 4)
    assert torch.equal(whole, parts)


def test_adamw_decays_weights_apart_from_the_loss():
    strong = cnn(solver="adamw", alpha=100.0, learning_rate_init=0.01).fit(IMAGES, Y)
    none = cnn(solver="adamw", alpha=0.0, learning_rate_init=0.01).fit(IMAGES, Y)
    adam = cnn(solver="adam", alpha=0.0, learning_rate_init=0.01).fit(IMAGES, Y)
    assert none.loss_curve_ == adam.loss_curve_
    norm = [
        sum(p.norm() for p in m.net_.module_.parameters() if p.ndim > 1) for m in (strong, none)
    ]
    assert norm[0] < norm[1] / 2
    assert strong.loss_ < 10  # not 50 ||W||²
