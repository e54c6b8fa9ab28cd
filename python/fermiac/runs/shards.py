"""Evaluation of targets in this process or by an executor, with or without a checkpoint.

Methods request batches of points from a target in a deterministic order on the calling thread.
Executors and checkpoints are therefore wrappers of the target, the same for every method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base.config import threads
from fermiac._base.progress import Report
from fermiac.runs import worker
from fermiac.runs.checkpoint import Arrays, Log, join
from fermiac.runs.executor import ExecutorLike, Shards
from fermiac.targets.density import LogDensity
from fermiac.targets.finite import FiniteDensity, unwrapped

__all__ = ["evaluated", "evaluation"]

Array = NDArray[np.float64]
Target = TypeVar("Target")


class _Pieces(Protocol):
    """Values of a batch in pieces, in any order: (start, stop, arrays)."""

    def __call__(
        self, x: Array, with_gradient: bool | None, /
    ) -> Iterator[tuple[int, int, Arrays]]: ...


@contextmanager
def evaluation(
    target: Any,
    *,
    executor: ExecutorLike | None,
    log: Log | None,
    identity: Callable[[], Mapping[str, Any]],
    n_threads: int,
    report: Report | None,
    total: int = 0,
    integrand: bool = False,
    in_jobs: bool = False,
) -> Iterator[tuple[Any, Report | None]]:
    """Yield the target and the progress callback that a method uses.

    Without executor and checkpoint they are the arguments. Otherwise a callable replaces a callable
    or a built-in integrand, and a `LogDensity` replaces a log-density.

    Parameters
    ----------
    target : callable or LogDensity
    executor : object, optional
        What `fermiac.executor.Sharded` takes, or one.
    log : Log, optional
        The log of a checkpoint.
    identity : callable
        A function that returns the identity of the run, which a checkpoint must match (see
        `identity_of`).
    n_threads : int
        The number of threads of a target in Rust that is evaluated in this process.
    report : callable, optional
        The progress callback.
    total : int, default 0
        The total of the progress, for reports (and thus pauses and aborts) within the first batch;
        0 if it is unknown.
    integrand : bool, default False
        Whether the method uses the target as an integrand. Native and torch targets are both
        integrands and log-densities.
    in_jobs : bool, default False
        Whether engines that start a job for every task get points, too: the method has few batches.
    """
    is_density = isinstance(target, LogDensity) and not integrand
    # Workers evaluate the points of the differences. A new one counts the evaluations of this run.
    differs = is_density and isinstance(target, FiniteDensity)
    target = unwrapped(target) if differs else target
    if executor is None and log is None:
        yield FiniteDensity(target) if differs else target, report
        return
    ticker = _Ticker(report, total)
    shards = None if executor is None else Shards(target, executor, ticker.tick, in_jobs)
    rows = None if log is None else log.checkpoint.rows
    pieces: _Pieces = shards or _Local(target, rows, ticker.tick)
    batched = _Batched(pieces, log)
    if log is not None:
        log.begin(identity())
    try:
        with threads(n_threads):
            wrapped: Any = _Density(target, batched) if is_density else batched
            wrapped = FiniteDensity(wrapped) if differs else wrapped
            yield wrapped, None if report is None else ticker
    except BaseException as error:
        if log is not None:
            try:
                log.end("interrupted")
            except OSError as failure:
                error.add_note(f"and the checkpoint could not be written: {failure}")
        raise
    else:
        if log is not None:
            log.end("complete")
    finally:
        if shards is not None:
            shards.close()


@contextmanager
def evaluated(
    target: Any,
    executor: ExecutorLike | None,
    workers: int,
    report: Report | None,
    integrand: bool = False,
    in_jobs: bool = False,
) -> Iterator[tuple[Any, Report | None]]:
    """Yield the target and the progress callback for a method that keeps its own state."""
    last = (0, 0)

    def remember(done: int, total: int) -> None:
        nonlocal last
        last = (done, total)
        if report is not None:
            report(done, total)

    def again(_done: int, _total: int) -> None:
        # From within a batch of an executor, so that a handle can end the run there.
        if report is not None and last[1]:
            report(*last)

    with evaluation(
        target,
        executor=executor,
        log=None,
        identity=dict,
        n_threads=workers,
        report=again,
        total=1,
        integrand=integrand,
        in_jobs=in_jobs,
    ) as (asked, _):
        watched = report is not None and executor is not None
        try:
            yield asked, remember if watched else report
        except BaseException as error:
            if not hasattr(error, "partial_result"):  # before there was anything
                error.partial_result = None  # type: ignore[attr-defined]
            raise


class _Ticker:
    """A progress callback that counts finished parts of a batch and never decreases."""

    def __init__(self, report: Report | None, total: int) -> None:
        self._report = report
        self._done, self._total = 0, total
        self._most = 0

    def __call__(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self.tick(0)

    def tick(self, rows: int) -> None:
        """Report the number of finished rows of the current batch."""
        # The method counts a batch only once it has used it.
        self._most = max(self._most, min(self._done + rows, self._total))
        if self._report is not None and self._total:
            self._report(self._most, self._total)


class _Local:
    """Evaluation in this process, in pieces of a batch if rows are given."""

    def __init__(self, target: Any, rows: int | None, tick: Callable[[int], object]) -> None:
        self._target = target
        self._rows = rows
        self._tick = tick

    def __call__(self, x: Array, with_gradient: bool | None) -> Iterator[tuple[int, int, Arrays]]:
        rows = self._rows or max(len(x), 1)
        for start in range(0, len(x), rows):
            stop = min(start + rows, len(x))
            # The target may keep its batch, or write to it.
            part = x[start:stop].copy()
            yield start, stop, worker.direct(self._target, part, with_gradient)
            self._tick(stop)


class _Batched:
    """Values of whole batches, from the log if it has them."""

    def __init__(self, pieces: _Pieces, log: Log | None) -> None:
        self._pieces = pieces
        self._log = log

    def evaluate(self, x: Array, with_gradient: bool | None) -> Arrays:
        """Return the values of a batch, and write new ones to the log."""
        log = self._log
        if log is None:
            return join(list(self._pieces(x, with_gradient)))
        batch = log.next(x, with_gradient)
        known = log.to_verify(batch)
        if known is not None:
            rows = x[known.start : known.stop]
            log.verify(known, lambda: join(list(self._pieces(rows, with_gradient))))
        for low, high in list(batch.missing()):
            for start, stop, arrays in self._pieces(x[low:high], with_gradient):
                batch.add(low + start, low + stop, arrays)
                log.flush_if_due()
        return batch.arrays()

    def __call__(self, x: Array, fresh: bool = False) -> NDArray[Any]:
        del fresh  # each piece is a copy
        return self.evaluate(x, None)[0]


class _Density(LogDensity):
    """A log-density whose batches come from an executor or from a log."""

    form = "python"

    def __init__(self, target: LogDensity, batched: _Batched) -> None:
        self.dim = target.dim
        self.has_gradient = target.has_gradient
        self._batched = batched

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        arrays = self._batched.evaluate(x, with_gradient)
        return arrays[0], arrays[1] if with_gradient else None
