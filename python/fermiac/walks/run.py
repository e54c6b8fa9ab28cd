"""The run loop of walks: slices of steps, at whose ends all walkers are at the same step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.ask import ask
from fermiac.errors import CheckpointError, InternalError, TargetError
from fermiac.runs.loop import Budget, RunLoop
from fermiac.walks.job import Job
from fermiac.walks.memory import require_room
from fermiac.walks.node_functions import NodeFunction
from fermiac.walks.result import WalkResult
from fermiac.walks.transient import MARKS, SUMS, Marks
from fermiac.walks.visits import LateArrays, LateVisits, Visits, visited

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.walks.stop import StopAtStderr

__all__ = ["KIND", "OnBlock", "WalkLoop", "identity_of", "restore_walkers", "state_of"]

Array = NDArray[np.float64]
OnBlock = Callable[[NDArray[Any]], object]

#: The kind of the checkpoints of `fermiac.walks.walk`.
KIND = "walk"
#: The arrays of visits, row by row.
ROWS = ("indptr", "nodes", "counts", "logs")
#: Rows of a graph that are compared with those of the run that is resumed.
_ROWS = 64
#: Starts at which the function of a resumed run is compared with what it was.
_VERIFIED = 3


class _Slice(NamedTuple):
    """A part of a walk: its end, the arrays that it fills, the first step and the thinning."""

    until: int
    block: NDArray[Any] | None
    paths: NDArray[Any] | None
    first: int
    thin: int


@dataclass(eq=False, repr=False)
class WalkLoop(RunLoop[WalkResult]):
    """The run loop of walks; `before` is the walk that it extends."""

    fatal = (InternalError, TargetError)

    job: Job
    walkers: _core.Walkers
    _: KW_ONLY
    workers: int
    f: NodeFunction | None = None
    on_block: OnBlock | None = None
    block: int | None = None
    stop: StopAtStderr | None = None
    keep_state: bool = True
    before: WalkResult | None = None
    steps: int = 64

    def __post_init__(self) -> None:
        before = self.before
        self.total = self.job.n_walkers * self.job.n_steps
        #: Steps that each walker has made, and the step after which this run records.
        self.n_done = 0 if before is None else before.n_steps
        self._recorded = max(self.n_done, self.job.burn_in)
        #: The slice that is under way, and the block that `on_block` has not seen yet.
        self._ahead: _Slice | None = None
        self._unseen: NDArray[Any] | None = None
        self.paths = self._room()
        self.sums: Array | None = None if before is None else before._sums
        burned = None if before is None else before._burned
        self.burned = None if burned is None else LateVisits.of(burned)
        self.marks = Marks(None if before is None else before._marks)

    def _room(self) -> NDArray[Any] | None:
        """Return the array of the paths, if they are recorded."""
        job = self.job
        if job.record != "path":
            return None
        n = (job.n_steps - job.burn_in) // job.thin - (self._recorded - job.burn_in) // job.thin
        size = 4 if job.graph.n_nodes <= 2**32 else 8
        require_room(
            n * job.n_walkers * size,
            f"the paths of {job.n_walkers} walkers",
            "give thin=, or take them block by block, with record='none' and on_block=",
        )
        return np.empty((job.n_walkers, n), dtype=np.uint32 if size == 4 else np.uint64)

    def done(self) -> int:
        """Return the number of steps of all walkers."""
        return self.n_done * self.job.n_walkers

    def is_enough(self) -> bool:
        """Return whether the averages meet `stop`."""
        counted = self.n_done - self.job.burn_in
        return self.stop is not None and self.stop.met(self.sums, counted)

    def where(self) -> str:
        """Return the present step of the walkers."""
        return f"while walkers were at step {self.n_done}"

    def advance(self, budget: Budget) -> BaseException | None:
        """Make some steps."""
        self._ahead = self._planned(budget.steps)
        error = self._walk(self.report)
        self._arrive()
        return error

    def on_slice(self) -> None:
        """Pass a block to the user's function."""
        block, self._unseen = self._unseen, None
        if self.on_block is None or block is None:
            return
        ask(self.on_block, (block,), "on_block", f"after {self.n_done} steps of each walker")

    def settle(self) -> None:
        """Move all walkers to the end of the current slice."""
        if self._ahead is not None:
            self._walk(None)
            self._arrive()
        self.on_slice()

    @property
    def _needs_blocks(self) -> bool:
        return self.on_block is not None or (
            self.f is not None and (self.stop is not None or self.job.record == "none")
        )

    def _next(self, steps: int) -> int:
        """Return the step at which the next slice ends."""
        job, done = self.job, self.n_done
        ends = [job.n_steps]
        if done < job.burn_in:
            ends = [job.burn_in]
        if self._needs_blocks and done >= job.burn_in:
            # At multiples of the block, wherever a run began.
            assert self.block is not None
            ends.append(done + self.block - (done - job.burn_in) % self.block)
        else:
            ends.append(done + steps)
        if self._marks_visits and done >= job.burn_in:
            ends.append(job.burn_in + Marks.after(done - job.burn_in))
        if self.stop is not None and done >= job.burn_in:
            every = self.stop.every
            ends.append(done + every - (done - job.burn_in) % every)
        return min(ends)

    def _planned(self, steps: int) -> _Slice:
        """Return the next slice, with the arrays that it fills."""
        job, done, until = self.job, self.n_done, self._next(steps)
        if self._needs_blocks and done >= job.burn_in:
            kind = np.uint32 if job.graph.n_nodes <= 2**32 else np.uint64
            block = np.empty((job.n_walkers, until - done), dtype=kind)
            return _Slice(until, block, block, done + 1, 1)
        first = self._recorded - (self._recorded - job.burn_in) % job.thin + job.thin
        return _Slice(until, None, self.paths, first, job.thin)

    def _walk(self, report: Report | None) -> BaseException | None:
        """Move all walkers to the end of the slice, also after an interrupt."""
        assert self._ahead is not None
        until, _, paths, first, thin = self._ahead
        how = (until, paths, first, thin, self.workers, self.total)
        return walk_to(self.walkers, *how, report)

    def _arrive(self) -> None:
        """Update sums, paths and marks at the end of a slice."""
        assert self._ahead is not None
        (until, block, *_), job = self._ahead, self.job
        if block is not None:
            if self.paths is not None:
                self._thin(block)
            if self.f is not None:
                values = self.f.at(block.reshape(-1)).reshape(*block.shape, -1)
                if job.record == "none":
                    self.marks.put_sums(self.n_done - job.burn_in, self.sums, values)
                sums = values.sum(axis=1)
                self.sums = sums if self.sums is None else self.sums + sums
        self.n_done, self._ahead, self._unseen = until, None, block
        if until == job.burn_in and job.record == "visits":
            self.burned = self._visits_so_far()
        counted = until - job.burn_in
        # Only the last two marks are needed, and summing all histories takes time.
        late = self.stop is not None or 4 * counted > job.n_steps - job.burn_in
        if self._marks_visits and late and Marks.are_at(counted):
            self._mark(counted)

    @property
    def _marks_visits(self) -> bool:
        return self.job.record == "visits"

    def _mark(self, counted: int) -> None:
        """Record the visits so far as a mark, later if the core has a log of all steps."""
        totals = self._totals()

        def late() -> NDArray[Any]:
            visits = totals()
            assert visits is not None
            return visits

        if self.stop is None and self._is_logged:
            self.marks.put(counted, late)
            return
        visits = totals()
        if visits is not None:
            self.marks.put(counted, visits)

    @property
    def _is_logged(self) -> bool:
        """Whether the core will know the visits of every step until the end."""
        return self.job.n_steps <= self.walkers.logged_until

    def _totals(self) -> Callable[[], NDArray[np.uint64] | None]:
        """Return what computes the visits of all walkers from the burn-in to the present step.

        It may be called later if the core has a log, or if the walkers do not go on.
        """
        walkers, burned, until = self.walkers, self.burned, self.n_done
        first = 0 if burned is None else self.job.burn_in

        def totals() -> NDArray[np.uint64] | None:
            # The sum of a log of the core is faster than others.
            visits = walkers.totals_between(first, until)
            if visits is not None:
                return visits
            visits = walkers.totals()
            return visits if visits is None or burned is None else visits - burned().totals()

        return totals

    def _visits_so_far(self) -> LateVisits:
        """Return the visits of all steps so far: later, if the core has a log of them."""
        walkers, until, n_nodes = self.walkers, self.n_done, self.job.graph.n_nodes
        if not self._is_logged:
            return LateVisits.of(self._visits(state_of(walkers)))

        def late() -> Visits:
            rows = _core.walkers_visited(walkers, until)
            assert rows is not None
            return Visits(*rows[:3], n_nodes)

        return LateVisits(late)

    def _thin(self, block: NDArray[Any]) -> None:
        """Write the recorded part of a block to the paths."""
        assert self.paths is not None
        job, before = self.job, self.n_done - self.job.burn_in
        first = -(before + 1) % job.thin
        some = block[:, first :: job.thin]
        at = (before + first + 1) // job.thin - 1 - (self._recorded - job.burn_in) // job.thin
        self.paths[:, at : at + some.shape[1]] = some

    def _visits(self, state: Mapping[str, NDArray[Any]]) -> Visits:
        return Visits.named(state, self.job.graph.n_nodes)

    def state(self) -> dict[str, Any]:
        """Return the walkers with their histories, and the records."""
        out: dict[str, Any] = {"done": self.n_done, **state_of(self.walkers)}
        if self.paths is not None:
            out["paths"] = self.paths[:, : self._n_slots()]
        if self.sums is not None:
            out["sums"] = self.sums
        out |= {f"marks.{k}": array for k, array in (self.marks.arrays() or {}).items()}
        if self.burned is not None:
            out |= {f"burned.{k}": array for k, array in self.burned().fields().items()}
        return out

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop; a walk that met `stop` there meets it here."""
        with self.decoding():
            fit.require(state, {"done": fit.whole(0)})
            done = state["done"]
        if done > self.job.n_steps:
            where = "" if self.checkpoint is None else f"{self.checkpoint.path}: "
            raise CheckpointError(
                f"{where}its walkers have made {done} steps, more than the {self.job.n_steps} of "
                "this call; give n_steps= at least as large as before"
            )
        with self.decoding():
            self._fill(state)
        self.stopped = self.is_enough()

    def _fill(self, state: dict[str, Any]) -> None:
        """Restore the arrays of a file, after a check that they fit this walk."""
        job = self.job
        sizes = {"nodes": job.graph.n_nodes, "walkers": job.n_walkers}
        restore_walkers(self.walkers, state, sizes)
        self.n_done = state["done"]
        if self.walkers.n_done != self.n_done:
            raise fit.Misfit(f"walkers after {self.walkers.n_done} steps, not {self.n_done}")
        if self.paths is not None:
            n = self._n_slots()
            paths = fit.array("iu", "walkers", n, low=0, below="nodes", bits=32)
            fit.require(state, {"paths": paths}, sizes)
            self.paths[:, :n] = state["paths"]
        self.sums = state.get("sums")
        marks = {k.removeprefix("marks."): v for k, v in state.items() if k.startswith("marks.")}
        parts = {"sums": self.sums, "marks": marks or None}
        fit.require(parts, {"sums": fit.maybe(SUMS), "marks": fit.maybe(MARKS)}, sizes)
        if self.f is not None and self._needs_blocks and self.n_done > job.burn_in:
            fit.require(parts, {"sums": SUMS}, sizes)
        self.marks = Marks(marks or None)
        if job.record == "visits" and 0 < job.burn_in <= self.n_done:
            burned = {k.removeprefix("burned."): v for k, v in state.items() if k[:7] == "burned."}
            visited(burned, sizes)
            self.burned = LateVisits.of(Visits.named(burned, job.graph.n_nodes))

    def _histories(self, status: str) -> Mapping[str, NDArray[Any]]:
        """Return the positions of the walkers, and their visits: later, if they have stopped."""
        if status == "running" or not self._has_rows:
            return state_of(self.walkers)
        walkers, counts = self.walkers, self.job.record == "visits"
        totals = walkers.totals if counts else None
        return LateArrays(("words", *ROWS), lambda: state_of(walkers), totals)

    @property
    def _has_rows(self) -> bool:
        """Whether the core counts the visits of each walker."""
        return self.job.record == "visits" or self.job.memory in ("table", "hashed")

    def _counted(self, state: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Return the visits after the burn-in, from those of whole walks."""
        burned = self.burned

        def rows() -> dict[str, NDArray[Any]]:
            seen = self._visits(state)
            return (seen if burned is None else seen.minus(burned())).fields()

        if not isinstance(state, LateArrays):
            return rows()
        return LateArrays(ROWS[:3], rows, self._totals())

    def _n_slots(self) -> int:
        """Return the number of filled steps of each path."""
        job = self.job
        recorded = (self._recorded - job.burn_in) // job.thin
        return max((self.n_done - job.burn_in) // job.thin - recorded, 0)

    def snapshot(self, status: str) -> WalkResult | None:
        """Return the walk so far, once the burn-in is over."""
        job, walkers = self.job, self.walkers
        if status != "complete" and self.n_done <= job.burn_in:
            return None
        state = rows = None
        if self.keep_state or job.record == "visits":
            state = self._histories(status)
            if job.record == "visits" and (self.burned is not None or not self.keep_state):
                rows = self._counted(state)
        paths = None
        if self.paths is not None:
            paths = self.paths[:, : self._n_slots()]
            if self.before is not None:
                paths = np.concatenate([self.before.paths, paths], axis=1)
            elif status == "running":
                paths = paths.copy()
        return WalkResult.of_run(
            job,
            n_steps=self.n_done,
            status=status,
            wall_time=self.elapsed,
            rows=rows,
            paths=paths,
            sums=self.sums,
            state=state if self.keep_state else None,
            n_moves=walkers.n_moves,
            positions=walkers.positions(),
            f=self.f,
            burned=self.burned,
            marks=self.marks.arrays() if status == "running" else self.marks.late(),
        )


def walk_to(
    walkers: _core.Walkers,
    until: int,
    paths: NDArray[Any] | None,
    first: int,
    thin: int,
    workers: int,
    total: int,
    report: Report | None,
) -> BaseException | None:
    """Move all walkers to the same step; return the exception of an interrupted call."""
    how = (until, paths, first, thin, None, workers, total)
    error: BaseException | None
    reached, error = walkers.run(*how, report)
    if error is not None and not reached and not isinstance(error, InternalError):
        # Repeating the walk up to this step is fast, and gives a partial result.
        _, second = walkers.run(*how, None)
        if second is not None:
            raise second
    return error


def state_of(walkers: _core.Walkers) -> dict[str, NDArray[Any]]:
    """Return the positions of walkers, and their histories."""
    out: dict[str, NDArray[Any]] = {"words": _core.walkers_save(walkers)}
    found = _core.walkers_visited(walkers)
    if found is not None:
        out |= dict(zip(ROWS, found, strict=True))
    return out


def restore_walkers(walkers: _core.Walkers, state: Mapping[str, Any], sizes: fit.Sizes) -> None:
    """Restore walkers from the result of `state_of` for the same walk."""
    _core.walkers_load(walkers, state["words"])
    if _core.walkers_visited(walkers) is not None:
        visited(state, sizes)
        parts = (state["indptr"], state["nodes"], state["counts"], state["logs"])
        _core.walkers_remember(walkers, *parts)


def identity_of(job: Job, f: NodeFunction | None = None) -> dict[str, Any]:
    """Return the identity of a walk: a flat mapping with types of JSON.

    The number of steps is not part of it, since a walk may be extended. A function is identified by
    its first values.
    """
    settings = job.to_dict()
    # These depend on the number of steps, or follow from the other settings.
    for name in ("n_steps", "settling", "kinked", "chosen"):
        del settings[name]
    graph = job.graph
    some = np.linspace(0, graph.n_nodes - 1, min(_ROWS, graph.n_nodes)).astype(np.int64)
    hasher = blake2b(np.ascontiguousarray(graph.indptr[some]).tobytes(), digest_size=8)
    for node in some.tolist():
        hasher.update(graph.neighbors(node).astype(np.uint64).tobytes())
    return {
        "version": _core.__version__,
        "isa": _core.isa_level,
        "seed": job.key,
        **settings,
        "graph": f"{graph.n_nodes} nodes, {len(graph.indices)} entries, {hasher.hexdigest()}",
        "init": _digest(job.start),
        "law": _digest(None if job.law is None else job.law.table),
        "counts": _digest(job.prior),
        "f": None if f is None else _digest(f.at(job.start[:_VERIFIED])),
    }


def _digest(array: NDArray[Any] | None) -> str | None:
    return None if array is None else blake2b(array.tobytes(), digest_size=8).hexdigest()
