"""The reference laws of walks: their invariances, and simulations by a plain generator."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import walks_reference as ref
from numpy.typing import NDArray
from scipy.linalg import solve_continuous_lyapunov
from scipy.sparse.csgraph import connected_components
from scipy.stats import binom, norm

Array = NDArray[np.float64]

SMALL = [graph for n in (2, 3, 4, 5) for graph in ref.connected_graphs(n)]
LOOPS = [
    ref.graph_of(3, [(0, 0), (0, 1), (1, 2)]),
    ref.graph_of(4, [(0, 1), (1, 2), (2, 0), (2, 3), (3, 3), (1, 1)]),
    ref.graph_of(2, [(0, 1), (1, 1)]),
]
KITE = ref.graph_of(5, {(0, 1): 2.0, (0, 2): 0.5, (1, 2): 1.5, (2, 3): 3.0, (3, 4): 0.7, (1, 3): 1})
TARGET = np.array([1.0, 2.5, 0.6, 1.7, 0.9])
HISTORY = np.array([2.0, 4.5, 1.5, 2.2, 3.1])
TRIES = [("mtm", k, balance) for k in (2, 3) for balance in ("barker", "sqrt")]
WITH_TARGET: list[ref.Base] = ["mhrw", "barker", "mhda", *TRIES, ("lazy", "mhrw", 0.3)]
OWN_LAW: list[ref.Base] = ["srw", "weighted", "nbrw", ("lazy", "srw", 0.4)]


def name(base: Any) -> str:
    return "-".join(map(str, ref.parts(base)))


def kept(heads: NDArray[np.int64], matrix: Array) -> list[Array]:
    """The laws on nodes of all closed classes of states."""
    n, labels = connected_components(matrix > 0, connection="strong")
    laws = []
    for label in range(n):
        inside = labels == label
        block = matrix[np.ix_(inside, inside)]
        if np.allclose(block.sum(axis=1), 1.0, atol=1e-12):
            law = np.zeros(len(matrix))
            law[inside] = ref.stationary(block)
            laws.append(np.bincount(heads, weights=law))
    return laws


def assert_keeps(graph: ref.Graph, base: ref.Base, weights: Array | None, law: Array, *how: Any):
    """A walk keeps the law, whatever class of states it is in."""
    heads, matrix = ref.heads(graph, base), ref.transition(graph, base, weights, *how)
    assert np.all(matrix >= 0)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    laws = kept(heads, matrix)
    assert laws
    for one in laws:
        np.testing.assert_allclose(one, law / law.sum(), rtol=0, atol=1e-12)


def test_there_are_as_many_connected_graphs_as_there_should_be() -> None:
    assert [sum(1 for _ in ref.connected_graphs(n)) for n in (1, 2, 3, 4, 5)] == [1, 1, 2, 6, 21]


@pytest.mark.parametrize("base", WITH_TARGET, ids=name)
def test_targets_are_kept(base: ref.Base) -> None:
    rng = np.random.default_rng(1)
    for graph in SMALL + LOOPS:
        w = rng.uniform(0.2, 3.0, graph.n)
        assert_keeps(graph, base, None, np.ones(graph.n))
        assert_keeps(graph, base, w, w)


@pytest.mark.parametrize("base", [b for b in WITH_TARGET if ref.parts(b)[0] != "lazy"], ids=name)
def test_frozen_histories_tilt_targets(base: ref.Base) -> None:
    rng = np.random.default_rng(2)
    for graph in SMALL + LOOPS:
        w, c = rng.uniform(0.5, 2.0, (2, graph.n))
        assert_keeps(graph, base, w, w * (c / w) ** -2.0, "hdt", 2.0, c)


@pytest.mark.parametrize("base", [*OWN_LAW, "maxdeg"], ids=name)
def test_chains_without_a_target_keep_their_own(base: ref.Base) -> None:
    rng = np.random.default_rng(3)
    for graph in SMALL + LOOPS:
        if base == "weighted":
            pairs = [(i, j) for i in range(graph.n) for j in graph.neighbors(i) if i <= j]
            graph = ref.graph_of(graph.n, {pair: rng.uniform(0.2, 3.0) for pair in pairs})
        assert_keeps(graph, base, None, ref.target(graph, base, None))


@pytest.mark.parametrize(
    "base", ["srw", "weighted", "maxdeg", "mhrw", "barker", ("lazy", "srw", 0.4)], ids=name
)
def test_frozen_histories_repel(base: ref.Base) -> None:
    rng = np.random.default_rng(4)
    for graph in SMALL + LOOPS:
        w = rng.uniform(0.5, 2.0, graph.n) if base in ("mhrw", "barker") else None
        mu, c = ref.target(graph, base, w), rng.uniform(0.5, 2.0, graph.n)
        r = (c / mu) ** -3.0
        law = mu * r * (ref.transition(graph, base, w) @ r)
        assert_keeps(graph, base, w, law, "srrw", 3.0, c)
        # The true self-avoiding walk has the same form, of differences and not of quotients.
        r = np.exp(-1.5 * (c - c.sum() * mu / mu.sum()))
        law = mu * r * (ref.transition(graph, base, w) @ r)
        assert_keeps(graph, base, w, law, "tsaw", 1.5, c)


@pytest.mark.parametrize(
    ("kernel", "base"),
    [
        *[("hdt", base) for base in ["mhrw", "mhda", "barker", *TRIES]],
        *[("srrw", base) for base in ["mhrw", "barker", *TRIES]],
    ],
    ids=str,
)
def test_large_alphas_neither_overflow_nor_lose_moves(kernel: str, base: ref.Base) -> None:
    for alpha in (50.0, 500.0):
        matrix = ref.transition(KITE, base, TARGET, kernel, alpha, HISTORY)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=0, atol=1e-12)
        # A history that is the target, in another unit, repels from nothing.
        same = ref.transition(KITE, base, TARGET, kernel, alpha, 1e100 * TARGET)
        np.testing.assert_allclose(same, ref.transition(KITE, base, TARGET), rtol=0, atol=1e-10)


@pytest.mark.parametrize("alpha", [1, 50, 500])
def test_rows_in_whole_numbers(alpha: int) -> None:
    w, c = [Fraction(x) for x in TARGET], [Fraction(x) for x in HISTORY]
    d = [len(KITE.neighbors(i)) for i in range(5)]
    r = [(y / x) ** -alpha for x, y in zip(w, c, strict=True)]
    metropolis, barker = np.zeros((2, 5, 5))
    for i in range(5):
        for j in KITE.neighbors(i):
            ratio = w[j] * r[j] * d[i] / (w[i] * r[i] * d[j])
            metropolis[i, j] = min(Fraction(1), ratio) / d[i]
            barker[i, j] = ratio / (1 + ratio) / d[i]
    for base, moves in (("mhrw", metropolis), ("barker", barker)):
        matrix = ref.transition(KITE, base, TARGET, "hdt", alpha, HISTORY)
        np.testing.assert_allclose(matrix - np.diag(np.diag(matrix)), moves, rtol=1e-11)
    matrix = ref.transition(KITE, "mhrw", TARGET, "srrw", alpha, HISTORY)
    for i, row in enumerate(ref.transition(KITE, "mhrw", TARGET)):
        total = sum(Fraction(p) * r[k] for k, p in enumerate(row))
        expected = [float(Fraction(p) * r[k] / total) for k, p in enumerate(row)]
        np.testing.assert_allclose(matrix[i], expected, rtol=1e-11)


PATHS: list[tuple[ref.Base, str, Any, float]] = [
    *[(base, "none", 0.0, 1.0) for base in ["maxdeg", ("node2vec", 0.3, 2.0), *OWN_LAW]],
    *[(base, "hdt", 2.0, 1.0) for base in WITH_TARGET],
    *[(base, "srrw", 2.0, 1.0) for base in ("srw", "weighted", "mhrw", "maxdeg", "barker")],
    *[("mhrw", kernel, 3.0, 0.7) for kernel in ("hdt", "srrw")],
    ("mhda", "hdt", ("linear", 0.5, 6.0, 2), 0.8),
    ("srw", "srrw", ("log", 2.0, 10.0), 1.0),
    ("mhrw", "tsaw", 1.0, 1.0),
]


@pytest.mark.parametrize(
    ("base", "kernel", "alpha", "exponent"), PATHS, ids=lambda x: str(x).replace(" ", "")
)
def test_dice_show_the_law_of_a_path(base: Any, kernel: str, alpha: Any, exponent: float) -> None:
    w = TARGET if base in WITH_TARGET else None
    n, steps = 2000, 2 if ref.parts(base)[0] == "mtm" else 3
    start = (KITE, base, w, kernel, alpha, HISTORY, 1, steps)
    law = ref.path_law(*start, exponent)
    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    paths = ref.simulate(*start, n, np.random.default_rng(5), exponent)
    counts = np.zeros_like(law)
    np.add.at(counts, tuple(paths.T), 1)
    tails = np.minimum(binom.cdf(counts, n, law), binom.sf(counts - 1, n, law))
    assert tails.min() > norm.sf(5.0)


# --- The limits of the long run ---


def limit(graph: ref.Graph, base: ref.Base, w: Array | None, how: str, alpha: float, e: float):
    """Covariance of the history by its drift x -> law of frozen x, minus x."""
    mu = ref.target(graph, base, w) / ref.target(graph, base, w).sum()
    nodes = ref.heads(graph, base)
    back = slice(graph.n, None) if len(nodes) > graph.n else slice(None)  # the states that recur
    matrix = ref.transition(graph, base, w)[back, back]
    to_node = np.eye(graph.n)[nodes[back]]
    noise = to_node.T @ ref.base_variance(matrix, ref.stationary(matrix)) @ to_node
    if alpha == 0.0:
        return noise / (2.0 - e)

    def drift(x: Array) -> Array:
        frozen = ref.transition(graph, base, w, how, alpha, x)[back, back]
        return ref.to_nodes(ref.stationary(frozen), nodes[back]) - x

    jacobian = np.empty((graph.n, graph.n))
    for j in range(graph.n):
        step = np.zeros(graph.n)
        step[j] = 1e-5 * mu[j]
        jacobian[:, j] = (drift(mu + step) - drift(mu - step)) / (2 * step[j])
    return solve_continuous_lyapunov(jacobian + e / 2 * np.eye(graph.n), -noise)


def barbell() -> ref.Graph:
    """Two complete graphs on 5 nodes, and a path of 2 between them."""
    edges = [(i, j) for k in (0, 7) for i in range(k, k + 5) for j in range(k, i)]
    return ref.graph_of(12, [*edges, (4, 5), (5, 6), (6, 7)])


CYCLE = ref.graph_of(9, [(i, (i + 1) % 9) for i in range(9)])
PATH = ref.graph_of(6, [(i, i + 1) for i in range(5)])
HALF = (np.arange(12) < 6).astype(float)


@pytest.mark.parametrize(
    ("graph", "base", "kernel", "alpha", "f", "a", "value"),
    [
        (CYCLE, "srw", "srrw", 5.0, np.arange(9.0), 1.0, 1.911052785),
        (CYCLE, "srw", "srrw", 5.0, np.arange(9.0), 0.8, 1.80415),
        (PATH, "mhrw", "srrw", 1.0, np.arange(6.0), 1.0, 8.509259259),
        (PATH, "mhrw", "srrw", 2.0, np.arange(6.0), 0.8, 4.2546296),
        (barbell(), "mhrw", "srrw", 5.0, HALF, 1.0, 0.7175898053),
        (barbell(), "srw", "srrw", 2.0, HALF, 1.0, 1.85531005),
        (barbell(), "mhrw", "hdt", 1.0, HALF, 1.0, 4.944444444),
        (barbell(), "mhda", "hdt", 0.0, HALF, 1.0, 7.499862438),
        (barbell(), "mhda", "hdt", 5.0, HALF, 1.0, 0.6818056762),
        (barbell(), TRIES[0], "hdt", 1.0, HALF, 1.0, 13.738 / 3),
        (barbell(), "nbrw", "none", 0.0, HALF, 1.0, 3.521739130),
        (barbell(), TRIES[0], "none", 0.0, HALF, 1.0, 13.738),
        (barbell(), TRIES[1], "none", 0.0, HALF, 1.0, 13.475),
    ],
)
def test_limits_by_linear_algebra(
    graph: ref.Graph, base: ref.Base, kernel: str, alpha: float, f: Array, a: float, value: float
) -> None:
    v = limit(graph, base, None, kernel, alpha, float(a == 1.0))
    assert f @ v @ f == pytest.approx(value, rel=5e-5 if "mtm" in base else 1e-6)
