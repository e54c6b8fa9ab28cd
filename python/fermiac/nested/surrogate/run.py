"""Runs with a surrogate: pilot run, training, test, main run, audit, correction."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
from fermiac.nested.surrogate.models import Frame, Mixture, Model, Truth
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.pilot import Pilot, Search, search
from fermiac.nested.surrogate.switch import switched
from fermiac.nested.surrogate.work import Finding, Refused, Work
from fermiac.results.result import warn

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["run_surrogate"]

Array = NDArray[np.float64]
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
    if options.mode == "switch" and job.reflective:
        raise ArgumentError("reflective: given with a surrogate of mode='switch'; use 'two-pass'")
    if job.blobs[0]:
        raise ArgumentError("surrogate: given with blobs, which a surrogate does not give")
    truth = Truth(job.prior, job.target, job.on_nan)
    work = Work(job, options, truth, workers, start, max_time, report)
    result = None
    try:
        sought = search(work) if options.init == "genetic" else None
        try:
            result, found = switched(work) if options.mode == "switch" else _two_pass(work, sought)
            result, found = _finished(work, result), _biased(options) + found
        except Refused as refusal:
            result, found = _plain(work, str(refusal))
        found += _thrift(result)
        if sought is not None and options.init_use == "audit":
            found += sought.findings(result)
        warn(found, result)
    except BaseException as error:
        if result is not None:
            error.partial_result = result  # type: ignore[attr-defined]
        raise
    return result


def _two_pass(work: Work, found: Search | None) -> tuple[NestedResult, list[Finding]]:
    """Return a run on the surrogate that starts from the prior."""
    pilot = Pilot(work)
    model = pilot.trained()
    frame = Frame(work.job.dim)
    if found is not None and work.options.init_use == "mixture":
        frame = Mixture(found.elite)
    for attempt in range(2):
        key = work.job.key if attempt == 0 else work.key(30)
        target = _in_frame(model, frame)
        loop = work.loop(target, {"key": key}, frame=frame, biased=True)
        result = work.on_surrogate(loop)
        with work.stage("gate", "n_audit"):
            offset, key = work.told["gate"]["median"], work.key(40 + attempt)
            agrees = audit(model, work.truth, frame, result, work.options, offset, key)
        if agrees:
            break
        if attempt == 1:
            raise Refused("it is low where the likelihood is high, also after retraining")
        model = pilot.trained(again=True)
    work.told["log_evidence"] = result.log_evidence
    told = findings(result, loop.info, work.max_time)
    if work.options.correct is False:
        return result, told
    with work.stage("correction", "n_corrected"):
        correction = correct(result, model, work.truth, frame, work.options, work.key(50))
    work.told |= correction.ratios
    usable(correction.ratios)
    return corrected(result, correction), told + correction_findings(correction.ratios)


def _in_frame(model: Model, frame: Frame) -> Any:
    """Return a surrogate on the cube of a frame, with the likelihood where it is not trusted."""
    if not isinstance(frame, Mixture):
        return model.handle

    def evaluate(v: Array, _with_gradient: bool) -> tuple[Array, None]:
        u = frame.to_unit(v)
        return model.guarded(u) - frame.log_density(u), None

    return (evaluate, frame.dim, False)


def _finished(work: Work, result: NestedResult) -> NestedResult:
    """Return the result with its costs and its report."""
    wall = time.perf_counter() - work.start
    return replace(
        result,
        n_evals=work.truth.n,
        wall_time=wall,
        timings={"target": work.truth.seconds, "total": wall},
        surrogate=work.made(biased=work.options.correct is False),
    )


def _biased(options: Surrogate) -> list[Finding]:
    if options.correct is not False:
        return []
    text = "the evidence is that of the surrogate, and has its errors; leave out correct=False"
    return [(FermiacWarning, text)]


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
