"""Integrals over boxes with known values, for tests, benchmarks and the calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import erf, ndtr

Array = NDArray[np.float64]

#: Genz's families with the usual sums of the difficulties.
DIFFICULTY = {
    "oscillatory": 9.0,
    "product peak": 7.25,
    "corner peak": 1.85,
    "gaussian": 7.03,
    "continuous": 20.4,
    "discontinuous": 4.3,
}
#: The families whose integrands are continuous.
SMOOTH = ("oscillatory", "product peak", "corner peak", "gaussian", "continuous")
#: The sunrise integral in two dimensions at equal masses, by one-dimensional quadrature.
SUNRISE = 2.343907238689459


class Integral(NamedTuple):
    """An integrand over a box, with its integral."""

    f: Callable[[Array], Array]
    bounds: Array
    truth: float

    @property
    def dim(self) -> int:
        """The number of axes."""
        return len(self.bounds)


def unit(dim: int) -> Array:
    """Return the bounds of the unit cube."""
    return np.tile([0.0, 1.0], (dim, 1))


def genz(family: str, dim: int) -> Integral:
    """Return a member of a family of Genz (1984).

    Its parameters are fixed numbers without order, locations between 0.1 and 0.9. The families are
    of "Testing multidimensional integration routines", in Tools, Methods and Languages for
    Scientific and Engineering Computation.
    """
    places = np.arange(1, 2 * dim + 1) * 0.6180339887498949 % 1.0
    a, w = 0.2 + places[:dim], 0.1 + 0.8 * places[dim:]
    a *= DIFFICULTY[family] / a.sum()
    return Integral(*_member(family, a, w))


def _member(family: str, a: Array, w: Array) -> tuple[Callable[[Array], Array], Array, float]:
    d = len(a)
    if family == "oscillatory":
        phase = 2 * np.pi * w[0]
        wave = np.exp(1j * phase) * np.prod(np.expm1(1j * a) / (1j * a))
        return lambda x: np.cos(phase + x @ a), unit(d), float(wave.real)
    if family == "product peak":
        truth = np.prod(a * (np.arctan(a * (1 - w)) + np.arctan(a * w)))
        return lambda x: 1 / np.prod(a**-2 + (x - w) ** 2, axis=1), unit(d), float(truth)
    if family == "corner peak":
        # The sum over corners of the closed form cancels; one integral does not.
        def inner(t: float) -> float:
            return float(t**d * math.exp(-t) * np.prod(-np.expm1(-a * t) / (a * t)))

        whole = quad(inner, 0, np.inf, epsabs=0, epsrel=1e-12, limit=500)[0]
        return lambda x: (1 + x @ a) ** -(d + 1.0), unit(d), whole / math.factorial(d)
    if family == "gaussian":
        truth = np.prod(math.sqrt(math.pi) / (2 * a) * (erf(a * (1 - w)) + erf(a * w)))
        return lambda x: np.exp(-((x - w) ** 2) @ a**2), unit(d), float(truth)
    if family == "continuous":
        truth = np.prod((2 - np.exp(-a * w) - np.exp(-a * (1 - w))) / a)
        return lambda x: np.exp(-np.abs(x - w) @ a), unit(d), float(truth)
    cut = min(2, d)
    ends = np.where(np.arange(d) < cut, w, 1.0)

    def discontinuous(x: Array) -> Array:
        out: Array = np.exp(x @ a) * np.all(x[:, :cut] <= w[:cut], axis=1)
        return out

    return discontinuous, unit(d), float(np.prod(np.expm1(a * ends) / a))


def equicorrelated(dim: int = 5, deviation: float = 0.05, correlation: float = 0.95) -> Integral:
    """Return a Gaussian peak in the middle of the cube, of mass 1."""
    matrix = np.full((dim, dim), correlation)
    np.fill_diagonal(matrix, 1.0)
    inverse = np.linalg.inv(deviation**2 * matrix)
    height = math.sqrt(np.linalg.det(inverse) / (2 * math.pi) ** dim)

    def f(x: Array) -> Array:
        z = x - 0.5
        return np.asarray(height * np.exp(-0.5 * np.einsum("ij,jk,ik->i", z, inverse, z)))

    return Integral(f, unit(dim), 1.0)


def peaks(centres: Array, shares: Array, dim: int, deviation: float) -> Integral:
    """Return Gaussian peaks on the diagonal of the cube."""
    height = (2 * math.pi * deviation**2) ** (-dim / 2)

    def f(x: Array) -> Array:
        out = np.zeros(len(x))
        for centre, share in zip(centres, shares, strict=True):
            out += share * np.exp(-((x - centre) ** 2).sum(axis=1) / (2 * deviation**2))
        return height * out

    inside = (ndtr((1 - centres) / deviation) - ndtr(-centres / deviation)) ** dim
    return Integral(f, unit(dim), float(shares @ inside))


def two_peaks() -> Integral:
    """Return two peaks in eight dimensions, a quarter and three quarters of the mass."""
    return peaks(np.array([0.3, 0.7]), np.array([0.25, 0.75]), 8, 0.05)


def many_peaks() -> Integral:
    """Return a hundred peaks along the diagonal in four dimensions, a ridge."""
    return peaks(np.linspace(0.0, 1.0, 100), np.full(100, 0.01), 4, 0.1 / math.sqrt(2))


def sunrise() -> Integral:
    """Return the sunrise integral: integrable singularities in two corners of the simplex."""

    def f(x: Array) -> Array:
        a, b = x[:, 0], x[:, 1]
        return np.asarray(1 / (a + (1 - a) * b * (1 - b)))

    return Integral(f, unit(2), SUNRISE)


def singular() -> Integral:
    """Return a product of powers that are unbounded at the axes."""
    return Integral(lambda x: np.prod(0.6 * x**-0.4, axis=1), unit(3), 1.0)


def rows() -> dict[str, Integral]:
    """Return the rows of the table of the calibration by name."""
    table = {f"{k} d={d}": genz(k, d) for d in (2, 4, 8, 16) for k in DIFFICULTY}
    return table | {
        "correlated peak d=5": equicorrelated(),
        "two peaks d=8": two_peaks(),
        "100 peaks d=4": many_peaks(),
        "sunrise d=2": sunrise(),
        "singular d=3": singular(),
    }
