"""The course of a walk: slice by slice, with what is looked after between the slices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.progress import finish
from fermiac.errors import FermiacError, InternalError, TargetError
from fermiac.runs import background
from fermiac.walks.job import Job
from fermiac.walks.memory import require_room
from fermiac.walks.node_functions import NodeFunction
from fermiac.walks.result import WalkResult
from fermiac.walks.transient import Marks
from fermiac.walks.visits import Visits

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.walks.checkpoint import Keeper
    from fermiac.walks.stop import StopWhen

__all__ = ["Course", "OnBlock", "restore"]

Array = NDArray[np.float64]
OnBlock = Callable[[NDArray[Any]], object]

#: About the time of a slice: all walkers are at the same step at its end.
_SLICE = 0.2
#: Seconds between two reports of progress, where slices are too short for the core to make them.
_TELL = 0.1
#: Seconds between two looks at a run that somebody watches.
_TICK = 1.0


class _Slice(NamedTuple):
    """A part of a walk: its end, what is written on the way, and at which steps."""

    until: int
    block: NDArray[Any] | None
    paths: NDArray[Any] | None
    first: int
    thin: int


class Course:
    """One walk, from where its walkers stand to the end."""

    def __init__(
        self,
        job: Job,
        walkers: _core.Walkers,
        *,
        workers: int,
        f: NodeFunction | None = None,
        on_block: OnBlock | None = None,
        block: int | None = None,
        stop: StopWhen | None = None,
        keeper: Keeper | None = None,
        keep_state: bool = True,
        report: Report | None = None,
        start: float,
        elapsed: float = 0.0,
        before: WalkResult | None = None,
    ) -> None:
        self._job = job
        self._walkers = walkers
        self._workers = workers
        self._f = f
        self._on_block = on_block
        self._block = block
        self._stop = stop
        self._keeper = keeper
        self._keep_state = keep_state
        self._report = report
        self._start = start
        self._elapsed = elapsed
        self._before = before
        self.done = 0 if before is None else before.n_steps
        #: The step after which this run records.
        self._recorded = max(self.done, job.burn_in)
        self._slice = 64
        self._end = job.n_steps
        #: The slice that is under way, and the block that nobody has seen yet.
        self._ahead: _Slice | None = None
        self._block_of: NDArray[Any] | None = None
        self._told = start
        self.paths = self._room()
        self.sums: Array | None = None if before is None else before._sums
        self.burned: Visits | None = None if before is None else before._burned
        self.marks = Marks(None if before is None else before._marks)
        self._view: WalkResult | None = None
        self._seen = 0.0
        self._watched = background.watch(lambda: self._view)

    def resume(self, kept: dict[str, NDArray[Any]]) -> None:
        """Go on with what `kept` gave."""
        self.done = self._walkers.n_done
        if self.paths is not None:
            self.paths[:, : kept["paths"].shape[1]] = kept["paths"]
        self.sums = kept.get("sums")
        self.marks = Marks(unnamed(kept, "marks.") or None)
        if "burned.indptr" in kept:
            self.burned = Visits.named(kept, self._job.graph.n_nodes, "burned.")
        # What had ended there ends there.
        self._end_if_known()

    def _end_if_known(self) -> None:
        counted = self.done - self._job.burn_in
        if self._stop is not None and self._stop.met(self.sums, counted):
            self._end = self.done

    def _room(self) -> NDArray[Any] | None:
        """Where paths go."""
        job = self._job
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

    def run(self) -> WalkResult:
        """Run to the end."""
        try:
            self._save()
            while self.done < self._end:
                self._go()
            self._save()
            result = self._result("complete")
        except BaseException as error:
            self._leave(error)
            raise
        finish(self._report, self._total, result)
        return result

    @property
    def _total(self) -> int:
        return self._job.n_walkers * self._job.n_steps

    def _go(self) -> None:
        """One slice, and what follows it."""
        begun = time.perf_counter()
        self._ahead = self._planned()
        error = self._advance(self._report)
        taken = time.perf_counter() - begun
        self._arrive()
        if error is not None:
            raise error
        self._deliver()
        now = time.perf_counter()
        if self._report is not None and now - self._told > _TELL:
            self._told = now
            self._report(self.done * self._job.n_walkers, self._total)
        counted = self.done - self._job.burn_in
        self._end_if_known()
        if taken < _SLICE / 2:
            self._slice *= 2
        elif taken > _SLICE:
            self._slice = max(self._slice // 2, 1)
        if self._keeper is not None and self._keeper.wait() == 0:
            self._save()
        if self._watched and now - self._seen > _TICK:
            self._view = self._result("running") if counted > 0 else None
            self._seen = now

    @property
    def _needs_blocks(self) -> bool:
        return self._on_block is not None or (
            self._f is not None and (self._stop is not None or self._job.record == "none")
        )

    def _next(self) -> int:
        """Where the next slice ends."""
        job, done = self._job, self.done
        ends = [job.n_steps]
        if done < job.burn_in:
            ends = [job.burn_in]
        if self._needs_blocks and done >= job.burn_in:
            # At multiples of the block, wherever a run began.
            assert self._block is not None
            ends.append(done + self._block - (done - job.burn_in) % self._block)
        else:
            ends.append(done + self._slice)
        if self._marks_visits and done >= job.burn_in:
            ends.append(job.burn_in + Marks.after(done - job.burn_in))
        if self._stop is not None and done >= job.burn_in:
            every = self._stop.every
            ends.append(done + every - (done - job.burn_in) % every)
        return min(ends)

    def _planned(self) -> _Slice:
        """The next slice, and where its nodes are written."""
        job, done, until = self._job, self.done, self._next()
        if self._needs_blocks and done >= job.burn_in:
            kind = np.uint32 if job.graph.n_nodes <= 2**32 else np.uint64
            block = np.empty((job.n_walkers, until - done), dtype=kind)
            return _Slice(until, block, block, done + 1, 1)
        first = self._recorded - (self._recorded - job.burn_in) % job.thin + job.thin
        return _Slice(until, None, self.paths, first, job.thin)

    def _advance(self, report: Report | None) -> BaseException | None:
        """Move all walkers to the end of the slice, unless something happens."""
        assert self._ahead is not None
        until, _, paths, first, thin = self._ahead
        how = (until, paths, first, thin, None, self._workers, self._total)
        reached, error = self._walkers.run(*how, report)
        if error is not None and not reached and not isinstance(error, InternalError):
            # All come to the same step, which takes a moment, so that there is something to show.
            reached, second = self._walkers.run(*how, None)
            if second is not None:
                raise second
        return error

    def _arrive(self) -> None:
        """Take stock at the end of a slice."""
        assert self._ahead is not None
        (until, block, *_), job = self._ahead, self._job
        if block is not None:
            if self.paths is not None:
                self._thin(block)
            if self._f is not None:
                values = self._f.at(block.reshape(-1)).reshape(*block.shape, -1)
                if job.record == "none":
                    self.marks.put_sums(self.done - job.burn_in, self.sums, values)
                sums = values.sum(axis=1)
                self.sums = sums if self.sums is None else self.sums + sums
        self.done, self._ahead, self._block_of = until, None, block
        if until == job.burn_in and job.record == "visits":
            self.burned = self._visits(state_of(self._walkers))
        counted = until - job.burn_in
        # The last two are wanted, and a look at all histories takes its time.
        late = self._stop is not None or 4 * counted > job.n_steps - job.burn_in
        if self._marks_visits and late and Marks.are_at(counted):
            self._mark(counted)

    @property
    def _marks_visits(self) -> bool:
        return self._job.record == "visits"

    def _mark(self, counted: int) -> None:
        """Mark what was visited until now."""
        visits = self._walkers.totals()
        if visits is not None and self.burned is not None:
            visits = visits - self.burned.totals()
        if visits is not None:
            self.marks.put(counted, visits)

    def _thin(self, block: NDArray[Any]) -> None:
        """Write the part of a block that is recorded to the paths."""
        assert self.paths is not None
        job, before = self._job, self.done - self._job.burn_in
        first = -(before + 1) % job.thin
        some = block[:, first :: job.thin]
        at = (before + first + 1) // job.thin - 1 - (self._recorded - job.burn_in) // job.thin
        self.paths[:, at : at + some.shape[1]] = some

    def _deliver(self) -> None:
        """Hand a block to the user."""
        block, self._block_of = self._block_of, None
        if self._on_block is None or block is None:
            return
        try:
            self._on_block(block)
        except Exception as error:
            error.add_note(f"raised by on_block after {self.done} steps of each walker")
            raise

    def _visits(self, state: dict[str, NDArray[Any]]) -> Visits:
        return Visits.named(state, self._job.graph.n_nodes)

    def _save(self) -> None:
        """Write the checkpoint."""
        if self._keeper is not None:
            self._keeper.write(self, self._elapsed + time.perf_counter() - self._start)

    def kept(self) -> dict[str, NDArray[Any]]:
        """The arrays from which the run can go on."""
        out: dict[str, NDArray[Any]] = state_of(self._walkers)
        if self.paths is not None:
            out["paths"] = self.paths[:, : self._n_slots()]
        if self.sums is not None:
            out["sums"] = self.sums
        out |= {f"marks.{k}": array for k, array in (self.marks.arrays() or {}).items()}
        if self.burned is not None:
            out |= {f"burned.{k}": array for k, array in self.burned.fields().items()}
        return out

    def _n_slots(self) -> int:
        """Places of each path that are filled."""
        job = self._job
        recorded = (self._recorded - job.burn_in) // job.thin
        return max((self.done - job.burn_in) // job.thin - recorded, 0)

    def _leave(self, error: BaseException) -> None:
        """Keep what there is, when an error ends the run."""
        if not isinstance(error, FermiacError | KeyboardInterrupt):
            error.add_note(f"raised while walkers were at step {self.done}")
        partial = None
        try:
            if not isinstance(error, InternalError | TargetError):
                if self._ahead is not None:
                    self._advance(None)
                    self._arrive()
                self._deliver()
                if self.done > self._job.burn_in:
                    partial = self._result("interrupted")
                if self.done:
                    self._save()
            if not self.done and self._keeper is not None:
                self._keeper.discard()
        except Exception as failure:
            error.add_note(f"and what the run had could not be kept: {failure}")
        error.partial_result = partial  # type: ignore[attr-defined]

    def _result(self, status: str) -> WalkResult:
        """What there is."""
        job, walkers = self._job, self._walkers
        state = None
        seen = None
        if self._keep_state or job.record == "visits":
            state = state_of(walkers)
            if job.record == "visits":
                seen = self._visits(state)
                if self.burned is not None:
                    seen = seen.minus(self.burned)
        paths = None
        if self.paths is not None:
            paths = self.paths[:, : self._n_slots()]
            if self._before is not None:
                paths = np.concatenate([self._before.paths, paths], axis=1)
            elif status == "running":
                paths = paths.copy()
        return WalkResult.of_run(
            job,
            n_steps=self.done,
            status=status,
            wall_time=self._elapsed + time.perf_counter() - self._start,
            seen=seen,
            paths=paths,
            sums=self.sums,
            state=state if self._keep_state else None,
            n_moves=walkers.n_moves,
            positions=walkers.positions(),
            f=self._f,
            burned=self.burned,
            marks=self.marks.arrays(),
        )


def state_of(walkers: _core.Walkers) -> dict[str, NDArray[Any]]:
    """Where walkers stand, and what they remember."""
    out: dict[str, NDArray[Any]] = {"words": _core.walkers_save(walkers)}
    found = _core.walkers_visited(walkers)
    if found is not None:
        out |= dict(zip(("indptr", "nodes", "counts", "logs"), found, strict=True))
    return out


def unnamed(kept: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): array for k, array in kept.items() if k.startswith(prefix)}


def restore(walkers: _core.Walkers, state: dict[str, NDArray[Any]]) -> None:
    """Bring walkers to where `state_of` found others of the same walk."""
    _core.walkers_load(walkers, state["words"])
    if "indptr" in state:
        parts = (state["indptr"], state["nodes"], state["counts"], state["logs"])
        _core.walkers_remember(walkers, *parts)
