"""Audits in one run: ours beside the same formulas in SciPy, and beside jax_privacy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, norm

import fermiac as fm

ALPHA = 0.05
DELTA = 1e-5
CASES = {"100 of 1000": (1000, 100, 95), "1000 of 1000": (1000, 1000, 600)}
Bound = Callable[[int, int, int], float]


def scipy_binomial(m: int, r: int, v: int) -> float:
    """Give the bound by SciPy's binomial law and root finder."""
    i = np.arange(1, v + 1)

    def excess(epsilon: float) -> float:
        q = 1 / (1 + math.exp(-epsilon))
        widest = (np.cumsum(binom.pmf(v - i, r, q)) / i).max()
        return float(binom.sf(v - 1, r, q) + 2 * m * DELTA * widest - ALPHA)

    return float(brentq(excess, 0.0, 50.0, xtol=1e-12))


def scipy_curve(m: int, r: int, v: int) -> float:
    """Give the bound by the recursion in Python, with SciPy's normal law and root finder."""

    def excess(mu: float) -> float:
        hit, miss = ALPHA * v / m, ALPHA * (r - v) / m
        for i in range(v - 1, -1, -1):
            new = max(miss, norm.cdf(norm.ppf(hit) - mu))
            if new == miss:
                break
            hit, miss = min(1.0, hit + i / (r - i) * (new - miss)), new
        return float(hit + miss - r / m)

    return float(fm.privacy.gdp_epsilon(DELTA, mu=brentq(excess, 0.0, 20.0, xtol=1e-12)))


def ours(method: str) -> Bound:
    """Give our bound by one method."""
    return lambda m, r, v: (
        fm.privacy.audit_one_run(
            m, r, v, delta=DELTA, alpha=ALPHA, method=method, plan=fm.Plan(n_threads=1)
        ).epsilon_lower
    )


def jax_privacy(method: str) -> Bound:
    """Give the bound of jax_privacy from the counts, by the functions beneath its auditor."""
    auditing = pytest.importorskip("jax_privacy.auditing")
    inner = {"binomial": "_epsilon_one_run", "f-dp": "_epsilon_one_run_fdp"}[method]
    function = getattr(auditing, inner)
    return lambda m, r, v: float(function(0, m, r, v, ALPHA, DELTA))


PEERS: dict[str, Callable[[str], Bound]] = {
    "fermiac": ours,
    "scipy": lambda method: {"binomial": scipy_binomial, "f-dp": scipy_curve}[method],
    "jax_privacy": jax_privacy,
}


@cache
def reference(method: str, counts: tuple[int, int, int]) -> float:
    """Give the bound that all must meet."""
    return PEERS["scipy"](method)(*counts)


@pytest.mark.parametrize("library", PEERS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["binomial", "f-dp"])
def test_one_bound(benchmark: Any, method: str, case: str, library: str) -> None:
    benchmark.group = f"one-run bound, {method}, {case}"
    bound = PEERS[library](method)
    rounds = 50 if library == "fermiac" else 3
    value = benchmark.pedantic(bound, CASES[case], rounds=rounds, warmup_rounds=1)
    error = abs(value - reference(method, CASES[case]))
    benchmark.extra_info["error"] = error
    assert error < 1e-4


@pytest.mark.parametrize("method", ["binomial", "f-dp"])
def test_ten_thousand_bounds(benchmark: Any, method: str) -> None:
    benchmark.group = f"10 000 one-run bounds, {method}"
    right = np.random.default_rng(0).integers(60, 101, 10_000)
    benchmark.pedantic(
        fm.privacy.audit_one_run,
        (1000, 100, right),
        {"delta": DELTA, "method": method},
        rounds=3,
    )


@pytest.mark.parametrize("rows", [1000, 10_000_000])
def test_the_largest_counts(benchmark: Any, rows: int) -> None:
    benchmark.group = "one-run bound, binomial, all guessed"
    bound = ours("binomial")
    benchmark.pedantic(bound, (rows, rows, int(0.7 * rows)), rounds=5)
