"""Latency of random loads on this machine: the floor of the cost of a step of a random walk.

``python -m benches.walks.memory_latency [MiB ...]`` prints nanoseconds of a load at random places
of a working set: one chain, where each load waits for the one before, then 2 to 24 chains beside
each other, which shows how many misses a core can have under way; then loads whose places are known
beforehand. Times are CPU-seconds of the thread, the best of some rounds. Small pages are what most
allocators give; huge ones are asked for by madvise.
"""

from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

LINE = 16  # uint32 in a cache line
CHAINS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24)
LOADS = 4_000_000
ROUNDS = 5
MIB = 1 << 20


def chaser(n_chains: int) -> Callable[[Any, Any, int], int]:
    """A compiled loop of this many independent chains, each in a register."""
    names = [f"p{k}" for k in range(n_chains)]
    body = "".join(f"        {p} = np.uint64(ring[{p}])\n" for p in names)
    first = "".join(f"    {p} = np.uint64(first[{k}])\n" for k, p in enumerate(names))
    text = f"def chase(ring, first, n):\n{first}    for _ in range(n):\n{body}"
    scope: dict[str, Any] = {"np": np}
    exec(f"{text}    return {' + '.join(names)}\n", scope)
    return njit(scope["chase"])  # type: ignore[no-any-return]


@njit
def gather(ring, seed, n):  # type: ignore[no-untyped-def]
    """The sum of what stands at places that are hashes of a counter."""
    total, size = np.uint64(0), np.uint64(ring.size)
    for i in range(n):
        x = (np.uint64(i) + seed) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        total += ring[((x >> np.uint64(32)) * size) >> np.uint64(32)]
    return total


def block(size: int, huge: bool) -> NDArray[np.uint32]:
    """Fresh memory of small or huge pages."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.uint32)


def ring(size: int, huge: bool) -> NDArray[np.uint32]:
    """Cache lines of a block, each holding where the next is: one cycle through all of them."""
    made = block(size, huge)
    order = np.random.default_rng(1).permutation(size // 64).astype(np.uint32) * LINE
    made[order] = np.roll(order, -1)
    return made


def best(work: Callable[[], object]) -> float:
    """Least CPU-seconds of some rounds, after one that warms up."""
    found = []
    for _ in range(ROUNDS + 1):
        before = time.thread_time()
        work()
        found.append(time.thread_time() - before)
    return min(found[1:])


def main(sizes: list[float]) -> None:
    chasers = {k: chaser(k) for k in CHAINS}
    print(" MiB  pages " + "".join(f"{f'{k} ch.':>8}" for k in CHAINS) + "   known  ns a load")
    for mib in sizes:
        for huge in (False, True):
            lines = ring(int(mib * MIB), huge)
            rng = np.random.default_rng(2)
            first = rng.choice(len(lines) // LINE, max(CHAINS)).astype(np.uint32) * LINE
            figures = []
            for k, chase in chasers.items():
                seconds = best(partial(chase, lines, first, LOADS // k))
                figures.append(1e9 * seconds / (LOADS // k * k))
            seeds = iter(rng.integers(0, 2**62, ROUNDS + 1, np.uint64))
            seconds = best(lambda a=lines, s=seeds: gather(a, next(s), LOADS))  # type: ignore[misc]
            figures.append(1e9 * seconds / LOADS)
            row = "".join(f"{ns:8.1f}" for ns in figures)
            print(f"{mib:>5g} {'huge' if huge else 'small':>6} {row}", flush=True)


if __name__ == "__main__":
    main([float(mib) for mib in sys.argv[1:]] or [0.5, 4, 32, 256, 1024])
