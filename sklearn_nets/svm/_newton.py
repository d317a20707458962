"""The primal of linear SVMs with squared hinge loss, by Newton's method, all classes at once.

Written in functions that numpy and torch share. On the CPU numpy is the faster of the two: its
product of a matrix with its own transpose does half the work, and next to its threads those of
torch would only be in the way.
"""

from __future__ import annotations

import numpy as np
import torch

from .._utils.device import blas_threads

# Multiplications for one Hessian below which numpy computes with one thread: beside a busy process
# two that wait for each other after every product made small fits a hundred times as slow.
SINGLE_THREAD_MULTIPLICATIONS = 2**24
MEMORY = 2**27  # float64 values that the classes solved together may keep: 1 GiB
ROUNDING = 1e-15  # of a matrix, relative to its diagonal
TOO_WIDE = 1e16  # a value over the geometric mean of its feature, in size
SAMPLE = 32  # about so many samples tell what is typical of a feature
CANCELLATION = 1e-6  # share of a diagonal that may be left of it without losing digits that count


def has_too_wide_range(X, c) -> bool:
    """Whether a value of a feature, or a weight c, is so large that what is added to it is lost."""
    xp = np if isinstance(X, np.ndarray) else torch
    if TOO_WIDE**2 < c.max() < np.inf:
        return True
    low, high = (X.min(0), X.max(0)) if xp is np else torch.aminmax(X, dim=0)
    some = abs(X[:: max(1, len(X) // SAMPLE)])
    with np.errstate(all="ignore"):
        sizes = xp.where(some > 0, xp.log(some), 0.0).sum(0)
        typical = xp.exp(sizes / (some > 0).sum(0))  # the geometric mean; NaN if there is none
        most = xp.maximum(-low, high)
        return bool(((most > TOO_WIDE * typical) & (most < xp.inf)).any())


def squared_hinge(X, Y, c, *, tol: float, max_iter: int):
    """Minimize, for every row (y, c) of `Y` and `C`, ½ ||w||² + ½ Σ_i c_i max(0, 1 - y_i w·x_i)².

    The active samples, those with y_i w·x_i < 1, make this a quadratic with Hessian
    H = I + Σ_active c_i x_i x_iᵀ. A step solves it exactly and is followed by a line search; once
    the active set stays as it is, the minimum is reached exactly. Between steps H changes by the
    samples that became active or inactive, and far fewer are active than not: so H is updated, or
    made anew from the active samples, or, where these are fewer than the features, replaced by
    their matrix of inner products.

    The weights are sums of samples, w = Xᵀ a. Where there are fewer samples than features, the
    problem is solved for a, and X is only met in its matrix of inner products, X Xᵀ.

    The factor of the penalty starts as large as the curvature of the losses (at 1 where there are
    four times as many features as samples, which can be separated) and falls with every
    step, by up to 3 and less after short ones, down to 1: each step then starts near its minimum,
    whatever the scale of X and C.

    Parameters
    ----------
    X : ndarray or tensor of float64 and shape (n_samples, n_features)
    Y : the same, of shape (n_problems, n_samples)
        Labels, -1 or 1.
    c : the same, of shape (n_problems, n_samples)
        Weight of each sample's loss, not negative: 2 C times its sample weight.
    tol : float
        A problem is solved when its duality gap, here ½ ||gradient||², is at most tol² times its
        objective, or when a step would gain less than rounding errors.
    max_iter : int
        Maximum number of Newton steps.

    Returns
    -------
    W : the same, of shape (n_problems, n_features)
    n_iter : list of int
        Newton steps of each problem.

    References
    ----------
    S. S. Keerthi and D. DeCoste, "A modified finite Newton method for fast solution of large scale
    linear SVMs", JMLR 6 (2005): the step and the line search.

    O. Chapelle, "Training a support vector machine in the primal", Neural Computation 19 (2007):
    the step by inner products.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_nets.svm._newton import squared_hinge
    >>> W, n_iter = squared_hinge(
    ...     np.array([[1.0], [3.0]]), np.array([[-1.0, 1.0]]), np.full((1, 2), 2.0),
    ...     tol=1e-4, max_iter=10,
    ... )
    >>> W.round(4)
    array([[0.1905]])
    """
    xp = np if isinstance(X, np.ndarray) else torch
    n, d = X.shape
    small = xp is np and n * d * min(n, d) < SINGLE_THREAD_MULTIPLICATIONS
    # the caller checks W for overflow
    with np.errstate(all="ignore"), blas_threads(1 if small else None):
        if n < d:
            A, n_iter = _solve(xp, _Dual(xp, X), Y, c, tol, max_iter)
            W = A @ X
            if _is_minimum(xp, X, Y, c, W, tol):
                return W, n_iter
            # Rows depend on each other, so that inner products say too little of a step's length:
            # once more, in an orthogonal basis of the rows.
            Q, R = xp.linalg.qr(X.T)
            W, n_iter = squared_hinge(R.T, Y, c, tol=tol, max_iter=max_iter)
            return W @ Q.T, n_iter
        start = _add(0.0, X, c[0]), c[0]
        together = max(1, MEMORY // (d * d + 10 * n))
        W, n_iter = xp.zeros((len(Y), d), dtype=X.dtype, device=X.device), []
        for first in range(0, len(Y), together):
            block = slice(first, first + together)
            space = _Primal(xp, X, [start] * len(Y[block]))
            W[block], steps = _solve(xp, space, Y[block], c[block], tol, max_iter)
            n_iter += steps
    return W, n_iter


def _is_minimum(xp, X, Y, c, W, tol) -> bool:
    """Whether the duality gap of every problem is as small as `squared_hinge` promises."""
    r = xp.clip(1 - Y * (W @ X.T), 0, None)
    gradient = W - (Y * c * r) @ X
    objective = 0.5 * (W * W).sum(1) + 0.5 * (c * r * r).sum(1)
    return bool((0.5 * (gradient * gradient).sum(1) <= tol**2 * objective).all())


def _solve(xp, space, Y, c, tol, max_iter):
    X = space.X
    W = xp.zeros((len(Y), X.shape[1]), dtype=X.dtype, device=X.device)
    R = xp.ones_like(Y)  # 1 - y w·x: positive for active samples
    penalty = space.first_penalty(c)
    n_iter, live = [0] * len(Y), list(range(len(Y)))
    for _ in range(max_iter):
        w, r, y, cl, p = W[live], R[live], Y[live], c[live], penalty[live]
        u = xp.where(r > 0, cl, 0)
        objective = 0.5 * p * space.dot(w, w) + 0.5 * (u * r * r).sum(1)
        gradient = p[:, None] * w - space.sum_of_samples(y * u * r)
        todo = (p > 1) | (0.5 * space.dot(gradient, gradient) > tol**2 * objective)
        if not todo.all():
            live = _keep(live, todo)
            if not live:
                break
            w, r, y, cl, p, u = w[todo], r[todo], y[todo], cl[todo], p[todo], u[todo]
            gradient, objective = gradient[todo], objective[todo]
        step = xp.empty_like(w)
        for i, k in enumerate(live):
            step[i] = space.newton_step(k, p[i], u[i], gradient[i])
            n_iter[k] += 1
        q = y * (step @ X.T)
        t = _line_search(xp, r, q, cl, p * space.dot(w, step), p * space.dot(step, step))
        W[live], R[live] = w + t[:, None] * step, r - t[:, None] * q
        gains = -space.dot(gradient, step) > 1e-15 * objective  # else t is that of rounding errors
        penalty[live] = xp.clip(p / 3 ** xp.where(gains, xp.clip(t**4, 0, 1), 1.0), 1, None)
        live = _keep(live, (p > 1) | gains)
        if not live:
            break
    return W, n_iter


def _keep(live, mask):
    return [k for k, keep in zip(live, mask.tolist()) if keep]


class _Primal:
    """Weights w of the features, and the Newton step for them.

    `hessians` holds, for each problem, a matrix Xᵀ diag(v) X and its v, from where a step goes on.
    """

    def __init__(self, xp, X, hessians):
        self.xp, self.X, self.hessians = xp, X, hessians

    def first_penalty(self, c):
        """The factor of the penalty in the first step, for each problem."""
        return self.xp.clip((c @ (self.X * self.X).sum(1)) / min(self.X.shape), 1, None)

    def dot(self, V, W):
        """Inner products of weights, row by row."""
        return (V * W).sum(1)

    def sum_of_samples(self, A):
        """The weights that are the sums of the samples with coefficients A."""
        return A @ self.X

    def newton_step(self, k, penalty, u, gradient):
        """Solve (penalty I + Xᵀ diag(u) X) step = -gradient in the cheapest way.

        What is added in proportion to a diagonal keeps rounding from making the matrix singular.
        """
        xp, X = self.xp, self.X
        d = X.shape[1]
        active = xp.where(u > 0)[0]
        m = len(active)
        H, v = self.hessians[k]
        changed = int((u != v).sum())
        if m**3 + m * m * d < d**3 + min(m, changed) * d * d:
            A = X[active]  # Woodbury's identity
            K = A @ A.T
            K = K + xp.diag(penalty / u[active] + ROUNDING * K.diagonal())
            return (A.T @ _solve_system(xp, K, A @ gradient) - gradient) / penalty
        if m < changed:
            H, v = 0.0, xp.zeros_like(u)
        updated = _add(_add(H, X, u - v), X, v - u, sign=-1)
        if m >= changed and (updated.diagonal() < CANCELLATION * H.diagonal()).any():
            updated = _add(xp.zeros_like(updated), X, u)  # what was taken away outweighed the rest
        H = updated
        self.hessians[k] = H, u
        ridge = penalty + ROUNDING * H.diagonal()
        return -_solve_system(xp, H + xp.diag(ridge), gradient)


class _Dual:
    """Coefficients a of the samples, w = Xᵀ a: here `X` is the matrix of their inner products."""

    def __init__(self, xp, X):
        self.xp, self.X = xp, X @ X.T
        self.far_wider = X.shape[1] >= 4 * X.shape[0]

    def first_penalty(self, c):
        if self.far_wider:  # the samples can be separated: with no detour in half the steps
            return self.xp.ones_like(c[:, 0])
        return self.xp.clip((c @ self.X.diagonal()) / len(self.X), 1, None)

    def dot(self, A, B):
        return ((A @ self.X) * B).sum(1)

    def sum_of_samples(self, A):
        return A

    def newton_step(self, k, penalty, u, gradient):
        """Solve (penalty I + diag(u) X Xᵀ) step = -gradient.

        An inactive sample's equation is solved at once; those of the active ones, divided by u, are
        symmetric.
        """
        K = self.X
        active = self.xp.where(u > 0)[0]
        H = K[active][:, active]
        H = H + self.xp.diag(penalty / u[active] + ROUNDING * H.diagonal())
        step = -gradient / penalty
        of_active = step[active]
        step[active] = 0
        b = penalty * of_active / u[active] - K[active] @ step
        step[active] = _solve_system(self.xp, H, b)
        return step


def _solve_system(xp, A, b):
    """Solve A x = b; where A is singular, the answer of torch is not finite."""
    if xp is np:
        return np.linalg.solve(A, b)
    return torch.linalg.solve_ex(A, b).result  # without asking the device how it went


def _add(H, X, s, sign=1):
    """H + sign Xᵀ diag(max(s, 0)) X."""
    rows = s > 0
    if not rows.any():
        return H
    A = X[rows] * s[rows, None] ** 0.5
    return H + sign * (A.T @ A)


def _line_search(xp, r, q, c, ws, ss, tol=0.3, max_steps=30):
    """Minimize ½ ||w + t step||² + ½ Σ c max(0, r - t q)² over t > 0, for all problems at once.

    The slope grows with t, in straight pieces: Newton's method, kept between a t of negative and
    one of positive slope, until the slope has fallen to `tol` times its first value.
    """
    t, low, high = xp.ones_like(ws), xp.zeros_like(ws), xp.full_like(ws, xp.inf)
    cq = c * q
    goal = tol * abs(ws - (xp.clip(r, 0, None) * cq).sum(1))
    for _ in range(max_steps):
        rest = r - t[:, None] * q
        slope = ws + t * ss - (xp.clip(rest, 0, None) * cq).sum(1)
        unsolved = abs(slope) > goal
        if not unsolved.any():
            break
        low, high = xp.where(slope < 0, t, low), xp.where(slope > 0, t, high)
        newton = t - slope / (ss + xp.where(rest > 0, cq * q, 0).sum(1))
        between = xp.where(xp.isinf(high), 2 * t, (low + high) / 2)
        newton = xp.where((low < newton) & (newton < high), newton, between)
        t = xp.where(unsolved, newton, t)
    return t
