"""Self-avoiding walks: paths of different lengths, with weights."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac import _core
from fermiac._base.progress import finish, reporter
from fermiac.errors import ArgumentError
from fermiac.walks.job import Job
from fermiac.walks.memory import require_room
from fermiac.walks.result import WalkResult

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["avoiding"]


def avoiding(
    job: Job, refused: dict[str, Any], workers: int, progress: bool | Report | None, start: float
) -> WalkResult:
    """Return a walk to nodes that were not visited yet, as long as there are any."""
    if job.record != "path":
        raise ArgumentError(
            f"record: {job.record!r} was given with kernel='saw', whose walks are paths; say "
            "record='path'"
        )
    for name, value in refused.items():
        if value:
            raise ArgumentError(
                f"{name}: given with kernel='saw', whose walks are whole paths; leave it out"
            )
    n_walkers, n_steps = job.n_walkers, min(job.n_steps, job.graph.n_nodes - 1)
    require_room(8 * n_walkers * n_steps, f"the paths of {n_walkers} walkers", "make fewer steps")
    with reporter(progress, "walk", "steps") as report:
        try:
            starts, nodes, log_weights, trapped = _core.walks_self_avoiding(
                job.graph._core, job.start, n_steps, job.key, workers, report
            )
        except BaseException as error:
            error.partial_result = None  # type: ignore[attr-defined]
            raise
        lengths = np.diff(starts) - 1
        longest = int(lengths.max())
        # A trapped walk stays, so that all paths have one length.
        at = np.minimum(np.arange(1, longest + 1), lengths[:, None]) + starts[:-1, None]
        result = WalkResult.of_run(
            job,
            n_steps=longest,
            status="complete",
            wall_time=time.perf_counter() - start,
            rows=None,
            paths=nodes[at],
            sums=None,
            state=None,
            n_moves=int(lengths.sum()),
            positions=nodes[starts[1:] - 1].astype(np.int64),
            f=None,
            burned=None,
            avoided={"lengths": lengths, "log_weights": log_weights, "trapped": trapped},
        )
        finish(report, n_walkers * n_steps, result)
    return result
