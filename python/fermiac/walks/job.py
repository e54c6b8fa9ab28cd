"""What a walk is asked for, checked, and what the core is told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import choice, whole
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError
from fermiac.walks import arrays
from fermiac.walks.chains import MTM, Base, Lazy, Node2Vec, inner_of, real, takes_target
from fermiac.walks.graph import Graph
from fermiac.walks.memory import memory_of, require_room
from fermiac.walks.visit_law import Law, targets

__all__ = ["Alpha", "Job", "check_kernel", "goes_with", "restart_of", "schedule_of", "starts"]

Ids = NDArray[np.int64]

Alpha: TypeAlias = "float | tuple[str, float, float, float] | tuple[str, float, float]"
"""A strength of repellence: a number, or how it rises."""

KERNELS = ("none", "srrw", "hdt", "tsaw", "rotor", "saw")
#: Base chains whose probabilities a kernel bends, neighbour by neighbour.
_SCANNED = ("srw", "weighted", "maxdeg", "mhrw", "barker")
_TARGETED = ("mhrw", "mhda", "barker")
#: What chains towards the degrees are once their target is bent: they accept all while it is not.
_ACCEPTING = {"srw": "mhrw", "nbrw": "mhda"}
#: Which part of the key starts are drawn with.
_STARTS = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """A walk: all that it depends on, and no state."""

    graph: Graph
    base: Base
    start: Ids
    n_steps: int
    key: int
    kernel: str = "none"
    alpha: tuple[str, float, float, float] = ("constant", 0.0, 0.0, 0.0)
    #: None where it is not known.
    law: Law | None = None
    #: Counts that histories begin with; None: 1 everywhere.
    prior: NDArray[np.float64] | None = None
    #: How they are called, or "given".
    pseudo_counts: str = "target"
    step_exponent: float = 1.0
    history: str = "private"
    memory_size: int | None = None
    restart: float = 0.0
    on_stuck: str = "stop"
    burn_in: int = 0
    thin: int = 1
    record: str = "path"

    @property
    def n_walkers(self) -> int:
        """Walkers."""
        return len(self.start)

    @property
    def has_history(self) -> bool:
        """Whether steps depend on where walkers have been."""
        return self.kernel in ("srrw", "hdt", "tsaw", "saw")

    @property
    def is_plain(self) -> bool:
        """Whether the walk is its base chain."""
        return self.kernel == "none" or (
            self.kernel in ("srrw", "hdt", "tsaw") and self.alpha == ("constant", 0.0, 0.0, 0.0)
        )

    @cached_property
    def memory(self) -> str:
        """How the core keeps what walkers remember."""
        return memory_of(self)

    def walkers(self) -> _core.Walkers:
        """The walkers at their starts."""
        return _core.Walkers(self.graph._core, self.settings(), self.start, self.key)

    def settings(self) -> dict[str, Any]:
        """What the core is told."""
        inner, laziness = inner_of(self.base)
        tries, back = (inner, Node2Vec()) if isinstance(inner, MTM) else (MTM(), inner)
        if not isinstance(back, Node2Vec):
            back = Node2Vec()
        kernel, base = self._engine()
        return {
            "kernel": kernel,
            "base": base,
            "alpha": self.alpha,
            "laziness": laziness,
            "largest": int(self.graph.degrees.max()) if inner == "maxdeg" else 0,
            "tries": tries.n_tries,
            "balance": tries.balance,
            "back": back.p,
            "out": back.q,
            "restart": self.restart,
            "on_stuck": "restart" if self.on_stuck == "restart" else "stay",
            "step_exponent": self.step_exponent,
            "memory": self.memory,
            "memory_size": self.memory_size or 0,
            "counts": self.record == "visits",
            **targets(self.law, self.prior, self.kernel, self.pseudo_counts),
        }

    def _engine(self) -> tuple[str, str]:
        """The kernel and the base as the core has them."""
        base = _name(inner_of(self.base)[0])
        if self.kernel == "rotor":
            return "none", "rotor"
        return self.kernel, _ACCEPTING.get(base, base) if self.kernel == "hdt" else base

    def to_dict(self) -> dict[str, Any]:
        """For provenance."""
        kind, *numbers = self.alpha
        alpha: Any = numbers[0]
        if kind != "constant":
            alpha = [kind, *numbers[: 3 if kind == "linear" else 2]]
        return {
            "kernel": self.kernel,
            "base": repr(self.base) if not isinstance(self.base, str) else self.base,
            "alpha": alpha if self.kernel in ("srrw", "hdt", "tsaw") else 0.0,
            "weights": "unknown" if self.law is None else self.law.kind,
            "pseudo_counts": self.pseudo_counts,
            "step_exponent": self.step_exponent,
            "history": self.history,
            "memory_size": self.memory_size,
            "restart": self.restart,
            "on_stuck": self.on_stuck,
            "n_nodes": self.graph.n_nodes,
            "n_walkers": self.n_walkers,
            "n_steps": self.n_steps,
            "burn_in": self.burn_in,
            "thin": self.thin,
            "record": self.record,
        }


def _name(base: Base) -> str:
    if isinstance(base, MTM):
        return "mtm"
    return "node2vec" if isinstance(base, Node2Vec) else str(base)


def schedule_of(alpha: Any) -> tuple[str, float, float, float]:
    """The strength of repellence as the core takes it."""
    if not isinstance(alpha, tuple | list):
        return "constant", _strength(alpha), 0.0, 0.0
    name = choice("alpha", alpha[0] if len(alpha) else None, ("linear", "log"))
    if len(alpha) != (4 if name == "linear" else 3):
        form = "('linear', from, to, n_steps)" if name == "linear" else "('log', factor, to)"
        raise ArgumentError(f"alpha: {tuple(alpha)!r:.80} was given; {form} is needed")
    low, high = _strength(alpha[1]), _strength(alpha[2])
    return name, low, high, float(whole("alpha", alpha[3], 1, 2**53)) if name == "linear" else 0.0


def _strength(alpha: Any) -> float:
    value = real(alpha)
    if not 0.0 <= value < math.inf:
        raise ArgumentError(
            f"alpha: {alpha!r:.60} was given; a number from 0 on is needed, or a schedule: "
            "('linear', from, to, n_steps) or ('log', factor, to)"
        )
    return value


def check_kernel(kernel: Any, base: Base, graph: Graph) -> str:
    """The kernel, if it goes with the base chain and the graph."""
    name = choice("kernel", kernel, KERNELS)
    inner = inner_of(base)[0]
    if name in ("rotor", "saw"):
        if inner not in ("srw", "mhda") or isinstance(base, Lazy):
            raise ArgumentError(
                f"base: {base!r} was given with kernel={name!r}, which moves along edges that all "
                "count alike; take 'srw'"
            )
    else:
        goes_with(name, base)
    _check_ways_back(name, inner, graph)
    return name


def goes_with(kernel: str, base: Base) -> None:
    """Refuse a base chain that the kernel cannot bend."""
    inner = inner_of(base)[0]
    if kernel == "hdt" and not (
        inner in _TARGETED or inner in _ACCEPTING or isinstance(inner, MTM)
    ):
        raise ArgumentError(
            f"base: {base!r} was given with kernel='hdt', which bends the target of chains that "
            "accept and refuse; take 'mhda', 'mhrw', 'barker', 'srw', 'nbrw' or MTM(), or "
            "kernel='srrw'"
        )
    if kernel in ("srrw", "tsaw") and inner not in _SCANNED:
        raise ArgumentError(
            f"base: {base!r} was given with kernel={kernel!r}, which needs a reversible chain "
            "whose probabilities are known neighbour by neighbour; take 'mhrw', 'srw', 'weighted', "
            "'barker' or 'maxdeg', or kernel='hdt'"
        )


def _check_ways_back(kernel: str, inner: Base, graph: Graph) -> None:
    """Refuse graphs with edges of one way, where the law of the walk needs both."""
    along_arcs = kernel == "saw" or (
        kernel == "none" and (inner in ("srw", "weighted", "nbrw") or isinstance(inner, Node2Vec))
    )
    if not graph.directed or along_arcs:
        return
    what = f"kernel={kernel!r} with base={_name(inner)!r}"
    reason = f"{what} needs edges that lead both ways; make the graph undirected"
    if inner == "weighted":
        graph._require_symmetric(f"{reason}, or take kernel='hdt', which ignores the weights")
    elif graph.asymmetry is not None:
        bare = Graph.from_csr(graph.indptr, graph.indices, directed=True, validate="none")
        bare._require_symmetric(f"{reason}, or take kernel='none' with base='srw'")


def restart_of(given: Any, kernel: str, base: Base) -> float:
    """The probability to go back to the start, if it goes with the chain."""
    value = real(given)
    if not 0.0 <= value < 1.0:
        raise ArgumentError(f"restart: {given!r:.60} was given; a number in [0, 1) is needed")
    if value and (kernel != "none" or takes_target(base)):
        raise ArgumentError(
            "restart: walks that go back to their start have another law than the one that this "
            "base or kernel works towards; take kernel='none' and base='srw', 'weighted', 'nbrw' "
            "or a Node2Vec"
        )
    return value


def starts(start: Any, n_walkers: int, law: Law | None, graph: Graph, key: int) -> Ids:
    """Where walkers start: the nodes given, or a draw of the law for each."""
    require_room(8 * n_walkers, f"the places of {n_walkers} walkers", "use fewer walkers")
    if start is None:
        return _drawn(n_walkers, law, graph, key)
    given = np.atleast_1d(start if isinstance(start, str) else arrays.taken("start", start))
    if graph.labels is not None and given.dtype.kind in "US":
        given = np.array([graph.index(label) for label in given.tolist()])
    nodes, signed = arrays.nodes("start", given)
    if signed:
        nodes = nodes.view(f"i{nodes.itemsize}")
    if len(nodes) not in (1, n_walkers):
        raise ArgumentError(
            f"start: {len(nodes)} nodes were given for {n_walkers} walkers; give one for each, one "
            f"for all, or n_walkers={len(nodes)}"
        )
    bad = (nodes < 0) | (nodes >= graph.n_nodes)
    if bad.any():
        raise ArgumentError(
            f"start: node {nodes[bad][0]} was given; nodes go from 0 to {graph.n_nodes - 1}"
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
        # The row of a place.
        places = np.empty(n, dtype=np.int64)
        stream.fill_below(places, len(graph.indices))
        return np.asarray(np.searchsorted(graph.indptr, places, "right") - 1, dtype=np.int64)
    uniforms = np.empty(n)
    stream.fill_uniform(uniforms)
    weights = law.weights
    assert weights is not None
    sums = np.cumsum(weights)
    nodes = np.searchsorted(sums, uniforms * sums[-1], "right")
    # Rounding must not lead past the last node of positive weight.
    return np.asarray(np.minimum(nodes, np.flatnonzero(weights)[-1]), dtype=np.int64)
