"""Image classifiers with scikit-learn's vocabulary, and what brings images to other estimators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ._base.classifier import ClassifierNet
from ._base.estimator import FITTED
from ._base.images import ImageInputMixin, check_channels, validate_images
from ._base.parameters import POSITIVE, POSITIVE_INT, net_class, parameter
from ._utils.sklearn_compat import Interval, StrOptions, check_is_fitted
from ._utils.validation import validate_rows
from .modules.augment import RandomFlipShift, RandomZoom
from .modules.resnet import ResidualCNN
from .modules.vit import VisionTransformer

__all__ = ["CNNClassifier", "FlattenImages", "RandomFlipShift", "RandomZoom", "ViTClassifier"]


@net_class
class _ImageClassifier(ImageInputMixin, ClassifierNet):
    """What the image classifiers share."""

    label_smoothing: float = parameter(
        0.1, [Interval(Real, 0, 1, closed="left")],
        """Share of every target that is spread over all classes (Szegedy et al. 2016). The loss
        holds it too, and probabilities stay away from 0 and 1.""",
    )  # fmt: skip


@net_class(fitted=FITTED)
class CNNClassifier(_ImageClassifier):
    """Image classifier: a small residual convolutional net, for images of 8x8 to 128x128 pixels.

    The defaults are a recipe that needs no tuning: a whitened stem and identity initialization,
    batch norm that counts sample weights, AdamW along one cycle, label smoothing, and augmentation
    that labels bear. Images are read as (n, channels, height, width), (n, height, width) for gray
    ones, (n, height, width, channels) with 1, 3 or 4 channels, or flat rows; uint8 or floating
    point. The mean and scale of every channel are learned by `fit`, so raw pixels need no scaling.

    Parameters
    ----------
    {parameters}

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
    He et al. (2016), "Deep residual learning for image recognition". Jordan (2024), "94% on
    CIFAR-10 in 3.29 seconds on a single GPU". Smith & Topin (2018), "Super-convergence". Loshchilov
    & Hutter (2019), "Decoupled weight decay regularization".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets.vision import CNNClassifier
    >>> digits = load_digits(n_class=3)
    >>> clf = CNNClassifier(channels=(8, 16), max_iter=5, random_state=0)
    >>> clf.fit(digits.images, digits.target).score(digits.images, digits.target) > 0.95
    True
    """

    channels: Sequence[int] = parameter(
        (48, 96, 192), ["array-like"],
        "Channels of each stage, each of which halves height and width.",
        words="sequence of int", kw_only=False,
    )  # fmt: skip
    depth: int = parameter(1, [POSITIVE_INT], "Residual convolutions in each stage.")

    def _make_architecture(self):
        return ResidualCNN(
            self.image_shape_, self.n_outputs_, check_channels(self.channels), self.depth
        )


@net_class(fitted=FITTED)
class ViTClassifier(_ImageClassifier):
    """Image classifier: a vision transformer.

    Reads what `CNNClassifier` reads. Small convolutions, or patches, make tokens of an image;
    pre-norm blocks of self-attention and a two-layer perceptron follow; a mean of the tokens, or a
    class token, is classified. The defaults are a recipe, as those of `CNNClassifier`.

    Parameters
    ----------
    {parameters}

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
    Dosovitskiy et al. (2021), "An image is worth 16x16 words". Hassani et al. (2021), "Escaping the
    big data paradigm with compact transformers". Vaswani et al. (2017), "Attention is all you
    need".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets.vision import ViTClassifier
    >>> digits = load_digits(n_class=3)
    >>> clf = ViTClassifier(embed_dim=32, depth=1, max_iter=10, random_state=0)
    >>> clf.fit(digits.images, digits.target).score(digits.images, digits.target) > 0.9
    True
    """

    patch_size: int | tuple[int, int] | str = parameter(
        "auto", [StrOptions({"auto"}), POSITIVE_INT, tuple],
        """Pixels of a patch. 'auto' makes tokens by small convolutions instead, on a grid of at
        most 8x8 (Hassani et al. 2021), which learns from fewer images.""",
        words="int, tuple (height, width) or 'auto'", kw_only=False,
    )  # fmt: skip
    embed_dim: int = parameter(96, [POSITIVE_INT], "Length of a token.")
    depth: int = parameter(4, [POSITIVE_INT], "Number of blocks.")
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

    _peak_learning_rate: ClassVar[float] = 1e-3

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


class FlattenImages(TransformerMixin, BaseEstimator):
    """Turn images into rows, for estimators of rows: nearest neighbors, an SVM, a scaler.

    Attributes
    ----------
    image_shape_ : tuple (channels, height, width)
        The images of `fit`; those of `transform` must have the same.
    n_features_in_ : int
        Values of one image.

    Raises
    ------
    ValueError
        If images have another shape than in `fit`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_nets import FlattenImages, KNeighborsClassifier
    >>> digits = load_digits()
    >>> clf = make_pipeline(FlattenImages(), KNeighborsClassifier())
    >>> clf.fit(digits.images, digits.target).score(digits.images, digits.target) > 0.98
    True
    """

    def fit(self, X, y=None):
        """Remember the shape of the images.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images of any layout that `CNNClassifier` reads, or rows, which stay what they are.
        y : None
            Ignored.

        Returns
        -------
        self : object
        """
        self._images(X, reset=True)
        return self

    def transform(self, X):
        """Make a row of every image.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images of the shape seen in `fit`.

        Returns
        -------
        rows : ndarray or torch.Tensor of shape (n_samples, channels * height * width)
            Channels first, whatever the layout of X; a view where X is channels first.
        """
        check_is_fitted(self, "image_shape_")
        images = self._images(X, reset=False)
        return images.reshape(images.shape[0], -1)

    def _images(self, X, *, reset):
        ndim = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        read = validate_images if ndim > 2 else validate_rows
        X = read(self, X, reset=reset)
        shape = tuple(X.shape[1:])
        if reset:
            self.image_shape_, self.n_features_in_ = shape, math.prod(shape)
        elif shape != self.image_shape_:
            raise ValueError(
                f"FlattenImages was fitted on images of (channels, height, width) = "
                f"{self.image_shape_}, got {shape}. Resize or crop them first."
            )
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.requires_fit = True
        return tags
