"""Calibration of walks: the errors of all kernels against the plain walk's, and their coverage.

Each cell walks with the defaults of a kernel on a graph, for a number of steps per node and several
seeds, and averages three functions: the degree, one half of the nodes, and noise. ``rms`` is the
largest ratio of a root mean square error to that of the plain walk with the same seeds, ``held``
the share of the averages that are within two errors of the truth, ``warned`` the share of the seeds
with a typed warning. A cell is right where nine in ten averages hold, or 95 % of the seeds are
warned; for ``auto`` the ratio must be at most 1.10 as well. With 16 walkers 0.936 are to hold
(Student's t with 15 degrees of freedom). Of 120 averages fewer than 0.90 then do by chance in one
cell in 27, so a cell that is not right is walked again with four times as many seeds, all new.

``python -m benches.walks.calibrate`` prints the table, in an hour; ``--graphs`` restricts it.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import networkx
import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Graph = fm.walks.Graph

#: The law of averages is that of the base; all others are compared with the plain walk.
KERNELS = ("none", "auto", "hdt", "srrw", "tsaw", "rotor")
#: Averages of nine in ten seeds are to hold, or so many seeds are to be warned.
HELD, WARNED, WORSE = 0.9, 0.95, 1.10


def star_like(n: int) -> Graph:
    """Return a ring of hubs, one for each hundred nodes, each with leaves of its own."""
    hubs = n // 100
    ring = [[i, (i + 1) % hubs] for i in range(hubs)]
    leaves = [[i, i % hubs] for i in range(hubs, n)]
    return fm.walks.as_graph(np.array(ring + leaves))


def karate(_: int) -> Graph:
    """Return the karate club, 34 people."""
    return Graph.from_networkx(networkx.karate_club_graph(), weight=None)


GRAPHS: dict[str, Callable[[int], Graph]] = {
    "regular": lambda n: fm.walks.graphs.random_regular(n, 6, rng=1),
    "small-world": lambda n: fm.walks.graphs.watts_strogatz(n, 6, 0.1, rng=1),
    "power-law": lambda n: fm.walks.graphs.barabasi_albert(n, 3, rng=1),
    "clustered": lambda n: fm.walks.graphs.ring_of_cliques(n // 10, 10),
    "star-like": star_like,
    "karate": karate,
}
FIVE = tuple(GRAPHS)[:5]


class Cell(NamedTuple):
    """A cell of the table: a graph, the steps per node, the walkers."""

    graph: str
    n_nodes: int
    each: float
    n_walkers: int


class Row(NamedTuple):
    """The figures of a cell and a kernel."""

    took: str
    rms: float
    held: float
    warned: float

    def is_right(self, kernel: str) -> bool:
        """Return whether the figures are as they must be."""
        better = self.rms <= WORSE or kernel != "auto"
        return better and (self.held >= HELD or self.warned >= WARNED)


def cells(graphs: Collection[str]) -> Iterator[Cell]:
    """Yield the cells of the table, from 0.2 to 1000 steps per node, for some of the graphs."""
    for graph in (name for name in FIVE if name in graphs):
        for each in (0.2, 1, 5, 20):
            yield Cell(graph, 1000, each, 64)
        for each in (100, 300, 1000):
            yield Cell(graph, 1000, each, 16)
        # Where degrees differ most, large graphs are walked for longer.
        more = 5 if graph == "power-law" else 1
        for n_nodes, most in ((10_000, 20 * more), (50_000, 4 * more)):
            for each in (0.2, 2, 20, 100):
                if each <= most:
                    yield Cell(graph, n_nodes, each, 16)
    if "karate" in graphs:
        for each in (1, 20, 150, 1000):
            yield Cell("karate", 34, each, 64)


def functions(graph: Graph) -> Array:
    """Return the functions of the nodes that are averaged; constants are left out."""
    n = graph.n_nodes
    noise = np.random.default_rng(5).normal(size=n)
    columns = [graph.degrees.astype(float), (np.arange(n) < n // 2) * 1.0, noise]
    return np.column_stack([f for f in columns if np.ptp(f) > 0])


def measure(
    cell: Cell, seeds: range, n_threads: int, kernels: Collection[str] = KERNELS
) -> Iterator[tuple[str, Row]]:
    """Yield the figures of kernels in a cell, after those of the plain walk, which comes first."""
    graph = GRAPHS[cell.graph](cell.n_nodes)
    values = functions(graph)
    n_steps = max(round(cell.each * graph.n_nodes), 2)
    plain = None
    for kernel in kernels:
        law = graph.degrees / graph.degrees.sum() if kernel == "rotor" else None
        truth = np.average(values, axis=0, weights=law)
        errors, pulls, warned = [], [], 0
        for seed in seeds:
            how: dict[str, Any] = {"n_walkers": cell.n_walkers, "rng": seed, "progress": False}
            walk = fm.walks.walk(
                graph, kernel, n_steps=n_steps, n_threads=n_threads, keep_state=False, **how
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fm.errors.FermiacWarning)
                average = walk.expect(values)
            errors.append(average.mean - truth)
            pulls.append(np.abs(errors[-1]) / np.maximum(average.stderr, 1e-300))
            warned += bool(average.warnings)
        rms = np.sqrt(np.mean(np.square(errors), axis=0))
        plain = rms if plain is None else plain
        took = f"{walk.kernel}, {walk.burn_in / walk.n_steps:.2f}"
        held = float(np.mean(np.array(pulls) < 2.0))
        yield kernel, Row(took, float((rms / plain).max()), held, warned / len(seeds))


def line(cell: Cell, kernel: str, row: Row, n_seeds: int) -> str:
    """Return the line of a row in the table."""
    return (
        f"| {cell.graph} | {cell.n_nodes} | {cell.each:g} | {cell.n_walkers} | {n_seeds} | "
        f"{kernel} | {row.took} | {row.rms:.2f} | {row.held:.2f} | {row.warned:.2f} | "
        f"{'yes' if row.is_right(kernel) else 'NO'} |"
    )


def table(graphs: Collection[str], n_seeds: int, n_threads: int) -> Iterator[str]:
    """Yield the lines of the table, as Markdown."""
    head = ("graph", "nodes", "steps/node", "walkers", "seeds", "kernel", "took, burn-in", "rms")
    yield f"| {' | '.join(head)} | held | warned | right |"
    yield "|" + "---|" * (len(head) + 3)
    wrong = total = 0
    start = time.process_time()
    for cell in cells(graphs):
        for kernel, row in measure(cell, range(n_seeds), n_threads):
            right, n = row.is_right(kernel), n_seeds
            if not right:
                again, n = range(n_seeds, 5 * n_seeds), 4 * n_seeds
                row = dict(measure(cell, again, n_threads, ("none", kernel)))[kernel]
                right = row.is_right(kernel)
            wrong, total = wrong + (not right), total + 1
            yield line(cell, kernel, row, n)
    minutes = (time.process_time() - start) / 60
    yield ""
    yield f"{total - wrong} of {total} cells are right; {minutes:.1f} CPU minutes."


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", nargs="+", choices=GRAPHS, default=list(GRAPHS))
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    lines = []
    for line in table(given.graphs, given.seeds, given.threads):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip().split("\n", 1)
        text = "# Calibration of walks\n\n" + intro[0] + "\n" + intro[1] + "\n\n"
        given.out.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(any("| NO |" in line for line in lines))


if __name__ == "__main__":
    main()
