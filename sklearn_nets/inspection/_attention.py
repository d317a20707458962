"""Where a vision transformer looks."""

from __future__ import annotations

from copy import copy

import numpy as np

from .._utils.array_api import to_numpy
from .._utils.images import to_display
from ..modules.attention_maps import attention_maps
from ..modules.vit import VisionTransformer
from ._drawing import last_step, make_axes


class AttentionDisplay:
    """Where a vision transformer looks, over its images.

    Parameters
    ----------
    images : ndarray of shape (n, channels, height, width)
    maps : ndarray of shape (n, rows, columns)
        Share of each token, by attention rollout (Abnar & Zuidema 2020): what the tokens
        contribute to the vector that is classified.
    token_size : (int, int), default=None
        Height and width in pixels of what a token stands for; the last row and column may reach
        beyond the image. None stretches the map over the image.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_nets import ViTClassifier
    >>> from sklearn_nets.inspection import AttentionDisplay
    >>> digits = load_digits(n_class=3)
    >>> clf = ViTClassifier(embed_dim=16, depth=1, max_iter=2, random_state=0)
    >>> clf = clf.fit(digits.images, digits.target)
    >>> AttentionDisplay.from_estimator(clf, digits.images[:4]).maps.shape
    (4, 8, 8)
    """

    def __init__(self, images, maps, token_size=None):
        self.images, self.maps, self.token_size = images, maps, token_size

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None):
        """Draw where a fitted `ViTClassifier` looks.

        Parameters
        ----------
        estimator : ViTClassifier
            Or a pipeline that ends with one, of which the net's images are drawn.
        X : array-like or torch.Tensor
            Images, as `predict` takes them.
        ax : array-like of matplotlib Axes, default=None

        Returns
        -------
        display : AttentionDisplay

        Raises
        ------
        NotFittedError
            If the net is not fitted.
        ValueError
            If it is no vision transformer of our own.
        ImportError
            If matplotlib is not installed.
        """
        net = last_step(estimator)
        modules = net.net_.module_.modules() if hasattr(net, "net_") else []
        vits = [m for m in modules if isinstance(m, VisionTransformer)]
        if not vits:
            architecture = getattr(net, "architecture", "small")
            of = "" if architecture == "small" else f" of architecture={architecture!r}"
            raise ValueError(
                f"AttentionDisplay draws a ViTClassifier of our own, got {type(net).__name__}{of}, "
                "which has no attention that it can read."
            )
        if len(getattr(estimator, "steps", ())) > 1:
            X = estimator[:-1].transform(X)  # what the net sees
        net = copy(net).set_params(test_time_augment=False)  # of the images as they are
        maps = to_numpy(attention_maps(vits[0], lambda: net.predict(X)))
        images = _channels_first(X, net.image_shape_).reshape(len(maps), *net.image_shape_)
        tokenizer = vits[0].tokenizer
        token_size = getattr(tokenizer, "patch_size", None) or 2 * (tokenizer.stride,)
        return cls(images, maps, token_size).plot(ax=ax)

    def plot(self, ax=None):
        """Draw each image with its map over it.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None

        Returns
        -------
        display : AttentionDisplay
        """
        self.axes_ = make_axes(ax, len(self.images))
        self.figure_ = self.axes_[0].figure
        for ax in self.axes_:
            ax.set_axis_off()
        for ax, image, tokens in zip(self.axes_, self.images, self.maps):
            height, width = image.shape[1:]
            ax.imshow(to_display(image.transpose(1, 2, 0)), cmap="gray")
            bottom, right = height, width
            if self.token_size is not None:
                bottom, right = np.multiply(tokens.shape, self.token_size)
            extent = (-0.5, right - 0.5, bottom - 0.5, -0.5)
            ax.imshow(tokens, alpha=0.5, extent=extent, interpolation="bilinear")
            ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))  # without the padding
        return self


def _channels_first(X, shape):
    """Images of whatever layout `predict` took, channels first."""
    X = np.asarray(to_numpy(X))
    return X.transpose(0, 3, 1, 2) if X.ndim == 4 and X.shape[1:] != shape else X
