"""Walks that remember where they came from, as chains on the directed edges of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fermiac.errors import ArgumentError

__all__ = ["EdgeChain"]

Array = NDArray[np.float64]


class EdgeChain:
    """The Metropolis walk with delayed acceptance, and the walk that does not go back.

    A state is a directed edge: the node before, and the node of now. Slots of the arrays stand for
    the edges in the order of the graph's rows. With the acceptances A of the Metropolis walk, the
    jumps (the steps that are no stay) from the edge (j, i) have probabilities that depend on its
    reverse (i, j) alone; they are reversible with respect to the law mu_i A_ij / d_i of edges after
    edges are reversed. The walk stays a geometric time whose mean depends on the node alone. All
    acceptances being 1, it is the walk that does not go back.
    """

    reversible = False

    def __init__(
        self, indptr: NDArray[Any], indices: NDArray[Any], mu: Array, accept: Array, eps: float
    ) -> None:
        degrees = np.diff(indptr)
        rows = np.repeat(np.arange(len(mu)), degrees)
        columns = indices.astype(np.int64)
        by_row = np.lexsort((columns, rows))
        twin = (np.diff(rows[by_row]) == 0) & (np.diff(columns[by_row]) == 0)
        if twin.any():
            at = by_row[int(np.argmax(twin))]
            raise ArgumentError(
                f"graph: parallel edges between the nodes {rows[at]} and {columns[at]}; a walk "
                "that does not go back is defined where there is one edge at most: merge them"
            )
        self.n_nodes = len(mu)
        self.mu = mu
        self.accept = accept
        self.reverse = np.empty(len(rows), dtype=np.int64)
        self.reverse[by_row] = np.lexsort((rows, columns))
        self._indptr, self._rows, self._columns = indptr, rows, columns
        self._degree = degrees[rows]
        self._others = np.where(self._degree > 1, 1.0 / np.maximum(self._degree - 1, 1), 0.0)
        leave = np.add.reduceat(accept, indptr[:-1]) / degrees
        self.holding = 1.0 / ((1.0 - eps) * leave)
        self.eps = eps
        self.flow = mu[rows] * accept / self._degree
        self._leave = leave
        # Within a node the slots by falling acceptance, for sums over those that accept more; equal
        # acceptances count as more, which changes nothing: their ratio is 1.
        self._sorted = np.lexsort((-accept, rows))
        self._place = np.empty(len(rows), dtype=np.int64)
        self._place[self._sorted] = np.arange(len(rows))
        self._shares = self._balance(np.ones(len(rows)))

    @property
    def n_states(self) -> int:
        """How many directed edges there are."""
        return len(self._rows)

    def of_states(self, values: Array) -> Array:
        """The values of nodes, at the edges' heads: where the walk is."""
        return values[self._columns]

    @property
    def law(self) -> Array:
        """The stationary law of the states."""
        return (1.0 - self.eps) * self.flow * self.of_states(self.holding)

    def _balance(self, g: Array) -> Array:
        """The sums of min(A_r, A_k)² g_k over the slots k of the node of each slot r."""
        weighted = self.accept**2 * g
        # Extended, since the sums run on from node to node, and differences are what is needed.
        more = np.concatenate([[0.0], np.cumsum(g[self._sorted], dtype=np.longdouble)])
        less = np.concatenate([[0.0], np.cumsum(weighted[self._sorted], dtype=np.longdouble)])
        place, first = self._place, self._indptr[self._rows]
        last = self._indptr[self._rows + 1]
        above = (more[place + 1] - more[first]).astype(np.float64)
        below = (less[last] - less[place + 1]).astype(np.float64)
        return np.asarray(self.accept**2 * above + below)

    def jump_back(self, g: Array) -> Array:
        """Average g after a jump from the reverse of every edge."""
        total = np.add.reduceat(self.accept * g, self._indptr[:-1])
        turned = (self._balance(g) - self._shares * g) * self._others / self.accept
        return np.asarray((total[self._rows] + turned) / (self._degree * self._leave[self._rows]))

    def jumps(self) -> Any:
        """The matrix of the jumps, sparse: as many entries as there are pairs of edges at nodes."""
        degrees = np.diff(self._indptr)
        # Pairs (r, k) of slots of one node.
        r = np.repeat(np.arange(self.n_states), self._degree)
        first = np.repeat(np.cumsum(self._degree) - self._degree, self._degree)
        k = self._indptr[self._rows[r]] + np.arange(len(r)) - first
        a_r, a_k = self.accept[r], self.accept[k]
        share = np.minimum(a_r, a_k) ** 2 / a_r * self._others[r]
        value = a_k + share
        own = r == k
        value[own] -= (self._shares * self._others / self.accept)[r[own]]
        value /= (degrees * self._leave)[self._rows[r]]
        # A walk that cannot go back has rounding errors there, no probability.
        value[own & (value < 1e-12)] = 0.0
        size = (self.n_states, self.n_states)
        matrix = sparse.csr_array((value, (self.reverse[r], k)), shape=size)
        matrix.eliminate_zeros()
        return matrix

    @property
    def matrix(self) -> Any:
        """The transition matrix of the states, sparse."""
        move = 1.0 / self.of_states(self.holding)
        return sparse.csr_array(
            sparse.diags_array(move) @ self.jumps() + sparse.diags_array(1.0 - move)
        )
