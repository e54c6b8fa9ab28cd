"""Executors: a target evaluated by the workers of any `concurrent.futures.Executor`.

Every method that takes ``executor=`` cuts its batches of points into shards, sends them to the
workers, and joins the values in order. The answer is that of a local run wherever the value of a
point does not depend on the batch that it comes in.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import shown, whole
from fermiac.errors import ArgumentError, WorkerError
from fermiac.runs import worker
from fermiac.targets.factories import Factory

__all__ = ["Sharded"]

Array = NDArray[np.float64]

#: Longer pickles are sent to a worker when it asks for them, not with every shard.
_SMALL = 1 << 14
#: Seconds between two looks at progress and cancellation.
_TICK = 0.1


class Sharded:
    """An executor with a say in how batches are cut; ``executor=`` takes it in place of one.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        A process pool, a thread pool, ``dask.distributed.Client.get_executor()``,
        ``mpi4py.futures.MPIPoolExecutor``, loky's executor, or any other. It is neither shut down
        nor changed.
    n_workers : int, optional
        How many shards it works on at once; at most twice as many are handed out. By default what
        the executor says, else the number of CPUs of this machine.
    rows : int, optional
        Points of a shard at most. By default a batch is cut into two shards for each worker.

    Raises
    ------
    ArgumentError
        If `executor` is no executor, or a number is not a whole number from 1 up.

    Notes
    -----
    A worker evaluates on one thread, and at the instruction-set level of the driver: one that runs
    at another level is refused with a `WorkerError`. The target is pickled once (by cloudpickle
    where that is installed, which takes lambdas too) and kept by each worker. What cannot be
    pickled is built by each worker instead: ``target_factory="module:function"``.

    The shards of a worker that dies are tried once more, by a fresh pool with the same settings in
    the case of a `~concurrent.futures.ProcessPoolExecutor`, which breaks with its first loss; then
    a `WorkerError` is raised; so it is where the executor is shut down too early. An exception of
    the target itself is raised as it is, with a note. A target must not hand work to the executor
    that runs it, and wait for it: with all workers waiting, nobody works.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> f = fm.targets.powers([2, 4])
    >>> with ThreadPoolExecutor(2) as pool:
    ...     shards = fm.executor.Sharded(pool, rows=1000)
    ...     e = fm.importance.expect(f, law, n=4000, rng=0, executor=shards)
    >>> bool((e.mean == fm.importance.expect(f, law, n=4000, rng=0).mean).all())
    True
    """

    __slots__ = ("executor", "n_workers", "rows")

    def __init__(
        self, executor: Executor, n_workers: int | None = None, rows: int | None = None
    ) -> None:
        if not isinstance(executor, Executor):
            raise ArgumentError(
                f"executor: {type(executor).__name__} given; a concurrent.futures.Executor is "
                "needed (of a dask client: client.get_executor())"
            )
        self.executor = executor
        given = _n_workers(executor) if n_workers is None else n_workers
        self.n_workers = whole("n_workers", given, 1, 2**31)
        self.rows = None if rows is None else whole("rows", rows, 1, 2**62)

    def __repr__(self) -> str:
        name = type(self.executor).__name__
        return f"Sharded({name}, n_workers={self.n_workers}, rows={self.rows})"


def _n_workers(executor: Any) -> int:
    for name in ("_max_workers", "num_workers"):
        n = getattr(executor, name, None)
        if isinstance(n, int) and n > 0:
            return n
    client = getattr(executor, "_client", None)
    if client is not None:
        return sum(client.ncores().values()) or 1
    return os.cpu_count() or 1


class Shards:
    """A target on the workers of an executor, for the length of one run.

    Calling it with points gives the values of every shard as it is done, with its place.
    """

    def __init__(
        self, target: Any, executor: Executor | Sharded, factory: Factory | None, tick: Tick
    ) -> None:
        self._plan = executor if isinstance(executor, Sharded) else Sharded(executor)
        self._executor = self._plan.executor
        self._own: Executor | None = None
        self._tick = tick
        given = target if factory is None else factory
        # Threads share the object itself.
        self._direct = given if isinstance(self._executor, ThreadPoolExecutor) else None
        self._pickled = b"" if self._direct is not None else _pickle(given)
        self._digest = blake2b(self._pickled, digest_size=16).digest()

    def close(self) -> None:
        """Shut down the pool that replaced a broken one."""
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)

    def __call__(
        self, x: Array, with_gradient: bool | None
    ) -> Iterator[tuple[int, int, tuple[NDArray[Any], ...]]]:
        """Give (start, stop, arrays) of every shard, in the order in which they are done."""
        n = len(x)
        rows = self._plan.rows or max(1, -(-n // (2 * self._plan.n_workers)))
        waiting = [(start, min(start + rows, n), 0) for start in range(0, n, rows)][::-1]
        running: dict[Future[Any], tuple[int, int, int]] = {}
        done_rows = 0
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self._plan.n_workers:
                    shard = waiting.pop()
                    try:
                        future = self._submit(x, with_gradient, shard)
                    except BrokenExecutor as error:
                        waiting.append(self._again(shard, n, error))
                    except RuntimeError as error:
                        raise WorkerError(
                            f"{type(self._executor).__name__} takes no work ({error}); it must "
                            "stay open until the run has ended"
                        ) from error
                    else:
                        if not isinstance(future, Future):
                            raise self._rubbish(f"submit gave {shown(future)} where a Future is")
                        running[future] = shard
                wait(running, _TICK, FIRST_COMPLETED)
                self._tick(done_rows)
                # Not what `wait` gives, which waits for ever for work that was cancelled by a
                # shutdown. In the order of the rows: of several failures the first is raised.
                done = [future for future in running if future.done()]
                for future in sorted(done, key=lambda f: running[f][0]):
                    start, stop, attempt = shard = running.pop(future)
                    try:
                        arrays = future.result()
                    except BaseException as error:
                        if not _is_lost(error):
                            self._note(error, shard, n)
                            raise
                        waiting.append(self._again(shard, n, error))
                        continue
                    self._check(arrays, shard, with_gradient)
                    if arrays is None:  # the worker asks for the target
                        waiting.append((start, stop, attempt | worker.WITH_TARGET))
                        continue
                    done_rows += stop - start
                    yield start, stop, arrays
        finally:
            for future in running:
                future.cancel()

    def _submit(self, x: Array, with_gradient: bool | None, shard: tuple[int, int, int]) -> Any:
        start, stop, attempt = shard
        points = x[start:stop]
        if self._direct is not None:
            points = points.copy()  # as the target may keep it, or write to it
            return self._executor.submit(worker.in_thread, self._direct, points, with_gradient)
        send = len(self._pickled) <= _SMALL or attempt & worker.WITH_TARGET
        return self._executor.submit(
            worker.evaluate,
            self._digest,
            self._pickled if send else None,
            _core.isa_level,
            points,
            with_gradient,
            # An executor that keeps results by their arguments must not give the failure again.
            attempt,
        )

    def _check(self, got: Any, shard: tuple[int, int, int], with_gradient: bool | None) -> None:
        """Refuse a result that is not that of `worker.evaluate`."""
        start, stop, attempt = shard
        if got is None and self._direct is None and not attempt & worker.WITH_TARGET:
            return  # the worker asks for the target
        good = isinstance(got, tuple) and len(got) == (2 if with_gradient else 1)
        if not good or not all(
            isinstance(array, np.ndarray) and array.ndim and len(array) == stop - start
            for array in got
        ):
            raise self._rubbish(
                f"a worker gave {shown(got)} for rows {start} to {stop - 1} where a tuple of "
                "arrays with these rows is"
            )

    def _rubbish(self, what: str) -> WorkerError:
        return WorkerError(
            f"{type(self._executor).__name__}: {what} needed; it must run the function that it is "
            "given, and return what that returns"
        )

    def _again(self, shard: tuple[int, int, int], n: int, error: BaseException) -> Any:
        start, stop, attempt = shard
        if attempt & worker.RETRIED:
            raise WorkerError(
                f"a worker of {type(self._executor).__name__} died twice on rows {start} to "
                f"{stop - 1} of a batch of {n} points ({type(error).__name__}: {error}); look for "
                "its own message: a crash of native code, the system's out-of-memory killer, "
                "os._exit, or a script whose pool is not started under "
                "`if __name__ == '__main__':`"
            ) from error
        if isinstance(error, BrokenExecutor) and isinstance(self._executor, ProcessPoolExecutor):
            self._renew()
        return (start, stop, attempt | worker.RETRIED)

    def _renew(self) -> None:
        """Replace a process pool that has lost a worker: such a pool never works again."""
        broken: Any = self._executor
        if not getattr(broken, "_broken", True):
            return  # by the shard before
        self.close()
        self._executor = self._own = ProcessPoolExecutor(
            max_workers=broken._max_workers,
            mp_context=broken._mp_context,
            initializer=broken._initializer,
            initargs=broken._initargs,
            max_tasks_per_child=broken._max_tasks_per_child,
        )

    def _note(self, error: BaseException, shard: tuple[int, int, int], n: int) -> None:
        error.add_note(
            f"raised in a worker of {type(self._executor).__name__}, rows {shard[0]} to "
            f"{shard[1] - 1} of a batch of {n} points"
        )


#: Called with the points of the batch under way that are done; may raise to end the run.
Tick = Callable[[int], object]


def _is_lost(error: BaseException) -> bool:
    """Whether it is a worker that failed, and not the target."""
    # Ctrl-C reaches the workers too, also where the driver only ends its waiting for a run.
    if isinstance(error, BrokenExecutor | CancelledError | KeyboardInterrupt):
        return True
    kind = type(error)
    names = {"KilledWorker", "FutureCancelledError", "CommClosedError"}
    return kind.__module__.split(".")[0] == "distributed" and kind.__name__ in names


def _pickle(target: Any) -> bytes:
    try:
        from cloudpickle import dumps
    except ImportError:
        from pickle import dumps
    try:
        return bytes(dumps(target, pickle.HIGHEST_PROTOCOL))
    except Exception as error:
        raise ArgumentError(
            f"executor: the target, a {type(target).__name__}, cannot be sent to the workers "
            f"({type(error).__name__}: {error}); define it at the top of a module, or let each "
            'worker build it: target_factory="module:function", a function that returns it'
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
