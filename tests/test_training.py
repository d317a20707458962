"""The training loop: torch's optimisers, replayed steps, streamed batches, augmentation, compiling."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

from sklearn_nets import CNNClassifier, MLPClassifier, RandomFlipShift, SegmentationNet
from sklearn_nets._base.precision import image_precision
from sklearn_nets._training import loop as training
from sklearn_nets._training.cuda_graph import CUDAGraphEpoch, warmup
from sklearn_nets._training.loader import BatchLoader, DeviceData, StreamedData
from sklearn_nets._training.optimizers import SGD, Adam
from sklearn_nets._utils import device as _device
from sklearn_nets._utils.device import copy_to_device, fits_on_device
from sklearn_nets._utils.random import TorchRandom
from sklearn_nets.datasets import make_digit_scenes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:330] / 16, Y[:330]
IMAGES = X.reshape(-1, 8, 8)


def mlp(**settings):
    return MLPClassifier(**{"hidden_layer_sizes": 9, "max_iter": 4, "random_state": 0, **settings})


class DataPointer(Callback):
    """Notes where the data lies that a net is trained on."""

    def on_epoch_end(self, net, dataset_train, **kwargs):
        self.pointer = dataset_train.data.X.data_ptr()


def run_of(model):
    """The run of one more epoch of a fitted net, ready to be captured."""
    run = model._make_run(IMAGES, Y, None, incremental=True)
    run.gradient = run.make_gradient(1.0)
    return run


def cnn(**settings):
    return CNNClassifier(**{"channels": (4, 6), "max_iter": 3, "random_state": 0, **settings})


# ------------------------------------------------------------------------------------- optimisers


def walk(optimizer_class, steps=7, device="cpu", rate=None, **settings):
    """Weights after some steps down a fixed slope, by torch's own step or by the lean one."""
    torch.manual_seed(0)
    params = [torch.randn(3, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)]
    params = [p.to(device).requires_grad_() for p in params]
    optimizer = optimizer_class(params, lr=0.1, **settings)
    for _ in range(steps):
        for p in params:
            p.grad = (p.detach() * 3).cos()
        if rate is None:
            optimizer.step()
        else:
            optimizer.fused_step(rate(optimizer.step_scalars([0.1])[0]))
    return [p.detach().cpu().numpy() for p in params]


@pytest.mark.parametrize("rate", [list, torch.from_numpy], ids=["numbers", "tensor"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_walks_as_torch(momentum, nesterov, rate):
    ours = walk(SGD, rate=rate, momentum=momentum, nesterov=nesterov)
    theirs = walk(torch.optim.SGD, momentum=momentum, nesterov=nesterov and momentum > 0)
    for a, b in zip(ours, theirs, strict=True):
        assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("rate", [list, torch.from_numpy], ids=["numbers", "tensor"])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adam_walks_as_torch(decay, rate):
    """With no epsilon torch's two meanings of it are one; decay is for weights alone."""
    ours = walk(Adam, rate=rate, eps=0.0, weight_decay=decay)
    theirs = walk(torch.optim.AdamW, eps=0.0, weight_decay=decay)
    without = walk(torch.optim.AdamW, eps=0.0, weight_decay=0.0)
    assert_allclose(ours[0], theirs[0], rtol=1e-12)
    assert_allclose(ours[1], without[1], rtol=1e-12)


def test_adam_goes_on_where_its_state_was_left():
    def steps(optimizer, n):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = torch.ones_like(p)
        for rate in optimizer.step_scalars([0.1] * n).tolist():
            optimizer.fused_step(rate)

    def start():
        p = torch.zeros(2, 2, requires_grad=True)
        return p, Adam([p])

    whole, optimizer = start()
    steps(optimizer, 6)
    parts, optimizer = start()
    steps(optimizer, 2)
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    again = Adam([parts])
    again.load_state_dict(state)
    steps(again, 4)
    assert torch.equal(whole, parts)


# ----------------------------------------------------------------------------------- replayed steps


def recorded(monkeypatch, where):
    """Have every training replay its steps; recording is playing them where there is no CUDA."""
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
    made = recorded(monkeypatch, device)
    replayed = make(**settings).fit(data, Y)
    assert made, "nothing was recorded"
    assert_allclose(replayed.loss_curve_, by_step.loss_curve_, rtol=2e-5)
    states = (m.net_.module_.state_dict() for m in (replayed, by_step))
    for a, b in zip(*(state.values() for state in states), strict=True):
        assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-3, atol=2e-5)
    assert replayed.predict(data).shape == Y.shape


def test_batch_norm_is_rehearsed_without_a_trace(device, monkeypatch):
    scenes = make_digit_scenes(6, random_state=0)
    settings = {"batch_size": 4, "max_iter": 2, "random_state": 0, "precision": "float32"}
    by_step = SegmentationNet((4, 8), device=device, **settings).fit(scenes.images, scenes.masks)
    recorded(monkeypatch, device)
    replayed = SegmentationNet((4, 8), device=device, **settings).fit(scenes.images, scenes.masks)
    ours, theirs = (m.net_.module_.state_dict() for m in (replayed, by_step))
    for name, value in ours.items():
        assert_allclose(value.cpu(), theirs[name].cpu(), rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("way", ["fit", "warm_start", "partial_fit"])
def test_steps_are_recorded_in_training_mode(way, monkeypatch):
    scenes = make_digit_scenes(6, random_state=0)
    model = SegmentationNet((4, 8), max_iter=1, warm_start=way == "warm_start", random_state=0)
    if way != "fit":
        model.fit(scenes.images, scenes.masks).predict(scenes.images)  # leaves the net in eval mode
    modes = []

    class Epoch(CUDAGraphEpoch):
        def __init__(self, run):
            super().__init__(run, lambda step: modes.append(run.module.training) or step)

    recorded(monkeypatch, "cpu")
    monkeypatch.setattr(training, "CUDAGraphEpoch", Epoch)
    (model.partial_fit if way == "partial_fit" else model.fit)(scenes.images, scenes.masks)
    assert modes
    assert all(modes)


def test_a_rehearsal_that_fails_leaves_no_trace(monkeypatch):
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
    assert epoch.scalars.dtype == epoch.total.dtype == torch.float32
    assert {steps.dtype for steps in model.net_.optimizer_._lists[-1]} == {torch.float32}


def test_rehearsal_undoes_what_it_did():
    weights, steps = torch.ones(3), []

    def step():
        steps.append(weights.add_(1).sum().item())

    warmup(step, [weights], torch.device("cpu"))
    assert steps == [6.0]
    assert weights.tolist() == [1.0, 1.0, 1.0]


def test_recording_that_fails_warns_and_trains_on(monkeypatch):
    def refuse(run):
        raise RuntimeError("operation not permitted when stream is capturing")

    expected = mlp().fit(X, Y)
    recorded(monkeypatch, "cpu")
    monkeypatch.setattr(training, "CUDAGraphEpoch", refuse)
    with pytest.warns(UserWarning, match=r"could not be captured as a CUDA graph \(operation not"):
        model = mlp().fit(X, Y)
    assert model.loss_curve_ == expected.loss_curve_


# --------------------------------------------------------------------------------- streamed batches


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_streamed_batches_are_the_batches(device, weighted, shuffled):
    data, codes = torch.from_numpy(X), torch.from_numpy(Y)
    weight = torch.arange(len(X)) * 1.0 if weighted else None

    def batches(source):
        random_state = np.random.RandomState(5) if shuffled else None
        return BatchLoader(source, batch_size=32, random_state=random_state)

    resident = batches(DeviceData(data, codes, weight))
    streamed = batches(StreamedData(data, codes, weight, torch.device(device), torch.float32))
    for expected, got in zip(resident, streamed, strict=True):
        assert got[0].device.type == device
        assert got[0].dtype == torch.float32
        assert torch.equal(got[0].cpu(), expected[0].float())
        assert torch.equal(got[1].cpu(), expected[1])
        assert (got[2] is None) == (weight is None)
        assert weight is None or torch.equal(got[2].cpu(), expected[2])


def test_streamed_batches_arrive_on_any_device():
    data, weight = torch.from_numpy(X), torch.ones(len(X))
    source = StreamedData(data, data, weight, torch.device("meta"))
    for batch in BatchLoader(source, batch_size=64):
        assert {tensor.device.type for tensor in batch} == {"meta"}


def test_a_stream_that_is_left_ends_its_thread():
    data = torch.from_numpy(X)
    before = threading.active_count()
    for _ in BatchLoader(StreamedData(data, data, None, data.device), batch_size=8):
        break
    assert threading.active_count() == before


@pytest.mark.parametrize("net", [mlp, cnn])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_data_without_room_streams_to_the_same_net(net, device, early_stopping, monkeypatch):
    data = X if net is mlp else IMAGES
    settings = {"early_stopping": early_stopping, "device": device}
    resident = net(**settings).fit(data, Y)
    monkeypatch.setattr(_device, "free_memory", lambda device: data.nbytes)  # half of it for data
    seen = []
    batches = StreamedData.batches
    monkeypatch.setattr(
        StreamedData,
        "batches",
        lambda self, *a: seen.append(self.X.device.type) or batches(self, *a),
    )
    streamed = net(**settings).fit(data, Y)
    assert set(seen) == {"cpu"}
    if device == "cpu":  # bitwise; elsewhere steps may be replayed, which rounds in another order
        assert streamed.loss_curve_ == resident.loss_curve_
        assert_array_equal(streamed.predict_proba(data), resident.predict_proba(data))
    assert_allclose(streamed.loss_curve_, resident.loss_curve_, rtol=1e-2)


def test_weights_stream_too_and_are_split(monkeypatch):
    weight = np.arange(len(Y)) % 3 * 1.0
    settings = {"early_stopping": True, "batch_size": 32}
    resident = mlp(**settings).fit(X, Y, sample_weight=weight)
    monkeypatch.setattr(_device, "free_memory", lambda device: 1)
    streamed = mlp(**settings).fit(X, Y, sample_weight=weight)
    assert streamed.loss_curve_ == resident.loss_curve_
    assert streamed.validation_scores_ == resident.validation_scores_


def test_masks_stream_with_their_images(monkeypatch):
    scenes = make_digit_scenes(6, random_state=0)
    settings = {"batch_size": 4, "max_iter": 2, "random_state": 0}
    resident = SegmentationNet((4, 8), **settings).fit(scenes.images, scenes.masks)
    monkeypatch.setattr(_device, "free_memory", lambda device: 1)
    streamed = SegmentationNet((4, 8), **settings).fit(scenes.images, scenes.masks)
    assert streamed.loss_curve_ == resident.loss_curve_


def test_lbfgs_says_that_it_needs_all_of_x(monkeypatch):
    monkeypatch.setattr(_device, "free_memory", lambda device: 1)
    with pytest.raises(
        ValueError, match=r"solver='lbfgs' takes all of X at once.*Use solver='adam'"
    ):
        mlp(solver="lbfgs").fit(X, Y)


def test_memory_that_torch_keeps_idle_is_free(monkeypatch):
    for name, value in {
        "mem_get_info": (100, 1000),
        "memory_reserved": 700,
        "memory_allocated": 300,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert _device.free_memory(torch.device("cuda:0")) == 100 + 400


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, None)])
def test_bfloat16_only_where_the_card_computes_in_it(able, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    precision = image_precision("auto", IMAGES, torch.device("cuda:0"), tabular=False)
    assert precision.autocast == expected
    assert precision.dtype == torch.float32


def test_default_generators_are_lent_and_put_back():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    lent = TorchRandom(0, torch.device("cpu"))
    with lent.as_default():
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    whole = TorchRandom(0, torch.device("cpu"))
    with whole.as_default():
        assert torch.equal(torch.rand(3), inside)
        more = torch.rand(3)
    with lent.as_default():  # goes on where it was
        assert torch.equal(torch.rand(3), more)


def test_room_is_counted_in_the_type_that_is_held():
    cpu = torch.device("cpu")
    assert fits_on_device(X, cpu)
    assert fits_on_device(torch.zeros(3, 3), cpu)


def test_room_on_another_device(monkeypatch):
    monkeypatch.setattr(_device, "free_memory", lambda device: X.nbytes)
    assert fits_on_device(X, torch.device("cuda"), torch.float32)
    assert not fits_on_device(X, torch.device("cuda"))
    assert fits_on_device(
        torch.zeros(1000, 1000), torch.device("cpu")
    )  # a tensor that is there already


@pytest.mark.parametrize("chunk", [1, 200, 2**26])
def test_upload_in_pieces(device, chunk, monkeypatch):
    monkeypatch.setattr(_device, "CHUNK", chunk)
    where = torch.device(device)
    for array in (
        X,
        X[::-1],
        X.astype(np.float32),
        IMAGES.transpose(0, 2, 1),
        (X * 16).astype("u1"),
    ):
        sent = copy_to_device(array, where, torch.float32)
        assert sent.dtype == torch.float32
        assert sent.device.type == device
        assert_array_equal(sent.cpu().numpy(), array.astype(np.float32))
        assert copy_to_device(array, where).cpu().numpy().dtype == array.dtype


def test_a_memory_map_is_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert copy_to_device(mapped, torch.device("cpu")).data_ptr() == mapped.ctypes.data
    model = mlp(callbacks=[DataPointer()]).fit(mapped, Y)
    assert model.callbacks[0].pointer == mapped.ctypes.data
    assert model.loss_curve_ == mlp().fit(X, Y).loss_curve_


# ------------------------------------------------------------------------ augmentation, compiling


def test_flips_and_shifts_take_masks_along(device):
    images = torch.arange(5 * 2 * 9 * 7).reshape(5, 2, 9, 7).to(device)
    masks = images[:, 0] * 10
    X_new, y_new = RandomFlipShift(hflip=0.5, shift=3)(images, masks)
    assert X_new.shape == images.shape
    assert torch.equal(X_new[:, 0] * 10, y_new)
    for old, new in zip(images, X_new):  # nothing comes from another image
        assert set(new.unique().tolist()) <= set(old.unique().tolist())
    assert not torch.equal(X_new, images)


def test_flips_and_shifts_by_hand():
    torch.manual_seed(0)
    row = torch.arange(5)[None, None, None, :].repeat(40, 1, 5, 1)
    X_new, y = RandomFlipShift(hflip=0.0, shift=1)(row, torch.arange(40))
    assert y.tolist() == list(range(40))
    possible = {(1, 0, 1, 2, 3), (0, 1, 2, 3, 4), (1, 2, 3, 4, 3)}  # mirrored at the border
    assert {tuple(line.tolist()) for line in X_new.reshape(-1, 5)} == possible
    flipped, _ = RandomFlipShift(hflip=1.0, shift=0)(row, y)
    assert torch.equal(flipped, row.flip(3))
    with pytest.raises(ValueError, match="shift=5 must be less than the images' height and width"):
        RandomFlipShift(shift=5)(row, y)


def test_augmentation_trains_on_changed_images(device):
    plain = cnn(device=device).fit(IMAGES, Y)
    still = cnn(device=device, augment=RandomFlipShift(0.0, 0)).fit(IMAGES, Y)
    moved = cnn(device=device, augment=RandomFlipShift(0.0, 1)).fit(IMAGES, Y)
    again = cnn(device=device, augment=RandomFlipShift(0.0, 1)).fit(IMAGES, Y)
    assert_allclose(still.loss_curve_, plain.loss_curve_, rtol=1e-4)
    assert abs(moved.loss_ - plain.loss_) > 1e-3
    if device == "cpu":
        assert moved.loss_curve_ == again.loss_curve_
    pickle.loads(pickle.dumps(moved)).predict(IMAGES)


def test_torchvisions_transforms_augment():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    flip = cnn(augment=v2.RandomHorizontalFlip(p=1.0)).fit(IMAGES, Y)
    by_hand = cnn().fit(IMAGES[:, :, ::-1], Y)
    assert_allclose(flip.loss_curve_, by_hand.loss_curve_, rtol=1e-4)


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


def test_compiled_nets_train_alike():
    pytest.importorskip("torch._inductor")
    settings = {"channels": (4,), "max_iter": 2, "batch_size": len(Y)}
    plain = cnn(**settings).fit(IMAGES, Y)
    compiled = cnn(**settings, compile=True).fit(IMAGES, Y)
    assert compiled.net_.module_._compiled_call_impl is not None
    assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=1e-4)
    restored = pickle.loads(pickle.dumps(copy.deepcopy(compiled)))  # not compiled any more
    assert_allclose(restored.predict_proba(IMAGES), plain.predict_proba(IMAGES), atol=1e-4)
