"""Labels of nodes: in arguments, in functions of the nodes, in results and in their files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.walks import Graph, as_graph, asymptotic_variance, corpus, extend, walk

#: A triangle a, b, c and a tail d.
EDGES = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]
NAMED = Graph.from_edges(EDGES)
BARE = Graph.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)])
VALUES = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0}
ARRAY = np.array([1.0, 2.0, 4.0, 8.0])
#: Whole numbers that are no numbers of their nodes.
SHUFFLED = Graph.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)], labels=[3, 0, 10, 1])


def run(graph: Any = NAMED, **how: Any) -> fm.walks.WalkResult:
    return walk(graph, "none", **{"base": "mhrw", "n_steps": 500, "n_walkers": 16, "rng": 1} | how)


def same(one: fm.Estimate, other: fm.Estimate) -> bool:
    return bool(one.mean == other.mean and one.stderr == other.stderr)


# --- Graphs ---


def test_named_edges_number_their_ends_as_they_appear() -> None:
    assert NAMED.labels == ("a", "b", "c", "d")
    assert np.array_equal(NAMED.indptr, BARE.indptr)
    assert np.array_equal(NAMED.indices, BARE.indices)
    assert as_graph(EDGES).labels == as_graph(np.array(EDGES)).labels == NAMED.labels


def test_names_beside_numbers_stay_what_they_are() -> None:
    g = Graph.from_edges([("a", 1), (1, "1")])
    assert g.labels == ("a", 1, "1")


def test_named_edges_with_all_names() -> None:
    g = Graph.from_edges([("b", "a")], labels=["a", "lonely", "b"])
    assert g.labels == ("a", "lonely", "b")
    assert g.degrees.tolist() == [1, 0, 1]
    assert Graph.from_edges(EDGES, n_nodes=4).labels == NAMED.labels


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"n_nodes": 5}, "n_nodes: 5 was given for edges between 4 names"),
        ({"n_nodes": "x"}, "n_nodes"),
        ({"labels": ["a", "b", "c"]}, "edges: no node is called 'd'"),
        ({"labels": 3}, "labels: 3 was given"),
        ({"labels": map(float, "x")}, "labels: "),
        ({"labels": "abcd"}, "labels: one text"),
        ({"labels": ["a", "a", "b", "c", "d"]}, "two nodes have the same name"),
        ({"labels": [["a"], "b"]}, "hashable"),
    ],
)
def test_named_edges_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Graph.from_edges(EDGES, **how)


@pytest.mark.parametrize("edges", [[("a", None)], [("a", float("nan"))]])
def test_missing_ends_are_refused(edges: list[Any]) -> None:
    with pytest.raises(ArgumentError, match="without two ends"):
        Graph.from_edges(np.array(edges, dtype=object))


@pytest.mark.parametrize("end", [0.5, 1j, np.datetime64("2020-01-01"), np.float32(2.0)])
def test_ends_that_are_no_names(end: Any) -> None:
    with pytest.raises(ArgumentError, match="names of nodes, or whole numbers"):
        as_graph(np.array([["a", end]], dtype=object))


@pytest.mark.parametrize("edges", [["ab", "cd"], [("a", "b", "c")], [(0.5, 1.0)], [("a",)]])
def test_edges_of_another_form_are_refused(edges: Any) -> None:
    with pytest.raises(ArgumentError):
        Graph.from_edges(edges)
    with pytest.raises(ArgumentError):
        as_graph(edges)


def test_arrays_of_labels() -> None:
    assert NAMED.nodes.dtype == object
    assert NAMED.nodes.tolist() == ["a", "b", "c", "d"]
    assert SHUFFLED.nodes.dtype == np.int64
    assert BARE.nodes.tolist() == [0, 1, 2, 3]
    pairs = Graph.from_edges([(0, 1), (1, 2)], labels=[(0, 0), (0, 1), (1, 1)])
    assert pairs.nodes.shape == (3,)
    assert pairs.nodes[1] == (0, 1)
    huge = Graph.from_edges([(0, 1)], labels=[2**70, 1])
    assert huge.nodes.tolist() == [2**70, 1]
    with pytest.raises(ValueError, match="read-only"):
        NAMED.nodes[0] = "z"


def test_index_suggests() -> None:
    g = Graph.from_edges([("Milan", "Turin")])
    with pytest.raises(ArgumentError, match=r"called 'Milano'; did you mean 'Milan'\?"):
        g.index("Milano")


# --- First nodes ---


@pytest.mark.parametrize(
    ("graph", "init", "numbers"),
    [
        (NAMED, "d", [3]),
        (NAMED, ["d", "a"], [3, 0]),
        (NAMED, ("d", "a"), [3, 0]),
        (NAMED, np.array(["d", "a"]), [3, 0]),
        (NAMED, np.array(["d", "a"], dtype=object), [3, 0]),
        (NAMED, 2, [2]),  # by number, as no label is a number
        (NAMED, np.array([2, 1]), [2, 1]),
        (NAMED, ["d", 1], [3, 1]),
        (SHUFFLED, 3, [0]),
        (SHUFFLED, [10, 1], [2, 3]),
        (SHUFFLED, np.array([10, 1]), [2, 3]),
        (BARE, 3, [3]),
    ],
)
def test_first_nodes_by_label(graph: Graph, init: Any, numbers: list[int]) -> None:
    w = run(graph, init=init, n_walkers=2, record="path", n_steps=5)
    other = run(BARE, init=numbers, n_walkers=2, record="path", n_steps=5)
    assert np.array_equal(w.paths, other.paths)


def test_a_tuple_may_be_a_label() -> None:
    g = Graph.from_edges([(0, 1), (1, 2)], labels=[(0, 0), (0, 1), (1, 1)])
    for init, numbers in (((0, 1), [1]), ([(0, 1), (1, 1)], [1, 2])):
        w = run(g, init=init, n_walkers=2, record="path", n_steps=5)
        other = run([(0, 1), (1, 2)], init=numbers, n_walkers=2, record="path", n_steps=5)
        assert np.array_equal(w.paths, other.paths)


@pytest.mark.parametrize(
    ("graph", "init"),
    [
        (NAMED, "e"),
        (NAMED, ["a", "e"]),
        (NAMED, [["a"]]),
        (NAMED, [[0, 1]]),
        (NAMED, []),
        (NAMED, 4),
        (NAMED, 1.5),
        (SHUFFLED, 2),
        (SHUFFLED, [2, 3]),
        (SHUFFLED, {3: 1}),
    ],
)
def test_first_nodes_that_there_are_not(graph: Graph, init: Any) -> None:
    with pytest.raises(ArgumentError, match="init"):
        run(graph, init=init, n_walkers=2)


def test_tokens_and_a_corpus_start_by_label() -> None:
    loss = fm.walks.Quadratic(np.ones((4, 1, 1)), np.arange(4.0)[:, None])
    first = {"alpha": 1.0, "n_steps": 5, "rng": 0}
    one = fm.walks.optimize(loss, NAMED, init_nodes=["d"], **first)
    other = fm.walks.optimize(loss, BARE, init_nodes=[3], **first)
    assert np.array_equal(one.theta, other.theta)
    part = next(corpus(NAMED, length=3, n_repeats=1, init=["d"], rng=0))
    assert NAMED.nodes[part][0, :2].tolist() == ["d", "c"]
    with pytest.raises(ArgumentError, match="no node is called 'x'"):
        corpus(NAMED, init=["x"])


# --- Functions of the nodes ---


def test_callables_take_labels() -> None:
    w = run()
    asked: list[Any] = []

    def f(nodes: Any) -> Any:
        asked.extend(nodes)
        return np.array([VALUES[node] for node in nodes])

    assert same(w.expect(f), w.expect(ARRAY))
    assert sorted(asked) == ["a", "b", "c", "d"]
    assert same(run(SHUFFLED).expect(lambda nodes: nodes), w.expect(np.array([3, 0, 10, 1.0])))


def test_mappings_are_functions() -> None:
    w = run()
    assert same(w.expect(VALUES), w.expect(ARRAY))
    assert same(w.expect(Counter({"a": 1, "b": 2, "c": 4, "d": 8})), w.expect(ARRAY))
    assert same(w.expect(VALUES, under=VALUES), w.expect(ARRAY, under=ARRAY))
    rows = {name: [value, -value] for name, value in VALUES.items()}
    assert w.expect(rows).mean.shape == (2,)
    assert w.stderr(VALUES) == w.stderr(ARRAY)
    assert w.stderr(VALUES, "theory") == w.stderr(ARRAY, "theory")
    # Without labels the nodes are numbers.
    assert same(run(BARE).expect(dict(enumerate(ARRAY))), w.expect(ARRAY))


def test_mappings_in_all_places() -> None:
    def bits(graph: Graph, given: Any) -> Any:
        w = walk(
            graph, "hdt", weights=given, f=given, pseudo_counts=given, n_steps=2000, n_walkers=8,
            rng=2,
        )  # fmt: skip
        return w.visits.tolist(), float(w.expect().mean)

    assert bits(NAMED, VALUES) == bits(BARE, ARRAY)
    assert asymptotic_variance(NAMED, VALUES) == asymptotic_variance(BARE, ARRAY)
    assert asymptotic_variance(NAMED, VALUES, weights=VALUES) == asymptotic_variance(
        BARE, ARRAY, weights=ARRAY
    )


def test_values_that_are_missing() -> None:
    with pytest.raises(ArgumentError, match="f: there is no value for the node 'd'"):
        run().expect({"a": 1.0, "b": 2.0, "c": 3.0})
    with pytest.raises(ArgumentError, match="weights: there is no value for the node 'b'"):
        run(weights={"a": 1.0})
    with pytest.raises(TargetError, match="at node 'c'"):
        run().expect({**VALUES, "c": float("nan")})
    with pytest.raises(ArgumentError, match="weights: 0 was given at node 'c'"):
        run(weights={**VALUES, "c": 0.0})
    with pytest.raises(TargetError, match="must hold numbers"):
        run().expect(dict.fromkeys("abcd", "text"))


def test_a_function_of_one_node_is_told_what_to_do() -> None:
    with pytest.raises(TypeError) as caught:
        run().expect(lambda node: VALUES[node])
    assert "a mapping from nodes" in caught.value.__notes__[0]
    w = run()
    assert same(w.expect(np.vectorize(lambda node: VALUES[node])), w.expect(ARRAY))


def test_figures_of_degrees_do_not_depend_on_labels() -> None:
    for graph in (NAMED, SHUFFLED):
        mine, plain = run(graph), run(BARE)
        assert same(mine.estimate_mean_degree(), plain.estimate_mean_degree())
        assert np.array_equal(mine.degree_distribution().mean, plain.degree_distribution().mean)


def test_native_functions_take_whole_numbers() -> None:
    import ctypes

    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_void_p)
    native = kind(lambda node, _: float(node))
    assert same(run(SHUFFLED).expect(native), run(SHUFFLED).expect(lambda nodes: nodes))
    assert same(run().expect(native), run().expect(np.arange(4.0)))


@pytest.mark.torch
def test_torch_modules_take_whole_numbers() -> None:
    torch = pytest.importorskip("torch")

    class Node(torch.nn.Module):
        def forward(self, nodes: Any) -> Any:
            assert nodes.dtype == torch.int64
            return nodes.double()

    assert same(run(SHUFFLED).expect(Node()), run(SHUFFLED).expect(lambda nodes: nodes))
    assert same(run().expect(Node()), run().expect(np.arange(4.0)))


# --- Results ---


def test_results_by_label() -> None:
    w = run(base="srw", init="d", n_steps=1, record="path")
    assert w.labels == ("a", "b", "c", "d")
    assert (w.nodes[w.positions] == "c").all()
    assert (w.nodes[w.paths] == "c").all()
    assert w.visit_counts() == {"c": 16}
    assert run(SHUFFLED, base="srw", init=1, n_steps=1).visit_counts() == {10: 16}
    assert run(BARE, base="srw", init=3, n_steps=1).visit_counts() == {2: 16}
    assert run(BARE).labels is None


def test_labels_outlive_the_process_of_the_walk(tmp_path: Path) -> None:
    pairs = Graph.from_edges([(0, 1), (1, 2)], labels=[(0, "x"), 1.5, None])
    for graph in (NAMED, SHUFFLED, BARE, pairs):
        w = run(graph)
        w.save(tmp_path / "walk")
        again = fm.load(tmp_path / "walk")
        assert isinstance(again, fm.walks.WalkResult)
        assert again.labels == w.labels
        assert again.visit_counts() == w.visit_counts()
    run().save(tmp_path / "walk")
    again = fm.load(tmp_path / "walk")
    assert same(again.expect(VALUES), run().expect(ARRAY))


def test_labels_that_files_do_not_hold(tmp_path: Path) -> None:
    g = Graph.from_edges([(0, 1), (1, 2)], labels=[frozenset("a"), frozenset("b"), "c"])
    w = run(g)
    assert w.visit_counts().keys() == {frozenset("a"), frozenset("b"), "c"}
    with pytest.raises(ArgumentError, match="frozenset cannot be saved"):
        w.save(tmp_path / "walk")


def test_longer_and_merged_walks_keep_labels() -> None:
    assert extend(run(), 10).labels == NAMED.labels
    assert run().merge(run(rng=2)).labels == NAMED.labels
    other = Graph.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)], labels=list("wxyz"))
    with pytest.raises(ArgumentError, match="different labels"):
        run().merge(run(other, rng=2))


# --- Graphs and tables of other libraries ---


def test_networkx_by_its_nodes() -> None:
    nx = pytest.importorskip("networkx")
    g = nx.grid_2d_graph(3, 3)
    value = {node: float(sum(node)) for node in g}
    nx.set_node_attributes(g, value, "value")
    w = run(g, init=[(0, 0)] * 16)
    in_order = np.array([value[node] for node in g.nodes])
    assert same(w.expect(nx.get_node_attributes(g, "value")), w.expect(in_order))
    assert same(
        w.expect(lambda nodes: [g.nodes[node]["value"] for node in nodes]), w.expect(in_order)
    )
    assert w.visit_counts().keys() <= set(g.nodes)


class Table:
    """A table with columns, as pandas and polars have them."""

    def __init__(self, **columns: Any) -> None:
        self.columns = list(columns)
        self.dtypes = [np.asarray(column).dtype for column in columns.values()]
        self._content = columns

    def __getitem__(self, name: str) -> Any:
        return self._content[name]


def frames() -> list[Any]:
    """Return tables of what is installed; each makes a frame of columns."""
    found: list[Any] = [Table]
    for name in ("pandas", "polars"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        found.append(lambda module=module, **columns: module.DataFrame(columns))
    return found


@pytest.mark.parametrize("frame", frames())
def test_tables_of_edges(frame: Any) -> None:
    ends = {"source": ["a", "b", "c", "c"], "target": ["b", "c", "a", "d"]}
    g = as_graph(frame(**ends, weight=[1.0, 2.0, 3.0, 4.0]))
    assert g.labels == NAMED.labels
    assert g.to_scipy()[2, 3] == 4.0
    assert as_graph(frame(**ends)).weights is None
    first = frame(left=ends["source"], right=ends["target"], w=[1.0, 2.0, 3.0, 4.0])
    assert as_graph(first).weights is None
    weighted = Graph.from_dataframe(first, weight="w")
    assert np.array_equal(weighted.to_scipy().toarray(), g.to_scipy().toarray())
    assert Graph.from_dataframe(first, "right", "left", directed=True).directed


@pytest.mark.parametrize("frame", frames())
def test_tables_of_edges_between_numbers(frame: Any) -> None:
    g = as_graph(frame(source=[70, 5, 70], target=[5, 9, 9]))
    assert g.labels == (5, 9, 70)
    assert as_graph(frame(source=[0, 1], target=[1, 2])).labels is None


@pytest.mark.parametrize("frame", frames())
def test_tables_refused(frame: Any) -> None:
    table = frame(source=["a"], target=["b"], weight=[-1.0])
    for how, message in [
        ({"source": "x"}, "source: None|source: 'x' was given; the name of one column"),
        ({"target": "y"}, "source: None was given"),
        ({"source": "source", "target": np.arange(3)}, "target"),
        ({"weight": "w"}, "weight: 'w' was given"),
        ({"multi": "x"}, "multi"),
        ({}, "positive, finite"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            Graph.from_dataframe(table, **how)
    with pytest.raises(ArgumentError, match="without two ends"):
        Graph.from_dataframe(frame(source=["a", "b"], target=["b", None]))
    with pytest.raises(ArgumentError, match="target: None"):
        Graph.from_dataframe(frame(source=["a"]))
    with pytest.raises(ArgumentError, match="a list was given"):
        Graph.from_dataframe([1])


def test_values_of_a_table_go_by_its_index() -> None:
    pandas = pytest.importorskip("pandas")
    w = run()
    backwards = pandas.Series(ARRAY[::-1], index=list("dcba"))
    assert same(w.expect(backwards), w.expect(ARRAY))
    table = pandas.DataFrame({"x": backwards, "y": -backwards})
    assert np.array_equal(w.expect(table).mean, w.expect(np.stack([ARRAY, -ARRAY], axis=1)).mean)
    with pytest.raises(ArgumentError, match="no value for the node"):
        w.expect(pandas.Series(ARRAY))
    with pytest.raises(ArgumentError, match="labels twice"):
        w.expect(pandas.Series(ARRAY, index=list("aabc")))
    shuffled = pandas.Series(ARRAY[[2, 0, 3, 1]], index=[2, 0, 3, 1])
    assert same(run(BARE).expect(shuffled), w.expect(ARRAY))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("record", ["visits", "path"])
def test_tables_have_the_labels(library: str, record: str) -> None:
    pytest.importorskip(library)
    g = Graph.from_edges([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
    w = fm.walks.walk(g, "none", "srw", init="d", n_steps=5, n_walkers=2, rng=0, record=record)
    table = w.to_dataframe(library=library)
    assert list(table["label"]) == g.nodes[w.draws.reshape(-1).astype(int)].tolist()
    plain = fm.walks.walk(np.array([[0, 1], [1, 2], [2, 0]]), n_steps=5, record=record)
    assert "label" not in plain.to_dataframe(library=library)
