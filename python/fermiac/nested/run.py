"""The run loop of nested sampling: batches of replacements in slices of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base import layout as fit
from fermiac.errors import CheckpointError
from fermiac.nested.batches import Late
from fermiac.nested.checks import findings
from fermiac.nested.importance_evidence import importance_of
from fermiac.nested.job import Job
from fermiac.nested.result import NestedResult
from fermiac.nested.volumes import from_points
from fermiac.runs.loop import Budget, RunLoop

if TYPE_CHECKING:
    from fermiac import _core
    from fermiac._base.progress import Report
    from fermiac.errors import FermiacWarning
    from fermiac.nested.batches import Batches
    from fermiac.nested.importance_evidence import ImportanceEvidence
    from fermiac.runs.checkpoint import RunCheckpoint

__all__ = ["KIND", "NestedLoop", "longest"]

#: The kind of the checkpoints of `fermiac.nested.sample`.
KIND = "nested sampling run"
#: Points at which a resumed run compares the likelihood with what it was.
_VERIFIED = 3
#: Evaluations up to which a partial result has the estimate from all points.
_FEW = 20_000
#: The status of a run by what ended it, and whether it has converged.
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

_STATE: fit.Layout = {"words": fit.array("u", "words", least=1)}


def longest(trace: Mapping[str, Any]) -> int:
    """Return the number of moves of the longest chains of a run; 0 for rejection."""
    return int(np.nanmax(trace["n_moves"], initial=0))


@dataclass(eq=False, repr=False)
class NestedLoop(RunLoop[NestedResult]):
    """The run loop of nested sampling; its time is that of all calls."""

    reports = True

    job: Job
    _: KW_ONLY
    workers: int
    #: Evaluations of other loops of the call.
    evals_before: int = 0
    #: The chains of batches on the workers of an executor.
    batches: Batches | None = None

    def __post_init__(self) -> None:
        #: The job of the run under way.
        self._now = self.job
        #: Evaluations of runs of this loop that have ended.
        self._evals_ended = 0
        #: How many there will be at least, for progress.
        self._expected = 0
        self.core: _core.NestedRun = self._core()
        #: Status, counts and evidence at the end of the last slice.
        self.info: dict[str, Any] = {}
        self.settle()

    def _core(self) -> _core.NestedRun:
        return self.job.make()

    def state(self) -> dict[str, Any]:
        """Return the state of the core's run."""
        return {"words": self.core.save(*self.job.ports)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop, which other limits may have ended."""
        with self.decoding():
            fit.require(state, _STATE)
            self.core.load(*self.job.ports, state["words"])
        options = self._now.options()
        self.prolong(options["dlogz"], options["max_evals"], options["max_iter"])
        if self.checkpoint is not None and self.info["n_points"]:
            self._verify(self.checkpoint)

    def prolong(self, dlogz: float, max_evals: int, max_iter: int) -> None:
        """Let the run continue to other limits."""
        self.core.prolong(dlogz, max_evals, max_iter)
        self.settle()

    def _verify(self, checkpoint: RunCheckpoint) -> None:
        job, points = self.job, self.points()
        u, then = points["unit_draws"][-_VERIFIED:], points["log_likelihoods"][-_VERIFIED:]

        def now() -> Any:
            x = np.ascontiguousarray(job.prior.transform(u))
            return job.target(x)[:, 0] if job.blobs[0] else job.target._evaluate(x, False)[0]

        checkpoint.verify("the log-likelihood is", "at a point of the run", now, then)

    def advance(self, budget: Budget) -> BaseException | None:
        """Make replacements for a while."""
        report, batches = self._shifted_report(), self.batches
        away = {} if batches is None else {"away": True}
        error = self.core.run(*self.job.ports, budget.seconds, self.workers, report, **away)
        self.settle()
        if batches is not None and error is None and self.info["n_chains"]:
            batches.run(self.core, self.job, budget.seconds, self._tick)
            self.settle()
        return error

    def _tick(self) -> None:
        """Report the progress of chains on workers, and end the wait for them when it is late."""
        report, state = self._shifted_report(), self.core.state()
        if report is not None:
            report(state["n_evals"], state["n_evals"] + state["expected"])
        if self.is_late():
            raise Late

    def _shifted_report(self) -> Report | None:
        """Return the progress callback, which counts the evaluations of other runs too."""
        report, before = self.report, self.evals_before + self._evals_ended
        if report is None or not before:
            return report
        return lambda done, total: report(before + done, max(before + total, self._expected))

    def settle(self) -> None:
        """Read the state of the run from the core."""
        self.info = self._read()
        self.total = self.done()

    def _read(self) -> dict[str, Any]:
        return self.core.state()

    def is_complete(self) -> bool:
        """Return whether the evidence or a limit has ended the run."""
        return bool(self.info["status"] != "running")

    def done(self) -> int:
        """Return the evaluations of the call so far."""
        return self.evals_before + int(self.info["n_evals"])

    def where(self) -> str:
        """Return the number of the current batch."""
        batch, n_evals = self.info["n_batches"], self.info["n_evals"]
        return f"in batch {batch} of nested sampling, after {n_evals} evaluations"

    def note(self) -> str:
        """Return the evidence so far."""
        info = self.info
        if not np.isfinite(info["log_evidence"]):
            return ""
        share = 100 * info["n_points"] / max(info["n_evals"], 1)
        return (
            f"log Z {info['log_evidence']:.2f} ± {info['log_evidence_stderr']:.2f}, "
            f"dlogz {info['remaining']:.3g}, efficiency {share:.2g} %"
        )

    def snapshot(self, status: str) -> NestedResult | None:
        """Return all points so far; the result of an unfinished run can be extended."""
        if status == "complete":
            result = self._made(*_ENDS[self._ended_by()])
        elif self.info["n_points"] > 1:
            result = self._made(status, False)
        else:
            return None
        if status != "running":
            object.__setattr__(result, "_loops", (self,))
        return result

    def _ended_by(self) -> str:
        return str(self.info["status"]) if self.is_complete() else "max_time"

    def findings(self, result: NestedResult) -> list[tuple[type[FermiacWarning], str]]:
        """Return the warnings that the result carries."""
        return findings(result, self.info, self.max_time if self.timed_out else None)

    def _made(self, status: str, converged: bool) -> NestedResult:
        info, job = self.info, self.job
        wall = self.elapsed
        made = from_points(
            job.shown(self.points()),
            **job.labelled(),
            seed=job.key,
            settings=self._settings(),
            n_evals=info["n_evals"],
            wall_time=wall,
            status=status,
            converged=converged,
            rank_z=info["rank_z"],
            rank_p_value=info["rank_p_value"] if job.batch == 1 else float("nan"),
            trace=self._trace(),
            timings={"target": info["seconds"], "total": wall},
            importance=self._importance(converged) if self._has_time(status) else None,
        )
        object.__setattr__(made, "_model", job.model)
        return made

    def _has_time(self, status: str) -> bool:
        """Return whether a result of this status gets the estimate from all points."""
        # That of many points takes longer than an interrupted call may go on.
        is_small = self.info["n_evals"] < _FEW
        return status != "running" and (status != "interrupted" or is_small)

    def _settings(self) -> dict[str, Any]:
        settings = self.job.settings()
        if self.max_time is not None:
            settings["max_time"] = self.max_time
        return settings

    def points(self) -> dict[str, Any]:
        """Return all points so far."""
        return self.core.points(*self.job.ports)

    def _importance(self, converged: bool) -> ImportanceEvidence | None:
        raw = self.core.importance(*self.job.ports, self.workers)
        if raw is None:
            return None
        if not (raw["log_weights"] < np.inf).all():
            raise CheckpointError(
                "the run continues from a damaged state: a point of a bound has an infinite weight"
            )
        return importance_of(raw, self.job, converged)

    def _trace(self) -> dict[str, Any]:
        return self.core.trace()
