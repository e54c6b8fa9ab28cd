"""The law that walkers are to visit nodes by, and the counts that their histories begin with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import numbers, require
from fermiac.errors import ArgumentError
from fermiac.walks.chains import Base, inner_of, takes_target
from fermiac.walks.graph import Graph
from fermiac.walks.node_functions import NodeFunction

__all__ = ["Law", "law_of", "prior_of", "require_target", "targets"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """A law of the nodes, up to a factor, where walks may go."""

    graph: Graph
    #: Where walks may go; None: everywhere.
    allowed: NDArray[np.bool_] | None
    #: "uniform", "degree" or "table".
    kind: str
    #: The weights of a table.
    table: Array | None = None

    @cached_property
    def weights(self) -> Array | None:
        """The weights of all nodes, 0 where walks cannot go; None where all are the same."""
        if self.kind == "uniform":
            return None if self.allowed is None else self.allowed.astype(np.float64)
        weights = self.graph.degrees.astype(np.float64) if self.table is None else self.table
        return weights if self.allowed is None else np.where(self.allowed, weights, 0.0)

    @property
    def n_nodes(self) -> int:
        """Nodes where walks may go."""
        return self.graph.n_nodes if self.allowed is None else int(self.allowed.sum())


def law_of(graph: Graph, base: Base, weights: Any, allowed: NDArray[np.bool_] | None) -> Law:
    """The law of a base chain, or the one that it is given."""
    inner = inner_of(base)[0]
    if not takes_target(base):
        if weights is not None:
            raise ArgumentError(
                f"weights: given with base={base!r}, whose law is that of the degrees (of the "
                "strengths, if weighted) and cannot be chosen; leave them out, or take the base "
                "'mhrw' or 'mhda'"
            )
        if inner == "weighted":
            if not np.isfinite(graph.strengths.max()):
                raise ArgumentError(
                    "graph: the weights of the edges of a node add up to infinity; give weights "
                    "that are smaller by a common factor"
                )
            return Law(graph, allowed, "table", graph.strengths / graph.strengths.max())
        return Law(graph, allowed, "degree")
    if weights is None:
        return Law(graph, allowed, "uniform")
    if isinstance(weights, str):
        if weights != "degree":
            raise ArgumentError(
                f"weights: {weights!r:.60} was given; None, 'degree', an array or a callable is "
                "needed"
            )
        law = Law(graph, allowed, "degree")
    else:
        law = Law(graph, allowed, "table", _table(weights, graph.n_nodes, allowed))
    require_target(base)
    return law


def require_target(base: Base) -> None:
    """Refuse a target for a chain whose law is uniform."""
    if inner_of(base)[0] == "maxdeg":
        raise ArgumentError(
            "weights: given with base='maxdeg', whose law is uniform; leave them out, or take the "
            "base 'mhrw' or 'mhda'"
        )


def _table(given: Any, n_nodes: int, allowed: NDArray[np.bool_] | None) -> Array:
    """Positive weights, the largest 1."""
    nodes = np.arange(n_nodes) if allowed is None else np.flatnonzero(allowed)
    found = NodeFunction("weights", given, n_nodes)
    values = found.at(nodes)
    if not found.scalar:
        raise ArgumentError(
            f"weights: {values.shape[1]} columns were given; one number for each node is needed"
        )
    bad = np.flatnonzero(~(values[:, 0] > 0))
    if bad.size:
        raise ArgumentError(
            f"weights: {values[bad[0], 0]:g} was given for node {nodes[bad[0]]}; positive, finite "
            "numbers are needed; to keep walks off a node, take it out of the graph"
        )
    out = np.ones(n_nodes)
    # Division by the largest rounds alike whatever power of two all of them have in common.
    out[nodes] = values[:, 0] / values.max()
    return out


def prior_of(law: Law, given: Any) -> Array | None:
    """The counts that histories begin with, node by node; None for 1 everywhere."""
    graph = law.graph
    if isinstance(given, str):
        if given not in ("target", "uniform", "degree"):
            raise ArgumentError(
                f"pseudo_counts: {given!r:.60} was given; 'target', 'uniform', 'degree' or an "
                "array is needed"
            )
        if given == "uniform" or (given == "target" and law.kind == "uniform"):
            return None
        of = law if given == "target" else Law(graph, law.allowed, "degree")
        shape = of.weights
        assert shape is not None
        shape = law.n_nodes * shape / shape.sum()
        return shape if law.allowed is None else np.where(law.allowed, shape, 1.0)
    counts = numbers("pseudo_counts", given)
    if counts.shape != (graph.n_nodes,):
        raise ArgumentError(
            f"pseudo_counts: an array of shape {counts.shape} was given; ({graph.n_nodes},) is "
            "needed, one number for each node"
        )
    require("pseudo_counts", counts, (counts > 0) & np.isfinite(counts), "they must be positive")
    return np.ascontiguousarray(counts)


def targets(law: Law | None, prior: Array | None, kernel: str, named: str) -> dict[str, Any]:
    """What the core is told of a law and of the counts that histories begin with."""
    if law is None:  # nobody asks for it
        return _settings("uniform", 1.0, 1.0, 1.0)
    graph, allowed, n = law.graph, law.allowed, law.n_nodes
    if law.kind == "uniform" and prior is None and not (kernel == "tsaw" and allowed is not None):
        return _settings("uniform", 1.0, float(graph.n_nodes), float(n))
    if law.kind == "degree" and named in ("target", "degree"):
        degrees = graph.degrees if allowed is None else graph.degrees[allowed]
        total = float(degrees.sum())
        return _settings("degree", n / total, total, float(n))
    weights = law.weights
    weights = np.ones(graph.n_nodes) if weights is None else weights
    if allowed is not None:
        # What walks never see must be positive and add nothing.
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
