"""What brings images to estimators of rows: their pixels, or the features of a net."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)

from .._base.images import check_image_shape, validate_images
from .._utils.array_api import is_tensor
from .._utils.images import as_images
from .._utils.sklearn_compat import HasMethods, check_is_fitted, fit_context
from .._utils.validation import check_one_size, validate_rows
from ._classification import CNNClassifier


class FlattenImages(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into rows, for estimators of rows: nearest neighbors, an SVM, a scaler.

    Attributes
    ----------
    image_shape_ : tuple (channels, height, width), or (n_features,) of rows
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

    @property
    def _n_features_out(self):
        return self.n_features_in_

    def _images(self, X, *, reset):
        X = as_images(X)
        check_one_size(X, type(self).__name__)
        ndim = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        read = validate_images if ndim > 2 else validate_rows
        X = read(self, X, reset=reset)
        check_image_shape(self, X, reset=reset)
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.requires_fit = True
        return tags


class FeatureExtractor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into the features of a net, for estimators of rows.

    Parameters
    ----------
    net : str, callable or estimator, default="small"
        An architecture, as in `CNNClassifier`, which is not trained; or an estimator with a method
        `features` (`CNNClassifier`, `ViTRegressor`, ...), of which a clone is fitted, also where it
        is fitted already: ``sklearn.frozen.FrozenEstimator(net)`` keeps what it learned.
    pretrained : bool, str or path, default=False
        Weights of the architecture, as in `CNNClassifier`. Without them its features are random.
    image_shape : tuple (channels, height, width) or None, default=None
        What a flat row of X stands for.
    device : str or torch.device, default='auto'
        Where to compute.
    random_state : int, RandomState instance or None, default=None
        Draws the weights that are not pretrained.

    Attributes
    ----------
    estimator_ : estimator
        The net.
    n_features_in_ : int
        Values of one image.

    Raises
    ------
    ValueError
        If the architecture is unknown, or images have another shape than in `fit`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_nets import CNNClassifier, FeatureExtractor, KNeighborsClassifier
    >>> digits = load_digits(n_class=4)
    >>> cnn = CNNClassifier(channels=(8, 16), max_iter=3, random_state=0)
    >>> model = make_pipeline(FeatureExtractor(cnn), KNeighborsClassifier())
    >>> model.fit(digits.images, digits.target).score(digits.images, digits.target) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "net": [str, callable, HasMethods(["fit", "features"])],
        "pretrained": ["boolean", str, PathLike],
        "image_shape": [tuple, list, None],
        "device": "no_validation",
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        net: str | Callable | Any = "small",
        *,
        pretrained=False,
        image_shape=None,
        device="auto",
        random_state=None,
    ):
        self.net = net
        self.pretrained = pretrained
        self.image_shape = image_shape
        self.device = device
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Build the net for images like these, or fit a clone of the estimator.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images of any layout that `CNNClassifier` reads.
        y : array-like, default=None
            Targets, which an estimator needs; an architecture ignores them.

        Returns
        -------
        self : object
        """
        X = as_images(X)
        check_one_size(X, type(self).__name__)
        if not (is_tensor(X) or issparse(X) or hasattr(X, "iloc")):
            X = np.asarray(X)
        if hasattr(self.net, "features") and not isinstance(self.net, type):
            self.estimator_ = clone(self.net).fit(X, y)
        else:
            self.estimator_ = CNNClassifier(
                architecture=self.net,
                pretrained=self.pretrained,
                image_shape=self.image_shape,
                device=self.device,
                random_state=self.random_state,
                augment=None,
            )._build(X)
        self.n_features_in_ = self.estimator_.n_features_in_
        vars(self).pop("feature_names_in_", None)
        if hasattr(self.estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.estimator_.feature_names_in_
        self._n_features_out = self.estimator_.features(X[:1]).shape[1]
        return self

    def transform(self, X):
        """Compute the features of every image.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Images of the shape seen in `fit`.

        Returns
        -------
        features : ndarray or torch.Tensor of shape (n_samples, n_features)
        """
        check_is_fitted(self, "estimator_")
        return self.estimator_.features(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = hasattr(self.net, "features")
        return tags
