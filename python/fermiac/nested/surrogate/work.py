"""The data that the stages of a run with a surrogate share: counts, times, keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac import _core
from fermiac.errors import FermiacWarning, NumericalError
from fermiac.nested.job import Job
from fermiac.nested.result import NestedResult
from fermiac.nested.run import NestedLoop
from fermiac.nested.surrogate.models import Cube, HandleTarget, Truth
from fermiac.nested.surrogate.options import Surrogate, SurrogateReport

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["Finding", "Refused", "Work"]

Finding = tuple[type[FermiacWarning], str]


class Refused(Exception):
    """Raised when a surrogate is not good enough; the text says why."""


@dataclass
class Work:
    """The data that all stages share."""

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
        """Return the key of this run for some purpose."""
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
                self.count(count, self.truth.n - n)

    def count(self, name: str, n: int) -> None:
        """Add to a count of the report."""
        self.told[name] = self.told.get(name, 0) + n

    def made(self, **fields: Any) -> SurrogateReport:
        """Return the report so far."""
        calls = max(self.truth.n, 1)
        timings = {**self.timings, "call": self.truth.seconds / calls}
        common: dict[str, Any] = {
            "seed": self.job.key,
            "version": _core.__version__,
            "isa": _core.isa_level,
            "settings": self.options._settings(),
            "n_evals": self.truth.n,
            "wall_time": time.perf_counter() - self.start,
            "timings": timings,
        }
        return SurrogateReport(**{**common, **self.told, **fields})

    def on_surrogate(self, loop: NestedLoop) -> NestedResult:
        """Run a loop on a surrogate to its end, and count its evaluations."""
        with self.stage("run", "n_guarded"):
            before = self.truth.n
            try:
                result = loop.run_to_end()
            except NumericalError as error:
                raise Refused(f"the run with it failed: {error}") from error
            asked = self.truth.n - before
        self.count("n_surrogate", loop.info["n_evals"] - asked)
        return result

    def loop(self, handle: Any, changes: dict[str, Any], *, biased: bool = False) -> NestedLoop:
        """Return a loop on the cube, whose results are in the space of the parameters.

        Parameters
        ----------
        handle : object
            The target on the cube, as the core takes it.
        changes : dict
            Changes to the settings of the job.
        biased : bool, default False
            Whether the target is a surrogate.
        """
        # Outside of the bounds a surrogate has learnt nothing, so that probes would cost calls.
        job = replace(
            self.job,
            prior=Cube(self.job.dim),
            target=HandleTarget(handle),
            probed=False,
            keeps_points=False,
            **changes,
        )
        return _Stage(self, job, biased)


class _Stage(NestedLoop):
    """The loop of a stage, which runs on the cube."""

    def __init__(self, work: Work, job: Job, biased: bool) -> None:
        self._work = work
        self._biased = biased
        super().__init__(
            job,
            workers=work.workers,
            start=work.start,
            max_time=work.max_time,
            report=work.report,
        )

    def _made(self, status: str, converged: bool) -> NestedResult:
        result = super()._made(status, converged)
        work = self._work
        return replace(
            result,
            draws=work.truth.prior.transform(result.draws.copy()),
            unit_draws=result.draws,
            seed=work.job.key,
            settings={**work.job.settings(), "surrogate": work.options._settings()},
            n_evals=work.truth.n,
            timings={"target": work.truth.seconds, "total": result.wall_time},
            surrogate=work.made(biased=self._biased),
        )
