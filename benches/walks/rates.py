"""Speeds of walks on one thread: of the engine, of whole calls, and of compiled loops beside them.

``python -m benches.walks.rates [nodes ...]`` prints million steps per CPU-second of 64 walkers on a
random graph of mean degree 12, the median of some rounds in which all take turns, so that a busy
machine slows all of them. The engine is the part of a call that makes steps; a whole call also
prepares, counts and gives the visits of all nodes. The loops are those of
``benches/walks/peers_numba.py``, with their memory in huge pages and prepared before the clock
starts: they are compared with the engine. ``--settled`` measures long histories instead, where most
neighbours have been visited. All calls count from the first step, but for those with the burn-in of
the default settings, of which a whole call makes as many steps.

A call cannot do without some memory beside the steps. The visits of n nodes are 8 n bytes, which
are cleared and to which each step adds once: about 3 ms for 10**6 nodes and 1.28 million steps. The
tables of histories are n bytes for each walker. The engine clears them when it first writes there,
3 to 6 ms for 64 MB in huge pages; the loops are given theirs.
"""

from __future__ import annotations

import argparse
import mmap
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from benches.walks import peers_numba as loops
from benches.walks.engine import Engine
from benches.walks.peers import ALPHA, Csr, Work, random_graph, starts
from numpy.typing import NDArray

import fermiac as fm

N_STEPS = 20_000
N_WALKERS = 64
ROUNDS = 7
HUGE = 2**21


class Rates(NamedTuple):
    """Million steps per CPU-second."""

    engine: float
    whole: float


def huge(n: int, dtype: Any, value: float = 0) -> NDArray[Any]:
    """An array in huge pages."""
    size = -(-n * np.dtype(dtype).itemsize // HUGE) * HUGE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    out = np.frombuffer(memory, dtype, n)
    out[:] = value
    return out


def ours(graph: Csr, kernel: str, base: str, burn_in: Any = 0) -> Callable[[int], Rates]:
    """Whole calls of fermiac, and the part of them that makes steps."""
    made = fm.walks.Graph.from_csr(graph.indptr, graph.indices)
    settings: dict[str, Any] = {} if kernel == "none" else {"alpha": ALPHA}

    def run(seed: int) -> Rates:
        with Engine() as engine:
            before = time.process_time()
            walk = fm.walks.walk(
                made,
                kernel,
                base,
                n_steps=N_STEPS,
                n_walkers=N_WALKERS,
                burn_in=burn_in,
                plan=fm.Plan(n_threads=1),
                rng=seed,
                **settings,
            )
            assert walk.visits.sum() == (N_STEPS - walk.burn_in) * N_WALKERS
            whole = time.process_time() - before
        steps = N_STEPS * N_WALKERS / 1e6
        return Rates(steps / engine.spent, steps / whole)

    return run


def loop(graph: Csr, kernel: str, group: int) -> Callable[[int], Rates]:
    """An interleaved loop."""
    node, indices = huge(graph.n_nodes, np.uint64), huge(len(graph.indices), np.uint32)
    node[:], indices[:] = loops.pack(graph.indptr), graph.indices
    size = N_WALKERS * graph.n_nodes
    table, whole = loops.power_table(ALPHA), int(ALPHA)

    def run(seed: int) -> Rates:
        first = starts(graph, Work(N_WALKERS, N_STEPS), seed).astype(np.uint64)
        state = loops.lanes(seed, group)
        if kernel == "none":
            visits, none = huge(graph.n_nodes, np.uint32), np.empty((0, 0), np.uint32)
            before = time.process_time()
            loops.srw_group(node, indices, first, N_STEPS, state, visits, none)
        elif kernel == "hdt":
            counts = huge(size, np.uint32)
            before = time.process_time()
            loops.hdt_group(node, indices, first, N_STEPS, state, table, ALPHA, counts)
        else:
            block = huge(2 * size, np.float32)
            block[::2] = 1.0
            views, mean = (block, block.view(np.uint32)), float(graph.degrees.mean())
            before = time.process_time()
            loops.srrw_group(node, indices, first, N_STEPS, state, mean, ALPHA, whole, *views)
        rate = N_STEPS * N_WALKERS / (time.process_time() - before) / 1e6
        return Rates(rate, rate)

    return run


def in_turns(runs: dict[str, Callable[[int], Rates]]) -> dict[str, Rates]:
    """Medians over rounds, after one that compiles and fills caches."""
    for run in runs.values():
        run(1000)
    rounds = [{name: run(seed) for name, run in runs.items()} for seed in range(ROUNDS)]
    return {name: Rates(*np.median([each[name] for each in rounds], axis=0)) for name in runs}


def settled(graph: Csr, per_node: float) -> Rates:
    """The engine of SRRW after this many steps per node and walker; 32 walkers."""
    made = fm.walks.Graph.from_csr(graph.indptr, graph.indices)
    n_walkers, first = 32, int(per_node * graph.n_nodes)
    settings: dict[str, Any] = {"burn_in": 0, "plan": fm.Plan(n_threads=1), "n_walkers": n_walkers}
    walk = fm.walks.walk(made, "srrw", "srw", alpha=ALPHA, n_steps=first, rng=0, **settings)
    rates = []
    for _ in range(ROUNDS):
        with Engine() as engine:
            fm.walks.extend(walk, N_STEPS, plan=fm.Plan(n_threads=1))
        rates.append(N_STEPS * n_walkers / engine.spent / 1e6)
    return Rates(float(np.median(rates)), float("nan"))


CASES = [
    ("none", "srw", (32, 64)),
    ("hdt", "mhrw", (16, 32)),
    ("hdt", "mhda", ()),
    ("srrw", "srw", (16, 32)),
    ("srrw", "mhrw", ()),
]


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nodes", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--settled", nargs="*", type=float, help="steps per node before")
    given = parser.parse_args()
    warnings.simplefilter("ignore", fm.errors.FermiacWarning)
    for n in given.nodes:
        graph = random_graph(n)
        if given.settled:
            for per_node in given.settled:
                rate = settled(graph, per_node).engine
                found = in_turns({"loop": loop(graph, "srrw", 16)})["loop"].engine
                print(
                    f"{n:>8} srrw after {per_node:g} steps per node: {rate:.1f}, loop {found:.1f}"
                )
            continue
        for kernel, base, groups in CASES:
            runs = {"ours": ours(graph, kernel, base)}
            runs["burned"] = ours(graph, kernel, base, "auto")
            runs |= {f"loop of {k}": loop(graph, kernel, k) for k in groups}
            found = in_turns(runs)
            (engine, whole), (engine_burned, whole_burned) = found.pop("ours"), found.pop("burned")
            text = ", ".join(f"{name} {rates.engine:.1f}" for name, rates in found.items())
            best = max((rates.engine for rates in found.values()), default=float("nan"))
            print(
                f"{n:>8} {kernel} on {base}: engine {engine:.1f}, whole call {whole:.1f} "
                f"({whole / engine:.2f}), with a burn-in {whole_burned:.1f} "
                f"({whole_burned / engine_burned:.2f}); {text}; "
                f"engine over the best loop {engine / best:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
