"""Nets that predict numbers from images."""

from __future__ import annotations

from .._base.parameters import POSITIVE, net_class, parameter
from .._base.regressor import RegressorNet
from ._architectures import IMAGE_FITTED, CNNMixin, ViTMixin


@net_class
class _ImageRegressor(RegressorNet):
    """What the image regressors share: targets in units of their own for net and loss."""

    delta: float = parameter(
        1.35, [POSITIVE],
        """Errors beyond it are outliers for loss='huber', in standard deviations of y.""",
    )  # fmt: skip

    def _make_task(self, y, classes=None):
        task = super()._make_task(y, classes)
        task.standardize = True
        return task


@net_class(fitted=IMAGE_FITTED)
class CNNRegressor(CNNMixin, _ImageRegressor):
    """Image regressor: one or several numbers from an image, by a convolutional net.

    Reads what `CNNClassifier` reads, with the same recipe. Targets are standardized inside, so that
    their unit does not matter; losses are in these units of one standard deviation.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {fitted}

    Raises
    ------
    ValueError
        If images have another shape than in `fit`, or `image_shape` does not fit a row.

    See Also
    --------
    CNNClassifier : The same for labels.
    ViTRegressor : A transformer instead of convolutions.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets.vision import CNNRegressor
    >>> digits = load_digits(n_class=3)
    >>> ink = digits.images.sum((1, 2))
    >>> model = CNNRegressor(channels=(8, 16), max_iter=10, random_state=0)
    >>> model.fit(digits.images, ink).score(digits.images, ink) > 0.9
    True
    """


@net_class(fitted=IMAGE_FITTED)
class ViTRegressor(ViTMixin, _ImageRegressor):
    """Image regressor: one or several numbers from an image, by a vision transformer.

    Reads what `CNNClassifier` reads, with the recipe of `ViTClassifier`. Targets are standardized
    inside, so that their unit does not matter; losses are in these units of one standard deviation.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {fitted}

    Raises
    ------
    ValueError
        If images have another shape than in `fit`, `patch_size` is larger than the image, or
        `num_heads` does not divide `embed_dim`.

    See Also
    --------
    ViTClassifier : The same for labels.
    CNNRegressor : Convolutions instead of a transformer.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets.vision import ViTRegressor
    >>> digits = load_digits(n_class=3)
    >>> ink = digits.images.sum((1, 2))
    >>> model = ViTRegressor(embed_dim=32, depth=1, max_iter=10, random_state=0)
    >>> model.fit(digits.images, ink).score(digits.images, ink) > 0.9
    True
    """
