"""Architectures by name: timm's, torchvision's, one's own; weights from files; frozen backbones."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional as F

from sklearn_nets import (
    CNNClassifier,
    CNNRegressor,
    FeatureExtractor,
    KNeighborsClassifier,
    SegmentationNet,
    ViTClassifier,
    make_digit_scenes,
)
from sklearn_nets.modules.augment import RandomFlipShift
from sklearn_nets.modules.registry import build_architecture, read_weights
from sklearn_nets.modules.segmenters import build_segmenter

timm = pytest.importorskip("timm")
smp = pytest.importorskip("segmentation_models_pytorch")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(n_class=3, return_X_y=True)
X, Y = X[:48].reshape(-1, 8, 8).repeat(4, 1).repeat(4, 2).astype(np.uint8) * 15, Y[:48]
FAST = {"max_iter": 1, "batch_size": 16, "augment": None, "random_state": 0}


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (CNNClassifier, "lenet"),
        (CNNClassifier, "resnet18"),
        (CNNClassifier, "mobilenetv3_small_050"),
        (ViTClassifier, "vit_tiny_patch16_224"),
        (ViTClassifier, "test_vit"),
        (CNNRegressor, "test_resnet"),
    ],
)
def test_by_name(cls, name):
    model = cls(architecture=name, **FAST).fit(X, Y)
    assert model.predict(X).shape == (48,)
    assert model.features(X).shape[0] == 48
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "efficientnet_b0", "densenet121"])
@pytest.mark.parametrize("side", [32, 64])
def test_small_images_keep_a_map(name, side):
    """timm's own nets leave one position of a small image: the first strides become 1."""
    model = build_architecture(name, (3, side, side), 2).model.eval()
    plain = timm.create_model(name).eval()
    with torch.no_grad():
        ours, timms = (m.forward_features(torch.zeros(1, 3, side, side)) for m in (model, plain))
    assert timms.shape[-1] == side // 32
    assert ours.shape[-1] >= 3
    large = build_architecture(name, (3, 224, 224), 2).model
    strides = [m.stride for m in large.modules() if isinstance(m, nn.Conv2d)]
    assert strides == [m.stride for m in plain.modules() if isinstance(m, nn.Conv2d)]


def test_the_transformer_is_timms_own():
    torch.manual_seed(0)
    ours = build_architecture("vit_tiny_patch16_224", (3, 32, 32), 7).eval()
    theirs = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=4, num_classes=7
    ).eval()
    theirs.load_state_dict(ours.model.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_wrong_names_and_sizes():
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        CNNClassifier(architecture="resnet-18", **FAST).fit(X, Y)
    with pytest.raises(ValueError, match="32x32 pixels; 63x63 would do"):
        CNNClassifier(architecture="alexnet", **FAST).fit(X, Y)
    with pytest.raises(ValueError, match="12x12 pixels or more, got 8x8"):
        CNNClassifier(architecture="lenet", **FAST).fit(X[:, :8, :8], Y)
    with pytest.raises(ValueError, match="unknown.*Did you mean 'unet'"):
        SegmentationNet(architecture="unnet", **FAST).fit(X, (X > 90).astype(int))
    with pytest.raises(ValueError, match="unknown.*Did you mean 'resnet18'"):
        SegmentationNet(architecture="unet", encoder="resnet_18", **FAST).fit(X, X // 200)


@pytest.mark.parametrize("missing", ["timm", "segmentation_models_pytorch"])
def test_a_missing_package_is_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    estimator = {
        "timm": CNNClassifier(architecture="resnet18", **FAST),
        "segmentation_models_pytorch": SegmentationNet(architecture="unet", **FAST),
    }[missing]
    with pytest.raises(ImportError, match=r"pip install 'sklearn-nets\[vision\]'"):
        estimator.fit(X, Y if missing == "timm" else X // 200)


class Tiny(nn.Module):
    def __init__(self, in_shape, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(np.prod(in_shape), n_outputs))

    def forward(self, x):
        return self.layers(x)


def test_a_callable_builds_the_net():
    model = CNNClassifier(architecture=Tiny, **FAST).fit(X, Y, np.ones(48))
    assert model.n_parameters_ == 1024 * 3 + 3
    with pytest.raises(ValueError, match="features needs a net that tells its features"):
        model.features(X)
    with pytest.raises(ValueError, match="freeze='backbone' needs a net"):
        CNNClassifier(architecture=Tiny, freeze="backbone", **FAST).fit(X, Y)
    search = GridSearchCV(CNNClassifier(**FAST), {"architecture": ["small", Tiny]}, cv=2)
    assert search.fit(X, Y).cv_results_["rank_test_score"].shape == (2,)

    def timms(in_shape, n_outputs):
        return timm.create_model("test_resnet", in_chans=in_shape[0], num_classes=n_outputs)

    assert CNNClassifier(architecture=timms, **FAST).fit(X, Y).features(X).ndim == 2


@pytest.mark.parametrize(
    ("estimator", "made", "y"),
    [
        (CNNClassifier(), Tiny((1, 32, 32), 3), Y),
        (SegmentationNet(), nn.Conv2d(1, 2, 1), X // 200),
    ],
)
def test_a_net_handed_out_twice_does_not_carry_what_it_learned(estimator, made, y):
    before = {name: w.clone() for name, w in made.state_dict().items()}
    estimator.set_params(architecture=lambda shape, n_outputs: made, **FAST)
    first, second = (estimator.fit(X, y).predict(X) for _ in range(2))
    assert all(torch.equal(w, before[name]) for name, w in made.state_dict().items())
    assert_array_equal(first, second)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_net_that_cannot_be_copied_is_taken_as_it_is():
    """Weights that are computed, as the old `weight_norm` does, bear no deepcopy."""

    def build(image_shape, n_outputs):
        layer = nn.utils.weight_norm(nn.Linear(int(np.prod(image_shape)), n_outputs))
        return nn.Sequential(nn.Flatten(), layer)

    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(build((1, 2, 2), 3))
    assert CNNClassifier(architecture=build, **FAST).fit(X, Y).predict(X).shape == Y.shape


class Plain(nn.Module):
    """A net whose constructor knows nothing of shapes."""

    def __init__(self):
        super().__init__()


@pytest.mark.parametrize(
    ("estimator", "y", "first"),
    [(CNNClassifier(), Y, "image_shape"), (SegmentationNet(), X // 200, "in_channels")],
)
def test_a_net_or_a_class_that_takes_no_shape_is_named(estimator, y, first):
    estimator.set_params(**FAST)
    with pytest.raises(ValueError, match=rf"callable \({first}, n_out.*got a net, a Plain"):
        estimator.set_params(architecture=Plain()).fit(X, y)
    with pytest.raises(TypeError, match=rf"Plain.*given.*lambda {first}, n_outputs"):
        estimator.set_params(architecture=Plain).fit(X, y)


class Wider(Tiny):
    """A net of one output too many."""

    def __init__(self, in_shape, n_outputs):
        super().__init__(in_shape, n_outputs + 1)


class Squeezed(Tiny):
    """A net that answers (n,) instead of (n, 1)."""

    def forward(self, x):
        return super().forward(x).squeeze(1)


class One(Tiny):
    """A net of one output, whatever is asked."""

    def __init__(self, in_shape, n_outputs):
        super().__init__(in_shape, 1)


def convolution(in_channels, n_outputs):
    return nn.Conv2d(in_channels, n_outputs + 1, 1)


@pytest.mark.parametrize(
    ("estimator", "y", "message"),
    [
        (CNNRegressor(architecture=Squeezed), Y, r"shape \(1, 1\) of images.*got \(1,\)"),
        (CNNRegressor(architecture=One), np.stack([Y, Y], 1), r"\(1, 2\) of .*got \(1, 1\)"),
        (CNNClassifier(architecture=Wider), Y, r"\(1, 3\) of images.*got \(1, 4\)"),
        (
            SegmentationNet(architecture=convolution), X // 200,
            r"\(1, 2, 32, 32\) of images.*got \(1, 3, 32, 32\)",
        ),
        (CNNClassifier(architecture=lambda *_: None), Y, "return an nn.Module, got NoneType"),
        (SegmentationNet(architecture=lambda *_: None), X // 200, "nn.Module, got NoneType"),
    ],
    ids=lambda value: getattr(value, "architecture", None) and type(value).__name__,
)  # fmt: skip
def test_outputs_of_a_callables_net_are_checked(estimator, y, message):
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**FAST).fit(X, y)


class Restless(Tiny):
    """A net of batch norm, one part of which stays in the mode of prediction, and of chance."""

    def __init__(self, in_shape, n_outputs):
        super().__init__(in_shape, n_outputs)
        self.norms = nn.Sequential(nn.BatchNorm2d(in_shape[0]), nn.BatchNorm2d(in_shape[0]))
        self.norms[1].eval()

    def forward(self, x):
        return super().forward(self.norms(x) + torch.rand_like(x))


def test_the_check_of_outputs_leaves_no_trace(monkeypatch):
    model = CNNClassifier(architecture=Restless, **FAST).fit(X, Y)
    monkeypatch.setattr(CNNClassifier, "_check_outputs", lambda *_: None)
    unchecked = CNNClassifier(architecture=Restless, **FAST).fit(X, Y)
    states = (m.net_.module_.state_dict() for m in (model, unchecked))
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert torch.equal(one, other)
    modes = ([part.training for part in m.net_.module_.modules()] for m in (model, unchecked))
    assert next(modes) == next(modes)


def test_features_need_no_head():
    def headless(in_shape, n_outputs):
        return timm.create_model("test_resnet", in_chans=in_shape[0], num_classes=0)

    assert FeatureExtractor(headless, random_state=0).fit_transform(X).shape[0] == 48


class WithUnused(Tiny):
    """A net that never uses some of its layers, as those with auxiliary heads do."""

    def __init__(self, in_shape, n_outputs):
        super().__init__(in_shape, n_outputs)
        self.unused = nn.Linear(3, 3)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_layers_that_are_never_used_change_nothing(solver):
    shared = FAST | {"solver": solver, "alpha": 0.1}
    used = CNNClassifier(architecture=Tiny, **shared).fit(X, Y)
    also_unused = CNNClassifier(architecture=WithUnused, **shared).fit(X, Y)
    assert_array_equal(also_unused.predict_proba(X), used.predict_proba(X))


# ------------------------------------------------------------------------------ weights of a file
@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of a net of timm's with 5 classes and 3 channels."""
    safetensors = pytest.importorskip("safetensors.torch")
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    net = timm.create_model("test_resnet", num_classes=5)
    torch.save(net.state_dict(), folder / "weights.pth")
    torch.save({"state_dict": net.state_dict()}, folder / "nested.pth")
    safetensors.save_file(net.state_dict(), folder / "weights.safetensors")
    return net.eval(), folder


COLORS = np.random.RandomState(0).randint(0, 256, (12, 3, 40, 40), dtype=np.uint8)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", ["weights.pth", "nested.pth", "weights.safetensors"])
def test_features_of_a_file_of_weights(weights, name):
    net, folder = weights
    extractor = FeatureExtractor("test_resnet", pretrained=folder / name).fit(COLORS)
    mean, std = (torch.tensor(net.pretrained_cfg[k])[:, None, None] for k in ("mean", "std"))
    pixels = (torch.from_numpy(COLORS) / 255 - mean) / std
    backbone = extractor.estimator_.net_.module_[1]
    for ours, theirs in zip(backbone.model.modules(), net.modules(), strict=True):
        if hasattr(ours, "stride"):
            theirs.stride = ours.stride  # the images are small
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(pixels), pre_logits=True)
    assert_allclose(extractor.transform(COLORS), expected, rtol=1e-4, atol=1e-5)
    brightness = FeatureExtractor("test_resnet", pretrained=folder / name).fit(COLORS / 255)
    assert_allclose(brightness.transform(COLORS / 255), expected, rtol=1e-3, atol=1e-4)
    assert len(extractor.get_feature_names_out()) == expected.shape[1]
    for wide in (COLORS.astype(np.int64), 257 * COLORS.astype(np.int32), COLORS * np.uint16(257)):
        extractor = FeatureExtractor("test_resnet", pretrained=folder / name).fit(wide)
        assert_allclose(extractor.transform(wide), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="up to 65535, got 25500000"):
        FeatureExtractor("test_resnet", pretrained=folder / name).fit(COLORS * np.int64(100_000))


def test_a_frozen_backbone_is_logistic_regression(weights):
    _, folder = weights
    y = np.arange(12) % 3
    model = CNNClassifier(
        architecture="test_resnet", pretrained=folder / "weights.pth", freeze="backbone",
        solver="adam", alpha=1.0, learning_rate="constant", learning_rate_init=0.02, max_iter=600,
        batch_size=12, tol=0, n_iter_no_change=600, label_smoothing=0, augment=None,
        random_state=0,
    )  # fmt: skip
    before = FeatureExtractor("test_resnet", pretrained=folder / "weights.pth").fit(COLORS)
    model.fit(COLORS, y)
    features = before.transform(COLORS)
    assert_array_equal(model.features(COLORS), features)  # statistics of batch norm, too
    assert model.n_parameters_ == 3 * features.shape[1] + 3
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, y)
    assert_allclose(
        model.predict_proba(COLORS), reference.predict_proba(features), rtol=1e-3, atol=1e-3
    )


@pytest.mark.usefixtures("host")
def test_fine_tuning_starts_from_the_weights(weights):
    net, folder = weights
    settings = {**FAST, "learning_rate_init": 1e-7, "batch_size": 12}
    model = CNNClassifier(architecture="test_resnet", pretrained=folder / "weights.pth", **settings)
    model.fit(COLORS, np.arange(12) % 3)
    conv = dict(model.net_.module_[1].model.named_parameters())
    for name, weight in net.named_parameters():
        if not name.startswith("fc"):
            assert_allclose(conv[name].detach(), weight.detach(), atol=1e-5)


@pytest.mark.parametrize("architecture", ["test_resnet", "small"])
@pytest.mark.parametrize("held", [b"no weights" * 9, torch.zeros(3), [1, 2], torch.nn.Linear(2, 2)])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_that_holds_no_weights_is_named(architecture, held, suffix, tmp_path):
    path = tmp_path / f"some.{suffix}"
    if isinstance(held, bytes):
        path.write_bytes(held)
    else:
        torch.save(held, path)
    with pytest.raises(ValueError, match=rf"some\.{suffix}' cannot be read as weights"):
        CNNClassifier(architecture=architecture, pretrained=path, **FAST).fit(COLORS, Y[:12])


def test_files_that_do_not_fit(weights, tmp_path):
    _, folder = weights
    with pytest.raises(ValueError, match="no file of weights"):
        CNNClassifier(architecture="test_resnet", pretrained=tmp_path / "none", **FAST).fit(X, Y)
    with pytest.raises(ValueError, match="weights .* those of another net"):
        CNNClassifier(architecture="lenet", pretrained=folder / "weights.pth", **FAST).fit(X, Y)
    with pytest.raises(ValueError, match="no pretrained weights for architecture='small'"):
        CNNClassifier(pretrained=True, **FAST).fit(X, Y)
    torch.save({"weights": Tiny((1, 1, 1), 1)}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="Weights only load failed"):  # no pickled code is run
        read_weights(tmp_path / "code.pth")


def test_a_file_for_timms_net_holds_its_weights(weights, tmp_path):
    """As for our own nets: only the head may be another, or none."""
    net, _ = weights
    state = net.state_dict()
    body = {name: w for name, w in state.items() if not name.startswith("fc.")}
    first = next(iter(body))
    settings = {**FAST, "batch_size": 12, "architecture": "test_resnet"}
    settings["pretrained"] = tmp_path / "some.pth"
    for wrong in (
        {"a": torch.zeros(1)},
        {**state, "a": torch.zeros(1)},
        {name: w for name, w in state.items() if name != first},
    ):
        torch.save(wrong, tmp_path / "some.pth")
        with pytest.raises(ValueError, match="weights .* those of another net: missing"):
            CNNClassifier(freeze="backbone", **settings).fit(COLORS, np.arange(12) % 3)
    uncounted = {name: w for name, w in body.items() if not name.endswith("tracked")}
    torch.save(uncounted, tmp_path / "some.pth")
    model = CNNClassifier(freeze="backbone", **settings).fit(COLORS, np.arange(12) % 3)
    assert_array_equal(model.net_.module_[1].model.state_dict()[first], body[first])


def test_a_file_for_timms_transformer(tmp_path):
    """Nested, and with tokens of other patches, which timm converts."""
    name = "deit_tiny_patch16_224"
    state = timm.create_model(name).state_dict()
    torch.save({"model": state}, tmp_path / "deit.pth")
    settings = {**FAST, "batch_size": 12, "architecture": name, "freeze": "backbone"}
    model = CNNClassifier(pretrained=tmp_path / "deit.pth", **settings)
    model.fit(COLORS, np.arange(12) % 3)
    loaded = model.net_.module_[1].model.state_dict()["blocks.0.attn.qkv.weight"]
    assert_array_equal(loaded, state["blocks.0.attn.qkv.weight"])


def test_own_weights_with_another_head(tmp_path):
    first = CNNClassifier((4, 8), **FAST).fit(X, Y)
    state = first.net_.module_[1].state_dict()
    torch.save(state, tmp_path / "own.pth")
    second = CNNClassifier((4, 8), pretrained=tmp_path / "own.pth", freeze="backbone", **FAST)
    second.fit(X, np.arange(48) % 4)
    for name, weight in second.net_.module_[1].state_dict().items():
        assert name.startswith("head") or torch.equal(weight, state[name])


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (CNNClassifier((4, 8)), Y),
        (CNNClassifier(architecture="lenet"), Y),
        (ViTClassifier(embed_dim=8, depth=1), Y),
        (SegmentationNet((4, 8)), X // 200),
    ],
)
def test_the_weights_of_a_fitted_net_come_back(model, y, tmp_path):
    state = model.set_params(**FAST).fit(X, y).net_.module_.state_dict()
    torch.save(state, tmp_path / "net.pt")
    still = {"pretrained": tmp_path / "net.pt", "learning_rate_init": 1e-30, "alpha": 0}
    again = model.set_params(**still).fit(X, y).net_.module_.state_dict()
    assert list(again) == list(state)
    for name, w in again.items():
        assert "running" in name or "num_batches" in name or torch.equal(w, state[name]), name


def test_features_as_a_frame():
    extractor = FeatureExtractor(random_state=0)
    features = extractor.fit_transform(X)
    frame = extractor.set_output(transform="pandas").fit_transform(X)
    assert_array_equal(frame, features)
    assert frame.columns.tolist() == extractor.get_feature_names_out().tolist()


def test_features_of_a_frozen_net_are_those_it_learned():
    net = CNNClassifier((4,), **FAST).fit(X, Y)
    frozen = FeatureExtractor(FrozenEstimator(net)).fit(X[:9], Y[:9])
    assert_array_equal(frozen.transform(X), net.features(X))


def test_features_before_neighbors():
    model = make_pipeline(FeatureExtractor(CNNClassifier((8, 16), max_iter=12, random_state=0)),
                          KNeighborsClassifier())  # fmt: skip
    assert model.fit(X, Y).score(X, Y) > 0.9


# ------------------------------------------------------------------------------------ segmentation
@pytest.fixture(scope="module")
def scenes():
    data = make_digit_scenes(6, image_size=(40, 50), random_state=0)
    return data.images, (data.masks > 0).astype(int)


@pytest.mark.parametrize("architecture", ["unet", "fpn", "deeplabv3plus", "segformer"])
def test_segmentation_architectures(scenes, architecture):
    images, masks = scenes
    settings = {**FAST, "batch_size": 3}
    model = SegmentationNet(architecture=architecture, encoder="resnet18", **settings)
    assert model.fit(images, masks).predict(images[:, :33, :31]).shape == (6, 33, 31)


def test_timms_encoders_frozen_and_from_a_file(scenes, tmp_path):
    images, masks = scenes
    settings = {**FAST, "batch_size": 3, "architecture": "unet", "encoder": "mobilenetv3_small_050"}
    first = SegmentationNet(**settings).fit(images, masks)
    encoder = first.net_.module_[1].net.encoder
    torch.save(encoder.state_dict(), tmp_path / "encoder.pth")
    second = SegmentationNet(pretrained=tmp_path / "encoder.pth", freeze="backbone", **settings)
    second.fit(images, masks)
    for name, weight in second.net_.module_[1].net.encoder.state_dict().items():
        assert torch.equal(weight, encoder.state_dict()[name])
    assert 0 < second.n_parameters_ < first.n_parameters_


def test_encoders_read_pixels_as_they_were_trained(monkeypatch, tmp_path):
    file = tmp_path / "encoder.pth"
    for encoder, half in (("tf_efficientnet_lite0", True), ("resnet18", False)):
        torch.save(build_segmenter("unet", encoder, 3, 2).net.encoder.state_dict(), file)
        mean, std = build_segmenter("unet", encoder, 3, 2, file).pretrained_statistics
        assert (mean == std == (0.5, 0.5, 0.5)) == half

    # as if weights had been downloaded, of pixels up to 255
    create, known = smp.create_model, {"input_range": [0, 255], "mean": [51] * 3, "std": [102] * 3}
    monkeypatch.setattr(
        smp, "create_model", lambda *a, encoder_weights, **k: create(*a, encoder_weights=None, **k)
    )
    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", lambda name: known)
    statistics = build_segmenter("unet", "resnet18", 3, 2, True).pretrained_statistics
    assert statistics == ((0.2,) * 3, (0.4,) * 3)


@pytest.mark.usefixtures("host")
def test_predictions_average_over_views_as_training_made_them(scenes):
    images, masks = scenes
    settings = {**FAST, "batch_size": 3, "augment": RandomFlipShift(0.5, 2)}
    model = SegmentationNet((4, 8), **settings).fit(images, masks)
    with torch.no_grad():
        module, x = model.net_.module_, torch.from_numpy(images).permute(0, 3, 1, 2)
        z = (module(x) + module(x.flip(3)).flip(3)) / 2  # masks are not shifted
    assert_allclose(model.predict_proba(images), z.softmax(1), rtol=1e-4, atol=1e-6)

    def moved(x, by):
        inside = slice(2 + by, 34 + by)
        return F.pad(x.float(), (2, 2, 2, 2), mode="reflect")[:, :, inside, inside]

    for hflip, shift in ((0.5, 0), (0, 2), (0.5, 1)):
        cnn = CNNClassifier((4,), **{**FAST, "augment": RandomFlipShift(hflip, shift)}).fit(X, Y)
        assert cnn.mirrored_ == (hflip > 0)
        assert cnn.test_time_shift_ == (-(-shift // 2),) * 2
        x = torch.from_numpy(X)[:, None]
        views = [moved(x, by) for by in ((0, 1, -1) if shift else (0,))]
        views += [view.flip(3) for view in views] if hflip else []
        with torch.no_grad():
            z = sum(cnn.net_.module_(view) for view in views) / len(views)
        assert_allclose(cnn.predict_proba(X), z.softmax(1), rtol=1e-4, atol=1e-6)
        cnn.set_params(test_time_augment=False)
        with torch.no_grad():
            assert_allclose(
                cnn.predict_proba(X), cnn.net_.module_(x).softmax(1), rtol=1e-4, atol=1e-6
            )
