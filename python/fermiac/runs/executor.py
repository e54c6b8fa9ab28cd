"""Executors: a target evaluated by the workers of any engine.

Every method that takes ``executor=`` cuts its batches of points into shards, sends them to the
workers, and joins the values in order. The answer is that of a local run wherever the value of a
point does not depend on the batch that it comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.progress import Report
from fermiac._base.validate import listed, positive, shown, whole
from fermiac.errors import ArgumentError
from fermiac.runs import worker
from fermiac.runs.dispatch import Dispatch, Plan, Tick
from fermiac.runs.engines import engine_of
from fermiac.targets.factories import Factory

__all__ = ["Sharded"]

Array = NDArray[np.float64]
ExecutorLike: TypeAlias = Any
"""The type of ``executor=`` arguments; see `fermiac.runs.engines.engine_of`."""

#: Kinds of exceptions at most that a user may add.
_MOST_LOST = 1000


class Sharded:
    """An executor with a say in how batches are cut; ``executor=`` takes it in place of one.

    Parameters
    ----------
    executor : object
        Any `concurrent.futures.Executor` (a process or thread pool, loky's, mpi4py's
        ``MPIPoolExecutor``, Parsl's ``ParslPoolExecutor``), a dask ``Client``, the module ``ray``
        after ``ray.init()``, a `multiprocessing.pool.Pool`, a ``joblib.Parallel``, or an object
        with a method ``map`` alone. It is neither shut down nor changed.
    n_workers : int, optional
        How many shards it works on at once; at most twice as many are handed out. By default what
        the executor says, which is asked again while a run goes on; the number that is out is
        found by trial where it does not tell.
    rows : int, optional
        Points of a shard at most. By default a batch is cut by what its points cost: into two to
        twenty shards for each worker, and into fewer where the coordinator would take longer to
        hand them out than the workers to evaluate them.
    retries : int, default 3
        How often in a row the same shard is tried again after its worker was lost.
    lost : sequence of exception types, optional
        Exceptions of the executor that say that a worker was lost, beside those of the engines
        above.
    patience : float, optional
        Seconds without any result after which all shards that are out count as lost. By default
        there is no such limit, as workers may wait in the queue of a cluster; but for Parsl, which
        may lose results, while it has workers: two minutes, or five times the longest shard so far.

    Raises
    ------
    ArgumentError
        If `executor` cannot be used, a number is not a whole number from 1 up (`retries`: from 0),
        `lost` holds something that is no type of exceptions, or `patience` is not positive.

    Notes
    -----
    A worker evaluates on one thread, and at the instruction-set level of the driver: one that runs
    at another level is refused with a `WorkerError`. The target is pickled once (by cloudpickle
    where that is installed, which takes lambdas too), sent to each worker once, and kept there.
    What cannot be pickled is built by each worker instead: ``target_factory="module:function"``.

    The cuts follow the time that points take, so that they differ from run to run. Results do not,
    wherever the value of a point does not depend on the points around it; where it does, as in a
    product of matrices, `rows` makes the cuts the same each time.

    The shards of a lost worker are tried anew by others, and by a fresh pool with the same
    settings where a pool breaks with its first loss, as those of `concurrent.futures` and loky do.
    Then a `WorkerError` is raised; so it is where the executor is shut down too early. An
    exception of the target itself is raised as it is, with a note. A target must not hand work to
    the executor that runs it, and wait for it: with all workers waiting, nobody works.

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

    __slots__ = ("_plan", "executor")

    @public
    def __init__(
        self,
        executor: Any,
        n_workers: int | None = None,
        rows: int | None = None,
        *,
        retries: int = 3,
        lost: Iterable[type[BaseException]] = (),
        patience: float | None = None,
    ) -> None:
        engine_of(executor)  # refuses what is none
        kinds = listed(lost, _MOST_LOST)
        if kinds is None or not all(
            isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
        ):
            raise ArgumentError(
                f"lost: {shown(lost)} given; a sequence of types of exceptions is needed, as "
                "lost=(MyError,)"
            )
        self.executor = executor
        self._plan = Plan(
            n_workers=None if n_workers is None else whole("n_workers", n_workers, 1, 2**31),
            rows=None if rows is None else whole("rows", rows, 1, 2**62),
            retries=whole("retries", retries, 0, 2**31),
            lost=tuple(kinds),
            patience=None if patience is None else positive("patience", patience),
        )

    @property
    def n_workers(self) -> int | None:
        """How many workers it has: what was given, else what the executor says now, or None."""
        given = self._plan.n_workers
        return engine_of(self.executor).n_workers() if given is None else given

    @property
    def rows(self) -> int | None:
        """Points of a shard at most."""
        return self._plan.rows

    def __repr__(self) -> str:
        name = engine_of(self.executor).name
        return f"Sharded({name}, n_workers={self.n_workers}, rows={self.rows})"


class Shards:
    """A target on the workers of an executor, for the length of one run.

    Calling it with points gives the values of every shard as it is done, with its place.
    """

    def __init__(self, target: Any, executor: Any, factory: Factory | None, tick: Tick) -> None:
        work = worker.Points(target if factory is None else factory)
        self._dispatch = _dispatch(executor, work, tick, whole=False)

    def close(self) -> None:
        """Give back what was made for the run."""
        self._dispatch.close()

    def __call__(
        self, x: Array, with_gradient: bool | None
    ) -> Iterator[tuple[int, int, tuple[NDArray[Any], ...]]]:
        """Give (start, stop, arrays) of every shard, in the order in which they are done."""
        n_arrays = 2 if with_gradient else 1

        def check(got: Any, start: int, stop: int) -> str | None:
            good = isinstance(got, tuple) and len(got) == n_arrays
            if good and all(
                isinstance(array, np.ndarray) and array.ndim and len(array) == stop - start
                for array in got
            ):
                return None
            return "a tuple of arrays with these rows"

        # Copies, as a worker may be a thread whose target keeps its points, or writes to them.
        return self._dispatch(
            len(x), lambda start, stop: (x[start:stop].copy(), with_gradient), check
        )


def require_executor(executor: Any) -> Sharded:
    """Return what was given as ``executor=``, checked."""
    return executor if isinstance(executor, Sharded) else Sharded(executor)


def rows_by(
    work: Callable[[list[Array], int], Array],
    columns: list[Array],
    n: int,
    width: int,
    executor: Any,
    report: Report | None,
) -> Array:
    """Return the values of a function at rows of columns, computed by workers.

    Parameters
    ----------
    work : callable
        Takes columns, each of one entry or of one for each row, and the number of rows; returns
        `width` numbers for each row.
    columns : list of ndarray
    n, width : int
    executor : object
        What `fermiac.executor.Sharded` takes, or one.
    report : callable, optional
    """
    out = np.empty(n * width)

    def tick(done: int) -> None:
        if report is not None:
            report(done, n)

    def part(start: int, stop: int) -> tuple[Any, ...]:
        rows = [column if column.size == 1 else column[start:stop].copy() for column in columns]
        return rows, stop - start

    def check(got: Any, start: int, stop: int) -> str | None:
        good = isinstance(got, np.ndarray) and got.size == (stop - start) * width
        return None if good else f"an array of {(stop - start) * width} numbers"

    dispatch = _dispatch(executor, work, tick, whole=True)
    with closing(dispatch):
        for start, stop, got in dispatch(n, part, check):
            out[start * width : stop * width] = got.reshape(-1)
    return out


def _dispatch(executor: Any, work: Callable[..., Any], tick: Tick, *, whole: bool) -> Dispatch:
    given = require_executor(executor)
    return Dispatch(engine_of(given.executor), given._plan, work, tick, whole=whole)


def __dir__() -> list[str]:
    return sorted(__all__)
