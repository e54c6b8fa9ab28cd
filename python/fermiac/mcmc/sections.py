"""Chains on the workers of an executor, which run them section by section from barrier to barrier.

A section is a number of transitions of some chains. It is sent with the state of the chains, and
the worker returns their state at its end and the draws of the section. A worker keeps nothing, so a
lost section is repeated. This process holds all chains; it passes the barriers as in a local run.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.mcmc.job import Job
from fermiac.runs.dispatch import Dispatch
from fermiac.runs.engines import engine_of
from fermiac.runs.executor import require_executor, takes_points, unit_of
from fermiac.targets.density import LogDensity
from fermiac.targets.finite import FiniteDensity, unwrapped
from fermiac.targets.transformed_density import TransformedDensity, transformed
from fermiac.targets.transforms import Transform

if TYPE_CHECKING:
    from fermiac import _core
    from fermiac.mcmc.kernel import Kernel
    from fermiac.runs.executor import ExecutorLike

__all__ = [
    "ARRAYS",
    "MOST_NUMBERS",
    "Sections",
    "SectionsOnWorkers",
    "Slots",
    "SourceOfTarget",
    "Work",
    "made",
    "sectioned",
    "takes_sections",
]

Array = NDArray[np.float64]

#: The transitions of the first sections, which measure the cost of a transition.
_FIRST = 10
#: The largest number of draws, log-densities, ... that a section returns.
MOST_NUMBERS = 2**23
#: The arrays of a record.
ARRAYS = ("draws", "log_densities", "gradients", "stats")


def takes_sections(
    executor: ExecutorLike | None, kernel: Kernel, n_chains: int, max_time: float | None
) -> bool:
    """Return whether the workers of an executor get sections of chains, and not points."""
    if executor is None or unit_of(executor) == "points":
        return False
    # A run that ends by time would end in the middle of long sections; chains that wait for each
    # other after each transition need them all; a part in Python has a state that cannot move.
    if max_time is not None or kernel._adapts_together or not kernel._is_movable:
        return False
    if unit_of(executor) == "whole" or not kernel._asks_many:
        return True
    n_workers = require_executor(executor).n_workers
    # Points keep more workers busy than there are chains.
    return n_workers is None or n_chains // kernel._n_points(n_chains) >= n_workers


@dataclass(frozen=True)
class SourceOfTarget:
    """What a worker makes the target of the chains from: the target as given, and transforms."""

    given: LogDensity
    dim: int
    is_finite: bool
    transforms: tuple[Transform, ...] | None
    names: tuple[str, ...] | None

    @classmethod
    def of(
        cls,
        source: LogDensity,
        space: Any,
        names: tuple[str, ...] | None,
    ) -> SourceOfTarget:
        """Return the source of a target, of which the chains move in this space or in its own."""
        moved = isinstance(space, TransformedDensity)
        return cls(
            given=unwrapped(source),
            dim=source.dim,
            is_finite=isinstance(source, FiniteDensity),
            transforms=space.transforms if moved else None,
            names=names,
        )

    def made(self) -> LogDensity:
        """Return a target with its own count of evaluations."""
        target = FiniteDensity(unwrapped(self.given)) if self.is_finite else self.given
        if self.transforms is None:
            return target
        return transformed(target, self.transforms, names=self.names)


class Work:
    """A section of some chains, as the work of a shard."""

    def __init__(self, source: SourceOfTarget, job: Job, n_threads: int = 1) -> None:
        self._source, self._target = source, source.given
        self._n_threads = n_threads
        self._job = partial(
            Job,
            kernel=job.kernel,
            # Without barriers, which the coordinator passes.
            settings=replace(job.settings, n_warmup=0, early=False),
            key=job.key,
            names=job.names if job.model is None else job.model.free_names,
            space=None,
            first=job.first,
        )
        self._n_points = job.kernel._n_points(job.settings.n_chains)
        self.is_cancelled = False
        #: A callback that is called about ten times a second by chains of this process.
        self.tick: Callable[[], object] | None = None

    def __call__(
        self,
        n_chains: int,
        words: NDArray[np.uint64],
        until: int,
        record: dict[str, Any],
        wanted: tuple[str, ...],
    ) -> tuple[int, NDArray[np.uint64], int, float, dict[str, Array]]:
        """Run chains to a transition.

        Parameters
        ----------
        n_chains : int
            The number of chains, or of their states.
        words : ndarray
            Their states.
        until : int
            The transition.
        record : dict
            The first transition, the thinning and the number of slots of the arrays.
        wanted : tuple of str
            The arrays to be returned.

        Returns
        -------
        until : int
            The same.
        words : ndarray
            The states there.
        more_evals : int
            The evaluations of the target that the states do not count.
        seconds : float
            The time that it took.
        arrays : dict of ndarray
        """
        start = time.perf_counter()
        sampler, more_evals, arrays = self.run(n_chains, words, until, record, wanted)
        seconds = time.perf_counter() - start
        return until, sampler.save_chains(0, n_chains), more_evals, seconds, arrays

    def run(
        self,
        n_chains: int,
        words: NDArray[np.uint64],
        until: int,
        record: dict[str, Any],
        wanted: tuple[str, ...],
    ) -> tuple[_core.Sampler, int, dict[str, Array]]:
        """Run chains to a transition; return them, the further evaluations and the arrays."""
        rows = n_chains * self._n_points
        job = self._job(target=self._source.made())
        job = replace(job, settings=replace(job.settings, n_chains=rows))
        counted = job.target._more_evals
        sampler, oracles = job.sampler(np.zeros((rows, job.target.dim)))
        sampler.load_chains(0, n_chains, np.require(words, np.uint64, ["C", "A", "W"]))
        n_slots, dim = record["n_slots"], job.target.dim
        shapes = {
            "draws": (rows, n_slots, dim),
            "log_densities": (rows, n_slots),
            "gradients": (rows, n_slots, dim),
            "stats": (n_chains, n_slots, len(sampler.stat_names)),
        }
        arrays = {name: np.zeros(shapes[name]) for name in wanted}
        record = {**dict.fromkeys(ARRAYS), **record, **arrays}
        _, error = sampler.run(oracles, until, record, None, self._n_threads, 1, self._watch)
        if error is not None:
            raise error
        return sampler, job.target._more_evals - counted, arrays

    def _watch(self, _done: int, _total: int) -> None:
        """End a section that is no longer needed, in a thread of the same process."""
        if self.is_cancelled:
            raise InterruptedError("the run has ended")
        if self.tick is not None:
            self.tick()


class Slots:
    """The places of transitions in the arrays of a record."""

    def __init__(self, record: dict[str, Any], sampler: _core.Sampler, n_warmup: int) -> None:
        self._record, self._n_points = record, sampler.n_points
        self.thin, self._n_slots = int(record["thin"]), int(record["n_slots"])
        #: The first transition of the record, without those of the warm-up that were left out.
        self.first = int(record["first"])
        if self.first >= n_warmup:
            self.first -= sampler.n_skipped
        self.wanted = tuple(name for name in ARRAYS if record[name] is not None)
        #: The numbers of all chains at one transition.
        self.row = sum(record[name].size // max(record[name].shape[1], 1) for name in self.wanted)

    def slot(self, transition: int) -> int:
        """Return the number of slots that are filled at a transition."""
        return min(max((transition - self.first) // self.thin, 0), self._n_slots)

    def part(self, start: int, stop: int) -> dict[str, int]:
        """Return the record of a section between two transitions, without its arrays."""
        low = self.slot(start)
        first = self.first + low * self.thin
        return {"first": first, "thin": self.thin, "n_slots": self.slot(stop) - low}

    def of_chains(self, name: str, array: Array, first: int, n: int) -> Array:
        """Return the rows of some chains in an array."""
        per = 1 if name == "stats" else self._n_points
        return array[first * per : (first + n) * per]

    def fill(self, first: int, low: int, stop: int, arrays: Mapping[str, Array]) -> None:
        """Write arrays of some chains, from a slot to a transition."""
        high = self.slot(stop)
        for name, array in arrays.items():
            n = len(array) // (1 if name == "stats" else self._n_points)
            self.of_chains(name, self._record[name], first, n)[:, low:high] = array


class Sections(ABC):
    """The chains of a run, which move on section by section."""

    def __init__(self) -> None:
        #: A callback that is called about ten times a second, and may raise.
        self.tick: Callable[[], object] = lambda: None
        #: The evaluations that the states of the chains do not count.
        self.more_evals = 0
        self._running: Generator[None] | None = None

    def close(self) -> None:
        """Release the resources of the run."""
        if self._running is not None:
            self._running.close()

    def run(
        self, sampler: _core.Sampler, until: int, record: dict[str, Any], seconds: float | None
    ) -> bool:
        """Run the chains to a transition; return whether they came there in this time.

        Sections on their way stay there, and the next call goes on with them.

        Parameters
        ----------
        sampler : Sampler
            All chains. They move on with every section that is done.
        until, record
            As for `Sampler.run`.
        seconds : float or None
        """
        end = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            goal = sampler.goal(until)
            if min(made(sampler)) >= goal:
                self._running = None
                sampler.meet()
                if min(made(sampler)) >= sampler.goal(until):
                    return True
                continue
            if self._running is None:
                self._running = self._to_goal(sampler, goal, record)
            for _ in self._running:
                if time.monotonic() >= end:
                    return False

    @abstractmethod
    def _to_goal(
        self, sampler: _core.Sampler, goal: int, record: dict[str, Any]
    ) -> Generator[None]:
        """Run the chains to a transition without a barrier before it; yield after each section."""


class SectionsOnWorkers(Sections):
    """The chains of a run on the workers of an executor."""

    def __init__(self, job: Job, source: SourceOfTarget, executor: ExecutorLike) -> None:
        super().__init__()
        given = require_executor(executor)
        self._engine = engine_of(given.executor)
        self._work = Work(source, job)
        self._dispatch = Dispatch(
            self._engine, given._sharding, self._work, lambda _: self.tick(), "chains", whole=True
        )
        self._after = job.settings.n_warmup
        self._cost = math.nan  # seconds of a transition of one chain

    def close(self) -> None:
        """Release the resources of the run."""
        self._work.is_cancelled = True
        super().close()
        self._dispatch.close()

    def _to_goal(
        self, sampler: _core.Sampler, goal: int, record: dict[str, Any]
    ) -> Generator[None]:
        """Run the chains to a transition without a barrier before it; yield after each section."""
        done = np.array(made(sampler))
        slots = Slots(record, sampler, self._after)
        wanted, slot = slots.wanted, slots.slot
        most = max(MOST_NUMBERS * slots.thin // max(slots.row // len(done), 1), 1)

        def arguments(start: int, stop: int) -> tuple[Any, ...]:
            n, at = stop - start, int(done[start:stop].min())
            to = min(goal, at + self._length(n, most))
            return n, sampler.save_chains(start, n), to, slots.part(at, to), wanted

        def check(got: Any, start: int, stop: int) -> str | None:
            good = isinstance(got, tuple) and len(got) == 5 and isinstance(got[4], dict)
            # Chains of a resumed run may be at the goal from the start.
            least = min(int(done[start:stop].min()) + 1, goal)
            if good and least <= got[0] <= goal and {*got[4]} == {*wanted}:
                return None
            return "the state and the draws of these chains"

        def more(start: int, stop: int) -> bool:
            return bool(done[start:stop].min() < goal)

        left = float(self._cost * (goal - done).clip(0).sum())
        size = None if math.isnan(left) else -(-len(done) // self._dispatch.n_shards(left))
        for start, stop, got in self._dispatch(len(done), arguments, check, most=size, more=more):
            to, words, more_evals, seconds, arrays = got
            at = int(done[start:stop].min())
            if at == to:
                yield
                continue
            for chain in range(start, stop):
                # A chain may have been further than the others.
                low = slot(max(int(done[chain]), at))
                slots.fill(chain, low, to, {
                    name: slots.of_chains(name, array, chain - start, 1)[:, low - slot(at) :]
                    for name, array in arrays.items()
                })  # fmt: skip
            # After its draws, as an interrupt may come at any moment.
            sampler.load_chains(start, stop - start, np.require(words, np.uint64, ["C", "A", "W"]))
            self.more_evals += more_evals
            self._learn(seconds / ((stop - start) * (to - at)))
            done[start:stop] = done[start:stop].clip(to)
            yield

    def _length(self, n_chains: int, most: int) -> int:
        """Return the number of transitions of the next section of some chains."""
        if not self._engine.pointwise:  # jobs that wait in a queue are long
            return 2**62
        if math.isnan(self._cost):
            return _FIRST
        wanted = self._dispatch.least_seconds() / (self._cost * n_chains)
        return max(int(min(wanted, most // n_chains)), 1)

    def _learn(self, cost: float) -> None:
        """Update the seconds of a transition."""
        self._cost = cost if math.isnan(self._cost) else 0.8 * self._cost + 0.2 * cost


@contextmanager
def sectioned(
    job: Job, source: SourceOfTarget, executor: ExecutorLike
) -> Iterator[Sections | None]:
    """Yield the chains on the workers of an executor; None if only points can be sent."""
    try:
        sections = SectionsOnWorkers(job, source, executor)
    except ArgumentError:
        if unit_of(executor) == "whole" or not takes_points(executor):
            raise
        # The target could be sent, so the kernel or the transforms cannot.
        yield None
        return
    try:
        yield sections
    finally:
        sections.close()


def made(sampler: _core.Sampler) -> list[int]:
    """Return the number of transitions that each chain has made, without those left out."""
    return [n - sampler.n_skipped for n in sampler.n_done]
