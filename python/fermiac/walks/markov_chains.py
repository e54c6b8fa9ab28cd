"""Markov chains on the nodes and on the directed edges of a graph, as transition matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fermiac.errors import ArgumentError

if TYPE_CHECKING:
    from fermiac.walks.graph import Graph

__all__ = ["Chain", "EdgeChain", "NodeChain", "metropolis"]

Array = NDArray[np.float64]


def metropolis(density: Array, rows: NDArray[Any], columns: NDArray[Any]) -> Array:
    """Return the Metropolis acceptance of a move along each edge."""
    return np.asarray(np.minimum(1.0, density[columns] / density[rows]))


class NodeChain:
    """A reversible chain on the nodes: its transition matrix and its stationary law mu."""

    def __init__(self, matrix: Any, mu: Array) -> None:
        self.matrix = matrix
        self.mu = self.law = mu
        self.n_nodes = self.n_states = len(mu)

    @classmethod
    def of_moves(
        cls,
        moves: Array,
        rows: NDArray[Any],
        columns: NDArray[Any],
        mu: Array,
        laziness: float,
        always_moves: bool,
    ) -> Self:
        """Return the chain with these probabilities of moves along edges; it stays otherwise."""
        away, n = rows != columns, len(mu)
        matrix = sparse.csr_array((moves[away], (rows[away], columns[away])), shape=(n, n))
        stay = np.maximum(1.0 - np.asarray(matrix.sum(axis=1)).reshape(-1), 0.0)
        if always_moves:
            # Only loops make it stay; any other deficit of the sums is rounding.
            stay = np.bincount(rows[~away], moves[~away], n)
        stay = laziness + (1.0 - laziness) * stay
        matrix = sparse.csr_array((1.0 - laziness) * matrix + sparse.diags_array(stay))
        matrix.eliminate_zeros()
        return cls(matrix, mu)

    def of_states(self, values: Array) -> Array:
        """Return values of nodes as values of states, which are the nodes."""
        return values

    def symmetric(self) -> Any:
        """Return the symmetric matrix D^(1/2) P D^(-1/2), where D = diag(mu), similar to P."""
        root = np.sqrt(self.mu)
        scaled = sparse.diags_array(root) @ self.matrix @ sparse.diags_array(1.0 / root)
        return sparse.csr_array(0.5 * (scaled + scaled.T))


class EdgeChain:
    """A chain on directed edges: Metropolis with delayed acceptance, or non-backtracking.

    A state is a directed edge: from the previous node to the current one. Slots of the arrays stand
    for the edges in the order of the graph's rows. Let A be the acceptances of the Metropolis walk.
    The jumps (the steps that move) from the edge (j, i) have probabilities that depend only on its
    reverse (i, j). After a reversal of the edges, they are reversible with respect to the law mu_i
    A_ij / d_i. The walk stays for a geometric time whose mean depends only on the node. With
    acceptances of 1 it is the non-backtracking walk.
    """

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
        # The slots of each node in the order of falling acceptance, for sums over those with a
        # larger one. Equal acceptances may count as larger: their ratio is 1.
        self._sorted = np.lexsort((-accept, rows))
        self._place = np.empty(len(rows), dtype=np.int64)
        self._place[self._sorted] = np.arange(len(rows))
        self._shares = self._balance(np.ones(len(rows)))

    @classmethod
    def of_graph(cls, graph: Graph, mu: Array, laziness: float) -> Self:
        """Return the chain on a graph with the stationary law mu of the nodes."""
        indptr = np.asarray(graph.indptr, dtype=np.int64)
        columns = np.asarray(graph.indices, dtype=np.int64)
        rows = np.repeat(np.arange(graph.n_nodes), graph.degrees)
        accept = metropolis(mu / graph.degrees, rows, columns)
        return cls(indptr, columns, mu, accept, laziness)

    @property
    def n_states(self) -> int:
        """The number of directed edges."""
        return len(self._rows)

    def of_states(self, values: Array) -> Array:
        """Return values of nodes as values of states, by the node where the walk is."""
        return values[self._columns]

    @property
    def law(self) -> Array:
        """The stationary law of the states."""
        return (1.0 - self.eps) * self.flow * self.of_states(self.holding)

    def _balance(self, g: Array) -> Array:
        """Return the sums of min(A_r, A_k)² g_k over the slots k of the node of each slot r."""
        weighted = self.accept**2 * g
        # In extended precision: the sums run over all nodes, and their differences are needed.
        more = np.concatenate([[0.0], np.cumsum(g[self._sorted], dtype=np.longdouble)])
        less = np.concatenate([[0.0], np.cumsum(weighted[self._sorted], dtype=np.longdouble)])
        place, first = self._place, self._indptr[self._rows]
        last = self._indptr[self._rows + 1]
        above = (more[place + 1] - more[first]).astype(np.float64)
        below = (less[last] - less[place + 1]).astype(np.float64)
        return np.asarray(self.accept**2 * above + below)

    def jump_back(self, g: Array) -> Array:
        """Return the mean of g after a jump from the reverse of each edge."""
        total = np.add.reduceat(self.accept * g, self._indptr[:-1])
        turned = (self._balance(g) - self._shares * g) * self._others / self.accept
        return np.asarray((total[self._rows] + turned) / (self._degree * self._leave[self._rows]))

    def jumps(self) -> Any:
        """Return the sparse matrix of the jumps, one entry for each pair of edges at a node."""
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
        # If a walk cannot go back, any remainder is rounding.
        value[own & (value < 1e-12)] = 0.0
        size = (self.n_states, self.n_states)
        matrix = sparse.csr_array((value, (self.reverse[r], k)), shape=size)
        matrix.eliminate_zeros()
        return matrix

    @property
    def matrix(self) -> Any:
        """The sparse transition matrix of the states."""
        move = 1.0 / self.of_states(self.holding)
        return sparse.csr_array(
            sparse.diags_array(move) @ self.jumps() + sparse.diags_array(1.0 - move)
        )


Chain: TypeAlias = NodeChain | EdgeChain
