"""Polynomial controls: functions whose Sobol' indices are known exactly, fitted to a model.

A model of independent inputs is a function of uniform numbers. It is approximated by a sum of
products of orthonormal functions of one coordinate each: Legendre polynomials and splines with 15
knots for a bounded input, and Hermite polynomials of the normal score for an unbounded one. The
mean of the sum is its first coefficient, and every part of its variance is a sum of squared
coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import get_num_threads

__all__ = ["FUNCTIONS", "Basis", "Variances", "fold_coefficients", "mixture", "ranked_terms"]

Array = NDArray[np.float64]
#: A product of functions of one coordinate each: pairs (coordinate, number of the function).
Term = tuple[tuple[int, int], ...]

#: The highest degree, and the knots of the splines, as uniform numbers.
DEGREE = 12
KNOTS = np.arange(1, 16) / 16
#: The highest degree of a product with an unbounded input.
TAIL_DEGREE = 3
#: Functions of one coordinate: the constant, polynomials, splines.
FUNCTIONS = 1 + DEGREE + len(KNOTS)
#: Products of two functions use this many leading coordinates, and products of three this many.
_PAIRS, _TRIPLES = 12, 6
#: The cost of a spline, and of a further factor of a product, in degrees.
_SPLINE_COST, _FACTOR_COST = 5.0, 1.0
#: The largest cost of a coordinate with little variance, in degrees.
_LEAST_COST = 8.0


@cache
def mixture() -> Array:
    """Return the matrix whose row k gives function k of a bounded coordinate.

    The first functions are Legendre polynomials of 2 u - 1, followed by truncated lines. They are
    orthonormal by a QR decomposition at Gauss points between the knots, where all integrals of
    products are exact.
    """
    at, share = np.polynomial.legendre.leggauss(32)
    edges = np.array([0.0, *KNOTS, 1.0])
    half = np.diff(edges)[:, None] / 2
    nodes, weights = (edges[:-1, None] + half * (1 + at)).ravel(), (half * share).ravel()
    raw = np.vstack(
        [
            np.polynomial.legendre.legvander(2 * nodes - 1, DEGREE).T,
            np.maximum(nodes - KNOTS[:, None], 0.0),
        ]
    )
    r = np.linalg.qr((raw * np.sqrt(weights)).T, mode="r")
    mix: Array = np.linalg.inv(r * np.sign(np.diag(r))[:, None]).T
    mix = np.tril(mix)
    mix.flags.writeable = False
    return mix


class Basis:
    """Products of functions of single coordinates, the constant first.

    Parameters
    ----------
    bounded : sequence of bool
        Which coordinates have bounded inputs.
    terms : sequence
        The products.
    """

    def __init__(self, bounded: Sequence[bool], terms: Sequence[Term]) -> None:
        self.bounded = tuple(bounded)
        self.terms = tuple(terms)
        places = [[i * FUNCTIONS + number for i, number in term] for term in self.terms]
        self._core = _core.Polynomials(
            list(self.bounded),
            DEGREE,
            KNOTS.tolist(),
            mixture().ravel().tolist(),
            [[*place, 0, 0, 0][:3] for place in places],
        )

    def gram(self, u: Array, values: Array) -> Array:
        """Return the packed Gram matrix of the products and of columns of values.

        Parameters
        ----------
        u : ndarray, shape (n, d)
            Uniform numbers.
        values : ndarray, shape (n, K)
        """
        flat = np.ascontiguousarray(values).reshape(-1)
        return self._core.gram(np.ascontiguousarray(u).reshape(-1), flat, get_num_threads())

    def crossed(
        self, a: Array, b: Array, groups: Sequence[Sequence[int]], both: bool, coefficients: Array
    ) -> Array:
        """Return the sum with coefficients (terms, K) at the points of a pick-freeze design.

        The points are A, B, A with each group from B and, with `both`, B with each group from A.
        The shape is (points, n, K).
        """
        values = self._core.crossed(
            np.ascontiguousarray(a).reshape(-1),
            np.ascontiguousarray(b).reshape(-1),
            [list(group) for group in groups],
            both,
            np.ascontiguousarray(coefficients).reshape(-1),
            get_num_threads(),
        )
        return values.reshape(-1, len(a), coefficients.shape[1])

    def variances(self, coefficients: Array, groups: Sequence[Sequence[int]]) -> Variances:
        """Return the exact parts of the variance of a sum.

        Parameters
        ----------
        coefficients : ndarray, shape (parts, terms, K)
            The coefficients of several sums.
        groups : sequence of sequences of int
            The coordinates of each input.
        """
        owner = {i: g for g, group in enumerate(groups) for i in group}
        n = len(groups)
        takes_part = np.zeros((n, len(self.terms)))
        for j, term in enumerate(self.terms):
            takes_part[[owner[i] for i, _ in term], j] = 1.0
        alone = takes_part * (takes_part.sum(axis=0) == 1)
        of_two = takes_part * (takes_part.sum(axis=0) == 2)
        squares = coefficients**2
        return Variances(
            squares[:, 1:].sum(axis=1),
            np.einsum("gj,rjk->rgk", alone, squares),
            np.einsum("gj,rjk->rgk", takes_part, squares),
            np.einsum("gj,hj,rjk->rghk", of_two, of_two, squares, optimize=True),
        )


def fold_coefficients(
    grams: Array, terms: int, outputs: int, sizes: Sequence[int]
) -> tuple[Array, Array]:
    """Regress values on products, for each part of the points from all other parts.

    Parameters
    ----------
    grams : ndarray, shape (parts, m)
        The packed Gram matrix of each part.
    terms, outputs : int
    sizes : sequence of int
        Numbers of the first products that are used.

    Returns
    -------
    left : ndarray, shape (sizes, outputs)
        Sums of squared residuals out of sample.
    coefficients : ndarray, shape (sizes, parts, terms, outputs)
        0 beyond the size.

    Raises
    ------
    NumericalError
        If the points do not determine the coefficients.
    """
    left, coefficients = _core.polynomial_folds(
        np.ascontiguousarray(grams).reshape(-1), terms, outputs, list(sizes), get_num_threads()
    )
    shape = (len(sizes), len(grams), terms, outputs)
    return left.reshape(len(sizes), outputs), coefficients.reshape(shape)


@dataclass(frozen=True)
class Variances:
    """The variances of sums and their parts: first-order, total, and second-order.

    The shapes are (parts, K), (parts, d, K), (parts, d, K) and (parts, d, d, K).
    """

    whole: Array
    first: Array
    total: Array
    pairs: Array


def ranked_terms(shares: Array, bounded: Sequence[bool], most: int) -> tuple[Term, ...]:
    """Return products in the order of their benefit for their cost, the constant first.

    Parameters
    ----------
    shares : ndarray, shape (d,)
        A rough total index of each coordinate. Coordinates with small indices count as of higher
        degree.
    bounded : sequence of bool, length d
        Which coordinates are bounded. In unbounded coordinates, polynomials of high degree follow
        the points so closely that the residual lies beyond all points, where no error bar shows it.
    most : int
        The largest number of products.
    """
    top = max(float(shares.max(initial=0.0)), 1e-300)
    extra = 0.5 * np.log2(top / np.maximum(shares, top * 2.0**-16))
    extra = np.minimum(extra, _LEAST_COST)
    order = [int(i) for i in np.argsort(extra, kind="stable")]
    bound = 4.0
    while True:
        terms = _affordable(order, extra, bounded, bound)
        if len(terms) >= most - 1 or bound > 3 * (DEGREE + _LEAST_COST):
            return ((), *terms[: most - 1])
        bound += 2.0


def _affordable(
    order: list[int], extra: Array, bounded: Sequence[bool], bound: float
) -> list[Term]:
    """Return the products that cost no more than a bound, the cheapest first."""
    priced: list[tuple[float, int, Term]] = []

    def degrees(cost: float, whole: int, *places: int) -> range:
        """Return the degrees of one more factor."""
        most = DEGREE if all(bounded[i] for i in places) else TAIL_DEGREE
        return range(1, max(min(most - whole, math.floor(bound - cost)), 0) + 1)

    def add(cost: float, *term: tuple[int, int]) -> None:
        priced.append((cost, len(priced), tuple(sorted(term))))

    for i in order:
        for e in degrees(extra[i], 0, i):
            add(e + extra[i], (i, e))
        if bounded[i] and _SPLINE_COST + extra[i] <= bound:
            for k in range(len(KNOTS)):
                add(_SPLINE_COST + extra[i], (i, 1 + DEGREE + k))
    for i, j in combinations(order[:_PAIRS], 2):
        cost = _FACTOR_COST + extra[i] + extra[j]
        for e in degrees(cost + 1, 1, i, j):
            for f in degrees(cost + e, e, i, j):
                add(cost + e + f, (i, e), (j, f))
    for i, j, k in combinations(order[:_TRIPLES], 3):
        cost = 2 * _FACTOR_COST + extra[i] + extra[j] + extra[k]
        for e in degrees(cost + 2, 2, i, j, k):
            for f in degrees(cost + e + 1, e + 1, i, j, k):
                for g in degrees(cost + e + f, e + f, i, j, k):
                    add(cost + e + f + g, (i, e), (j, f), (k, g))
    priced.sort()
    return [term for _, _, term in priced]
