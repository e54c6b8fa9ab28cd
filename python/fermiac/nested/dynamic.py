"""Dynamic nested sampling: runs that add points where they are worth most, one after the other."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.progress import annotate
from fermiac.errors import ArgumentError
from fermiac.nested.allocation import Dynamic, Volumes, joined, seeds_above
from fermiac.nested.run import Course, longest

if TYPE_CHECKING:
    from fermiac._base.store import Tensors
    from fermiac.errors import FermiacWarning
    from fermiac.nested.checkpoint import Keeper
    from fermiac.nested.job import Job
    from fermiac.nested.result import NestedResult

__all__ = ["DynamicCourse", "as_dynamic", "course_of"]

#: What the runs of a course count, and what the state of the course has summed.
_COUNTS = ("n_evals", "n_batches", "n_stuck", "n_nan", "n_coded", "seconds")
#: What is noted of each run that has ended.
_NOTES = (*_COUNTS, "n_points", "rank_z", "radius_scale", "low", "high", "ess", "stderr")
_POINTS = "points."
_TRACE = "trace."
#: A batch gained nothing where the targets came nearer by less than this share of what as many
#: points anywhere would have brought them.
_GAIN = 0.1
_REACHED = (
    "the effective sample size is {ess:.0f} (target {aim.target_ess:.0f}), the error of log Z "
    "{stderr:.2g} (target {aim.target_stderr:.2g}); "
)
#: Why a course that no limit of its runs has ended fell short.
_SHORT = {
    "max_batches": "max_batches ended the run before its targets were reached: "
    + _REACHED
    + "go on with extend(dynamic=...), or raise max_batches",
    "limit": "the run ended by {how} before its targets were reached: "
    + _REACHED
    + "go on with extend(), or raise the limit",
    "no gain": "two batches in a row brought the targets no nearer: "
    + _REACHED
    + "use more live points in each (n_batch), or lower the targets",
}


def as_dynamic(given: bool | Dynamic) -> Dynamic | None:
    """Take the setting ``dynamic``."""
    if isinstance(given, Dynamic):
        return given
    if not isinstance(given, bool):
        raise ArgumentError(
            f"dynamic: {given!r:.60} given; True, False or a fermiac.nested.Dynamic is needed"
        )
    return Dynamic() if given else None


def course_of(job: Job, *, keeper: Keeper | None = None, **ports: Any) -> Course:
    """The course of a job, from its start or from where its file has it."""
    kind = Course if job.dynamic is None else DynamicCourse
    course = kind(job, keeper=keeper, **ports)
    if keeper is not None:
        keeper.restore(course)
    return course


class DynamicCourse(Course):
    """A run, and others that add points to it.

    What changes is the points of the runs that have ended, a few figures of each, and the run under
    way; where that began, and what is to come, follows from these.
    """

    def __init__(self, job: Job, **ports: Any) -> None:
        super().__init__(job, **ports)
        assert job.dynamic is not None
        self._aim = job.dynamic
        self._ended: dict[str, Any] | None = None
        self._traces: dict[str, Any] = {}
        self._notes: dict[str, list[float]] = {name: [] for name in _NOTES}
        self._low, self._high = -np.inf, np.inf
        self._why = ""

    @property
    def _n_runs(self) -> int:
        """Runs that have ended, the first and batches."""
        return len(self._notes["low"])

    def _look(self) -> dict[str, Any]:
        state = self.run.state()
        for name in _COUNTS:
            kind = type(state[name])
            state[name] = kind(state[name] + sum(self._notes[name]))
        z = np.array([*self._notes["rank_z"], state["rank_z"]])
        n = np.array([*self._notes["n_points"], state["n_points"]])
        known = np.isfinite(z) & (n > 0)
        if known.any():
            # Each is a standard normal number, and tells the more the more points it is of.
            root = np.sqrt(n[known])
            state["rank_z"] = float(root @ z[known] / np.sqrt(root @ root))
        if self._n_runs:
            state["rank_p_value"] = float("nan")  # of one run of several
        state["n_points"] = int(n.sum())
        state["radius_scale"] = max(*self._notes["radius_scale"], state["radius_scale"], 0.0)
        return state

    def points(self) -> dict[str, Any]:
        """Return the dead points of all runs so far."""
        return joined(self._ended, super().points())

    def _trace(self) -> dict[str, Any]:
        """Of all runs, one after the other: of batches of replacements, and of the runs."""
        now = self.run.trace()
        now["run"] = np.full(len(now["level"]), float(self._n_runs))
        if not self._traces:
            return now
        return {name: np.concatenate([self._traces[name], now[name]]) for name in now}

    def _settings(self) -> dict[str, Any]:
        notes, now = self._notes, {"low": self._low, "high": self._high}
        runs = {name: [*notes[name], now[name]] for name in now}
        return {**super()._settings(), "dynamic": asdict(self._aim), "runs": runs}

    def _annotate(self) -> None:
        if not self._n_runs:
            super()._annotate()
        elif self._report is not None:
            ess, stderr = (self._notes[name][-1] for name in ("ess", "stderr"))
            note = f"batch {self._n_runs}, ESS {ess:.0f}, error of log Z {stderr:.2g}"
            annotate(self._report, note)

    def _next(self) -> bool:
        """Begin a batch, if the targets are not reached yet and no limit is."""
        status = str(self.state["status"])
        self._why = status if status in ("max_evals", "max_iter") else ""
        if self._why:
            return False
        points = self.points()
        volumes = Volumes(points)
        ess, stderr = volumes.ess, volumes.stderr
        self._why = self._enough(ess, stderr)
        if self._why:
            return False
        run = self.run.state()
        here = {**run, "low": self._low, "high": self._high, "ess": ess, "stderr": stderr}
        self._traces = self._trace()
        for name, values in self._notes.items():
            values.append(float(here[name]))
        self._ended = points
        self.run = self._begun(volumes)
        self.state = self._look()
        if self._report is not None:
            # Runs may be too short to report; whoever pauses or aborts does it here.
            done = self._evals_before + self._evals_ended
            self._total = max(int(done * self._aim.measure(ess, stderr)), done + 1)
            self._report(done, self._total)
        return True

    def _enough(self, ess: float, stderr: float) -> str:
        """Why no batch is to follow; nothing, if one is."""
        aim, job, notes = self._aim, self.job, self._notes
        if aim.measure(ess, stderr) <= 1:
            return "targets"
        for name, limit in (("max_evals", job.max_evals), ("max_iter", job.max_iter)):
            done = self.state["n_evals" if name == "max_evals" else "n_batches"]
            if limit is not None and done >= limit:
                return name
        if aim.max_batches is not None and self._n_runs >= aim.max_batches:
            return "max_batches"
        # A batch that finds a mode sets the targets farther off, and the next one gains much.
        measures = [aim.measure(*both) for both in zip(notes["ess"], notes["stderr"], strict=True)]
        measures.append(aim.measure(ess, stderr))
        sizes = np.cumsum([*notes["n_points"], self.run.state()["n_points"]])
        gains = [
            1 - measures[i] / measures[i - 1] < _GAIN * (1 - sizes[i - 1] / sizes[i])
            for i in range(1, len(sizes))
        ]
        return "no gain" if len(gains) > 1 and all(gains[-2:]) else ""

    def _begun(self, volumes: Volumes) -> Any:
        """The run of the next batch; all of it follows from the runs before."""
        aim, job, points = self._aim, self.job, self._ended
        assert points is not None
        n = aim.n_batch or job.n_live
        least = max(2 * job.dim + 2, 10, min(n, job.n_live) // 2)
        low, high = volumes.between(aim.posterior_share, least, points["births"])
        if aim.explore_every and self._n_runs % aim.explore_every == 0:
            low = -np.inf
        self._low, self._high = low, high
        self._evals_ended = int(sum(self._notes["n_evals"]))
        self._now = self._batch_job(n)
        above = None if low == -np.inf else seeds_above(points, low, volumes)
        return self._now.make(above)

    def _batch_job(self, n: int) -> Job:
        job, notes = self.job, self._notes

        def left(limit: int | None, name: str) -> int | None:
            return None if limit is None else max(limit - int(sum(notes[name])), 1)

        return replace(
            job,
            sampler=job.sampler._settled(job.dim, longest(self._traces)),
            n_live=n,
            batch=max(1, min(round(job.batch * n / job.n_live), n // 2)),
            max_evals=left(job.max_evals, "n_evals"),
            max_iter=left(job.max_iter, "n_batches"),
            # The streams of a run are those of its batches, and one more for its opening.
            first_batch=int(sum(notes["n_batches"])) + self._n_runs,
            high=self._high,
        )

    def kept(self) -> Tensors:
        """Return the arrays of a checkpoint."""
        tensors = super().kept()
        for tag, arrays in ((_POINTS, self._ended or {}), (_TRACE, self._traces)):
            tensors.update({tag + name: np.asarray(values) for name, values in arrays.items()})
        tensors["notes"] = np.array([self._notes[name] for name in _NOTES])
        return tensors

    def take(self, kept: Tensors, elapsed: float) -> None:
        """Go on from the arrays of a checkpoint."""
        if "notes" in kept:  # else another course had no batches
            rows = kept["notes"].tolist()
            self._notes = dict(zip(_NOTES, rows, strict=True))
        ended, self._traces = (
            {name.removeprefix(tag): v for name, v in kept.items() if name.startswith(tag)}
            for tag in (_POINTS, _TRACE)
        )
        if ended:
            self._ended = ended
            self.run = self._begun(Volumes(ended))
        super().take(kept, elapsed)

    def _how(self) -> str:
        return self._why or "max_time"

    def findings(self, result: NestedResult) -> list[tuple[type[FermiacWarning], str]]:
        """Return the warnings that the result carries."""
        # The rest of the batch under way says nothing of the evidence, which the first run had.
        why = self._why if self._why in _SHORT or not self._n_runs else "limit"
        short = _SHORT.get(why, "").format(
            how=self._how(), ess=result.ess, stderr=result.log_evidence_stderr, aim=self._aim
        )
        self.state.update(status=self._how(), short=short)
        return super().findings(result)
