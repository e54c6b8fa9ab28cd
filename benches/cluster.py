"""The coordinator's processor time for a task: our own, and beside engines that are installed.

``python -m benches.cluster`` prints the time of the driver's thread for one shard, with 10 and with
10,000 virtual workers that take no processor; what the virtual engine itself takes is subtracted.
``--engines`` adds the processor time of the whole driver process for one task with a process pool,
loky, dask, Ray and mpi4py, two workers each, where they are installed, beside that of the bare
engine. ``--memory`` prints the driver's largest memory while it merges the sums of 10 to 10,000
blocks of points from two processes. ``--page docs/cluster.md`` puts the tables into that page.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from benches.pages import into_page

from fermiac.runs import worker
from fermiac.runs.dispatch import Dispatch, Plan
from fermiac.runs.engines import engine_of


class Virtual(Executor):
    """Workers that are all busy: the oldest task ends when two for each of them are out."""

    def __init__(self, n_workers: int, n_tasks: int) -> None:
        self._max_workers = n_workers
        self._n_tasks = n_tasks
        self._out: deque[Future[Any]] = deque()
        self._full = SimpleQueue[bool]()
        self._submitted = 0
        threading.Thread(target=self._end, daemon=True).start()

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._out.append(future)
        self._submitted += 1
        if len(self._out) >= 2 * self._max_workers or self._submitted == self._n_tasks:
            self._full.put(True)
        return future

    def _end(self) -> None:
        done = 0
        value = (np.zeros(1),)
        while done < self._n_tasks:
            self._full.get()
            last = self._submitted == self._n_tasks
            while self._out and (last or len(self._out) >= 2 * self._max_workers):
                self._out.popleft().set_result((worker.DONE, "a", 1.0, value))
                done += 1


def virtual(n_workers: int, n_tasks: int) -> tuple[float, float]:
    """The driver's seconds for a task, with us and without."""
    x = np.zeros((n_tasks, 4))
    dispatch = Dispatch(
        engine_of(Virtual(n_workers, n_tasks)), Plan(rows=1), np.sum, lambda done: None
    )
    start = time.thread_time()
    for _ in dispatch(n_tasks, lambda a, b: (x[a:b].copy(), None), lambda *_: None):
        pass
    ours = time.thread_time() - start
    engine = Virtual(n_workers, n_tasks)
    done = SimpleQueue[Future[Any]]()
    start = time.thread_time()
    for _ in range(n_tasks):
        engine.submit(np.sum).add_done_callback(done.put)
    for _ in range(n_tasks):
        done.get()
    bare = time.thread_time() - start
    return ours / n_tasks, bare / n_tasks


def values(x: Any, with_gradient: Any = None) -> Any:
    return (x[:, 0],)


def real(executor: Any, n_tasks: int) -> tuple[float, float]:
    """The driver process's seconds for a task, with us and without."""
    x = np.zeros((n_tasks, 4))

    def ours() -> None:
        dispatch = Dispatch(engine_of(executor), Plan(rows=1), values, lambda done: None)
        for _ in dispatch(n_tasks, lambda a, b: (x[a:b].copy(), None), lambda *_: None):
            pass

    def bare() -> None:
        engine = engine_of(executor)
        done = SimpleQueue[Future[Any]]()
        limit = max(engine.least_out, 4)
        for i in range(n_tasks):
            engine.submit(values, x[i : i + 1]).add_done_callback(done.put)
            if i >= limit:
                done.get().result()
        for _ in range(min(limit, n_tasks)):
            done.get().result()

    ours()
    bare()
    # In turn, since the load of the machine changes; cheap ones more often.
    pairs = [(timed(ours), timed(bare)) for _ in range(3)]
    more = int(min(2.0 / (pairs[0][0] + pairs[0][1]), 12))
    pairs += [(timed(ours), timed(bare)) for _ in range(more)]
    return min(a for a, _ in pairs) / n_tasks, min(b for _, b in pairs) / n_tasks


def timed(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@contextmanager
def processes() -> Iterator[Any]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


@contextmanager
def loky() -> Iterator[Any]:
    from loky import ProcessPoolExecutor as Pool

    executor = Pool(2)
    yield executor
    executor.shutdown()


@contextmanager
def dask() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def ray() -> Iterator[Any]:
    import ray as module

    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home  # it writes a token there
        module.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1"
        )
        yield module
        module.shutdown()


@contextmanager
def mpi() -> Iterator[Any]:
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        yield executor


#: The engines of the second table.
ENGINES = {
    "process pool": processes,
    "loky": loky,
    "dask": dask,
    "Ray": ray,
    "mpi4py": mpi,
}


def of_engine(name: str, n_tasks: int) -> None:
    """Print the row of an engine, whose workers have started."""
    with ENGINES[name]() as executor:
        ours, bare = real(executor, n_tasks)
    print(f"\n| {name} | {1e6 * ours:.0f} | {1e6 * bare:.0f} | {ours / bare:.2f} |", flush=True)


def row_of(name: str, n_tasks: int) -> str | None:
    """Return the row of an engine, measured in a process of its own; None if it is missing."""
    command = [sys.executable, "-m", "benches.cluster"]
    if name == "mpi4py":
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            return None
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        futures = [sys.executable, "-m", "mpi4py.futures", "-m", "benches.cluster"]
        command = [mpirun, *root, "--oversubscribe", "-n", "3", *futures]
    done = subprocess.run(
        [*command, "--tasks", str(n_tasks), "--one", name], stdout=subprocess.PIPE, text=True
    )
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    return rows[0] if rows and done.returncode == 0 else None


def tables(n_tasks: int, engines: bool) -> Iterator[str]:
    """Yield the lines of the tables."""
    yield "| virtual workers | tasks | own, µs a task | bare executor, µs |\n|---|---|---|---|"
    for n_workers in (10, 10_000):
        pairs = [virtual(n_workers, n_tasks) for _ in range(3)]
        ours, bare = min(a for a, _ in pairs), min(b for _, b in pairs)
        yield f"| {n_workers:,} | {n_tasks:,} | {1e6 * (ours - bare):.1f} | {1e6 * bare:.1f} |"
    if engines:
        yield "\n| engine | with fermiac, µs a task | bare, µs | ratio |\n|---|---|---|---|"
        yield from filter(None, (row_of(name, 1000) for name in ENGINES))


def of_blocks(n_blocks: int) -> None:
    """Print the row of a call with this many blocks of 4,096 points, one a task."""
    import resource
    import tracemalloc

    import fermiac as fm

    f, law = fm.targets.powers([2, 4]), fm.distributions.Normal()
    given: dict[str, Any] = {"method": "mc", "check": False, "rng": 0}
    with processes() as pool:
        one_each = fm.executor.Sharded(pool, rows=1, unit="whole")
        fm.importance.expect(f, law, n=10 * 4096, plan=one_each, **given)
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fm.importance.expect(f, law, n=n_blocks * 4096, plan=one_each, **given)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tracemalloc.start()
        fm.importance.expect(f, law, n=n_blocks * 4096, plan=one_each, **given)
        traced = tracemalloc.get_traced_memory()[1]
    grown = (most - start) / 1024  # kilobytes on Linux
    print(
        f"\n| {n_blocks:,} | {most / 1024:.0f} | {grown:.1f} | {traced / 2**20:.2f} |", flush=True
    )


def memory() -> Iterator[str]:
    """Yield the lines of the table of memory, each measured in a process of its own."""
    yield (
        "| shards | largest resident memory of the driver, MB | more than after 10 shards, MB | "
        "largest memory of its Python objects, MB |\n|---|---|---|---|"
    )
    for n_blocks in (10, 100, 1_000, 10_000):
        command = [sys.executable, "-m", "benches.cluster", "--blocks", str(n_blocks)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        yield from (line for line in done.stdout.splitlines() if line.startswith("| "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=30_000)
    parser.add_argument("--engines", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--blocks", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--page", type=Path, help="the page to put the tables into")
    parser.add_argument("--one", choices=[*ENGINES], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        of_engine(given.one, given.tasks)
        return
    if given.blocks is not None:
        of_blocks(given.blocks)
        return
    lines = []
    for line in memory() if given.memory else tables(given.tasks, given.engines):
        print(line, flush=True)
        lines.append(line)
    if given.page is not None:
        into_page(given.page, "memory" if given.memory else "overheads", "\n".join(lines))


if __name__ == "__main__":
    main()
