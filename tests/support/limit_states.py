"""Limit states with exact probabilities of failure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm

Array = NDArray[np.float64]


class Problem(NamedTuple):
    g: Callable[[Array], Array]
    dim: int
    probability: float

    @property
    def law(self) -> fm.distributions.Law:
        return normal(self.dim)


def normal(dim: int) -> fm.distributions.Law:
    return fm.distributions.Normal(np.zeros(dim), np.ones(dim))


def half_space(beta: float, dim: int) -> Problem:
    return Problem(lambda x: beta - x.sum(axis=1) / math.sqrt(dim), dim, float(stats.norm.sf(beta)))


def four_branches(x: Array) -> Array:
    a, b = x.T
    along, across = (a + b) / math.sqrt(2), a - b
    bend, edge = 3 + 0.1 * across**2, 7 / math.sqrt(2)
    return np.minimum.reduce([bend - along, bend + along, edge + across, edge - across])


def breitung(x: Array) -> Array:
    a, b = x.T
    return np.minimum(
        np.where(a > 3.5, 4 - a, 0.85 - 0.1 * a), np.where(b > 2, 0.5 - 0.1 * b, 2.3 - b)
    )


def oscillator(dim: int, barrier: float) -> Callable[[Array], Array]:
    """First passage of a linear oscillator under white noise, in deviations of its displacement."""
    step, omega, damping = 20 / dim, math.pi, 0.05
    at = step * np.arange(dim)
    since = at[:, None] - at + step
    own = omega * math.sqrt(1 - damping**2)
    response = np.where(since > 0, np.exp(-damping * omega * since) * np.sin(own * since), 0.0)
    response /= np.sqrt((response**2).sum(axis=1)).max()
    return lambda x: barrier - np.abs(x @ response.T).max(axis=1)


#: The exact values are integrals over one coordinate by quadrature to 12 digits.
FOUR = Problem(four_branches, 2, 2.2227950661944393e-3)
PROBLEMS = {
    "half-space 3": half_space(3, 10),
    "half-space 6": half_space(6, 10),
    "four branches": FOUR,
    "parabola": Problem(
        lambda x: 6 - x[:, 1] - 0.3 * (x[:, 0] - 0.1) ** 2, 2, 3.9416515106304294e-5
    ),
    "paraboloid": Problem(
        lambda x: 3.5 - x[:, 0] + (x[:, 1:] ** 2).sum(axis=1), 5, 2.8101708226523056e-6
    ),
    "sphere": Problem(lambda x: 40 - (x * x).sum(axis=1), 10, float(stats.chi2.sf(40, 10))),
    "half-space d=100": half_space(4, 100),
}
#: 1 - Phi(4) Phi(5), without the loss of digits.
BREITUNG = Problem(
    breitung, 2, float(stats.norm.sf(4) + stats.norm.sf(5) - stats.norm.sf(4) * stats.norm.sf(5))
)
