"""Walks of the engine against exact laws of their first steps and of their long runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import walks_reference as ref
from numpy.typing import NDArray
from scipy.stats import binom, chi2, norm

import fermiac as fm

Array = NDArray[np.float64]

N_WALKERS = 80_000
ALPHAS = [0.0, 1.0, 5.0, 50.0, 500.0]

EDGES = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (1, 3)]
KITE = ref.graph_of(5, EDGES)
LADEN = ref.graph_of(5, dict(zip(EDGES, [2.0, 0.5, 1.5, 3.0, 0.7, 1.0], strict=True)))
LOOPED = ref.graph_of(5, [*EDGES, (0, 0), (3, 3), (4, 4)])
TARGET = np.array([1.0, 2.5, 0.6, 1.7, 0.9])
HISTORY = np.array([2.0, 4.5, 1.5, 2.2, 3.1])
TWIST = np.array([0.7, -1.0, 1.4, 0.2, -0.6])

LAZY = ("lazy", "srw", 0.3)
TRIES = [("mtm", k, balance) for k in (2, 3) for balance in ("barker", "sqrt")]
WITH_TARGET: list[ref.Base] = ["mhrw", "barker", "mhda", *TRIES, ("lazy", "mhrw", 0.4)]
REVERSIBLE: list[ref.Base] = ["srw", "weighted", "maxdeg", "mhrw", "barker", LAZY]


def named(x: Any) -> str:
    return "-".join(map(str, x)) if isinstance(x, tuple) else str(x)


def public(base: ref.Base) -> Any:
    """The engine's name of a base chain."""
    name, *options = ref.parts(base)
    if name == "lazy":
        return fm.walks.Lazy(public(options[0]), options[1])
    types = {"mtm": "MTM", "node2vec": "Node2Vec"}
    return getattr(fm.walks, types[name])(*options) if name in types else name


def walk(graph: ref.Graph, kernel: str, base: ref.Base, alpha: Any, **how: Any) -> Any:
    rows = graph if graph.weights is not None else graph[:2]
    if kernel in ("srrw", "hdt", "tsaw"):
        how["alpha"] = alpha
    how.setdefault("burn_in", 0)
    return fm.walks.walk(tuple(rows), kernel=kernel, base=public(base), **how)


def judge(counts: Array, law: Array) -> None:
    """Each cell within 5 standard errors, in binomial tails, and all of them together."""
    n = int(counts.sum())
    assert counts[law == 0].sum() == 0
    inside = law > 0
    seen, p = counts[inside], law[inside]
    tails = np.minimum(binom.cdf(seen, n, p), binom.sf(seen - 1, n, p))
    assert tails.min() > norm.sf(5.0)
    # One cell for all that is rare.
    rare = n * p < 10
    expected = np.append(n * p[~rare], n * p[rare].sum())
    observed = np.append(seen[~rare], seen[rare].sum())
    large = expected >= 5
    distance = np.sum((observed - expected)[large] ** 2 / expected[large])
    assert chi2.sf(distance, max(1, large.sum() - 1)) > 2 * norm.sf(5.0)


def check_paths(
    graph: ref.Graph,
    base: ref.Base,
    weights: Array | None,
    kernel: str,
    alpha: Any,
    history: Array | None,
    n_steps: int = 3,
    n_walkers: int | None = None,
    starts: list[int] | None = None,
    **how: Any,
) -> None:
    """The joint law of the first steps, from every start."""
    n_walkers, starts = n_walkers or N_WALKERS, starts or list(range(graph.n))
    start = np.resize(np.array(starts), n_walkers)
    extra = {} if history is None else {"pseudo_counts": history}
    if weights is not None:
        extra["weights"] = weights
    run = walk(
        graph,
        kernel,
        base,
        alpha,
        init=start,
        n_steps=n_steps,
        n_walkers=n_walkers,
        record="path",
        rng=11,
        **extra,
        **how,
    )
    paths = np.asarray(run.paths)[:, -n_steps:].astype(np.int64)
    if history is None:
        mu = ref.target(graph, base, weights)
        history = graph.n * mu / mu.sum()
    exponent = how.get("step_exponent", 1.0)
    for i in starts:
        law = ref.path_law(graph, base, weights, kernel, alpha, history, i, n_steps, exponent)
        counts = np.zeros_like(law)
        np.add.at(counts, tuple(paths[start == i].T), 1)
        judge(counts, law)


# --- First steps ---


@pytest.mark.parametrize(
    ("graph", "base"),
    [
        *[(g, base) for g in (KITE, LOOPED) for base in ("srw", "maxdeg", "nbrw", LAZY)],
        *[(g, ("node2vec", p, q)) for g in (KITE, LADEN) for p, q in ((0.25, 4.0), (5.0, 0.5))],
        (LADEN, "weighted"),
        (LADEN, ("lazy", "weighted", 0.6)),
    ],
    ids=lambda x: named(x) if not isinstance(x, ref.Graph) else "",
)
def test_first_steps_without_target(graph: ref.Graph, base: ref.Base) -> None:
    check_paths(graph, base, None, "none", 0.0, None)


@pytest.mark.parametrize("weights", [None, TARGET], ids=["uniform", "target"])
@pytest.mark.parametrize("base", WITH_TARGET, ids=named)
def test_first_steps_towards_a_target(base: ref.Base, weights: Array | None) -> None:
    check_paths(KITE, base, weights, "none", 0.0, None)
    check_paths(LOOPED, base, weights, "none", 0.0, None, n_steps=2)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("base", WITH_TARGET, ids=named)
def test_first_steps_of_history_driven_targets(base: ref.Base, alpha: float) -> None:
    steps = 2 if base[0] == "mtm" else 3
    check_paths(KITE, base, TARGET, "hdt", alpha, HISTORY, steps)
    # A history that leaves every move a fair chance however large alpha is.
    near = 1e4 * TARGET * np.exp(TWIST / max(alpha, 1.0))
    check_paths(LOOPED, base, TARGET, "hdt", alpha, near, steps)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("base", REVERSIBLE, ids=named)
def test_first_steps_of_self_repellent_walks(base: ref.Base, alpha: float) -> None:
    graph = LADEN if base == "weighted" else LOOPED
    weights = TARGET if base in ("mhrw", "barker") else None
    check_paths(graph, base, weights, "srrw", alpha, HISTORY)
    near = 1e4 * ref.target(graph, base, weights) * np.exp(TWIST / max(alpha, 1.0))
    check_paths(graph, base, weights, "srrw", alpha, near)


@pytest.mark.parametrize("beta", [0.0, 0.3, 2.0, 20.0])
@pytest.mark.parametrize("base", ["srw", "mhrw"])
def test_first_steps_of_true_self_avoiding_walks(base: ref.Base, beta: float) -> None:
    check_paths(KITE, base, TARGET if base == "mhrw" else None, "tsaw", beta, None)


@pytest.mark.parametrize("counts", ["target", "uniform", "degree"])
@pytest.mark.parametrize(("kernel", "base"), [("hdt", "mhrw"), ("srrw", "mhrw"), ("hdt", "mhda")])
def test_first_steps_with_named_pseudo_counts(kernel: str, base: str, counts: str) -> None:
    named = {"target": TARGET, "uniform": np.ones(5), "degree": KITE.degrees}[counts]
    start = np.resize(np.arange(5), N_WALKERS)
    how = {"weights": TARGET, "init": start, "n_walkers": N_WALKERS, "record": "path"}
    run = walk(KITE, kernel, base, 3.0, pseudo_counts=counts, n_steps=2, rng=7, **how)
    paths = np.asarray(run.paths)[:, -2:].astype(np.int64)
    history = 5 * named / named.sum()
    for i in range(5):
        law = ref.path_law(KITE, base, TARGET, kernel, 3.0, history, i, 2)
        observed = np.zeros_like(law)
        np.add.at(observed, tuple(paths[start == i].T), 1)
        judge(observed, law)


@pytest.mark.parametrize("exponent", [0.55, 0.75, 0.95])
@pytest.mark.parametrize(
    ("kernel", "base"), [("hdt", "mhrw"), ("hdt", "mhda"), ("srrw", "mhrw"), ("srrw", "srw")]
)
def test_first_steps_of_weighted_histories(kernel: str, base: str, exponent: float) -> None:
    weights = None if base == "srw" else TARGET
    check_paths(KITE, base, weights, kernel, 2.0, HISTORY, step_exponent=exponent)


@pytest.mark.parametrize("alpha", [("linear", 0.5, 6.0, 2), ("log", 2.0, 2.5)], ids=named)
@pytest.mark.parametrize(("kernel", "base"), [("hdt", "mhrw"), ("hdt", "mhda"), ("srrw", "srw")])
def test_first_steps_of_rising_alphas(kernel: str, base: str, alpha: Any) -> None:
    weights = None if base == "srw" else TARGET
    check_paths(KITE, base, weights, kernel, alpha, HISTORY)


@pytest.mark.parametrize(
    ("kernel", "base", "alpha"),
    [
        ("none", "srw", 0.0),
        ("none", "weighted", 0.0),
        ("none", "mhrw", 0.0),
        ("hdt", "mhrw", 4.0),
        ("hdt", "mhda", 4.0),
        ("srrw", "srw", 4.0),
        ("srrw", "srw", 400.0),
        ("srrw", "weighted", 4.0),
        ("srrw", "mhrw", 4.0),
    ],
)
def test_first_steps_from_a_hub(kernel: str, base: str, alpha: float) -> None:
    """Rows longer than any that a scan takes at once: a wheel of 300 spokes, from its hub."""
    n, rng = 301, np.random.default_rng(8)
    rim = [(i, i % (n - 1) + 1) for i in range(1, n)]
    edges = {pair: rng.uniform(0.2, 3.0) for pair in [(0, i) for i in range(1, n)] + rim}
    graph = ref.graph_of(n, edges if base == "weighted" else list(edges))
    weights = rng.uniform(0.5, 2.0, n) if base.startswith("mh") else None
    history = ref.target(graph, base, weights) * np.exp(rng.normal(size=n) / max(alpha, 1.0))
    given = None if kernel == "none" else history
    check_paths(graph, base, weights, kernel, alpha, given, 1, 20_000, [0])


def test_a_single_start_is_every_walkers() -> None:
    how = {"weights": TARGET, "pseudo_counts": HISTORY, "n_walkers": N_WALKERS, "n_steps": 1}
    run = walk(KITE, "hdt", "mhrw", 5.0, init=2, record="path", rng=3, **how)
    law = ref.transition(KITE, "mhrw", TARGET, "hdt", 5.0, HISTORY)[2]
    judge(np.bincount(np.asarray(run.paths)[:, -1], minlength=5), law)
    np.testing.assert_array_equal(run.visits, np.bincount(run.paths[:, -1], minlength=5))


@pytest.mark.parametrize(
    ("kernel", "base", "alpha"), [("hdt", "mhrw", 2.0), ("srrw", "srw", 2.0), ("srrw", "mhrw", 1.0)]
)
def test_shared_histories_grow_by_whole_rounds(kernel: str, base: str, alpha: float) -> None:
    weights, n = None if base == "srw" else TARGET, 50_000
    how = {"weights": weights} if weights is not None else {}
    here = start = np.resize(np.arange(5), n)
    run = walk(
        KITE,
        kernel,
        base,
        alpha,
        init=start,
        n_steps=4,
        n_walkers=n,
        record="path",
        rng=9,
        history="shared_sync",
        pseudo_counts=1e4 * HISTORY,
        **how,
    )
    history = 1e4 * HISTORY
    for there in np.asarray(run.paths)[:, -4:].astype(np.int64).T:
        matrix = ref.transition(KITE, base, weights, kernel, alpha, history)
        for i in range(5):
            judge(np.bincount(there[here == i], minlength=5), matrix[i])
        history, here = history + np.bincount(there, minlength=5), there


# --- Walks that are not chains ---


def test_self_avoiding_walks_choose_among_the_unvisited() -> None:
    n = 7
    rim = [(i, i % (n - 1) + 1) for i in range(1, n)]
    wheel = ref.graph_of(n, [(0, i) for i in range(1, n)] + rim)
    start = np.resize(np.arange(n), N_WALKERS)
    how = {"init": start, "n_walkers": N_WALKERS, "record": "path", "rng": 5}
    run = walk(wheel, "saw", "srw", 0.0, n_steps=2, **how)
    paths = np.asarray(run.paths)[:, -2:].astype(np.int64)
    for i in range(n):
        law = np.zeros((n, n))
        for j in wheel.neighbors(i):
            onward = [k for k in wheel.neighbors(j) if k != i]
            law[j, onward] = 1 / len(wheel.neighbors(i)) / len(onward)
        counts = np.zeros_like(law)
        np.add.at(counts, tuple(paths[start == i].T), 1)
        judge(counts, law)


def test_rotors_turn() -> None:
    """The exits of a node are its neighbours in an order that repeats."""
    n_walkers, n_steps = 40, 300
    start = np.resize(np.arange(5), n_walkers)
    how = {"init": start, "n_steps": n_steps, "n_walkers": n_walkers, "record": "path", "rng": 6}
    run = walk(LOOPED, "rotor", "srw", 0.0, **how)
    mu = LOOPED.degrees / LOOPED.degrees.sum()
    for first, path in zip(start, np.asarray(run.paths)[:, -n_steps:].tolist(), strict=True):
        whole = [int(first), *path]
        for i in range(5):
            exits = [b for a, b in pairwise(whole) if a == i]
            turn = LOOPED.neighbors(i)
            assert sorted(exits[: len(turn)]) == sorted(turn)
            assert exits == (exits[: len(turn)] * n_steps)[: len(exits)]
        assert np.abs(np.bincount(path, minlength=5) - n_steps * mu).max() < 10


# --- Long runs ---


def long_run(
    graph: ref.Graph, kernel: str, base: ref.Base, alpha: float, mu: Array, **how: Any
) -> Array:
    """Visits (walkers, nodes) of walkers that start in their stationary law, per step."""
    draws = np.random.default_rng(21).choice(graph.n, size=how["n_walkers"], p=mu)
    run = walk(graph, kernel, base, alpha, init=draws, **how)
    visits = run.walker_visits.toarray()
    assert np.all(visits.sum(axis=1) == how["n_steps"])
    np.testing.assert_array_equal(visits.sum(axis=0), run.visits)
    return visits / how["n_steps"]


@pytest.mark.parametrize(
    ("base", "kernel"),
    [
        *[(base, "none") for base in (*REVERSIBLE, "mhda", "nbrw", *TRIES)],
        *[(base, "hdt") for base in WITH_TARGET],
        *[(base, "srrw") for base in REVERSIBLE],
    ],
    ids=named,
)
def test_long_runs_without_repellence(base: ref.Base, kernel: str) -> None:
    second = ref.parts(base)[0] in ref.SECOND_ORDER
    graph = LADEN if base == "weighted" else LOOPED
    how = {"weights": TARGET} if base in WITH_TARGET else {}
    w = ref.target(graph, base, how.get("weights"))
    mu, n_steps, n_walkers = w / w.sum(), 2000, 512
    run = long_run(graph, kernel, base, 0.0, mu, n_steps=n_steps, n_walkers=n_walkers, rng=2, **how)
    # Without repellence the variance is known, so neither too little nor too much goes unseen.
    back = slice(graph.n, None) if second else slice(None)
    matrix = ref.transition(graph, base, how.get("weights"))[back, back]
    to_node = np.eye(graph.n)[ref.heads(graph, base)[back]]
    variance = np.diag(to_node.T @ ref.base_variance(matrix, ref.stationary(matrix)) @ to_node)
    z = (run.mean(axis=0) - mu) / np.sqrt(variance / (n_steps * n_walkers))
    assert np.abs(z).max() < 5
    ratio = n_steps * run.var(axis=0, ddof=1) / variance
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / n_walkers) + 0.03


@pytest.mark.parametrize("weights", [None, TARGET], ids=["uniform", "target"])
@pytest.mark.parametrize(
    ("kernel", "base", "alpha", "exponent"),
    [
        *[("hdt", base, 5.0, 1.0) for base in ("mhrw", "barker", "mhda", TRIES[0], TRIES[3])],
        *[("srrw", base, 5.0, 1.0) for base in ("mhrw", "barker")],
        *[(kernel, "mhrw", 1.0, 0.9) for kernel in ("hdt", "srrw")],
        ("hdt", "mhda", ("linear", 0.0, 5.0, 500), 1.0),
        ("srrw", "mhrw", 500.0, 1.0),
        ("tsaw", "mhrw", 1.0, 1.0),
    ],
    ids=named,
)
def test_long_runs_reach_the_target(
    kernel: str, base: ref.Base, alpha: Any, exponent: float, weights: Array | None
) -> None:
    w = np.ones(5) if weights is None else weights
    how = {} if weights is None else {"weights": weights}
    if exponent < 1:
        how["step_exponent"] = exponent
    sizes = {"n_steps": 2000, "n_walkers": 256, "rng": 4}
    run = long_run(LOOPED, kernel, base, alpha, w / w.sum(), **sizes, **how)
    # Of the order of one visit in the bias, which repellence makes comparable to the error; a
    # history that forgets stays noisy, and Metropolis' acceptance has a bias of the noise's square.
    bias = 0.5 / sizes["n_steps"] if exponent == 1 else 0.4 * sizes["n_steps"] ** -exponent
    error = np.sqrt(run.var(axis=0, ddof=1) / len(run)) + bias
    assert np.abs((run.mean(axis=0) - w / w.sum()) / error).max() < 5


@pytest.mark.parametrize("n_steps", [200, 2000])
def test_true_self_avoiding_walks_err_by_a_number_of_visits(n_steps: int) -> None:
    edges = [(i, (i + 1) % 8) for i in range(8)] + [(0, 8), (8, 9), (9, 3)]
    graph, mu, f = ref.graph_of(10, edges), np.full(10, 0.1), np.arange(10.0)
    how = {"n_steps": n_steps, "n_walkers": 400, "rng": 4}
    error = long_run(graph, "tsaw", "mhrw", 1.0, mu, **how) @ f - 4.5
    assert 8 < n_steps * np.sqrt(np.mean(error**2)) < 14


def cliques() -> ref.Graph:
    """Two complete graphs on 5 nodes, and a path of 2 between them."""
    edges = [(i, j) for k in (0, 7) for i in range(k, k + 5) for j in range(k, i)]
    return ref.graph_of(12, [*edges, (4, 5), (5, 6), (6, 7)])


def ring(n: int) -> ref.Graph:
    return ref.graph_of(n, [(i, (i + 1) % n) for i in range(n)])


def complete() -> ref.Graph:
    return ref.graph_of(6, [(i, j) for i in range(6) for j in range(i)])


def petersen() -> ref.Graph:
    spokes = [(i, i + 5) for i in range(5)]
    inner = [(5 + i, 5 + (i + 2) % 5) for i in range(5)]
    return ref.graph_of(10, [(i, (i + 1) % 5) for i in range(5)] + spokes + inner)


def star() -> ref.Graph:
    return ref.graph_of(6, [(0, i) for i in range(1, 6)])


def path() -> ref.Graph:
    return ref.graph_of(6, [(i, i + 1) for i in range(5)])


BELOW = {n: (np.arange(n) < n / 2).astype(float) for n in (10, 12)}
FIRST = np.eye(6)[0]


@pytest.mark.parametrize(
    ("graph", "base", "kernel", "f", "alpha", "value"),
    [
        (lambda: ring(9), "srw", "srrw", np.arange(9.0), 0.0, 34.22222222),
        (lambda: ring(9), "srw", "srrw", np.arange(9.0), 2.0, 4.389863548),
        (complete, "srw", "srrw", FIRST, 0.0, 0.09259259259),
        (complete, "srw", "srrw", FIRST, 5.0, 0.01028806584),
        (petersen, "srw", "srrw", BELOW[10], 1.0, 0.1363636364),
        (petersen, "srw", "srrw", BELOW[10], 10.0, 0.01807228916),
        (star, "srw", "srrw", np.arange(6.0), 1.0, 1 / 3),
        (star, "srw", "srrw", np.arange(6.0), 5.0, 1 / 11),
        (path, "mhrw", "srrw", np.arange(6.0), 0.0, 40.25),
        (path, "mhrw", "srrw", np.arange(6.0), 5.0, 2.048418972),
        (cliques, "mhrw", "srrw", BELOW[12], 1.0, 3.005475906),
        (cliques, "srw", "srrw", BELOW[12], 5.0, 0.7959464591),
        (cliques, "mhrw", "hdt", BELOW[12], 0.0, 14.83333333),
        (cliques, "mhrw", "hdt", BELOW[12], 1.0, 4.944444444),
        (cliques, "mhda", "hdt", BELOW[12], 0.0, 7.499862438),
        (cliques, "mhda", "hdt", BELOW[12], 1.0, 2.499954146),
        (cliques, "nbrw", "none", BELOW[12], 0.0, 3.521739130),
        (cliques, ("mtm", 2, "barker"), "none", BELOW[12], 0.0, 13.738),
    ],
)
def test_errors_of_long_runs(
    graph: Callable[[], ref.Graph],
    base: ref.Base,
    kernel: str,
    f: Array,
    alpha: float,
    value: float,
) -> None:
    """Steps times the mean squared error, against the limit of the theory."""
    here, n_steps, n_walkers = graph(), 4000, 800
    mu = ref.target(here, base, None)
    mu /= mu.sum()
    visits = long_run(here, kernel, base, alpha, mu, n_steps=n_steps, n_walkers=n_walkers, rng=1)
    mse = np.mean((visits @ f - mu @ f) ** 2)
    assert abs(n_steps * mse / value - 1) <= 4 * np.sqrt(2 / n_walkers) + 0.03
