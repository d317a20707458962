"""Exact nearest neighbors among many features: a few components rule most points out.

The projections of two points onto principal components are no farther apart than the points. Where
features say much the same, as the pixels of images do, few points come as near to a query in a
hundred components as its neighbors do in all features; only these are compared as a whole. What is
ruled out is out for certain: every bound allows for the rounding errors that it may have. What is
left is measured in float64, coordinate by coordinate.
"""

from __future__ import annotations

import math
import warnings
from functools import cache

import torch

from .._utils.device import blas_threads, parallel_map, threads
from ._distances import (
    TILE,
    product,
    rank_candidates,
    rank_pairs,
    shift,
    sum_error,
    underflow_error,
)

COMPONENTS = 127  # and a column for norms: products of 128 columns
MIN_FEATURES = 4 * (COMPONENTS + 1)
MIN_QUERIES = 4 * (COMPONENTS + 1)  # of fewer, projecting the points costs too much
MIN_POINTS = 2**13
MIN_PRODUCTS = 3 * 10**10  # multiplications of the plain search, against those of the preparation
MAX_NEIGHBORS = 64
MAX_SHARE = 0.02  # of a sample's points left by the components, above which they do not pay
SAMPLED_POINTS, SAMPLED_QUERIES, SAMPLED_FOR_COMPONENTS = 2048, 64, 1024
MAX_POINTS, MAX_QUERIES = 2**16, 2**12  # whose pairs are held at a time
QUERIES, POINTS = 256, 1024  # of these, whose bounds or coordinates a thread holds at a time
EXTRA_CANDIDATES = 3  # beyond k, measured first for a limit of the distance
SHRINKAGE = 0.01  # of bounds, in exchange for which errors of coordinates count little


@torch.no_grad()
def nearest_by_components(X, Q, k, origin):
    """Find the rows of `X` that are nearest to each row of `Q`, as `nearest` does on the host.

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
    Q : tensor of shape (n_queries, n_features)
    k : int
    origin : tensor of shape (n_features,), float64
        A point in the midst of X.

    Returns
    -------
    (distances, indices) : tensors of shape (n_queries, k), or None
        None where the search would not be faster, or where squares are too large for float32.
    """
    (n, d), n_queries = X.shape, len(Q)
    if (
        d < MIN_FEATURES
        or n < MIN_POINTS
        or n_queries < MIN_QUERIES
        or n_queries * n * d < MIN_PRODUCTS
        or k > MAX_NEIGHBORS
    ):
        return None
    _silence_beta_warning()
    with threads(1), blas_threads(1):  # numpy's and torch's would fight for the cores
        projection = Projection(X, origin)
        share = _share_left(projection, X, Q, k)
    if share > MAX_SHARE:
        return None
    found = []
    for queries in Q.split(MAX_QUERIES):
        found.append(_Search(projection, X, queries, k).result())
        if found[-1] is None:
            return None
    distances, indices = zip(*found)
    return torch.cat(distances), torch.cat(indices)


def _share_left(projection, X, Q, k):
    """The share of a sample of X that components leave as possible neighbors of some queries."""
    points = X[:: -(-len(X) // SAMPLED_POINTS)]
    queries = Q[:: -(-len(Q) // SAMPLED_QUERIES)]
    # the nearest of a few points is as far away as a later one of all points
    search = _Search(projection, points, queries, max(1, round(k * len(points) / len(X))))
    rows, norms = projection.points(points)
    if not projection.bears(norms, search.norms) or projection.directions.isnan().any():
        return math.inf
    listed = search.list_possible(points, rows, slice(0, len(queries)))
    return sum(len(queries) for queries, _ in listed) / (len(points) * len(queries))


@cache
def _silence_beta_warning():
    """Let torch say now, and only now, that its sparse rows are new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        none = torch.empty(0)
        torch.sparse_csr_tensor(torch.zeros(2, dtype=torch.int64), none.long(), none, (1, 1))


class Projection:
    """Coordinates of points along the principal components of a sample of them.

    For any point x and query q, ``(1 + SHRINKAGE) · |x - q|²`` is at least the product of their
    rows, as `points` and `queries` return them, plus the query's offset.

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
    origin : tensor of shape (n_features,), float64
    """

    def __init__(self, X, origin):
        self.origin = origin
        self.directions = _principal_directions(X, origin)
        # The coordinates of a point z from the origin err by `error` · |z|, their difference from
        # another's by the sum of both, and the square of that is at most twice the sum of squares.
        # Where a length is off by e, (1 + s) · |true|² >= |computed|² - (1 + 1/s) · e² for s > 0.
        float32 = torch.finfo(torch.float32)
        error = math.sqrt(COMPONENTS) * sum_error(X.shape[1], torch.float32) + float32.eps
        self.error = 2 * (1 + 1 / SHRINKAGE) * error**2
        self.product_error = sum_error(COMPONENTS + 1, torch.float32)
        self.largest_norm = float32.max / 2**8

    def points(self, X):
        """Rows of a multiple of `TILE` points, and the squared norms of the points.

        Rows past the end of X are infinitely far from everything.
        """
        rows = torch.zeros(-(-len(X) // TILE) * TILE, COMPONENTS + 1)
        rows[len(X) :, -1] = torch.inf
        norms = torch.empty(len(X))

        def project(start):
            some = slice(start, min(start + POINTS, len(X)))
            _, norms[some], squares = self._project(X[some], rows[some])
            # a product errs by product_error · (3 · the point's square + the query's) at most
            rows[some, -1] = (1 - 4 * self.product_error) * squares - self.error * norms[some]

        parallel_map(project, range(0, len(X), POINTS), X.device)
        return rows, norms

    def queries(self, Q):
        """Rows, offsets, the queries less the origin, and their squared norms."""
        rows = torch.empty(len(Q), COMPONENTS + 1)
        shifted, norms, squares = self._project(Q, rows)
        rows *= -2
        rows[:, -1] = 1
        offsets = (1 - self.product_error) * squares.double() - self.error * norms.double()
        return rows, offsets - underflow_error(COMPONENTS + 1), shifted, norms

    def bears(self, *norms):
        """Whether squared norms are small enough for products in float32."""
        return all(bool(squares.amax() < self.largest_norm) for squares in norms)  # not of NaN

    def _project(self, points, out):
        shifted = torch.empty(points.shape)
        norms = shift(points, self.origin, out=shifted)
        product(shifted, self.directions, out=out)
        return shifted, norms, torch.linalg.vecdot(out, out)


def _principal_directions(X, origin):
    """About the first principal directions of a sample of X, found by subspace iteration.

    Shape (n_features, COMPONENTS + 1), the last of zeros. No point is longer in these coordinates.
    """
    sample = X[:: -(-len(X) // SAMPLED_FOR_COMPONENTS)]
    shifted = torch.empty(sample.shape)
    shift(sample, origin, out=shifted)
    shifted /= shifted.abs().amax().clamp(min=torch.finfo(torch.float32).tiny)
    start = torch.Generator().manual_seed(0)
    directions = torch.randn(X.shape[1], COMPONENTS, generator=start)
    for _ in range(2):
        directions = torch.linalg.qr(shifted.T @ (shifted @ directions)).Q
    directions = directions.double()
    # the greatest sum of a row of sizes is no less than the greatest eigenvalue
    greatest = (directions.T @ directions).abs().sum(1).amax()
    directions /= greatest.sqrt() * (1 + torch.finfo(torch.float32).eps)
    return torch.nn.functional.pad(directions, (0, 1)).float()


class _Search:
    """The k nearest points of some queries, block by block of X."""

    def __init__(self, projection, X, Q, k):
        self.projection, self.X, self.Q, self.k = projection, X, Q, k
        self.rows, self.offsets, self.shifted, self.norms = projection.queries(Q)
        self.nearest = torch.full((len(Q), k), torch.inf, dtype=torch.float64)  # squared, so far

    def result(self):
        """Distances and indices, or None where a number is too large."""
        X, Q, n = self.X, self.Q, len(self.X)
        share = -(-len(Q) // torch.get_num_threads())
        shares = [slice(i, min(i + share, len(Q))) for i in range(0, len(Q), share)]
        size = -(-n // -(-n // MAX_POINTS))
        compared = []
        for start in range(0, n, size):
            block = slice(start, min(start + size, n))
            rows, norms = self.projection.points(X[block])
            if not self.projection.bears(norms, self.norms):
                return None
            compared += self._compare_block(block, rows, shares)
        queries, points, bounds = map(torch.cat, zip(*compared))
        near = bounds <= self.nearest[queries, -1]

        def rank(some):
            mine = near & (queries >= some.start) & (queries < some.stop)
            return rank_pairs(X, Q[some], points[mine], queries[mine] - some.start, self.k)

        distances, indices = zip(*parallel_map(rank, shares, X.device))
        return torch.cat(distances), torch.cat(indices)

    def _compare_block(self, block, rows, shares):
        """Pairs of queries and points of a block that may be near, and bounds of them."""
        listed = parallel_map(
            lambda some: self.list_possible(self.X[block], rows, some), shares, self.X.device
        )
        height = len(rows) // TILE
        starts = range(block.start, block.stop, height)
        parts = [(slice(i, min(i + height, block.stop)), p) for i, p in zip(starts, zip(*listed))]
        return parallel_map(lambda part: self._compare(*part), parts, self.X.device)

    def list_possible(self, X, rows, share):
        """For each `TILE`-th part of the block X, pairs of queries and points that may be near.

        Both indices rise; points are counted from the part's first one.
        """
        height = len(rows) // TILE
        buffer = torch.empty(min(QUERIES, share.stop - share.start), len(rows))
        listed = []
        for first in range(share.start, share.stop, QUERIES):
            some = slice(first, min(first + QUERIES, share.stop))
            A = self.rows[some]
            bounds = product(A, rows.T, out=buffer[: len(A)]).view(len(A), TILE, height)
            minima = bounds.amin(1)
            self._measure_first(X, bounds, minima, some)
            limit = (1 + SHRINKAGE) * self.nearest[some, -1] - self.offsets[some]
            limit = torch.nextafter(limit.float(), torch.tensor(torch.inf))
            limit.clamp_(max=torch.finfo(torch.float32).max)  # rows past the end are beyond it
            query, column = (minima <= limit[:, None]).nonzero(as_tuple=True)
            part, pair = (bounds[query, :, column] <= limit[query, None]).T.nonzero(as_tuple=True)
            cuts = torch.searchsorted(part, torch.arange(1, TILE)).tolist()
            query, column = query[pair] + first, column[pair]
            listed.append(list(zip(query.tensor_split(cuts), column.tensor_split(cuts))))
        return [tuple(map(torch.cat, zip(*pairs))) for pairs in zip(*listed)]

    def _measure_first(self, X, bounds, minima, some):
        """Bring `nearest` down by the points that look nearest, at most one of a tile."""
        height = minima.shape[1]
        count = min(height, self.k + EXTRA_CANDIDATES)
        column = minima.topk(count, largest=False, sorted=False).indices
        part = bounds.gather(2, column[:, None].expand(-1, TILE, -1)).argmin(1)
        found, _ = rank_candidates(X, self.Q[some], part * height + column, min(count, self.k))
        together = torch.cat([self.nearest[some], found], 1)
        self.nearest[some] = together.sort(1).values[:, : self.k]

    def _compare(self, part, pairs):
        """Of pairs of queries and a part of the points those that may be near, with bounds."""
        X, (queries, points) = self.X[part], map(torch.cat, zip(*pairs))
        shifted = torch.empty(X.shape)
        norms = shift(X, self.projection.origin, out=shifted)
        rows = torch.searchsorted(queries, torch.arange(len(self.Q) + 1))
        pattern = torch.sparse_csr_tensor(
            rows, points, torch.zeros(len(points)), (len(self.Q), len(X)), check_invariants=False
        )
        dots = torch.sparse.sampled_addmm(pattern, self.shifted, shifted.T, beta=0.0).values()
        sizes = (norms[points] + self.norms[queries]).double()
        error = sum_error(X.shape[1], torch.float32)
        bounds = (1 - 3 * error) * sizes - 2 * dots - underflow_error(X.shape[1])
        near = bounds <= self.nearest[queries, -1]
        return queries[near], points[near] + part.start, bounds[near]
