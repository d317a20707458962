"""Image classifiers with scikit-learn's vocabulary."""

from __future__ import annotations

from numbers import Real

from .._base.classifier import ClassifierNet
from .._base.parameters import net_class, parameter
from .._utils.sklearn_compat import Interval
from ._architectures import IMAGE_FITTED, CNNMixin, ViTMixin


@net_class
class _ImageClassifier(ClassifierNet):
    """What the image classifiers share."""

    label_smoothing: float = parameter(
        0.1, [Interval(Real, 0, 1, closed="left")],
        """Share of every target that is spread over all classes (Szegedy et al. 2016). The loss
        holds it too, and probabilities stay away from 0 and 1.""",
    )  # fmt: skip


@net_class(fitted=IMAGE_FITTED)
class CNNClassifier(CNNMixin, _ImageClassifier):
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


@net_class(fitted=IMAGE_FITTED)
class ViTClassifier(ViTMixin, _ImageClassifier):
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
