"""What a module may declare beyond `nn.Module`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import nn


class ManualGradient(ABC):
    """A module that computes the gradient of its loss itself, without autograd."""

    @abstractmethod
    def make_gradient(self, loss, alpha: float = 0.0, report_factor: float = 1.0) -> Callable:
        """Prepare the gradient of the penalized loss, to be called for batch after batch.

        Parameters
        ----------
        loss : Loss
        alpha : float
            Strength of the L2 penalty.
        report_factor : float
            Factor on the loss that is returned, not on its gradient.

        Returns
        -------
        callable(X, y, weight=None) -> tensor of shape ()
            Leaves the gradient in every parameter's `grad` and returns n times the penalized
            loss; is called without grad mode.
        """


class NumpyProducts:
    """A module that multiplies by numpy on the host where no graph is needed.

    There it takes sparse rows of scipy's, too. Numpy's products have threads of their own, which
    fight with torch's for the cores: torch should have one thread for all that happens between two
    of them.
    """


class DataDependentInit(ABC):
    """A module some of whose first weights come from the training data."""

    @abstractmethod
    def init_from_data(self, X, weight=None) -> None:
        """Set these weights.

        Parameters
        ----------
        X : tensor of shape (n, channels, height, width)
            Standardized training images.
        weight : tensor of shape (n,) or None
            Their weights.
        """


class NeedsTarget:
    """A module that computes its own loss: in training its outputs are losses, shape (n,).

    Attributes
    ----------
    target : tensor or None
        The encoded targets of the next forward pass in training.
    """

    target = None


class Backbone(nn.Module, ABC):
    """A net whose last layers, the head, turn features of an image into outputs, as in timm.

    Attributes
    ----------
    pretrained_statistics : tuple (mean, std) or None
        Of each channel of the images that its weights were trained on, for pixels from 0 to 1;
        None for weights that start at random.
    """

    pretrained_statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    _frozen = False

    @abstractmethod
    def forward_features(self, X):
        """Pooled features, (n, n_features), of X, (n, channels, height, width)."""

    @abstractmethod
    def get_classifier(self) -> nn.Module:
        """The head: it turns features into outputs."""

    def forward(self, X):
        """Raw outputs, (n, n_outputs), of X, (n, channels, height, width)."""
        return self.get_classifier()(self.forward_features(X))

    def freeze(self) -> None:
        """Train the head alone: all other weights and statistics stay as they are."""
        head = set(self.get_classifier().parameters())
        for parameter in self.parameters():
            if parameter not in head:
                parameter.requires_grad_(False)
        self._frozen = True
        self.train(self.training)

    def train(self, mode: bool = True):
        """Set the mode; what is frozen stays in the mode of prediction."""
        super().train(mode and not self._frozen)
        self.training = mode
        if self._frozen:
            self.get_classifier().train(mode)
        return self
