"""Executors: a target evaluated by the workers of any engine.

Every method with an executor in its plan cuts its batches of points into shards, sends them to the
workers, and joins the values in order. The result is that of a local run if the value of a point
does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.progress import Report
from fermiac._base.validate import choice, listed, positive, shown, whole
from fermiac.errors import ArgumentError
from fermiac.runs import worker
from fermiac.runs.dispatch import Dispatch, Sharding, Tick
from fermiac.runs.engines import engine_of

__all__ = ["Sharded"]

Array = NDArray[np.float64]
ExecutorLike: TypeAlias = Any
"""The type of ``executor=`` arguments; see `fermiac.runs.engines.engine_of`."""

#: Kinds of exceptions at most that a user may add.
_MOST_LOST = 1000


class Sharded:
    """An executor with settings for what it is sent, in the place of the executor itself.

    Parameters
    ----------
    executor : object
        Any `concurrent.futures.Executor` (a process or thread pool, loky's, mpi4py's
        ``MPIPoolExecutor``, Parsl's ``ParslPoolExecutor``), a dask ``Client``, the module ``ray``
        after ``ray.init()``, a `multiprocessing.pool.Pool`, a ``joblib.Parallel``, or any object
        with a method ``map``. It is neither shut down nor changed.
    n_workers : int, optional
        The number of shards that it works on at once; at most twice as many are submitted. The
        default is the number that the executor reports, which is updated during a run. If it
        reports none, the number of submitted shards is found by trial.
    rows : int, optional
        The largest number of points of a shard. By default a batch is cut according to the cost of
        its points: into two to twenty shards for each worker, or into fewer if the coordinator
        would need longer to submit them than the workers to evaluate them.
    retries : int, default 3
        The number of times that a shard is repeated after its worker was lost.
    lost : sequence of exception types, optional
        Exceptions of the executor that mean a lost worker, in addition to those of the engines
        above.
    patience : float, optional
        The time in seconds without any result after which all shards in flight count as lost. By
        default there is no limit, because workers may wait in the queue of a cluster. The exception
        is Parsl, which may lose results: while it has workers, the limit is two minutes, or five
        times the longest shard so far. Before the first shard of a call is done its time is not
        known, and no shard counts as lost: after a minute without a result a `FermiacWarning` says
        so, and after two minutes, and each time after twice as long, the first shard is sent once
        more, in addition. Its first result counts.
    unit : {"auto", "points", "whole"}, default "auto"
        What travels to the workers, where a call can do both: the points of a batch, or whole units
        (blocks of a sample, chains, runs), which wait less for each other. ``"auto"``: whole units
        where there are enough of them.

    Raises
    ------
    ArgumentError
        If `executor` cannot be used, a number is not a whole number from 1 up (`retries`: from 0),
        `lost` has an entry that is not an exception type, or `patience` is not positive.

    Notes
    -----
    A worker evaluates on one thread, and must run at the instruction-set level of the driver: a
    worker at another level gives a `WorkerError`. The target is pickled once (by cloudpickle if
    that is installed, which also pickles lambdas), sent to each worker once, and kept there. A
    target that cannot be pickled is built by each worker instead: `fermiac.targets.factory`.

    The sizes of shards depend on the time of a point, so they differ from run to run. Results do
    not differ if the value of a point does not depend on the other points of its batch. If it does,
    as in a product of matrices, `rows` makes the sizes the same in every run.

    The shards of a lost worker are repeated by other workers. Pools of `concurrent.futures` and
    loky break with their first loss; they are replaced by a new pool with the same settings. After
    too many losses, or if the executor is shut down too early, a `WorkerError` is raised. An
    exception of the target itself is raised unchanged, with a note. A target must not submit work
    to the executor that runs it and wait for the result: if all workers wait, the run hangs.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> f = fm.targets.powers([2, 4])
    >>> with ThreadPoolExecutor(2) as pool:
    ...     shards = fm.executor.Sharded(pool, rows=1000)
    ...     e = fm.importance.expect(f, law, n=4000, rng=0, plan=shards)
    >>> bool((e.mean == fm.importance.expect(f, law, n=4000, rng=0).mean).all())
    True
    """

    __slots__ = ("_sharding", "executor", "unit")

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
        unit: Literal["auto", "points", "whole"] = "auto",
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
        self.unit = choice("unit", unit, ("auto", "points", "whole"))
        self._sharding = Sharding(
            n_workers=None if n_workers is None else whole("n_workers", n_workers, 1, 2**31),
            rows=None if rows is None else whole("rows", rows, 1, 2**62),
            retries=whole("retries", retries, 0, 2**31),
            lost=tuple(kinds),
            patience=None if patience is None else positive("patience", patience),
        )

    @property
    def n_workers(self) -> int | None:
        """The number of workers: as given, else as reported by the executor now, or None."""
        given = self._sharding.n_workers
        return engine_of(self.executor).n_workers() if given is None else given

    @property
    def rows(self) -> int | None:
        """The largest number of points of a shard."""
        return self._sharding.rows

    def __repr__(self) -> str:
        name = engine_of(self.executor).name
        return f"Sharded({name}, n_workers={self.n_workers}, rows={self.rows})"


class Shards:
    """A target on the workers of an executor, for the length of one run.

    A call with points yields the values of every shard when it is done, with its position. With
    `in_jobs` an engine that starts a job for every task gets points, too, in long shards.
    """

    def __init__(
        self,
        target: Any,
        executor: Any,
        tick: Tick,
        in_jobs: bool = False,
    ) -> None:
        work = worker.Points(target)
        whole = in_jobs and not takes_points(executor)
        self._dispatch = _dispatch(executor, work, tick, whole=whole)

    def close(self) -> None:
        """Release the resources of the run."""
        self._dispatch.close()

    def __call__(
        self, x: Array, with_gradient: bool | None
    ) -> Iterator[tuple[int, int, tuple[NDArray[Any], ...]]]:
        """Yield (start, stop, arrays) of every shard, in the order of completion."""
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
    """Return the checked argument ``executor=``."""
    return executor if isinstance(executor, Sharded) else Sharded(executor)


def unit_of(executor: Any) -> str:
    """Return what travels to the workers: ``"auto"``, ``"points"`` or ``"whole"``."""
    return executor.unit if isinstance(executor, Sharded) else "auto"


def takes_points(executor: Any) -> bool:
    """Return whether the tasks of an executor are cheap enough for the points of one batch."""
    return engine_of(require_executor(executor).executor).pointwise


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
        A function of columns, each with one entry or one for each row, and of the number of rows.
        It returns `width` numbers for each row.
    columns : list of ndarray
    n, width : int
    executor : object
        An executor, or a `fermiac.executor.Sharded`.
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
    return Dispatch(engine_of(given.executor), given._sharding, work, tick, whole=whole)


def __dir__() -> list[str]:
    return sorted(__all__)
