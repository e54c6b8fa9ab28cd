"""Hostile arguments of `fermiac.walks`: refused by name, before anything is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, MemoryLimitError, TargetError

W = fm.walks
RING = W.graphs.cycle(12)
LOSS = W.Quadratic(1.0, np.arange(12.0))
EDGES = np.array([[0, 1], [1, 2]])
MASKED = np.ma.masked_array(np.arange(12), np.arange(12) == 3)
FLAGS = np.ma.masked_array(np.ones(12, bool), np.arange(12) == 3)


def walk(**how: Any) -> Any:
    return W.walk(RING, **{"n_steps": 20, "n_walkers": 8, "rng": 0, **how})


def optimize(**how: Any) -> Any:
    return W.optimize(LOSS, RING, **{"n_steps": 20, "n_tokens": 3, **how})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: walk(init=MASKED[:8]), "init"),
        (lambda: walk(f=FLAGS), "f"),
        (lambda: walk(plan=fm.Plan(n_threads=np.array([2]))), "n_threads"),
        (lambda: walk().expect(np.ones(12), include_prior="yes"), "include_prior"),
        (lambda: walk().expect(np.ones(12), names=3), "names"),
        (lambda: W.StopAtStderr(stderr=1.0, relative="no"), "relative"),
        (lambda: next(W.corpus(RING, 5, init=MASKED)), "init"),
        (lambda: LOSS.value(np.zeros((2, 1)), ["0", "1"]), "nodes"),
        (lambda: LOSS.value(np.broadcast_to(0.0, (2, 1, 10**14)), [0, 1]), "theta, nodes"),
        (lambda: LOSS.value(np.zeros((2, 1)), [0, 12]), "nodes"),
        (lambda: optimize(callback="print"), "callback"),
        (lambda: optimize(momentum=[0.1, 0.2]), "momentum"),
        (lambda: optimize().distance("x"), "optimum"),
        (lambda: W.LeastSquares([[1.0]], [1.0], [0], ridge=[0.1, 0.2]), "ridge"),
        (lambda: W.as_graph(np.ma.masked_array(EDGES, EDGES > 1)), "graph"),
        (lambda: W.as_graph([[0, 1], [2]]), "graph"),
        (lambda: W.Graph.from_edges(EDGES, directed="no"), "directed"),
        (lambda: W.Graph.from_scipy(scipy.sparse.eye_array(2), directed="no"), "directed"),
        (lambda: W.Graph.from_edges(EDGES, labels=3), "labels"),
        (lambda: W.Graph.from_networkx(None), "graph"),
        (lambda: W.Graph.from_igraph(None), "graph"),
        (lambda: W.graphs.erdos_renyi(5, 3, directed="no"), "directed"),
        (lambda: W.graphs.stochastic_block([2], [[0.5]], directed="no"), "directed"),
        (lambda: W.graphs.watts_strogatz(9, 2, [0.1, 0.2]), "p"),
        (lambda: W.graphs.rmat(3, 2, a=[0.1, 0.2]), "a"),
        (lambda: W.graphs.rmat(3, [2, 3]), "edge_factor"),
        (lambda: W.graphs.grid((3, 3), periodic=1), "periodic"),
        (lambda: W.Crawler(RING.neighbors, init=0).restore(None), "state"),
        (lambda: W.Crawler(RING.neighbors, init=0).restore(np.zeros(3)), "state"),
        (lambda: W.Crawler(RING.neighbors, base="mhrw", weights=np.ones(3), init=0), "weights"),
    ],
)
def test_what_is_refused(call: Callable[[], Any], name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{name}: "):
        call()


@pytest.mark.parametrize("given", [np.ma.masked_array(EDGES, EDGES > 1), [[0, 1], [2]]])
def test_write_csr_takes_no_guesses(given: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^edges: "):
        W.write_csr(tmp_path / "graph", given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "call",
    [
        lambda: W.asymptotic_variance(RING, lambda nodes: nodes.astype(str)),
        lambda: W.asymptotic_variance(RING, lambda nodes: nodes * 1j),
        lambda: walk().expect(lambda nodes: np.ma.masked_array(nodes, nodes == 3)),
        lambda: walk().expect(lambda nodes: [[1]] * 2 + [[1, 2]] * (len(nodes) - 2)),
        lambda: optimize(objective=lambda theta: ["a"] * len(theta)),
        lambda: W.Crawler(lambda nodes: None, init=0).run(3),
        lambda: W.Crawler(lambda nodes: [MASKED] * len(nodes), init=0).run(3),
    ],
)
def test_what_functions_must_not_give(call: Callable[[], Any]) -> None:
    with pytest.raises(TargetError):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: walk(n_walkers=2**39, init=0),
        lambda: walk(n_steps=2**31, block_size=2**31, on_block=print, record="none", n_walkers=99),
        lambda: next(W.corpus(W.graphs.cycle(2000), 2**31, part_size=2000)),
        lambda: optimize(n_steps=2**31, record_every=1, n_tokens=1000),
        lambda: W.optimize(lambda theta, nodes: theta, RING, dim=2**31, n_tokens=1000),
    ],
)
def test_memory_is_refused_before_the_run(call: Callable[[], Any]) -> None:
    with pytest.raises(MemoryLimitError, match="bytes"):
        call()


def test_rows_that_nobody_looked_at_lead_nowhere() -> None:
    wrong = W.Graph([0, 1, 3, 4], [5, 0, 2**31, 1], validate="none")
    for call in (wrong.to_scipy, lambda: W.asymptotic_variance(wrong, np.ones(3))):
        with pytest.raises(ArgumentError, match="leads from node 0 to node 5"):
            call()


def test_weights_that_add_up_to_infinity() -> None:
    g = W.Graph([0, 1, 3, 4], [1, 0, 2, 1], np.full(4, 1.7e308))
    with pytest.raises(ArgumentError, match="add up to infinity"):
        W.walk(g, "none", "weighted", n_steps=10, rng=0)


def test_an_empty_array_on_the_disk(tmp_path: Path) -> None:
    RING.save(tmp_path / "g")
    (tmp_path / "g" / "indices.npy").write_bytes(b"")
    with pytest.raises(CheckpointError, match="0 bytes of"):
        W.Graph.open(tmp_path / "g")
