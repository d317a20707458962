"""Exact nearest neighbours of tensors: a float32 sieve, its proof, and float64 where it fails.

A matrix product gives the squared distances in float32, less a bound of their rounding error. The
few points with the smallest of these *lower bounds* are measured again in float64, coordinate by
coordinate. The answer is proven when no point that was sieved out can be nearer. Queries without
that proof (many ties, clusters much tighter than they are far apart) are sieved in float64.
"""

from __future__ import annotations

import torch

TILE = 16  # distances of which only the least is looked at first
SPARE = 3  # candidates kept beyond k, for the proof to hold
QUERIES = 4096  # queries that share one reading of X


def nearest(X: torch.Tensor, Q: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the rows of `X` that are nearest to each row of `Q`.

    Memory beyond the answer is bounded: neither the matrix of distances nor a second copy of `X`
    is ever held.

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
        Points to choose from, of any real dtype, on a device that computes in float64.
    Q : tensor of shape (n_queries, n_features)
        Points to find neighbours of, on the same device.
    k : int
        How many neighbours, at most n_samples.

    Returns
    -------
    distances : tensor of shape (n_queries, k), float64
        Squared Euclidean distances, rising.
    indices : tensor of shape (n_queries, k), int64
        Rows of `X`.

    References
    ----------
    A sum of d products errs by at most d·u / (1 - d·u) times the product of the norms, in any order
    of summation, u being half the spacing of numbers at 1: N. J. Higham, "Accuracy and Stability of
    Numerical Algorithms", 2nd ed., section 3.1.

    Examples
    --------
    >>> X = torch.tensor([[0.0], [1.0], [3.0]])
    >>> distances, indices = nearest(X, torch.tensor([[2.5]]), 2)
    >>> distances.tolist(), indices.tolist()
    ([[0.25, 2.25]], [[2, 1]])
    """
    # Distances do not depend on the origin, rounding errors do: take it from among the points.
    origin = X[:: max(1, len(X) // 1024)].double().mean(0).float()
    found = [_nearest(X, q, k, origin) for q in Q.split(QUERIES)]
    distances, indices = zip(*found)
    return torch.cat(distances), torch.cat(indices)


def _nearest(X, Q, k, origin):
    if not _float32_is_float32():
        return _measure(X, Q, _sieve(X, Q, k, origin, torch.float64)[0], k)
    candidates, bound = _sieve(X, Q, k, origin, torch.float32)
    distances, indices = _measure(X, Q, candidates, k)
    unproven = (~(distances[:, -1] <= bound)).nonzero()[:, 0]  # so written that NaN is unproven
    if len(unproven):
        q = Q[unproven]
        candidates, _ = _sieve(X, q, k, origin, torch.float64)
        distances[unproven], indices[unproven] = _measure(X, q, candidates, k)
    return distances, indices


def _float32_is_float32():
    """Whether torch's switches leave matrix products of float32 their full precision."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # they were set for each backend
        return False


def _sieve(X, Q, k, origin, dtype):
    """Return at least k candidates a query, and what every other squared distance exceeds."""
    n, d = X.shape
    k = min(n, k + SPARE)
    error = 1.1 * (d + 8) * torch.finfo(dtype).eps / 2
    rows, size = _block_shape(n, d, X.device)
    columns = -(-(d + 1) // 4) * 4  # of the product; not a multiple of 4 costs twice the time
    A = torch.zeros(len(Q), columns, dtype=dtype, device=X.device)
    B = torch.zeros(size, columns, dtype=dtype, device=X.device)
    D = torch.empty(rows, size, dtype=dtype, device=X.device)

    # A @ B.T = |x|² - 2·q·x, and errs by error·(3·|x|² + |q|²) at most: the |x|² part goes into B
    q_norms = _shift(Q, origin, out=A[:, :d]).double()
    A[:, :d] *= -2
    A[:, d] = 1
    greatest = q_norms.amax()
    values, indices = [], []
    for start in range(0, n, size):
        b = B[: min(size, n - start)]
        norms = _shift(X[start : start + size], origin, out=b[:, :d])
        greatest = torch.maximum(greatest, norms.amax())
        B[:, d] = torch.inf
        b[:, d] = norms * (1 - 3 * error)
        B[len(b) :, :d] = 0
        found = [_smallest(torch.mm(a, B.T, out=D[: len(a)]), min(k, size)) for a in A.split(rows)]
        values.append(torch.cat([value for value, _ in found]))
        indices.append(torch.cat([index for _, index in found]) + start)
    values, order = torch.cat(values, 1).topk(k, largest=False)
    candidates = torch.cat(indices, 1).gather(1, order).clamp_(max=n - 1)
    if k == n:
        bound = torch.full_like(q_norms, torch.inf)
    else:
        bound = values[:, -1] + (1 - error) * q_norms - (d + 8) * 2.0**-124  # against underflow
    return candidates, torch.where(greatest < 2.0**120, bound, torch.nan)  # against overflow


def _block_shape(n, d, device):
    """Rows of Q and of X whose distances are held at a time, as fast as was measured."""
    rows = 1024 if d >= 256 else 128
    size = (2**22 if device.type == "cpu" else 2**28) // rows
    blocks = -(-n // size)
    return rows, -(-n // (blocks * TILE)) * TILE


def _shift(points, origin, out):
    """Write points - origin to out, each number rounded once; return the squared norms."""
    if points.dtype != torch.float32:
        points, origin = points.double(), origin.double()
    torch.sub(points, origin, out=out)
    return torch.linalg.vecdot(out, out)


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


def _measure(X, Q, candidates, k):
    """Return the k nearest candidates of each query, of equals those that come first in X."""
    candidates = candidates.sort(1).values
    step = max(1, 2**18 // (candidates.shape[1] * X.shape[1]))
    distances = torch.cat(
        [
            (X[c].double() - q.double()[:, None]).square_().sum(2)
            for c, q in zip(candidates.split(step), Q.split(step))
        ]
    )
    distances, order = distances.sort(dim=1, stable=True)
    return distances[:, :k], candidates.gather(1, order[:, :k])
