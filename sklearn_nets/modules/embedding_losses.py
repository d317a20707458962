"""Losses of embeddings: samples of one class come near each other, others keep away.

Each looks at all pairs of a batch. They are small, and written here rather than taken from
pytorch-metric-learning, whose miners and reducers would bring a second vocabulary along.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch.nn import functional as F

from .losses import Loss

FAR = 1e9  # stands for an infinite distance: exp(-FAR) is zero, and no NaN comes of it


def pairwise_distances(A, B, distance: str = "l2"):
    """Distances of the rows of A, (n, k), and of B, (m, k): shape (n, m).

    Parameters
    ----------
    A, B : tensor
    distance : {"l1", "l2", "cosine"}
        Sum of absolute differences, Euclidean distance, or 1 minus the cosine.
    """
    if distance == "l1":
        return torch.cdist(A, B, p=1)
    if distance == "cosine":
        return 1 - F.normalize(A) @ F.normalize(B).T
    squares = A.square().sum(1)[:, None] + B.square().sum(1) - 2 * A @ B.T
    return squares.clamp(min=1e-12).sqrt()  # no infinite slope at zero


class EmbeddingLoss(Loss):
    """A loss of every sample against the other samples of its batch; y holds class indices, (n,).

    A sample that is alone of its class in the batch, or among samples of its class only, has
    nothing to learn from the missing kind of pair.

    Parameters
    ----------
    distance : {"l1", "l2", "cosine"}, default="l2"
    margin : float, default=1.0
        Distance that samples of other classes are to keep.
    """

    out_activation = "identity"

    def __init__(self, distance: str = "l2", margin: float = 1.0):
        super().__init__()
        self.distance, self.margin = distance, margin

    def activation(self, z):
        return F.normalize(z) if self.distance == "cosine" else z

    def per_sample(self, z, y):
        D = pairwise_distances(z, z, self.distance)
        same = y[:, None] == y
        other = ~torch.eye(len(y), dtype=torch.bool, device=y.device)
        return self.value(D, same & other, ~same)

    @abstractmethod
    def value(self, D, positive, negative):
        """Loss of every row of the distances D, given the pairs of one class and of two."""


class NCALoss(EmbeddingLoss):
    """Minus the log of the probability that a stochastic neighbor is of the same class.

    A sample picks its neighbor by a softmax of minus the squared Euclidean distances (of minus the
    l1 distances; of ten times the cosines).

    References
    ----------
    Goldberger et al. (2005), "Neighbourhood components analysis". Salakhutdinov & Hinton (2007),
    "Learning a nonlinear embedding by preserving class neighbourhood structure".
    """

    def value(self, D, positive, negative):
        D = {"l2": D.square(), "l1": D, "cosine": 10 * D}[self.distance]
        near, all_others = (
            torch.logsumexp(torch.where(mask, -D, -FAR), 1)
            for mask in (positive, positive | negative)
        )
        return (all_others - near) * positive.any(1)


class TripletLoss(EmbeddingLoss):
    """Mean over the same class of ``max(0, margin + d(a, p) - d(a, n))``, n semi-hard.

    For each p, n is the nearest sample of another class that is farther away than p; if there is
    none, the farthest of all. The nearest n of all would make every embedding collapse to a point.

    Schroff et al. (2015), "FaceNet: A unified embedding for face recognition and clustering".
    """

    def value(self, D, positive, negative):
        others = torch.where(negative, D, FAR).sort(1).values
        index = torch.searchsorted(others.detach(), D.detach().contiguous(), right=True)
        last = (negative.sum(1, keepdim=True) - 1).clamp(min=0)
        n = others.gather(1, torch.minimum(index, last))
        return _mean(F.relu(self.margin + D - n), positive)


class ContrastiveLoss(EmbeddingLoss):
    """Mean of d² over the same class, and of ``max(0, margin - d)²`` over the others.

    Hadsell et al. (2006), "Dimensionality reduction by learning an invariant mapping".
    """

    def value(self, D, positive, negative):
        return _mean(D.square(), positive) + _mean(F.relu(self.margin - D).square(), negative)


class CosineLoss(EmbeddingLoss):
    """Mean of 1 - cos over the same class, and of ``max(0, margin - (1 - cos))`` over the others.

    `torch.nn.CosineEmbeddingLoss` of all pairs of the batch, whose margin is 1 minus this one. The
    distance is the cosine's.
    """

    def value(self, D, positive, negative):
        return _mean(D, positive) + _mean(F.relu(self.margin - D), negative)


def _mean(values, mask):
    """Mean over the pairs of a mask, row by row; zero where there is none."""
    return torch.where(mask, values, 0.0).sum(1) / mask.sum(1).clamp(min=1)


EMBEDDING_LOSSES = {
    "nca": NCALoss,
    "triplet": TripletLoss,
    "contrastive": ContrastiveLoss,
    "cosine": CosineLoss,
}
