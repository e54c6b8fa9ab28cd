"""Base chains on a graph as transition matrices, checked: symmetric edges, one component."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from fermiac.errors import ArgumentError
from fermiac.walks.chains import CHAINS, Base
from fermiac.walks.conversions import as_graph
from fermiac.walks.graph import Graph
from fermiac.walks.kernels import HistoryKernel, Plain
from fermiac.walks.markov_chains import Chain, EdgeChain, NodeChain
from fermiac.walks.node_functions import NodeFunction, NodeFunctionLike
from fermiac.walks.visit_law import law_of

__all__ = ["Chain", "EdgeChain", "NodeChain", "Weights", "chain_of", "node_values"]

Array = NDArray[np.float64]
Weights: TypeAlias = "str | NodeFunctionLike | None"


def chain_of(
    graph: Any, base: Base, weights: Weights = None, kernel: HistoryKernel | None = None
) -> Chain:
    """Return the base chain on the graph, checked: one component, edges in both directions.

    Parameters
    ----------
    graph : graph
        As for `asymptotic_variance`.
    base : str or base chain
        The base chain.
    weights : None, "degree", array (n_nodes,) or callable
        The target.
    kernel : HistoryKernel, optional
        The kernel that uses the chain; one that scans neighbours needs a reversible chain.
    """
    kernel, chain = kernel or Plain(), CHAINS.resolve(base)
    if not chain.has_closed_law:
        raise ArgumentError(
            f"base: the law of {chain.name} has no closed form, so that its theory is not defined; "
            "take another base, or the spread of independent walks"
        )
    g = as_graph(graph)
    g._check_rows()
    _check_symmetric(g, chain.uses_weights, kernel.scans)
    if kernel.scans and not chain.reversible:
        i = int(np.argmax(g.degrees))
        j = int(g.indices[g.indptr[i]])
        raise ArgumentError(
            f"base: {chain.inner.name!r} is not reversible (from node {i} it seldom goes back to "
            f"the node {j} that it came from, over the edge ({i}, {j})), and kernel="
            f"{kernel.name!r} needs a base that is; take kernel='hdt', or the base 'mhrw' or 'srw'"
        )
    _check_connected(g)
    return chain.transition(g, law_of(g, chain, weights))


def node_values(name: str, f: Any, graph: Graph) -> Array:
    """Return the finite values of a function of all nodes, (n_nodes,) or (n_nodes, k)."""
    function = NodeFunction(name, f, graph.n_nodes, graph._node_labels)
    values = function.at(np.arange(graph.n_nodes))
    return values[:, 0] if function.scalar else values


def _adjacency(g: Graph, with_weights: bool = False) -> Any:
    """Return the adjacency matrix."""
    entries = np.asarray(g.weights, float) if with_weights else np.ones(len(g.indices))
    columns = np.asarray(g.indices, dtype=np.int64)
    return sparse.csr_array((entries, columns, g.indptr), shape=(g.n_nodes, g.n_nodes))


def _check_symmetric(g: Graph, weighted: bool, scans: bool) -> None:
    """Refuse a graph with an edge whose reverse is missing, or has another weight."""
    weighted = weighted and g.weights is not None
    if not (g.directed or weighted):
        return
    matrix = _adjacency(g, weighted)
    matrix.sum_duplicates()
    difference = sparse.coo_array(abs(matrix - matrix.T) - 1e-9 * (matrix + matrix.T))
    worst = np.flatnonzero(difference.data > 0)
    if len(worst):
        at = worst[0]
        i, j = int(difference.row[at]), int(difference.col[at])
        there, back = float(matrix[i, j]), float(matrix[j, i])
        advice = (
            "; take kernel='hdt' with the base 'mhrw' or 'mhda', which ignore the weights"
            if scans and weighted and there > 0 < back
            else ""
        )
        raise ArgumentError(
            f"graph: the edge ({i}, {j}) has weight {there:g}, its reverse {back:g}; the chain is "
            f"reversible, and its law known, only where the two are equal: make the graph "
            f"undirected{advice}"
        )


def _check_connected(g: Graph) -> None:
    """Refuse a graph of several components."""
    count, labels = csgraph.connected_components(_adjacency(g), directed=False)
    if count > 1 or g.degrees.min() == 0:
        sizes = np.sort(np.bincount(labels))[::-1]
        shown = ", ".join(map(str, sizes[:8])) + (", …" if count > 8 else "")
        raise ArgumentError(
            f"graph: {count} component{'s' if count > 1 else ''} of {shown} nodes, so that a "
            "walk's average depends on where it starts (a node without edges cannot be walked "
            "on); take one component, the largest for instance"
        )
