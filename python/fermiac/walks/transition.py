"""The base chains as transition matrices, with their stationary laws."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from fermiac.errors import ArgumentError
from fermiac.walks.chains import MTM, Base, Node2Vec, base_of, inner_of, takes_target
from fermiac.walks.conversions import as_graph
from fermiac.walks.edge_chain import EdgeChain
from fermiac.walks.multiple_try import acceptances
from fermiac.walks.node_functions import NodeFunction, NodeFunctionLike
from fermiac.walks.visit_law import require_target

__all__ = ["Chain", "NodeChain", "Weights", "chain_of", "node_values"]

Array = NDArray[np.float64]
Weights: TypeAlias = "str | NodeFunctionLike | None"


class NodeChain:
    """A reversible chain on the nodes: its transition matrix and its stationary law mu."""

    reversible = True

    def __init__(self, matrix: Any, mu: Array) -> None:
        self.matrix = matrix
        self.mu = self.law = mu
        self.n_nodes = self.n_states = len(mu)

    def of_states(self, values: Array) -> Array:
        """The values of nodes: the states are the nodes."""
        return values

    def symmetric(self) -> Any:
        """The symmetric matrix D^(1/2) P D^(-1/2), D the diagonal of mu, similar to P."""
        root = np.sqrt(self.mu)
        scaled = sparse.diags_array(root) @ self.matrix @ sparse.diags_array(1.0 / root)
        return sparse.csr_array(0.5 * (scaled + scaled.T))


Chain: TypeAlias = NodeChain | EdgeChain


def chain_of(graph: Any, base: Base, weights: Weights = None, kernel: str = "none") -> Chain:
    """The base chain on the graph, checked: one component, edges in both directions.

    Parameters
    ----------
    graph : graph
        As `asymptotic_variance` takes it.
    base : str, Lazy or MTM
        The base chain.
    weights : None, "degree", array (n_nodes,) or callable
        The target.
    kernel : str
        What the chain is for: self-repellence needs a chain that is reversible.
    """
    base = base_of(base)
    if isinstance(base, Node2Vec):
        raise ArgumentError(
            "base: the law of node2vec has no closed form, so that its theory is not defined; "
            "take another base, or the spread of independent walks"
        )
    g = as_graph(graph)
    g._check_rows()
    inner, eps = inner_of(base)
    _symmetric(g, inner == "weighted", kernel)
    if kernel == "srrw" and inner in ("mhda", "nbrw"):
        i, j = _directed_edge(g)
        raise ArgumentError(
            f"base: {inner!r} is not reversible (from node {i} it seldom goes back to the node "
            f"{j} that it came from, over the edge ({i}, {j})), and kernel='srrw' needs a base that"
            " is; take kernel='hdt', or the base 'mhrw' or 'srw'"
        )
    _connected(g)
    mu = _target(g, base, weights)
    rows = np.repeat(np.arange(g.n_nodes), g.degrees)
    columns = np.asarray(g.indices, dtype=np.int64)
    if inner in ("mhda", "nbrw"):
        accept = _metropolis(mu / g.degrees, rows, columns)
        return EdgeChain(np.asarray(g.indptr, dtype=np.int64), columns, mu, accept, eps)
    moves = _moves(g, inner, mu, rows, columns)
    away = rows != columns
    size = (g.n_nodes, g.n_nodes)
    matrix = sparse.csr_array((moves[away], (rows[away], columns[away])), shape=size)
    stay = np.maximum(1.0 - np.asarray(matrix.sum(axis=1)).reshape(-1), 0.0)
    if inner in ("srw", "weighted"):
        # Loops alone make them stay; what the sums lack else is rounding.
        stay = np.bincount(rows[~away], moves[~away], g.n_nodes)
    matrix = (1.0 - eps) * matrix + sparse.diags_array(eps + (1.0 - eps) * stay)
    matrix = sparse.csr_array(matrix)
    matrix.eliminate_zeros()
    return NodeChain(matrix, mu)


def _metropolis(density: Array, rows: NDArray[Any], columns: NDArray[Any]) -> Array:
    return np.asarray(np.minimum(1.0, density[columns] / density[rows]))


def _moves(g: Any, inner: Base, mu: Array, rows: NDArray[Any], columns: NDArray[Any]) -> Array:
    """The probabilities to move along every edge; what they lack is the probability to stay."""
    uniform: Array = 1.0 / g.degrees[rows]
    if inner == "srw":
        return uniform
    if inner == "weighted":
        if g.weights is None:
            return uniform
        edge_weights = np.asarray(g.weights, dtype=np.float64)
        return np.asarray(edge_weights / np.bincount(rows, edge_weights, g.n_nodes)[rows])
    if inner == "maxdeg":
        return np.asarray(_metropolis(mu, rows, columns) / g.degrees.max())
    density = mu / g.degrees
    if inner == "mhrw":
        return np.asarray(uniform * _metropolis(density, rows, columns))
    if inner == "barker":
        return np.asarray(uniform * density[columns] / (density[rows] + density[columns]))
    assert isinstance(inner, MTM)
    return np.asarray(uniform * acceptances(g.indptr, rows, columns, density, inner))


def _target(g: Any, base: Base, weights: Weights) -> Array:
    """The stationary law, normalised."""
    if not takes_target(base):
        if weights is not None:
            raise ArgumentError(
                f"weights: given with base={base!r}, whose law is that of the degrees (of the "
                "strengths, if weighted) and cannot be chosen; leave them out, or take the base "
                "'mhrw' or 'mhda'"
            )
        by_strength = inner_of(base)[0] == "weighted" and g.weights is not None
        mu = np.asarray(g.strengths if by_strength else g.degrees, dtype=np.float64)
        return np.asarray(mu / mu.sum())
    if weights is None:
        return np.full(g.n_nodes, 1.0 / g.n_nodes)
    require_target(base)
    if isinstance(weights, str):
        if weights != "degree":
            raise ArgumentError(
                f"weights: {weights!r:.60} was given; None, 'degree', an array or a callable is "
                "needed"
            )
        return np.asarray(g.degrees / g.degrees.sum(), dtype=np.float64)
    values = node_values("weights", weights, g.n_nodes)
    if values.ndim > 1:
        raise ArgumentError(
            f"weights: shape {values.shape} was given; ({g.n_nodes},) is needed, one for each node"
        )
    if not (values > 0).all():
        at = int(np.argmin(values > 0))
        raise ArgumentError(
            f"weights: {values[at]:g} was given at node {at}; positive, finite numbers are needed"
        )
    values = values / values.max()
    return np.asarray(values / values.sum())


def node_values(name: str, f: Any, n_nodes: int) -> Array:
    """The values of a function of the nodes, shape (n_nodes,) or (n_nodes, k), finite."""
    function = NodeFunction(name, f, n_nodes)
    values = function.at(np.arange(n_nodes))
    return values[:, 0] if function.scalar else values


def _pattern(g: Any, with_weights: bool = False) -> Any:
    """The adjacency matrix."""
    entries = np.asarray(g.weights, float) if with_weights else np.ones(len(g.indices))
    columns = np.asarray(g.indices, dtype=np.int64)
    return sparse.csr_array((entries, columns, g.indptr), shape=(g.n_nodes, g.n_nodes))


def _directed_edge(g: Any) -> tuple[int, int]:
    i = int(np.argmax(g.degrees))
    return i, int(g.indices[g.indptr[i]])


def _symmetric(g: Any, weighted: bool, kernel: str) -> None:
    """Refuse a graph with an edge whose reverse is missing, or has another weight."""
    weighted = weighted and g.weights is not None
    if not (g.directed or weighted):
        return
    matrix = _pattern(g, weighted)
    matrix.sum_duplicates()
    difference = sparse.coo_array(abs(matrix - matrix.T) - 1e-9 * (matrix + matrix.T))
    worst = np.flatnonzero(difference.data > 0)
    if len(worst):
        at = worst[0]
        i, j = int(difference.row[at]), int(difference.col[at])
        there, back = float(matrix[i, j]), float(matrix[j, i])
        advice = (
            "; take kernel='hdt' with the base 'mhrw' or 'mhda', which ignore the weights"
            if kernel == "srrw" and weighted and there > 0 < back
            else ""
        )
        raise ArgumentError(
            f"graph: the edge ({i}, {j}) has weight {there:g}, its reverse {back:g}; the chain is "
            f"reversible, and its law known, only where the two are equal: make the graph "
            f"undirected{advice}"
        )


def _connected(g: Any) -> None:
    """Refuse a graph of several components."""
    count, labels = csgraph.connected_components(_pattern(g), directed=False)
    if count > 1 or g.degrees.min() == 0:
        sizes = np.sort(np.bincount(labels))[::-1]
        shown = ", ".join(map(str, sizes[:8])) + (", …" if count > 8 else "")
        raise ArgumentError(
            f"graph: {count} component{'s' if count > 1 else ''} of {shown} nodes, so that a "
            "walk's average depends on where it starts (a node without edges cannot be walked "
            "on); take one component, the largest for instance"
        )
