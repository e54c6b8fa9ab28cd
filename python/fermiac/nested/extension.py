"""Continuation of runs: to a smaller remaining evidence, with more points, or after a limit."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import positive, shown, whole
from fermiac.errors import ArgumentError
from fermiac.nested.allocation import Dynamic
from fermiac.nested.batches import batched
from fermiac.nested.dynamic import as_dynamic, loop_of
from fermiac.nested.learnt import refuse_more
from fermiac.nested.replicates import seeded_key
from fermiac.nested.result import NestedResult
from fermiac.nested.run import NestedLoop
from fermiac.nested.samplers import Learnt
from fermiac.results.result import warn
from fermiac.runs.loop import View
from fermiac.runs.shards import evaluated

if TYPE_CHECKING:
    from fermiac.errors import FermiacWarning
    from fermiac.nested.job import Job

__all__ = ["extend"]

#: The first purpose of the keys of added runs.
_ADDED = 1000


@public
def extend(
    result: NestedResult,
    n_live: int | None = None,
    dlogz: float | None = None,
    *,
    dynamic: Dynamic | None = None,
    max_evals: int | None = None,
    max_iter: int | None = None,
    plan: PlanLike | None = None,
) -> NestedResult:
    r"""Continue a run: to a smaller remaining evidence, with more points, or after a limit.

    Parameters
    ----------
    result : NestedResult
        A result of `sample` or `extend` in this process, or the ``partial_result`` of an
        interrupted run.
    n_live : int, optional
        Further live points: a separate run with its own random numbers, merged with the others.
    dlogz : float, optional
        The run continues until the live points can raise log Z by no more than this.
    dynamic : Dynamic, optional
        Targets up to which the run adds points where they gain most: new targets of a dynamic run,
        or the first targets of another run.
    max_evals, max_iter : int, optional
        Limits as in `sample`, for each run if there are several. They include the earlier calls and
        batches. None by default.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``max_time``); see
        `fermiac.Plan`.

    Returns
    -------
    NestedResult
        All points, including those of `result`. With `dlogz` or `dynamic` alone the result has the
        same bits as a call of `sample` with this argument. Without arguments it is the result of
        `sample` without limits.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the result cannot be continued because it was
        loaded from a file, merged, split or reweighted. To continue a run in another process, give
        it a `Plan` with a store at its start.
    KeyboardInterrupt
        On Ctrl-C, with the points so far as its ``partial_result``.

    Warns
    -----
    ConvergenceWarning, FermiacWarning
        As for `sample`.

    References
    ----------
    .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006,
       doi:10.1214/06-BA127.

    Examples
    --------
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-9.0, -9.0], [9.0, 9.0])
    >>> r = fm.nested.sample(fm.distributions.Normal([0.0, 0.0]), prior, n_live=100, rng=0)
    >>> more = r.extend(n_live=300)
    >>> more.n_live
    400
    >>> bool(more.log_evidence_stderr < 0.7 * r.log_evidence_stderr)
    True
    """
    where = plan_of(plan, "executor", "max_time")
    start = time.perf_counter()
    loops = _loops(result)
    if isinstance(loops[0].job.sampler, Learnt):
        refuse_more({"n_live": n_live, "dlogz": dlogz, "dynamic": dynamic, "max_iter": max_iter})
    limits = {
        "max_evals": None if max_evals is None else whole("max_evals", max_evals, 1, 2**62),
        "max_iter": None if max_iter is None else whole("max_iter", max_iter, 1, 2**62),
    }
    limit = None if where.max_time is None else positive("max_time", where.max_time)
    workers = resolve_threads(where.n_threads)
    home = loops[0].job.at_home()
    with (
        batched(home, where.executor) as batches,
        reporter(where.progress, "extend", "evaluations") as report,
        evaluated(
            home.target, where.executor, workers, report,
            integrand=home.blobs[0] > 0, in_jobs=batches is not None,
        ) as (asked, report),
    ):  # fmt: skip
        more: dict[str, Any] = {
            "workers": workers, "max_time": limit, "report": report, "view": View(),
            "batches": batches,
        }  # fmt: skip
        runs = [(_longer(loop.job, dlogz, dynamic, limits), loop) for loop in loops]
        jobs: list[tuple[Job, NestedLoop | None]] = [*runs]
        if n_live is not None:
            jobs.append((_added(runs[0][0], n_live, len(loops)), None))
        done: list[NestedResult] = []
        found: list[tuple[type[FermiacWarning], str]] = []
        try:
            for job, before in jobs:
                job = job.with_target(asked)
                more["evals_before"] = sum(run.n_evals for run in done)
                more["start"] = time.perf_counter() if done else start
                loop = loop_of(job, **more)
                if before is not None:
                    loop.continue_from(before.state(), before.elapsed)
                done.append(loop.run())
                for name in ("coords", "dims", "observed_data"):
                    object.__setattr__(done[-1], name, getattr(result, name))
                told = loop.findings(done[-1])
                object.__setattr__(done[-1], "warnings", tuple(text for _, text in told))
                found += told
        except BaseException as error:
            _keep(error, done, loops, result)
            raise
        whole_run = _together(done)
        warn(list(dict.fromkeys(found)), whole_run)
    return whole_run


def _loops(result: Any) -> tuple[NestedLoop, ...]:
    loops: tuple[NestedLoop, ...] = getattr(result, "_loops", ())
    if not loops:
        raise ArgumentError(
            f"result: a {type(result).__name__} given that cannot be continued: the state of its "
            "run is lost in files, pickles, merged and reweighted results; give the target again: "
            "merge the result with that of fermiac.nested.sample with another rng=, or repeat the "
            "call with larger limits (a store in both calls goes on from the end)"
        )
    return loops


def _longer(
    job: Job, dlogz: float | None, dynamic: Dynamic | None, limits: dict[str, int | None]
) -> Job:
    """Return the job with other limits and targets."""
    rules: dict[str, Any] = dict(limits)
    if dynamic is not None:
        aim = as_dynamic(dynamic)
        if job.dynamic is not None:
            assert aim is not None
            _same(job.dynamic, aim)
        rules["dynamic"] = aim
    if dlogz is not None:
        rules["dlogz"] = positive("dlogz", dlogz)
        if rules["dlogz"] > job.dlogz:
            raise ArgumentError(
                f"dlogz: {shown(dlogz)} given for a run that went on to {job.dlogz:g}; give that "
                "or less"
            )
        if job.dynamic is not None and rules["dlogz"] < job.dlogz:
            raise ArgumentError(
                "dlogz: the batches of a dynamic run follow from its first run, which cannot go on "
                "beneath them; give targets (dynamic=) or more points (n_live=)"
            )
    return replace(job, **rules)


def _same(old: Dynamic, new: Dynamic) -> None:
    for name in ("posterior_share", "n_batch", "explore_every"):
        if getattr(old, name) != getattr(new, name):
            raise ArgumentError(
                f"dynamic: its {name} is {getattr(new, name)!r}, that of the run "
                f"{getattr(old, name)!r}; only the targets and max_batches can change"
            )


def _added(job: Job, n_live: Any, number: int) -> Job:
    """Return the job of points in addition to those of other runs."""
    n = whole("n_live", n_live, 1, 2**31)
    batch = max(1, min(round(job.batch * n / job.n_live), n // 2))
    key = seeded_key(job.key, _ADDED + number)
    return replace(job, n_live=n, batch=batch, key=key, dynamic=None)


def _together(runs: list[NestedResult]) -> NestedResult:
    """Return one result of all runs, which can be extended."""
    if len(runs) == 1:
        return runs[0]
    merged = runs[0].merge(*runs[1:])
    loops = tuple(loop for run in runs for loop in _loops(run))
    object.__setattr__(merged, "_loops", loops)
    return merged


def _keep(
    error: BaseException,
    done: list[NestedResult],
    loops: tuple[NestedLoop, ...],
    result: NestedResult,
) -> None:
    """Add to an error the points so far, and the runs that the call did not reach."""
    partial = getattr(error, "partial_result", None)
    if partial is not None:
        done = [*done, partial]
    rest = [loop.result() for loop in loops[len(done) :]]
    kept = _together([*done, *rest]) if done else result
    error.partial_result = kept  # type: ignore[attr-defined]
