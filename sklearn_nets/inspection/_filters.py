"""The first layer as images."""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from .._utils.array_api import to_numpy
from ..modules.vit import PatchTokenizer
from ._drawing import last_step, make_axes


class FilterDisplay:
    """The filters of the first layer, as images.

    The first layer of a `CNNClassifier` by default is a fixed whitening: its filters are the
    principal components of the patches of the training images, and their negatives. The filters of
    ``architecture="lenet"``, for example, are learned.

    Parameters
    ----------
    filters : ndarray of shape (n_filters, channels, height, width)

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets import MLPClassifier
    >>> from sklearn_nets.inspection import FilterDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = MLPClassifier(16, tol=0.1, random_state=0).fit(X, y)
    >>> FilterDisplay.from_estimator(clf).filters.shape
    (16, 1, 8, 8)
    """

    def __init__(self, filters):
        self.filters = filters

    @classmethod
    def from_estimator(cls, estimator, *, image_shape=None, max_filters=64, ax=None):
        """Draw the filters of a fitted net.

        Parameters
        ----------
        estimator : estimator
            A fitted net of ours, scikit-learn's perceptron or a linear model (of which the weights
            of each class are drawn), or a pipeline that ends with one.
        image_shape : tuple (channels, height, width), default=None
            What the inputs of a perceptron or a linear model are; by default the images that a
            `FlattenImages` at the start of the pipeline saw, or square gray images if there is such
            a square, otherwise a row.
        max_filters : int, default=64
            So many at most, the first ones.
        ax : array-like of matplotlib Axes, default=None

        Returns
        -------
        display : FilterDisplay

        Raises
        ------
        NotFittedError
            If the net is not fitted.
        ValueError
            If it has no first layer of filters, or `image_shape` does not fit its inputs.
        ImportError
            If matplotlib is not installed.
        """
        net = last_step(estimator)
        filters = _first_filters(net, image_shape or _flattened_shape(estimator, net))
        return cls(filters[:max_filters]).plot(ax=ax)

    def plot(self, ax=None):
        """Draw the filters: three channels in color, others as the mean of the channels.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None

        Returns
        -------
        display : FilterDisplay
        """
        self.axes_ = make_axes(ax, len(self.filters))
        self.figure_ = self.axes_[0].figure
        for ax in self.axes_:
            ax.set_axis_off()
        for ax, image in zip(self.axes_, self.filters):
            most = np.abs(image).max() or 1.0
            if len(image) == 3:
                ax.imshow(0.5 + image.transpose(1, 2, 0) / (2 * most))
            else:
                ax.imshow(image.mean(0), cmap="RdBu_r", vmin=-most, vmax=most)
        return self


def _flattened_shape(estimator, net):
    """The images that became rows at the start of a pipeline, if all their pixels reach its end."""
    steps = getattr(estimator, "steps", [(None, net)])
    shape = getattr(steps[0][1], "image_shape_", (0,))
    return shape if math.prod(shape) == getattr(net, "n_features_in_", None) else None


def _first_filters(net, image_shape):
    """Weights of the first layer, (n_filters, channels, height, width)."""
    if hasattr(net, "coefs_") or hasattr(net, "coef_"):
        weights = net.coefs_[0].T if hasattr(net, "coefs_") else net.coef_
        weights = np.atleast_2d(to_numpy(weights))
        if image_shape is None:
            side = math.isqrt(weights.shape[1])
            image_shape = (1, side, side) if side**2 == weights.shape[1] else (1, 1, -1)
        elif len(image_shape) != 3 or math.prod(image_shape) != weights.shape[1]:
            raise ValueError(
                "image_shape must be (channels, height, width) with as many values as the net has "
                f"inputs, {weights.shape[1]}; got {image_shape!r}."
            )
        return weights.reshape(len(weights), *image_shape)
    for module in net.net_.module_.modules() if hasattr(net, "net_") else []:
        if isinstance(module, nn.Conv2d):
            return to_numpy(module.weight.detach())
        if isinstance(module, PatchTokenizer):
            weights = to_numpy(module.embed.weight.detach())
            return weights.reshape(len(weights), -1, *module.patch_size)
    raise ValueError(
        f"{type(net).__name__} has no first layer of filters: expected a perceptron, a "
        "linear model, a convolutional net or a vision transformer."
    )
