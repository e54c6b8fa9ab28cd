"""Sizes of shards: how many a batch or a call is cut into, from what its parts cost."""

from __future__ import annotations

import math

__all__ = ["LEAST_WHOLE", "MOST_A_WORKER", "n_shards"]

#: Shards a worker at most.
MOST_A_WORKER = 20
#: Seconds that a whole shard takes at least, where the call is longer than that on all workers.
LEAST_WHOLE = 10.0


def n_shards(seconds: float, n_workers: int, per_task: float, whole: bool) -> int:
    """Return into how many shards a piece of work is cut.

    With W workers the coordinator keeps up with them while a shard takes more than W times its
    own time for one, and the work is finished soonest on k < W workers where the work of one takes
    as long as the coordinator needs for all k. Both with a factor of two to spare.

    Parameters
    ----------
    seconds : float
        The time that the work takes on one worker.
    n_workers : int
        Workers that there are.
    per_task : float
        Seconds that the coordinator needs for one shard.
    whole : bool
        Whether the shards are parts of a whole call, and not points of one batch.
    """
    spare = 2 * per_task
    if whole:
        shard = max(LEAST_WHOLE, n_workers * spare)
        return min(max(n_workers, _floor(seconds / shard)), MOST_A_WORKER * n_workers)
    few = math.sqrt(seconds / spare)  # each takes as long as the coordinator needs for all
    wanted = few if few < n_workers else seconds / (n_workers * spare)
    return max(2, min(_floor(wanted), MOST_A_WORKER * n_workers))


def _floor(x: float) -> int:
    return int(min(x, 2.0**40))
