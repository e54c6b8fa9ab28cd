"""Other walkers on one random graph: libraries, and the best that we can write in numba.

A peer is a function of a graph and of the work that prepares what it needs and returns
``run(seed)``, which gives where it went. `rate` times it in CPU-seconds of the process, so that
threads and neighbours on the machine are paid for by whoever has them.
``python -m benches.walks.peers [nodes or kernels ...]`` prints million steps per CPU-second
without fermiac.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ALPHA = 5.0
MEAN_DEGREE = 12
STEPS = 100  # of a walk of a corpus
ROUNDS = 5


class Csr(NamedTuple):
    """An undirected graph, connected, without loops and weights."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.uint32]

    @property
    def n_nodes(self) -> int:
        return len(self.indptr) - 1

    @property
    def degrees(self) -> NDArray[np.int64]:
        return np.diff(self.indptr)

    @property
    def scipy(self) -> Any:
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self.indices), np.float32)
        parts = ones, self.indices.astype(np.int32), self.indptr.astype(np.int32)
        return csr_matrix(parts, shape=(self.n_nodes, self.n_nodes))

    @property
    def edges(self) -> NDArray[np.int64]:
        """Each edge once, (m, 2)."""
        source = np.repeat(np.arange(self.n_nodes), self.degrees)
        once = source < self.indices
        return np.column_stack([source[once], self.indices[once]])


class Work(NamedTuple):
    """How many walkers go how far, and what is kept of it: "visits" or "path"."""

    n_walkers: int
    n_steps: int
    record: str = "visits"

    def part(self, share: float) -> Work:
        """Less of the same for who is slow: fewer walkers, or shorter walks."""
        if self.n_walkers > 1000:
            return self._replace(n_walkers=max(1, int(self.n_walkers * share)))
        return self._replace(n_steps=max(1, int(self.n_steps * share)))


class Walked(NamedTuple):
    """The result of a run: steps, and visits (n_nodes,) or all nodes in turn."""

    steps: int
    visits: NDArray[Any] | None = None
    paths: NDArray[Any] | None = None  # (walkers, steps + 1), the start first


Run = Callable[[int], Walked]


class NotApplicable(Exception):
    """The peer cannot do this work."""


@cache
def random_graph(n: int, seed: int = 1) -> Csr:
    """The largest component of G(n, m), all but a few nodes in a million."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(seed)
    m = MEAN_DEGREE * n // 2
    pairs = np.sort(rng.integers(0, n, (m + m // 8 + 64, 2)), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    keys = rng.permutation(np.unique(pairs[:, 0] * n + pairs[:, 1]))[:m]
    a, b = keys // n, keys % n
    both = np.concatenate([a, b]), np.concatenate([b, a])
    matrix = csr_matrix((np.ones(2 * len(keys), np.int8), both), shape=(n, n))
    _, label = connected_components(matrix)
    largest = np.flatnonzero(label == np.bincount(label).argmax())
    matrix = matrix[largest][:, largest]
    matrix.sort_indices()
    return Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.uint32))


def starts(graph: Csr, work: Work, seed: int) -> NDArray[np.int64]:
    """Everyone's starting nodes."""
    return np.random.default_rng(seed).integers(0, graph.n_nodes, work.n_walkers)


def degree_error(graph: Csr, walked: Walked, law: str) -> float:
    """Relative error of the mean degree from nodes that come by this law: "degree" or "uniform"."""
    degrees = graph.degrees
    if walked.visits is not None:
        weights, seen = walked.visits, degrees
    else:
        assert walked.paths is not None
        seen = degrees[walked.paths[:, 1:]]
        weights = np.ones_like(seen)
    if law == "degree":
        found = 1.0 / np.average(1.0 / seen, weights=weights)
    else:
        found = np.average(seen, weights=weights)
    return float(found / degrees.mean() - 1.0)


def _walk_each(graph: Csr, work: Work, one: Callable[[int], Any], seed: int) -> Walked:
    """A corpus from a function that makes one walk."""
    paths = np.empty((work.n_walkers, work.n_steps + 1), np.uint32)
    for row, start in zip(paths, starts(graph, work, seed).tolist(), strict=True):
        row[:] = one(start)
    return Walked(work.n_walkers * work.n_steps, paths=paths)


@cache
def _igraph(n: int) -> Any:
    import igraph

    graph = random_graph(n)
    return igraph.Graph(n=graph.n_nodes, edges=graph.edges)


def igraph_walk(graph: Csr, work: Work, n: int) -> Run:
    """A call a walk; igraph's own generator, for Python's costs it a fifth."""
    import igraph

    made = _igraph(n)

    def run(seed: int) -> Walked:
        igraph.set_random_number_generator(None)
        return _walk_each(graph, work, lambda at: made.random_walk(at, work.n_steps), seed)

    return run


def graph_walker_walks(graph: Csr, work: Work, n: int) -> Run:
    """Its compiled core on a ready matrix: the public call converts a networkx graph each time."""
    from _walker import random_walks

    indptr = graph.indptr.astype(np.uint32)
    share = np.repeat(1.0 / graph.degrees, graph.degrees).astype(np.float32)

    def run(seed: int) -> Walked:
        first = starts(graph, work, seed).astype(np.uint32)
        paths = random_walks(indptr, graph.indices, share, first, 1, work.n_steps + 1)
        return Walked(work.n_walkers * work.n_steps, paths=paths)

    return run


def csrgraph_walks(graph: Csr, work: Work, n: int) -> Run:
    import csrgraph

    made = csrgraph.csrgraph(graph.scipy)

    def run(seed: int) -> Walked:
        first = starts(graph, work, seed)
        paths = made.random_walks(walklen=work.n_steps + 1, start_nodes=first)
        return Walked(work.n_walkers * work.n_steps, paths=paths)

    return run


@cache
def _networkx(n: int) -> Any:
    import networkx

    made = networkx.Graph()
    made.add_edges_from(random_graph(n).edges.tolist())
    return made


def networkx_walk(graph: Csr, work: Work, n: int) -> Run:
    """Its generator; no graph of a million nodes, which takes gigabytes to hold."""
    import networkx

    if n > 200_000:
        raise NotApplicable("networkx takes gigabytes for this graph")
    if not hasattr(networkx, "random_walk"):
        raise ImportError("networkx has random_walk from 3.7 on")
    made = _networkx(n)

    def run(seed: int) -> Walked:
        rng = random.Random(seed)

        def one(start: int) -> list[int]:
            walk = networkx.random_walk(made, start=start, seed=rng)
            return list(itertools.islice(walk, work.n_steps + 1))

        return _walk_each(graph, work, one, seed)

    return run


def python_walk(graph: Csr, work: Work, n: int) -> Run:
    """Plain Python over lists of neighbours."""
    flat, ends = graph.indices.tolist(), graph.indptr.tolist()
    adjacency = [flat[a:b] for a, b in itertools.pairwise(ends)]

    def run(seed: int) -> Walked:
        uniform = random.Random(seed).random

        def one(at: int) -> list[int]:
            path = [at]
            for _ in range(work.n_steps):
                near = adjacency[at]
                at = near[int(uniform() * len(near))]
                path.append(at)
            return path

        return _walk_each(graph, work, one, seed)

    return run


def pecanpy_walks(graph: Csr, work: Work, n: int) -> Run:
    """Second order, q = 1/2, from every node, as long as the number of steps allows.

    Each call compiles its walker anew, some seconds that its user waits for too.
    """
    if work.record != "path":
        raise NotApplicable("it gives walks from every node")
    try:
        from pecanpy.pecanpy import SparseOTF
    except AttributeError as error:
        raise ImportError(f"pecanpy wants numpy 1: {error}") from error

    length = max(2, work.n_walkers * work.n_steps // graph.n_nodes)

    def run(seed: int) -> Walked:
        made = SparseOTF(p=1.0, q=0.5, workers=1, random_state=seed)
        made.set_node_ids(None, implicit_ids=True, num_nodes=graph.n_nodes)
        made.indptr, made.indices = graph.indptr.astype(np.uint32), graph.indices
        made.data = np.ones(len(graph.indices), np.float32)
        paths = made.simulate_walks(1, length)
        return Walked(graph.n_nodes * length, paths=np.array(paths, np.int64))

    return run


def _numba(work: Work, group: int | None, record: str | None) -> Any:
    """The compiled walkers, if they can do this work."""
    if group and work.n_walkers < group:
        raise NotApplicable("fewer walkers than a group has")
    if record and work.record != record:
        raise NotApplicable("the histories are what is kept")
    # Late, as numba compiles it.
    from benches.walks import peers_numba

    return peers_numba


def numba_srw(graph: Csr, work: Work, n: int, group: int | None = None) -> Run:
    """The simple walk; `group` walkers interleaved, or one after another."""
    compiled = _numba(work, group, None)

    node = compiled.pack(graph.indptr)
    walk = compiled.srw_group if group else compiled.srw_lone

    def run(seed: int) -> Walked:
        first = starts(graph, work, seed).astype(np.uint64)
        visits = np.zeros(graph.n_nodes if work.record == "visits" else 0, np.uint32)
        shape = (work.n_walkers, work.n_steps + 1) if work.record == "path" else (0, 0)
        paths = np.empty(shape, np.uint32)
        state = compiled.lanes(seed, group or 64)
        walk(node, graph.indices, first, work.n_steps, state, visits, paths)
        kept = {"paths": paths} if work.record == "path" else {"visits": visits}
        return Walked(work.n_walkers * work.n_steps, **kept)

    return run


def numba_hdt_mhrw(graph: Csr, work: Work, n: int, group: int | None = None) -> Run:
    """MHRW to the uniform law, repelled by each walker's own counts."""
    compiled = _numba(work, group, "visits")
    node, table = compiled.pack(graph.indptr), compiled.power_table(ALPHA)
    walk = compiled.hdt_group if group else compiled.hdt_lone

    def run(seed: int) -> Walked:
        first = starts(graph, work, seed).astype(np.uint64)
        counts = np.zeros((work.n_walkers, graph.n_nodes), np.uint32)
        state = compiled.lanes(seed, group or 64)
        given = counts.reshape(-1) if group else counts
        walk(node, graph.indices, first, work.n_steps, state, table, ALPHA, given)
        return Walked(work.n_walkers * work.n_steps, visits=counts.sum(axis=0))

    return run


def numba_srrw(graph: Csr, work: Work, n: int, group: int | None = None) -> Run:
    """SRRW on the simple walk, repelled by each walker's own counts."""
    compiled = _numba(work, group, "visits")
    node, whole = compiled.pack(graph.indptr), int(ALPHA) if ALPHA == int(ALPHA) else -1
    mean = float(graph.degrees.mean())
    walk = compiled.srrw_group if group else compiled.srrw_lone

    def run(seed: int) -> Walked:
        first = starts(graph, work, seed).astype(np.uint64)
        r, counts = compiled.history(work.n_walkers, graph.n_nodes)
        state = compiled.lanes(seed, group or 64)
        walk(node, graph.indices, first, work.n_steps, state, mean, ALPHA, whole, r, counts)
        visits = counts[1::2].reshape(work.n_walkers, -1).sum(axis=0)
        return Walked(work.n_walkers * work.n_steps, visits=visits)

    return run


class Peer(NamedTuple):
    """How to prepare it, the law of its nodes, and its share of the work, so that it ends."""

    make: Callable[..., Run]
    law: str = "degree"
    share: float = 1.0
    settings: dict[str, Any] = {}  # noqa: RUF012

    def prepare(self, n: int, work: Work) -> Run:
        return self.make(random_graph(n), work.part(self.share), n, **self.settings)


SRW: dict[str, Peer] = {
    "numba": Peer(numba_srw),
    "numba, interleaved 64": Peer(numba_srw, settings={"group": 64}),
    "igraph": Peer(igraph_walk, share=0.01),
    "graph-walker core": Peer(graph_walker_walks, share=0.2),
    "csrgraph": Peer(csrgraph_walks, share=0.2),
    "networkx": Peer(networkx_walk, share=0.02),
    "Python lists": Peer(python_walk, share=0.05),
}
NODE2VEC: dict[str, Peer] = {"pecanpy": Peer(pecanpy_walks, share=0.2)}
HDT: dict[str, Peer] = {
    "numba": Peer(numba_hdt_mhrw, "uniform"),
    "numba, interleaved 32": Peer(numba_hdt_mhrw, "uniform", settings={"group": 32}),
}
SRRW: dict[str, Peer] = {
    "numba": Peer(numba_srrw, share=0.25),
    "numba, interleaved 8": Peer(numba_srrw, share=0.25, settings={"group": 8}),
}
# A walk alone, a computation's usual number, and a corpus.
WORKS = {
    "one walker": Work(1, 4_000_000),
    "64 walkers": Work(64, 200_000),
    "corpus": Work(100_000, STEPS, "path"),
}
KERNELS = {"srw": SRW, "node2vec": NODE2VEC, "hdt": HDT, "srrw": SRRW}


def timed(run: Run, seed: int) -> tuple[Walked, float]:
    """Return the result of a run, and its CPU seconds, including its threads."""
    before = time.process_time()
    walked = run(seed)
    return walked, time.process_time() - before


def rate(run: Run, rounds: int = ROUNDS) -> tuple[float, Walked]:
    """Median million steps per CPU-second, after a round that compiles."""
    run(1000)
    each = [timed(run, seed) for seed in range(rounds)]
    return statistics.median(w.steps / t / 1e6 for w, t in each), each[-1][0]


def main(kernels: list[str], sizes: list[int]) -> None:
    for n, kernel, (what, work) in itertools.product(sizes, kernels, WORKS.items()):
        for name, peer in KERNELS[kernel].items():
            row = f"{n:>8} {kernel:9} {what:11} {name:22}"
            try:
                steps, walked = rate(peer.prepare(n, work))
            except (ImportError, NotApplicable) as reason:
                print(f"{row}        - {reason}", flush=True)
                continue
            error = degree_error(random_graph(n), walked, peer.law)
            print(f"{row} {steps:8.2f}  mean degree {error:+.2%}", flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        [name for name in given if name in KERNELS] or list(KERNELS),
        [int(n) for n in given if n not in KERNELS] or [100_000, 1_000_000],
    )
