"""What a module may declare beyond `nn.Module`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


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
