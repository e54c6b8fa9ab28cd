"""Estimates from walks and their errors, against sums by hand and known laws."""

from __future__ import annotations

import ctypes
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from walk_runs import BARBELL, BELOW, WEIGHTS, same, walk

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, TargetError

# These walks are about the estimators and the machinery, on histories as young as they are.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the histories of the walkers had not settled"),
    pytest.mark.filterwarnings("ignore:the history is still noisy"),
]

Array = NDArray[np.float64]

# --- Estimates ---


@pytest.mark.filterwarnings("ignore:the average has not settled")  # now and then, by chance
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
# A false alarm now and then.
@pytest.mark.filterwarnings("ignore:the average has not settled")
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
    with pytest.raises(ArgumentError, match="one walker gives no"):
        walk(n_walkers=1).expect(BELOW)
    with pytest.warns(FermiacWarning, match="with 3 walkers the standard error itself"):
        walk(n_walkers=3).expect(BELOW)
    with pytest.raises(ArgumentError, match="f: none was given"):
        w.expect()
    with pytest.raises(ZeroDivisionError, match="division") as caught:
        w.expect(lambda nodes: 1 / 0)
    assert "evaluated at 12 nodes" in caught.value.__notes__[0]


def test_degrees_of_graphs() -> None:
    graph = fm.walks.as_graph(np.random.default_rng(1).integers(0, 300, (1500, 2)))
    for base, weights in (("srw", None), ("mhrw", None), ("mhrw", "degree")):
        w = walk(graph, "none", base, weights=weights, n_steps=2000, n_walkers=32)
        d = w.estimate_mean_degree()
        assert abs(d.mean - graph.degrees.mean()) < 5 * d.stderr
        shares = w.degree_distribution()
        degrees, counts = np.unique(graph.degrees, return_counts=True)
        assert shares.names == tuple(map(str, degrees))
        assert np.all(np.abs(shares.mean - counts / 300) < 5 * shares.stderr + 1e-12)
        assert shares.mean.sum() == pytest.approx(1)


def test_what_repellence_forbids() -> None:
    w = walk(record="path")
    for method in ("batch", "overlapping"):
        with pytest.raises(ArgumentError, match="walk with history"):
            w.stderr(BELOW, method)
    with pytest.raises(ArgumentError, match="has too few collisions"):
        w.estimate_size()
    still = walk(BARBELL, "hdt", "mhda", 0.0, record="path")
    assert still.stderr(BELOW, "batch") > 0


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
    assert "total variation" in str(w.summary())
    axes = w.plot_marginals()
    assert len(axes) == 1
    again = pickle.loads(pickle.dumps(walk(f=lambda nodes: nodes, record=record)))
    assert again.expect(BELOW).stderr == walk(record=record).expect(BELOW).stderr
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
    far = walk(fm.walks.as_graph([[i, i + 1] for i in range(99)]), init=0, n_steps=10)
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
    assert isinstance(back, fm.walks.WalkResult)
    if record == "none":
        assert back.expect().mean == w.expect().mean
        return
    same(w, back)
    for under in (None, "uniform", "degree"):
        assert back.expect(BELOW, under).stderr == w.expect(BELOW, under).stderr
    assert back.tvd == w.tvd
    with pytest.raises(ArgumentError, match="cannot be continued"):
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
