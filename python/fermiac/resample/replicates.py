"""Replicates of a statistic: from the core, from samples of a sieve, or from a callable.

They are drawn in this process, or in blocks; see `fermiac.runs.replicates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.exponents import scaled
from fermiac._base.progress import Report
from fermiac.resample.callables import counted, given_samples
from fermiac.resample.prepare import core_columns
from fermiac.resample.schemes import IID, Parametric, Replay
from fermiac.resample.statistics import Statistic
from fermiac.runs.parts import identity_of_call
from fermiac.runs.replicates import Drawing, Replicates, drawn

if TYPE_CHECKING:
    from fermiac.resample.problem import Problem

__all__ = ["Drawn", "draw", "draw_blocks"]

Array = NDArray[np.float64]
#: The size in numbers of samples that are drawn together, for schemes with new observations.
_AT_ONCE = 2**20


class Drawn(NamedTuple):
    """Replicates of a statistic.

    Attributes
    ----------
    values : ndarray, shape (n, k)
    errors : ndarray, shape (n, k), or None
        Their standard errors.
    deficient : int
        The number of resamples whose equations had no unique solution.
    stopped : BaseException or None
        The reason for an early end.
    """

    values: Array
    errors: Array | None
    deficient: int
    stopped: BaseException | None


class _Work:
    """Replicates of a problem as rows: values, their standard errors, and the deficient resamples.

    The last column has the number of deficient resamples of a block in its first row.
    """

    def __init__(self, problem: Problem, errors: bool, key: int) -> None:
        self._target, self._errors, self._key = problem, errors, key

    def __call__(self, start: int, stop: int) -> Array:
        """Return replicates from a start to a stop."""
        problem, n = self._target, stop - start
        got = draw(problem, start, n, self._errors, self._key, resolve_threads(None), None)
        if got.stopped is not None:
            raise got.stopped
        deficient = np.zeros((n, 1))
        deficient[:1] = got.deficient
        errors = [] if got.errors is None else [got.errors]
        return np.concatenate([got.values, *errors, deficient], axis=1)


def draw_blocks(
    problem: Problem,
    first: int,
    n: int,
    errors: bool,
    key: int,
    workers: int,
    report: Report | None,
    how: Drawing,
) -> Drawn | Replicates:
    """Return replicates that are drawn in blocks; those of a part as they are."""
    function = None if isinstance(problem.statistic, Statistic) else problem.statistic

    def call() -> str:
        data = problem.data
        settings = {"n": n, "first": first, "errors": errors, "paired": data.paired}
        of_statistic: list[Any] = [problem.statistic]
        if function is not None:
            of_statistic = [function.f, function.weighted, function.batch]
        given = (*data.samples, data.strata, data.clusters, problem.scheme, *of_statistic)
        return identity_of_call("resample.bootstrap", settings, key, *given)

    # Batches of a given size are those of a local call.
    whole_batches = 1 if function is None or function.batch is None else function.batch
    work = _Work(problem, errors, key)
    stopped: BaseException | None = None
    try:
        made: Replicates | None = drawn(
            work, n, how, seed=key, call=call, report=report, first=first, multiple=whole_batches,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        made = getattr(error, "partial_result", None)
        stopped = error
    if how.plan.part is not None:
        if stopped is not None:
            raise stopped
        assert made is not None
        return made
    if made is None or made.blocks[0][0] != 0:
        return Drawn(np.empty((0, problem.full.values.size)), None, 0, stopped)
    return _split(made.array[: made.blocks[0][1]], problem, stopped)


def _split(rows: Array, problem: Problem, stopped: BaseException | None) -> Drawn:
    """Return the columns of rows of replicates."""
    k = problem.full.values.size
    spreads = np.ascontiguousarray(rows[:, k : 2 * k]) if rows.shape[1] > k + 1 else None
    return Drawn(np.ascontiguousarray(rows[:, :k]), spreads, int(rows[:, -1].sum()), stopped)


def draw(
    problem: Problem,
    first: int,
    n: int,
    errors: bool,
    key: int,
    workers: int,
    report: Report | None,
) -> Drawn:
    """Return replicates that are drawn in this process."""
    k = problem.full.values.size
    if isinstance(problem.statistic, Statistic):
        if problem.scheme.name == "sieve" and problem.is_sieve_t:
            x, lag, most = problem.sieve_arguments()
            found = _core.resample_sieve(x, lag, most, first, n, key, workers, report)
        elif problem.scheme.is_free or isinstance(problem.scheme, Replay):
            return _by_parts(problem, first, n, errors, key, workers, report)
        else:
            core, parameters, columns = problem.data.prepared(problem.statistic)
            options = problem.data.units.core(problem.scheme)
            if problem.statistic.of_cells and problem.scheme.name == "iid":
                cells = problem.data.cells(problem.statistic)
                if cells is not None:
                    columns, options = cells
            found = _core.resample_bootstrap(
                core, parameters, columns, options, first, n, errors, key, workers, report
            )
        flat, spread, deficient, error = found
        errors_of = spread.reshape(-1, k) if spread.size else None
        return Drawn(flat.reshape(-1, k), errors_of, deficient, error)
    values = np.empty((n, k))
    done, stopped = 0, None
    try:
        while done < n:
            now = min(problem.statistic.rows, n - done)
            values[done : done + now] = problem.statistic.replicates(
                problem.scheme, first + done, now, key, workers
            )
            done += now
            if report is not None:
                report(done, n)
    except KeyboardInterrupt as error:
        stopped = error
    return Drawn(scaled(values[:done], problem.exponents), None, 0, stopped)


def _by_parts(
    problem: Problem,
    first: int,
    n: int,
    errors: bool,
    key: int,
    workers: int,
    report: Report | None,
) -> Drawn:
    """Return replicates of new samples, or of given indices."""
    assert isinstance(problem.statistic, Statistic)
    k, size = problem.full.values.size, problem.data.units.n
    core, parameters, columns = problem.data.prepared(problem.statistic)
    options = problem.data.units.core(IID)
    values, spreads = np.empty((n, k)), np.empty((n, k))
    now = max(1, _AT_ONCE // (size * max(len(columns), 1)))
    stopped: BaseException | None = None
    done = without = 0
    try:
        while done < n and stopped is None:
            b = min(now, n - done)
            if isinstance(problem.scheme, Replay):
                weights = counted(problem.scheme.indices[first + done : first + done + b], size)
                flat, spread, deficient, stopped = _core.resample_weighted(
                    core, parameters, columns, options, weights.ravel(), errors, workers
                )
            else:
                samples = given_samples(problem.scheme, problem.data, first + done, b, key, workers)
                if isinstance(problem.scheme, Parametric):
                    samples = problem.data.scaled(samples)
                ndim = problem.data.samples[0].ndim
                made = core_columns(problem.statistic, parameters, samples, ndim)
                flat, spread, deficient, stopped = _core.resample_of_samples(
                    core, parameters, [c.ravel() for c in made], options, b, errors, workers
                )
            b = flat.size // k
            values[done : done + b] = flat.reshape(b, k)
            if errors:
                spreads[done : done + b] = spread.reshape(b, k)
            without += deficient
            done += b
            if report is not None:
                report(done, n)
    except KeyboardInterrupt as error:
        stopped = error
    return Drawn(values[:done], spreads[:done] if errors else None, without, stopped)
