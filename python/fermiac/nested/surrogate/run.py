"""Runs with a surrogate: pilot run, training, test, main run, audit, correction."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fermiac import _core
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.nested.checks import findings
from fermiac.nested.job import Job
from fermiac.nested.result import NestedResult
from fermiac.nested.run import NestedLoop
from fermiac.nested.surrogate.accuracy import (
    audit,
    correct,
    corrected,
    correction_findings,
    usable,
)
from fermiac.nested.surrogate.models import Truth
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.pilot import Pilot
from fermiac.nested.surrogate.work import Finding, Refused, Work
from fermiac.results.result import warn

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["run_surrogate"]

#: Seconds of a call below which no surrogate pays.
_CHEAP = 20e-6


def run_surrogate(
    job: Job,
    options: Surrogate,
    *,
    workers: int,
    start: float,
    max_time: float | None,
    report: Report | None,
) -> NestedResult:
    """Return a run with a surrogate, or without one, and with a warning, if it is refused."""
    if job.dynamic is not None:
        raise ArgumentError(
            "surrogate: given with dynamic, whose points are not those of one static run; leave "
            "one of them out"
        )
    if job.blobs[0]:
        raise ArgumentError("surrogate: given with blobs, which a surrogate does not give")
    truth = Truth(job.prior, job.target, job.on_nan)
    work = Work(job, options, truth, workers, start, max_time, report)
    result = None
    try:
        if options.init == "genetic":
            with work.stage("genetic", "n_genetic"):
                _core.nested_maximize(truth.at, job.dim, work.key(80))
        try:
            result, found = _run(work)
        except Refused as refusal:
            result, found = _plain(work, str(refusal))
        found += _thrift(result)
        warn(found, result)
    except BaseException as error:
        if result is not None:
            error.partial_result = result  # type: ignore[attr-defined]
        raise
    return result


def _run(work: Work) -> tuple[NestedResult, list[Finding]]:
    """Return the corrected run on the surrogate."""
    pilot = Pilot(work)
    model = pilot.trained()
    for attempt in range(2):
        key = work.job.key if attempt == 0 else work.key(30)
        loop = work.loop(model.handle, {"key": key}, biased=True)
        result = work.on_surrogate(loop)
        with work.stage("gate", "n_audit"):
            offset, key = work.told["gate"]["median"], work.key(40 + attempt)
            agrees = audit(model, work.truth, result, work.options, offset, key)
        if agrees:
            break
        if attempt == 1:
            raise Refused("it is low where the likelihood is high, also after retraining")
        model = pilot.trained(again=True)
    work.told["log_evidence"] = result.log_evidence
    told = findings(result, loop.info, work.max_time)
    with work.stage("correction", "n_corrected"):
        correction = correct(result, model, work.truth, work.options, work.key(50))
    work.told |= correction.ratios
    usable(correction.ratios)
    wall = time.perf_counter() - work.start
    result = replace(
        corrected(result, correction),
        n_evals=work.truth.n,
        wall_time=wall,
        timings={"target": work.truth.seconds, "total": wall},
        surrogate=work.made(),
    )
    return result, told + correction_findings(correction.ratios)


def _plain(work: Work, reason: str) -> tuple[NestedResult, list[Finding]]:
    """Return the run without a surrogate, with the same bits as a plain call."""
    with work.stage("plain"):
        loop = NestedLoop(
            work.job,
            workers=work.workers,
            start=work.start,
            max_time=work.max_time,
            report=work.report,
        )
        result = loop.run_to_end()
    n_plain = result.n_evals
    report = work.made(
        rejected=True, reason=reason, n_plain=n_plain, n_evals=work.truth.n + n_plain
    )
    wall = time.perf_counter() - work.start
    for name, value in (
        ("surrogate", report),
        ("n_evals", report.n_evals),
        ("wall_time", wall),
        ("timings", {"target": work.truth.seconds + result.timings["target"], "total": wall}),
    ):
        object.__setattr__(result, name, value)
    text = (
        f"the surrogate was refused: {reason}; the result is that of the plain run, after "
        f"{work.truth.n} wasted evaluations. Give it more points (a smaller start_dlogz, a larger "
        "pilot_live), or leave it out"
    )
    return result, [(ConvergenceWarning, text), *loop.findings(result)]


def _thrift(result: NestedResult) -> list[Finding]:
    """Return a warning if the likelihood is too cheap for a surrogate."""
    assert result.surrogate is not None
    call = result.surrogate.timings["call"]
    if call >= _CHEAP:
        return []
    training = result.surrogate.timings.get("training", 0.0)
    return [
        (
            FermiacWarning,
            f"an evaluation of the likelihood takes {1e6 * call:.2g} us, too little for a gain "
            f"from a surrogate, whose training took {training:.2g} s; leave it out",
        )
    ]
