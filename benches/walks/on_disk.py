"""A graph that is larger than the memory: made, written, opened and walked on, with what it took.

``python -m benches.walks.on_disk --nodes 10_000_000 --edges 100_000_000 --memory-mib 512``. Of each
step the time and the largest anonymous memory of the process (``RssAnon``: what is not a file, and
so can't be dropped) are shown. Walks on the mapped file and on a copy in memory take turns; the
last line has the medians of the CPU-seconds that their steps took, and the ratio. Linux only.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from benches.walks.engine import Engine

import fermiac as fm

MIB = 2**20
ROUNDS = 5


def anonymous() -> float:
    """Anonymous memory of this process, in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return float("nan")


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Print the time and the largest anonymous memory of what is inside."""
    most, over = anonymous(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        over.set()
        thread.join()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{what:12} {wall:8.1f} s   CPU {cpu:8.1f} s   RssAnon {most:8.0f} MiB", flush=True)


def edges(model: str, n: int, m: int) -> tuple[int, Iterator[Any]]:
    """The number of nodes, and blocks of edges."""
    if model == "rmat":
        scale = (n - 1).bit_length()
        return 2**scale, fm.walks.graphs.rmat_edges(scale, m / 2**scale, rng=0)
    return n, fm.walks.graphs.erdos_renyi_edges(n, m, rng=0)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--model", choices=["erdos_renyi", "rmat"], default="erdos_renyi")
    parser.add_argument("--memory-mib", type=int, default=256, help="memory to sort with")
    parser.add_argument("--steps", type=int, default=1000, help="steps of each of 1000 walkers")
    parser.add_argument("--folder", type=Path, help="where the graph goes; it is kept there")
    given = parser.parse_args()

    with TemporaryDirectory(dir=given.folder) as scratch:
        folder = (given.folder or Path(scratch)) / "graph"
        n, blocks = edges(given.model, given.nodes, given.edges)
        with watched("write"):
            fm.walks.write_csr(folder, blocks, n, memory=given.memory_mib * MIB, overwrite=True)
        with watched("open"):
            graph = fm.walks.Graph.open(folder)
        print(graph)
        size = sum(path.stat().st_size for path in folder.iterdir()) / MIB
        print(f"{size:.0f} MiB on the disk")

        def walk(on: Any, what: str) -> float:
            with watched(what), Engine() as engine:
                fm.walks.walk(
                    on,
                    kernel="none",
                    base="srw",
                    n_steps=given.steps,
                    n_walkers=1000,
                    record="none",
                    f=lambda nodes: nodes % 2,
                    component="largest",
                    plan=fm.Plan(n_threads=1),
                    rng=0,
                )

            return engine.spent

        # The first walk finds the components, and reads the file.
        walk(graph, "walk")
        here = fm.walks.Graph.from_csr(np.array(graph.indptr), np.array(graph.indices))
        walk(here, "in memory")
        both = [(walk(graph, "walk, cached"), walk(here, "in memory")) for _ in range(ROUNDS)]
        mapped, kept = np.median(both, axis=0)
        print(f"engine: {mapped:.3f} s mapped, {kept:.3f} s in memory, ratio {mapped / kept:.2f}")


if __name__ == "__main__":
    main()
