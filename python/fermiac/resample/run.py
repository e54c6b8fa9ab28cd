"""The run loop of the bootstrap: replicates until they are enough, and the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fermiac._base.config import resolve_threads
from fermiac._base.exponents import restored, scaled
from fermiac._base.progress import Report, finish, reporter
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample.checks import doubts
from fermiac.resample.intervals import WITHOUT_DRAWS, Method, MethodName, Output
from fermiac.resample.problem import METHODS_OF, Intervals
from fermiac.resample.replicates import draw, draw_blocks
from fermiac.resample.result import Bootstrap
from fermiac.resample.schemes import Replay
from fermiac.resample.statistics import Statistic
from fermiac.results.provenance import provenance
from fermiac.results.result import warn
from fermiac.runs.replicates import Drawing, Replicates

if TYPE_CHECKING:
    from fermiac.resample.problem import Problem

__all__ = ["run"]

Array = NDArray[np.float64]
#: Replicates that this process draws at once.
_HERE = Drawing()


def run(
    problem: Problem,
    *,
    n_total: int,
    start: Bootstrap | None,
    prob: float,
    method: str,
    key: int,
    n_threads: int | None,
    progress: bool | Report | None,
    began: float,
    settings: Mapping[str, Any],
    tolerance: float | None = None,
    how: Drawing = _HERE,
) -> Bootstrap:
    """Return the result of replicates up to a total, after those of an earlier result.

    With a part of a call these are the `Replicates` of the part.
    """
    workers = resolve_threads(n_threads)
    name = cast(MethodName, method)
    chosen = problem.choose(name)
    k = problem.full.values.size
    values, errors = np.empty((0, k)), None
    influence = all(u is not None for u in problem.full.influence)
    with_errors = chosen == "studentised" or (influence and name == "auto")
    if problem.scheme.name in METHODS_OF and problem.scheme.name != "sieve":
        with_errors = chosen == "studentised"
    if start is not None:
        values = scaled(start.replicates.reshape(-1, k), problem.exponents)
        errors = None
        if start.replicate_stderrs is not None:
            errors = scaled(start.replicate_stderrs.reshape(-1, k), problem.exponents)
        with_errors = errors is not None or (not len(values) and with_errors)
    stopped: BaseException | None = None
    wanted = n_total if start is not None or problem.needs_replicates(chosen) else 0
    if chosen in WITHOUT_DRAWS and start is None and problem.exact is not False:
        wanted = 0
    if isinstance(problem.scheme, Replay) and wanted > len(problem.scheme.indices):
        raise ArgumentError(
            f"n_resamples: {wanted} requested in total, but there are "
            f"{len(problem.scheme.indices)} rows of indices; give more rows to "
            "fermiac.resample.bootstrap"
        )
    how.check(tolerance is not None)
    if how.plan.part is not None and not wanted:
        raise ArgumentError(
            f"part: given, but no resamples are drawn, as the law of {problem.name!r} is known; "
            "leave it out, or give exact=False"
        )
    found_interval: Intervals | None = None
    with reporter(progress, "bootstrap", "resamples") as report:
        while True:
            if wanted > len(values):
                first, n = len(values), wanted - len(values)
                if how.is_plain:
                    more = draw(problem, first, n, with_errors, key, workers, report)
                else:
                    got = draw_blocks(problem, first, n, with_errors, key, workers, report, how)
                    if isinstance(got, Replicates):
                        part: Any = got
                        return part  # type: ignore[no-any-return]
                    more = got
                stopped = more.stopped
                values = np.concatenate([values, more.values])
                if more.errors is not None:
                    earlier = [] if errors is None else [errors]
                    errors = np.concatenate([*earlier, more.errors])
                known = problem.__dict__
                known["_deficient"] = known.get("_deficient", 0) + more.deficient
            if stopped is not None and not isinstance(stopped, KeyboardInterrupt):
                raise stopped
            if stopped is not None and len(values) < 2:
                stopped.partial_result = None  # type: ignore[attr-defined]
                raise stopped
            # If there are replicates, all figures are computed from them.
            outputs = [problem.output(j, values, errors, key, not len(values)) for j in range(k)]
            found_interval = problem.intervals(values, errors, name, prob, key, outputs)
            worst = 0.0
            if tolerance is not None:
                noise = np.ldexp(found_interval.mc_error, problem.exponents)
                worst = float(np.nanmax(noise, initial=0.0))
            if stopped is not None or tolerance is None or worst <= tolerance or not wanted:
                break
            growth = min(max((worst / tolerance) ** 2 * 1.1, 1.5), 8.0)
            wanted = math.ceil(len(values) * growth)
        result = _result(
            problem,
            found_interval,
            outputs,
            values,
            errors,
            prob,
            chosen,
            key,
            began,
            settings,
            stopped,
        )
        if stopped is not None:
            stopped.partial_result = result  # type: ignore[attr-defined]
            raise stopped
        finish(report, max(wanted, 1), result)
    return result


def _result(
    problem: Problem,
    made: Intervals,
    outputs: list[Output],
    values: Array,
    errors: Array | None,
    prob: float,
    method: Method,
    key: int,
    began: float,
    settings: Mapping[str, Any],
    stopped: BaseException | None,
) -> Bootstrap:
    found = [*made.found, *doubts(problem, method)]
    lost = len(values) * len(outputs) - sum(o.values.size for o in outputs)
    if lost:
        found.append((
            FermiacWarning,
            f"{problem.name!r} is not defined in {lost} resamples, which were left out",
        ))  # fmt: skip
    if deficient := problem.__dict__.get("_deficient", 0):
        found.append((
            FermiacWarning,
            f"{problem.name!r} is not unique in {deficient} resamples; the coefficients of "
            "smallest norm were used for these",
        ))  # fmt: skip
    # Without draws only the sieve has a standard error.
    sds = np.array([o.sd() if o.law is not None or o.values.size > 1
                    else o.stderr if problem.scheme.is_series else np.nan
                    for o in outputs])  # fmt: skip
    means = np.array([o.law.mean if o.law is not None
                      else o.values.mean() if o.values.size else np.nan
                      for o in outputs])  # fmt: skip
    bias = means - np.array([o.centre for o in outputs])
    # A bias of zero up to rounding.
    bias[np.abs(bias) < 1e-13 * (np.abs(problem.full.values) + sds)] = 0.0
    one: Callable[[Array], Any] = (lambda a: float(a[0])) if problem.scalar else np.asarray
    native = problem.statistic if isinstance(problem.statistic, Statistic) else None
    shape: Callable[[Array], Array] = (lambda a: a[:, 0]) if problem.scalar else np.asarray
    numbers = {
        "estimate": one(problem.full.values),
        "stderr": one(sds),
        "bias": one(bias),
        "lower": made.lower,
        "upper": made.upper,
        "mc_error": made.mc_error,
        "replicates": np.ascontiguousarray(shape(values)),
        "replicate_stderrs": None if errors is None else np.ascontiguousarray(shape(errors)),
    }
    result = Bootstrap(
        statistic=problem.name,
        **restored(problem.name, numbers, problem.exponents),
        prob=prob,
        method=made.method,
        exact=made.exact,
        scheme=problem.scheme.name,
        scheme_parameters=problem.scheme.parameters,
        n_resamples=len(values),
        core=native.core if native is not None else "",
        parameters=native.parameters if native is not None else (),
        **provenance(settings, began, key, 0 if native is not None else len(values) + 1),
        status="complete" if stopped is None else "interrupted",
        **problem.data.saved(),
    )
    object.__setattr__(result, "_problem", problem)
    if stopped is None:
        warn(found, result)
    return result
