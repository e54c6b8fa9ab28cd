"""Runs with a surrogate: pilot, training, judgement, run, audit, correction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac import _core
from fermiac._result import warn
from fermiac.errors import (
    ArgumentError,
    ConvergenceWarning,
    FermiacWarning,
    NumericalError,
)
from fermiac.nested._course import Course
from fermiac.nested._job import Job
from fermiac.nested._result import Nested
from fermiac.nested._surrogate.correction import (
    KHAT,
    correct,
    corrected,
    correction_findings,
)
from fermiac.nested._surrogate.judging import audit, draw, judge
from fermiac.nested._surrogate.models import Model, train
from fermiac.nested._surrogate.options import Surrogate
from fermiac.nested._surrogate.report import SurrogateReport
from fermiac.nested._surrogate.truth import Asked, Cube, Truth

if TYPE_CHECKING:
    from fermiac._progress import Report

__all__ = ["Refused", "Work", "run_surrogate"]

Finding = tuple[type[FermiacWarning], str]
#: Trainings after the first, each on twice the points.
_RETRAININGS = 3
#: Seconds of a call below which no surrogate pays.
_CHEAP = 20e-6


class Refused(Exception):
    """The surrogate will not do; the text says why."""


@dataclass
class Work:
    """All that the stages share."""

    job: Job
    options: Surrogate
    truth: Truth
    workers: int
    start: float
    max_time: float | None
    report: Report | None
    told: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def key(self, purpose: int) -> int:
        """A key of this run for some purpose."""
        words = np.random.SeedSequence([self.job.key, 0x5A, purpose]).generate_state(1, np.uint64)
        return int(words[0])

    @contextmanager
    def stage(self, name: str, count: str | None = None) -> Iterator[None]:
        """Time a stage, and count the evaluations of the likelihood in it."""
        start, n = time.perf_counter(), self.truth.n
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start
            if count is not None:
                self.told[count] = self.told.get(count, 0) + self.truth.n - n

    def made(self, **fields: Any) -> SurrogateReport:
        """The report so far."""
        calls = max(self.truth.n, 1)
        timings = {**self.timings, "call": self.truth.seconds / calls}
        common: dict[str, Any] = {
            "seed": self.job.key,
            "version": _core.__version__,
            "isa": _core.isa_level,
            "settings": self.options._settings(),
            "mode": self.options.mode,
            "n_evals": self.truth.n,
            "wall_time": time.perf_counter() - self.start,
            "timings": timings,
        }
        return SurrogateReport(**{**common, **self.told, **fields})

    def course(self, job: Job, run: _core.NestedRun) -> Course:
        """A run on the cube, whose partial results are in the space of the parameters."""
        return _Stage(self, job, run)

    def on_cube(self, handle: Any, **changes: Any) -> Job:
        """The job with its target on the cube."""
        return replace(self.job, prior=Cube(self.job.dim), target=Asked(handle), **changes)


class _Stage(Course):
    """A run on the cube as a part of the work."""

    def __init__(self, work: Work, job: Job, run: _core.NestedRun) -> None:
        self._work = work
        super().__init__(
            job,
            run,
            workers=work.workers,
            start=work.start,
            max_time=work.max_time,
            report=work.report,
        )

    def _made(self, status: str, converged: bool) -> Nested:
        result = super()._made(status, converged)
        work = self._work
        return replace(
            result,
            draws=work.truth.prior.transform(result.draws),
            seed=work.job.key,
            settings={**work.job.settings(), "surrogate": work.options._settings()},
            n_evals=work.truth.n,
            timings={"target": work.truth.seconds, "total": result.wall_time},
            surrogate=work.made(biased=isinstance(self.job.target._handle, _core.GuardedDensity)),
        )


def run_surrogate(
    job: Job,
    options: Surrogate,
    *,
    workers: int,
    start: float,
    max_time: float | None,
    report: Report | None,
) -> Nested:
    """Run with a surrogate, or without it where it is refused, and warn of what is wrong."""
    if job.blobs[0]:
        raise ArgumentError("surrogate: given with blobs, which a surrogate does not give")
    truth = Truth(job.prior, job.target, job.nan)
    work = Work(job, options, truth, workers, start, max_time, report)
    result = None
    try:
        try:
            result, found = _two_pass(work)
        except Refused as refusal:
            result, found = _plain(work, str(refusal))
        found += _thrift(result)
        object.__setattr__(result, "warnings", tuple(text for _, text in found))
        warn(found, result)
    except BaseException as error:
        if result is not None:
            error.partial_result = result  # type: ignore[attr-defined]
        raise
    return result


def _two_pass(work: Work) -> tuple[Nested, list[Finding]]:
    pilot = Pilot(work)
    model = pilot.trained()
    for attempt in range(2):
        result, state = _on_surrogate(work, model, attempt)
        with work.stage("gate", "n_audit"):
            offset = work.told["gate"]["median"]
            agrees = audit(model, work.truth, result, work.options, offset, work.key(40 + attempt))
        if agrees:
            break
        if attempt == 1:
            raise Refused("the likelihood is high where it is low, and stays so after a training")
        model = pilot.trained(again=True)
    return _finished(work, model, result, state)


def _on_surrogate(work: Work, model: Model, attempt: int) -> tuple[Nested, dict[str, Any]]:
    """The run on a frozen surrogate, from the prior."""
    key = work.job.key if attempt == 0 else work.key(30 + attempt)
    job = work.on_cube(model.handle, key=key)
    with work.stage("run", "n_guarded"):
        before = work.truth.n
        course = work.course(job, job.make())
        result = course.advance()
        asked = work.truth.n - before
    work.told["n_surrogate"] = work.told.get("n_surrogate", 0) + course.state["n_evals"] - asked
    return result, course.state


def _finished(
    work: Work, model: Model, result: Nested, state: dict[str, Any]
) -> tuple[Nested, list[Finding]]:
    """The run on the surrogate with the likelihood in its place."""
    from fermiac.nested._findings import findings

    options = work.options
    work.told["log_evidence"] = result.log_evidence
    found: list[Finding] = []
    biased = options.correct is False
    if biased:
        found.append(
            (
                FermiacWarning,
                "the evidence is that of the surrogate, and has its errors (correct=False)",
            )
        )
    else:
        with work.stage("correction", "n_corrected"):
            correction = correct(result, model, work.truth, options, work.key(50))
        work.told |= correction.told
        if not (correction.told["khat"] < KHAT or correction.told["ess_ratio"] > 0.3):
            raise Refused(f"a few points carry the correction, k-hat {correction.told['khat']:.2f}")
        result = corrected(result, correction, result.draws)
        found += correction_findings(correction.told)
    wall = time.perf_counter() - work.start
    result = replace(
        result,
        n_evals=work.truth.n,
        wall_time=wall,
        timings={"target": work.truth.seconds, "total": wall},
        surrogate=work.made(biased=biased),
    )
    return result, findings(result, state, work.max_time) + found


def _plain(work: Work, reason: str) -> tuple[Nested, list[Finding]]:
    """The run that would have been made without a surrogate, to the bit."""
    with work.stage("plain"):
        course = Course(
            work.job,
            work.job.make(),
            workers=work.workers,
            start=work.start,
            max_time=work.max_time,
            report=work.report,
        )
        result = course.advance()
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
        f"{work.truth.n} evaluations in vain. Give it more points (a smaller start_dlogz, a larger "
        "pilot_live), or leave it out"
    )
    return result, [(ConvergenceWarning, text), *course.findings(result)]


def _thrift(result: Nested) -> list[Finding]:
    """A warning where the likelihood is too cheap for a surrogate."""
    assert result.surrogate is not None
    call = result.surrogate.timings["call"]
    if call >= _CHEAP:
        return []
    training = result.surrogate.timings.get("training", 0.0)
    return [
        (
            FermiacWarning,
            f"an evaluation of the likelihood takes {1e6 * call:.2g} us, too little for a "
            f"surrogate to pay, whose training took {training:.2g} s; leave it out",
        )
    ]


class Pilot:
    """A short run with the likelihood, whose points train the surrogate."""

    def __init__(self, work: Work) -> None:
        self._work = work
        job, options = work.job, work.options
        dim = job.dim
        n_live = options.pilot_live
        if n_live is None:
            n_live = min(job.n_live, max(50, 12 * dim))
        self._n_runs = 0
        self._settings: dict[str, Any] = {
            "n_live": n_live,
            "batch": max(1, n_live // 8),
            "dlogz": float(options.start_dlogz),
            "max_evals": options.pilot_evals,
            "max_iter": None,
        }
        self._n_trainings = 0
        with work.stage("pilot", "n_pilot"):
            self._begin()

    def _begin(self) -> None:
        self._n_runs += 1
        work = self._work
        self._job = work.on_cube(work.truth._handle, key=work.key(self._n_runs), **self._settings)
        self._course = work.course(self._job, self._job.make())
        self._advance()

    def _advance(self) -> None:
        self._course.advance()
        if self._course.state["status"] == "running":
            raise Refused("max_time ended the pilot")

    def _collect(self, model: Model | None) -> None:
        """Evaluate as many points again as there are: half of them where the surrogate points."""
        work = self._work
        wanted = 2 * work.truth.n
        if model is not None:
            with work.stage("pilot", "n_pilot"):
                key = work.key(60 + self._n_trainings)
                fresh = draw(model, work.truth, work.job, key, work.workers, work.truth.n // 2)
                if fresh is not None:
                    work.truth.at(fresh.u)
        with work.stage("pilot", "n_pilot"):
            while work.truth.n < wanted:
                missing = wanted - work.truth.n
                state = self._course.state
                if state["status"] == "plateau" or state["remaining"] < work.job.dlogz:
                    self._settings |= {"dlogz": work.job.dlogz, "max_evals": missing}
                    self._begin()
                else:
                    limit = state["n_evals"] + missing
                    self._course.run.prolong(work.job.dlogz, limit, 2**62)
                    self._course.state = self._course.run.state()
                    self._advance()

    def trained(self, again: bool = False) -> Model:
        """A surrogate that fresh points found good."""
        work = self._work
        reason, model = "", None
        for attempt in range(1 if again else 1 + _RETRAININGS):
            if attempt:
                self._collect(model)
            self._n_trainings += 1
            number = self._n_trainings
            try:
                with work.stage("training"):
                    model, n = train(work.options, work.truth, work.key(10 + number), work.workers)
            except (ArgumentError, NumericalError) as error:
                reason = str(error)
                continue
            finally:
                work.told["n_trainings"] = number
            with work.stage("gate", "n_gate"):
                gate = judge(
                    model, work.truth, work.job, work.options, work.key(20 + number), work.workers
                )
            passed = gate.pop("passed")
            work.told |= {"n_points": n, "architecture": model.told, "gate": gate}
            if passed:
                return model
            reason = (
                f"its errors at fresh points have a standard deviation of {gate.get('sd', np.nan):.2g} nats "
                f"and a tail of {gate.get('tail', np.nan):.2g}"
            )
        raise Refused(reason)
