"""Sizes of graphs from collisions of walkers: sums by hand, known graphs, and doubtful walks."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from walk_runs import BARBELL, walk

import fermiac as fm
from fermiac.errors import ArgumentError, CallError, ConvergenceWarning, FermiacWarning

G = fm.walks.graphs


def quiet(w: fm.walks.WalkResult) -> fm.Estimate:
    """Return the estimate of the size; its warnings are in the result only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return w.estimate_size()


@pytest.mark.parametrize("base", ["srw", "mhrw"])
@pytest.mark.parametrize("record", ["visits", "path"])
def test_a_size_by_hand(base: str, record: str) -> None:
    n = 9
    w = walk(BARBELL, "none", base, n_steps=40, n_walkers=n, record=record)
    e = w.estimate_size()
    c = w.walker_visits.toarray().astype(float)
    law = BARBELL.degrees if base == "srw" else np.ones(12)
    s, r, edges = c @ law, c @ (1 / law), c @ (0.5 * BARBELL.degrees / law)
    h, p = c @ c.T, (np.outer(s, r) + np.outer(r, s)) / 2
    apart = 1 - np.eye(n)

    def of(keep: list[int]) -> list[float]:
        pairs = apart[np.ix_(keep, keep)]
        size = (pairs * p[np.ix_(keep, keep)]).sum() / (pairs * h[np.ix_(keep, keep)]).sum()
        return [size, size * edges[keep].sum() / r[keep].sum()]

    mean = np.array(of(list(range(n))))
    np.testing.assert_allclose(e.mean, mean, rtol=1e-12)
    each = np.array([of([v for v in range(n) if v != out]) for out in range(n)])
    d = apart * (h - p / mean[0])
    second = 2 * (d**2).sum() / (apart * h).sum() ** 2
    cov = (n - 1) ** 2 / n * np.cov(each.T) + second * np.outer(mean, mean)
    np.testing.assert_allclose(e.cov, cov, rtol=1e-9)


def test_many_walkers_are_taken_in_blocks() -> None:
    w = walk(BARBELL, "none", "srw", n_steps=20, n_walkers=2400)
    e = w.estimate_size()
    c = w.walker_visits.toarray().astype(float)
    s, r = c @ BARBELL.degrees, c @ (1 / BARBELL.degrees)
    h, p = c @ c.T, (np.outer(s, r) + np.outer(r, s)) / 2
    for each in (h, p):
        np.fill_diagonal(each, 0.0)
    size, n = p.sum() / h.sum(), len(c)
    each = (p.sum() - 2 * p.sum(axis=1)) / (h.sum() - 2 * h.sum(axis=1))
    second = 2 * ((h - p / size) ** 2).sum() * (size / h.sum()) ** 2
    assert e.mean[0] == pytest.approx(size, rel=1e-12)
    assert e.cov[0, 0] == pytest.approx((n - 1) ** 2 / n * each.var(ddof=1) + second, rel=1e-8)


GRAPHS: dict[str, Callable[[], fm.walks.Graph]] = {
    "power-law": lambda: G.barabasi_albert(30_000, 3, rng=0),
    "small-world": lambda: G.watts_strogatz(20_000, 6, 0.05, rng=0),
    "regular": lambda: G.random_regular(20_000, 6, rng=0),
    "lattice": lambda: G.grid((120, 120)),
    "clustered": lambda: G.ring_of_cliques(300, 20),
    "barbell": lambda: G.barbell(400, 20),
    "star": lambda: G.star(5000),
}


@pytest.mark.filterwarnings("ignore:the graph is bipartite")
@pytest.mark.parametrize("name", GRAPHS)
def test_sizes_however_slowly_walks_mix(name: str) -> None:
    graph = GRAPHS[name]()
    truth = np.array([graph.n_nodes, graph.n_edges])
    z = []
    for seed in range(5):
        w = fm.walks.walk(graph, "none", "srw", n_steps=1500, rng=seed)
        e = quiet(w)
        z.append((e.mean - truth) / e.stderr)
        if name == "power-law":
            assert e.stderr[0] < 0.06 * e.mean[0]
    assert np.abs(z).max() < 4
    # Not too large: independent runs differ about as much.
    assert np.sqrt(np.mean(np.square(z))) > 0.15


def test_pairs_are_unbiased_at_every_age() -> None:
    # Over many pairs of short walks from the law, whatever they have mixed.
    graph = G.cycle(40)
    w = fm.walks.walk(graph, "none", "mhrw", n_steps=5, n_walkers=4096, rng=0)
    e = w.estimate_size()
    assert abs(e.mean[0] - 40) < 5 * e.stderr[0]
    assert e.stderr[0] < 0.4


def test_doubtful_sizes_warn() -> None:
    lost = walk(G.cycle(100_000), "none", "mhrw", n_steps=3)
    with pytest.warns(ConvergenceWarning, match="there was no collision"):
        e = lost.estimate_size()
    assert np.isinf(e.mean).all()
    few = walk(G.path(100), "none", "mhrw", n_steps=50, n_walkers=8)
    with pytest.warns(ConvergenceWarning, match="worth those of"):
        few.estimate_size()
    star = G.star(500)
    told = quiet(fm.walks.walk(star, "none", "mhrw", n_steps=500, rng=0)).warnings
    assert any("of the steps moved" in text and "base='srw'" in text for text in told)
    pair = walk(BARBELL, "none", "srw", n_walkers=2)
    e = quiet(pair)
    assert np.isfinite(e.mean).all()
    assert np.isinf(e.stderr).all()
    assert e.warnings


def test_walkers_that_are_still_spreading_warn() -> None:
    graph = G.watts_strogatz(20_000, 6, 0.02, rng=0)
    how = {"n_steps": 300, "record": "path", "rng": 0}
    with pytest.warns(ConvergenceWarning, match="surroundings of their starts"):
        fm.walks.walk(graph, "none", "srw", init=0, **how).estimate_size()
    crawl = fm.walks.Graph.from_oracle(lambda nodes: [graph.neighbors(i) for i in nodes])
    found = fm.walks.walk(crawl, "none", "srw", init=0, **how)
    with pytest.warns(ConvergenceWarning, match="the second half"):
        found.estimate_size()
    # A crawl that has spread over its graph.
    small = G.random_regular(300, 6, rng=0)
    crawl = fm.walks.Graph.from_oracle(lambda nodes: [small.neighbors(i) for i in nodes])
    how = {"n_steps": 1000, "burn_in": 100, "record": "path", "rng": 0}
    e = fm.walks.walk(crawl, "none", "srw", init=0, **how).estimate_size()
    assert abs(e.mean[0] - 300) < 5 * e.stderr[0]


def test_sizes_that_cannot_be_estimated() -> None:
    with pytest.raises(ArgumentError, match="n_walkers: 1 given; two at least"):
        walk(BARBELL, "none", n_walkers=1).estimate_size()
    with pytest.raises(ArgumentError, match="record: 'none' was given"):
        walk(BARBELL, "none", record="none", f=BARBELL.degrees).estimate_size()
    w = walk(BARBELL, "none")
    with pytest.raises(CallError, match="gap: removed; pairs of steps of one walker never count"):
        w.estimate_size(gap=20)  # type: ignore[call-arg]
    with pytest.raises(CallError, match="there is no argument 'lag'"):
        w.estimate_size(lag=20)  # type: ignore[call-arg]
