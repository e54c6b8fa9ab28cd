"""Sensitivities of the rows of a matrix: their largest share of a norm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["sensitivities"]

Array = NDArray[np.float64]
#: The numbers of a block of weights, between which Ctrl-C is answered, and iterations.
_BLOCK, _ITERATIONS = 2**18, 500
#: The relative gap of the two bounds at which a sensitivity is known.
_KNOWN = 1e-9
#: The smallest residual, as a share of the largest.
_FLOOR = 1e-12


def sensitivities(a: Array, p: float) -> tuple[Array, bool]:
    """Return max over x of |a_i'x|^p / ‖Ax‖_p^p for each row, and whether all are known.

    The least ‖Ax‖_p with a_i'x = 1 is the inverse of the least ‖y‖_q with A'y = a_i, where 1 / p +
    1 / q = 1. For p > 1 both are approached by weighted least squares, until they agree. For p = 1
    the second is a linear program.

    Parameters
    ----------
    a : ndarray, shape (N, d)
        A matrix of full column rank, none of whose rows is zero.
    p : float
        The exponent, at least 1.
    """
    if p == 1:
        return _by_programs(a), True
    out = np.empty(len(a))
    step, converged = max(1, _BLOCK // a.size), True
    for i in range(0, len(a), step):
        out[i : i + step], good = _by_least_squares(a, a[i : i + step], p)
        converged &= good
    return out, converged


def _by_least_squares(a: Array, rows: Array, p: float) -> tuple[Array, bool]:
    """Return the sensitivities of some rows, by damped steps of weighted least squares."""
    q, damping = p / (p - 1), 1.0 if p <= 2 else 1 / (p - 1)
    weights = np.ones((len(rows), len(a)))
    x = low = rows
    for step in range(_ITERATIONS):
        matrices = np.einsum("bn,nd,ne->bde", weights, a, a, optimize=True)
        new = np.linalg.solve(matrices, rows[:, :, None])[:, :, 0]
        dual = weights * (new @ a.T)  # its product with A is a_i
        new /= np.einsum("bd,bd->b", new, rows)[:, None]
        x = new if step == 0 else x + damping * (new - x)
        residuals = np.abs(x @ a.T)
        low = (residuals**p).sum(axis=1) ** (-1 / p)
        high = (np.abs(dual) ** q).sum(axis=1) ** (1 / q)
        if (high <= low * (1 + _KNOWN)).all():
            return low**p, True
        top = residuals.max(axis=1, keepdims=True)
        weights = np.maximum(residuals / top, _FLOOR) ** (p - 2)
    return np.asarray(low**p), False


def _by_programs(a: Array) -> Array:
    """Return the sensitivities for p = 1: the least largest |y| with A'y = a_i."""
    from scipy import sparse
    from scipy.optimize import linprog

    n = len(a)
    # Variables u and t, with y = 2 u - t and 0 <= u <= t.
    cost = np.append(np.zeros(n), 1.0)
    above = sparse.hstack([sparse.eye_array(n), -np.ones((n, 1))], format="csc")
    equal = np.column_stack([2 * a.T, -a.sum(axis=0)])
    return np.array([
        linprog(cost, A_ub=above, b_ub=np.zeros(n), A_eq=equal, b_eq=row).fun for row in a
    ])  # fmt: skip
