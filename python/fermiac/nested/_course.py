"""The course of a run: slice by slice, with what is looked after between the slices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from fermiac import _core, _handle
from fermiac._progress import annotate, finish
from fermiac.errors import FermiacError, InternalError
from fermiac.nested._findings import findings
from fermiac.nested._job import Job
from fermiac.nested._points import from_points

if TYPE_CHECKING:
    from fermiac._progress import Report
    from fermiac.errors import FermiacWarning
    from fermiac.nested._keeper import Keeper
    from fermiac.nested._result import Nested

__all__ = ["Course"]

#: Seconds between two looks at a run that somebody watches.
_TICK = 1.0
#: How a run that came to an end by itself is called, and whether it did what it was to do.
_ENDS = {
    "converged": ("complete", True),
    "plateau": ("plateau", True),
    "passed": ("complete", True),
    "max_evals": ("stopped", False),
    "max_iter": ("stopped", False),
    "max_time": ("stopped", False),
}


class Course:
    """One run, from where it stands to the end."""

    def __init__(
        self,
        job: Job,
        run: _core.NestedRun,
        *,
        workers: int,
        start: float,
        keeper: Keeper | None = None,
        max_time: float | None = None,
        report: Report | None = None,
    ) -> None:
        self.job = job
        self.run = run
        self._workers = workers
        self._keeper = keeper
        self._max_time = max_time
        self._report = report
        self._start = start
        self._before = 0.0 if keeper is None else keeper.elapsed
        self._late = False
        # What is known of the run at rest; others may look at it while it goes on.
        self.state = run.state()
        self._shown: Nested | None = None
        self._watched = _handle.watch(lambda: self._shown)

    def go(self) -> Nested:
        """Run to the end, and say so."""
        result = self.advance()
        finish(self._report, self.state["n_evals"], result)
        return result

    def advance(self) -> Nested:
        """Run to the end."""
        try:
            self._save()
            while self.state["status"] == "running" and not self._late:
                self._slice()
            self._save()
            result = self.result()
        except BaseException as error:
            self._leave(error)
            raise
        return result

    def _slice(self) -> None:
        error = self.run.run(*self.job.ports, self._budget(), self._workers, self._report)
        self.state = self.run.state()
        if error is not None:
            raise error
        self._late = self._max_time is not None and self._elapsed() >= self._max_time
        if self._keeper is not None and self._keeper.wait() == 0:
            self._save()
        if self._watched and self.state["n_points"] > 1:
            self._shown = self._made("running", False)
        self._annotate()

    def _budget(self) -> float | None:
        limits = [_TICK] if self._watched or self._report is not None else []
        if self._keeper is not None:
            limits.append(self._keeper.wait())
        if self._max_time is not None:
            limits.append(self._max_time - self._elapsed())
        return max(min(limits), 0.0) if limits else None

    def _elapsed(self) -> float:
        return self._before + time.perf_counter() - self._start

    def _annotate(self) -> None:
        state = self.state
        if self._report is None or not np.isfinite(state["log_evidence"]):
            return
        share = 100 * state["n_points"] / max(state["n_evals"], 1)
        annotate(
            self._report,
            f"log Z {state['log_evidence']:.2f} ± {state['log_evidence_stderr']:.2f}, "
            f"dlogz {state['remaining']:.3g}, efficiency {share:.2g} %",
        )

    def _save(self) -> None:
        """Write the checkpoint."""
        if self._keeper is not None:
            self._keeper.write(self.job, self.run, self._elapsed())

    def _leave(self, error: BaseException) -> None:
        """Keep what there is, when an error ends the run."""
        if not isinstance(error, FermiacError | KeyboardInterrupt):
            error.add_note(
                f"raised in batch {self.state['n_batches']} of nested sampling, after "
                f"{self.state['n_evals']} evaluations"
            )
        partial = None
        try:
            if not isinstance(error, InternalError):
                self.state = self.run.state()
                if self.state["n_points"] > 1:
                    partial = self._made("interrupted", False)
                self._keep_or_discard()
        except Exception as failure:
            error.add_note(f"and what the run had could not be kept: {failure}")
        error.partial_result = partial  # type: ignore[attr-defined]

    def _keep_or_discard(self) -> None:
        if self._keeper is None:
            return
        if self.state["n_evals"]:
            self._save()
        else:
            self._keeper.discard()

    def result(self) -> Nested:
        """What the run has come to."""
        ended = "max_time" if self.state["status"] == "running" else self.state["status"]
        status, converged = _ENDS[ended]
        result = self._made(status, converged)
        object.__setattr__(result, "_course", self)
        return result

    def findings(self, result: Nested) -> list[tuple[type[FermiacWarning], str]]:
        """What the user must know of it."""
        return findings(result, self.state, self._max_time if self._late else None)

    def _made(self, status: str, converged: bool) -> Nested:
        state, job = self.state, self.job
        wall = self._elapsed()
        settings = job.settings()
        if self._max_time is not None:
            settings["max_time"] = self._max_time
        trace = self.run.trace()
        return from_points(
            self.run.points(*job.ports),
            names=job.names,
            seed=job.key,
            settings=settings,
            n_evals=state["n_evals"],
            wall_time=wall,
            status=status,
            converged=converged,
            rank_z=state["rank_z"],
            trace=trace,
            timings={"target": state["seconds"], "total": wall},
        )
