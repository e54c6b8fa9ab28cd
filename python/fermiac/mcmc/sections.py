"""Chains on the workers of an executor, which run them section by section from barrier to barrier.

A section is a number of transitions of some chains. It is sent with the state of the chains, and
the worker returns their state at its end and the draws of the section. A worker keeps nothing, so a
lost section is repeated. This process holds all chains; it passes the barriers as in a local run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
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
from fermiac.runs.executor import require_executor, takes_points
from fermiac.targets.density import LogDensity
from fermiac.targets.factories import Factory, as_factory
from fermiac.targets.finite import FiniteDensity, unwrapped
from fermiac.targets.transformed_density import TransformedDensity, transformed
from fermiac.targets.transforms import Transform

if TYPE_CHECKING:
    from fermiac import _core
    from fermiac.mcmc.kernel import Kernel
    from fermiac.runs.executor import ExecutorLike

__all__ = ["Sections", "SourceOfTarget", "sectioned", "takes_sections"]

Array = NDArray[np.float64]

#: The transitions of the first sections, which measure the cost of a transition.
_FIRST = 10
#: The largest number of draws, log-densities, ... that a section returns.
_MOST_NUMBERS = 2**23
#: The arrays of a record.
_ARRAYS = ("draws", "log_densities", "gradients", "stats")


def takes_sections(
    how: str, executor: ExecutorLike | None, kernel: Kernel, n_chains: int, max_time: float | None
) -> bool:
    """Return whether the workers of an executor get sections of chains, and not points."""
    if executor is None or how == "points":
        return False
    obstacle = None
    if max_time is not None:
        obstacle = (
            "max_time: given with shards='whole'; a run that ends by time sends points, since it "
            "would end in the middle of long sections: use shards='auto', or stop="
        )
    elif kernel._adapts_together:
        obstacle = (
            "kernel: its chains wait for each other after each transition of the warm-up, with "
            "shards='whole'; use shards='auto' for the points of all chains together"
        )
    elif not kernel._is_movable:
        obstacle = (
            "kernel: it has a part written in Python, whose state cannot move between workers, "
            "with shards='whole'; use shards='auto' for points, or pool=False, which makes each "
            "chain by one worker"
        )
    if obstacle is not None:
        if how == "whole":
            raise ArgumentError(obstacle)
        return False
    if how == "whole" or not kernel._asks_many:
        return True
    n_workers = require_executor(executor).n_workers
    # Points keep more workers busy than there are chains.
    return n_workers is None or n_chains // kernel._n_points(n_chains) >= n_workers


@dataclass(frozen=True)
class SourceOfTarget:
    """What a worker makes the target of the chains from: the target as given, and transforms."""

    given: LogDensity | Factory
    dim: int
    is_finite: bool
    transforms: tuple[Transform, ...] | None
    names: tuple[str, ...] | None

    @classmethod
    def of(
        cls,
        source: LogDensity,
        factory: str | Factory | None,
        space: Any,
        names: tuple[str, ...] | None,
    ) -> SourceOfTarget:
        """Return the source of a target, of which the chains move in this space or in its own."""
        moved = isinstance(space, TransformedDensity)
        return cls(
            given=unwrapped(source) if factory is None else as_factory(factory),
            dim=source.dim,
            is_finite=isinstance(source, FiniteDensity),
            transforms=space.transforms if moved else None,
            names=names,
        )

    def made(self) -> LogDensity:
        """Return a target with its own count of evaluations."""
        built = self.given.build(self.dim) if isinstance(self.given, Factory) else self.given
        if not isinstance(built, LogDensity):
            raise ArgumentError(
                f"target_factory: it gave a {type(built).__name__}; a log-density as "
                "fermiac.targets makes it is needed (as_target, native, torch)"
            )
        target = FiniteDensity(unwrapped(built)) if self.is_finite else built
        if self.transforms is None:
            return target
        return transformed(target, self.transforms, names=self.names)


class _Work:
    """A section of some chains, as the work of a shard."""

    def __init__(self, source: SourceOfTarget, job: Job) -> None:
        self._source, self._target = source, source.given
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
        record = {**dict.fromkeys(_ARRAYS), **record, **arrays}
        _, error = sampler.run(oracles, until, record, None, 1, 1, self._watch)
        if error is not None:
            raise error
        more_evals = job.target._more_evals - counted
        seconds = time.perf_counter() - start
        return until, sampler.save_chains(0, n_chains), more_evals, seconds, arrays

    def _watch(self, _done: int, _total: int) -> None:
        """End a section that is no longer needed, in a thread of the same process."""
        if self.is_cancelled:
            raise InterruptedError("the run has ended")


class Sections:
    """The chains of a run on the workers of an executor."""

    def __init__(self, job: Job, source: SourceOfTarget, executor: ExecutorLike) -> None:
        given = require_executor(executor)
        self._engine = engine_of(given.executor)
        self._work = _Work(source, job)
        self._dispatch = Dispatch(
            self._engine, given._plan, self._work, lambda _: self.tick(), "chains", whole=True
        )
        self._after = job.settings.n_warmup
        #: A callback that is called about ten times a second, and may raise.
        self.tick: Callable[[], object] = lambda: None
        #: The evaluations that the states of the chains do not count.
        self.more_evals = 0
        self._running: Generator[None] | None = None
        self._cost = math.nan  # seconds of a transition of one chain

    def close(self) -> None:
        """Release the resources of the run."""
        self._work.is_cancelled = True
        if self._running is not None:
            self._running.close()
        self._dispatch.close()

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
            if min(_made(sampler)) >= goal:
                self._running = None
                sampler.meet()
                if min(_made(sampler)) >= sampler.goal(until):
                    return True
                continue
            if self._running is None:
                self._running = self._to_goal(sampler, goal, record)
            for _ in self._running:
                if time.monotonic() >= end:
                    return False

    def _to_goal(
        self, sampler: _core.Sampler, goal: int, record: dict[str, Any]
    ) -> Generator[None]:
        """Run the chains to a transition without a barrier before it; yield after each section."""
        n_points, thin = sampler.n_points, int(record["thin"])
        done = np.array(_made(sampler))
        first = int(record["first"])
        if first >= self._after:
            first -= sampler.n_skipped
        wanted = tuple(name for name in _ARRAYS if record[name] is not None)
        row = sum(record[name].size // max(record[name].shape[1], 1) for name in wanted)
        most = max(_MOST_NUMBERS * thin // max(row // len(done), 1), 1)

        n_slots = int(record["n_slots"])

        def slot(transition: int) -> int:
            return min(max((transition - first) // thin, 0), n_slots)

        def arguments(start: int, stop: int) -> tuple[Any, ...]:
            n, at = stop - start, int(done[start:stop].min())
            to = min(goal, at + self._length(n, most))
            part = {"first": first + slot(at) * thin, "thin": thin, "n_slots": slot(to) - slot(at)}
            return n, sampler.save_chains(start, n), to, part, wanted

        def check(got: Any, start: int, stop: int) -> str | None:
            good = isinstance(got, tuple) and len(got) == 5 and isinstance(got[4], dict)
            if good and int(done[start:stop].min()) < got[0] <= goal and {*got[4]} == {*wanted}:
                return None
            return "the state and the draws of these chains"

        def more(start: int, stop: int) -> bool:
            return bool(done[start:stop].min() < goal)

        left = float(self._cost * (goal - done).clip(0).sum())
        size = None if math.isnan(left) else -(-len(done) // self._dispatch.n_shards(left))
        for start, stop, got in self._dispatch(len(done), arguments, check, most=size, more=more):
            to, words, more_evals, seconds, arrays = got
            at = int(done[start:stop].min())
            for chain in range(start, stop):
                # A chain may have been further than the others.
                low = slot(max(int(done[chain]), at))
                for name, array in arrays.items():
                    per = 1 if name == "stats" else n_points
                    rows = slice((chain - start) * per, (chain - start + 1) * per)
                    into = record[name][chain * per : (chain + 1) * per, low : slot(to)]
                    into[...] = array[rows, low - slot(at) :]
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
    how: str, job: Job, source: SourceOfTarget, executor: ExecutorLike
) -> Iterator[Sections | None]:
    """Yield the chains on the workers of an executor; None if only points can be sent."""
    try:
        sections = Sections(job, source, executor)
    except ArgumentError:
        if how == "whole" or not takes_points(executor):
            raise
        # The target could be sent, so the kernel or the transforms cannot.
        yield None
        return
    try:
        yield sections
    finally:
        sections.close()


def _made(sampler: _core.Sampler) -> list[int]:
    """Return the number of transitions that each chain has made, without those left out."""
    return [n - sampler.n_skipped for n in sampler.n_done]
