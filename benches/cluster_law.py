"""How fast a call gets on a cluster, by a simulation of its coordinator and its workers.

``python -m benches.cluster_law`` prints the speed-ups of the page "Past one machine". The
coordinator hands out one shard after the other, each of which costs it some time, to the worker
that is free first; a worker is lost at random moments, and its shard is made again. ``--dask``
checks the law against a dask cluster of two workers here, whose shards only sleep.
"""

from __future__ import annotations

import argparse
import heapq
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fermiac.runs.cutting import n_shards

#: The coordinator's seconds for a shard; measured by `benches/cluster.py --engines`.
OVERHEADS = {"process pool": 1e-4, "MPI": 1.4e-4, "Ray": 5e-4, "dask": 2.4e-3}
#: Seconds between two losses of a worker.
DAY = 86_400.0


def makespan(
    n_tasks: int, seconds: float, n_workers: int, per_task: float, lost: float = math.inf
) -> float:
    """The time that so many shards of some seconds take."""
    rng = np.random.default_rng(0)
    free = [0.0] * min(n_workers, n_tasks)
    coordinator = end = 0.0
    left = n_tasks
    while left:
        left -= 1
        coordinator += per_task
        start = max(coordinator, heapq.heappop(free))
        until = rng.exponential(lost) if lost < math.inf else math.inf
        if until < seconds:
            left += 1  # made again, by a worker that takes its place
            heapq.heappush(free, start + until)
            continue
        heapq.heappush(free, start + seconds)
        end = max(end, start + seconds)
    return end


def by_points(n: int, cost: float, n_workers: int, per_task: float) -> float:
    """The time of one batch of points."""
    shards = n_shards(n * cost, n_workers, per_task, False)
    rows = -(-n // shards)
    return makespan(-(-n // rows), rows * cost, n_workers, per_task)


def whole(n: int, cost: float, n_workers: int, per_task: float) -> float:
    """The time of n independent units that take some seconds each."""
    shards = n_shards(n * cost, n_workers, per_task, True)
    units = -(-n // shards)
    return makespan(-(-n // units), units * cost, n_workers, per_task, DAY)


#: Calls by name: the work in seconds and the time that it takes, for W workers and an overhead.
CALLS: dict[str, Callable[[int, float], tuple[float, float]]] = {
    "NUTS, 4 chains: a batch of 4 points, 0.1 s each": lambda w, s: (
        0.4,
        by_points(4, 0.1, w, s),
    ),
    "a batch of 65,536 points, 1 ms each": lambda w, s: (65.536, by_points(65_536, 1e-3, w, s)),
    "the same, 0.1 s each": lambda w, s: (6553.6, by_points(65_536, 0.1, w, s)),
    "100 whole units a worker, 60 s each": lambda w, s: (6000.0 * w, whole(100 * w, 60.0, w, s)),
}


def table() -> None:
    print(f"| call | workers | {' | '.join(OVERHEADS)} |\n|---|---|{'---|' * len(OVERHEADS)}")
    for name, law in CALLS.items():
        for n_workers in (10, 100, 1000, 10_000):
            pairs = [law(n_workers, per_task) for per_task in OVERHEADS.values()]
            cells = [f"{work / taken:,.3g}" for work, taken in pairs]
            print(f"| {name} | {n_workers:,} | {' | '.join(cells)} |")


def sleeps(x: Any) -> Any:
    time.sleep(0.005 * len(x))
    return x[:, 0]


def check_dask() -> None:
    import distributed

    import fermiac as fm

    law = fm.distributions.Normal([0.0, 0.0])
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
        distributed.Client(made) as client,
    ):
        for n in (200, 2000):
            start = time.perf_counter()
            shards = fm.executor.Sharded(client, rows=20)
            fm.importance.expect(
                sleeps, law, n=n, method="mc", rng=0, executor=shards, check=False, progress=False
            )
            taken = time.perf_counter() - start
            told = makespan(n // 20, 0.1, 2, OVERHEADS["dask"])
            print(f"{n} points of 5 ms: {taken:.2f} s, the law says {told:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dask", action="store_true")
    if parser.parse_args().dask:
        check_dask()
    else:
        table()


if __name__ == "__main__":
    main()
