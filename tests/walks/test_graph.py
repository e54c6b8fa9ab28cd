"""Graphs: what they are made of, what is refused, and what is known of them."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

import fermiac as fm
from fermiac._base.folders import facts
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.walks import Graph, as_graph, graphs


def random_matrix(n: int, m: int, seed: int, symmetric: bool = True) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, n, (2, m))
    a = sp.coo_array((rng.uniform(0.5, 2, m), (i, j)), shape=(n, n)).tocsr()
    return (a + a.T).tocsr() if symmetric else a


def same(g: Graph, matrix: Any) -> bool:
    a, b = g.to_scipy(), sp.csr_array(matrix)
    return a.shape == b.shape and (abs(a - b) > 1e-14).nnz == 0


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32, np.uint64])
@pytest.mark.parametrize("weight", [np.float32, np.float64])
def test_arrays_of_a_fitting_type_keep_it(kind: type, weight: type) -> None:
    a = random_matrix(300, 900, 0)
    indptr, indices = a.indptr.astype(np.int64), a.indices.astype(kind)
    weights = a.data.astype(weight)
    g = Graph(indptr, indices, weights)
    assert g.weights is not None
    assert g.weights.dtype == weight
    assert g.indices.dtype == np.dtype(f"u{indices.itemsize}")
    for array in (g.indptr, g.indices, g.weights, g.degrees, g.strengths):
        assert not array.flags.writeable
    assert indices.flags.writeable  # the user's own stays as it was
    assert np.array_equal(g.degrees, np.diff(a.indptr))
    assert np.allclose(g.strengths, a.sum(axis=1))
    assert len(g) == g.n_nodes == 300


def test_a_graph_does_not_change() -> None:
    g = graphs.cycle(5)
    with pytest.raises(AttributeError, match="does not change"):
        g.directed = True
    with pytest.raises(AttributeError, match="does not change"):
        g.degrees = np.zeros(5)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        g.indices[0] = 1


@pytest.mark.parametrize("locked", [False, True])
def test_nobody_can_write_the_arrays_of_a_graph(locked: bool) -> None:
    cycle = graphs.cycle(50)
    given = [np.array(a) for a in (cycle.indptr, cycle.indices, np.full(100, 2.0))]
    # The owner of a locked array can unlock it.
    handed = [a.view() for a in given]
    for array in handed:
        array.flags.writeable = not locked
    g = Graph(*handed)
    for array in given:
        array.view(np.uint8)[:] = 255
    assert same(g, 2 * cycle.to_scipy())
    assert g.is_symmetric
    assert g.is_connected
    assert g.weights is not None
    # Nor can the arrays that it shows, with all that they are views of, be unlocked.
    for shown in (g.indptr, g.indices, g.weights, cycle.indptr, cycle.indices):
        array: Any = shown
        while isinstance(array, np.ndarray):
            with pytest.raises(ValueError, match="cannot set WRITEABLE"):
                array.flags.writeable = True
            array = array.base


def test_arrays_of_a_graph_are_shared_with_graphs_made_of_them() -> None:
    g = graphs.barabasi_albert(100, 3, rng=0)
    h = Graph(g.indptr, g.indices)
    assert np.shares_memory(g.indptr, h.indptr)
    assert np.shares_memory(g.indices, h.indices)
    del g
    assert h.is_connected


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_matrices_of_every_format(form: str, kind: str) -> None:
    a = random_matrix(60, 150, 1)
    matrix = getattr(sp, f"{form}_{kind}")(a.toarray())
    g = as_graph(matrix)
    assert same(g, a)
    assert not g.directed
    assert g.n_edges == sp.triu(a).nnz


def test_matrices_of_other_numbers() -> None:
    ring = nx.to_scipy_sparse_array(nx.cycle_graph(7))
    for kind in (bool, np.int8, np.uint16, np.int64, np.float32, np.float64):
        g = as_graph(ring.astype(kind))
        assert g.weights is None
        assert g.n_edges == 7
    assert as_graph(2 * ring).weights is not None
    wide = ring.astype(float)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert same(as_graph(wide), ring)
    for wrong in (ring.astype(complex), ring[:3]):
        with pytest.raises(ArgumentError, match="matrix"):
            as_graph(wrong)


def test_directions_are_seen_from_the_matrix() -> None:
    a = random_matrix(50, 200, 2, symmetric=False)
    g = as_graph(a)
    assert g.directed
    assert same(g, a)
    assert not g.is_symmetric
    with pytest.raises(ArgumentError, match="directed=True"):
        Graph.from_scipy(a, directed=False)
    b = random_matrix(50, 200, 2)
    assert Graph.from_scipy(b, directed=True).directed
    assert Graph.from_scipy(b, directed=False).is_symmetric


def test_entries_that_are_repeated_are_summed() -> None:
    a = sp.csr_array(
        (np.array([1.0, 2.0, 3.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2)
    )
    before = a.copy()
    g = as_graph(a)
    assert g.weights is not None
    assert g.weights.tolist() == [3.0, 3.0]
    assert a.nnz == before.nnz == 3


def test_entries_that_are_zero_are_refused() -> None:
    a = sp.csr_array((np.array([0.0, 0.0]), np.array([1, 0]), np.array([0, 1, 2])), shape=(2, 2))
    with pytest.raises(ArgumentError, match=r"from node 0 to node 1 .* weight 0"):
        as_graph(a)


@pytest.mark.parametrize("cls", [nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph])
@pytest.mark.parametrize("weight", ["weight", None])
def test_networkx(cls: Any, weight: str | None) -> None:
    rng = np.random.default_rng(3)
    h = cls()
    h.add_nodes_from("gfedcba")
    h.add_node(("a", 1))
    for i, j in rng.integers(0, 7, (15, 2)):
        h.add_edge("abcdefg"[i], "abcdefg"[j], weight=float(rng.uniform(0.5, 2)))
    h.add_edge("a", ("a", 1))  # without a weight: 1
    g = Graph.from_networkx(h, weight)
    assert g.labels == tuple(h.nodes)
    assert g.directed == h.is_directed()
    assert g.index("e") == 2
    a = sp.csr_array(nx.to_scipy_sparse_array(h, weight="weight", dtype=float))
    assert same(g, a if weight else a != 0)
    assert g.n_edges == (a.nnz if g.directed else sp.triu(a).nnz)
    with pytest.raises(ArgumentError, match="'z'"):
        g.index("z")


def test_networkx_without_names_or_weights() -> None:
    h = nx.karate_club_graph()
    assert as_graph(h).labels is None
    assert as_graph(h).weights is not None
    assert Graph.from_networkx(h, None).weights is None
    assert as_graph(nx.petersen_graph()).weights is None
    assert as_graph(nx.MultiGraph([(0, 1), (0, 1), (1, 2)])).to_scipy().toarray()[0, 1] == 2
    with pytest.raises(ArgumentError, match="no nodes"):
        as_graph(nx.Graph())
    h.edges[0, 1]["weight"] = -1
    with pytest.raises(ArgumentError, match="from node 0 to node 1, has the weight -1"):
        as_graph(h)


def igraph_like(names: list[str] | None, weights: list[float] | None) -> Any:
    class Attributes(dict[str, Any]):
        def attributes(self) -> list[str]:
            return list(self)

    return SimpleNamespace(
        vcount=lambda: 4,
        get_edgelist=lambda: [(0, 1), (2, 1), (3, 3)],
        is_directed=lambda: False,
        es=Attributes({} if weights is None else {"weight": weights}),
        vs=Attributes({} if names is None else {"name": names}),
    )


def test_igraph() -> None:
    g = as_graph(igraph_like(["w", "x", "y", "z"], [1.0, 2.0, 4.0]))
    assert g.labels == ("w", "x", "y", "z")
    assert g.to_scipy().toarray().tolist() == [
        [0, 1, 0, 0],
        [1, 0, 2, 0],
        [0, 2, 0, 0],
        [0, 0, 0, 4],
    ]
    g = as_graph(igraph_like(["w", "w", "y", "z"], None))
    assert g.labels is None
    assert g.weights is None
    assert (g.n_edges, g.n_nodes) == (3, 4)


def test_igraph_itself() -> None:
    igraph = pytest.importorskip("igraph")
    h = igraph.Graph.Famous("Zachary")
    h.es["weight"] = [0.5 + i for i in range(78)]
    assert same(as_graph(h), np.array(h.get_adjacency(attribute="weight").data))
    h = igraph.Graph([(0, 1), (1, 2), (0, 1)], directed=True)
    h.vs["name"] = ["a", "b", "c"]
    g = as_graph(h)
    assert g.labels == ("a", "b", "c")
    assert g.directed
    assert g.to_scipy().toarray()[0, 1] == 2


def test_other_forms(tmp_path: Any) -> None:
    g = graphs.petersen()
    assert as_graph(g) is g
    assert same(as_graph((g.indptr, g.indices)), g.to_scipy())
    weights = np.full(30, 2.0)
    assert same(as_graph((g.indptr, g.indices, weights)), 2 * g.to_scipy())
    edges = [(i, j) for i in range(10) for j in g.neighbors(i).tolist()]
    assert same(as_graph(edges), g.to_scipy())  # both ways are one edge
    assert same(as_graph(np.array(edges, dtype=np.int16)), g.to_scipy())
    g.save(tmp_path / "g")
    assert same(as_graph(tmp_path / "g"), g.to_scipy())
    assert same(as_graph(str(tmp_path / "g")), g.to_scipy())
    for wrong in (3, None, np.ones((3, 3)), [[0.0, 1.0]], [[True, False]], {0: [1]}):
        with pytest.raises(ArgumentError, match="graph"):
            as_graph(wrong)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("kind", [np.uint32, np.int64])
def test_edges_beside_scipy(directed: bool, kind: type) -> None:
    rng = np.random.default_rng(4)
    n, m = 400, 3000
    edges = rng.integers(0, n, (m, 2)).astype(kind)
    weights = rng.integers(1, 9, m) / 4
    a = sp.coo_array((weights, tuple(edges.astype(int).T)), shape=(n, n))
    if not directed:
        off = edges[:, 0] != edges[:, 1]
        a = a + sp.coo_array((weights[off], tuple(edges[off, ::-1].astype(int).T)), shape=(n, n))
    g = Graph.from_edges(edges, n, weights, directed=directed)
    assert same(g, a)
    assert g.is_symmetric == (not directed)
    a = a.tocsr()
    assert g.n_edges == (a.nnz if directed else sp.triu(a).nnz)
    assert all(np.all(np.diff(g.neighbors(i).astype(int)) > 0) for i in range(n))
    assert same(Graph.from_edges(edges, n, directed=directed), a != 0)
    kept = Graph.from_edges(edges, n, weights, directed=directed, multi="keep")
    assert same(kept, a)
    assert kept.n_edges == m
    assert kept.is_symmetric == (not directed)
    for one, other in zip(
        (g.indptr, g.indices, g.weights),
        _with_threads(1, lambda: Graph.from_edges(edges, n, weights, directed=directed)),
        strict=True,
    ):
        assert np.array_equal(one, other)  # type: ignore[arg-type]


def _with_threads(n: int, make: Any) -> tuple[Any, Any, Any]:
    fm.set_num_threads(n)
    try:
        g = make()
        return g.indptr, g.indices, g.weights
    finally:
        fm.set_num_threads(None)


def test_a_loop_counts_once() -> None:
    g = Graph.from_edges([(0, 0), (0, 1)], weights=[2.0, 3.0])
    assert g.degrees.tolist() == [2, 1]
    assert g.strengths.tolist() == [5.0, 3.0]
    assert g.n_edges == 2
    assert same(g, [[2.0, 3.0], [3.0, 0.0]])


BAD = [
    (([0], []), "without nodes"),
    (([], []), "without nodes"),
    (([0, 2, 1, 2], [0, 1]), "2 to 1 at node 1"),
    (([0, -1, 2], [0, 1]), "0 to -1 at node 0"),
    (([0, 3], [0, 0]), r"0 to 3; 0 to 2"),
    (([1, 2], [0, 0]), r"1 to 2; 0 to 2"),
    (([0, 1, 2], [1, 2]), r"from node 1 to node 2; .*0 to 1"),
    (([0, 1, 2], [1, -1]), r"from node 1 to node -1; .*0 to 1"),
    (([0, 1, 2], np.array([1, -1], dtype=np.int8)), "from node 1 to node -1"),
    (([0, 1, 2], np.array([1, 2**63], dtype=np.uint64)), f"from node 1 to node {2**63};"),
    (([0.0, 1.0], [0]), "float64"),
    (([0, 1], [0.0]), "float64"),
    (([0, 1], [True]), "bool"),
    (([0, 1], [None]), "object"),
    (([0, 1], "0"), "'0'"),
    (([0, 1], [[0]]), "shape"),
    (([0, 1], [0], [1.0, 2.0]), "2 given for 1"),
    (([0, 1], [0], ["a"]), "real numbers"),
    (([0, 1], [0], [True]), "real numbers"),
    (([0, 1, 2], [1, 0], [1.0, 1.5]), "weight 1, and that back 1.5"),
    (([0, 1, 1], [1]), "from node 0 to node 1, and none back"),
    (([0, 0, 1], [0]), "from node 1 to node 0, and none back"),
    *(
        (
            ([0, 1, 2], [1, 0], [1.0, float(w)]),
            rf"from node 1 to node 0 \(place 1\) has the weight {w}",
        )
        for w in (0, -1, "NaN", np.inf)
    ),
]


@pytest.mark.parametrize(("arrays", "message"), BAD)
def test_what_is_no_graph_is_refused(arrays: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Graph(*arrays)


def test_a_look_at_a_sample_finds_what_is_everywhere() -> None:
    n = 20_000
    indptr, ring = np.arange(n + 1), np.roll(np.arange(n), 1)
    with pytest.raises(ArgumentError, match="weights"):
        Graph(indptr, ring, np.zeros(n), directed=True, validate="sample")
    with pytest.raises(ArgumentError, match="indices"):
        Graph(indptr, ring + n, directed=True, validate="sample")
    g = Graph(indptr, ring + n, directed=True, validate="none")
    for name in ("asymmetry", "components", "strong_components"):
        with pytest.raises(ArgumentError, match="indices"):
            getattr(g, name)
    with pytest.raises(ArgumentError, match="validate"):
        Graph(indptr, ring, validate="some")


def test_edges_that_are_none_are_refused() -> None:
    for edges, more, message in (
        ([(0, 1), (2, 3)], {"n_nodes": 3}, "edge 1 leads from node 2 to node 3"),
        ([(0, 1), (-1, 3)], {}, r"edge 1 is \[-1, 3\]"),
        ([(0.0, 1.0)], {}, "float64"),
        ([(0, 1, 2)], {}, "shape"),
        ([], {}, "n_nodes"),
        ([(0, 1)], {"n_nodes": 0}, "n_nodes"),
        ([(0, 1)], {"n_nodes": True}, "n_nodes"),
        ([(0, 1)], {"n_nodes": 2**61}, "memory"),
        ([(0, 1)], {"weights": [1.0, 2.0]}, "weights"),
        ([(0, 1), (1, 2)], {"weights": [1.0, -2.0]}, "edge 1, from node 1 to node 2"),
        ([(0, 1)], {"multi": "sum"}, "multi"),
        ([(0, 1)], {"labels": ["a"]}, "labels"),
        ([(0, 1)], {"labels": ["a", "a"]}, "labels"),
    ):
        with pytest.raises(ArgumentError, match=message):
            Graph.from_edges(edges, **more)  # type: ignore[arg-type]
    assert Graph.from_edges([], 3).degrees.tolist() == [0, 0, 0]


def brute_one_way(a: np.ndarray) -> set[tuple[int, int]]:
    scale = np.maximum(abs(a), abs(a.T))
    return set(map(tuple, np.argwhere(abs(a - a.T) > 1e-9 * scale).tolist()))


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_edge_that_differs_is_one_that_does(shuffled: bool) -> None:
    rng = np.random.default_rng(5)
    for trial in range(200):
        n = int(rng.integers(2, 9))
        a = rng.integers(0, 3, (n, n)) * (rng.random((n, n)) < 0.5)
        a = a + a.T
        for _ in range(int(rng.integers(0, 3))):
            i, j = rng.integers(0, n, 2)
            a[i, j] = rng.integers(0, 5)
        m = sp.csr_array(a.astype(float))
        if shuffled:
            for i in range(n):
                row = slice(m.indptr[i], m.indptr[i + 1])
                order = rng.permutation(row.stop - row.start)
                m.indices[row], m.data[row] = m.indices[row][order], m.data[row][order]
        g = Graph(m.indptr, m.indices, m.data, directed=True)
        found, differ = g.asymmetry, brute_one_way(a)
        assert (found is None) == (not differ), trial
        if found is not None:
            assert found[:2] in differ
            assert found[2:] == (a[found[0], found[1]], a[found[1], found[0]])


def test_rounding_is_no_asymmetry() -> None:
    weights = np.array([0.1 + 0.2, 0.3])
    assert weights[0] != weights[1]
    assert Graph([0, 1, 2], [1, 0], weights).is_symmetric


@pytest.mark.parametrize("m", [30, 60, 120])
def test_components_beside_scipy(m: int) -> None:
    for seed in range(10):
        a = random_matrix(100, m, seed, symmetric=False)
        g = Graph.from_scipy(a, directed=True)
        for strong in (False, True):
            n, labels = connected_components(
                a, directed=True, connection="strong" if strong else "weak"
            )
            ours = g.strong_components if strong else g.components
            assert len(ours.sizes) == n
            # The same partition: pairs of labels are as many as the components.
            assert len(set(zip(labels, ours.labels.tolist(), strict=True))) == n
            assert np.array_equal(np.bincount(ours.labels), ours.sizes)
            first = [int(np.flatnonzero(ours.labels == i)[0]) for i in range(n)]
            assert first == sorted(first)
        h = nx.from_scipy_sparse_array(a + a.T)
        u = as_graph(h)
        for part, label in (
            (h.subgraph(c), u.components.labels[min(c)]) for c in nx.connected_components(h)
        ):
            assert u.components.bipartite[label] == nx.is_bipartite(part)
        assert u.is_bipartite == nx.is_bipartite(h)
        assert u.is_connected == nx.is_connected(h)


def test_graphs_are_pickled_and_opened(tmp_path: Any) -> None:
    g = Graph.from_edges([(0, 1), (1, 2)], weights=[1.0, 2.0], labels=["a", "b", "c"])
    again = pickle.loads(pickle.dumps(g))
    assert same(again, g.to_scipy())
    assert again.labels == g.labels
    assert again.is_symmetric
    g.save(tmp_path / "g")
    opened = Graph.open(tmp_path / "g", validate="full")
    assert same(opened, g.to_scipy())
    assert opened.n_edges == 2
    data = pickle.dumps(opened)
    assert len(data) < 300 + len(str(tmp_path))
    assert same(pickle.loads(data), g.to_scipy())
    assert repr(opened).count("\n") < 3
    with pytest.raises(CheckpointError, match="overwrite"):
        g.save(tmp_path / "g")
    graphs.cycle(4).save(tmp_path / "g", overwrite=True)
    assert Graph.open(tmp_path / "g").n_nodes == 4
    assert [path.name for path in tmp_path.iterdir()] == ["g"]
    (tmp_path / "other").mkdir()
    with pytest.raises(CheckpointError, match="no graph"):
        g.save(tmp_path / "other", overwrite=True)
    with pytest.raises(CheckpointError, match="no graph"):
        Graph.open(tmp_path / "other")
    np.save(tmp_path / "g" / "indices.npy", np.zeros(3, dtype=np.uint32))
    with pytest.raises(CheckpointError, match="indices"):
        Graph.open(tmp_path / "g")
    np.save(tmp_path / "g" / "indices.npy", np.full(8, 9, dtype=np.uint32))
    with pytest.raises(CheckpointError, match="digest does not fit"):
        Graph.open(tmp_path / "g")
    # Whoever changes a file may make its digest right again.
    meta = json.loads((tmp_path / "g" / "graph.json").read_text())
    meta["files"] = facts(tmp_path / "g", ["indptr", "indices"])
    (tmp_path / "g" / "graph.json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="node 9"):
        Graph.open(tmp_path / "g")


def test_mapped_arrays_are_not_copied(tmp_path: Any) -> None:
    g = graphs.barabasi_albert(1000, 3, rng=0)
    np.save(tmp_path / "i.npy", g.indices)
    mapped = np.load(tmp_path / "i.npy", mmap_mode="r")
    h = Graph(g.indptr, mapped)
    assert np.shares_memory(h.indices, mapped)
    assert same(h, g.to_scipy())
    for mode in ("c", "r+"):  # these can be written
        mapped = np.load(tmp_path / "i.npy", mmap_mode=mode)
        mapped.flags.writeable = False
        assert not np.shares_memory(Graph(g.indptr, mapped).indices, mapped)


# What walks ask


def test_where_walks_may_go() -> None:
    g = graphs.petersen()
    assert g._check_walkable() == (None, [])
    two = Graph.from_edges([(0, 1), (1, 2), (3, 4)], 6)
    with pytest.raises(ArgumentError, match=r"2 components of 3, 2 nodes.*component="):
        two._check_walkable()
    allowed, notes = two._check_walkable(component="largest")
    assert allowed is not None
    assert allowed.tolist() == [True, True, True, False, False, False]
    assert not notes
    allowed, _ = two._check_walkable(np.array([4, 3]), "start")
    assert allowed is not None
    assert allowed.tolist() == [False, False, False, True, True, False]
    for start, component, message in (
        ([5], "start", "node 5 has no edge"),
        ([0, 3], "start", "node 3 is not in the component of 3 nodes"),
        ([3], "largest", "node 3 is not in the component of 3 nodes"),
        (None, "start", "needs the nodes"),
        (None, "all", "component"),
    ):
        with pytest.raises(ArgumentError, match=message):
            two._check_walkable(None if start is None else np.array(start), component)
    alone = Graph.from_edges([(0, 1), (1, 2)], 4)
    allowed, notes = alone._check_walkable()
    assert allowed is not None
    assert allowed.tolist() == [True, True, True, False]
    assert "node 3 has no edges" in notes[0]
    with pytest.raises(ArgumentError, match="no edges"):
        Graph.from_edges([], 2)._check_walkable()
    assert Graph.from_edges([(0, 0)])._check_walkable() == (None, [])
    assert not Graph.from_edges([(0, 0)]).is_bipartite


def test_where_arcs_end() -> None:
    g = Graph.from_edges([(0, 1), (1, 2), (0, 3)], directed=True)
    with pytest.raises(ArgumentError, match=r"no arc leaves node 2 \(and 1 others\)"):
        g._check_walkable()
    assert g._check_walkable(on_stuck="stop") == (None, [])
    with pytest.raises(ArgumentError, match="from node 0 to node 1, and none back; so there"):
        g._require_symmetric("so there")
    graphs.cycle(3)._require_symmetric("never")


def test_queries_are_checked() -> None:
    g = graphs.star(3)
    assert g.neighbors(0).tolist() == [1, 2, 3]
    assert g.index(2) == 2
    for node in (4, -1, True, 1.0):
        with pytest.raises(ArgumentError):
            g.neighbors(node)  # type: ignore[arg-type]
    assert repr(g) == "Graph: 4 nodes, 3 edges, undirected, without weights"
    loose = Graph(g.indptr, g.indices, validate="none")
    assert "6 entries" in repr(loose)
    assert loose.n_edges == 3
