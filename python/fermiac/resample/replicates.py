"""Replicates of a statistic: from the core, from samples of a sieve, or from a callable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.progress import Report
from fermiac.resample.callables import counted, given_samples
from fermiac.resample.prepare import core_columns
from fermiac.resample.schemes import IID, Replay
from fermiac.resample.statistics import Statistic

if TYPE_CHECKING:
    from fermiac.resample.problem import Problem

__all__ = ["draw"]

Array = NDArray[np.float64]
#: The size in numbers of samples that are drawn together, for schemes with new observations.
_AT_ONCE = 2**20


def draw(
    problem: Problem,
    first: int,
    n: int,
    errors: bool,
    key: int,
    workers: int,
    report: Report | None,
) -> tuple[Array, Array | None, BaseException | None]:
    """Return replicates and their standard errors, and the reason for the end."""
    k = problem.full.values.size
    if isinstance(problem.statistic, Statistic):
        if problem.scheme.name == "sieve" and problem.is_sieve_t:
            x, lag, most = problem.sieve_arguments()
            drawn = _core.resample_sieve(x, lag, most, first, n, key, workers, report)
        elif problem.scheme.is_free or isinstance(problem.scheme, Replay):
            return _by_parts(problem, first, n, errors, key, workers, report)
        else:
            core, parameters, columns = problem.data.prepared(problem.statistic)
            options = problem.data.units.core(problem.scheme)
            if problem.statistic.of_cells and problem.scheme.name == "iid":
                cells = problem.data.cells(problem.statistic)
                if cells is not None:
                    columns, options = cells
            drawn = _core.resample_bootstrap(
                core, parameters, columns, options, first, n, errors, key, workers, report
            )
        flat, spread, deficient, error = drawn
        _count(problem, deficient)
        return flat.reshape(-1, k), spread.reshape(-1, k) if spread.size else None, error
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
    return values[:done], None, stopped


def _count(problem: Problem, deficient: int) -> None:
    """Add resamples whose equations had no unique solution."""
    problem.__dict__["_deficient"] = problem.__dict__.get("_deficient", 0) + deficient


def _by_parts(
    problem: Problem,
    first: int,
    n: int,
    errors: bool,
    key: int,
    workers: int,
    report: Report | None,
) -> tuple[Array, Array | None, BaseException | None]:
    """Return replicates of new samples, or of given indices."""
    assert isinstance(problem.statistic, Statistic)
    k, size = problem.full.values.size, problem.data.units.n
    core, parameters, columns = problem.data.prepared(problem.statistic)
    options = problem.data.units.core(IID)
    values, spreads = np.empty((n, k)), np.empty((n, k))
    now = max(1, _AT_ONCE // (size * max(len(columns), 1)))
    stopped: BaseException | None = None
    done = 0
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
                ndim = problem.data.samples[0].ndim
                made = core_columns(problem.statistic, parameters, samples, ndim)
                flat, spread, deficient, stopped = _core.resample_of_samples(
                    core, parameters, [c.ravel() for c in made], options, b, errors, workers
                )
            b = flat.size // k
            values[done : done + b] = flat.reshape(b, k)
            if errors:
                spreads[done : done + b] = spread.reshape(b, k)
            _count(problem, deficient)
            done += b
            if report is not None:
                report(done, n)
    except KeyboardInterrupt as error:
        stopped = error
    return values[:done], spreads[:done] if errors else None, stopped
