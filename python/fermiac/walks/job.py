"""The description of a walk: its arguments, checked, and its settings in the core."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import probability, taken
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError
from fermiac.walks import arrays
from fermiac.walks.chains import BaseChain
from fermiac.walks.graph import Graph
from fermiac.walks.kernels import HistoryKernel, Plain
from fermiac.walks.labels import numbers_of
from fermiac.walks.memory import BLOCK, memory_of, require_room
from fermiac.walks.visit_law import Law, core_law

__all__ = ["Job", "check_ways_back", "initial_nodes", "restart_of"]

Ids = NDArray[np.int64]

#: The part of the key that draws where walkers start.
_STARTS = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """The arguments of a walk: everything that determines it, without a state."""

    graph: Graph
    base: BaseChain
    start: Ids
    n_steps: int
    key: int
    kernel: HistoryKernel = field(default_factory=Plain)
    #: None where it is not known.
    law: Law | None = None
    #: The pseudo-counts of histories; None: 1 everywhere.
    prior: NDArray[np.float64] | None = None
    #: The name of the pseudo-counts, or "given".
    pseudo_counts: str = "target"
    step_exponent: float = 1.0
    history: str = "private"
    memory_size: int | None = None
    restart: float = 0.0
    on_stuck: str = "stop"
    #: The index of the first walker in the streams; a multiple of 8.
    first_walker: int = 0
    burn_in: int = 0
    thin: int = 1
    record: str = "path"
    #: Steps after which histories have settled; 0 without a history.
    settling: int = 0
    #: Whether the starts are independent draws from the law.
    drawn: bool = False
    #: The arguments that the walk chose for itself.
    chosen: tuple[str, ...] = ()

    @property
    def n_walkers(self) -> int:
        """The number of walkers."""
        return len(self.start)

    @cached_property
    def memory(self) -> str:
        """The way in which the core keeps histories."""
        return memory_of(self)

    def walkers(self) -> _core.Walkers:
        """Return the walkers at their starts."""
        first = self.first_walker // BLOCK
        return _core.Walkers(self.graph._core, self.settings(), self.start, self.key, first)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the walk in the core."""
        chain = self.kernel.moving(self.base).core(self.graph)
        return {
            "kernel": self.kernel.name,
            "base": chain,
            "alpha": self.kernel.schedule.core(),
            "laziness": self.base.laziness,
            "restart": self.restart,
            "on_stuck": "restart" if self.on_stuck == "restart" else "stay",
            "step_exponent": self.step_exponent,
            "memory": self.memory,
            "memory_size": self.memory_size or 0,
            "counts": self.record == "visits",
            **core_law(self.law, self.prior, self.kernel.needs_shares, self.pseudo_counts),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for results and checkpoints."""
        return {
            "kernel": self.kernel.name,
            "base": str(self.base.spec),
            "alpha": self.kernel.schedule.setting(),
            "weights": "unknown" if self.law is None else self.law.kind,
            "pseudo_counts": self.pseudo_counts,
            "step_exponent": self.step_exponent,
            "history": self.history,
            "memory_size": self.memory_size,
            "restart": self.restart,
            "on_stuck": self.on_stuck,
            "n_nodes": self.graph.n_nodes,
            "n_walkers": self.n_walkers,
            "first_walker": self.first_walker,
            "n_steps": self.n_steps,
            "burn_in": self.burn_in,
            "thin": self.thin,
            "record": self.record,
            "settling": self.settling,
            "kinked": self.kernel.feels_noise and not self.base.is_smooth,
            "chosen": list(self.chosen),
        }


def check_ways_back(kernel: HistoryKernel, base: BaseChain, graph: Graph) -> None:
    """Refuse a graph with directed edges if the walk needs both directions."""
    if not graph.directed or not kernel.needs_symmetric(base):
        return
    reason = (
        f"kernel={kernel.name!r} with base={base.inner.name!r} needs edges that lead both ways; "
        "make the graph undirected"
    )
    if base.uses_weights:
        graph._require_symmetric(f"{reason}, or take kernel='hdt', which ignores the weights")
    elif graph.asymmetry is not None:
        bare = Graph.from_csr(graph.indptr, graph.indices, directed=True, validate="none")
        bare._require_symmetric(f"{reason}, or take kernel='none' with base='srw'")


def restart_of(given: Any, kernel: HistoryKernel, base: BaseChain) -> float:
    """Return the probability of going back to the start, if the chain allows it."""
    value = probability("restart", given, zero=True)
    if value and (not kernel.is_base or base.needs_symmetric):
        raise ArgumentError(
            "restart: walks that go back to their start have another law than the one that this "
            "base or kernel works towards; take kernel='none' and base='srw', 'weighted', 'nbrw' "
            "or a Node2Vec"
        )
    return value


def initial_nodes(
    init: Any,
    n_walkers: int,
    law: Law | None,
    graph: Graph,
    key: int,
    argument: str = "init",
) -> Ids:
    """Return the first node of each walker: as given, or drawn from the law."""
    require_room(8 * n_walkers, f"the nodes of {n_walkers} walkers", "use fewer walkers")
    if init is None:
        return _drawn(n_walkers, law, graph, key)
    if graph.labels is not None:
        init = numbers_of(argument, init, graph._numbers)
    given = np.atleast_1d(taken(argument, init))
    nodes, signed = arrays.nodes(argument, given)
    if signed:
        nodes = nodes.view(f"i{nodes.itemsize}")
    if len(nodes) not in (1, n_walkers):
        raise ArgumentError(
            f"{argument}: {len(nodes)} nodes were given for {n_walkers} walkers; give one each, "
            f"one for all, or n_walkers={len(nodes)}"
        )
    bad = (nodes < 0) | (nodes >= graph.n_nodes)
    if bad.any():
        raise ArgumentError(
            f"{argument}: node {nodes[bad][0]} was given; nodes go from 0 to {graph.n_nodes - 1}"
        )
    out = nodes.astype(np.int64)
    return np.repeat(out, n_walkers) if len(out) == 1 else out


def _drawn(n: int, law: Law | None, graph: Graph, key: int) -> Ids:
    stream = _core.Stream.start(subkey(key, _STARTS), 0)
    if law is None or (law.kind == "uniform" and law.allowed is None):
        nodes = np.empty(n, dtype=np.int64)
        stream.fill_below(nodes, graph.n_nodes)
        return nodes
    if law.kind == "degree" and law.allowed is None:
        # The row of a uniform entry.
        entries = np.empty(n, dtype=np.int64)
        stream.fill_below(entries, len(graph.indices))
        return np.asarray(np.searchsorted(graph.indptr, entries, "right") - 1, dtype=np.int64)
    uniforms = np.empty(n)
    stream.fill_uniform(uniforms)
    weights = law.weights
    assert weights is not None
    sums = np.cumsum(weights)
    nodes = np.searchsorted(sums, uniforms * sums[-1], "right")
    # Rounding must not lead past the last node of positive weight.
    return np.asarray(np.minimum(nodes, np.flatnonzero(weights)[-1]), dtype=np.int64)
