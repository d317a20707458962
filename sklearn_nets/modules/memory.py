"""A memory network: a query attends to the training samples and reads their targets."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .embedding_losses import FAR, pairwise_distances
from .losses import Loss

# from what the memory says to raw outputs, whose activation is the loss's; the logarithm of a class
# that nobody votes for is that of eps
LINKS = {
    "identity": lambda v, eps: v,
    "exp": lambda v, eps: torch.log(v + eps),
    "softmax": lambda v, eps: torch.log(v + eps),
    "logistic": lambda v, eps: torch.log(v + eps) - torch.log((1 - v).clamp(min=0) + eps),
}
EPS_IN_TRAINING, EPS = 1e-7, 1e-30


def as_values(y, n_outputs: int, dtype):
    """Targets as the memory holds them, (n, n_outputs): class indices become indicators."""
    return F.one_hot(y, n_outputs).to(dtype) if y.ndim == 1 else y.to(dtype)


class MemoryLoss(Loss):
    """The loss of what each sample of a batch reads from the others.

    In training the net's outputs are embeddings: every sample attends to all others of its batch
    by a softmax of minus their distances, and never to itself. A sample of integer weight w
    counts as w samples, which do see each other.

    Parameters
    ----------
    loss : Loss
        Of raw outputs.
    n_outputs : int
    """

    def __init__(self, loss: Loss, n_outputs: int):
        super().__init__()
        self.loss, self.n_outputs = loss, n_outputs
        self.out_activation = loss.out_activation

    def activation(self, z):
        return self.loss.activation(z)

    def report_factor(self, n_outputs):
        return self.loss.report_factor(n_outputs)

    def per_sample(self, z, y):
        return self.loss.per_sample(z, y)

    def forward(self, E, y, weight=None):
        """Mean loss of embeddings E, (n, k); `per_sample` is of raw outputs."""
        scores = -pairwise_distances(E, E)
        own = torch.eye(len(E), dtype=torch.bool, device=E.device)
        if weight is None:
            scores = torch.where(own, -FAR, scores)
        else:
            copies = torch.where(own, (weight - 1).clamp(min=0), weight)
            scores = scores + copies.log().clamp(min=-FAR)
        read = torch.softmax(scores, 1) @ as_values(y, self.n_outputs, E.dtype)
        return self.loss(LINKS[self.out_activation](read, EPS_IN_TRAINING), y, weight)


class MemoryNet(nn.Module):
    """An encoder and the samples that it is compared with.

    Gives embeddings in training, for `MemoryLoss`, and otherwise raw outputs: of the targets in
    memory the mean, weighted by a softmax of minus the distances over the temperature.

    Parameters
    ----------
    encoder : nn.Module
        From samples to embeddings, (n, k).
    n_outputs : int
    out_activation : str
        Of the loss; raw outputs are on the scale before it.
    temperature : float, default=1.0
        Of reading, not of training; at 0 the `n_neighbors` nearest count alike.
    n_neighbors : int, optional
        Read from the nearest samples alone; None reads from all of them, or at temperature 0 from
        the nearest one.
    scale : float, default=1.0
        What distances are multiplied by at first; learned.

    References
    ----------
    Weston et al. (2015), "Memory networks". Vinyals et al. (2016), "Matching networks for one shot
    learning". Ye et al. (2024), "Revisiting nearest neighbor for tabular data" (ModernNCA).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_nets.modules.memory import MemoryNet
    >>> net = MemoryNet(nn.Identity(), 1, "identity", temperature=0.0)
    >>> net.memorize(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[10.0], [20.0], [30.0]]))
    >>> net.eval()(torch.tensor([[0.9], [4.0]])).tolist()
    [[20.0], [30.0]]
    """

    chunk = 1024  # samples of the memory that are embedded at a time

    def __init__(
        self,
        encoder: nn.Module,
        n_outputs: int,
        out_activation: str,
        temperature: float = 1.0,
        n_neighbors: int | None = None,
        scale: float = 1.0,
    ):
        super().__init__()
        self.encoder, self.n_outputs, self.out_activation = encoder, n_outputs, out_activation
        self.temperature, self.n_neighbors = temperature, n_neighbors
        self.log_scale = nn.Parameter(torch.tensor(float(scale)).log())
        for name in ("samples", "values", "weight", "keys"):
            self.register_buffer(name, None, persistent=False)

    def memorize(self, X, y, weight=None, append: bool = False) -> None:
        """Put samples, their targets as the loss takes them and their weights into the memory."""
        values = as_values(y, self.n_outputs, self.log_scale.dtype)
        weight = torch.ones_like(values[:, 0]) if weight is None else weight
        old = (self.samples, self.values, self.weight) if append else (None, None, None)
        # a copy: the arrays of `fit` stay the user's, who may write into them
        new = [
            n.clone() if o is None else torch.cat([o, n]) for o, n in zip(old, (X, values, weight))
        ]
        self.samples, self.values, self.weight = new
        self.keys = None

    def train(self, mode: bool = True):
        self.keys = None  # of other weights, it may be
        return super().train(mode)

    @torch.no_grad()
    def embed_memory(self) -> None:
        """Embed the samples in memory, once for all queries."""
        self.keys = torch.cat([self.encoder(X) for X in self.samples.split(self.chunk)])

    def forward(self, X):
        """Embeddings of X in training, otherwise raw outputs, shape (n, n_outputs)."""
        E = self.encoder(X)
        if self.training:
            return E * self.log_scale.exp()
        if self.keys is None:
            self.embed_memory()
        return LINKS[self.out_activation](self.read(E), EPS)

    def read(self, queries):
        """What the memory says of embedded queries: weighted means of targets."""
        D, k = self._distances(queries), self.n_neighbors
        if k is None and self.temperature:
            scores = self.weight.log() - D * (self.log_scale.exp() / self.temperature)
            return torch.softmax(scores, 1) @ self.values
        D, nearest = D.topk(min(k or 1, D.shape[1]), largest=False)
        share = self.weight[nearest]
        if self.temperature:
            share = share.log() - D * (self.log_scale.exp() / self.temperature)
            share = torch.softmax(share, 1)
        else:
            share = share / share.sum(1, keepdim=True)
        return (share[:, :, None] * self.values[nearest]).sum(1)

    def _distances(self, queries):
        if any(True for _ in self.encoder.parameters()):
            return pairwise_distances(queries, self.keys)
        exact = "donot_use_mm_for_euclid_dist"  # what is not learned is compared as it is
        queries, keys = queries.to(self.log_scale.dtype), self.keys.to(self.log_scale.dtype)
        return torch.cdist(queries, keys, compute_mode=exact)
