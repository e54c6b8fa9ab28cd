"""Errors and coverage of all walk kernels, compared with the plain walk.

Each row runs a kernel with its default settings on a graph, for a number of steps per node and
several seeds. It averages three functions: the degree, the indicator of one half of the nodes, and
noise. ``rms`` is the root mean square error divided by that of the plain walk with the same seeds,
the largest of the three. ``held`` is the share of the averages within two standard errors of the
truth. ``warned`` is the share of the seeds with a typed warning. A row is ``right`` if ``held`` is
at least 0.90, or ``warned`` at least 0.95; for ``auto``, ``rms`` must also be at most 1.10. With 16
walkers the expected ``held`` is 0.936 (Student's t with 15 degrees of freedom). With 120 averages
``held`` then falls below 0.90 by chance in one row in 27. A row that is not right is therefore
repeated with four times as many new seeds.

``python -m benches.walks.calibrate`` prints the table in about an hour; ``--graphs`` selects
graphs. ``--sizes`` prints the table of sizes of graphs alone, in a minute.
"""

from __future__ import annotations

import argparse
import itertools
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

#: Each kernel is compared with the plain walk, the first.
KERNELS = ("none", "auto", "hdt", "srrw", "tsaw", "rotor")
#: The least coverage, or the least share of warned seeds, and the largest ratio of errors.
HELD, WARNED, WORSE = 0.9, 0.95, 1.10


def star_like(n: int) -> Graph:
    """Return a ring of hubs, one for every hundred nodes, each with its own leaves."""
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
#: Graphs whose sizes are estimated, by walks that mix fast and by walks that hardly mix.
SIZES: dict[str, Callable[[], Graph]] = {
    "power-law": lambda: fm.walks.graphs.barabasi_albert(30_000, 3, rng=0),
    "small-world, p = 0.05": lambda: fm.walks.graphs.watts_strogatz(20_000, 6, 0.05, rng=0),
    "small-world, p = 0.01": lambda: fm.walks.graphs.watts_strogatz(20_000, 6, 0.01, rng=0),
    "regular": lambda: fm.walks.graphs.random_regular(20_000, 6, rng=0),
    "lattice": lambda: fm.walks.graphs.grid((120, 120)),
    "four blocks": lambda: fm.walks.graphs.stochastic_block(
        [1000] * 4, np.where(np.eye(4), 0.012, 0.0002), rng=0
    ),
    "ring of cliques": lambda: fm.walks.graphs.ring_of_cliques(300, 20),
    "cycle": lambda: fm.walks.graphs.cycle(5000),
    "path": lambda: fm.walks.graphs.path(3000),
    "two cliques": lambda: fm.walks.graphs.barbell(400, 20),
    "star": lambda: fm.walks.graphs.star(5000),
}
#: The largest error of a size without a warning, in standard errors.
MOST = 4.0
SIZES_ARE = """\
`estimate_size` from 64 plain walkers × 1500 steps, {n_seeds} seeds. `largest z` and `rms z` are the
largest and the root mean square differences of the numbers of nodes and edges from the truth, in
standard errors. `error` is the median standard error of the number of nodes, relative to the
estimate. A row is `right` if every estimate is within four errors, or warned. Where walks mix fast
the errors are up to 1.7 times too large, since the jackknife counts the second-order part twice."""


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
        """Return whether the figures pass the limits above."""
        better = self.rms <= WORSE or kernel != "auto"
        return better and (self.held >= HELD or self.warned >= WARNED)


def cells(graphs: Collection[str]) -> Iterator[Cell]:
    """Yield the cells of the table, from 0.2 to 1000 steps per node, for some of the graphs."""
    for graph in (name for name in FIVE if name in graphs):
        for each in (0.2, 1, 5, 20):
            yield Cell(graph, 1000, each, 64)
        for each in (100, 300, 1000):
            yield Cell(graph, 1000, each, 16)
        # Large power-law graphs, whose degrees differ most, get longer walks.
        more = 5 if graph == "power-law" else 1
        for n_nodes, most in ((10_000, 20 * more), (50_000, 4 * more)):
            for each in (0.2, 2, 20, 100):
                if each <= most:
                    yield Cell(graph, n_nodes, each, 16)
    if "karate" in graphs:
        for each in (1, 20, 150, 1000):
            yield Cell("karate", 34, each, 64)


def functions(graph: Graph) -> Array:
    """Return the functions of the nodes to average, without constant ones."""
    n = graph.n_nodes
    noise = np.random.default_rng(5).normal(size=n)
    columns = [graph.degrees.astype(float), (np.arange(n) < n // 2) * 1.0, noise]
    return np.column_stack([f for f in columns if np.ptp(f) > 0])


def measure(
    cell: Cell, seeds: range, n_threads: int, kernels: Collection[str] = KERNELS
) -> Iterator[tuple[str, Row]]:
    """Yield the figures of the kernels in a cell; the first is the plain walk."""
    graph = GRAPHS[cell.graph](cell.n_nodes)
    values = functions(graph)
    n_steps = max(round(cell.each * graph.n_nodes), 2)
    plain = None
    for kernel in kernels:
        law = graph.degrees / graph.degrees.sum() if kernel == "rotor" else None
        truth = np.average(values, axis=0, weights=law)
        errors, pulls, warned = [], [], 0
        for seed in seeds:
            how: dict[str, Any] = {"n_walkers": cell.n_walkers, "rng": seed}
            walk = fm.walks.walk(
                graph,
                kernel,
                n_steps=n_steps,
                plan=fm.Plan(n_threads=n_threads, progress=False),
                **how,
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
    yield f"{total - wrong} of {total} rows are right; {minutes:.1f} CPU minutes."


def size_table(n_seeds: int = 20) -> Iterator[str]:
    """Yield the lines of the table of sizes of graphs, as Markdown."""
    yield "## Sizes of graphs"
    yield ""
    yield SIZES_ARE.format(n_seeds=n_seeds)
    yield ""
    head = ("graph", "nodes", "base", "largest z", "rms z", "error", "warned", "right")
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for name, make in SIZES.items():
        graph = make()
        truth = np.array([graph.n_nodes, graph.n_edges])
        for base in ("srw", "mhrw"):
            z, error, warned, right = [], [], 0, 0
            for seed in range(n_seeds):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", fm.errors.FermiacWarning)
                    walk = fm.walks.walk(graph, "none", base, n_steps=1500, rng=seed)
                    size = walk.estimate_size()
                z.append((size.mean - truth) / size.stderr)
                error.append(size.stderr[0] / size.mean[0])
                warned += bool(size.warnings)
                right += bool(size.warnings) or bool(np.abs(z[-1]).max() < MOST)
            largest, rms = np.abs(z).max(), np.sqrt(np.mean(np.square(z)))
            yield (
                f"| {name} | {graph.n_nodes} | {base} | {largest:.2f} | {rms:.2f} | "
                f"{np.median(error):.2g} | {warned / n_seeds:.2f} | "
                f"{'yes' if right == n_seeds else 'NO'} |"
            )


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", nargs="+", choices=GRAPHS, default=list(GRAPHS))
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", action="store_true", help="print the table of sizes alone")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    if given.sizes and given.out is not None:
        parser.error("--out: the page has both tables; leave out --sizes")
    lines = []
    rows = () if given.sizes else table(given.graphs, given.seeds, given.threads)
    for line in itertools.chain(rows, ("",), size_table()):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip().split("\n", 1)
        text = "# Calibration of walks\n\n" + intro[0] + "\n" + intro[1] + "\n\n"
        given.out.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(any("| NO |" in line for line in lines))


if __name__ == "__main__":
    main()
