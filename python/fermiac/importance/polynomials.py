"""Polynomial controls: functions whose Sobol' indices are known exactly, fitted to a model.

A model of independent inputs is a function of uniform numbers. It is approximated by a sum of
products of orthonormal functions of one coordinate each: Legendre polynomials and splines with 15
knots of a bounded input, Hermite polynomials of the normal score of an unbounded one. The mean of
the sum is its first coefficient, and every part of its variance is a sum of squares of
coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["FUNCTIONS", "Basis", "Line", "ranked_terms"]

Array = NDArray[np.float64]
#: A product of functions of one coordinate each: pairs (coordinate, number of the function).
Term = tuple[tuple[int, int], ...]

#: The highest degree, and the knots of the splines, as uniform numbers.
DEGREE = 12
_KNOTS = np.arange(1, 16) / 16
#: The highest degree of a product with an unbounded input.
TAIL_DEGREE = 3
#: Functions of one coordinate: the constant, polynomials, splines.
FUNCTIONS = 1 + DEGREE + len(_KNOTS)
#: Products of two functions are of so many leading coordinates, products of three of so many.
_PAIRS, _TRIPLES = 12, 6
#: What a spline counts in degrees, and a further factor of a product.
_SPLINE_COST, _FACTOR_COST = 5.0, 1.0
#: The most that a coordinate of little variance counts, in degrees.
_LEAST_COST = 8.0


class Line:
    """The orthonormal functions of one coordinate, bounded or not."""

    def __init__(self, bounded: bool) -> None:
        self._bounded = bounded
        if not bounded:
            return
        # Gauss points of the intervals between knots, where all integrals of products are exact.
        at, share = np.polynomial.legendre.leggauss(32)
        edges = np.array([0.0, *_KNOTS, 1.0])
        half = np.diff(edges)[:, None] / 2
        raw = self._legendre((edges[:-1, None] + half * (1 + at)).ravel(), FUNCTIONS)
        r = np.linalg.qr((raw * np.sqrt((half * share).ravel())).T, mode="r")
        self._mix: Array = np.linalg.inv(r * np.sign(np.diag(r))[:, None]).T

    def __call__(self, u: Array, size: int = FUNCTIONS) -> Array:
        """Return the first functions at uniform numbers, shape (size, n)."""
        if self._bounded:
            out: Array = self._mix[:size, :size] @ self._legendre(u, size)
            return out
        return self._hermite(np.asarray(ndtri(u)), size)

    def _legendre(self, u: Array, size: int) -> Array:
        """Return polynomials and truncated lines, not yet orthonormal."""
        t = 2.0 * u - 1.0
        out = np.empty((max(size, 2), t.size))
        out[0], out[1] = 1.0, t
        for k in range(1, min(DEGREE, size - 1)):
            out[k + 1] = ((2 * k + 1) * t * out[k] - k * out[k - 1]) / (k + 1)
        if size > 1 + DEGREE:
            knots = _KNOTS[: size - 1 - DEGREE, None]
            np.maximum(u - knots, 0.0, out=out[1 + DEGREE :])
        return out[:size]

    def _hermite(self, z: Array, size: int) -> Array:
        """Return orthonormal Hermite polynomials up to the degree that is used, else 0."""
        out = np.zeros((max(size, 2), z.size))
        out[0], out[1] = 1.0, z
        for k in range(1, min(TAIL_DEGREE, size - 1)):
            out[k + 1] = (z * out[k] - np.sqrt(k) * out[k - 1]) / np.sqrt(k + 1)
        return out[:size]


@dataclass(frozen=True)
class Basis:
    """Products of functions of single coordinates, the constant first.

    Attributes
    ----------
    bounded : tuple of bool
        Which coordinates have bounded inputs.
    terms : tuple
        The products.
    """

    bounded: tuple[bool, ...]
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        most = max((len(term) for term in self.terms), default=0)
        places = np.zeros((max(most, 1), len(self.terms)), np.intp)
        for j, term in enumerate(self.terms):
            for k, (i, number) in enumerate(term):
                places[k, j] = i * FUNCTIONS + number
        lines = {kind: Line(kind) for kind in set(self.bounded)}
        highest = max((number for term in self.terms for _, number in term), default=0)
        used = sorted({i for term in self.terms for i, _ in term})
        object.__setattr__(self, "_places", places)
        object.__setattr__(self, "_highest", highest)
        object.__setattr__(self, "_used", used)
        object.__setattr__(self, "_touching", {})
        object.__setattr__(self, "_lines", lines)

    def table(self, u: Array) -> Array:
        """Return the functions of each coordinate at uniform numbers, (d FUNCTIONS, n)."""
        n, dim = u.shape
        lines: dict[bool, Line] = self._lines  # type: ignore[attr-defined]
        out = np.ones((dim, FUNCTIONS, n))
        size: int = self._highest + 1  # type: ignore[attr-defined]
        for i in self._used:  # type: ignore[attr-defined]
            out[i, :size] = lines[self.bounded[i]](u[:, i], size)
        return out.reshape(dim * FUNCTIONS, n)

    def columns(self, table: Array, which: NDArray[np.intp] | None = None) -> Array:
        """Return the products, or some of them, from a table, shape (terms, n)."""
        places: NDArray[np.intp] = self._places  # type: ignore[attr-defined]
        if which is not None:
            places = places[:, which]
        out: Array = table[places[0]]
        for more in places[1:]:
            multiplied = np.flatnonzero(more)
            out[multiplied] *= table[more[multiplied]]
        return out

    def touching(self, group: tuple[int, ...]) -> NDArray[np.intp]:
        """Return the numbers of the products that depend on a coordinate of a group."""
        known: dict[tuple[int, ...], NDArray[np.intp]] = self._touching  # type: ignore[attr-defined]
        if group not in known:
            found = [j for j, term in enumerate(self.terms) if any(i in group for i, _ in term)]
            known[group] = np.array(found, np.intp)
        return known[group]

    def variances(self, coefficients: Array, groups: Sequence[Sequence[int]]) -> Variances:
        """Return the exact parts of the variance of a sum.

        Parameters
        ----------
        coefficients : ndarray, shape (terms, ...)
        groups : sequence of sequences of int
            The coordinates of each input.
        """
        owner = {i: g for g, group in enumerate(groups) for i in group}
        squares = coefficients**2
        tail = coefficients.shape[1:]
        n = len(groups)
        first, total = np.zeros((n, *tail)), np.zeros((n, *tail))
        pairs = np.zeros((n, n, *tail))
        for term, square in zip(self.terms[1:], squares[1:], strict=True):
            active = sorted({owner[i] for i, _ in term})
            total[active] += square
            if len(active) == 1:
                first[active[0]] += square
            elif len(active) == 2:
                pairs[active[0], active[1]] += square
        return Variances(squares[1:].sum(axis=0), first, total, pairs)


@dataclass(frozen=True)
class Variances:
    """The variance of a sum, and its parts: alone, in all, and of pairs (i < j) alone."""

    whole: Array
    first: Array
    total: Array
    pairs: Array


def ranked_terms(shares: Array, bounded: Sequence[bool], most: int) -> tuple[Term, ...]:
    """Return products in the order in which they are worth their cost, the constant first.

    Parameters
    ----------
    shares : ndarray, shape (d,)
        A rough total index of each coordinate. Those of small ones count as of a higher degree.
    bounded : sequence of bool, length d
        Which coordinates are bounded. Polynomials of others of a high degree follow the points so
        closely that what is left lies beyond them, where no error bar sees it.
    most : int
        The largest number of products.
    """
    top = max(float(shares.max(initial=0.0)), 1e-300)
    extra = 0.5 * np.log2(top / np.maximum(shares, top * 2.0**-16))
    extra = np.minimum(extra, _LEAST_COST)
    order = [int(i) for i in np.argsort(extra, kind="stable")]
    priced: list[tuple[float, int, Term]] = []

    def add(cost: float, *term: tuple[int, int]) -> None:
        if not all(bounded[i] for i, _ in term) and sum(e for _, e in term) > TAIL_DEGREE:
            return
        priced.append((cost, len(priced), tuple(sorted(term))))

    for i in order:
        for e in range(1, DEGREE + 1):
            add(e + extra[i], (i, e))
        for k in range(len(_KNOTS)):
            add(_SPLINE_COST + extra[i], (i, 1 + DEGREE + k))
    for i, j in combinations(order[:_PAIRS], 2):
        for e in range(1, DEGREE):
            for f in range(1, DEGREE + 1 - e):
                add(e + f + _FACTOR_COST + extra[i] + extra[j], (i, e), (j, f))
    for i, j, k in combinations(order[:_TRIPLES], 3):
        for e in range(1, DEGREE - 1):
            for f in range(1, DEGREE - e):
                for g in range(1, DEGREE + 1 - e - f):
                    cost = e + f + g + 2 * _FACTOR_COST + extra[i] + extra[j] + extra[k]
                    add(cost, (i, e), (j, f), (k, g))
    priced.sort()
    return ((), *(term for _, _, term in priced[: most - 1]))
