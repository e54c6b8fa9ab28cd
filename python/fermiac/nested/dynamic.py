"""Dynamic nested sampling: a first run, and batches of points where they gain most."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.nested.allocation import Dynamic, Volumes, joined, seeds_above
from fermiac.nested.importance_evidence import importance_of
from fermiac.nested.learnt import LearntLoop
from fermiac.nested.run import NestedLoop, longest
from fermiac.nested.samplers import Learnt

if TYPE_CHECKING:
    from fermiac.errors import FermiacWarning
    from fermiac.nested.importance_evidence import ImportanceEvidence
    from fermiac.nested.job import Job
    from fermiac.nested.result import NestedResult

__all__ = ["DynamicLoop", "as_dynamic", "loop_of"]

#: The counts of a run that are summed over all runs of the loop.
_COUNTS = ("n_evals", "n_batches", "n_stuck", "n_nan", "n_coded", "seconds")
#: The figures that are kept of each run that has ended.
_NOTES = (*_COUNTS, "n_points", "rank_z", "radius_scale", "low", "high", "ess", "stderr")
#: The prefixes of the names of tensors of points, traces and the importance sample.
_TAGS = ("points.", "trace.", "importance.")
#: The least progress of a batch towards the targets, relative to that of as many points placed
#: anywhere.
_GAIN = 0.1
_REACHED = (
    "the effective sample size is {ess:.0f} (target {aim.target_ess:.0f}), the error of log Z "
    "{stderr:.2g} (target {aim.target_stderr:.2g}); "
)
#: The warnings of a loop that ended before its targets were reached, by what ended it.
_SHORT = {
    "max_batches": "max_batches ended the run before its targets were reached: "
    + _REACHED
    + "continue with extend(dynamic=...), or raise max_batches",
    "limit": "the run ended by {how} before its targets were reached: "
    + _REACHED
    + "continue with extend(), or raise the limit",
    "no gain": "two batches in a row brought the targets no nearer: "
    + _REACHED
    + "use more live points in each (n_batch), or lower the targets",
}


def as_dynamic(given: bool | Dynamic) -> Dynamic | None:
    """Return the settings that the argument ``dynamic`` stands for."""
    if isinstance(given, Dynamic):
        return given
    if not isinstance(given, bool):
        raise ArgumentError(
            f"dynamic: {shown(given)} given; True, False or a fermiac.nested.Dynamic is needed"
        )
    return Dynamic() if given else None


def loop_of(job: Job, **more: Any) -> NestedLoop:
    """Return the loop of a job."""
    if isinstance(job.sampler, Learnt):
        return LearntLoop(job, **more)
    return NestedLoop(job, **more) if job.dynamic is None else DynamicLoop(job, **more)


class DynamicLoop(NestedLoop):
    """The loop of a first run and of batches, which are runs that add points to it.

    Its state consists of the points of the finished runs, a few figures of each, and the current
    run. The start of the current run and all later batches follow from these.
    """

    def __init__(self, job: Job, **more: Any) -> None:
        assert job.dynamic is not None
        self._aim = job.dynamic
        self._ended: dict[str, Any] | None = None
        self._traces: dict[str, Any] = {}
        #: The importance sample of the first run, once it has ended.
        self._all_points: dict[str, Any] = {}
        self._notes: dict[str, list[float]] = {name: [] for name in _NOTES}
        self._low, self._high = -np.inf, np.inf
        self._why = ""
        super().__init__(job, **more)

    @property
    def _n_runs(self) -> int:
        """The number of runs that have ended, the first and batches."""
        return len(self._notes["low"])

    def _read(self) -> dict[str, Any]:
        """Read the state of the current run from the core, and add the runs before it."""
        state = self.core.state()
        for name in _COUNTS:
            kind = type(state[name])
            state[name] = kind(state[name] + sum(self._notes[name]))
        z = np.array([*self._notes["rank_z"], state["rank_z"]])
        n = np.array([*self._notes["n_points"], state["n_points"]])
        known = np.isfinite(z) & (n > 0)
        if known.any():
            # Each is a standard normal number, weighted by the square root of its number of points.
            root = np.sqrt(n[known])
            state["rank_z"] = float(root @ z[known] / np.sqrt(root @ root))
        if self._n_runs:
            state["rank_p_value"] = float("nan")  # defined for a single run only
        state["n_points"] = int(n.sum())
        state["radius_scale"] = max(*self._notes["radius_scale"], state["radius_scale"], 0.0)
        return state

    def points(self) -> dict[str, Any]:
        """Return the dead points of all runs so far."""
        return joined(self._ended, super().points())

    def _trace(self) -> dict[str, Any]:
        """Return the traces of all runs, one after the other."""
        now = self.core.trace()
        now["run"] = np.full(len(now["level"]), float(self._n_runs))
        if not self._traces:
            return now
        return {name: np.concatenate([self._traces[name], now[name]]) for name in now}

    def _importance(self, converged: bool) -> ImportanceEvidence | None:
        """Return the estimate of the first run; batches do not begin with the whole prior."""
        if not self._n_runs:
            return super()._importance(converged)
        return importance_of(self._all_points, self.job, True) if self._all_points else None

    def _settings(self) -> dict[str, Any]:
        notes, now = self._notes, {"low": self._low, "high": self._high}
        runs = {name: [*notes[name], now[name]] for name in now}
        return {**super()._settings(), "dynamic": asdict(self._aim), "runs": runs}

    def note(self) -> str:
        """Return the evidence so far and, in a batch, the distance from the targets."""
        if not self._n_runs:
            return super().note()
        ess, stderr = (self._notes[name][-1] for name in ("ess", "stderr"))
        return f"batch {self._n_runs}, ESS {ess:.0f}, error of log Z {stderr:.2g}"

    def go_on(self) -> bool:
        """Begin a batch, if neither the targets nor a limit are reached."""
        self.timed_out = self.is_late()
        if self.timed_out:
            return False
        status = str(self.info["status"])
        self._why = status if status in ("max_evals", "max_iter") else ""
        if self._why:
            return False
        points = self.points()
        volumes = Volumes(points)
        ess, stderr = volumes.ess, volumes.stderr
        self._why = self._enough(ess, stderr)
        if self._why:
            return False
        run = self.core.state()
        if not self._n_runs:
            self._all_points = self.core.importance(*self.job.ports, self.workers) or {}
        here = {**run, "low": self._low, "high": self._high, "ess": ess, "stderr": stderr}
        self._traces = self._trace()
        for name, values in self._notes.items():
            values.append(float(here[name]))
        self._ended = points
        self.core = self._begun(volumes)
        self.settle()
        if self.report is not None:
            # Runs may be too short to report themselves. Pausing and aborting happen here.
            done = self.evals_before + self._evals_ended
            self._expected = max(int(done * self._aim.measure(ess, stderr)), done + 1)
            self.report(done, self._expected)
        return True

    def _enough(self, ess: float, stderr: float) -> str:
        """Return the reason why no batch follows, or "" if one does."""
        aim, job, notes = self._aim, self.job, self._notes
        if aim.measure(ess, stderr) <= 1:
            return "targets"
        for name, limit in (("max_evals", job.max_evals), ("max_iter", job.max_iter)):
            done = self.info["n_evals" if name == "max_evals" else "n_batches"]
            if limit is not None and done >= limit:
                return name
        if aim.max_batches is not None and self._n_runs >= aim.max_batches:
            return "max_batches"
        # A batch that finds a mode increases the distance to the targets, and the next one reduces
        # it much.
        measures = [aim.measure(*both) for both in zip(notes["ess"], notes["stderr"], strict=True)]
        measures.append(aim.measure(ess, stderr))
        sizes = np.cumsum([*notes["n_points"], self.core.state()["n_points"]])
        gains = [
            1 - measures[i] / measures[i - 1] < _GAIN * (1 - sizes[i - 1] / sizes[i])
            for i in range(1, len(sizes))
        ]
        return "no gain" if len(gains) > 1 and all(gains[-2:]) else ""

    def _begun(self, volumes: Volumes) -> Any:
        """Return the run of the next batch; all of it follows from the runs before."""
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
            keeps_points=False,
        )

    def state(self) -> dict[str, Any]:
        """Return the current run, and the points and figures of the finished ones."""
        tensors = super().state()
        parts = (self._ended or {}, self._traces, self._all_points)
        for tag, arrays in zip(_TAGS, parts, strict=True):
            tensors.update({tag + name: np.asarray(values) for name, values in arrays.items()})
        tensors["notes"] = np.array([self._notes[name] for name in _NOTES])
        return tensors

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop, which may have had no batches."""
        if "notes" in state:
            rows = state["notes"].tolist()
            self._notes = dict(zip(_NOTES, rows, strict=True))
        ended, self._traces, self._all_points = (
            {name.removeprefix(tag): v for name, v in state.items() if name.startswith(tag)}
            for tag in _TAGS
        )
        if ended:
            self._ended = ended
            self.core = self._begun(Volumes(ended))
        super().restore(state)

    def _ended_by(self) -> str:
        return self._why or "max_time"

    def findings(self, result: NestedResult) -> list[tuple[type[FermiacWarning], str]]:
        """Return the warnings that the result carries."""
        # The remainder of an unfinished batch does not affect the evidence, which comes from the
        # first run.
        why = self._why if self._why in _SHORT or not self._n_runs else "limit"
        short = _SHORT.get(why, "").format(
            how=self._ended_by(),
            ess=result.ess,
            stderr=result.log_evidence_volumes_stderr,
            aim=self._aim,
        )
        self.info.update(status=self._ended_by(), short=short)
        return super().findings(result)
