"""The parameters of the two kinds of own nets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from .._base.estimator import FITTED
from .._base.image_nets import ImageInputMixin
from .._base.parameters import POSITIVE, POSITIVE_INT, check_sizes, net_class, parameter
from .._utils.sklearn_compat import Interval, StrOptions
from ..modules.layers import set_dropout
from ..modules.resnet import ResidualCNN
from ..modules.vit import VisionTransformer

IMAGE_FITTED = f"""
image_shape_ : tuple (channels, height, width)
    The images of `fit`; those of `predict` must have the same.
mirrored_ : bool
    Whether training images were mirrored left to right.
test_time_shift_ : (int, int)
    Rows and columns by which `predict` shifts images, half of training's greatest shift.
{FITTED}
""".strip()


@net_class
class CNNMixin(ImageInputMixin):
    """A convolutional net."""

    channels: Sequence[int] = parameter(
        (48, 96, 192), ["array-like"],
        """Channels of each stage, each of which halves height and width; where one of them is below
        16 pixels, all but the first do.""",
        words="sequence of int", kw_only=False,
    )  # fmt: skip
    depth: int = parameter(1, [POSITIVE_INT], "Residual convolutions in each stage.")

    def _make_own(self, image_shape, n_outputs):
        channels = check_sizes("channels", self.channels)
        return ResidualCNN(image_shape, n_outputs, channels, self.depth)


@net_class
class ViTMixin(ImageInputMixin):
    """A vision transformer."""

    patch_size: int | tuple[int, int] | str = parameter(
        "auto", [StrOptions({"auto"}), POSITIVE_INT, tuple],
        """Pixels of a patch. 'auto' makes tokens by small convolutions instead, on a grid of at
        most 8x8 (Hassani et al. 2021), which learns from fewer images.""",
        words="int, tuple (height, width) or 'auto'", kw_only=False,
    )  # fmt: skip
    embed_dim: int = parameter(64, [POSITIVE_INT], "Length of a token.")
    depth: int = parameter(2, [POSITIVE_INT], "Number of blocks.")
    num_heads: int = parameter(
        4, [POSITIVE_INT], "Heads of self-attention; must divide `embed_dim`."
    )
    mlp_ratio: float = parameter(
        2.0, [POSITIVE], "Hidden units of a block's perceptron, over `embed_dim`."
    )
    dropout: float = parameter(
        0.0, [Interval(Real, 0, 1, closed="left")],
        "Share of values dropped after attention and perceptron while training.",
    )  # fmt: skip
    pool: str = parameter(
        "attention", [StrOptions({"attention", "token", "mean"})],
        """What is classified: a mean of the tokens weighted by a learned attention, a class token,
        or the plain mean.""",
    )  # fmt: skip

    def _own_peak_learning_rate(self, batch_size):
        rate = super()._own_peak_learning_rate(batch_size)
        if self.architecture != "small":
            return rate
        # as the square root of the batch (Malladi et al. 2022), for lack of batch norm
        return rate * min(1.0, math.sqrt(batch_size / self._max_batch_size))

    def _make_own(self, image_shape, n_outputs):
        return VisionTransformer(
            image_shape,
            n_outputs,
            patch_size=self.patch_size,
            embed_dim=self.embed_dim,
            depth=self.depth,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            dropout=self.dropout,
            pool=self.pool,
        )

    def _update_module(self, module):
        if self.architecture == "small":
            set_dropout(module, self.dropout)
