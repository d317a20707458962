"""The primal of linear SVMs with squared hinge loss, by Newton's method, all classes at once.

Written in the words that numpy and torch share. On the CPU numpy is the faster of the two: its
product of a matrix with its own transpose does half the work, and next to its threads those of
torch would only be in the way.
"""

from __future__ import annotations

import numpy as np
import torch

MEMORY = 2**27  # float64 values that the classes solved together may keep: 1 GiB


def squared_hinge(X, Y, c, *, tol: float, max_iter: int):
    """Minimise, for every row (y, c) of `Y` and `C`, ½ ||w||² + ½ Σ_i c_i max(0, 1 - y_i w·x_i)².

    The active samples, those with y_i w·x_i < 1, make this a quadratic with Hessian
    H = I + Σ_active c_i x_i x_iᵀ. A step solves it exactly and is followed by a line search; once
    the active set stays as it is, the minimum is reached exactly. Between steps H changes by the
    samples that became active or inactive, and far fewer are active than not: so H is updated, or
    made anew from the active samples, or, where these are fewer than the features, replaced by
    their matrix of inner products.

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
        Most Newton steps.

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
    >>> W, n_iter = squared_hinge(
    ...     np.array([[1.0], [3.0]]), np.array([[-1.0, 1.0]]), np.full((1, 2), 2.0),
    ...     tol=1e-4, max_iter=10,
    ... )
    >>> W.round(4), n_iter
    (array([[0.1905]]), [1])
    """
    xp = np if isinstance(X, np.ndarray) else torch
    n, d = X.shape
    eye = xp.eye(d, dtype=X.dtype, device=X.device)
    inner = X @ X.T if n < d else None
    start = (eye, xp.zeros_like(c[0])) if n < d else (_add(eye, X, c[0]), c[0])
    together = max(1, MEMORY // (d * d + 10 * n))
    W, n_iter = xp.zeros((len(Y), d), dtype=X.dtype, device=X.device), []
    for first in range(0, len(Y), together):
        block = slice(first, first + together)
        W[block], steps = _solve(xp, X, Y[block], c[block], eye, inner, start, tol, max_iter)
        n_iter += steps
    return W, n_iter


def _solve(xp, X, Y, c, eye, inner, start, tol, max_iter):
    W = xp.zeros((len(Y), len(eye)), dtype=X.dtype, device=X.device)
    R = xp.ones_like(Y)  # 1 - y w·x: positive for active samples
    hessians = [start] * len(Y)
    n_iter, live = [0] * len(Y), list(range(len(Y)))
    for _ in range(max_iter):
        w, r, y, cl = W[live], R[live], Y[live], c[live]
        u = xp.where(r > 0, cl, 0)
        objective = 0.5 * (w * w).sum(1) + 0.5 * (u * r * r).sum(1)
        gradient = w - (y * u * r) @ X
        unsolved = 0.5 * (gradient * gradient).sum(1) > tol**2 * objective
        live = _keep(live, unsolved)
        if not live:
            break
        if len(live) < len(w):
            w, r, y, cl, u = w[unsolved], r[unsolved], y[unsolved], cl[unsolved], u[unsolved]
            gradient, objective = gradient[unsolved], objective[unsolved]
        step = xp.empty_like(w)
        for i, k in enumerate(live):
            step[i], hessians[k] = _newton_step(xp, X, eye, inner, hessians[k], u[i], gradient[i])
            n_iter[k] += 1
        q = y * (step @ X.T)
        t = _line_search(xp, r, q, cl, (w * step).sum(1), (step * step).sum(1))[:, None]
        W[live], R[live] = w + t * step, r - t * q
        live = _keep(live, -(gradient * step).sum(1) > 1e-15 * objective)
        if not live:
            break
    return W, n_iter


def _keep(live, mask):
    return [k for k, keep in zip(live, mask.tolist()) if keep]


def _newton_step(xp, X, eye, inner, hessian, u, gradient):
    """Solve (I + Xᵀ diag(u) X) step = -gradient in the cheapest way; (step, Hessian to go on from).

    `hessian` is a matrix I + Xᵀ diag(v) X and its v.
    """
    H, v = hessian
    d = len(eye)
    active = xp.where(u > 0)[0]
    m, changed = len(active), int((u != v).sum())
    if m**3 + (m * m * d if inner is None else 0) < d**3 + min(m, changed) * d * d:
        A = X[active]  # Woodbury's identity
        K = A @ A.T if inner is None else inner[active][:, active]
        return A.T @ xp.linalg.solve(K + xp.diag(1 / u[active]), A @ gradient) - gradient, hessian
    if m < changed:
        H, v = eye, xp.zeros_like(u)
    H = _add(_add(H, X, u - v), X, v - u, sign=-1)
    return -xp.linalg.solve(H, gradient), (H, u)


def _add(H, X, s, sign=1):
    """H + sign Xᵀ diag(max(s, 0)) X."""
    rows = s > 0
    if not rows.any():
        return H
    A = X[rows] * s[rows, None] ** 0.5
    return H + sign * (A.T @ A)


def _line_search(xp, r, q, c, ws, ss, tol=0.3, max_steps=30):
    """Minimise ½ ||w + t step||² + ½ Σ c max(0, r - t q)² over t > 0, for all problems at once.

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
