"""A mixture of normal laws in closed form, probe points, and an executor of programs in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import ndtri

Array = NDArray[np.float64]
Model = Callable[[Array, Any], Array]

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]])
COVARIANCES = np.array(
    [[[0.25, 0.0], [0.0, 0.25]], [[0.36, 0.12], [0.12, 0.16]], [[0.09, 0.0], [0.0, 0.64]]]
)
LOW, HIGH = 0.05, 10.0

_values, _vectors = np.linalg.eigh(COVARIANCES)


def mixture(y: Array, sigma: Any) -> Array:
    """Denoise points of a mixture of three normal laws in the plane."""
    s2 = np.square(np.broadcast_to(np.reshape(sigma, -1), (len(y),)))
    spread = _values + s2[:, None, None]
    z = np.einsum("kji,nkj->nki", _vectors, y[:, None] - MEANS)
    log = np.log(WEIGHTS) - 0.5 * (z * z / spread + np.log(spread)).sum(axis=2)
    parts = np.exp(log - log.max(axis=1, keepdims=True))
    parts /= parts.sum(axis=1, keepdims=True)
    means = MEANS + np.einsum("kij,nkj->nki", _vectors, _values * z / spread)
    return np.einsum("nk,nki->ni", parts, means)


def gaussian(mean: float, variance: float) -> Model:
    """Give the denoiser of a normal law with equal variances."""

    def denoise(y: Array, sigma: Any) -> Array:
        s2 = np.square(np.reshape(sigma, (-1, 1)))
        return mean + variance / (variance + s2) * (y - mean)

    return denoise


def probes(n: int = 256) -> Array:
    """Give points of a normal law of standard deviation 10 that fill the plane evenly."""
    g = 1.324717957244746  # g³ = g + 1
    u = np.mod(0.5 + np.arange(1, n + 1)[:, None] * np.array([1 / g, 1 / g**2]), 1)
    points: Array = 10 * ndtri(u)
    return points


@cache
def solution() -> Array:
    """Give where the probability-flow equation takes the probes."""

    def rate(t: float, y: Array) -> Array:
        points = y.reshape(-1, 2)
        return (points - mixture(points, np.exp(t))).ravel()

    span = (np.log(HIGH), np.log(LOW))
    found = solve_ivp(rate, span, probes().ravel(), method="DOP853", rtol=1e-11, atol=1e-11)
    end: Array = found.y[:, -1].reshape(-1, 2)
    return end


def karras(n_steps: int, low: float = LOW, high: float = HIGH) -> Array:
    """Give the levels of Karras et al. with ρ = 7."""
    ramp = np.linspace(0, 1, n_steps + 1)
    grid = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    grid[[0, -1]] = high, low
    return grid


def carry_out(
    program: Any, y: Array, model: Model = mixture, noise: Callable[[int], Array] | None = None
) -> Array:
    """Follow the instructions of a program."""
    c = program.coefficients
    if c.ndim == 2:
        c = c.T[:, :, None]
    registers: list[Any] = [None] * program.n_registers
    registers[0] = y
    for name, *op in program.ops:
        if name == "denoise":
            source, to, at = op
            registers[to] = model(registers[source], c[at])
        elif name == "combine":
            to, terms, at, draw = op
            total = sum(c[at + j] * registers[term] for j, term in enumerate(terms))
            if draw is not None and noise is not None:
                total = total + c[at + len(terms)] * noise(draw)
            registers[to] = total
        elif name == "langevin":
            raise NotImplementedError
    end: Array = registers[0]
    return end
