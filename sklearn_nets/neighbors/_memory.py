"""Memory networks: nearest neighbors that are differentiable, by a distance that is learned."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from .._base.classifier import ClassifierNet
from .._base.estimator import FITTED
from .._base.parameters import NOT_NEGATIVE, POSITIVE, POSITIVE_INT, net_class, parameter
from .._base.regressor import RegressorNet
from .._utils.sklearn_compat import StrOptions
from ..modules.embedding_losses import pairwise_distances
from ..modules.memory import MemoryLoss, MemoryNet
from ._embedding import EncoderMixin

SCALE_SAMPLES = 1000  # at most, from which the first scale of distances is found


@net_class
class _MemoryMixin(EncoderMixin):
    """What both memory networks share."""

    n_neighbors: int | None = parameter(
        None, [POSITIVE_INT, None],
        """Answer from so many nearest training samples. None takes all of them, or with
        ``temperature=0`` the nearest one.""",
        kw_only=False,
    )  # fmt: skip
    n_components: int = parameter(64, [POSITIVE_INT], "Length of an embedding.")
    embedding: str = parameter(
        "learned", [StrOptions({"learned", "identity"})],
        """What distances are measured between: learned embeddings of the samples, or the samples
        as they are, of whose distances only the scale is learned.""",
    )  # fmt: skip
    temperature: float = parameter(
        1.0, [NOT_NEGATIVE],
        """Divides the distances in `predict`: below 1 the nearest samples count for more. At 0 the
        `n_neighbors` nearest count alike: k nearest neighbors, which with ``embedding="identity"``
        are those of `KNeighborsClassifier`. Training is at 1.""",
    )  # fmt: skip
    batch_size: int | str = parameter(
        "auto", [StrOptions({"auto"}), POSITIVE_INT],
        """Samples in a mini-batch, each of which attends to all others; 'auto' is a quarter of the
        data, within 256 and 1024 (images: 128).""",
    )  # fmt: skip
    dropout: float = parameter(
        0.1, EncoderMixin.__dataclass_fields__["dropout"].metadata["constraints"],
        "Share of hidden units dropped while training, for rows.",
    )  # fmt: skip
    max_iter: int = parameter(
        25, [POSITIVE_INT],
        """Number of epochs, passes over the data. Few, for a memory learns noise by heart; more
        are safe with ``early_stopping=True``.""",
    )  # fmt: skip

    _peak_learning_rate: ClassVar[float] = 4e-3

    def _make_run(self, X, y, sample_weight, eval_data=None, *, incremental=False, classes=None):
        run = super()._make_run(
            X, y, sample_weight, eval_data, incremental=incremental, classes=classes
        )
        rows, data = run.loader.rows, run.loader.data
        if rows is not None:
            rows = torch.from_numpy(rows).to(data.index_device)
        run.module.memorize(*data.gather(slice(None) if rows is None else rows), incremental)
        return run

    def _train(self, run, X, y, sample_weight):
        super()._train(run, X, y, sample_weight)
        run.module.embed_memory()
        return self

    def _make_loss(self):
        return MemoryLoss(self._task.make_loss(), self.n_outputs_)

    def _make_module(self, X, weight, random_state):
        encoder, scale = nn.Flatten(), 1.0
        if self.embedding == "learned":
            encoder = self._encoder_module(X, weight, random_state, self.n_components)
        else:
            scale = _first_scale(X[:: -(-len(X) // SCALE_SAMPLES)])
        return MemoryNet(
            encoder,
            self.n_outputs_,
            self.out_activation_,
            temperature=self.temperature,
            n_neighbors=self.n_neighbors,
            scale=scale,
        )

    def _update_module(self, module):
        super()._update_module(module)
        module.temperature, module.n_neighbors = self.temperature, self.n_neighbors

    def _batch_size(self, n_samples):
        if self.batch_size == "auto" and self._is_tabular():
            return min(n_samples, max(256, min(1024, -(-n_samples // 4))))
        return super()._batch_size(n_samples)


def _first_scale(X) -> float:
    """One over the mean distance of a sample to its nearest neighbor."""
    rows = X.flatten(1).double()
    D = pairwise_distances(rows, rows).fill_diagonal_(torch.inf)
    mean = float(D.amin(1).mean())
    return 1 / mean if 1e-5 < mean < torch.inf else 1.0


@net_class(fitted=FITTED)
class MemoryClassifier(_MemoryMixin, ClassifierNet):
    """Classifier whose memory are the training samples: nearest neighbors by a learned distance.

    A query is embedded, attends to the embedded training samples by a softmax of minus their
    distances, and reads their classes: a nearest-neighbor vote that is differentiable, so that the
    embedding is learned by it. In training every sample attends to the other samples of its batch,
    never to itself. `fit` standardizes the features of rows and adds periodic features of each,
    so that rows need no scaling; images are embedded by the net of `CNNClassifier`.

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

    See Also
    --------
    MemoryRegressor : The same for numbers.
    EmbeddingNet : The embedding alone, as a transformer.
    KNeighborsClassifier : By the Euclidean distance, without training.

    Notes
    -----
    `partial_fit` adds its samples to the memory. With ``early_stopping=True`` the samples that are
    held out are not in it.

    References
    ----------
    Ye et al. (2024), "Revisiting nearest neighbor for tabular data: A deep tabular baseline two
    decades later" (ModernNCA). Vinyals et al. (2016), "Matching networks for one shot learning".
    Weston et al. (2015), "Memory networks".

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_nets.neighbors import MemoryClassifier
    >>> X_train, X_test, y_train, y_test = train_test_split(*load_wine(return_X_y=True),
    ...                                                     random_state=0)
    >>> memory = MemoryClassifier(max_iter=30, random_state=0).fit(X_train, y_train)
    >>> memory.score(X_test, y_test) > 0.9
    True
    """

    loss: str = parameter(
        "log_loss", [StrOptions({"log_loss", "focal"})],
        """What is minimized: the log-loss, or 'focal', the log-loss times (1 - p)² of the true
        class's probability p (Lin et al. 2017).""",
    )  # fmt: skip
    epsilon: float = parameter(
        1e-6, [POSITIVE],
        """Numerical stability of 'adam': the "epsilon hat" of the paper's section 2. Greater than
        elsewhere, so that samples whose weight is next to nothing are not learned by heart.""",
    )  # fmt: skip


@net_class(fitted=FITTED)
class MemoryRegressor(_MemoryMixin, RegressorNet):
    """Regressor whose memory are the training samples: a weighted mean by a learned distance.

    As `MemoryClassifier`, but what is read are numbers: predictions are means of training targets,
    and stay between the least and the greatest of them.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    image_shape_ : tuple (channels, height, width)
        The images of `fit`; (1, 1, n_features) for rows.
    {fitted}

    See Also
    --------
    MemoryClassifier : The same for labels.
    KNeighborsRegressor : By the Euclidean distance, without training.

    Notes
    -----
    `partial_fit` adds its samples to the memory. With ``early_stopping=True`` the samples that are
    held out are not in it.

    References
    ----------
    Ye et al. (2024), "Revisiting nearest neighbor for tabular data: A deep tabular baseline two
    decades later" (ModernNCA). Nadaraya (1964), "On estimating regression".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_nets.neighbors import MemoryRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> memory = MemoryRegressor(max_iter=30, random_state=0).fit(X[:300], y[:300])
    >>> memory.score(X[300:], y[300:]) > 0.3
    True
    """
