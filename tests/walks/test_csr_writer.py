"""Edges that are sorted on the disk."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.walks import Graph, graphs, open_csr, write_csr

LEAST = 2**20


def equal(a: Graph, b: Graph) -> bool:
    return all(
        (x is None and y is None) or np.array_equal(x, y)  # type: ignore[arg-type]
        for x, y in ((a.indptr, b.indptr), (a.indices, b.indices), (a.weights, b.weights))
    )


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("multi", ["merge", "keep"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("memory", [LEAST, 2**26])
def test_sorted_on_the_disk_as_in_the_memory(
    tmp_path: Path, directed: bool, multi: str, weighted: bool, memory: int
) -> None:
    rng = np.random.default_rng(0)
    n, m = 500, 150_000
    edges = rng.integers(0, n, (m, 2))
    # Sums of multiples of 1/8 are exact in any order.
    weights = rng.integers(1, 50, m) / 8
    cuts = [0, 1, 1, 40_000, 41_000, m]
    blocks = [
        (edges[a:b], weights[a:b]) if weighted else edges[a:b].astype(np.uint32)
        for a, b in itertools.pairwise(cuts)
    ]
    g = write_csr(tmp_path / "g", iter(blocks), n, directed=directed, multi=multi, memory=memory)
    inner = Graph.from_edges(
        edges, n, weights if weighted else None, directed=directed, multi=multi
    )
    if weighted and multi == "keep":
        assert np.array_equal(g.indices, inner.indices)
        assert np.array_equal(g.strengths, inner.strengths)
    else:
        assert equal(g, inner)
    assert g.n_edges == inner.n_edges
    assert g.directed == directed
    assert g.is_symmetric == (not directed)
    assert equal(Graph.open(tmp_path / "g", validate="full"), g)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g"]
    names = {"graph.json", "indices.npy", "indptr.npy"} | ({"weights.npy"} if weighted else set())
    assert {p.name for p in (tmp_path / "g").iterdir()} == names


def test_sums_of_weights_are_the_same_both_ways(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    edges, weights = rng.integers(0, 20, (100_000, 2)), rng.uniform(0, 1, 100_000)
    for block in (7, 1000):
        parts = (
            (edges[i : i + block], weights[i : i + block]) for i in range(0, len(edges), block)
        )
        g = write_csr(tmp_path / "g", parts, memory=LEAST, overwrite=True)
        a = g.to_scipy().toarray()
        assert np.array_equal(a, a.T)


def test_other_forms_of_edges(tmp_path: Path, thread_counts: tuple[int, ...]) -> None:
    edges = np.array([[0, 1], [1, 2], [2, 0], [0, 1]])
    three = np.column_stack([edges, [0.5, 1.0, 2.0, 0.25]])
    np.save(tmp_path / "edges.npy", edges)
    plain, weighted = Graph.from_edges(edges), Graph.from_edges(edges, weights=three[:, 2])

    def made(given: Any, **more: Any) -> Graph:
        return write_csr(tmp_path / "g", given, overwrite=True, **more)

    for given in (edges, edges.tolist(), [edges], tmp_path / "edges.npy", [edges[:1], edges[1:]]):
        assert equal(made(given), plain)
    for given in (three, [three[:3], three[3:]], [(edges, three[:, 2])]):
        assert equal(made(given), weighted)
    for n in thread_counts:
        assert equal(made(edges, plan=fm.Plan(n_threads=n)), plain)
    assert made([], n_nodes=4).degrees.tolist() == [0] * 4
    assert made(edges, n_nodes=6).n_nodes == 6
    assert equal(open_csr(tmp_path / "g"), Graph.from_edges(edges, 6))


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    class Mine(Exception):
        pass

    def broken() -> Any:
        yield np.array([[0, 1]])
        raise Mine("mine")

    pair = np.array([[0, 1]])
    for given, more, error, message in (
        (broken(), {}, Mine, "mine"),
        ([[[0, 1]], [[1, 5]]], {"n_nodes": 5}, ArgumentError, "edge 1 leads from node 1 to node 5"),
        ([[[0, -1]]], {}, ArgumentError, "edge 0"),
        ([[[0, 2**32]]], {}, ArgumentError, "edge 0"),
        ([(pair, [0.0])], {}, ArgumentError, "edge 0, from node 0 to node 1, has the weight 0"),
        ([(pair, [np.nan])], {}, ArgumentError, "weight NaN"),
        ([(pair, [1.0]), pair], {}, ArgumentError, "weights"),
        ([pair, (pair, [1.0])], {}, ArgumentError, "weights"),
        ([(pair, [1.0, 2.0])], {}, ArgumentError, "weights"),
        ([np.array([[0.5, 1.0, 1.0]])], {}, ArgumentError, "whole"),
        ([pair.astype(float)], {}, ArgumentError, "float64"),
        ([np.zeros((2, 4), dtype=int)], {}, ArgumentError, "shape"),
        ([], {}, ArgumentError, "n_nodes"),
        (3, {}, ArgumentError, "int"),
        (tmp_path / "none.npy", {}, ArgumentError, "read"),
        (pair, {"memory": 1000}, ArgumentError, "memory"),
        (pair, {"n_nodes": 2**33}, ArgumentError, "n_nodes"),
        (pair, {"multi": "sum"}, ArgumentError, "multi"),
    ):
        with pytest.raises(error, match=message):
            write_csr(tmp_path / "g", given, **more)  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir()), message
    g = write_csr(tmp_path / "g", pair)
    with pytest.raises(CheckpointError, match="overwrite"):
        write_csr(tmp_path / "g", pair)
    with pytest.raises(Mine):
        write_csr(tmp_path / "g", broken(), overwrite=True)
    assert equal(open_csr(tmp_path / "g"), g)
    with pytest.raises(CheckpointError):
        write_csr(tmp_path / "no" / "g", pair)


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    blocks = graphs.erdos_renyi_edges(50_000, 600_000, rng=0)
    g = write_csr(
        tmp_path / "g", blocks, plan=fm.Plan(progress=lambda *now: seen.append(now)), memory=LEAST
    )
    assert equal(g, graphs.erdos_renyi(50_000, 600_000, rng=0))
    assert all(0 <= done <= total for done, total in seen)
    with pytest.raises(KeyboardInterrupt):
        fm.walks.write_csr(
            tmp_path / "h",
            graphs.erdos_renyi_edges(50_000, 2_000_000, rng=0),
            plan=fm.Plan(progress=interrupt),
            memory=LEAST,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["g"]


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt
