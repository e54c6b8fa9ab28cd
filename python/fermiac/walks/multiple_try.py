"""Exact acceptances of multiple-try Metropolis, by enumeration."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError

__all__ = ["acceptances"]

Array = NDArray[np.float64]

#: The most atoms of discrete laws, and the most edges, which take a few seconds.
_ATOMS = 4_000_000
_EDGES = 200_000


def acceptances(
    indptr: NDArray[Any],
    rows: NDArray[Any],
    columns: NDArray[Any],
    density: Array,
    n_tries: int,
    by_root: bool,
) -> Array:
    """Return d_i times the probability that a step goes from i to j, for every edge.

    `density` is the target divided by the degrees, and R its ratio between two nodes. With the
    balance h, the neighbours y of i and the references x of j, the step goes to j with probability
    (K / d_i) h(R(i, j)) E[1 / max(S, S')]. Here S is h(R(i, j)) plus the sum of K - 1 terms h(R(i,
    y)), and S' is h(R(j, i)) plus the sum of K - 1 terms h(R(j, x)). They have independent discrete
    laws.
    """
    ratio = density[columns] / density[rows]
    h = np.sqrt(ratio) if by_root else ratio / (1.0 + ratio)
    if len(rows) > _EDGES:
        raise _too_much(f"{len(rows)} directed edges", f"{_EDGES} at most")
    laws = []
    left = _ATOMS
    for start, end in pairwise(indptr):
        law, left = _sums(h[start:end], n_tries - 1, left)
        laws.append(law)
    # One direction of each edge; detailed balance gives the other.
    there = np.flatnonzero(rows < columns)
    back = np.lexsort((rows, columns))
    back = back[rows[back] > columns[back]]
    there = there[np.lexsort((columns[there], rows[there]))]
    result = np.zeros(len(rows))
    for e, r in zip(there, back, strict=True):
        (s, p), (t, q) = laws[rows[e]], laws[columns[e]]
        s, t = s + h[e], t + h[r]
        below = np.concatenate([[0.0], np.cumsum(q)])[np.searchsorted(t, s, side="right")]
        above = np.concatenate([[0.0], np.cumsum(p)])[np.searchsorted(s, t, side="left")]
        mean = np.sum(p / s * below) + np.sum(q / t * above)
        result[e] = n_tries * h[e] * mean
        result[r] = result[e] * density[rows[e]] / density[columns[e]]
    return result


def _sums(values: Array, n: int, left: int) -> tuple[tuple[Array, Array], int]:
    """Return the law of the sum of n values drawn with replacement, and the unused atoms."""
    at, counts = np.unique(values, return_counts=True)
    single = counts / len(values)
    where: Array = np.zeros(1)
    mass: Array = np.ones(1)
    for _ in range(n):
        left -= len(where) * len(at)
        if left < 0:
            raise _too_much("the sums of their weights", f"{_ATOMS} in all at most")
        where, back = np.unique(np.add.outer(where, at), return_inverse=True)
        products = np.multiply.outer(mass, single).reshape(-1)
        mass = np.bincount(back.reshape(-1), products).astype(np.float64)
    return (where, mass), left


def _too_much(given: str, needed: str) -> ArgumentError:
    return ArgumentError(
        f"base: the exact matrix of MTM enumerates all tries, here {given}; {needed}; take fewer "
        "tries or a smaller graph, the base 'barker' as a bound, or the spread of independent walks"
    )
