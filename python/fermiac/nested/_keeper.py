"""Checkpoints of runs: everything that changes, and points by which the likelihood is known."""

from __future__ import annotations

import time
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from fermiac._checkpoint import Checkpoint
from fermiac._kept import Kept
from fermiac.errors import CheckpointError

if TYPE_CHECKING:
    from fermiac import _core
    from fermiac.nested._job import Job

__all__ = ["Keeper"]

_KIND = "nested sampling run"
#: Points at which a resumed run compares the likelihood with what it was.
_VERIFIED = 3


class Keeper(Kept):
    """The checkpoint of a run."""

    def __init__(self, given: Checkpoint | str | PathLike[str]) -> None:
        super().__init__(given, _KIND)

    @property
    def elapsed(self) -> float:
        """Seconds that the run took before this call."""
        return float(self._node.get("elapsed", 0.0))

    def restore(self, job: Job, run: _core.NestedRun) -> None:
        """Bring a run to where it was; the likelihood must still be the same."""
        run.load(*job.ports, self._tensors["words"])
        if run.state()["status"] in ("max_evals", "max_iter"):
            # The limits of this call may be higher.
            options = job.options()
            run.prolong(options["dlogz"], options["max_evals"], options["max_iter"])
        if self.checkpoint.verify and run.state()["n_points"]:
            self._verify(job, run)
        self._tensors = {}

    def _verify(self, job: Job, run: _core.NestedRun) -> None:
        points = run.points(*job.ports)
        u, then = points["unit_draws"][-_VERIFIED:], points["log_likelihoods"][-_VERIFIED:]
        x = np.ascontiguousarray(job.prior.transform(u))
        if job.blobs[0]:
            now = job.target(x)[:, 0]
        else:
            now, _ = job.target._evaluate(x, False)
        scale = float(np.abs(then[np.isfinite(then)]).max(initial=0.0))
        if not np.allclose(now, then, 1e-6, 1e-9 * scale, equal_nan=True):
            raise CheckpointError(
                f"{self.path}: the log-likelihood is {now[0]:.12g} at a point of the run, and was "
                f"{then[0]:.12g} when the file was written; remove the file to start anew, or say "
                "Checkpoint(..., verify=False) if its values are random"
            )

    def write(self, job: Job, run: _core.NestedRun, elapsed: float) -> None:
        """Write the file."""
        start = time.monotonic()
        self.put(start, {"words": run.save(*job.ports)}, elapsed=elapsed)
