"""Walks as the user calls them: what they are, what they keep, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plans import on_threads
from walk_runs import BARBELL, BELOW, CLIQUE, EDGES, WEIGHTS, same, walk

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, MemoryLimitError
from fermiac.walks import memory

# These walks are about the estimators and the machinery, on histories as young as they are.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the histories of the walkers had not settled"),
    pytest.mark.filterwarnings("ignore:the history is still noisy"),
]

Array = NDArray[np.float64]

# --- What walks are ---


@pytest.mark.parametrize("base", ["mhrw", "mhda", "barker", fm.walks.Lazy("mhrw", 0.3)])
def test_hdt_without_repellence_is_its_base(base: Any) -> None:
    how = {"weights": WEIGHTS, "record": "path"}
    same(walk(BARBELL, "none", base, **how), walk(BARBELL, "hdt", base, 0.0, **how))


@pytest.mark.parametrize(("kernel", "base"), [("hdt", "mhda"), ("srrw", "mhrw"), ("none", "mhrw")])
def test_the_factor_of_weights_changes_nothing(kernel: str, base: str) -> None:
    one = walk(BARBELL, kernel, base, weights=WEIGHTS, record="path")
    for exponent in (-600, -3, 40, 900):
        same(one, walk(BARBELL, kernel, base, weights=np.ldexp(WEIGHTS, exponent), record="path"))


@pytest.mark.parametrize(
    ("kernel", "base", "exponent"),
    [("hdt", "mhda", 1.0), ("srrw", "srw", 1.0), ("hdt", "mhrw", 0.7), ("tsaw", "mhrw", 1.0)],
)
@pytest.mark.parametrize("record", ["visits", "path"])
def test_threads_change_nothing(kernel: str, base: str, exponent: float, record: str) -> None:
    how = {"record": record, "n_walkers": 70, "step_exponent": exponent}
    one = walk(BARBELL, kernel, base, plan=fm.Plan(n_threads=1), **how)
    for n_threads in (2, 3, 8):
        same(one, walk(BARBELL, kernel, base, plan=fm.Plan(n_threads=n_threads), **how))


def test_more_walkers_leave_the_others_alone() -> None:
    start = np.arange(24) % 12
    few = walk(init=start[:16], record="path")
    many = walk(init=start, record="path", n_walkers=24)
    np.testing.assert_array_equal(few.paths, many.paths[:16])


@pytest.mark.parametrize("kernel", ["none", "hdt"])
@pytest.mark.parametrize("base", ["mhrw", "mhda"])
def test_every_step_is_along_an_edge(kernel: str, base: str) -> None:
    w = walk(BARBELL, kernel, base, init=3, record="path")
    before = np.concatenate([np.full((16, 1), 3), w.paths[:, :-1]], axis=1)
    there = BARBELL.to_scipy().toarray() > 0
    moved = before != w.paths
    assert there[before, w.paths][moved].all()
    assert moved.mean() == w.acceptance
    w = walk(BARBELL, "srrw", "srw", init=3, record="path")
    assert w.acceptance == 1.0
    assert there[w.paths[:, :-1], w.paths[:, 1:]].all()


@pytest.mark.parametrize("kernel", ["none", "hdt", "srrw"])
def test_visits_are_those_of_the_paths(kernel: str) -> None:
    w = walk(BARBELL, kernel, "mhrw")
    path = walk(BARBELL, kernel, "mhrw", record="path")
    same_visits = np.array([np.bincount(p, minlength=12) for p in path.paths])
    np.testing.assert_array_equal(w.walker_visits.toarray(), same_visits)
    np.testing.assert_array_equal(path.walker_visits.toarray(), same_visits)
    np.testing.assert_array_equal(w.visits, same_visits.sum(axis=0))
    assert w.visits.sum() == 16 * 500
    assert w.visits.dtype == np.uint64
    late = walk(BARBELL, kernel, "mhrw", burn_in=101)
    late_path = walk(BARBELL, kernel, "mhrw", burn_in=101, record="path", thin=7)
    np.testing.assert_array_equal(late_path.paths, path.paths[:, 101:][:, 6::7])
    counts = np.array([np.bincount(p, minlength=12) for p in path.paths[:, 101:]])
    np.testing.assert_array_equal(late.walker_visits.toarray(), counts)
    np.testing.assert_array_equal(w.positions, path.paths[:, -1])


def test_a_mapped_graph_is_walked_on_as_others(tmp_path: Any) -> None:
    BARBELL.save(tmp_path / "graph")
    same(walk(), walk(fm.walks.Graph.open(tmp_path / "graph")))


def test_names_of_nodes_do_not_matter() -> None:
    order = np.random.default_rng(5).permutation(12)
    how = {"n_steps": 4000, "n_walkers": 64}
    here = walk(**how).expect(BELOW)
    there = walk(order[EDGES], **how).expect(BELOW[np.argsort(order)])
    assert abs(here.mean - there.mean) < 5 * np.hypot(here.stderr, there.stderr)
    assert 0.5 < here.stderr / there.stderr < 2


def test_start() -> None:
    degrees = BARBELL.degrees / BARBELL.degrees.sum()
    cases: list[tuple[str, Any, Array]] = [
        ("srw", None, degrees),
        ("mhrw", None, np.full(12, 1 / 12)),
        ("mhrw", WEIGHTS, WEIGHTS / WEIGHTS.sum()),
    ]
    for base, weights, law in cases:
        w = walk(BARBELL, "none", base, weights=weights, n_walkers=4000, n_steps=1, record="path")
        counts = np.bincount(w._job.start, minlength=12)
        assert np.all(np.abs(counts - 4000 * law) < 5 * np.sqrt(4000 * law))
    assert walk(init=[4]).n_walkers == 16
    with pytest.raises(ArgumentError, match="n_walkers=3"):
        walk(init=[1, 2, 3])


def test_names_of_nodes() -> None:
    networkx = pytest.importorskip("networkx")
    graph = networkx.Graph([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
    w = walk(graph, "none", "srw", init="d", n_steps=1)
    assert w.labels == ("a", "b", "c", "d")
    assert w.visits.tolist() == [0, 0, 16, 0]
    with pytest.raises(ArgumentError, match="no node is called 'e'"):
        walk(graph, init="e")


# --- Histories and paths of other kinds ---


@pytest.mark.parametrize("exponent", [1.0, 0.7])
@pytest.mark.parametrize(("kernel", "base"), [("hdt", "mhda"), ("srrw", "mhrw")])
def test_sparse_histories_are_tables(
    monkeypatch: pytest.MonkeyPatch, kernel: str, base: str, exponent: float
) -> None:
    how = {"step_exponent": exponent}
    table = walk(BARBELL, kernel, base, **how)
    assert table._job.memory == "table"
    monkeypatch.setattr(memory, "_WASTE", 0)
    hashed = walk(BARBELL, kernel, base, **how)
    assert hashed._job.memory == "hashed"
    same(table, hashed)
    again = fm.walks.extend(hashed, 100)
    monkeypatch.undo()
    same(again, fm.walks.extend(table, 100))


def test_shared_histories() -> None:
    how = {"history": "shared_sync", "n_walkers": 24, "n_steps": 400, "base": "mhrw"}
    walks = [walk(**how, rng=seed) for seed in range(12)]
    assert walks[0].walker_visits.shape == (24, 12)
    with pytest.warns(FermiacWarning, match="share a history are not independent"):
        e = walks[0].expect(BELOW)
    assert e.stderr == np.inf
    assert e.mean == pytest.approx(walks[0].visits[:6].sum() / 9600)
    merged = walks[0].merge(*walks[1:])
    assert (merged.n_walkers, merged.n_replicas) == (288, 12)
    means = np.array([w.visits[:6].sum() / 9600 for w in walks])
    e = merged.expect(BELOW)
    assert e.mean == pytest.approx(means.mean())
    assert e.stderr == pytest.approx(means.std(ddof=1) / np.sqrt(12))
    assert abs(e.mean - 0.5) < 5 * e.stderr
    # Together they repel each other.
    assert e.stderr < 0.7 * walk(n_walkers=288, n_steps=400, base="mhrw").stderr(BELOW)
    path = walk(**how, record="path", rng=3)
    np.testing.assert_array_equal(path.visits, walks[3].visits)
    one, some = walk(**how, plan=fm.Plan(n_threads=1)), walk(**how, plan=fm.Plan(n_threads=3))
    same(one, some)
    loose = walk(**{**how, "history": "shared_async"})
    assert one.reproducible
    assert not loose.reproducible
    assert loose.visits.sum() == 9600
    assert loose.tvd < 0.1


def test_histories_of_the_last_nodes() -> None:
    w = walk(memory_size=5, base="mhrw", n_steps=4000)
    assert not w.exact_target
    assert w.visits.sum() == 16 * 4000
    assert w.tvd < 0.2
    same(w, walk(memory_size=5, base="mhrw", n_steps=4000, plan=fm.Plan(n_threads=2)))
    with pytest.raises(ArgumentError, match="without memory_size"):
        w.expect(BELOW, include_prior=True)
    with pytest.raises(ArgumentError, match="does not cover walks with memory_size"):
        w.stderr(BELOW, "theory")
    with pytest.warns(FermiacWarning, match="only approximates the target"):
        w.expect(BELOW)
    whole = walk(memory_size=12, base="mhrw", n_steps=4000)
    assert whole.exact_target
    assert abs(whole.expect(BELOW).mean - 0.5) < 5 * whole.expect(BELOW).stderr
    with pytest.raises(ArgumentError, match="needs kernel='hdt'"):
        walk(BARBELL, "srrw", "mhrw", memory_size=5)


def test_rotors_visit_evenly() -> None:
    w = walk(BARBELL, "rotor", "srw", n_steps=10_000, burn_in=500)
    share = BARBELL.degrees / BARBELL.degrees.sum()
    assert np.abs(w.walker_visits.toarray() - 9500 * share).max() < 60
    e = w.expect(BELOW, under="uniform")
    assert abs(e.mean - 0.5) < 1e-3
    with pytest.raises(ArgumentError, match="walk with history"):
        walk(BARBELL, "rotor", "srw", record="path").stderr(BELOW, "batch")


def test_self_avoiding_walks() -> None:
    w = walk(BARBELL, "saw", init=0, n_steps=30, n_walkers=4000, record="path")
    assert w.paths.shape == (4000, w.n_steps)
    for path, length, trapped in zip(w.paths, w.lengths, w.trapped, strict=True):
        own = [0, *path[:length].tolist()]
        assert len(set(own)) == len(own)
        assert (path[length:] == own[-1]).all()
        assert trapped == set(own).issuperset(BARBELL.neighbors(own[-1]).tolist())
    assert w.trapped.all()
    assert w.visits.sum() == w.lengths.sum()

    def count(path: list[int], left: int) -> int:
        if not left:
            return 1
        onward = (j for j in BARBELL.neighbors(path[-1]).tolist() if j not in path)
        return sum(count([*path, j], left - 1) for j in onward)

    for length in (3, 6):
        short = walk(BARBELL, "saw", init=0, n_steps=length, n_walkers=20_000, record="path")
        weights = np.exp(short.log_path_weights) * (short.lengths == length)
        error = weights.std() / np.sqrt(20_000)
        assert abs(weights.mean() - count([0], length)) < 5 * error + 1e-9
    counts = w.walker_visits.toarray()
    np.testing.assert_array_equal(counts.sum(axis=1), w.lengths)
    assert counts.max() == 1
    e = w.expect(BELOW)
    assert e.mean == pytest.approx((counts @ BELOW).sum() / w.lengths.sum())
    assert w.mean[0] == pytest.approx(counts.sum(axis=0) @ np.arange(12) / w.lengths.sum())


def test_second_order_walks_have_no_known_law() -> None:
    w = walk(BARBELL, "none", fm.walks.Node2Vec(0.5, 2.0))
    assert 0 < w.expect(BELOW).stderr
    for ask in (lambda: w.expect(BELOW, "uniform"), lambda: w.tvd):
        with pytest.raises(ArgumentError, match="no closed form"):
            ask()
    assert "total variation" not in str(w.summary())


def test_arcs() -> None:
    ring = fm.walks.Graph.from_edges([[i, (i + 1) % 6] for i in range(6)], directed=True)
    w = walk(ring, "none", "srw", init=0, n_steps=6, record="path")
    np.testing.assert_array_equal(w.paths, np.tile([1, 2, 3, 4, 5, 0], (16, 1)))
    path = fm.walks.Graph.from_edges([[0, 1], [1, 2]], directed=True)
    with pytest.raises(ArgumentError, match="no arc leaves node 2"):
        walk(path, "none", "srw")
    how = {"init": 0, "n_steps": 6, "record": "path"}
    stays = walk(path, "none", "srw", on_stuck="stop", **how)
    assert stays.paths[0].tolist() == [1, 2, 2, 2, 2, 2]
    back = walk(path, "none", "srw", on_stuck="restart", **how)
    assert back.paths[0].tolist() == [1, 2, 0, 1, 2, 0]
    often = walk(BARBELL, "none", "srw", restart=0.2, init=0, n_steps=4000)
    # The law of walks that restart, by linear algebra.
    step = BARBELL.to_scipy().toarray() / BARBELL.degrees[:, None]
    law = 0.2 * np.linalg.inv(np.eye(12) - 0.8 * step)[0]
    e = often.expect(np.eye(12))
    assert np.abs((e.mean - law) / e.stderr).max() < 5


# --- As they come ---


def test_blocks() -> None:
    blocks: list[NDArray[Any]] = []
    whole = walk(record="path", burn_in=33)
    w = walk(record="none", burn_in=33, on_block=blocks.append, block_size=64, f=BELOW)
    assert [b.shape[1] for b in blocks] == [64] * 7 + [19]
    np.testing.assert_array_equal(np.hstack(blocks), whole.paths)
    e, all_at_once = w.expect(), whole.expect(BELOW)
    assert e.mean == pytest.approx(all_at_once.mean, rel=1e-12)
    assert e.stderr == pytest.approx(all_at_once.stderr, rel=1e-10)
    blocks.clear()
    thinned = walk(record="path", burn_in=33, thin=5, on_block=blocks.append, block_size=7)
    np.testing.assert_array_equal(thinned.paths, whole.paths[:, 4::5])
    np.testing.assert_array_equal(np.hstack(blocks), whole.paths)
    with pytest.raises(ArgumentError, match="nodes are not known"):
        _ = w.visits


def test_an_error_of_the_user_keeps_the_walk() -> None:
    seen = 0

    def fails(block: NDArray[Any]) -> None:
        nonlocal seen
        seen += block.shape[1]
        if seen == 300:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough") as caught:
        walk(on_block=fails, block_size=100)
    partial = caught.value.partial_result
    assert partial.n_steps == 300
    assert partial.status == "interrupted"
    same(partial, walk(n_steps=300))
    same(fm.walks.extend(partial, 200), walk())


def test_ends_when_it_is_enough() -> None:
    stop = fm.walks.StopAtStderr(stderr=0.01, every=100)
    how = {"f": BELOW, "stop": stop, "n_steps": 20_000, "n_walkers": 32}
    w = walk(**how)
    assert w.n_steps % 100 == 0
    assert w.n_steps < 20_000
    assert w.expect().stderr <= 0.01
    same(w, walk(**how, plan=fm.Plan(n_threads=2)))
    before = walk(n_steps=w.n_steps - 100, n_walkers=32)
    assert before.expect(BELOW).stderr > 0.01
    relative = fm.walks.StopAtStderr(stderr=0.02, relative=True, every=100)
    again = walk(**{**how, "stop": relative})
    assert again.expect().stderr <= 0.02 * again.expect().mean
    with pytest.raises(ArgumentError, match="f="):
        walk(stop=stop)


def test_a_corpus() -> None:
    edges = np.random.default_rng(2).integers(0, 50, (200, 2))
    graph = fm.walks.as_graph(np.vstack([edges, np.arange(50).reshape(2, 25).T]))
    parts = list(fm.walks.corpus(graph, 12, 4, rng=3, part_size=30))
    walks = np.vstack(parts)
    assert walks.shape == (200, 12)
    np.testing.assert_array_equal(np.bincount(walks[:, 0]), np.full(50, 4))
    there = graph.to_scipy().toarray() > 0
    assert there[walks[:, :-1], walks[:, 1:]].all()
    again = np.vstack(list(on_threads(2, fm.walks.corpus, graph, 12, 4, rng=3, part_size=30)))
    np.testing.assert_array_equal(walks, again)
    some = np.vstack(list(fm.walks.corpus(graph, 5, 2, init=[7, 9], rng=3)))
    assert sorted(some[:, 0].tolist()) == [7, 7, 9, 9]


# --- What is refused ---


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kernel": "nothing"}, "kernel: 'nothing'"),
        ({"base": "mhr"}, "base: 'mhr'"),
        ({"base": "weighted"}, "accept and refuse"),
        ({"kernel": "srrw", "base": "mhda"}, "reversible"),
        ({"kernel": "srrw", "base": "nbrw"}, "reversible"),
        ({"kernel": "hdt", "base": fm.walks.Node2Vec()}, "'hdt'"),
        ({"kernel": "rotor", "base": "mhrw"}, "'rotor'"),
        ({"alpha": -1}, "alpha: -1"),
        ({"alpha": np.nan}, "alpha: nan"),
        ({"alpha": np.inf}, "alpha: inf"),
        ({"alpha": True}, "alpha: the bool True"),
        ({"alpha": "5"}, "alpha: '5'"),
        ({"alpha": ("linear", 0, 5)}, "alpha"),
        ({"alpha": ("linear", 0, 5, 0)}, "alpha: 0 was given"),
        ({"alpha": ("exp", 0, 5)}, "alpha: 'exp'"),
        ({"weights": np.zeros(12)}, "weights: 0 was given at node 0"),
        ({"weights": -WEIGHTS}, "weights: -"),
        ({"weights": np.full(12, np.nan)}, "NaN"),
        ({"weights": WEIGHTS[1:]}, r"weights: an array of shape \(11,\)"),
        ({"weights": "uniform"}, "weights: 'uniform'"),
        ({"weights": lambda nodes: np.ones((len(nodes), 2))}, "2 columns"),
        ({"kernel": "none", "base": "srw", "weights": WEIGHTS}, "law is that of the degrees"),
        ({"kernel": "none", "base": "maxdeg", "weights": WEIGHTS}, "whose law is uniform"),
        ({"init": 12}, "init: node 12"),
        ({"init": -1}, "init: node -1"),
        ({"init": 0.5}, "init"),
        ({"n_steps": 0}, "n_steps: 0"),
        ({"n_steps": 2.0}, "n_steps"),
        ({"n_steps": True}, "n_steps"),
        ({"n_walkers": 0}, "n_walkers: 0"),
        ({"burn_in": 500}, "burn_in: 500"),
        ({"thin": 2}, "it thins paths"),
        ({"record": "all"}, "record: 'all'"),
        ({"record": "none"}, "would return nothing"),
        ({"step_exponent": 0.5}, "step_exponent: 0.5"),
        ({"step_exponent": 1.1}, "step_exponent: 1.1"),
        ({"kernel": "tsaw", "base": "mhrw", "step_exponent": 0.7}, "step_exponent: 0.7"),
        ({"pseudo_counts": np.zeros(12)}, "pseudo_counts"),
        ({"pseudo_counts": "all"}, "pseudo_counts: 'all'"),
        ({"pseudo_counts": [1.0]}, "pseudo_counts: an array of shape"),
        ({"history": "public"}, "history: 'public'"),
        ({"component": "any"}, "component: 'any'"),
        ({"restart": 1.0}, "restart: 1.0"),
        ({"restart": 0.1}, "restart: walks that go back"),
        ({"kernel": "none", "base": "mhrw", "restart": 0.1}, "restart: walks that go back"),
        ({"memory_size": 0}, "memory_size: 0"),
        ({"memory_size": 5, "history": "shared_sync"}, "memory_size: it needs"),
        ({"memory_size": 5, "step_exponent": 0.7}, "memory_size: it needs"),
        ({"history": "shared_async", "step_exponent": 0.7}, "take 'shared_sync'"),
        ({"kernel": "saw"}, "record='path'"),
        ({"kernel": "saw", "record": "path", "burn_in": 3}, "burn_in: given with kernel='saw'"),
        ({"kernel": "none", "base": fm.walks.Node2Vec(), "weights": WEIGHTS}, "weights: given"),
        ({"stop": 0.1, "f": BELOW}, "stop: 0.1"),
        ({"on_block": 3}, "on_block: 3"),
        ({"rng": -1}, "rng: -1"),
        ({"f": BELOW[1:]}, "f: an array"),
    ],
)
def test_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        walk(**how)


def test_graphs_that_are_refused() -> None:
    two = np.vstack([EDGES, EDGES + 12])
    with pytest.raises(ArgumentError, match="2 components of 12, 12 nodes"):
        walk(two)
    arcs = fm.walks.Graph.from_edges(EDGES, directed=True)
    with pytest.raises(ArgumentError, match="an edge leads from node"):
        walk(arcs)
    with pytest.raises(ArgumentError, match="init: node 13 has no edge"):
        walk(fm.walks.Graph.from_edges(EDGES, 14), init=13)
    with pytest.warns(FermiacWarning, match="node 12 has no edges"):
        w = walk(fm.walks.Graph.from_edges(EDGES, 13))
    assert w.warnings
    assert w.coverage == 1.0
    assert w.expect(np.arange(13) >= 12).mean == 0.0
    assert w.tvd < 0.1
    star = [[0, i] for i in range(1, 6)]
    with pytest.warns(FermiacWarning, match="bipartite"):
        walk(star, "none", "srw")
    walk(star, "none", fm.walks.Lazy("srw"))
    walk(star, "srrw", "srw")
    with pytest.raises(MemoryLimitError, match="bytes"):
        walk(n_walkers=2**37)


@pytest.mark.parametrize("kernel", ["hdt", "tsaw", "none"])
def test_components(kernel: str) -> None:
    small = [[i + 12, j + 12] for i, j in CLIQUE]
    graph = fm.walks.as_graph(np.vstack([EDGES, small]))
    how = {"n_steps": 3000, "component": "largest"}
    w = walk(graph, kernel, "mhrw", **how)
    assert w.visits[12:].sum() == 0
    np.testing.assert_allclose(w.visits[:12] / w.visits.sum(), 1 / 12, rtol=0.2)
    e = w.expect(np.append(BELOW, np.zeros(5)), include_prior=True)
    assert abs(e.mean - 0.5) < 5 * e.stderr + 1e-3
    inside = walk(graph, kernel, "mhrw", init=14, component="start", n_steps=3000)
    assert inside.visits[:12].sum() == 0
    assert inside.tvd < 0.05
    weighted = walk(graph, kernel, "mhrw", weights=np.append(WEIGHTS, np.ones(5)), **how)
    law = WEIGHTS / WEIGHTS.sum()
    np.testing.assert_allclose(weighted.visits[:12] / weighted.visits.sum(), law, rtol=0.25)
