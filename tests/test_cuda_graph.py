"""Captured steps; where there is no CUDA, a replay is a call of the step."""

from functools import partial

import pytest
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_allclose
from sklearn.base import clone
from small_boxes import detector, squares
from small_nets import IMAGES, X, Y, cnn, mlp

from sklearn_nets import RandomFlipShift, RandomZoom, SegmentationNet, stacked
from sklearn_nets._training import loop as training
from sklearn_nets._training import stacked as stacked_module
from sklearn_nets._training import stacked_steps
from sklearn_nets._training.cuda_graph import CUDAGraphEpoch, capture, warmup
from sklearn_nets._training.optimizers import Adam
from sklearn_nets._utils.random import TorchRandom
from sklearn_nets.datasets import make_digit_scenes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def run_of(model):
    """The run of one more epoch of a fitted net, ready to be captured."""
    run = model._make_run(IMAGES, Y, None, incremental=True)
    run.gradient = run.make_gradient(1.0)
    return run


def capture_always(monkeypatch, where):
    """Have every training replay its steps; a replay is a call where there is no CUDA."""
    made = []

    class Epoch(CUDAGraphEpoch):
        def __init__(self, run):
            super().__init__(run, (lambda step: step) if where == "cpu" else None)
            made.append(self)

    monkeypatch.setattr(training, "MIN_STEPS_TO_CAPTURE", 0)
    monkeypatch.setattr(training, "can_capture", lambda run: True)
    monkeypatch.setattr(training, "CUDAGraphEpoch", Epoch)
    return made


REPLAYED = {
    "mlp": (mlp, {}, X),
    "mlp, weighted": (mlp, {"class_weight": {0: 3.0}}, X),
    "mlp, batches that fit": (mlp, {"batch_size": 110}, X),
    "mlp, one batch": (mlp, {"batch_size": 330}, X),
    "mlp, in order": (mlp, {"shuffle": False}, X),
    "mlp, sgd": (mlp, {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0}, X),
    "mlp, one cycle": (mlp, {"learning_rate": "onecycle"}, X),
    "mlp, early stopping": (mlp, {"early_stopping": True}, X),
    "cnn": (cnn, {}, IMAGES),
    "cnn, adamw": (cnn, {"solver": "adamw", "alpha": 0.1}, IMAGES),
    "cnn, augmented": (cnn, {"augment": RandomFlipShift(0.5, 1)}, IMAGES),
}


@pytest.mark.parametrize("case", REPLAYED)
def test_replayed_steps_are_the_steps(case, device, monkeypatch):
    make, settings, data = REPLAYED[case]
    settings = {**settings, "precision": "float32", "device": device}
    by_step = make(**settings).fit(data, Y)
    made = capture_always(monkeypatch, device)
    replayed = make(**settings).fit(data, Y)
    assert made, "nothing was captured"
    assert_allclose(replayed.loss_curve_, by_step.loss_curve_, rtol=2e-5)
    states = (m.net_.module_.state_dict() for m in (replayed, by_step))
    for a, b in zip(*(state.values() for state in states), strict=True):
        assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-3, atol=2e-5)
    assert replayed.predict(data).shape == Y.shape


def test_batch_norm_is_warmed_up_without_a_trace(device, monkeypatch):
    scenes = make_digit_scenes(6, random_state=0)
    settings = {"batch_size": 4, "max_iter": 2, "random_state": 0, "precision": "float32"}
    by_step = SegmentationNet((4, 8), device=device, **settings).fit(scenes.images, scenes.masks)
    capture_always(monkeypatch, device)
    replayed = SegmentationNet((4, 8), device=device, **settings).fit(scenes.images, scenes.masks)
    ours, theirs = (m.net_.module_.state_dict() for m in (replayed, by_step))
    for name, value in ours.items():
        assert_allclose(value.cpu(), theirs[name].cpu(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_steps_on_boxes_have_fixed_shapes(device, monkeypatch):
    X, y = squares(12)
    settings = {"precision": "float32", "device": device, "batch_size": 4}
    settings["augment"] = RandomZoom(hflip=0.5)
    by_step = detector(**settings).fit(X, y)
    made = capture_always(monkeypatch, device)
    replayed = detector(**settings).fit(X, y)
    assert made, "nothing was captured"
    assert_allclose(replayed.loss_curve_, by_step.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("way", ["fit", "warm_start", "partial_fit"])
def test_steps_are_captured_in_training_mode(way, monkeypatch):
    scenes = make_digit_scenes(6, random_state=0)
    model = SegmentationNet((4, 8), max_iter=1, warm_start=way == "warm_start", random_state=0)
    if way != "fit":
        model.fit(scenes.images, scenes.masks).predict(scenes.images)  # leaves the net in eval mode
    modes = []

    class Epoch(CUDAGraphEpoch):
        def __init__(self, run):
            super().__init__(run, lambda step: modes.append(run.module.training) or step)

    capture_always(monkeypatch, "cpu")
    monkeypatch.setattr(training, "CUDAGraphEpoch", Epoch)
    (model.partial_fit if way == "partial_fit" else model.fit)(scenes.images, scenes.masks)
    assert modes
    assert all(modes)


def test_a_warmup_that_fails_leaves_no_trace(monkeypatch):
    model = cnn(solver="adamw", alpha=0.1, max_iter=1).fit(IMAGES, Y)
    before = {k: v.clone() for k, v in model.net_.module_.state_dict().items()}
    step = type(model.net_.optimizer_).fused_step
    run = run_of(model)

    def break_down(self, scalars):
        step(self, scalars)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Adam, "fused_step", break_down)
    with pytest.raises(RuntimeError, match="out of memory"):
        CUDAGraphEpoch(run, lambda step: step)
    for name, value in model.net_.module_.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_kernels_read_float32_whatever_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        model = cnn(max_iter=1).fit(IMAGES, Y)
        epoch = CUDAGraphEpoch(run_of(model), lambda step: step)
    finally:
        torch.set_default_dtype(torch.float32)
    assert epoch.steps.scalars.dtype == epoch.steps.total.dtype == torch.float32
    assert {steps.dtype for steps in model.net_.optimizer_._lists[-1]} == {torch.float32}


def test_warmup_undoes_what_it_did():
    weights, steps = torch.ones(3), []

    def step():
        steps.append(weights.add_(1).sum().item())

    warmup(step, [weights], torch.device("cpu"))
    assert steps == [6.0]
    assert weights.tolist() == [1.0, 1.0, 1.0]


def test_warmup_undoes_what_a_run_drew():
    random = TorchRandom(0, torch.device("cpu"))
    drawn = []

    def step():
        drawn.append((torch.rand(2, generator=random.generator).tolist(), torch.rand(2).tolist()))

    with random.as_default():
        warmup(step, [], torch.device("cpu"), random)
        step()
    assert drawn[0] == drawn[1]


def test_warmup_leaves_the_numbers_of_other_threads_alone():
    torch.manual_seed(0)
    expected = torch.rand(2).tolist()
    torch.manual_seed(0)
    drawn = []  # by another thread, in the time of the step
    warmup(lambda: drawn.append(torch.rand(1)), [], torch.device("cpu"), None)
    random = TorchRandom(0, torch.device("cpu"))
    warmup(lambda: drawn.append(torch.rand(1)), [], torch.device("cpu"), random)
    assert torch.cat(drawn).tolist() == expected


def test_capture_that_fails_warns_and_trains_on(monkeypatch):
    def refuse(run):
        raise RuntimeError("operation not permitted when stream is capturing")

    expected = mlp().fit(X, Y)
    capture_always(monkeypatch, "cpu")
    monkeypatch.setattr(training, "CUDAGraphEpoch", refuse)
    with pytest.warns(UserWarning, match=r"could not be captured as a CUDA graph \(operation not"):
        model = mlp().fit(X, Y)
    assert model.loss_curve_ == expected.loss_curve_


def fit_stacked(models, lengths):
    """Fit every net on its first so many rows, as one stack."""
    with stacked():
        return Parallel()(
            delayed(model.fit)(X[:n], Y[:n]) for model, n in zip(models, lengths, strict=True)
        )


def replay_stacks(monkeypatch, make_replay):
    """Have every stack replay its steps from its first epoch on."""
    monkeypatch.setattr(stacked_steps, "MIN_STEPS_TO_CAPTURE", 0)
    monkeypatch.setattr(stacked_steps, "can_capture", lambda weights: True)
    steps = partial(stacked_steps.StackedSteps, make_replay=make_replay)
    monkeypatch.setattr(stacked_module, "StackedSteps", steps)


ADAPTIVE = {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1}
STACKED = {  # parameters of all nets, those of each, and on how many rows it is fitted
    "seeds": ({}, [{"random_state": i} for i in range(3)], [330] * 3),
    "one order": ({}, [{"alpha": a} for a in (0.0, 0.1, 1.0)], [330] * 3),
    "lengths": ({}, [{}, {}, {}], [330, 325, 323]),
    "lengths, weighted": ({"class_weight": {0: 3.0}}, [{}, {}, {}], [330, 325, 323]),
    "lengths, one full batch": ({}, [{}, {}], [320, 319]),
    "batches that fit": ({"batch_size": 110}, [{}, {}], [330, 330]),
    "one batch": ({"batch_size": 330}, [{}, {}], [330, 330]),
    "in order": ({"shuffle": False}, [{}, {}], [330, 330]),
    "rates": ({}, [{"learning_rate_init": r} for r in (0.1, 0.01, 0.01)], [330] * 3),
    "adaptive": (ADAPTIVE, [{"learning_rate_init": r} for r in (0.1, 0.01)], [330] * 2),
    "widths": ({}, [{"hidden_layer_sizes": n} for n in (8, 9)], [330] * 2),
    "early stopping": (
        {"early_stopping": True, "max_iter": 12}, [{"n_iter_no_change": n} for n in (1, 2, 12)],
        [330] * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STACKED)
def test_replayed_steps_of_a_stack_are_the_steps(case, device, monkeypatch):
    shared, own, lengths = STACKED[case]
    shared = {"max_iter": 4, "precision": "float32", "device": device, **shared}
    models = [mlp(**shared, **options) for options in own]
    by_step = fit_stacked(clone(models), lengths)
    made = []

    def make_replay(step):
        made.append(step)
        return step if device == "cpu" else capture(step, torch.device(device))

    replay_stacks(monkeypatch, make_replay)
    for ours, theirs in zip(fit_stacked(models, lengths), by_step, strict=True):
        assert ours.n_iter_ == theirs.n_iter_
        assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=2e-5)
        for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
            assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    assert made, "nothing was captured"
    # the same nets with the same learning rates are captured once: their steps, and a shorter last
    assert len(made) <= (2 if case not in ("adaptive", "early stopping") else 8)


def test_a_stack_equals_its_nets_alone(device):
    models = [mlp(random_state=i, precision="float32", device=device) for i in range(3)]
    alone = [model.fit(X, Y) for model in clone(models)]
    for ours, theirs in zip(fit_stacked(models, [330] * 3), alone, strict=True):
        assert ours.device_ == theirs.device_
        assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)
        for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
            assert_allclose(a, b, atol=1e-4)


def test_a_stack_is_captured_when_that_is_repaid(monkeypatch):
    made = []
    replay_stacks(monkeypatch, lambda step: made.append(step) or step)
    monkeypatch.setattr(stacked_steps, "MIN_STEPS_TO_CAPTURE", 12)
    fit_stacked([mlp(batch_size=110, max_iter=3, random_state=i) for i in range(2)], [330] * 2)
    assert not made
    fit_stacked([mlp(batch_size=110, max_iter=4, random_state=i) for i in range(2)], [330] * 2)
    assert len(made) == 1


def test_a_stack_whose_capture_fails_warns_and_trains_on(monkeypatch):
    def refuse(step):
        raise RuntimeError("operation not permitted when stream is capturing")

    models = [mlp(max_iter=3, random_state=i) for i in range(2)]
    expected = fit_stacked(clone(models), [330] * 2)
    replay_stacks(monkeypatch, refuse)
    with pytest.warns(UserWarning, match=r"could not be captured as a CUDA graph \(operation not"):
        fit_stacked(models, [330] * 2)
    assert [m.loss_curve_ for m in models] == [m.loss_curve_ for m in expected]
