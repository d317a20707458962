"""The torch modules of the image nets: references and properties."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from sklearn_nets._base.image_nets import init_from_images
from sklearn_nets.modules.layers import (
    BatchNorm2d,
    Normalize,
    WhitenedConv2d,
    identity_conv,
    stem_stride,
)
from sklearn_nets.modules.mlp import MLP
from sklearn_nets.modules.resnet import ResidualCNN, ResidualStage
from sklearn_nets.modules.unet import UNet
from sklearn_nets.modules.vit import Attention, ConvTokenizer, VisionTransformer

NETS = {
    "cnn": lambda shape: ResidualCNN(shape, 4, channels=(8, 12), depth=2),
    "vit": lambda shape: VisionTransformer(shape, 4, embed_dim=16, depth=2, num_heads=2),
    "vit-token": lambda shape: VisionTransformer(
        shape, 4, patch_size=1, embed_dim=16, depth=1, num_heads=2, pool="token"
    ),
    "vit-mean": lambda shape: VisionTransformer(shape, 4, embed_dim=16, depth=1, pool="mean"),
    "segmentation": lambda shape: UNet(shape[0], 4, channels=(8, 12, 16)),
}
SHAPES = [(1, 8, 8), (3, 64, 48), (1, 1, 1), (1, 1, 2), (1, 1, 30), (2, 30, 1), (4, 7, 13)]
every_net = pytest.mark.parametrize("name", NETS)
NORMED = ("cnn", "segmentation")  # their batch norms see the batch while training, and only then


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Nets this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(name, shape=(3, 8, 8), seed=0, dtype=torch.float32):
    """A net whose branches that start at zero were moved away from it."""
    torch.manual_seed(seed)
    net = NETS[name](shape)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return net.to(dtype)


def images(*shape, seed=1, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_attention_is_the_formula():
    attention = Attention(6)
    with torch.no_grad():
        attention.proj.weight.copy_(torch.eye(6))
        attention.proj.bias.zero_()
    H = images(2, 9, 6)
    Q, K, V = attention.qkv.weight.split(6)
    q, k, v = attention.qkv.bias.split(6)
    scores = (H @ Q.T + q) @ (H @ K.T + k).mT / math.sqrt(6)
    assert_close(attention(H), torch.softmax(scores, dim=-1) @ (H @ V.T + v))


def test_attention_heads_are_torchs_own():
    attention = Attention(12, num_heads=3)
    reference = nn.MultiheadAttention(12, 3, batch_first=True)
    reference.in_proj_weight, reference.in_proj_bias = attention.qkv.weight, attention.qkv.bias
    reference.out_proj = attention.proj
    H = images(2, 5, 12)
    assert_close(attention(H), reference(H, H, H, need_weights=False)[0])


def test_attention_weights_do_not_depend_on_the_number_of_tokens():
    attention = Attention(8, num_heads=2)
    assert sum(p.numel() for p in attention.parameters()) == 4 * 8 * 8 + 4 * 8
    for tokens in (1, 3, 50):
        assert attention(images(2, tokens, 8)).shape == (2, tokens, 8)


# ------------------------------------------------------------------------------ every architecture
@every_net
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_shape_and_gradients(name, shape):
    net, X = make(name, shape), images(2, *shape)
    before = X.clone()
    output = net(X)
    assert output.shape == ((2, 4, *shape[1:]) if name == "segmentation" else (2, 4))
    output.square().sum().backward()
    learned = [p for p in net.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learned)
    assert torch.equal(X, before)


@every_net
def test_one_seed_gives_the_same_bits(name):
    def train(seed):
        torch.manual_seed(seed)
        net = NETS[name]((3, 9, 10))
        weights = copy.deepcopy(net.state_dict())
        state = torch.get_rng_state()
        optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
        for _ in range(3):
            loss = net(images(4, 3, 9, 10)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert torch.equal(torch.get_rng_state(), state)  # forward draws nothing
        return weights, net.state_dict()

    first, again, other = train(0), train(0), train(1)
    for one, two in zip(first, again):
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(first[0][key], other[0][key]) for key in first[0])


@every_net
def test_samples_of_a_batch_do_not_see_each_other(name):
    net, X = make(name, dtype=torch.float64), images(5, 3, 8, 8, dtype=torch.float64)
    if name in NORMED:
        assert not torch.allclose(torch.cat([net(x[None]) for x in X]), net(X))
        net.eval()
    whole = net(X)
    assert_close(torch.cat([net(x[None]) for x in X]), whole)
    assert_close(net(X.flip(0)), whole.flip(0))
    assert torch.equal(net.eval()(X), whole)


@every_net
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 1, 5)], ids=str)
def test_precisions_agree(name, shape):
    X = images(4, *shape)
    exact = make(name, shape, dtype=torch.float64)(X.double())
    assert exact.dtype == torch.float64
    assert_close(make(name, shape)(X).double(), exact, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = make(name, shape)(X)
    assert_close(coarse.double(), exact, rtol=0.1, atol=0.1)


@every_net
def test_memory_layout_of_the_input_does_not_matter(name):
    net, X = make(name), images(4, 3, 8, 8)
    for other in (X.contiguous(memory_format=torch.channels_last), X.mT.contiguous().mT):
        assert_close(net(other), net(X))


@every_net
def test_compiled_is_eager(name):
    net, X = make(name), images(2, 3, 8, 8)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    assert_close(compiled(X), net(X))
    torch.compiler.reset()


@every_net
def test_learns(name):
    """Which half of the image is brighter, from 32 noisy images, in 40 steps."""
    torch.manual_seed(0)
    y = torch.arange(32) % 2
    X = images(32, 1, 8, 8)
    X[y == 1, :, :4] += 1
    net = nn.Sequential(Normalize(X.mean((0, 2, 3)), X.std((0, 2, 3))), NETS[name]((1, 8, 8)))
    target = y[:, None, None].expand(-1, 8, 8) if name == "segmentation" else y
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(net(X), target).backward()
        optimizer.step()
    assert (net(X).argmax(1) == target).float().mean() > 0.95


# ------------------------------------------------------------------------------------------ layers
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
def test_input_norm_standardizes_any_pixels(dtype):
    X = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(dtype)
    wide = X.double()
    norm = Normalize(wide.mean((0, 2, 3)), wide.std((0, 2, 3), correction=0))
    assert norm.mean.shape == norm.scale.shape == (3, 1, 1)
    Z = norm(X)
    assert Z.dtype == torch.float64
    assert_close(Z.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64))
    assert_close(Z.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64))
    assert norm.float()(X).dtype == torch.float32


def test_input_norm_of_a_constant_channel_and_of_its_source():
    mean, scale = torch.tensor([7.0]), torch.tensor([0.0])
    norm = Normalize(mean, scale)
    X = torch.tensor([[[[7.0, 8.0]]]])
    assert norm(X).tolist() == [[[[0.0, 1.0]]]]
    assert X.tolist() == [[[[7.0, 8.0]]]]
    mean += 1
    assert norm(X).tolist() == [[[[0.0, 1.0]]]]


def test_batch_norm_is_torchs_and_weights_are_repetition():
    x = images(6, 3, 4, 5, dtype=torch.float64)
    ours, torchs = BatchNorm2d(3, momentum=1.0).double(), nn.BatchNorm2d(3, momentum=1.0).double()
    assert_close(ours(x), torchs(x))
    assert_close(ours.running_mean, torchs.running_mean)
    assert_close(ours.running_var, x.var((0, 2, 3), correction=0))
    assert_close(ours.eval()(x), F.batch_norm(x, None, None, training=True))
    ours.train()
    weight = torch.tensor([2.0, 0.0, 1.0, 3.0, 1.0, 0.0])
    repeated = x.repeat_interleave(weight.long(), 0)
    results = []
    for X, w in ((x, weight), (repeated, None)):
        norm, X = BatchNorm2d(3, momentum=0.5).double(), X.clone().requires_grad_()
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        norm.sample_weight = w
        losses = norm(X).pow(3).sum((1, 2, 3))
        (losses.sum() if w is None else losses @ w.double()).backward()
        results.append((norm.running_mean, norm.running_var, norm.weight.grad, norm.bias.grad))
    for one, other in zip(*results, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(
    ("n", "side", "most"), [(3000, 8, 2048), (300, 512, 32), (10, 512, 32), (3, 4096, 1)]
)
def test_first_weights_come_from_few_large_images(n, side, most):
    seen = []
    net = SimpleNamespace(init_from_data=lambda X, weight: seen.append((len(X), len(weight))))
    X = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(n, 1, side, side)
    init_from_images(net, Normalize(torch.zeros(1), torch.ones(1)), X, torch.ones(n))
    ((images_seen, weights_seen),) = seen
    assert images_seen == weights_seen <= most
    assert 2 * images_seen >= min(n, most)


def test_whitened_patches_are_uncorrelated():
    X = images(200, 2, 9, 9, dtype=torch.float64).cumsum(3)  # pixels of a row go together
    conv = WhitenedConv2d(2, (2, 2)).double()
    conv.whiten(X)
    assert not conv.weight.requires_grad
    z = conv(X).transpose(0, 1).flatten(1)
    assert torch.equal(z[:8], -z[8:])
    second_moments = z[:8] @ z[:8].T / z.shape[1]
    assert_close(second_moments[:6, :6], torch.eye(6, dtype=torch.float64), atol=0.02, rtol=0)
    weight = torch.arange(200) % 3
    weighted, repeated = WhitenedConv2d(2, (2, 2)).double(), WhitenedConv2d(2, (2, 2)).double()
    weighted.whiten(X, weight)
    repeated.whiten(X.repeat_interleave(weight, 0))
    assert_close(weighted.weight, repeated.weight, rtol=1e-4, atol=1e-4)  # it reads float32


def test_identity_convolutions_pass_their_channels_on():
    x = images(2, 4, 5, 6)
    assert torch.equal(identity_conv(4, 4)(x), x)
    wider = identity_conv(4, 7)(x)
    assert torch.equal(wider[:, :4], x)
    assert wider[:, 4:].std() > 0.1
    assert torch.equal(identity_conv(4, 3)(x), x[:, :3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pool", [True, False])
def test_a_stage_halves_and_stays_channels_last(pool, dtype):
    stage = ResidualStage(3, 6, depth=2, pool=pool).to(dtype, memory_format=torch.channels_last)
    x = images(2, 3, 9, 6, dtype=dtype).contiguous(memory_format=torch.channels_last)
    out = stage(x)
    assert out.shape == ((2, 6, 5, 3) if pool else (2, 6, 9, 6))
    assert out.is_contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------- cnn and vit
@pytest.mark.parametrize(("size", "pool"), [((16, 19), True), ((8, 15), False)])
def test_cnn_by_hand(size, pool):
    net, X = ResidualCNN((1, *size), 3, channels=(4, 6)), images(5, 1, *size)
    net.init_from_data(X)
    for _ in range(3):
        net(X)  # running statistics
    net.eval()
    first, second = net.stages
    z = first.convs[0](F.gelu(net.stem(X)))
    z = F.gelu(first.norms[0](F.max_pool2d(z, 2, ceil_mode=True) if pool else z))
    z = z + F.gelu(first.norms[1](first.convs[1](z)))
    z = F.gelu(second.norms[0](F.max_pool2d(second.convs[0](z), 2, ceil_mode=True)))
    z = z + F.gelu(second.norms[1](second.convs[1](z)))
    assert_close(net(X), net.head(z.flatten(2).amax(2) / 4))


def test_cnn_takes_other_sizes_than_its_own():
    net = make("cnn", (3, 16, 16))
    for size in ((16, 16), (5, 40), (1, 1)):
        assert net(images(2, 3, *size)).shape == (2, 4)


@pytest.mark.parametrize(
    ("size", "stride"), [((28, 28), 1), ((64, 64), 2), ((96, 128), 4), ((1, 784), 1)]
)
def test_cnn_halves_large_images_in_the_stem(size, stride):
    assert ResidualCNN((1, *size), 2).stem.stride == (stride, stride)


def test_patches_are_unfolds():
    vit = VisionTransformer((3, 6, 8), 2, patch_size=(3, 2))
    X = images(2, 3, 6, 8)
    assert torch.equal(vit.tokenizer.patches(X), F.unfold(X, (3, 2), stride=(3, 2)).mT)


def test_patches_of_a_size_that_they_do_not_tile():
    vit = VisionTransformer((1, 5, 7), 2, patch_size=3)
    X = images(2, 1, 5, 7)
    assert vit.tokenizer.grid == (2, 3)
    assert torch.equal(vit.tokenizer.patches(X), vit.tokenizer.patches(F.pad(X, (0, 2, 0, 1))))


def test_position_of_patches_is_learned():
    """Without the embedding of positions a transformer sees a bag of patches."""
    torch.manual_seed(0)
    vit = VisionTransformer((1, 4, 4), 4, patch_size=2, embed_dim=16, pool="mean").double()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    X = images(2, 1, 4, 4, dtype=torch.float64)
    swapped = X.roll(2, dims=3)  # patches of 2x2 change places
    assert not torch.allclose(vit(X), vit(swapped))
    vit.position.data.zero_()
    assert_close(vit(X), vit(swapped))


def test_dropout_only_while_training():
    vit, X = VisionTransformer((1, 8, 8), 3, dropout=0.5), images(2, 1, 8, 8)
    with torch.no_grad():
        vit.blocks[0].attention[1].proj.weight.normal_()  # a branch starts at zero
    assert not torch.equal(vit(X), vit(X))
    assert torch.equal(vit.eval()(X), vit(X))


@pytest.mark.parametrize("side", [1, 2, 3, 7, 8, 9, 20, 100, 224])
def test_convolutions_leave_few_tokens(side):
    tokenizer = ConvTokenizer(1, 4, (side, 3))
    assert 1 <= max(tokenizer.grid) <= 8
    assert tokenizer(images(1, 1, side, 3)).shape == (1, math.prod(tokenizer.grid), 4)


@pytest.mark.parametrize("size", [(1, 1), (9, 30), (48, 51), (97, 130)], ids=str)
def test_the_tokens_come_from_a_whitened_stem(size):
    tokenizer = ConvTokenizer(2, 4, size).double()
    X = images(60, 2, *size, dtype=torch.float64).cumsum(1)  # channels go together
    tokenizer.init_from_data(X)
    stride = stem_stride(size)  # as many places as strides
    missing = [-side % stride + max(2, stride) - stride for side in size]
    padded = F.pad(X, (0, missing[1], 0, missing[0]))
    z = tokenizer.stem(padded).transpose(0, 1).flatten(1)
    z = z[: len(z) // 2]  # the other half are their negatives
    second_moments = z @ z.T / z.shape[1]
    seen = min(len(z), 2 if size == (1, 1) else len(z))  # one pixel of two channels, and padding
    whitened = torch.eye(seen, dtype=torch.float64)
    assert_close(second_moments[:seen, :seen], whitened, atol=0.02, rtol=0)
    assert math.prod(tokenizer.grid) == tokenizer(X).shape[1]


def test_tokens_by_hand():
    tokenizer, X = ConvTokenizer(1, 4, (12, 11)), images(2, 1, 12, 11)
    tokenizer.init_from_data(X)
    conv, _, _, *residual = tokenizer.layers
    z = F.gelu(F.conv2d(F.pad(X, (0, 1, 0, 1)), tokenizer.stem.weight))
    z = F.gelu(F.max_pool2d(F.conv2d(z, conv.weight, padding=1), 2, ceil_mode=True))
    for branch in residual:
        z = z + F.gelu(F.conv2d(z, branch.conv.weight, padding=1))
    assert len(residual) == 2
    assert_close(tokenizer(X), z.flatten(2).transpose(1, 2))
    # the whitened stem is not trained, so that no gradient goes back to the images
    assert [name for name, p in tokenizer.named_parameters() if not p.requires_grad] == [
        "stem.weight"
    ]


def test_patches_take_nothing_from_the_images():
    vit = VisionTransformer((1, 8, 8), 3, patch_size=4)
    before = copy.deepcopy(vit.state_dict())
    vit.init_from_data(images(20, 1, 8, 8))
    assert all(torch.equal(w, before[name]) for name, w in vit.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 9}, r"at most the image's \(height, width\) = \(8, 6\), got 9"),
        ({"patch_size": (8, 7)}, r"got \(8, 7\)"),
        ({"patch_size": 0}, "at least 1"),
        ({"patch_size": (2, 2, 2)}, "patch_size must be"),
        ({"embed_dim": 10, "num_heads": 4}, "embed_dim=10 and num_heads=4. Take embed_dim=12"),
        ({"pool": "max"}, "pool must be 'attention', 'token' or 'mean', got 'max'"),
    ],
)
def test_bad_transformer(settings, message):
    with pytest.raises(ValueError, match=message):
        VisionTransformer((3, 8, 6), 2, **settings)


# ------------------------------------------------------------------------------------ segmentation
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 70), (16, 16), (15, 17)], ids=str)
def test_segmentation_pads_with_the_border_and_crops(size):
    net, X = make("segmentation"), images(2, 3, *size)
    height, width = size
    rows, columns = (
        torch.arange(max(math.ceil(side / 8), 2) * 8).clamp(max=side - 1) for side in size
    )
    padded = net(X[:, :, rows][:, :, :, columns])
    assert torch.equal(net(X), padded[:, :, :height, :width])


def test_segmentation_fuses_every_resolution():
    """The output at a pixel depends on the map of every stage."""
    net, X = make("segmentation"), images(1, 3, 16, 16)
    maps = []
    for stage in net.encoder:
        stage.register_forward_hook(lambda module, args, output: maps.append(output))
    gradients = torch.autograd.grad(net(X)[0, 0, 8, 8], maps)
    assert len(maps) == 3
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_a_perceptron_bears_hooks(activation):
    """Explainers such as shap's look into a net by them."""
    net = MLP([4, 5, 5, 2], activation).initialize(np.random.RandomState(0))
    X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (expected,) = torch.autograd.grad(net(X).sum(), X)
    seen = []
    for layer in net.layers:
        layer.register_full_backward_hook(lambda layer, _, grads: seen.append(grads[0].shape))
    (found,) = torch.autograd.grad(net(X).sum(), X)
    assert torch.equal(found, expected)
    assert seen == [(3, 5), (3, 5)]  # of the last one weights alone are used
