"""The course of a run: slice by slice, with what is looked after between the slices."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.progress import annotate, finish
from fermiac.errors import FermiacError, InternalError
from fermiac.nested.checks import findings
from fermiac.nested.importance_evidence import importance_of
from fermiac.nested.job import Job
from fermiac.nested.volumes import from_points
from fermiac.runs import background

if TYPE_CHECKING:
    from fermiac import _core
    from fermiac._base.progress import Report
    from fermiac._base.store import Tensors
    from fermiac.errors import FermiacWarning
    from fermiac.nested.checkpoint import Keeper
    from fermiac.nested.importance_evidence import ImportanceEvidence
    from fermiac.nested.result import NestedResult

__all__ = ["Course", "View", "longest"]

#: Seconds between two looks at a run that somebody watches.
_TICK = 1.0
#: How a run that came to an end by itself is called, and whether it did what it was to do.
_ENDS = {
    "converged": ("complete", True),
    "plateau": ("plateau", True),
    "passed": ("complete", True),
    "targets": ("complete", True),
    "max_batches": ("stopped", False),
    "no gain": ("stopped", False),
    "max_evals": ("stopped", False),
    "max_iter": ("stopped", False),
    "max_time": ("stopped", False),
}


def longest(trace: Mapping[str, Any]) -> int:
    """Moves of the longest chains of a run; 0 for rejection."""
    return int(np.nanmax(trace["n_moves"], initial=0))


class View:
    """What others see of a call while it goes on."""

    def __init__(self) -> None:
        self._shown: NestedResult | None = None
        self._next = 0.0
        self.watched = background.watch(lambda: self._shown)

    def due(self) -> bool:
        """Whether somebody looks, and what there is to see has aged."""
        return self.watched and time.monotonic() >= self._next

    def show(self, result: NestedResult) -> None:
        """Let it be seen."""
        self._shown = result
        self._next = time.monotonic() + _TICK / 2


class Course:
    """One run, from where it stands to the end."""

    def __init__(
        self,
        job: Job,
        *,
        workers: int,
        start: float,
        keeper: Keeper | None = None,
        max_time: float | None = None,
        report: Report | None = None,
        view: View | None = None,
        evals_before: int = 0,
        run: _core.NestedRun | None = None,
    ) -> None:
        self.job = job
        #: The job of the run under way.
        self._now = job
        self.run = job.make() if run is None else run
        self._workers = workers
        self._keeper = keeper
        self._max_time = max_time
        self._report = report
        self._start = start
        self._end: float | None = None
        self._before = 0.0
        self._late = False
        #: Evaluations of other courses of the call, and of runs of this one that have ended.
        self._evals_before = evals_before
        self._evals_ended = 0
        #: How many there will be at least, for progress.
        self._total = 0
        # What is known of the run at rest; others may look at it while it goes on.
        self.state = self.run.state()
        self._view = View() if view is None else view

    def kept(self) -> Tensors:
        """Everything that changes, for `take`."""
        return {"words": self.run.save(*self.job.ports)}

    def take(self, kept: Tensors, elapsed: float) -> None:
        """Go where another course stood; if a limit ended it there, the limits are now others."""
        self.run.load(*self.job.ports, kept["words"])
        self._before = elapsed
        self._prolong()
        self.state = self._look()

    def _prolong(self) -> None:
        options = self._now.options()
        self.run.prolong(options["dlogz"], options["max_evals"], options["max_iter"])

    def go(self) -> NestedResult:
        """Run to the end, and say so."""
        result = self.advance()
        self._total = 0
        finish(self._told(self._evals_before), self.state["n_evals"], result)
        return result

    def advance(self) -> NestedResult:
        """Run to the end."""
        try:
            self._save()
            while not self._late and (self.state["status"] == "running" or self._next()):
                self._slice()
            self._end = time.perf_counter()
            self._save()
            result = self.result()
        except BaseException as error:
            self._leave(error)
            raise
        return result

    def _next(self) -> bool:
        """Begin a further run of this course, if there is to be one."""
        return False

    def _look(self) -> dict[str, Any]:
        """How the course stands."""
        return self.run.state()

    def _told(self, before: int) -> Report | None:
        """The callback for progress, after so many evaluations of other runs."""
        report = self._report
        if report is None or not before:
            return report
        return lambda done, total: report(before + done, max(before + total, self._total))

    def _slice(self) -> None:
        report = self._told(self._evals_before + self._evals_ended)
        error = self.run.run(*self.job.ports, self._budget(), self._workers, report)
        self.state = self._look()
        if error is not None:
            raise error
        self._late = self._max_time is not None and self.elapsed >= self._max_time
        if self._keeper is not None and self._keeper.wait() == 0:
            self._save()
        if self._view.due() and self.state["n_points"] > 1:
            self._view.show(self._made("running", False))
        self._annotate()

    def _budget(self) -> float | None:
        limits = [_TICK] if self._view.watched or self._report is not None else []
        if self._keeper is not None:
            limits.append(self._keeper.wait())
        if self._max_time is not None:
            limits.append(self._max_time - self.elapsed)
        return max(min(limits), 0.0) if limits else None

    @property
    def elapsed(self) -> float:
        """Seconds that it has taken."""
        now = time.perf_counter() if self._end is None else self._end
        return self._before + now - self._start

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
            self._keeper.write(self.kept(), self.elapsed)

    def _leave(self, error: BaseException) -> None:
        """Keep what there is, when an error ends the run."""
        self._end = self._end or time.perf_counter()
        if not isinstance(error, FermiacError | KeyboardInterrupt):
            error.add_note(
                f"raised in batch {self.state['n_batches']} of nested sampling, after "
                f"{self.state['n_evals']} evaluations"
            )
        partial = None
        try:
            if not isinstance(error, InternalError):
                self.state = self._look()
                if self.state["n_points"] > 1:
                    partial = self._going_on(self._made("interrupted", False))
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

    def result(self) -> NestedResult:
        """What the run has come to."""
        return self._going_on(self._made(*_ENDS[self._how()]))

    def _how(self) -> str:
        """What ended the course."""
        return "max_time" if self.state["status"] == "running" else str(self.state["status"])

    def _going_on(self, result: NestedResult) -> NestedResult:
        """The result, which knows how to go on."""
        object.__setattr__(result, "_courses", (self,))
        return result

    def findings(self, result: NestedResult) -> list[tuple[type[FermiacWarning], str]]:
        """What the user must know of it."""
        return findings(result, self.state, self._max_time if self._late else None)

    def _made(self, status: str, converged: bool) -> NestedResult:
        state, job = self.state, self.job
        wall = self.elapsed
        return from_points(
            self.points(),
            names=job.names,
            seed=job.key,
            settings=self._settings(),
            n_evals=state["n_evals"],
            wall_time=wall,
            status=status,
            converged=converged,
            rank_z=state["rank_z"],
            rank_p_value=state["rank_p_value"] if job.batch == 1 else float("nan"),
            trace=self._trace(),
            timings={"target": state["seconds"], "total": wall},
            importance=None if status == "running" else self._importance(),
        )

    def _settings(self) -> dict[str, Any]:
        settings = self.job.settings()
        if self._max_time is not None:
            settings["max_time"] = self._max_time
        return settings

    def points(self) -> dict[str, Any]:
        """All points so far."""
        return self.run.points(*self.job.ports)

    def _importance(self) -> ImportanceEvidence | None:
        return importance_of(self.run, self.job, self._workers)

    def _trace(self) -> dict[str, Any]:
        return self.run.trace()
