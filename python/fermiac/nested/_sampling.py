"""The call that samples a posterior and its evidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._arguments import choice
from fermiac._config import resolve_threads
from fermiac._evaluation import evaluated
from fermiac._progress import reporter
from fermiac._result import warn
from fermiac._rng import positive
from fermiac.nested._course import Course
from fermiac.nested._job import BOUNDS, job_of
from fermiac.nested._keeper import Keeper
from fermiac.nested._likelihood import as_blobs, as_likelihood
from fermiac.nested._prior import as_prior
from fermiac.nested._result import Nested
from fermiac.nested._samplers import Sampler, as_sampler
from fermiac.random import RngLike, key_of

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from fermiac._checkpoint import Checkpoint
    from fermiac._progress import Report
    from fermiac.distributions import Law
    from fermiac.executor import Sharded
    from fermiac.targets._density import LogDensity
    from fermiac.targets._factory import Factory

__all__ = ["concluded", "sample"]

Array = NDArray[np.float64]
Function = Callable[[Array], ArrayLike]


def sample(
    log_likelihood: LogDensity | Function | Any,
    prior: Law | Function | Sequence[Any],
    dim: int | None = None,
    *,
    n_live: int = 500,
    batch: int | None = None,
    sampler: str | Sampler = "auto",
    bound: str = "multi",
    dlogz: float = 0.01,
    likelihood_tol: float = 0.0,
    periodic: Iterable[int | str] | None = (),
    reflective: Iterable[int | str] | None = (),
    names: Sequence[str] | None = None,
    blobs: int | Sequence[str] | None = None,
    nan: str = "raise",
    max_evals: int | None = None,
    max_iter: int | None = None,
    max_time: float | None = None,
    max_init_blocks: int = 1000,
    rng: RngLike = None,
    n_threads: int | None = None,
    executor: Executor | Sharded | None = None,
    target_factory: str | Factory | None = None,
    checkpoint: str | PathLike[str] | Checkpoint | None = None,
    progress: bool | Report | None = None,
) -> Nested:
    """Sample"""
    start = time.perf_counter()
    known = getattr(log_likelihood, "dim", None)
    mapped = as_prior(prior, dim, known if isinstance(known, int) else None)
    n_blobs = as_blobs(blobs)
    target = as_likelihood(log_likelihood, mapped.dim, n_blobs[0])
    limit = None if max_time is None else positive("max_time", max_time)
    keeper = None if checkpoint is None else Keeper(checkpoint)
    kept = None if keeper is None or rng is not None else keeper.seed
    job = job_of(
        prior=mapped,
        target=target,
        sampler=as_sampler(sampler),
        bound=choice("bound", bound, BOUNDS),
        n_live=n_live,
        batch=batch,
        dlogz=dlogz,
        likelihood_tol=likelihood_tol,
        max_evals=max_evals,
        max_iter=max_iter,
        max_init_blocks=max_init_blocks,
        periodic=periodic,
        reflective=reflective,
        nan=choice("nan", nan, ("raise", "-inf")),
        names=names if names is not None else getattr(target, "names", None),
        blobs=n_blobs,
        key=key_of(rng) if kept is None else kept,
    )
    workers = resolve_threads(n_threads)
    with (
        reporter(progress, "nested", "evaluations") as report,
        evaluated(target, executor, target_factory, workers, report, integrand=n_blobs[0] > 0) as (
            asked,
            report,
        ),
    ):
        job = job.with_target(asked)
        if keeper is not None:
            keeper.begin(job.identity())
        run = job.make()
        if keeper is not None and keeper.resumed:
            keeper.restore(job, run)
        course = Course(
            job, run, workers=workers, start=start, keeper=keeper, max_time=limit, report=report
        )
        return concluded(course)


def concluded(course: Course) -> Nested:
    """Run, and warn of what is wrong in the name of the caller's caller."""
    result = None
    try:
        result = course.go()
        found = course.findings(result)
        object.__setattr__(result, "warnings", tuple(text for _, text in found))
        warn(found, result)
    except BaseException as error:
        # Ctrl-C while the points are judged, or a warning that is an error, costs none of them.
        if result is not None:
            error.partial_result = result  # type: ignore[attr-defined]
        raise
    return result
