"""Exact nearest neighbors of tensors: candidates in float32, certified, else in float64.

A matrix product gives the squared distances in float32, less a bound of their rounding error. The
few points with the smallest of these *lower bounds* are measured again in float64, coordinate by
coordinate. The answer is certified when no point that was filtered out can be nearer. For queries
without that certificate (many ties, clusters much tighter than they are far apart, values beyond
float32) the same is done in float64; where that certifies nothing either, every point is measured
whose lower bound is not above the k-th distance found so far.
"""

from __future__ import annotations

import torch

from .._utils.device import parallel_map
from ._distances import (
    TILE,
    product,
    rank_candidates,
    rank_pairs,
    shift,
    sum_error,
    underflow_error,
)
from ._projected_search import nearest_by_components

WIDE = 256  # features from which on products outweigh the choice of candidates
EXTRA_CANDIDATES = 3  # kept beyond k, so that the k nearest can be certified; twice as many if wide
TIE = 1e-12  # squared distances that differ by less of themselves may count as equal
QUERIES_RANKED = 64  # uncertified queries whose possible neighbors are listed at a time
MAX_QUERIES = 4096  # queries that share one pass over X


def nearest(X: torch.Tensor, Q: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the rows of `X` that are nearest to each row of `Q`.

    Memory beyond the answer is bounded: neither the matrix of distances nor a second copy of `X`
    is ever held.

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
        Points to choose from, of any real dtype, on a device that computes in float64.
    Q : tensor of shape (n_queries, n_features)
        Points to find neighbors of, on the same device.
    k : int
        How many neighbors; no more than n_samples.

    Returns
    -------
    distances : tensor of shape (n_queries, k), float64
        Squared Euclidean distances, rising.
    indices : tensor of shape (n_queries, k), int64
        Rows of `X`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_nets.neighbors._exact_search import nearest
    >>> X = torch.tensor([[0.0], [1.0], [3.0]])
    >>> distances, indices = nearest(X, torch.tensor([[2.5]]), 2)
    >>> distances.tolist(), indices.tolist()
    ([[0.25, 2.25]], [[2, 1]])
    """
    # Distances do not depend on the origin, rounding errors do: take it from among the points, and
    # the median, which no outlier moves away from them.
    origin = X[:: max(1, len(X) // 256)].double().median(0).values
    if Q.dtype == torch.float32:  # both must be shifted by the same
        origin = origin.float().double()
    if X.device.type == "cpu" and (found := nearest_by_components(X, Q, k, origin)) is not None:
        return found
    share = -(-len(Q) // torch.get_num_threads()) if X.device.type == "cpu" else len(Q)
    pieces = Q.split(max(1, min(MAX_QUERIES, share)))
    found = parallel_map(lambda q: _nearest(X, q, k, origin), pieces, X.device)
    distances, indices = zip(*found)
    return torch.cat(distances), torch.cat(indices)


@torch.no_grad()
def _nearest(X, Q, k, origin):
    distances = torch.empty(len(Q), k, dtype=torch.float64, device=X.device)
    indices = torch.empty_like(distances, dtype=torch.int64)
    uncertified = torch.arange(len(Q), device=X.device)
    for dtype in (torch.float32, torch.float64):
        if len(uncertified) and (dtype == torch.float64 or _float32_is_float32()):
            q = Q[uncertified] if len(uncertified) < len(Q) else Q
            candidates, bound = _filter_candidates(X, q, k, origin, dtype)
            distances[uncertified], indices[uncertified] = rank_candidates(X, q, candidates, k)
            # no distance is below 0; written so that NaN certifies nothing
            farthest = distances[uncertified, -1] * (1 if dtype == torch.float32 else 1 - TIE)
            uncertified = uncertified[~(farthest <= bound.clamp(min=0))]
    for some in uncertified.split(QUERIES_RANKED) if len(uncertified) else ():
        limit = distances[some, -1]
        distances[some], indices[some] = _rank_all_possible(X, Q[some], limit, k, origin)
    return distances, indices


def _float32_is_float32():
    """Whether torch's switches leave matrix products of float32 their full precision."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # they were set for each backend
        return False


def _filter_candidates(X, Q, k, origin, dtype):
    """Return at least k candidates a query, and what every other squared distance exceeds."""
    n = len(X)
    k = min(n, k + EXTRA_CANDIDATES * (2 if X.shape[1] >= WIDE else 1))
    values, indices = [], []
    blocks = _LowerBounds(X, Q, origin, dtype)
    for start, block in blocks:
        found = [_smallest(D, min(k, D.shape[1])) for D in block]
        values.append(torch.cat([value for value, _ in found]))
        indices.append(torch.cat([index for _, index in found]) + start)
    values, order = torch.cat(values, 1).topk(k, largest=False)
    candidates = torch.cat(indices, 1).gather(1, order).clamp_(max=n - 1)
    bound = torch.full_like(blocks.offset, torch.inf) if k == n else values[:, -1] + blocks.offset
    return candidates, torch.where(blocks.overflow(), torch.nan, bound)


class _LowerBounds:
    """Lower bounds of squared distances, block by block, less an offset of each query.

    Iterating gives the first row of X of each block and the bounds of all queries to its rows, a
    few queries at a time; columns past the end of X hold infinity.
    """

    def __init__(self, X, Q, origin, dtype):
        self.X, self.Q, self.origin, self.dtype = X, Q, origin, dtype

    def overflow(self):
        """Whether a number was too large to be squared in this type; known after iterating."""
        return ~(self.max_norm < torch.finfo(self.dtype).max / 2**8)

    def __iter__(self):
        X, Q, origin, dtype = self.X, self.Q, self.origin, self.dtype
        n, d = X.shape
        error = sum_error(d, dtype)
        rows, size = _block_shape(n, d, X.device)
        columns = -(-(d + 1) // 4) * 4  # of the product; not a multiple of 4 costs twice the time
        A = torch.zeros(len(Q), columns, dtype=dtype, device=X.device)
        B = torch.zeros(size, columns, dtype=dtype, device=X.device)
        D = torch.empty(rows, size, dtype=dtype, device=X.device)

        # A @ B.T = |x|² - 2·q·x, and errs by error·(3·|x|² + |q|²) at most: |x|²'s part goes into B
        norms = shift(Q, origin, out=A[:, :d]).double()
        self.offset = (1 - error) * norms - underflow_error(d)
        self.max_norm = norms.amax()
        A[:, :d] *= -2
        A[:, d] = 1
        for start in range(0, n, size):
            b = B[: min(size, n - start)]
            norms = shift(X[start : start + size], origin, out=b[:, :d])
            self.max_norm = torch.maximum(self.max_norm, norms.amax())
            B[:, d] = torch.inf
            b[:, d] = norms * (1 - 3 * error)
            B[len(b) :, :d] = 0
            yield start, (product(a, B.T, out=D[: len(a)]) for a in A.split(rows))


def _block_shape(n, d, device):
    """Rows of Q and of X whose distances are held at a time, as fast as was measured."""
    rows, size = (1024, 4096) if d >= WIDE else (128, 16384)
    if device.type != "cpu":
        size = 2**28 // rows
    blocks = -(-n // size)
    return rows, -(-n // (blocks * TILE)) * TILE


def _smallest(D, k):
    """Return the k smallest values of each row of D, in any order, and their columns."""
    tiles = D.shape[1] // TILE
    if 8 * k > tiles:
        return D.topk(k, largest=False, sorted=False)
    D = D.view(-1, TILE, tiles)
    # The k smallest lie in the k tiles with the smallest minima.
    near = D.amin(1).topk(k, largest=False, sorted=False).indices
    within = D.gather(2, near[:, None].expand(-1, TILE, -1)).flatten(1)
    values, order = within.topk(k, largest=False, sorted=False)
    return values, order // k * tiles + near.gather(1, order % k)


def _rank_all_possible(X, Q, limit, k, origin):
    """Return the k nearest of all points whose lower bound in float64 is not above `limit`."""
    points, queries = [], []
    bounds = _LowerBounds(X, Q, origin, torch.float64)
    for start, block in bounds:
        width = 0
        for D in block:
            first, width = width, width + len(D)
            # so written that NaN is possible; an offset that overflowed tells nothing
            reach = (limit - bounds.offset).where(bounds.offset < torch.inf, torch.nan)
            far = reach[first:width, None] < D
            far[:, len(X) - start :] = True
            query, point = (~far).nonzero(as_tuple=True)
            queries.append(query + first)
            points.append(point + start)
    return rank_pairs(X, Q, torch.cat(points), torch.cat(queries), k)
