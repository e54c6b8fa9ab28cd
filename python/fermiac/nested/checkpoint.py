"""Checkpoints of runs: everything that changes, and points by which the likelihood is known."""

from __future__ import annotations

import time
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac.errors import CheckpointError
from fermiac.runs.checkpoint import Checkpoint, Kept

if TYPE_CHECKING:
    from fermiac._base.store import Tensors
    from fermiac.nested.run import Course

__all__ = ["Keeper"]

_KIND = "nested sampling run"
#: Points at which a resumed run compares the likelihood with what it was.
_VERIFIED = 3


class Keeper(Kept):
    """The checkpoint of a run."""

    def __init__(self, given: Checkpoint | str | PathLike[str]) -> None:
        super().__init__(given, _KIND)
        #: What is to be kept beside the run.
        self.beside: Tensors = {}

    @property
    def elapsed(self) -> float:
        """Seconds that the run took before this call."""
        return float(self._node.get("elapsed", 0.0))

    def taken(self, name: str) -> list[Any]:
        """What was kept beside the run, row by row."""
        return self._tensors.pop(name).tolist() if name in self._tensors else []

    def restore(self, course: Course) -> None:
        """Bring a course to where it was; the likelihood must still be the same."""
        if not self._tensors:
            return
        course.take(self._tensors, self.elapsed)
        if self.checkpoint.verify and course.state["n_points"]:
            self._verify(course)
        self._tensors = {}

    def _verify(self, course: Course) -> None:
        job, points = course.job, course.points()
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

    def write(self, tensors: Tensors, elapsed: float) -> None:
        """Write the file."""
        start = time.monotonic()
        self.put(start, {**self.beside, **tensors}, elapsed=elapsed)
