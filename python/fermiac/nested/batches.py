"""Chains of a batch on the workers of an executor, which run them to their ends.

The chains of a batch do not depend on each other. A worker gets what they have in common, as words,
and the states of some of them; it returns the states at their ends. It keeps nothing, so lost
chains are repeated. The calling process holds all chains, and there is one barrier a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.nested.problem import handle_of
from fermiac.runs.dispatch import Dispatch
from fermiac.runs.engines import engine_of
from fermiac.runs.executor import require_executor, takes_points, unit_of
from fermiac.targets.finite import FiniteDensity, unwrapped

if TYPE_CHECKING:
    from fermiac.nested.job import Job
    from fermiac.runs.executor import ExecutorLike

__all__ = ["Batches", "Late", "batched"]


Words = NDArray[np.uint64]

#: More chains than a batch has.
_ALL = 2**32


class Late(Exception):
    """Raised by a tick to end the wait for chains."""


class _Flag:
    """Whether a batch has ended; threads of this process share it."""

    is_over = False


class _Work:
    """Some chains of a batch, as the work of a shard."""

    def __init__(self, job: Job) -> None:
        target = job.target
        self._is_finite = isinstance(target, FiniteDensity)
        self._target: Any = unwrapped(target) if self._is_finite else target
        self._prior, self._n_blobs = job.prior, job.blobs[0]

    def __call__(
        self, kinds: tuple[str, str], batch: Words, chains: Words, seconds: float, flag: _Flag
    ) -> tuple[Words, tuple[int, int, float], int, float]:
        """Run chains to their ends.

        Parameters
        ----------
        kinds : tuple of str
            The ends of the axes and the meaning of NaN, as the core takes them.
        batch, chains : ndarray
            What the chains have in common, and their states.
        seconds : float
            The time after which chains that have not ended are returned as they are.
        flag : _Flag

        Returns
        -------
        chains : ndarray
            The states of the chains.
        counts : tuple
            Values that are NaN, values that are codes, and seconds of the likelihood.
        more_evals : int
            The evaluations that the chains do not count.
        seconds : float
            The time that it took.
        """
        start = time.perf_counter()

        def watch(_done: int, _total: int) -> None:
            if flag.is_over:
                raise InterruptedError("the run has ended")

        target = self._made()
        words, counts = _core.nested_chains(
            self._prior.handle,
            handle_of(target, self._prior.dim, self._n_blobs),
            kinds,
            np.require(batch, np.uint64, ["C", "A"]),
            np.require(chains, np.uint64, ["C", "A"]),
            seconds if seconds < math.inf else None,
            watch,
        )
        more_evals = target._more_evals if self._is_finite else 0
        return words, counts, more_evals, time.perf_counter() - start

    def _made(self) -> Any:
        """Return the likelihood, with its own count of evaluations."""
        return FiniteDensity(unwrapped(self._target)) if self._is_finite else self._target


class Batches:
    """The chains of a run on the workers of an executor, one batch after the other."""

    def __init__(self, job: Job, executor: ExecutorLike) -> None:
        given = require_executor(executor)
        self._engine = engine_of(given.executor)
        self._dispatch = Dispatch(
            self._engine,
            given._sharding,
            _Work(job),
            lambda _: self._tick(),
            "chains",
            whole=True,
        )
        self._tick: Callable[[], object] = lambda: None
        self._running: Generator[None] | None = None
        self._core: _core.NestedRun | None = None
        #: Seconds of an evaluation, and the evaluations of a chain of the last batch.
        self._cost = self._length = math.nan

    def close(self) -> None:
        """Release the resources of the run."""
        self._stop()
        self._dispatch.close()

    def run(
        self, core: _core.NestedRun, job: Job, seconds: float | None, tick: Callable[[], object]
    ) -> None:
        """Run the chains of a batch to their ends, or for a while.

        Chains on their way stay there, and the next call goes on with them.

        Parameters
        ----------
        core : NestedRun
            The run, which takes the chains of every shard that is done.
        job : Job
            Its job.
        seconds : float or None
        tick : callable
            A function that is called about ten times a second. It may raise `Late`, which ends the
            wait for chains on their way, or another exception.
        """
        self._tick = tick
        end = math.inf if seconds is None else time.monotonic() + seconds
        if self._running is None or self._core is not core:
            self._stop()
            self._core, self._running = core, self._to_end(core, job)
        try:
            for _ in self._running:
                # After its last chain the batch is over, and the next call gets another one.
                if time.monotonic() >= end and core.are_pending(0, _ALL):
                    return
            self._running = None
        except BaseException as error:
            self._stop()
            if not isinstance(error, Late):
                raise

    def _stop(self) -> None:
        """Forget the chains on their way."""
        running, self._running, self._core = self._running, None, None
        if running is not None:
            running.close()

    def _to_end(self, core: _core.NestedRun, job: Job) -> Generator[None]:
        """Run the chains of a batch to their ends; yield after each shard."""
        options = job.options()
        kinds = (options["edges"], options["on_nan"])
        flag, batch = _Flag(), core.save_batch()
        state = core.state()
        n, before = state["n_chains"], state["n_evals"]
        # Jobs that wait in a queue are long.
        most = self._dispatch.least_seconds() if self._engine.pointwise else math.inf

        def arguments(start: int, stop: int) -> tuple[Any, ...]:
            return kinds, batch, core.save_chains(start, stop - start), most, flag

        def check(got: Any, start: int, stop: int) -> str | None:
            good = isinstance(got, tuple) and len(got) == 4 and isinstance(got[0], np.ndarray)
            return None if good else "the states of these chains"

        left = n * self._length * self._cost
        size = None if math.isnan(left) else -(-n // self._dispatch.n_shards(left))
        shards = self._dispatch(n, arguments, check, most=size, more=core.are_pending)
        try:
            for start, _, (words, counts, more_evals, seconds) in shards:
                words = np.require(words, np.uint64, ["C", "A"])
                n_evals = core.load_chains(*job.ports, start, words, counts)
                if more_evals:
                    job.target._more_evals += more_evals
                if n_evals > 0:
                    self._learn(seconds / n_evals)
                yield
        finally:
            flag.is_over = True
            shards.close()
        self._length = (core.state()["n_evals"] - before) / n

    def _learn(self, cost: float) -> None:
        """Update the seconds of an evaluation."""
        self._cost = cost if math.isnan(self._cost) else 0.8 * self._cost + 0.2 * cost


@contextmanager
def batched(job: Job, executor: ExecutorLike | None) -> Iterator[Batches | None]:
    """Yield the chains of a job on the workers of an executor; None if these get points."""
    batches = None if executor is None else _batches(job, executor)
    try:
        yield batches
    finally:
        if batches is not None:
            batches.close()


def _batches(job: Job, executor: ExecutorLike) -> Batches | None:
    kind = job.sampler._options(job.dim)["sampler"]
    is_chained = kind not in ("uniform", "learnt")
    if unit_of(executor) == "points" or not is_chained:
        return None
    points = takes_points(executor)
    if kind == "auto" and not points:
        raise ArgumentError(
            "sampler: 'auto' begins with points from a bound, in many small batches, and each of "
            f"them would be a round of jobs of {type(executor).__name__}; give a sampler of chains "
            "(sampler='slice'), or independent runs (runs=)"
        )
    try:
        return Batches(job, executor)
    except ArgumentError:
        if unit_of(executor) == "whole" or not points:
            raise
        # The prior cannot be sent, or neither of both, which the points will tell.
        return None
