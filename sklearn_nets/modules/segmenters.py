"""Segmentation architectures by name: our own U-Net and those of segmentation_models_pytorch."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from os import PathLike

from torch import nn

from .._utils.optional import require
from .interfaces import Backbone
from .layers import pad_to_multiple
from .registry import call_builder, load_weights

MULTIPLE = 32  # what the encoders' five halvings divide the sides by
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std of its pixels, 0 to 1


def build_segmenter(
    architecture: str | Callable,
    encoder: str,
    in_channels: int,
    n_outputs: int,
    pretrained: bool | str | PathLike = False,
    own: Callable | None = None,
) -> nn.Module:
    """Build the net of that name.

    Parameters
    ----------
    architecture : str or callable(in_channels, n_outputs) -> nn.Module
        "small", or one of segmentation_models_pytorch's: "unet", "fpn", "deeplabv3plus",
        "segformer", ...
    encoder : str
        The encoder of the latter: one of that library's, or any name of timm's.
    in_channels, n_outputs : int
    pretrained : bool or path, default=False
        True downloads the encoder's weights; a file holds those of the encoder, or for "small" and
        callables of the whole net.
    own : callable(in_channels, n_outputs) -> nn.Module
        What "small" means.

    Raises
    ------
    ValueError
        If a name is unknown, there are no weights, or `architecture` is a net instead of a function
        that makes one.
    TypeError
        If a callable does not take (in_channels, n_outputs).
    ImportError
        If segmentation_models_pytorch is missing.
    """
    if architecture == "small" or callable(architecture):
        if callable(architecture):
            net = call_builder(architecture, "in_channels", in_channels, n_outputs)
        else:
            net = own(in_channels, n_outputs)
        if pretrained is True:
            raise ValueError(
                f"There are no pretrained weights for architecture={architecture!r}. Pass a file "
                "of them, or a name of segmentation_models_pytorch's, such as 'unet'."
            )
        if pretrained:
            load_weights(net, pretrained)
        return net
    smp = require("segmentation_models_pytorch", f"architecture={architecture!r}")
    names = [cls.__name__.lower() for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()]
    if architecture not in names:
        close = difflib.get_close_matches(str(architecture), names, n=2)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"architecture={architecture!r} is unknown. It must be 'small', one of {names}, or a "
            f"callable (in_channels, n_outputs) -> nn.Module.{hint}"
        )
    name = _encoder_name(smp, architecture, encoder)
    try:
        net = smp.create_model(
            architecture, encoder_name=name,
            encoder_weights="imagenet" if pretrained is True else None,
            in_channels=in_channels, classes=n_outputs,
        )  # fmt: skip
    except (OSError, RuntimeError) as error:
        if pretrained is not True:
            raise
        raise ValueError(
            f"The pretrained weights of {encoder!r} could not be downloaded ({error}). Pass a "
            "local file of them as pretrained=path."
        ) from error
    if pretrained and pretrained is not True:
        load_weights(net.encoder, pretrained)
    segmenter = Segmenter(net)
    if pretrained is not False and in_channels == 3:
        segmenter.pretrained_statistics = _pretrained_statistics(smp, name, pretrained is True)
    return segmenter


class Segmenter(Backbone):
    """A model of segmentation_models_pytorch that takes images of any size.

    They are padded inside with their border pixels and cropped back. Its features are the maps of
    its encoder, its head is the rest.

    Parameters
    ----------
    net : segmentation_models_pytorch.base.SegmentationModel
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward_features(self, X):
        """The encoder's maps, each (n, channels, height, width) at its resolution."""
        return self.net.encoder(X)

    def get_classifier(self):
        """The head: decoder and last layer, which turn the encoder's maps into outputs."""
        return nn.ModuleList([self.net.decoder, self.net.segmentation_head])

    def forward(self, X):
        """Raw outputs, (n, n_outputs, height, width), of X, (n, in_channels, height, width)."""
        height, width = X.shape[2:]
        # two pixels a side at least on the coarsest map: one alone has no variance to norm by
        return self.net(pad_to_multiple(X, MULTIPLE, 2 * MULTIPLE))[:, :, :height, :width]


def _pretrained_statistics(smp, name: str, downloaded: bool):
    """Mean and std of the pixels, 0 to 1, that an encoder's weights were trained on."""
    if name.startswith("tu-"):
        known = require("timm", f"encoder={name!r}").get_pretrained_cfg(name.removeprefix("tu-"))
        return known.mean, known.std
    if not downloaded:  # of its own encoders that library knows them with the weights only
        return IMAGENET
    known = smp.encoders.get_preprocessing_params(name)
    white = known["input_range"][1]
    return tuple(tuple(value / white for value in known[part]) for part in ("mean", "std"))


def _encoder_name(smp, architecture, encoder) -> str:
    """The name by which that library knows an encoder: timm's with a prefix."""
    if encoder.startswith("tu-") or (encoder in smp.encoders.encoders and architecture != "dpt"):
        return encoder
    timm = require("timm", f"encoder={encoder!r}")
    if not timm.is_model(encoder):
        known = [*smp.encoders.encoders, *timm.list_models()]
        close = difflib.get_close_matches(encoder, known, n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"encoder={encoder!r} is unknown: it must be an encoder of "
            f"segmentation_models_pytorch or one of timm.list_models().{hint}"
        )
    return f"tu-{encoder}"
