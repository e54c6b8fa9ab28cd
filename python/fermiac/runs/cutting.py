"""Sizes of shards: the number of parts of a batch or a call, from the cost of its parts."""

from __future__ import annotations

import math

__all__ = ["LEAST_WHOLE", "MOST_A_WORKER", "least_seconds", "n_shards"]

#: Shards a worker at most.
MOST_A_WORKER = 20
#: The least duration in seconds of a shard of whole units, if the call takes longer than that on
#: all workers.
LEAST_WHOLE = 10.0


def n_shards(seconds: float, n_workers: int, per_task: float, whole: bool) -> int:
    """Return the number of shards for a piece of work.

    The coordinator keeps up with W workers if a shard takes more than W times the coordinator's own
    time per shard. For little work k < W workers are fastest: the number k at which one worker's
    share takes as long as the coordinator needs for all k. Both rules have a safety factor of two.

    Parameters
    ----------
    seconds : float
        The time that the work takes on one worker.
    n_workers : int
        The number of workers.
    per_task : float
        The seconds that the coordinator needs for one shard.
    whole : bool
        Whether the shards are parts of a whole call, and not points of one batch.
    """
    spare = 2 * per_task
    if whole:
        shard = least_seconds(n_workers, per_task)
        return min(max(n_workers, _floor(seconds / shard)), MOST_A_WORKER * n_workers)
    few = math.sqrt(seconds / spare)  # each takes as long as the coordinator needs for all of them
    wanted = few if few < n_workers else seconds / (n_workers * spare)
    return max(2, min(_floor(wanted), MOST_A_WORKER * n_workers))


def least_seconds(n_workers: int, per_task: float) -> float:
    """Return the least duration in seconds of a shard that is a part of a long call."""
    return max(LEAST_WHOLE, n_workers * 2 * per_task)


def _floor(x: float) -> int:
    return int(min(x, 2.0**40))
