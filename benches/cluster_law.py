"""The speed-up of a call on a cluster, by a simulation of its coordinator and its workers.

``python -m benches.cluster_law`` prints the speed-ups of the page "Past one machine". The
coordinator hands out one shard after the other, each of which costs it some time, to the worker
that is free first; a worker is lost at random moments, and its shard is made again. Efficiencies
are the work divided by the number of workers and the time. ``--dask`` checks the law against a dask
cluster of two workers here, whose shards only sleep, and times chains and nested batches on four
workers. ``--page docs/cluster.md`` puts the tables into that page.
"""

from __future__ import annotations

import argparse
import heapq
import math
import time
import unittest.mock
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from benches.pages import into_page

import fermiac as fm
from fermiac.runs.cutting import LEAST_WHOLE, MOST_A_WORKER, least_seconds, n_shards
from fermiac.runs.dispatch import Dispatch

#: The coordinator's seconds for a shard; measured by `benches/cluster.py --engines`.
OVERHEADS = {"process pool": 1e-4, "MPI": 1.4e-4, "Ray": 5e-4, "dask": 2.4e-3}
#: Seconds between two losses of a worker.
DAY = 86_400.0


#: The runs whose losses a figure is averaged over.
REPEATS = 20


def makespan(
    n_tasks: int,
    seconds: float,
    n_workers: int,
    per_task: float,
    lost: float = math.inf,
    seed: int = 0,
) -> float:
    """The time that so many shards of some seconds take."""
    rng = np.random.default_rng(seed)
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
    seeds = range(REPEATS if n_workers < 1000 else 1)
    times = [makespan(-(-n // units), units * cost, n_workers, per_task, DAY, k) for k in seeds]
    return float(np.mean(times))


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


#: The numbers of workers of the table, where not all of them tell something new.
NUMBERS = {
    "NUTS, 4 chains: a batch of 4 points, 0.1 s each": (10, 10_000),
    "a batch of 65,536 points, 1 ms each": (10, 100, 10_000),
    "the same, 0.1 s each": (100, 1000, 10_000),
    "100 whole units a worker, 60 s each": (100, 10_000),
}


def whole_shards(n_workers: int, per_task: float) -> float:
    """Efficiency of 20 whole shards a worker, of 10 s or of 2 W overheads if that is more."""
    seconds = max(LEAST_WHOLE, 2 * n_workers * per_task)
    n = MOST_A_WORKER * n_workers
    return n * seconds / n_workers / makespan(n, seconds, n_workers, per_task, DAY)


def chains_by_points(n_workers: int, per_task: float) -> float:
    """Efficiency of one chain a worker, whose points of 0.1 s are sent."""
    return 0.1 / by_points(n_workers, 0.1, n_workers, per_task)


def whole_chains(n_workers: int, per_task: float) -> float:
    """Efficiency of one whole chain a worker, of 2,000 steps of 0.1 s, without a loss."""
    return 200.0 / makespan(n_workers, 200.0, n_workers, per_task)


def whole_chains_lost(n_workers: int, per_task: float) -> float:
    """Efficiency of the same with losses, on average."""
    return 200.0 / whole(n_workers, 200.0, n_workers, per_task)


class Here(Executor):
    """Workers that do every task at once in this process, and note it by `note`."""

    def __init__(self, n_workers: int, note: Callable[[Any], None]) -> None:
        self._max_workers, self._note = n_workers, note

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(f(*args, **kwargs))
        self._note(future.result())
        return future


#: The gradients that the chains of a run have evaluated.
evaluated = 0


def slopes(x: Any) -> Any:
    """A normal log-density whose standard deviations rise from 1 to 10, with its gradient."""
    global evaluated
    evaluated += len(x)
    precisions = 10.0 ** np.linspace(0.0, -2.0, x.shape[1])
    return -0.5 * (x**2 * precisions).sum(axis=1), -x * precisions


@cache
def segments(n_chains: int) -> tuple[tuple[int, ...], ...]:
    """The gradients of each chain of a default run of NUTS, from barrier to barrier."""
    ends: dict[int, list[int]] = {}
    before = 0

    def note(got: Any) -> None:
        nonlocal before
        if isinstance(got[3], tuple) and len(got[3]) == 5:  # a section, and not points
            ends.setdefault(got[3][0], []).append(evaluated - before)
        before = evaluated

    fm.mcmc.sample(
        slopes, 20, True, n_chains=n_chains, rng=0, check=False,
        plan=fm.Plan(executor=fm.executor.Sharded(Here(n_chains, note), rows=1), progress=False),
    )  # fmt: skip
    # The last sections of the chains before a barrier may have others before them.
    parts = [ends[end] for end in sorted(ends)]
    assert all(len(part) == n_chains for part in parts)
    return tuple(map(tuple, parts))


def pooled_by_points(n_workers: int, per_task: float) -> float:
    """Efficiency of a default run of NUTS with a chain a worker and gradients of 0.1 s."""
    taken = 0.0
    times = [by_points(n, 0.1, n_workers, per_task) if n else 0.0 for n in range(n_workers + 1)]
    for part in segments(n_workers):
        alive = np.array(part)
        taken += sum(times[np.count_nonzero(alive > k)] for k in range(max(part)))
    return 0.1 * sum(map(sum, segments(n_workers))) / n_workers / taken


def pooled_by_sections(n_workers: int, per_task: float) -> float:
    """Efficiency of the same, whose chains run from barrier to barrier in sections of 10 s."""
    now = 0.0
    for part in segments(n_workers):
        coordinator = now
        # When a chain is free again, and the seconds that it has left.
        chains = [(now, 0.1 * n) for n in part]
        heapq.heapify(chains)
        while chains:
            free, left = heapq.heappop(chains)
            coordinator = max(coordinator, free) + per_task
            seconds = min(left, least_seconds(n_workers, per_task))
            now = max(now, coordinator + seconds)
            if left > seconds:
                heapq.heappush(chains, (coordinator + seconds, left - seconds))
    return 0.1 * sum(map(sum, segments(n_workers))) / n_workers / now


@cache
def lengths(n_live: int, n_batches: int) -> tuple[tuple[int, ...], ...]:
    """The evaluations of the chains of slices in each batch of a nested run in 20 dimensions."""

    class End(Exception):
        pass

    widths: list[int] = []
    batches: list[tuple[int, ...]] = []

    def log_likelihood(x: Any) -> Any:
        if widths and len(x) > widths[-1]:  # within a batch chains end, and none begins
            # As many chains have at least k evaluations as the k-th evaluation of the batch has.
            ends = np.repeat(np.arange(1, len(widths) + 1), -np.diff([*widths, 0]))
            batches.append(tuple(map(int, ends)))
            widths.clear()
            if len(batches) > 3 * n_batches:
                raise End
        widths.append(len(x))
        return -0.5 * (x**2).sum(axis=1)

    prior = fm.distributions.Uniform(np.full(20, -10.0), np.full(20, 10.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fm.nested.sample(
                log_likelihood, prior, n_live=n_live, sampler="slice", check=False, rng=0,
                plan=fm.Plan(progress=False),
            )  # fmt: skip
        except End:
            pass
    # Not the first ones, which are of points from the prior.
    return tuple(b for b in batches[n_batches:] if len(b) > n_live // 16)


def nested_by_points(n_workers: int, per_task: float) -> float:
    """Efficiency of nested slices with points of 0.1 s, with a barrier after each evaluation."""
    work = taken = 0.0
    times = [by_points(n, 0.1, n_workers, per_task) if n else 0.0 for n in range(501)]
    for ends in lengths(500, 40):
        work += 0.1 * sum(ends)
        alive = np.array(ends)
        taken += sum(times[np.count_nonzero(alive > k)] for k in range(max(ends)))
    return work / n_workers / taken


def nested_by_chains(n_workers: int, per_task: float) -> float:
    """Efficiency of the same with one barrier a batch, each of whose chains runs to its end."""
    work = taken = 0.0
    for ends in lengths(500, 40):
        work += 0.1 * sum(ends)
        free = [0.0] * n_workers
        for i, n in enumerate(ends):
            start = max((i + 1) * per_task, heapq.heappop(free))
            heapq.heappush(free, start + 0.1 * n)
        taken += max(free)
    return work / n_workers / taken


@cache
def spread() -> float:
    """The standard deviation of the cost of nested runs of 50 live points, relative to its mean."""
    prior = fm.distributions.Uniform(np.full(20, -10.0), np.full(20, 10.0))
    target = fm.targets.gaussian(np.zeros(20), np.eye(20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        costs = [
            fm.nested.sample(
                target,
                prior,
                n_live=50,
                sampler="slice",
                check=False,
                rng=k,
                plan=fm.Plan(progress=False),
            ).n_evals
            for k in range(20)
        ]
    return float(np.std(costs, ddof=1) / np.mean(costs))


def whole_runs(n_workers: int, per_task: float) -> float:
    """Efficiency of one nested run a worker of 6,000 s, without a loss."""
    normal = np.random.default_rng(0).standard_normal(n_workers)
    times = 6000.0 * (1 + spread() * normal)
    ends = per_task * np.arange(1, n_workers + 1) + times
    return float(times.mean() / ends.max())


def short_runs(n_workers: int, per_task: float) -> float:
    """Efficiency of 20 nested runs a worker of 600 s, each worker being lost once a day."""
    n = 20 * n_workers
    return n * 600.0 / n_workers / makespan(n, 600.0, n_workers, per_task, DAY)


#: Efficiencies by name: the law, and the numbers of workers.
EFFICIENCIES: dict[str, tuple[Callable[[int, float], float], tuple[int, ...]]] = {
    "20 whole shards a worker, with losses": (whole_shards, (100, 10_000)),
    "a chain of 2,000 steps a worker, by points": (chains_by_points, (64,)),
    "the same, whole": (whole_chains, (64,)),
    "the same, whole, with losses": (whole_chains_lost, (64,)),
    "NUTS as by default, a chain a worker, by points": (pooled_by_points, (4, 64)),
    "the same, from barrier to barrier": (pooled_by_sections, (4, 64)),
    "a batch of nested slices, by points": (nested_by_points, (62,)),
    "the same, by chains to their ends": (nested_by_chains, (62,)),
    "a whole nested run a worker": (whole_runs, (100, 10_000)),
    "20 whole nested runs a worker of 10 minutes, with losses": (short_runs, (100, 10_000)),
}


def speed_ups() -> Iterator[str]:
    """Yield the lines of the table of speed-ups."""
    yield f"| call | workers | {' | '.join(OVERHEADS)} |\n|---|---|{'---|' * len(OVERHEADS)}"
    for name, law in CALLS.items():
        for n_workers in NUMBERS.get(name, (10, 100, 1000, 10_000)):
            pairs = [law(n_workers, per_task) for per_task in OVERHEADS.values()]
            ratios = [work / taken for work, taken in pairs]
            cells = [f"{x:.3g}" if x < 1000 else f"{float(f'{x:.3g}'):,.0f}" for x in ratios]
            yield f"| {name} | {n_workers:,} | {' | '.join(cells)} |"


def efficiencies() -> Iterator[str]:
    """Yield the lines of the table of efficiencies."""
    yield f"| call | workers | {' | '.join(OVERHEADS)} |\n|---|---|{'---|' * len(OVERHEADS)}"
    for name, (law, numbers) in EFFICIENCIES.items():
        for n_workers in numbers:
            cells = [f"{law(n_workers, per_task):.2f}" for per_task in OVERHEADS.values()]
            yield f"| {name} | {n_workers:,} | {' | '.join(cells)} |"


def sleeps(x: Any) -> Any:
    time.sleep(0.005 * len(x))
    return x[:, 0]


def check_dask() -> Iterator[str]:
    """Yield the lines of the check against dask."""
    import distributed

    law = fm.distributions.Normal([0.0, 0.0])
    yield "| shards | seconds each | overhead, ms | dask, s | the law, s | ratio |"
    yield "|---|---|---|---|---|---|"
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
        distributed.Client(made) as client,
    ):
        # First some shards without a figure: the workers import what they need.
        for n_shards_, rows in ((4, 20), (60, 20), (30, 100), (15, 200)):
            shards = fm.executor.Sharded(client, rows=rows)
            start, used = time.perf_counter(), time.process_time()
            fm.importance.expect(
                sleeps, law, n=n_shards_ * rows, method="mc", rng=0, check=False,
                plan=fm.Plan(executor=shards, progress=False),
            )  # fmt: skip
            taken = time.perf_counter() - start
            per_task = (time.process_time() - used) / n_shards_
            seconds = 0.005 * rows
            told = makespan(n_shards_, seconds, 2, per_task)
            if n_shards_ > 4:
                yield (
                    f"| {n_shards_} | {seconds:g} | {1e3 * per_task:.1f} | {taken:.2f} | "
                    f"{told:.2f} | {taken / told:.2f} |"
                )


def slow_slopes(x: Any) -> Any:
    time.sleep(0.02 * len(x))
    return slopes(x)


def check_pooled() -> Iterator[str]:
    """Yield the lines of the seconds of a run of NUTS on dask, by points and by sections."""
    import distributed

    given: dict[str, Any] = {"n_chains": 4, "n_draws": 20, "rng": 0, "check": False}
    yield "| NUTS, 4 chains, 4 workers, 0.02 s a gradient | seconds | work of a worker, s |"
    yield "|---|---|---|"
    with (
        warnings.catch_warnings(),
        distributed.LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as made,
        distributed.Client(made) as client,
    ):
        warnings.simplefilter("ignore")
        here = fm.mcmc.sample(slopes, 20, True, plan=fm.Plan(progress=False), **given)
        for name, shards in (("points", "points"), ("from barrier to barrier", "whole")):
            fm.mcmc.sample(  # the workers import what they need
                slopes, 20, True, shards=shards, n_chains=4, n_warmup=0, n_draws=2, rng=0,
                check=False, plan=fm.Plan(executor=client, progress=False),
            )  # fmt: skip
            start = time.perf_counter()
            there = fm.mcmc.sample(
                slow_slopes,
                20,
                True,
                plan=fm.Plan(executor=client, progress=False),
                shards=shards,
                **given,
            )
            taken = time.perf_counter() - start
            assert np.array_equal(there.draws, here.draws)
            yield f"| {name} | {taken:.1f} | {0.02 * here.n_evals / 4:.1f} |"


def bowl(x: Any) -> Any:
    return -0.5 * (x**2).sum(axis=1)


def slow_bowl(x: Any) -> Any:
    time.sleep(0.005 * len(x))
    return bowl(x)


def check_batches() -> Iterator[str]:
    """Yield the lines of the seconds of nested slices on dask, by points and by whole chains."""
    import distributed

    prior = fm.distributions.Uniform(np.full(10, -10.0), np.full(10, 10.0))
    given: dict[str, Any] = {
        "n_live": 200, "sampler": "slice", "max_evals": 30_000, "rng": 0, "check": False,
    }  # fmt: skip
    barriers: list[int] = []
    sends = Dispatch.__call__

    def counted(*arguments: Any, **more: Any) -> Any:
        barriers.append(1)
        return sends(*arguments, **more)

    first = "slices, d = 10, 200 live points, 4 workers, 0.005 s a point"
    yield f"| {first} | barriers | seconds | work of a worker, s |"
    yield "|---|---|---|---|"
    with (
        warnings.catch_warnings(),
        unittest.mock.patch.object(Dispatch, "__call__", counted),
        distributed.LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as made,
        distributed.Client(made) as client,
        fm.Plan(progress=False),
    ):
        warnings.simplefilter("ignore")
        here = fm.nested.sample(bowl, prior, **given)
        for name, shards in (("points", "points"), ("chains to their ends", "whole")):
            fm.nested.sample(  # the workers import what they need
                bowl, prior, plan=client, shards=shards, **{**given, "max_evals": 9_000}
            )
            barriers.clear()
            start = time.perf_counter()
            there = fm.nested.sample(slow_bowl, prior, plan=client, shards=shards, **given)
            taken = time.perf_counter() - start
            assert np.array_equal(there.draws, here.draws)
            work = 0.005 * here.n_evals / 4
            yield f"| {name} | {len(barriers):,} | {taken:.1f} | {work:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dask", action="store_true", help="check the law against dask alone")
    parser.add_argument("--page", type=Path, help="the page to put the tables into")
    given = parser.parse_args()
    tables = (
        {"check": check_dask, "pooled": check_pooled, "batches": check_batches}
        if given.dask
        else {"law": speed_ups, "efficiencies": efficiencies}
    )
    for name, table in tables.items():
        lines = []
        for line in table():
            print(line, flush=True)
            lines.append(line)
        if given.page is not None:
            into_page(given.page, name, "\n".join(lines))


if __name__ == "__main__":
    main()
