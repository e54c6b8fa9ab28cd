"""Walks that are still near their starts, and functions with mass at nodes not seen."""

from __future__ import annotations

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.sparse.csgraph

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.walks import arrival

G = fm.walks.graphs
LEFT = "the walkers have not left the surroundings of their starts"


def told(w: fm.walks.WalkResult, f: Any, **how: Any) -> tuple[str, ...]:
    """Return the warnings of an average."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return w.expect(f, **how).warnings


@pytest.mark.parametrize("name", ["barbell", "cliques"])
def test_walkers_near_their_start_warn(name: str) -> None:
    graph = G.barbell(60, 1) if name == "barbell" else G.ring_of_cliques(20, 30)
    half = graph.n_nodes / 2
    for seed in range(20):
        w = fm.walks.walk(graph, n_steps=2000, init=np.zeros(64, int), rng=seed)
        for f in ((np.arange(graph.n_nodes) >= half) * 1.0, lambda nodes: (nodes >= half) * 1.0):
            assert any(text.startswith(LEFT) for text in told(w, f))


def test_walkers_that_start_far_apart_or_never_move() -> None:
    # Half of the walkers at either end; the left one has a third of the nodes.
    clique = np.array([[i, j] for i in range(60) for j in range(i)])
    graph = fm.walks.as_graph(np.vstack([clique[clique[:, 0] < 30], clique + 30, [0, 30]]))
    w = fm.walks.walk(graph, n_steps=300, init=np.repeat([5, 50], 128), n_walkers=256, rng=0)
    with pytest.warns(ConvergenceWarning, match=f"{LEFT}.*from node 5"):
        w.expect(lambda nodes: nodes < 30)
    # Leaves of a star, with an error of 0.
    still = fm.walks.walk(G.star(10_000), "none", "mhrw", n_steps=2, init=7, rng=1)
    with pytest.warns(ConvergenceWarning, match=f"{LEFT}.* 0 ± 0"):
        still.expect(lambda nodes: nodes)


def test_fast_graphs_do_not_warn() -> None:
    fast = (
        G.barabasi_albert(1000, 3, rng=0),
        G.watts_strogatz(1000, 6, 0.3, rng=0),
        G.random_regular(1000, 6, rng=0),
        G.complete(200),
    )
    n = 0
    for graph in fast:
        half = (np.arange(graph.n_nodes) < graph.n_nodes / 2) * 1.0
        both = np.column_stack([half, np.random.default_rng(5).pareto(3.0, len(half))])
        for seed in range(5):
            for how in ({}, {"init": 0, "kernel": "none"}):
                w = fm.walks.walk(graph, n_steps=1000, rng=seed, **how)
                n += bool(told(w, both)) + bool(told(w, half, under="degree"))
    assert n == 0


def test_the_check_travels_with_the_walk(tmp_path: Any) -> None:
    graph, f = G.barbell(60, 1), lambda nodes: (nodes < 60) * 1.0
    how = {"n_steps": 500, "init": 0}
    w = fm.walks.walk(graph, rng=0, **how)
    assert any(text.startswith(LEFT) for text in told(w, f))
    # Once it was made, it goes with copies.
    assert told(pickle.loads(pickle.dumps(w)), f) == told(w, f)
    both = fm.walks.walk(graph, rng=1, **how).merge(fm.walks.walk(graph, rng=2, **how))
    assert any(text.startswith(LEFT) for text in told(both, f))
    with ThreadPoolExecutor(2) as pool:
        parts = fm.walks.walk(graph, rng=0, plan=pool, **how)
    assert told(parts, f) == told(w, f)
    longer = fm.walks.extend(fm.walks.walk(graph, rng=0, **how), 500)
    assert any(text.startswith(LEFT) for text in told(longer, f))
    # A file does not have the graph, but knows that there were starts.
    w.save(tmp_path / "walk")
    back = fm.load(tmp_path / "walk")
    assert back._starts.tolist() == [0]
    assert fm.walks.walk(graph, n_steps=100, rng=0)._starts is None


def test_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = G.watts_strogatz(300, 4, 0.1, rng=0)
    for starts in ([17], [3, 40, 250]):
        right = scipy.sparse.csgraph.dijkstra(
            graph.to_scipy(), unweighted=True, indices=starts, min_only=True
        )
        found = arrival.distances(graph, np.array(starts))
        np.testing.assert_array_equal(found, right)
        # A sweep that ends early.
        with monkeypatch.context() as patch:
            patch.setattr(arrival, "_FARTHEST", 2)
            short = arrival.distances(graph, np.array(starts))
        np.testing.assert_array_equal(short, np.minimum(right, 3))
        with monkeypatch.context() as patch:
            patch.setattr(arrival, "_MOST_ENTRIES", 50)
            short = arrival.distances(graph, np.array(starts))
        assert short.max() < right.max()
        assert (short[short < short.max()] == right[short < short.max()]).all()


def test_functions_at_nodes_not_seen_warn() -> None:
    graph = G.barabasi_albert(20_000, 3, rng=0)
    f = 1e4 * (np.arange(20_000) == 17_777)
    missed = 0
    for seed in range(10):
        w = fm.walks.walk(graph, n_steps=300, rng=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FermiacWarning)
            e = w.expect(f)
        if e.mean == 0:
            missed += 1
            assert "nodes not seen hold" in e.warnings[0]
            assert "under the law is 0.5" in e.warnings[0]
        # A function that is spread evenly does not, whatever part of the nodes was seen.
        assert not told(w, np.random.default_rng(1).normal(size=20_000))
    assert missed >= 5
    # Of several averages the message names one. A law must be known at all nodes.
    w = fm.walks.walk(graph, "none", n_steps=30, rng=1)
    with pytest.warns(ConvergenceWarning, match=r"average 1 of 2"):
        w.expect(np.column_stack([np.arange(20_000), f]), under="degree")
    for how in (
        {"f": f, "under": lambda nodes: np.ones(len(nodes))},
        {"f": lambda nodes: f[nodes]},
    ):
        (text,) = told(w, **how)
        assert text.startswith(f"all {len(w.visited)} values of f at visited nodes")
