"""Replacement of random starts of chains that are far too low in log-density."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fermiac.mcmc.init_search import climbed
from fermiac.targets.density import LogDensity

__all__ = ["rescued"]

Array = NDArray[np.float64]

#: A start is suspect if its log-density is below minus this, and hopeless if another point is
#: better by more than this. A chain loses about half of its excess energy in a transition.
_FAR = 1e8
#: The number of draws with which a suspect start is compared.
_DRAWS = 20


def rescued(
    target: LogDensity, x: Array, values: Array, draw: Callable[[int], Array]
) -> tuple[Array, int]:
    """Return starts without hopeless ones, as far as possible, and the number of evaluations.

    A suspect start is replaced by the first of 20 further draws that is not hopeless compared with
    the best of them, which keeps the starts dispersed. If it is still suspect, it is moved along a
    climb by L-BFGS to the first point that is not hopeless compared with the end of the climb. Each
    chain is treated separately: with ``pool=False`` it must not depend on the others.

    Parameters
    ----------
    target : LogDensity
        The density.
    x, values : ndarray
        The starts, (chains, d), and the log-densities there.
    draw : callable
        ``draw(n)`` returns the draws of all chains at try n; ``draw(0)`` returns the starts.
    """
    suspects, n_evals = np.flatnonzero(values < -_FAR), 0
    if not len(suspects):
        return x, n_evals
    x, values, rows = x.copy(), values.copy(), np.arange(len(suspects))
    draw(0)
    tries = np.array([draw(k)[suspects] for k in range(1, _DRAWS + 1)])
    found = _values(target, tries.reshape(-1, x.shape[1])).reshape(_DRAWS, -1)
    n_evals += found.size
    best = found.max(axis=0)
    at = np.argmax(found >= best - _FAR, axis=0)
    moved = best > values[suspects] + _FAR
    x[suspects[moved]] = tries[at, rows][moved]
    values[suspects[moved]] = found[at, rows][moved]
    suspects = np.flatnonzero(values < -_FAR)
    if not (len(suspects) and target.has_gradient):
        return x, n_evals
    with np.errstate(all="ignore"):
        paths, more = climbed(target, x[suspects])
    for i, path in zip(suspects, paths, strict=True):
        points = np.array([point for point, _ in path])
        along = _values(target, points)
        more += len(points)
        x[i] = points[np.argmax(along >= along[-1] - _FAR)]
    return x, n_evals + more


def _values(target: LogDensity, points: Array) -> Array:
    """Return the log-densities; -inf if a log-density or its gradient is not finite."""
    values, gradients = target._evaluate(points, target.has_gradient)
    good = np.isfinite(values)
    if gradients is not None:
        good &= np.isfinite(gradients).all(axis=1)
    return np.where(good, values, -np.inf)
