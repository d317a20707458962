"""Architectures by name: our own, torchvision's AlexNet and whatever timm has."""

from __future__ import annotations

import copy
import difflib
import math
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from os import PathLike
from pathlib import Path

import torch
from torch import nn

from .._utils.optional import require
from .interfaces import Backbone
from .lecture import LectureCNN
from .lenet import LeNet

FINAL_GRID = 4  # positions a side that are wanted of the last map of a convolutional net
TOKEN_GRID = 8  # and of the tokens of a plain transformer
SIDES = (16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384)
STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)

Builder = Callable[[tuple[int, int, int], int], nn.Module]


def build_architecture(
    architecture: str | Builder,
    in_shape: tuple[int, int, int],
    n_outputs: int,
    pretrained: bool | str | PathLike = False,
    own: Builder | None = None,
) -> nn.Module:
    """Build the net of that name.

    Parameters
    ----------
    architecture : str or callable(in_shape, n_outputs) -> nn.Module
        "small", "lecture", "lenet", "alexnet" (torchvision's), a name of timm's, or a builder.
    in_shape : (int, int, int)
        Channels, height and width of the images.
    n_outputs : int
    pretrained : bool or path, default=False
        True downloads timm's weights; a file (safetensors, or a state dict of `torch.save`) is
        read, without pickled code. Weights of a head of another size are left out.
    own : callable(in_shape, n_outputs) -> nn.Module, optional
        What "small" means.

    Raises
    ------
    ValueError
        If the name is unknown, the images are too small for the net, there are no weights, or
        `architecture` is a net instead of a function that makes one.
    TypeError
        If a callable does not take (in_shape, n_outputs).
    ImportError
        If timm or torchvision is missing.
    """
    builders = {"small": own, "lecture": LectureCNN, "lenet": LeNet}
    if callable(architecture) or builders.get(architecture):
        if callable(architecture):
            module = call_builder(architecture, "image_shape", in_shape, n_outputs)
        else:
            module = builders[architecture](in_shape, n_outputs)
        if hasattr(module, "forward_head") and not isinstance(module, Backbone):
            module = TimmBackbone(module)
        if pretrained is True:
            raise ValueError(
                f"There are no pretrained weights for architecture={architecture!r}. Pass a file "
                "of them, or a name of timm's, such as 'resnet18'."
            )
        if pretrained:
            load_weights(module, pretrained)
        return module
    if architecture == "alexnet":
        return _alexnet(in_shape, n_outputs, pretrained)
    return _from_timm(architecture, in_shape, n_outputs, pretrained, builders)


def call_builder(architecture, what: str, shape, n_outputs: int):
    """What a callable of one's own makes; a copy, as it may hand out one net, or its parts, twice.

    `what` names its first argument.
    """
    expected = f"a callable ({what}, n_outputs) -> nn.Module that makes a new net for every fit"
    if isinstance(architecture, nn.Module):
        raise ValueError(
            f"architecture must be {expected}, got a net, a {type(architecture).__name__}. Pass "
            f"its class, or lambda {what}, n_outputs: ..."
        )
    try:
        module = architecture(shape, n_outputs)
    except TypeError as error:
        raise TypeError(
            f"architecture={architecture!r} failed when it was called with {shape}, {n_outputs}: "
            f"{error}. Expected is {expected}, such as lambda {what}, n_outputs: ..."
        ) from error
    try:
        return copy.deepcopy(module)
    except RuntimeError:  # of weights that are computed, as by the old `weight_norm`
        return module


class TimmBackbone(Backbone):
    """A model of timm, whose features are pooled before its classifier."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward_features(self, X):
        """What the classifier takes, (n, n_features)."""
        return self.model.forward_head(self.model.forward_features(X), pre_logits=True)

    def get_classifier(self):
        """timm's classifier; of a distilled net both of them."""
        head = self.model.get_classifier()
        return nn.ModuleList(head) if isinstance(head, tuple) else head

    def forward(self, X):
        """Raw outputs, (n, n_outputs), of X, (n, channels, height, width)."""
        return self.model(X)


def _from_timm(name, in_shape, n_outputs, pretrained, builders) -> TimmBackbone:
    timm = require("timm", f"architecture={name!r}")
    if not timm.is_model(name):
        _raise_unknown(name, [*builders, "alexnet", *timm.list_models()])
    options = {"in_chans": in_shape[0], "num_classes": n_outputs}
    if pretrained is not False:
        options["pretrained"] = True
        if pretrained is not True:
            options["pretrained_cfg_overlay"] = {"file": str(_existing(pretrained))}
            _check_names_for_timm(timm, name, pretrained)
    model, error = None, None
    for geometry in _geometries(timm, name, in_shape[1:]):
        try:
            model = timm.create_model(name, **options, **geometry)
            break
        except (OSError, RuntimeError) as failure:
            if pretrained is True:
                raise _no_download(name, failure) from failure
            error = failure
        except (AssertionError, TypeError, ValueError) as failure:
            error = failure
    if model is None or not _adapt_strides(model, in_shape):
        _raise_too_small(timm, name, in_shape, error)
    backbone = TimmBackbone(model)
    if pretrained is not False and in_shape[0] == 3:
        backbone.pretrained_statistics = (model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
    return backbone


def _geometries(timm, name, size) -> list[dict]:
    """Arguments of timm that make a net of images of this size, the best first."""
    if not timm.get_pretrained_cfg(name).fixed_input_size:
        return [{}]
    sized = {"img_size": tuple(size)}
    with torch.device("meta"):
        patches = getattr(timm.create_model(name), "patch_embed", None)
    if not hasattr(patches, "patch_size"):
        return [sized, {}]
    fitting = 2 ** math.floor(math.log2(max(1, min(size) / TOKEN_GRID)))
    return [{**sized, "patch_size": min(fitting, max(patches.patch_size))}, sized, {}]


def _adapt_strides(model, in_shape) -> bool:
    """Let small images keep a map: the first strides become 1, as many as the net bears."""
    reduction = max((info["reduction"] for info in getattr(model, "feature_info", [])), default=1)
    wanted = math.ceil(math.log2(max(1, FINAL_GRID * reduction / min(in_shape[1:]))))
    strided = [m for m in model.modules() if isinstance(m, STRIDED) and _stride(m) > 1]
    if hasattr(model, "patch_embed"):
        strided = []  # its patches were chosen by size
    strides = [m.stride for m in strided]
    for count in range(min(wanted, len(strided)), -1, -1):
        for i, (module, stride) in enumerate(zip(strided, strides, strict=True)):
            module.stride = stride if i >= count else (1, 1)
        if _runs(model, in_shape):
            return True
    return False


def _stride(module) -> int:
    return module.stride if isinstance(module.stride, int) else max(module.stride)


@torch.no_grad()
def _runs(model, in_shape) -> bool:
    """Whether images of this shape go through."""
    training = model.training
    try:
        model.eval()(torch.zeros(1, *in_shape))
    except (AssertionError, RuntimeError, ValueError):
        return False
    finally:
        model.train(training)
    return True


def _raise_too_small(timm, name, in_shape, error):
    channels, *size = in_shape
    for side in SIDES:
        if side <= min(size):
            continue
        try:
            shape = (channels, side, side)
            (geometry, *_) = _geometries(timm, name, shape[1:])
            model = timm.create_model(name, in_chans=channels, num_classes=1, **geometry)
            if _adapt_strides(model, shape):
                raise ValueError(
                    f"architecture={name!r} cannot take images of {size[0]}x{size[1]} pixels; "
                    f"{side}x{side} would do. Resize them, or use the default architecture."
                )
        except (AssertionError, RuntimeError, TypeError):
            continue
    raise ValueError(
        f"architecture={name!r} cannot take images of {size[0]}x{size[1]} pixels"
        + (f": {error}" if error else ".")
    )


def _alexnet(in_shape, n_outputs, pretrained) -> Backbone:
    models = require("torchvision", "architecture='alexnet'").models
    if min(in_shape[1:]) < 63:
        raise ValueError(
            f"architecture='alexnet' cannot take images of {in_shape[1]}x{in_shape[2]} pixels; "
            "63x63 would do. Resize them, or use the default architecture."
        )
    if pretrained is True:
        raise ValueError("Pass a file of weights for architecture='alexnet' as `pretrained`.")
    net = models.alexnet(num_classes=n_outputs)
    first = net.features[0]
    if in_shape[0] != first.in_channels:
        net.features[0] = nn.Conv2d(
            in_shape[0], first.out_channels, first.kernel_size, first.stride, first.padding
        )
    if pretrained:
        load_weights(net, pretrained)
    return _AlexNet(net)


class _AlexNet(Backbone):
    """torchvision's AlexNet: Krizhevsky (2014), "One weird trick for parallelizing CNNs"."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward_features(self, X):
        x = self.net.avgpool(self.net.features(X)).flatten(1)
        return self.net.classifier[:-1](x)

    def get_classifier(self):
        return self.net.classifier[-1]


def _check_names_for_timm(timm, name, path) -> None:
    """Refuse a file of another net's weights: timm would load whatever has the right name."""
    if timm.get_pretrained_cfg(name).custom_load:
        return  # a format of its own, which timm checks
    with torch.device("meta"):
        backbone = TimmBackbone(timm.create_model(name, num_classes=1))
    own, heads = set(backbone.model.state_dict()), _names_of_head(backbone, backbone.model)
    # files of old versions of torch do not count the batches of batch norm
    needed = {n for n in own - heads if not n.endswith("num_batches_tracked")}
    with _reading(path):
        state = _checked(timm.models.load_state_dict(path))
    rename = getattr(sys.modules[type(backbone.model).__module__], "checkpoint_filter_fn", None)
    if rename is not None and (needed - set(state) or set(state) - own):
        with suppress(KeyError):  # it is not of the published format either
            state = rename(state, backbone.model)
    missing, unknown = sorted(needed - set(state)), sorted(set(state) - own)
    if missing or unknown:
        raise _of_another_net(path, missing, unknown, [])


def _names_of_head(backbone: nn.Module, module: nn.Module) -> set[str]:
    """Names that a module gives to the parameters of the backbone's classifier."""
    head = backbone.get_classifier() if isinstance(backbone, Backbone) else None
    of_head = set() if head is None else set(head.parameters())
    return {name for name, p in module.named_parameters() if p in of_head}


def _of_another_net(path, missing, unknown, shapes) -> ValueError:
    return ValueError(
        f"The weights in {str(path)!r} are those of another net: missing {missing[:3]}, "
        f"unknown {unknown[:3]}, of other shapes {shapes[:3]}."
    )


def load_weights(module: nn.Module, path: str | PathLike) -> None:
    """Load a file of weights, all of which must fit but those of a head of another size.

    A fitted net's ``net_.module_.state_dict()`` will do, too.
    """
    state = read_weights(path)
    own = module.state_dict()
    if "0.mean" not in own and {n for n in state if n[:2] != "1."} == {"0.mean", "0.scale"}:
        # of a `net_.module_`: how pixels are standardized, the new training data says
        state = {name[2:]: w for name, w in state.items() if name[:2] == "1."}
    heads = _names_of_head(module, module)
    state = {
        name: w for name, w in state.items() if name not in heads or own[name].shape == w.shape
    }
    missing = sorted(set(own) - set(state) - heads)
    unknown = sorted(set(state) - set(own))
    shapes = [n for n in state if n in own and own[n].shape != state[n].shape]
    if missing or unknown or shapes:
        raise _of_another_net(path, missing, unknown, shapes)
    module.load_state_dict(state, strict=False)


def read_weights(path: str | PathLike) -> dict[str, torch.Tensor]:
    """The state dict in a file: safetensors, or one of `torch.save`, read without pickled code."""
    path = _existing(path)
    if str(path).endswith(".safetensors"):
        load_file = require("safetensors.torch", "a file of safetensors").load_file
    else:
        load_file = partial(torch.load, map_location="cpu", weights_only=True)
    with _reading(path):
        state = _checked(load_file(path))
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
    return state


@contextmanager
def _reading(path):
    """Say which file cannot be read, and what is expected of it."""
    try:
        yield
    except Exception as error:  # of damaged files almost any
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"pretrained={str(path)!r} cannot be read as weights ({type(error).__name__}: {reason})"
            ". Expected is a file of safetensors, or what torch.save(module.state_dict(), path) "
            "wrote."
        ) from error


def _checked(state):
    if not isinstance(state, dict):
        raise TypeError(f"it holds a {type(state).__name__}, and no dict of tensors")
    return state


def _existing(path):
    if not Path(path).is_file():
        raise ValueError(f"pretrained={str(path)!r} is no file of weights.")
    return path


def _no_download(name, error) -> ValueError:
    return ValueError(
        f"The pretrained weights of {name!r} could not be downloaded ({error}). Pass a local file "
        f"of them as pretrained=path."
    )


def _raise_unknown(name, known):
    close = difflib.get_close_matches(name, known, n=3)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise ValueError(
        f"architecture={name!r} is unknown. It must be 'small', 'lecture', 'lenet', 'alexnet', one "
        f"of timm.list_models(), or a callable (image_shape, n_outputs) -> nn.Module.{hint}"
    )
