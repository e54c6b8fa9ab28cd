"""Walks as the user calls them: what they keep, what is estimated from that, what is refused."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import (
    ArgumentError,
    ConvergenceWarning,
    FermiacWarning,
    MemoryLimitError,
    TargetError,
)

Array = NDArray[np.float64]

CLIQUE = [[i, j] for i in range(5) for j in range(i)]
#: Two cliques of 5 with a path of 2 between them.
EDGES = np.array([*CLIQUE, *[[i + 7, j + 7] for i, j in CLIQUE], [4, 5], [5, 6], [6, 7]])
BARBELL = fm.walks.as_graph(EDGES)
BELOW = (np.arange(12) < 6).astype(float)
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 12)


def walk(graph: Any = BARBELL, *args: Any, **how: Any) -> fm.walks.Walk:
    return fm.walks.walk(graph, *args, **{"n_steps": 500, "n_walkers": 16, "rng": 1, **how})


def same(a: fm.walks.Walk, b: fm.walks.Walk) -> None:
    np.testing.assert_array_equal(a.visits, b.visits)
    np.testing.assert_array_equal(a.walker_visits.toarray(), b.walker_visits.toarray())
    assert a.acceptance == b.acceptance
    if a.paths is not None:
        np.testing.assert_array_equal(a.paths, b.paths)


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
    one = walk(BARBELL, kernel, base, n_threads=1, **how)
    for n_threads in (2, 3, 8):
        same(one, walk(BARBELL, kernel, base, n_threads=n_threads, **how))


def test_more_walkers_leave_the_others_alone() -> None:
    start = np.arange(24) % 12
    few = walk(start=start[:16], record="path")
    many = walk(start=start, record="path", n_walkers=24)
    np.testing.assert_array_equal(few.paths, many.paths[:16])


@pytest.mark.parametrize("kernel", ["none", "hdt"])
@pytest.mark.parametrize("base", ["mhrw", "mhda"])
def test_every_step_is_along_an_edge(kernel: str, base: str) -> None:
    w = walk(BARBELL, kernel, base, start=3, record="path")
    before = np.concatenate([np.full((16, 1), 3), w.paths[:, :-1]], axis=1)
    there = BARBELL.to_scipy().toarray() > 0
    moved = before != w.paths
    assert there[before, w.paths][moved].all()
    assert moved.mean() == w.acceptance
    w = walk(BARBELL, "srrw", "srw", start=3, record="path")
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
    assert walk(start=[4]).n_walkers == 16
    with pytest.raises(ArgumentError, match="n_walkers=3"):
        walk(start=[1, 2, 3])


# --- Estimates ---


@pytest.mark.parametrize(
    ("kernel", "base", "under", "alpha"),
    [
        ("hdt", "mhda", None, 5.0),
        ("srrw", "mhrw", None, 5.0),
        ("none", "srw", "uniform", 0.0),
        ("srrw", "srw", "uniform", 5.0),
        ("hdt", "mhrw", WEIGHTS, 2.0),
    ],
)
def test_errors_of_replicas_cover(kernel: str, base: str, under: Any, alpha: float) -> None:
    law = WEIGHTS / WEIGHTS.sum() if isinstance(under, np.ndarray) else np.full(12, 1 / 12)
    z = []
    for seed in range(150):
        how = {"n_steps": 1000, "n_walkers": 32, "rng": seed}
        e = walk(BARBELL, kernel, base, alpha, **how).expect(BELOW, under)
        z.append((e.mean - law @ BELOW) / e.stderr)
    z = np.array(z)
    # Student's law of 31 degrees of freedom: 94.6 % within 2.
    assert abs(np.mean(np.abs(z) < 2) - 0.946) < 5 * np.sqrt(0.946 * 0.054 / 150)
    assert abs(z.mean()) < 5 * 1.03 / np.sqrt(150)


def test_repellence_makes_errors_those_of_theory() -> None:
    w = walk(n_steps=20_000, n_walkers=200)
    ratio = w.stderr(BELOW) / w.stderr(BELOW, "theory")
    assert abs(ratio - 1) < 5 / np.sqrt(400)
    limit = fm.walks.asymptotic_variance(BARBELL, BELOW, "hdt", "mhda", 5.0)
    assert w.stderr(BELOW, "theory") == pytest.approx(np.sqrt(limit / 4e6))
    assert w.expect(BELOW).ess == pytest.approx(0.25 / w.stderr(BELOW) ** 2, rel=0.01)
    assert 0 < w.history_noise < 0.3
    noisy = walk(n_steps=200, n_walkers=64)
    assert noisy.history_noise > 0.3
    with pytest.warns(ConvergenceWarning, match="history is still noisy"):
        noisy.stderr(BELOW, "theory")


@pytest.mark.parametrize("under", [None, "uniform"])
@pytest.mark.parametrize("method", ["batch", "overlapping"])
def test_batch_means(method: str, under: str | None) -> None:
    w = walk(BARBELL, "none", "srw", n_steps=20_000, n_walkers=64, record="path")
    size = 1000
    errors = w.stderr(BELOW, method, under=under, batch_size=size), w.stderr(BELOW, under=under)
    assert abs(errors[0] / errors[1] - 1) < 5 / np.sqrt(128)
    both = np.column_stack([BELOW, np.arange(12)])
    np.testing.assert_allclose(
        w.stderr(both, method, under=under, batch_size=size)[0], errors[0], rtol=1e-12
    )


def test_batch_means_by_hand() -> None:
    w = walk(BARBELL, "none", "mhrw", n_steps=400, n_walkers=2, record="path")
    values = BELOW[w.paths]
    batches = values.reshape(2, 20, 20).mean(axis=2)
    error = np.sqrt((batches.var(axis=1, ddof=1) / 20).sum()) / 2
    assert w.stderr(BELOW, "batch") == pytest.approx(error, rel=1e-12)


def test_averages_by_hand() -> None:
    w = walk(BARBELL, "none", "srw", n_steps=300)
    counts = w.walker_visits.toarray().astype(float)
    f = np.column_stack([BELOW, np.arange(12.0)])
    e = w.expect(f, names=["below", "node"])
    means = counts @ f / 300
    np.testing.assert_allclose(e.mean, means.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(e.cov, np.cov(means.T) / 16, rtol=1e-11)
    assert e.names == ("below", "node")
    r = w.expect(f, under="uniform")
    weights = 1 / BARBELL.degrees
    top, bottom = counts @ (f * weights[:, None]), counts @ weights
    np.testing.assert_allclose(r.mean, top.sum(axis=0) / bottom.sum(), rtol=1e-13)
    z = (top - bottom[:, None] * r.mean) / bottom.mean()
    np.testing.assert_allclose(r.cov, z.T @ z / (16 * 15), rtol=1e-11)
    given = w.expect(f, under=np.full(12, 7.0))
    np.testing.assert_allclose(given.mean, r.mean, rtol=1e-13)
    called = w.expect(lambda nodes: f[nodes], under=lambda nodes: np.ones(len(nodes)))
    np.testing.assert_allclose(called.cov, r.cov, rtol=1e-11)
    degree = w.expect(BELOW, under="degree")
    assert degree.mean == pytest.approx(w.expect(BELOW).mean, rel=1e-12)


def test_the_measure_of_the_theory() -> None:
    counts = np.linspace(0.5, 3.0, 12)
    w = walk(BARBELL, "hdt", "mhrw", pseudo_counts=counts, n_steps=200)
    x = (w.walker_visits.toarray() + counts) / (200 + counts.sum())
    e = w.expect(BELOW, include_prior=True)
    assert e.mean == pytest.approx((x @ BELOW).mean(), rel=1e-13)
    # Weighted by hand, a step at a time.
    w = walk(BARBELL, "hdt", "mhrw", record="path", n_steps=150, step_exponent=0.7)
    means = []
    for path in w.paths:
        x = np.full(12, 1 / 12)
        for n, node in enumerate(path):
            gamma = (n + 2) ** -0.7
            x = (1 - gamma) * x
            x[node] += gamma
        means.append(x @ BELOW)
    e = w.expect(BELOW, include_prior=True)
    assert e.mean == pytest.approx(np.mean(means), rel=1e-10)
    assert e.stderr == pytest.approx(np.std(means, ddof=1) / 4, rel=1e-10)


def test_functions_of_every_kind() -> None:
    w = walk()
    e = w.expect(BELOW)
    calls: list[NDArray[np.int64]] = []

    def below(nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        calls.append(nodes)
        return nodes < 6

    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_void_p)
    def native(node: int, user: Any) -> float:
        return float(node < 6)

    for f in (below, native, BELOW.tolist(), BELOW > 0):
        assert w.expect(f).mean == e.mean
    assert len(calls) == 1
    np.testing.assert_array_equal(calls[0], np.arange(12))
    assert calls[0].dtype == np.int64
    numba = pytest.importorskip("numba")
    compiled = numba.cfunc("float64(int64, voidptr)")(lambda node, user: 1.0 if node < 6 else 0.0)
    assert w.expect(compiled).mean == e.mean


@pytest.mark.torch
def test_functions_of_torch() -> None:
    torch = pytest.importorskip("torch")

    class Below(torch.nn.Module):
        def forward(self, nodes: Any) -> Any:
            assert nodes.dtype == torch.long
            return (nodes < 6).float()

    w = walk()
    assert w.expect(Below()).mean == w.expect(BELOW).mean


def test_functions_that_are_none() -> None:
    w = walk()
    with pytest.raises(ArgumentError, match=r"f: an array of shape \(11,\)"):
        w.expect(BELOW[1:])
    with pytest.raises(TargetError, match="gave nan at node 0"):
        w.expect(lambda nodes: np.full(len(nodes), np.nan))
    with pytest.raises(TargetError, match="gave an array of shape"):
        w.expect(lambda nodes: 1.0)
    with pytest.raises(ArgumentError, match="one walker cannot"):
        walk(n_walkers=1).expect(BELOW)
    with pytest.warns(FermiacWarning, match="3 walkers tell their spread"):
        walk(n_walkers=3).expect(BELOW)
    with pytest.raises(ArgumentError, match="f: none was given"):
        w.expect()
    with pytest.raises(ZeroDivisionError, match="division") as caught:
        w.expect(lambda nodes: 1 / 0)
    assert "evaluated at 12 nodes" in caught.value.__notes__[0]


def test_sizes_of_graphs() -> None:
    graph = fm.walks.as_graph(np.random.default_rng(1).integers(0, 300, (1500, 2)))
    for base, weights in (("srw", None), ("mhrw", None), ("mhrw", "degree")):
        w = walk(
            graph,
            "none",
            base,
            weights=weights,
            n_steps=2000,
            burn_in=50,
            record="path",
            n_walkers=32,
        )
        for gap in (1, 5):
            e = w.estimate_size(gap)
            edges = len(graph.indices) / 2
            assert np.all(np.abs(e.mean - [300, edges]) < 5 * e.stderr)
            assert np.all(e.stderr < 0.2 * e.mean)
        d = w.estimate_mean_degree()
        assert abs(d.mean - graph.degrees.mean()) < 5 * d.stderr
        shares = w.degree_distribution()
        degrees, counts = np.unique(graph.degrees, return_counts=True)
        assert shares.names == tuple(map(str, degrees))
        assert np.all(np.abs(shares.mean - counts / 300) < 5 * shares.stderr + 1e-12)
        assert shares.mean.sum() == pytest.approx(1)


def test_a_size_by_hand() -> None:
    w = walk(BARBELL, "none", "srw", n_steps=40, n_walkers=3, record="path")
    degrees, gap = BARBELL.degrees.astype(float), 3
    top = meet = 0.0
    flat = [(i, s, node) for i, path in enumerate(w.paths.tolist()) for s, node in enumerate(path)]
    for i, s, a in flat:
        for j, t, b in flat:
            if i != j or abs(s - t) >= gap:
                top += degrees[a] / degrees[b]
                meet += a == b
    with pytest.warns(FermiacWarning, match="3 walkers"):
        e = w.estimate_size(gap)
    assert e.mean[0] == pytest.approx(top / meet, rel=1e-12)
    # The error by leaving out each walker.
    each = []
    for out in range(3):
        rows = [row for row in flat if row[0] != out]
        pairs = [(x, y) for x in rows for y in rows if x[0] != y[0] or abs(x[1] - y[1]) >= gap]
        up = sum(degrees[x[2]] / degrees[y[2]] for x, y in pairs)
        each.append(up / sum(x[2] == y[2] for x, y in pairs))
    assert e.stderr[0] == pytest.approx(np.sqrt(2 / 3 * np.sum((each - np.mean(each)) ** 2)))


def test_what_repellence_forbids() -> None:
    w = walk(record="path")
    for method in ("batch", "overlapping"):
        with pytest.raises(ArgumentError, match="walk with history"):
            w.stderr(BELOW, method)
    with pytest.raises(ArgumentError, match="meets itself too seldom"):
        w.estimate_size()
    still = walk(BARBELL, "hdt", "mhda", 0.0, record="path")
    assert still.stderr(BELOW, "batch") > 0
    path = fm.walks.as_graph([[i, i + 1] for i in range(99)])
    starts = [10, 30, 50, 70]
    lost = walk(path, "none", "mhrw", n_steps=1, n_walkers=4, start=starts, record="path")
    with pytest.warns(ConvergenceWarning, match="no two steps met"):
        assert np.isinf(lost.estimate_size().mean).all()


# --- What all samples can ---


@pytest.mark.parametrize("record", ["visits", "path"])
def test_a_walk_is_a_sample(record: str) -> None:
    w = walk(BARBELL, "hdt", "mhrw", record=record, n_steps=2000)
    assert isinstance(w, fm.Sample)
    shares = w.visits / w.visits.sum()
    assert w.mean[0] == pytest.approx(shares @ np.arange(12), rel=1e-12)
    spread = shares @ (np.arange(12) - w.mean[0]) ** 2
    assert w.cov[0, 0] == pytest.approx(spread, rel=0.3)
    q, error = w.quantile([0.3, 0.5], kind="inverted_cdf", return_stderr=True)
    np.testing.assert_array_equal(q[:, 0], np.searchsorted(np.cumsum(shares), [0.3, 0.5]))
    assert np.all(error >= 0)
    for name in ("resample", "reweight"):
        with pytest.raises(ArgumentError, match=name):
            getattr(w, name)(None)
    for name in ("ess", "khat"):
        with pytest.raises(ArgumentError, match=name):
            getattr(w, name)
    assert w.weights.sum() == pytest.approx(1)
    assert "total variation" in w.summary()
    assert len(repr(w).splitlines()) <= 6
    assert repr(w).startswith("Walk: 16 walkers × 2000 steps on 12 nodes")
    assert w.to_dict()["n_steps"] == 2000


def test_figures() -> None:
    w = walk(n_steps=100)
    shares = w.visits / w.visits.sum()
    assert w.tvd == pytest.approx(0.5 * np.abs(shares - 1 / 12).sum())
    own = w.walker_visits.toarray() / 100
    np.testing.assert_allclose(w.walker_tvd, 0.5 * np.abs(own - 1 / 12).sum(axis=1))
    assert w.coverage == 1.0
    assert w.revisit_ratio == pytest.approx(1 - (own > 0).sum() / 1600)
    far = walk(fm.walks.as_graph([[i, i + 1] for i in range(99)]), start=0, n_steps=10)
    assert far.coverage <= 0.11
    assert far.history_noise == np.inf
    np.testing.assert_allclose(
        far.walker_tvd, 0.5 * np.abs(far.walker_visits.toarray() / 10 - 0.01).sum(axis=1)
    )


@pytest.mark.parametrize("record", ["visits", "path", "none"])
def test_saved_walks(tmp_path: Any, record: str) -> None:
    w = walk(record=record, burn_in=10, f=BELOW, weights=WEIGHTS)
    w.save(tmp_path / "walk")
    back = fm.load(tmp_path / "walk")
    assert isinstance(back, fm.walks.Walk)
    if record == "none":
        assert back.expect().mean == w.expect().mean
        return
    same(w, back)
    for under in (None, "uniform", "degree"):
        assert back.expect(BELOW, under).stderr == w.expect(BELOW, under).stderr
    assert back.tvd == w.tvd
    with pytest.raises(ArgumentError, match="how to go on"):
        fm.walks.extend(back, 10)


@pytest.mark.parametrize("record", ["visits", "path"])
def test_merged_walks(record: str) -> None:
    a, b, c = (walk(rng=seed, record=record) for seed in (1, 2, 3))
    all_of_them = a.merge(b).merge(c)
    assert all_of_them.n_walkers == 48
    assert all_of_them.settings["seeds"] == [1, 2, 3]
    stacked = np.vstack([w.walker_visits.toarray() for w in (a, b, c)])
    np.testing.assert_array_equal(all_of_them.walker_visits.toarray(), stacked)
    means = stacked @ BELOW / 500
    e = all_of_them.expect(BELOW)
    assert e.stderr == pytest.approx(means.std(ddof=1) / np.sqrt(48), rel=1e-10)
    with pytest.raises(ArgumentError, match="one seed"):
        a.merge(b, a)
    with pytest.raises(ArgumentError, match="alpha"):
        a.merge(walk(alpha=3.0, rng=9))


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
    stop = fm.walks.StopWhen(stderr=0.01, every=100)
    how = {"f": BELOW, "stop": stop, "n_steps": 20_000, "n_walkers": 32}
    w = walk(**how)
    assert w.n_steps % 100 == 0
    assert w.n_steps < 20_000
    assert w.expect().stderr <= 0.01
    same(w, walk(**how, n_threads=2))
    before = walk(n_steps=w.n_steps - 100, n_walkers=32)
    assert before.expect(BELOW).stderr > 0.01
    relative = fm.walks.StopWhen(stderr=0.02, relative=True, every=100)
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
    again = np.vstack(list(fm.walks.corpus(graph, 12, 4, rng=3, part_size=30, n_threads=2)))
    np.testing.assert_array_equal(walks, again)
    some = np.vstack(list(fm.walks.corpus(graph, 5, 2, start=[7, 9], rng=3)))
    assert sorted(some[:, 0].tolist()) == [7, 7, 9, 9]


# --- What is refused ---


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kernel": "nothing"}, "kernel: 'nothing'"),
        ({"base": "mhr"}, "base: 'mhr'"),
        ({"base": "srw"}, "'hdt', which bends the target"),
        ({"kernel": "srrw"}, "reversible"),
        ({"kernel": "srrw", "base": "nbrw"}, "reversible"),
        ({"kernel": "hdt", "base": fm.walks.Node2Vec()}, "'hdt'"),
        ({"kernel": "rotor", "base": "mhrw"}, "'rotor'"),
        ({"alpha": -1}, "alpha: -1"),
        ({"alpha": np.nan}, "alpha: nan"),
        ({"alpha": np.inf}, "alpha: inf"),
        ({"alpha": True}, "alpha: True"),
        ({"alpha": "5"}, "alpha: '5'"),
        ({"alpha": ("linear", 0, 5)}, "alpha"),
        ({"alpha": ("linear", 0, 5, 0)}, "alpha: 0 was given"),
        ({"alpha": ("exp", 0, 5)}, "alpha: 'exp'"),
        ({"weights": np.zeros(12)}, "weights: 0 was given for node 0"),
        ({"weights": -WEIGHTS}, "weights: -"),
        ({"weights": np.full(12, np.nan)}, "NaN"),
        ({"weights": WEIGHTS[1:]}, r"weights: an array of shape \(11,\)"),
        ({"weights": "uniform"}, "weights: 'uniform'"),
        ({"weights": lambda nodes: np.ones((len(nodes), 2))}, "2 columns"),
        ({"kernel": "none", "base": "srw", "weights": WEIGHTS}, "law is that of the degrees"),
        ({"kernel": "none", "base": "maxdeg", "weights": WEIGHTS}, "whose law is uniform"),
        ({"start": 12}, "start: node 12"),
        ({"start": -1}, "start: node -1"),
        ({"start": 0.5}, "start"),
        ({"n_steps": 0}, "n_steps: 0"),
        ({"n_steps": 2.0}, "n_steps"),
        ({"n_steps": True}, "n_steps"),
        ({"n_walkers": 0}, "n_walkers: 0"),
        ({"burn_in": 500}, "burn_in: 500"),
        ({"thin": 2}, "it thins paths"),
        ({"record": "all"}, "record: 'all'"),
        ({"record": "none"}, "nothing would come"),
        ({"step_exponent": 0.5}, "step_exponent: 0.5"),
        ({"step_exponent": 1.1}, "step_exponent: 1.1"),
        ({"kernel": "tsaw", "base": "mhrw", "step_exponent": 0.7}, "step_exponent: 0.7"),
        ({"pseudo_counts": np.zeros(12)}, "pseudo_counts"),
        ({"pseudo_counts": "all"}, "pseudo_counts: 'all'"),
        ({"pseudo_counts": [1.0]}, "pseudo_counts: an array of shape"),
        ({"history": "public"}, "history: 'public'"),
        ({"component": "any"}, "component: 'any'"),
        ({"restart": 1.0}, "restart: 1.0"),
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
    with pytest.raises(ArgumentError, match="start: node 13 has no edge"):
        walk(fm.walks.Graph.from_edges(EDGES, 14), start=13)
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
    inside = walk(graph, kernel, "mhrw", start=14, component="start", n_steps=3000)
    assert inside.visits[:12].sum() == 0
    assert inside.tvd < 0.05
    weighted = walk(graph, kernel, "mhrw", weights=np.append(WEIGHTS, np.ones(5)), **how)
    law = WEIGHTS / WEIGHTS.sum()
    np.testing.assert_allclose(weighted.visits[:12] / weighted.visits.sum(), law, rtol=0.25)


# --- Pictures ---


def test_pictures() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    walks = {
        f"alpha {alpha}": walk(BARBELL, "hdt", "mhrw", alpha, record="path") for alpha in (0, 5)
    }
    ax = fm.plotting.plot_convergence(walks)
    assert [line.get_label() for line in ax.get_lines()] == ["alpha 0", "alpha 5"]
    x, y = ax.get_lines()[1].get_data()
    assert x[-1] == 500
    assert y[-1] == pytest.approx(walks["alpha 5"].walker_tvd.mean())
    ax = fm.plotting.plot_convergence(walks["alpha 0"], f=BELOW)
    means = BELOW[walks["alpha 0"].paths].mean(axis=1)
    assert ax.get_lines()[0].get_ydata()[-1] == pytest.approx(
        np.sqrt(np.mean((means - 0.5) ** 2)), rel=1e-10
    )
    ax = walk().plot_visits()
    dots = ax.get_lines()[0].get_ydata()
    np.testing.assert_allclose(dots, walk().visits * 12 / 8000)
    with pytest.raises(ArgumentError, match="record='path'"):
        fm.plotting.plot_convergence(walk())
    plt.close("all")
