"""Balanced samples by the cube method of Deville and Tillé."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fermiac.random.stream import Stream

__all__ = ["balanced"]

Array = NDArray[np.float64]
#: Probabilities this close to 0 or 1 have been decided, and smaller parts of a direction are zero.
_DECIDED, _ZERO = 1e-10, 1e-13
#: A matrix has no direction left if its smallest singular value is above this share of the largest.
_RANK = 1e-9


def balanced(pi: Array, x: Array, stream: Stream) -> NDArray[np.int64]:
    """Return the units of a sample with these inclusion probabilities, balanced on some variables.

    The probabilities take a random walk that keeps the Horvitz-Thompson totals of the variables,
    and in which every probability is a martingale, until each is 0 or 1. A step moves as few units
    as possible (Chauvet and Tillé 2006). Once no direction keeps all totals, the last variable is
    dropped, so that the first ones are balanced best.

    Parameters
    ----------
    pi : ndarray, shape (N,)
        The inclusion probabilities.
    x : ndarray, shape (N, q)
        The variables, the most important one first.
    stream : Stream
    """
    p = pi.copy()
    open_units = np.flatnonzero((p > _DECIDED) & (p < 1 - _DECIDED))
    open_units = open_units[np.argsort(stream.uniform(open_units.size), kind="stable")]
    rows = x / pi[:, None]
    size = np.abs(rows).max(axis=0, initial=0.0)
    rows = rows / np.where(size > 0, size, 1.0)
    # Each step decides a unit, or drops a variable.
    chances = stream.uniform(open_units.size + 1)
    kept, at, step = x.shape[1], 0, 0
    moving = np.empty(0, np.int64)
    while True:
        more = min(kept + 1 - moving.size, open_units.size - at)
        if more > 0:
            moving = np.concatenate([moving, open_units[at : at + more]])
            at += more
        if not moving.size:
            break
        direction = _direction(rows[moving, :kept])
        if direction is None:
            kept -= 1
            continue
        p[moving] = _moved(p[moving], direction, float(chances[step]))
        step += 1
        now = p[moving]
        moving = moving[(now > 0) & (now < 1)]
    return np.flatnonzero(p > 0.5)


def _direction(rows: Array) -> Array | None:
    """Return a change of probabilities that keeps the totals of the variables, or None."""
    m, q = rows.shape
    if q == 0:
        return np.asarray(np.eye(1, m)[0])
    _, values, vectors = np.linalg.svd(rows.T)
    if m <= q and values[-1] > _RANK * values[0]:
        return None
    found: Array = np.where(np.abs(vectors[-1]) < _ZERO, 0.0, vectors[-1])
    return found


def _moved(p: Array, u: Array, chance: float) -> Array:
    """Return probabilities after a random step along u to the boundary, with mean p."""
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(u > 0, (1 - p) / u, np.where(u < 0, -p / u, np.inf))
        down = np.where(u > 0, p / u, np.where(u < 0, (p - 1) / u, np.inf))
    i, j = int(up.argmin()), int(down.argmin())
    forward = chance * (up[i] + down[j]) < down[j]
    new: Array = p + up[i] * u if forward else p - down[j] * u
    last = i if forward else j
    new[last] = float((u[last] > 0) == forward)
    new[new < _DECIDED] = 0.0
    new[new > 1 - _DECIDED] = 1.0
    return new
