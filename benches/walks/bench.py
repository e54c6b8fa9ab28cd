"""Random walks on graphs: fermiac beside igraph, graph-walker, csrgraph, networkx and numba.

``pytest benches/walks/bench.py --benchmark-group-by=group``. A row's time is that of the wall; its
extra_info has what walkers are compared by: million steps per CPU-second of the process (one thread
of ours), the most bytes that a run held at once, and the root-mean-square relative error of the
mean degree that its nodes give. Slow peers do a share of the work. Peers run where they are
installed; ``python -m benches.walks.memory_latency`` prints the floor that memory sets
under all of them.
"""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from benches.walks.peers import (
    ALPHA,
    KERNELS,
    ROUNDS,
    WORKS,
    NotApplicable,
    Peer,
    Run,
    Walked,
    Work,
    degree_error,
    random_graph,
    timed,
)

import fermiac as fm

SIZES = {"1e5": 100_000, "1e6": 1_000_000}
# Small sizes, for runs without timing.
SMOKE_NODES = 500
SMOKE = {"one walker": Work(1, 2000), "64 walkers": Work(64, 200), "corpus": Work(64, 20, "path")}
NEEDS_WALKS = pytest.mark.skipif(
    not hasattr(fm, "walks"), reason="this fermiac has no fermiac.walks"
)
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")


class Walk(NamedTuple):
    """Arguments of fermiac's walk, and the law of its nodes."""

    settings: dict[str, Any]
    law: str = "degree"
    share: float = 1.0

    def prepare(self, n: int, work: Work) -> Run:
        given, work = random_graph(n), work.part(self.share)
        graph = fm.walks.Graph.from_csr(given.indptr, given.indices)

        def run(seed: int) -> Walked:
            walk = fm.walks.walk(
                graph,
                n_walkers=work.n_walkers,
                n_steps=work.n_steps,
                record=work.record,
                burn_in=0,
                plan=fm.Plan(n_threads=1),
                rng=seed,
                **self.settings,
            )
            steps = work.n_walkers * work.n_steps
            if work.record == "path":
                return Walked(steps, paths=walk.paths)
            return Walked(steps, visits=walk.visits)

        return run


OURS: dict[str, dict[str, Walk]] = {
    "srw": {"fermiac": Walk({"kernel": "none", "base": "srw"})},
    "node2vec": {},
    "hdt": {
        "fermiac, mhrw": Walk({"kernel": "hdt", "base": "mhrw", "alpha": ALPHA}, "uniform"),
        "fermiac, mhda": Walk({"kernel": "hdt", "base": "mhda", "alpha": ALPHA}, "uniform"),
    },
    "srrw": {"fermiac": Walk({"kernel": "srrw", "base": "srw", "alpha": ALPHA}, share=0.25)},
}
if hasattr(fm, "walks"):
    second_order = {"kernel": "none", "base": fm.walks.Node2Vec(p=1.0, q=0.5)}
    OURS["node2vec"] = {"fermiac": Walk(second_order, share=0.1)}

# Histories are no corpora, and the second order has no other peer.
WANTED = [
    ("srw", "one walker"),
    ("srw", "64 walkers"),
    ("srw", "corpus"),
    ("hdt", "one walker"),
    ("hdt", "64 walkers"),
    ("srrw", "one walker"),
    ("srrw", "64 walkers"),
    ("node2vec", "corpus"),
]
ROWS = [
    pytest.param(kernel, work, method, id=f"{kernel}-{work}-{name}")
    for kernel, work in WANTED
    for name, method in (OURS[kernel] | KERNELS[kernel]).items()
    if work != "one walker" or "group" not in method.settings
]


def peak_bytes(run: Run, seed: int) -> int | None:
    """How much more memory the process held at some time of a run than before; None if unknown."""
    status = Path("/proc/self/status")

    def kibibytes(field: str) -> int:
        found = re.search(rf"{field}:\s+(\d+)", status.read_text())
        assert found is not None
        return int(found.group(1))

    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = kibibytes("VmRSS")
        run(seed)
        return 1024 * (kibibytes("VmHWM") - before)
    except OSError:
        return None


def prepare(benchmark: Any, method: Walk | Peer, n: int, work: str) -> tuple[Run, int]:
    """Return the function that runs a method, and the number of nodes; skip missing peers."""
    nodes, sizes = (n, WORKS[work]) if benchmark.enabled else (SMOKE_NODES, SMOKE[work])
    if isinstance(method, Walk) and not hasattr(fm, "walks"):
        pytest.skip("this fermiac has no fermiac.walks")
    try:
        return method.prepare(nodes, sizes), nodes
    except (ImportError, NotApplicable) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("kernel", "work", "method"), ROWS)
@pytest.mark.parametrize("size", list(SIZES))
def bench_walk(benchmark: Any, size: str, kernel: str, work: str, method: Walk | Peer) -> None:
    kind = {"64 walkers": kernel, "one walker": f"{kernel}-one", "corpus": f"{kernel}-corpus"}
    benchmark.group = f"{kind[work]}-{size}"
    run, nodes = prepare(benchmark, method, SIZES[size], work)
    rounds: list[tuple[Walked, float]] = []

    def call() -> None:
        rounds.append(timed(run, len(rounds)))

    if benchmark.enabled:
        run(1000)
        benchmark.extra_info["bytes"] = peak_bytes(run, 1001)
    benchmark.pedantic(call, rounds=ROUNDS)
    graph = random_graph(nodes)
    errors = [degree_error(graph, walked, method.law) for walked, _ in rounds]
    rate = statistics.median(walked.steps / seconds / 1e6 for walked, seconds in rounds)
    benchmark.extra_info["million_steps_per_cpu_second"] = float(f"{rate:.4g}")
    error = np.sqrt(np.mean(np.square(errors)))
    benchmark.extra_info["rms_error_of_mean_degree"] = float(f"{error:.3g}")


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(p, id=f"{kernel}-{name}")
        for kernel in KERNELS
        for name, p in KERNELS[kernel].items()
    ],
)
def test_peers_keep_to_edges_and_to_their_law(peer: Peer) -> None:
    """Check that the peers do the same work."""
    graph = random_graph(SMOKE_NODES)
    for work in (Work(64, 40_000), Work(2000, 50, "path")):
        part = work.part(max(peer.share, 0.05))
        try:
            walked = peer.make(graph, part, SMOKE_NODES, **peer.settings)(1)
        except (ImportError, NotApplicable):
            continue
        assert walked.steps >= part.n_walkers * part.n_steps * 0.9
        if walked.visits is not None:
            assert walked.visits.sum() == walked.steps
            law = graph.degrees if peer.law == "degree" else np.ones(graph.n_nodes)
            share = walked.visits / walked.steps
            assert np.abs(share - law / law.sum()).sum() < 0.05
        if walked.paths is not None:
            a, b = walked.paths[:, :-1].ravel(), walked.paths[:, 1:].ravel()
            assert np.all(np.asarray(graph.scipy[a, b]) == 1.0)
        if peer.make.__name__ != "pecanpy_walks":
            assert abs(degree_error(graph, walked, peer.law)) < 0.03
