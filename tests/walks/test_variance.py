"""Asymptotic variances of walks: known values, closed forms, definitions, simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from walks_help import (
    adjacency,
    barbell,
    base_covariance,
    complete,
    cycle,
    delayed_acceptance,
    law_of,
    metropolis,
    multiple_try,
    path,
    petersen,
    random_graph,
    star,
)

import fermiac as fm
from fermiac.walks import MTM, Lazy, Node2Vec, transition

Array = NDArray[np.float64]


def asymptotic_variance(graph: Any, *arguments: Any, **more: Any) -> Any:
    return fm.walks.asymptotic_variance(sparse.csr_array(graph), *arguments, **more)


def spectral_gap(graph: Any, *arguments: Any, **more: Any) -> float:
    return fm.walks.spectral_gap(sparse.csr_array(graph), *arguments, **more)


def chain_of(graph: Any, base: Any, weights: Any = None) -> Any:
    return transition.chain_of(sparse.csr_array(graph), base, weights)


ALPHAS = (0.0, 1.0, 2.0, 5.0, 10.0)
BELLS = barbell(5, 2)
HALF = (np.arange(12) < 6).astype(float)

# Graph, function, base, kernel, step exponent, relative error of the digits, values over ALPHAS.
KNOWN = [
    (cycle(9), np.arange(9), "srw", "srrw", 1.0, 1e-9,
     (34.22222222222222, 7.758169935, 4.389863548, 1.911052785, 0.9860357785)),
    (cycle(9), np.arange(9), "srw", "srrw", 0.7, 1e-7,
     (17.111111, 6.3093682, 3.879085, 1.80415, 0.95552639)),
    (complete(6), np.arange(6) == 0, "srw", "srrw", 1.0, 1e-9,
     (0.09259259259, 0.03561253561, 0.02204585538, 0.01028806584, 0.005446623094)),
    (complete(6), np.arange(6) == 0, "srw", "srrw", 0.7, 2e-8,
     (0.046296296, 0.025720165, 0.017806268, 0.0092592593, 0.0051440329)),
    (petersen(), np.arange(10) < 5, "srw", "srrw", 1.0, 1e-9,
     (0.5, 0.1363636364, 0.07894736842, 0.03488372093, 0.01807228916)),
    (petersen(), np.arange(10) < 5, "srw", "srrw", 0.7, 1e-7,
     (0.25, 0.10714286, 0.068181818, 0.032608696, 0.01744186)),
    (star(5), np.arange(6), "srw", "srrw", 1.0, 1e-12, (1, 1 / 3, 1 / 5, 1 / 11, 1 / 21)),
    (star(5), np.arange(6), "srw", "srrw", 0.7, 1e-12, (1 / 2, 1 / 4, 1 / 6, 1 / 12, 1 / 22)),
    (path(6), np.arange(6), "mhrw", "srrw", 1.0, 1e-9,
     (40.25, 8.509259259, 4.757692308, 2.048418972, 1.050968141)),
    (path(6), np.arange(6), "mhrw", "srrw", 0.7, 1e-7,
     (20.125, 7.0240385, 4.2546296, 1.9491747, 1.0242095)),
    (BELLS, HALF, "mhrw", "srrw", 1.0, 1e-9,
     (14.83333333333333, 3.005475906, 1.67238583, 0.7175898053, 0.3677104114)),
    (BELLS, HALF, "mhrw", "srrw", 0.7, 1e-7,
     (7.4166667, 2.4987948, 1.502738, 0.68441358, 0.3587949)),
    (BELLS, HALF, "srw", "srrw", 1.0, 1e-9,
     (16.47826087, 3.334929993, 1.85531005, 0.7959464591, 0.4078371088)),
    (BELLS, HALF, "mhrw", "hdt", 1.0, 1e-9,
     (14.83333333333333, 4.944444444, 2.966666667, 1.348484848, 0.7063492063)),
    (BELLS, HALF, "mhda", "hdt", 1.0, 1e-9,
     (7.499862438, 2.499954146, 1.499972488, 0.6818056762, 0.3571363066)),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "f", "base", "kernel", "exponent", "digits", "values"), KNOWN)
@pytest.mark.parametrize("method", ["dense", "iterative"])
def test_known_values(
    graph: Array, f: Array, base: str, kernel: str, exponent: float, digits: float,
    values: tuple[float, ...], method: str,
) -> None:  # fmt: skip
    for alpha, value in zip(ALPHAS, values, strict=True):
        v = asymptotic_variance(
            graph, f.astype(float), kernel, base, alpha, step_exponent=exponent, method=method
        )
        assert v == pytest.approx(value, rel=digits)


@pytest.mark.parametrize("method", ["dense", "iterative"])
def test_known_values_of_other_bases(method: str) -> None:
    for base, value, digits in (
        ("nbrw", 3.521739130, 1e-9),
        (MTM(2, "barker"), 13.738, 4e-5),
        (MTM(2, "sqrt"), 13.475, 4e-5),
        ("mhda", 7.499862438, 1e-9),
    ):
        v = asymptotic_variance(BELLS, HALF, "none", base, method=method)
        assert v == pytest.approx(value, rel=digits)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 30])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("e", [0, 1])
def test_closed_forms(n: int, alpha: float, e: int) -> None:
    a = 1.0 if e else 0.8

    def v(graph: Array, f: Any) -> Any:
        return asymptotic_variance(
            graph, f, base="srw", alpha=alpha, step_exponent=a, covariance=True
        )

    # All modes of a complete graph have the eigenvalue -1 / (n - 1).
    up = (n - 2) / (n - 1)
    exact = (np.eye(n) - 1 / n) / n * (n - 2) / n / (2 * alpha * up + 2 - e)
    np.testing.assert_allclose(v(complete(n), np.eye(n)), exact, rtol=1e-9, atol=1e-16)
    # The leaves of a star: eigenvalue 0, of the law 1 / (2 n) each; the hub's mode does not count.
    f = np.arange(n + 1.0)
    f[0] = 17.0
    exact = np.var(f[1:]) / 2 / (2 * alpha + 2 - e)
    assert v(star(n), f) == pytest.approx(exact, rel=1e-9)
    # A cosine on a cycle is a mode.
    if n > 2:
        f = np.cos(2 * np.pi * np.arange(n) / n)
        mode = math.cos(2 * math.pi / n)
        exact = 0.5 * (1 + mode) / (1 - mode) / (2 * alpha * (1 + mode) + 2 - e)
        assert v(cycle(n), f) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("loops", [False, True])
def test_chains_are_those_of_the_definitions(loops: bool) -> None:
    graph = random_graph(7, 6, seed=2, loops=loops)
    rng = np.random.default_rng(3)
    weighted = np.triu(graph * rng.uniform(0.5, 2.0, (7, 7)))
    weighted += np.triu(weighted, 1).T
    w, d, f = rng.uniform(0.2, 3.0, 7), graph.sum(axis=1), rng.standard_normal((7, 2))
    cases: list[tuple[Any, Any, Any, Array, Array | None]] = [
        (graph, "srw", None, graph / d[:, None], d),
        (weighted, "weighted", None, weighted / weighted.sum(1)[:, None], weighted.sum(1)),
        (graph, "mhrw", w, metropolis(graph, w, lambda r: min(1.0, r)), w),
        (weighted, "mhrw", w, metropolis(graph, w, lambda r: min(1.0, r)), w),
        (graph, "mhrw", "degree", metropolis(graph, d, lambda r: min(1.0, r)), d),
        (graph, "barker", w, metropolis(graph, w, lambda r: r / (1 + r)), w),
        (graph, MTM(2), w, multiple_try(graph, w, 2, lambda u: u / (1 + u)), w),
        (graph, MTM(3, "sqrt"), w, multiple_try(graph, w, 3, math.sqrt), w),
        (graph, MTM(1, "sqrt"), w, metropolis(graph, w, lambda r: min(1.0, r)), w),
        (graph, Lazy("barker", 0.3), w, None, w),
        (graph, "lazy", None, 0.5 * np.eye(7) + 0.5 * graph / d[:, None], d),
        (graph, "maxdeg", None, None, np.ones(7)),
    ]  # fmt: skip
    barker = metropolis(graph, w, lambda r: r / (1 + r))
    plain = graph / d.max() * (1 - np.eye(7))
    missing = iter([0.3 * np.eye(7) + 0.7 * barker, plain + np.diag(1 - plain.sum(1))])
    for g, base, weights, matrix, law in cases:
        exact = next(missing) if matrix is None else matrix
        chain = chain_of(g, base, weights)
        np.testing.assert_allclose(chain.matrix.toarray(), exact, atol=1e-14)
        np.testing.assert_allclose(chain.mu, law / law.sum(), rtol=1e-13)
        v = f.T @ base_covariance(exact, law / law.sum()) @ f
        for method in "dense", "iterative":
            got = asymptotic_variance(
                g, f, "none", base, weights=weights, covariance=True, method=method
            )
            np.testing.assert_allclose(got, v, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("eps", [0.0, 0.4])
@pytest.mark.parametrize("base", ["mhda", "nbrw"])
def test_chains_on_edges_are_those_of_the_definitions(loops: bool, eps: float, base: str) -> None:
    graph = random_graph(8, 7, seed=5, loops=loops)
    rng = np.random.default_rng(6)
    w = graph.sum(axis=1) if base == "nbrw" else rng.uniform(0.2, 3.0, 8)
    matrix, nodes = delayed_acceptance(graph, w)
    matrix = eps * np.eye(len(matrix)) + (1 - eps) * matrix
    law = law_of(matrix)
    np.testing.assert_allclose(np.bincount(nodes, law), w / w.sum(), atol=1e-13)
    weights = None if base == "nbrw" else w
    lazy = Lazy(base, eps) if eps else base
    chain = chain_of(graph, lazy, weights)
    np.testing.assert_allclose(chain.matrix.toarray(), matrix, atol=1e-14)
    np.testing.assert_allclose(chain.law, law, atol=1e-14)
    f = rng.standard_normal((8, 2))
    v = f[nodes].T @ base_covariance(matrix, law) @ f[nodes]
    for method in "dense", "iterative":
        got = asymptotic_variance(
            graph, f, "hdt", lazy, 3.0, weights, 0.8, covariance=True, method=method
        )
        np.testing.assert_allclose(got, v / 8.0, rtol=1e-9)


def test_on_a_cycle_a_walk_that_does_not_go_back_has_no_variance() -> None:
    f = np.random.default_rng(0).standard_normal(11)
    for base in "nbrw", "mhda":
        for method in "dense", "iterative":
            v = asymptotic_variance(cycle(11), f, "none", base, method=method)
            assert 0.0 <= v < 1e-10


@pytest.mark.parametrize(
    ("kernel", "base"),
    [("srrw", "mhrw"), ("srrw", "srw"), ("hdt", MTM()), ("hdt", "mhda"), ("hdt", "nbrw")],
)
def test_iterations_find_what_factors_do(kernel: str, base: Any) -> None:
    for seed in range(3):
        graph = sparse.csr_array(random_graph(150, 100, seed))
        f = np.random.default_rng(seed).standard_normal((150, 3))
        dense, iterative = (
            asymptotic_variance(graph, f, kernel, base, 4.0, covariance=True, method=method)
            for method in ("dense", "iterative")
        )
        np.testing.assert_allclose(iterative, dense, rtol=1e-8, atol=1e-10 * dense.max())


def test_labels_do_not_matter_and_neither_does_the_scale_of_the_target() -> None:
    graph = random_graph(12, 10, seed=1)
    rng = np.random.default_rng(2)
    f, w, order = rng.standard_normal(12), rng.uniform(0.1, 1.0, 12), rng.permutation(12)
    for kernel, base in ("srrw", "mhrw"), ("srrw", "barker"), ("hdt", "mhda"):
        v = asymptotic_variance(graph, f, kernel, base, 2.0, w)
        moved = graph[np.ix_(order, order)]
        assert asymptotic_variance(moved, f[order], kernel, base, 2.0, w[order]) == pytest.approx(v)
        assert asymptotic_variance(graph, 5.0 - f, kernel, base, 2.0, w * 1e-200) == pytest.approx(
            v
        )


def test_shapes_callables_and_kernels_without_history() -> None:
    f = np.stack([HALF, np.arange(12.0)], axis=1)
    v = asymptotic_variance(BELLS, f)
    full = asymptotic_variance(BELLS, f, covariance=True)
    assert v.shape == (2,)
    np.testing.assert_array_equal(np.diag(full), v)
    assert isinstance(asymptotic_variance(BELLS, HALF), float)
    assert asymptotic_variance(BELLS, HALF) == pytest.approx(v[0], rel=1e-12)
    assert asymptotic_variance(
        BELLS, lambda i: i < 6, weights=lambda i: i * 0 + 3
    ) == pytest.approx(v[0])
    base = asymptotic_variance(BELLS, HALF, "none", alpha=math.pi)
    for kernel in "srrw", "hdt":
        assert asymptotic_variance(BELLS, HALF, kernel, alpha=0.0) == pytest.approx(base, rel=1e-12)
    v = asymptotic_variance(BELLS, HALF, alpha=("linear", 0.5, 3.0, 100))
    assert (
        v
        == asymptotic_variance(BELLS, HALF, alpha=3)
        == asymptotic_variance(BELLS, HALF, alpha=("log", 0.0, 3))
    )
    assert asymptotic_variance(np.eye(1), [3.0], base="srw") == 0.0
    # Self-repellence brings variances down in every direction.
    low = asymptotic_variance(BELLS, np.eye(12), alpha=3.0, covariance=True)
    high = asymptotic_variance(BELLS, np.eye(12), alpha=2.0, covariance=True)
    assert np.linalg.eigvalsh(high - low).min() > -1e-12


@pytest.mark.parametrize("base", ["srw", "mhrw", "lazy"])
def test_spectral_gap(base: str) -> None:
    exact = 1 - math.cos(2 * math.pi / 10)
    exact *= 0.5 if base == "lazy" else 1.0
    assert spectral_gap(cycle(10), base) == pytest.approx(exact, rel=1e-9)
    # An even cycle is bipartite.
    exact = 0.0 if base != "lazy" else exact
    assert spectral_gap(cycle(10), base, absolute=True) == pytest.approx(exact, abs=1e-9)
    graph = sparse.csr_array(random_graph(501, 700, seed=4))
    values = np.sort(np.linalg.eigvalsh(chain_of(graph, base).symmetric().toarray()))
    assert spectral_gap(graph, base) == pytest.approx(1 - values[-2], rel=1e-8)
    absolute = 1 - max(values[-2], -values[0])
    assert spectral_gap(graph, base, absolute=True) == pytest.approx(absolute, abs=1e-9)


def test_a_large_graph() -> None:
    # The parities of k coordinates of a hypercube have the eigenvalue 1 - 2 k / dim.
    dim = 12
    n = 2**dim
    i = np.arange(n)
    ends = (i[:, None] ^ (1 << np.arange(dim))).reshape(-1)
    graph = sparse.csr_array((np.ones(n * dim), ends, dim * np.arange(n + 1)), shape=(n, n))
    f, exact = np.zeros(n), 0.0
    for k, share in enumerate((0.5, -1.0, 0.3, 2.0, 0.1, 1.0), 1):
        f += share * (-1.0) ** np.bitwise_count(i & ((1 << k) - 1))
        mode = 1 - 2 * k / dim
        exact += share**2 * (1 + mode) / (1 - mode) / (10 * (1 + mode) + 1)
    assert asymptotic_variance(graph, f, "srrw", "mhrw", 5.0) == pytest.approx(exact, rel=1e-10)
    assert spectral_gap(graph) == pytest.approx(2 / dim, rel=1e-9)


BROKEN = adjacency(5, [(0, 1), (2, 3), (3, 4)])
ONE_WAY = np.array([[0.0, 1, 1], [1, 0, 1], [1, 0, 0]])
UNEVEN = np.array([[0.0, 1, 2], [1, 0, 1], [3, 1, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "tsaw"}, "no central limit theorem"),
        ({"kernel": "rotor"}, "no central limit theorem"),
        ({"kernel": "saw"}, "no central limit theorem"),
        ({"kernel": "walk"}, "'srrw'"),
        ({"base": "mhda"}, r"edge \(\d, \d\).*kernel='hdt'"),
        ({"base": "nbrw"}, r"edge \(\d, \d\).*kernel='hdt'"),
        ({"base": Lazy("mhda")}, "kernel='hdt'"),
        ({"base": Node2Vec(), "kernel": "none"}, "node2vec"),
        ({"base": "walk"}, "'mhrw'"),
        ({"base": "srw", "weights": "degree"}, "leave them out"),
        ({"base": "lazy", "weights": np.ones(12)}, "leave them out"),
        ({"weights": "uniform"}, "'degree'"),
        ({"weights": np.ones(11)}, r"\(12,\) or"),
        ({"weights": np.ones((12, 1))}, r"\(12,\) is needed"),
        ({"weights": np.arange(12.0)}, "0 was given at node 0"),
        ({"weights": [math.inf] + [1.0] * 11}, "inf at node 0"),
        ({"weights": [math.nan] + [1.0] * 11}, "NaN"),
        ({"f": np.ones(11)}, "11"),
        ({"f": np.ones((12, 1, 1))}, r"\(12, k\)"),
        ({"f": "degree"}, "'degree'"),
        ({"f": lambda i: np.ones(3)}, r"an array of shape \(3,\)"),
        ({"f": lambda i: np.where(i == 7, np.nan, 1.0)}, "at node 7"),
        ({"alpha": -1.0}, "from 0 up"),
        ({"alpha": math.inf}, "from 0 up"),
        ({"alpha": True}, "from 0 up"),
        ({"alpha": "5"}, "from 0 up"),
        ({"alpha": ("linear", 1.0, 2.0)}, "'log'"),
        ({"step_exponent": 0.5}, "1/2, 1"),
        ({"step_exponent": 1.5}, "1/2, 1"),
        ({"method": "sparse"}, "'dense'"),
        ({"graph": BROKEN, "f": np.ones(5)}, "2 components of 3, 2 nodes"),
        ({"graph": np.zeros((1, 1)), "f": [1.0]}, "without edges"),
        ({"graph": ONE_WAY, "f": np.ones(3)}, r"edge \(1, 2\) has weight 1, its reverse 0"),
        ({"graph": UNEVEN, "f": np.ones(3), "base": "weighted"}, r"\(0, 2\).*kernel='hdt'"),
        ({"base": MTM(64)}, "enumerates"),
    ],
)  # fmt: skip
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    given = {"graph": BELLS, "f": HALF, **arguments}
    error = fm.errors.TargetError if callable(given["f"]) else fm.errors.ArgumentError
    if isinstance(given["base"] if "base" in given else "", MTM):
        given["weights"] = np.random.default_rng(0).uniform(1, 2, 12)
    with pytest.raises(error, match=message):
        asymptotic_variance(**given)


def test_bases_and_gaps_that_are_refused() -> None:
    for call in (
        lambda: Lazy("srw", 1.0),
        lambda: Lazy("srw", True),
        lambda: Lazy("lazy"),
        lambda: Lazy(Node2Vec()),  # type: ignore[arg-type]
        lambda: MTM(0),
        lambda: MTM(2, "max"),
        lambda: Node2Vec(p=0.0),
        lambda: spectral_gap(BELLS, "mhda"),
        lambda: spectral_gap(BROKEN),
    ):
        with pytest.raises(fm.errors.ArgumentError):
            call()


def simulate(graph: Array, w: Array, kernel: str, alpha: float, a: float, n: int) -> Array:
    """Visit measures of 2000 walks after n steps, step by step from the definition."""
    rng, runs, size = np.random.default_rng(8), 2000, len(graph)
    d = graph.sum(axis=1)
    p = metropolis(graph, w, lambda r: min(1.0, r))
    mu = w / w.sum()
    near = np.argsort(-graph, axis=1, kind="stable")
    x, at, row = np.tile(mu, (runs, 1)), rng.integers(size, size=runs), np.arange(runs)
    for step in range(n):
        if kernel == "srrw":
            chances = p[at] * (x / mu) ** -alpha
            sums = np.cumsum(chances, axis=1)
            at = (sums < rng.random(runs)[:, None] * sums[:, -1:]).sum(axis=1)
        else:
            target = mu * (x / mu) ** -alpha
            to = near[at, (rng.random(runs) * d[at]).astype(int)]
            ratio = target[row, to] * d[at] / (target[row, at] * d[to])
            at = np.where(rng.random(runs) < ratio, to, at)
        gamma = 1.0 / (size + step + 1) if a == 1.0 else (step + 2.0) ** -a
        x *= 1.0 - gamma
        x[row, at] += gamma
    return x


@pytest.mark.parametrize(
    ("kernel", "alpha", "a", "n"),
    [("srrw", 2.0, 1.0, 1500), ("srrw", 3.0, 0.8, 3000), ("hdt", 1.0, 1.0, 3000)],
)
def test_simulated_walks_have_these_variances(kernel: str, alpha: float, a: float, n: int) -> None:
    graph = random_graph(6, 7, seed=9)
    w = np.array([1.0, 2.0, 1.5, 1.0, 0.8, 1.2])
    f = np.array([1.0, -1.0, 0.5, 2.0, 0.0, -2.0])
    x = simulate(graph, w, kernel, alpha, a, n)
    gamma = 1.0 / (len(w) + n) if a == 1.0 else (n + 1.0) ** -a
    errors = ((x - w / w.sum()) @ f) ** 2 / gamma
    v = asymptotic_variance(graph, f, kernel, "mhrw", alpha, w, a)
    stderr = v * math.sqrt(2 / len(errors))
    assert abs(errors.mean() - v) < 5 * stderr
