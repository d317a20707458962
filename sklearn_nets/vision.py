"""Image classifiers with scikit-learn's vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import ClassVar

from ._base.docs import describe, net_blocks
from ._base.images import ImageArchitecture
from ._base.tasks import ClassifierNet
from ._utils.sklearn_compat import Interval, StrOptions
from .modules.augment import RandomFlipShift
from .modules.resnet import ResidualCNN
from .modules.vit import VisionTransformer

__all__ = ["CNNClassifier", "RandomFlipShift", "ViTClassifier"]


SHARED_CONSTRAINTS = {
    **ClassifierNet._parameter_constraints,
    **ImageArchitecture._image_constraints,
}


@describe(**net_blocks(kind="image"))
@dataclass(eq=False, repr=False, kw_only=True)
class CNNClassifier(ImageArchitecture, ClassifierNet):
    """Image classifier: a small residual convolutional net, for images of 8x8 to 64x64 pixels.

    Images are read as (n, channels, height, width), (n, height, width) for grey ones, (n, height,
    width, channels) with 1, 3 or 4 channels, or flat rows; uint8 or floating point. The mean and
    scale of every channel are learnt by `fit`, so raw pixels need no scaling.

    Parameters
    ----------
    channels : sequence of int, default=(16, 32, 64)
        Channels of each stage; every stage but the first halves height and width.
    depth : int, default=1
        Residual blocks in each stage.
    {image_shape}
    {training}
    {image_training}
    {class_weight}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    image_shape_ : tuple (channels, height, width)
        The images of `fit`; those of `predict` must have the same.
    {fitted}

    Raises
    ------
    ValueError
        If images have another shape than in `fit`, or `image_shape` does not fit a row.

    See Also
    --------
    ViTClassifier : A transformer instead of convolutions.
    sklearn_nets.segmentation.SegmentationNet : One label for every pixel.

    References
    ----------
    He et al. (2016), "Identity mappings in deep residual networks".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets.vision import CNNClassifier
    >>> digits = load_digits(n_class=3)
    >>> clf = CNNClassifier(channels=(8, 16), learning_rate_init=0.01, tol=0.1, random_state=0)
    >>> clf.fit(digits.images, digits.target).score(digits.images, digits.target) > 0.9
    True
    """

    channels: Sequence[int] = field(default=(16, 32, 64), kw_only=False)
    depth: int = 1

    _parameter_constraints: ClassVar[dict] = {
        **SHARED_CONSTRAINTS,
        "channels": ["array-like"],
        "depth": [Interval(Integral, 1, None, closed="left")],
    }

    def _make_architecture(self):
        return ResidualCNN(self.image_shape_, self.n_outputs_, self.channels, self.depth)


@describe(**net_blocks(kind="image"))
@dataclass(eq=False, repr=False, kw_only=True)
class ViTClassifier(ImageArchitecture, ClassifierNet):
    """Image classifier: a vision transformer.

    Reads what `CNNClassifier` reads. Patches become tokens; pre-norm blocks of self-attention and
    a two-layer perceptron follow; a class token or the tokens' mean is classified.

    Parameters
    ----------
    patch_size : int, tuple (height, width) or 'auto', default='auto'
        Pixels of a patch; 'auto' fits the image.
    embed_dim : int, default=64
        Length of a token.
    depth : int, default=4
        Number of blocks.
    num_heads : int, default=4
        Heads of self-attention; must divide `embed_dim`.
    mlp_ratio : float, default=2.0
        Hidden units of a block's perceptron, over `embed_dim`.
    dropout : float, default=0.0
        Share of values dropped after attention and perceptron while training.
    pool : {'token', 'mean'}, default='token'
        What is classified: a class token, or the mean of all tokens.
    {image_shape}
    {training}
    {image_training}
    {class_weight}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    image_shape_ : tuple (channels, height, width)
        The images of `fit`; those of `predict` must have the same.
    {fitted}

    Raises
    ------
    ValueError
        If images have another shape than in `fit`, `patch_size` is larger than the image, or
        `num_heads` does not divide `embed_dim`.

    See Also
    --------
    CNNClassifier : Convolutions instead of a transformer.

    References
    ----------
    Dosovitskiy et al. (2021), "An image is worth 16x16 words". Vaswani et al. (2017), "Attention
    is all you need".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets.vision import ViTClassifier
    >>> digits = load_digits(n_class=3)
    >>> clf = ViTClassifier(embed_dim=32, depth=1, tol=0.1, learning_rate_init=0.01, random_state=0)
    >>> clf.fit(digits.images, digits.target).score(digits.images, digits.target) > 0.9
    True
    """

    patch_size: int | tuple[int, int] | str = field(default="auto", kw_only=False)
    embed_dim: int = 64
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: float = 2.0
    dropout: float = 0.0
    pool: str = "token"

    _parameter_constraints: ClassVar[dict] = {
        **SHARED_CONSTRAINTS,
        "patch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), tuple],
        "embed_dim": [Interval(Integral, 1, None, closed="left")],
        "depth": [Interval(Integral, 1, None, closed="left")],
        "num_heads": [Interval(Integral, 1, None, closed="left")],
        "mlp_ratio": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "pool": [StrOptions({"token", "mean"})],
    }

    def _make_architecture(self):
        return VisionTransformer(
            self.image_shape_,
            self.n_outputs_,
            patch_size=self.patch_size,
            embed_dim=self.embed_dim,
            depth=self.depth,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            dropout=self.dropout,
            pool=self.pool,
        )
