"""Limit states with exact probabilities, for the bench and the calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


class Problem(NamedTuple):
    """A limit state of standard normal points, and its exact probability of failure."""

    g: Callable[[Array], Array]
    dim: int
    probability: float


def half_space(beta: float, dim: int) -> Problem:
    """Return the half-space at distance beta along the diagonal."""

    def g(x: Array) -> Array:
        values: Array = beta - x.sum(axis=1) / math.sqrt(dim)
        return values

    return Problem(g, dim, float(stats.norm.sf(beta)))


def four_branches(x: Array) -> Array:
    """Return the series system of four branches."""
    a, b = x.T
    bend = 0.1 * (a - b) ** 2 + 3
    along, across = (a + b) / math.sqrt(2), a - b
    edge = 7 / math.sqrt(2)
    values: Array = np.minimum.reduce([bend - along, bend + along, edge + across, edge - across])
    return values


def parabola(x: Array) -> Array:
    """Return a parabola with two design points."""
    values: Array = 6 - x[:, 1] - 0.3 * (x[:, 0] - 0.1) ** 2
    return values


def paraboloid(x: Array) -> Array:
    """Return a limit state that curves away from failure."""
    values: Array = 3.5 - x[:, 0] + (x[:, 1:] ** 2).sum(axis=1)
    return values


def sphere(x: Array) -> Array:
    """Return failure outside of a sphere."""
    values: Array = 40 - (x * x).sum(axis=1)
    return values


def breitung(x: Array) -> Array:
    """Return the pair of limit states that leads subset simulation astray (Breitung 2019)."""
    a, b = x.T
    values: Array = np.minimum(
        np.where(a > 3.5, 4 - a, 0.85 - 0.1 * a), np.where(b > 2, 0.5 - 0.1 * b, 2.3 - b)
    )
    return values


_norm = stats.norm
PROBLEMS = {
    **{f"half-space d=10, beta={b}": half_space(b, 10) for b in (3, 4, 5, 6)},
    "four branches d=2": Problem(four_branches, 2, 2.2227950661944393e-3),
    "parabola d=2": Problem(parabola, 2, 3.9416515106304294e-5),
    "paraboloid d=5": Problem(paraboloid, 5, 2.8101708226523056e-6),
    "sphere d=10": Problem(sphere, 10, float(stats.chi2.sf(40, 10))),
    "half-space d=100, beta=4": half_space(4, 100),
    "Breitung's pair d=2": Problem(
        breitung, 2, float(_norm.sf(4) + _norm.sf(5) - _norm.sf(4) * _norm.sf(5))
    ),
}
