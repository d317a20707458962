"""Distances of points: products in blocks, bounds of their rounding errors, exact ranks."""

from __future__ import annotations

import numpy as np
import torch

TILE = 16  # bounds of which only the minimum is looked at first


def sum_error(n_terms: int, dtype: torch.dtype) -> float:
    """How far a sum of products may be off, as a share of the sum of their sizes.

    A sum of d products errs by at most d·u / (1 - d·u) of that, in any order of summation, u being
    half the spacing of numbers at 1: N. J. Higham, "Accuracy and Stability of Numerical
    Algorithms", 2nd ed., section 3.1.
    """
    return 1.1 * (n_terms + 8) * torch.finfo(dtype).eps / 2


def underflow_error(n_terms: int) -> float:
    """How far underflow may put a squared distance off."""
    return (n_terms + 8) * 2.0**-124


def product(A, B, out):
    """`torch.mm`; on the host by numpy's BLAS, which was up to 1.5 times as fast."""
    if out.device.type != "cpu":
        return torch.mm(A, B, out=out)
    with np.errstate(all="ignore"):  # what overflows is noticed, and searched in another way
        np.matmul(A.numpy(), B.numpy(), out=out.numpy())
    return out


def shift(points, origin, out):
    """Write points - origin to out, each number rounded once; return the squared norms."""
    if points.dtype == torch.float32:
        origin = origin.float()
    else:
        points = points.double()
    torch.sub(points, origin, out=out)
    return torch.linalg.vecdot(out, out)


def squared_distances(X, Q, points, queries):
    """Distances of pairs of rows in float64, coordinate by coordinate."""
    # as many pairs at a time as fit in a cache, or as fill a GPU
    step = max(1, (2**15 if X.device.type == "cpu" else 2**26) // X.shape[1])
    pairs = zip(points.split(step), queries.split(step))
    return torch.cat([X[p].double().sub_(Q[q].double()).square_().sum(1) for p, q in pairs])


def rank_pairs(X, Q, points, queries, k):
    """Return the k nearest points of each query, of equals those that come first in X.

    Every row of Q comes at least k times among `queries`.
    """
    order = (queries * len(X) + points).argsort()
    points, queries = points[order], queries[order]
    distances = squared_distances(X, Q, points, queries)
    # by query, then by distance, then by point
    order = distances.argsort(stable=True)
    order = order[queries[order].argsort(stable=True)]
    firsts = torch.searchsorted(queries[order], torch.arange(len(Q), device=X.device))
    chosen = order[firsts[:, None] + torch.arange(k, device=X.device)]
    return distances[chosen], points[chosen]


def rank_candidates(X, Q, candidates, k):
    """Return the k nearest of the same number of candidates for each query, as `rank_pairs`."""
    points = candidates.sort(1).values
    queries = torch.arange(len(Q), device=X.device).repeat_interleave(points.shape[1])
    distances = squared_distances(X, Q, points.flatten(), queries).view(points.shape)
    distances, order = distances.sort(dim=1, stable=True)
    return distances[:, :k], points.gather(1, order[:, :k])
