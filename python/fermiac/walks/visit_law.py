"""Laws of the nodes: the stationary law of a walk, and the pseudo-counts of its history."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import numbers, require, shown
from fermiac.errors import ArgumentError
from fermiac.walks.labels import lookup
from fermiac.walks.node_functions import NodeFunction

if TYPE_CHECKING:
    from fermiac.walks.chains import BaseChain
    from fermiac.walks.graph import Graph

__all__ = ["Law", "core_law", "law_of", "prior_of", "refused_target"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """A law of the nodes that walks may visit, up to a factor."""

    graph: Graph
    #: The nodes that walks may visit; None: all.
    allowed: NDArray[np.bool_] | None
    #: "uniform", "degree" or "table".
    kind: str
    #: The weights of a table.
    table: Array | None = None

    @cached_property
    def weights(self) -> Array | None:
        """The weights of all nodes, 0 for nodes that walks cannot reach; None if all are equal."""
        if self.kind == "uniform":
            return None if self.allowed is None else self.allowed.astype(np.float64)
        weights = self.graph._degree_weights if self.table is None else self.table
        return weights if self.allowed is None else np.where(self.allowed, weights, 0.0)

    @property
    def shares(self) -> Array:
        """The law, normalised."""
        if self.weights is None:
            return np.full(self.graph.n_nodes, 1.0 / self.graph.n_nodes)
        return np.asarray(self.weights / self.weights.sum())

    @property
    def n_nodes(self) -> int:
        """The number of nodes that walks may visit."""
        return self.graph.n_nodes if self.allowed is None else int(self.allowed.sum())


def law_of(
    graph: Graph, base: BaseChain, weights: Any, allowed: NDArray[np.bool_] | None = None
) -> Law:
    """Return the law of a base chain: its own law, or the given target."""
    own = base.law(graph, allowed)
    if own is not None:
        if weights is not None:
            raise refused_target(base)
        return own
    if weights is None:
        return Law(graph, allowed, "uniform")
    if isinstance(weights, str):
        if weights != "degree":
            raise ArgumentError(
                f"weights: {shown(weights)} was given; None, 'degree', an array or a callable is "
                "needed"
            )
        return Law(graph, allowed, "degree")
    return Law(graph, allowed, "table", _table(weights, graph, allowed))


def refused_target(base: BaseChain) -> ArgumentError:
    """Return the error of a target for a chain with a law of its own."""
    return ArgumentError(
        f"weights: given with base={base.spec!r}, whose law is {base.own_law} and cannot be "
        "chosen; leave them out, or take the base 'mhrw' or 'mhda'"
    )


def _table(given: Any, graph: Graph, allowed: NDArray[np.bool_] | None) -> Array:
    """Return positive weights, the largest of which is 1."""
    n_nodes = graph.n_nodes
    nodes = np.arange(n_nodes) if allowed is None else np.flatnonzero(allowed)
    found = NodeFunction("weights", given, n_nodes, graph._node_labels)
    values = found.at(nodes)
    if not found.scalar:
        raise ArgumentError(
            f"weights: {values.shape[1]} columns were given; an array of shape ({n_nodes},) is "
            "needed, one number for each node"
        )
    bad = np.flatnonzero(~(values[:, 0] > 0))
    if bad.size:
        raise ArgumentError(
            f"weights: {values[bad[0], 0]:g} was given at node {found.label(nodes[bad[0]])}; "
            "positive, finite numbers are needed; to keep walks off a node, take it out of the "
            "graph"
        )
    out = np.ones(n_nodes)
    # A common power of two does not change how the quotients are rounded.
    out[nodes] = values[:, 0] / values.max()
    return out


def prior_of(law: Law, given: Any) -> Array | None:
    """Return the pseudo-counts of histories by node; None for 1 everywhere."""
    graph = law.graph
    if isinstance(given, str):
        if given not in ("target", "uniform", "degree"):
            raise ArgumentError(
                f"pseudo_counts: {shown(given)} was given; 'target', 'uniform', 'degree' or an "
                "array is needed"
            )
        if given == "uniform" or (given == "target" and law.kind == "uniform"):
            return None
        of = law if given == "target" else Law(graph, law.allowed, "degree")
        if of.kind == "degree" and of.allowed is None:
            return graph._degree_counts
        shape = of.weights
        assert shape is not None
        shape = law.n_nodes * shape / shape.sum()
        return shape if law.allowed is None else np.where(law.allowed, shape, 1.0)
    by_label = lookup("pseudo_counts", given)
    counts = numbers("pseudo_counts", given if by_label is None else by_label(graph.nodes))
    if counts.shape != (graph.n_nodes,):
        raise ArgumentError(
            f"pseudo_counts: an array of shape {counts.shape} was given; ({graph.n_nodes},) is "
            "needed, one number for each node"
        )
    require("pseudo_counts", counts, (counts > 0) & np.isfinite(counts), "they must be positive")
    return np.ascontiguousarray(counts)


def core_law(
    law: Law | None, prior: Array | None, needs_shares: bool, named: str
) -> dict[str, Any]:
    """Return the core's settings of a law and of pseudo-counts.

    `needs_shares` means that steps compare visits with the shares of the law, which must then sum
    to 1 over the nodes that walks may visit.
    """
    if law is None:  # no step uses it
        return _settings("uniform", 1.0, 1.0, 1.0)
    graph, allowed, n = law.graph, law.allowed, law.n_nodes
    if law.kind == "uniform" and prior is None and not (needs_shares and allowed is not None):
        return _settings("uniform", 1.0, float(graph.n_nodes), float(n))
    if law.kind == "degree":
        degrees = graph.degrees if allowed is None else graph.degrees[allowed]
        total = float(degrees.sum())
        if named in ("target", "degree"):
            return _settings("degree", n / total, total, float(n))
        if prior is not None:
            counts = prior if allowed is None else prior[allowed]
            each = counts / degrees
            # Steps towards degrees are much faster where pseudo-counts are in proportion to them.
            if np.ptp(each) <= 4.0 * np.finfo(np.float64).eps * each[0]:
                return _settings("degree", float(each[0]), total, float(counts.sum()))
    weights = law.weights
    weights = np.ones(graph.n_nodes) if weights is None else weights
    if allowed is not None:
        # Weights of nodes out of reach must be positive and add nothing.
        weights = np.where(allowed, weights, 1e-200 * weights.max())
    counts = np.ones(graph.n_nodes) if prior is None else prior
    total = float(counts.sum() if allowed is None else counts[allowed].sum())
    return {**_settings("table", 0.0, 0.0, total), "weights": weights, "pseudo": counts}


def _settings(kind: str, pseudo: float, total: float, pseudo_total: float) -> dict[str, Any]:
    return {
        "target": (kind, pseudo, total),
        "weights": None,
        "pseudo": None,
        "pseudo_total": pseudo_total,
    }
