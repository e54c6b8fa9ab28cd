"""Posteriors of epsilon: one interval and batches, beside NumPy and privacy-estimates.

``pytest benches/privacy/bench.py --benchmark-group-by=group``. Each row's extra_info has the error
of the two ends against values with ten digits. privacy-estimates runs where it is installed, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from benches.privacy import peers
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Ends = tuple[float, float]
#: Counts, delta, and the 90 % interval.
PROBLEMS: dict[str, tuple[tuple[int, int, int, int], float, Ends]] = {
    "400-100-100-400": ((400, 100, 100, 400), 1e-5, (1.2849116427, 1.5689800785)),
    "40-10-10-40": ((40, 10, 10, 40), 0.0, (1.0532349095, 2.0005690717)),
    "250-250-250-250": ((250, 250, 250, 250), 0.0, (0.004063475739, 0.12713305484)),
    "100-0-0-100": ((100, 0, 0, 100), 0.0, (4.8963871376, 12.196073421)),
}


def _fermiac(counts: tuple[int, ...], delta: float) -> Ends:
    return fm.privacy.epsilon_posterior(*counts, delta=delta, plan=fm.Plan(n_threads=1)).interval(
        0.9
    )


def _shortest(counts: tuple[int, ...], delta: float) -> Ends:
    return fm.privacy.epsilon_posterior(*counts, delta=delta, plan=fm.Plan(n_threads=1)).interval(
        0.9, kind="hpd"
    )


METHODS: dict[str, Callable[[tuple[int, ...], float], Ends]] = {
    "fermiac": _fermiac,
    "fermiac_hpd": _shortest,
    "numpy": lambda counts, delta: peers.interval(*counts, delta),
}


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", list(PROBLEMS))
def bench_interval(benchmark: Any, name: str, method: str) -> None:
    counts, delta, known = PROBLEMS[name]
    call = METHODS[method]
    benchmark.group = f"epsilon interval: {name}"
    if method != "fermiac_hpd":
        found = call(counts, delta)
        benchmark.extra_info["error"] = float(np.abs(np.subtract(found, known)).max())
    benchmark.pedantic(call, args=(counts, delta), rounds=5, warmup_rounds=1)


def bench_interval_of_privacy_estimates(benchmark: Any) -> None:
    """One call: it takes half a minute and more."""
    estimates = pytest.importorskip("privacy_estimates")
    counts, delta, known = PROBLEMS["250-250-250-250"]
    tp, fp, fn, tn = counts
    benchmark.group = "epsilon interval: 250-250-250-250"

    def call() -> Ends:
        results = estimates.AttackResults(FN=fn, FP=fp, TN=tn, TP=tp)
        low, high = estimates.compute_eps_lo_hi(
            count=results, delta=delta, alpha=0.1, method="joint-beta"
        )
        return float(low), float(high)

    found = benchmark.pedantic(call, rounds=1)
    benchmark.extra_info["error"] = float(np.abs(np.subtract(found, known)).max())


def _batch(n: int) -> Array:
    rng = np.random.default_rng(1)
    fnr, fpr = rng.uniform(0.05, 0.5, (2, n))
    fn, fp = rng.binomial(1000, fnr), rng.binomial(1000, fpr)
    return np.array([1000 - fn, fp, fn, 1000 - fp], dtype=np.float64)


@pytest.mark.parametrize("threads", [1, 2])
def bench_batch(benchmark: Any, threads: int) -> None:
    """A thousand different rows, an interval each."""
    counts = _batch(1000)

    def call() -> tuple[Array, Array]:
        return fm.privacy.epsilon_posterior(
            *counts, delta=1e-5, plan=fm.Plan(n_threads=threads)
        ).interval(0.9)

    low, high = call()
    p = fm.privacy.epsilon_posterior(*counts, delta=1e-5)
    benchmark.group = "epsilon intervals: 1000 rows"
    benchmark.extra_info["worst_tail_error"] = float(
        max(np.abs(p.cdf(low) - 0.05).max(), np.abs(p.cdf(high) - 0.95).max())
    )
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)


def bench_repeated_rows(benchmark: Any) -> None:
    """A million rows of which 900 differ: equal rows are computed once."""
    rng = np.random.default_rng(2)
    errors = rng.integers(0, 30, (2, 1_000_000)).astype(float)
    benchmark.group = "epsilon intervals: 1e6 rows, 900 different ones"

    def call() -> Any:
        return fm.privacy.epsilon_posterior(
            100 - errors[0], errors[1], errors[0], 100 - errors[1], delta=1e-5
        ).interval(0.9)

    benchmark.pedantic(call, rounds=2)
