"""The settling of histories, and the automatic kernels and burn-ins that depend on it.

A short history is almost empty, and its noise biases the steps: walkers prefer nodes of high
degree. The bias vanishes once the number of visits to a node is large compared with its spread. The
required number of steps was measured (benches/walks/calibrate.py, docs/calibration-walks.md). It is
proportional to the number of nodes, and to the mean time that the base chain stays at a node. If
degrees differ much, the chain stays long, and visits come in clusters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.validate import whole

if TYPE_CHECKING:
    from fermiac.walks.chains import BaseChain
    from fermiac.walks.graph import Graph
    from fermiac.walks.kernels import HistoryKernel
    from fermiac.walks.visit_law import Law

__all__ = ["AUTO", "burn_in_of", "is_auto", "mean_sojourn", "pays", "settling_of"]

#: The name of the automatic choice by the steps per node.
AUTO = "auto"
#: Nodes at which the mean sojourn is estimated.
_SOME = 2**12
#: The product of walkers and nodes at which settling times were measured. With a larger product the
#: error is smaller relative to the remaining bias, which then matters for longer.
_MEASURED = 64 * 1000
#: A walk of at least this many settling times has a history by default; the burn-in is then a
#: quarter of it.
_LONG = 8
#: Burn-ins are at least this share of a walk, and at most half.
_SHARE = 16
#: The largest mean degree for a kernel that scans all neighbours.
_DENSE = 32.0


def is_auto(given: Any) -> bool:
    """Return whether an argument leaves the choice to the walk."""
    return isinstance(given, str) and given == AUTO


def mean_sojourn(graph: Graph, base: BaseChain, law: Law | None) -> float:
    """Return the mean number of steps that a base chain stays at a node of its law."""
    chain = base.inner
    stay = 1.0 / (1.0 - base.laziness)
    if chain.always_moves or law is None:
        return stay
    is_plain = law.weights is None and law.allowed is None
    known: dict[Any, float] = graph._sojourns if is_plain else {}
    if chain not in known:
        known[chain] = _lively_sojourn(graph, chain, law)
    return stay * known[chain]


def _lively_sojourn(graph: Graph, chain: BaseChain, law: Law) -> float:
    """Return the mean number of steps that a chain without laziness stays at a node."""
    nodes = np.unique(np.linspace(0, graph.n_nodes - 1, min(_SOME, graph.n_nodes)).astype(np.int64))
    if law.allowed is not None:
        nodes = nodes[law.allowed[nodes]]
    degrees = graph.degrees
    many = degrees[nodes]
    rows = np.repeat(np.arange(len(nodes)), many)
    first = np.asarray(graph.indptr)[nodes] - (np.cumsum(many) - many)
    neighbors = np.asarray(graph.indices)[np.repeat(first, many) + np.arange(len(rows))]
    neighbors = neighbors.astype(np.int64)
    weights = np.ones(1) if law.weights is None else law.weights
    here = nodes[rows]
    if chain.accepts:
        ours, theirs = (0, 0) if law.weights is None else (here, neighbors)
        ratio = weights[theirs] * degrees[here] / (weights[ours] * degrees[neighbors])
        leave = np.minimum(ratio, 1.0) / degrees[here]
    else:
        leave = np.full(len(rows), 1.0 / degrees.max())
    leave = np.bincount(rows, np.where(neighbors == here, 0.0, leave), len(nodes))
    some = leave > 0.0
    if not some.any():
        return 1.0
    shares = None if law.weights is None else weights[nodes][some]
    return float(np.average(1.0 / leave[some], weights=shares))


def settling_of(
    kernel: HistoryKernel,
    base: BaseChain,
    graph: Graph,
    law: Law | None,
    n_walkers: int,
    shared: bool,
) -> int:
    """Return the steps of each walker until histories have settled; 0 without a history.

    Walkers that share a history fill it together.
    """
    if kernel.settling == 0.0:
        return 0
    n_nodes = graph.n_nodes if law is None else law.n_nodes
    steps: float = kernel.settling * mean_sojourn(graph, base, law) * n_nodes
    steps *= max(1.0, n_nodes * (1 if shared else n_walkers) / _MEASURED) ** 0.25
    return math.ceil(steps / (n_walkers if shared else 1))


def burn_in_of(given: Any, kernel: HistoryKernel, settling: int, n_steps: int) -> int:
    """Return the burn-in of a walk: as given, or chosen by the settling of its histories.

    It is twice the settling time, but at least a sixteenth and at most half of the steps. If the
    bias due to noise falls no faster than the error, it is half of the steps: only a burn-in then
    makes the bias small compared with the error.
    """
    if not is_auto(given):
        burned: int = whole("burn_in", given, 0, n_steps - 1)
        return burned
    if settling == 0:
        return 0
    half = n_steps // 2
    if kernel.feels_noise:
        return half
    return min(half, max(n_steps // _SHARE, 2 * settling))


def pays(
    kernel: HistoryKernel,
    base: BaseChain,
    graph: Graph,
    law: Law | None,
    n_walkers: int,
    n_steps: int,
) -> bool:
    """Return whether a walk is long enough for a history, and its scans of neighbours are cheap."""
    if graph.degrees.mean() > _DENSE:
        return False
    return n_steps >= _LONG * settling_of(kernel, base, graph, law, n_walkers, False)
