"""An embedding in which the nearest neighbors share their class."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from torch import nn

from .._base.estimator import FITTED, TrainableNet
from .._base.image_nets import init_from_images
from .._base.images import input_statistics
from .._base.parameters import (
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_INT,
    check_sizes,
    net_class,
    parameter,
)
from .._base.rows_or_images import RowsOrImagesMixin
from .._base.tasks import Task, flatten_column
from .._utils.array_api import convert_like
from .._utils.sklearn_compat import Interval, StrOptions, check_is_fitted, fit_context
from ..modules.embedding_losses import EMBEDDING_LOSSES, pairwise_distances
from ..modules.layers import Normalize, set_dropout
from ..modules.resnet import ResidualCNN
from ..modules.rows import RowEncoder


@net_class
class EncoderMixin(RowsOrImagesMixin):
    """What embeds rows by residual layers and images by a residual convolutional net."""

    width: int = parameter(128, [POSITIVE_INT], "Units of the layers for rows.")
    depth: int = parameter(
        1, [POSITIVE_INT], "Residual blocks for rows; residual convolutions a stage for images."
    )
    channels: list | tuple = parameter(
        (48, 96, 192), ["array-like"],
        "Channels of the stages for images, as in `CNNClassifier`.", words="sequence of int",
    )  # fmt: skip
    dropout: float = parameter(
        0.0, [Interval(Real, 0, 1, closed="left")],
        "Share of hidden units dropped while training, for rows.",
    )  # fmt: skip

    def _update_module(self, module):
        set_dropout(module, self.dropout)

    def _row_encoder(self, X, weight, n_components):
        features = X.flatten(1)[:, :, None, None]  # the statistics of a channel are of a feature
        mean, scale = input_statistics(features, weight)
        return RowEncoder(mean, scale, n_components, self.width, self.depth, self.dropout)

    def _encoder_module(self, X, weight, random_state, n_components):
        """The encoder of data like X, (n, channels, height, width)."""
        if self._is_tabular():
            return self._row_encoder(X, weight, n_components)
        norm = Normalize(*input_statistics(X, weight))
        channels = check_sizes("channels", self.channels)
        cnn = ResidualCNN(self.image_shape_, n_components, channels, self.depth)
        init_from_images(cnn, norm, X, weight)
        module = nn.Sequential(norm, cnn)
        if self.compile:
            module.compile()
        return module


class EmbeddedLabels(Task):
    """Class labels, of which an embedding learns; scored by each sample's nearest neighbor."""

    target_dtype = torch.int64

    def __init__(self, classes, n_outputs: int, loss_and_options):
        self.classes, self.n_outputs = classes, n_outputs
        self.loss_and_options = loss_and_options

    def encode(self, y):
        y = flatten_column(y)
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(f"y holds {unknown[:5]}, which the y of fit did not: {self.classes}.")
        return np.searchsorted(self.classes, y)

    def make_loss(self):
        name, options = self.loss_and_options
        return EMBEDDING_LOSSES[name](**options)

    def predict(self, z):
        return z

    def decode(self, prediction, like):
        return convert_like(prediction, like)

    def score(self, y, prediction, sample_weight=None):
        """Accuracy of the nearest other sample's class."""
        z, (_, options) = torch.from_numpy(prediction), self.loss_and_options
        D = pairwise_distances(z, z, options["distance"]).fill_diagonal_(np.inf)
        return accuracy_score(y, y[D.argmin(1).numpy()], sample_weight=sample_weight)

    def stratify(self, target):
        return target if np.bincount(target).min() > 1 else None


@net_class(fitted=FITTED)
class EmbeddingNet(EncoderMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, TrainableNet):
    """Embed rows or images so that near neighbors share their class.

    Learns a distance: in `transform`'s output samples of one class are near each other, as
    `KNeighborsClassifier` wants them. It stands in a pipeline as scikit-learn's
    `NeighborhoodComponentsAnalysis`, whose linear map it replaces by a net: residual layers over
    standardized rows and their periodic features, or the residual convolutional net of
    `CNNClassifier` for images.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    image_shape_ : tuple (channels, height, width)
        The images of `fit`; (1, 1, n_features) for rows.
    {fitted}

    Raises
    ------
    ValueError
        If y holds numbers instead of labels, or one class only; if samples have another shape than
        in `fit`.

    See Also
    --------
    sklearn.neighbors.NeighborhoodComponentsAnalysis : The linear one.
    MemoryClassifier : Learns a distance and answers by it.

    Notes
    -----
    Every loss compares all pairs of a batch, so a batch should hold several samples of a class.

    References
    ----------
    Goldberger et al. (2005), "Neighbourhood components analysis". Schroff et al. (2015), "FaceNet".
    Hadsell et al. (2006), "Dimensionality reduction by learning an invariant mapping".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_nets.neighbors import EmbeddingNet
    >>> X, y = load_iris(return_X_y=True)
    >>> embedding = EmbeddingNet(2, max_iter=20, random_state=0)
    >>> make_pipeline(embedding, KNeighborsClassifier(3)).fit(X, y).score(X, y) > 0.9
    True
    """

    n_components: int = parameter(
        32, [POSITIVE_INT], "Length of an embedding.", kw_only=False
    )  # fmt: skip
    loss: str = parameter(
        "nca", [StrOptions(set(EMBEDDING_LOSSES))],
        """'nca' (Goldberger et al. 2005), a softmax over all neighbors of the batch; 'triplet'
        (Schroff et al. 2015), all of the own class, each against the nearest of the others that is
        farther away (semi-hard);
        'contrastive' (Hadsell et al. 2006), all pairs by their squared distances; 'cosine', all
        pairs by their cosines, as `torch.nn.CosineEmbeddingLoss`.""",
    )  # fmt: skip
    distance: str = parameter(
        "l2", [StrOptions({"l1", "l2", "cosine"})],
        """Between embeddings: 'l1' is for neighbors by ``metric="manhattan"``; with 'cosine',
        which loss='cosine' always takes, embeddings have length 1, and neighbors by the Euclidean
        distance are those by the cosine.""",
    )  # fmt: skip
    margin: float = parameter(
        1.0, [POSITIVE],
        "Distance that other classes are to keep, for the losses but 'nca'.",
    )  # fmt: skip
    alpha: float = parameter(
        0.05, [NOT_NEGATIVE],
        """Decoupled weight decay of 'adamw'; for the other solvers the strength of the L2 penalty
        alpha / 2 · ||W||² / Σw.""",
    )  # fmt: skip

    _peak_learning_rate: ClassVar[float] = 4e-3

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, *, X_val=None, y_val=None):
        """Fit the embedding to X and y.

        Parameters
        ----------
        X : array-like or torch.Tensor of shape (n_samples, n_features)
            Rows, or images of any layout that `CNNClassifier` reads.
        y : array-like of shape (n_samples,)
            Class labels.
        X_val, y_val : array-like, default=None
            A validation set of one's own, scored after every epoch by the accuracy of each
            sample's nearest neighbor in it.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X and y do not fit each other, y holds one class only, X holds NaN or infinity, or if
            the loss turns NaN: the message names the epoch and the learning rate.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: pass both or neither.")
        eval_data = None if X_val is None else (X_val, y_val, None)
        return self._train(self._make_run(X, y, None, eval_data), X, y, None)

    def _make_task(self, y, classes=None):
        y = flatten_column(y)
        check_classification_targets(y)
        if y.ndim > 1:
            raise ValueError(f"y must hold one class a sample, (n_samples,), got {y.shape}.")
        classes = unique_labels(y)
        if len(classes) < 2:
            raise ValueError(
                "y must hold two or more classes, which the embeddings are to keep apart; got one "
                f"class, {classes.tolist()[0]!r}."
            )
        return EmbeddedLabels(classes, self.n_components, self._loss_and_options())

    def _loss_and_options(self):
        distance = "cosine" if self.loss == "cosine" else self.distance
        return self.loss, {"distance": distance, "margin": self.margin}

    def _update_task(self):
        before = self._task.loss_and_options
        self._task.loss_and_options = self._loss_and_options()
        return before != self._task.loss_and_options

    def _make_module(self, X, weight, random_state):
        return self._encoder_module(X, weight, random_state, self.n_components)

    def transform(self, X):
        """Embed samples.

        Parameters
        ----------
        X : array-like or torch.Tensor
            Data of the kind seen in `fit`.

        Returns
        -------
        embeddings : ndarray or torch.Tensor of shape (n_samples, n_components)
        """
        check_is_fitted(self, "net_")
        activation = self.net_.criterion_.activation
        embeddings = self._forward(X, lambda z, dtype: activation(z), "transform")
        return convert_like(embeddings, like=X)

    @property
    def _n_features_out(self):
        return self.n_outputs_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
