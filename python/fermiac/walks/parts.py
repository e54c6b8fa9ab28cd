"""Walkers of one call as independent units: whole walkers on workers, parts of a call, a store."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base.plan import alone
from fermiac._base.validate import RngLike, key_of, shown, whole
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.results.result import Finding, told, warn
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import Part, gathered, identity_of_call, part_of, store_of
from fermiac.walks.conversions import as_graph
from fermiac.walks.memory import BLOCK
from fermiac.walks.node_functions import NodeFunction
from fermiac.walks.transient import joined_marks

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike
    from fermiac.walks.result import WalkResult
    from fermiac.walks.walk_data import WalkData

__all__ = [
    "CALL", "OF_CALL", "joined", "joined_starts", "missing_walkers", "on_graph", "walk_in_parts",
]  # fmt: skip

#: What the warning about missing walkers says.
_MISSING = "walkers are missing"
W = TypeVar("W", bound="WalkData")

#: The first walker and the number of walkers of the call that the present call is a part of.
CALL: ContextVar[tuple[int, int] | None] = ContextVar("fermiac_walkers", default=None)
#: Arguments of the call that are not passed on to its parts.
OF_CALL = (
    "graph", "n_walkers", "first_walker", "rng", "plan", "where",
)  # fmt: skip
#: Arguments that concern all walkers together.
_TOGETHER = ("stop", "on_block")
#: The smallest number of units of a call, if it has that many blocks of walkers.
_UNITS = 256


class _Some:
    """Walkers of a call, in units of work."""

    progress: bool | Report | None = False

    def __init__(
        self, graph: Any, settings: Mapping[str, Any], seed: int, first: int, n: int, size: int
    ) -> None:
        self._target, self._settings, self._seed = graph, dict(settings), seed
        self._first, self._n, self._size = first, n, size
        self.n_threads: int | None = None

    def __call__(self, unit: int) -> WalkResult:
        """Return the walkers of the unit with this index."""
        return self.walkers(unit * self._size, min((unit + 1) * self._size, self._n))

    def walkers(self, start: int, stop: int) -> WalkResult:
        """Return a range of walkers."""
        from fermiac.walks.api import walk

        token = CALL.set((self._first, self._n))
        try:
            made = walk(
                self._target,
                **self._settings,
                n_walkers=stop - start,
                first_walker=self._first + start,
                rng=self._seed,
                plan=alone(n_threads=self.n_threads, progress=self.progress),
            )
        finally:
            CALL.reset(token)
        address = {"first": self._first, "n_walkers": self._n, "walkers": [_range(made)]}
        part = replace(made, settings={**made.settings, PARTS: address})
        part.__dict__["_of_f"] = made._f
        return part


def walk_in_parts(
    graph: Any,
    settings: dict[str, Any],
    *,
    n_walkers: Any,
    first_walker: Any,
    part: Part | None,
    store: str | os.PathLike[str] | None,
    rng: RngLike,
    executor: ExecutorLike | None,
    n_threads: int | None,
    progress: bool | Report | None,
) -> WalkResult:
    """Return walkers of a call, computed in units; see `fermiac.walks.walk`."""
    asked = {"executor": executor, "part": part, "store": store}
    wanted = " and ".join(f"{name}=" for name, value in asked.items() if value is not None)
    together = next((name for name in _TOGETHER if settings[name] is not None), None)
    if together is None and settings["history"] != "private":
        together = "history"
    if together is not None:
        raise ArgumentError(
            f"{together}: given with {wanted}, whose walkers are computed independently; leave it "
            "out"
        )
    n, key = whole("n_walkers", n_walkers, 1, 2**40), key_of(rng)
    first = whole("first_walker", first_walker, 0, 2**48)
    size = BLOCK * math.ceil(n / (BLOCK * _UNITS))
    # A path is passed on; each worker maps the graph into its memory.
    by_path = isinstance(graph, str | os.PathLike)
    net = as_graph(graph)
    work = _Some(graph if by_path else net, settings, key, first, n, size)
    units = part_of(part, -(-n // size))
    if executor is None and store is None:
        # All at once, on the threads of this process.
        work.progress, work.n_threads = progress, n_threads
        result = work.walkers(units.start * size, min(units.stop * size, n))
        warn(told(result), result)
        return result
    of_call = {**settings, "n_walkers": n, "first_walker": first}
    target = os.fspath(graph) if by_path else net
    kept = store_of(
        store, rng, lambda: identity_of_call("walks.walk", of_call, key, target), -(-n // size)
    )

    def join(done: dict[int, WalkResult]) -> WalkResult:
        walk = joined([*done.values()])
        walk.__dict__["_of_graph"] = net
        if settings["f"] is not None:
            f = NodeFunction("f", settings["f"], net.n_nodes, net._node_labels)
            walk.__dict__["_of_f"] = f
        return walk

    result = gathered(
        work, units, join, executor=executor, store=kept, progress=progress,
        label="walk", name="blocks of walkers",
    )  # fmt: skip
    warn(told(result), result)
    return result


def _range(walk: WalkData) -> tuple[int, int]:
    first = int(walk.settings.get("first_walker", 0))
    return first, first + walk.n_walkers


def _ranges(walk: WalkData) -> list[tuple[int, int]]:
    """Return the ranges of walkers, as starts and stops."""
    address = walk.settings.get(PARTS)
    if address is None:
        return [_range(walk)]
    return [(int(start), int(stop)) for start, stop in address["walkers"]]


def joined(walks: Sequence[W]) -> W:
    """Return walkers of one seed in order; refuse duplicates."""
    pieces = [(start, stop, i) for i, walk in enumerate(walks) for start, stop in _ranges(walk)]
    pieces.sort()
    for (_, end, i), (start, _, j) in pairwise(pieces):
        if start < end:
            raise ArgumentError(
                f"merge: walks {i} and {j} of one seed given, which both hold walker {start}; use "
                "other walkers (first_walker=) or other seeds"
            )
    if len(pieces) > len(walks):
        out = _of_pieces(walks, pieces)
    else:
        out = _beside([walks[i] for _, _, i in pieces], pieces, walks[0])
    out.__dict__["_of_f"] = next((walk._f for walk in walks if walk._f is not None), None)
    return on_graph(out, walks)


def on_graph(out: W, walks: Sequence[W]) -> W:
    """Return a walk that joins others with the graph of these, if one of them has it."""
    graphs = (walk._graph for walk in walks if walk._graph is not None)
    out.__dict__["_of_graph"] = next(graphs, None)
    return out


def joined_starts(walks: Sequence[WalkData]) -> NDArray[np.int64] | None:
    """Return the starts of several walks."""
    given = [walk._starts for walk in walks if walk._starts is not None]
    return np.unique(np.concatenate(given)) if given else None


def _of_pieces(walks: Sequence[W], pieces: list[tuple[int, int, int]]) -> W:
    """Return the walkers of walks that have several ranges each."""
    cut: list[W] = []
    at = [0] * len(walks)
    for start, stop, i in pieces:
        cut.append(_cut(walks[i], at[i], at[i] + stop - start, start))
        at[i] += stop - start
    out = _beside(cut, pieces, walks[0])
    moves = sum(_moves(walk) for walk in walks)
    return replace(
        out,
        acceptance=_acceptance(moves, out.n_steps, out.n_walkers),
        wall_time=sum(walk.wall_time for walk in walks),
        _marks=_marks_in_order(walks, pieces),
    )


def _cut(walk: W, low: int, high: int, first: int) -> W:
    """Return walkers of a walk, without the data of all walkers together."""
    rows = None
    if walk.record == "visits":
        visits = walk._visits
        ends = visits.indptr[low : high + 1]
        rows = {
            "indptr": ends - ends[0],
            "nodes": visits.nodes[ends[0] : ends[-1]],
            "counts": visits.counts[ends[0] : ends[-1]],
        }
    settings = {k: v for k, v in walk.settings.items() if k != PARTS}
    return replace(
        walk,
        settings={**settings, "n_walkers": high - low, "first_walker": first},
        positions=walk.positions[low:high],
        paths=None if walk.paths is None else walk.paths[low:high],
        _rows=rows,
        _sums=None if walk._sums is None else walk._sums[low:high],
        _marks=None,
        _state=None,
    )


def _marks_in_order(
    walks: Sequence[WalkData], pieces: list[tuple[int, int, int]]
) -> Mapping[str, Any] | None:
    marks = joined_marks([walk._marks for walk in walks])
    if marks is None or marks["totals"].ndim < 3:
        return marks
    starts = np.cumsum([0, *(walk.n_walkers for walk in walks)])
    at = [int(start) for start in starts]
    order = []
    for start, stop, i in pieces:
        order.append(np.arange(at[i], at[i] + stop - start))
        at[i] += stop - start
    return {**marks, "totals": marks["totals"][:, np.concatenate(order)]}


def _moves(walk: WalkData) -> int:
    return round(walk.acceptance * walk.n_steps * walk.n_walkers)


def _acceptance(moves: int, n_steps: int, n_walkers: int) -> float:
    return moves / (n_steps * n_walkers) if n_steps else 0.0


def _beside(walks: Sequence[W], pieces: list[tuple[int, int, int]], first: W) -> W:
    """Return walks with one range each, in order, as one."""
    blocks: list[tuple[int, int]] = []
    for start, stop, _ in pieces:
        if blocks and start == blocks[-1][1]:
            blocks[-1] = (blocks[-1][0], stop)
        else:
            blocks.append((start, stop))
    n = sum(walk.n_walkers for walk in walks)
    settings = {k: v for k, v in first.settings.items() if k != PARTS}
    settings |= {"n_walkers": n, "first_walker": blocks[0][0]}
    address = first.settings.get(PARTS)
    if address is not None or len(blocks) > 1:
        known = address or {"first": blocks[0][0], "n_walkers": None}
        settings[PARTS] = {**known, "walkers": blocks}
    rows = paths = None
    if first.paths is not None:
        paths = np.concatenate([walk.paths for walk in walks if walk.paths is not None])
    elif first.record == "visits":
        rows = walks[0]._visits.beside([walk._visits for walk in walks[1:]]).fields()
    sums = [walk._sums for walk in walks if walk._sums is not None]
    return replace(
        first,
        settings=settings,
        acceptance=_acceptance(sum(_moves(walk) for walk in walks), first.n_steps, n),
        wall_time=sum(walk.wall_time for walk in walks),
        # Walkers that were missing may be here now.
        warnings=tuple(
            dict.fromkeys(text for walk in walks for text in walk.warnings if _MISSING not in text)
        ),
        positions=np.concatenate([walk.positions for walk in walks]),
        paths=paths,
        _rows=rows,
        _sums=np.concatenate(sums) if len(sums) == len(walks) else None,
        _starts=joined_starts(walks),
        _marks=joined_marks([walk._marks for walk in walks]),
        _state=None,
    )


def missing_walkers(walk: WalkData) -> list[Finding]:
    """Return the warning that walkers of a call are missing."""
    address = walk.settings.get(PARTS)
    if address is None or address["n_walkers"] is None:
        return []
    first, n = int(address["first"]), int(address["n_walkers"])
    ends = [first, *(end for block in _ranges(walk) for end in block), first + n]
    gaps = [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]
    if not gaps:
        return []
    text = ", ".join(f"{a} to {b - 1}" for a, b in gaps[:5])
    more = ", ..." if len(gaps) > 5 else ""
    left = sum(b - a for a, b in gaps)
    return [(FermiacWarning, f"{left} of {n} {_MISSING}: {shown(text, 200)[1:-1]}{more}")]
