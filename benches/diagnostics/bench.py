"""Benchmarks of Pareto-smoothed weights and convergence diagnostics, with those of ArviZ.

Run ``pytest -p benchmark benches/diagnostics/bench.py --benchmark-group-by=group``. The benchmarks
of arviz-stats (weights) and arviz (chains) need these packages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
SIZES = {"one set of 1e6": (1_000_000, 1), "1000 sets of 4000": (4000, 1000)}


def _arviz(x: Array) -> Any:
    base = pytest.importorskip("arviz_stats.base")
    return base.array_stats.psislw(-x, axis=0)


def _one_thread(x: Array) -> Any:
    with fm.Plan(n_threads=1):
        return fm.diagnostics.psis(x)


METHODS: dict[str, Callable[[Array], Any]] = {
    "fermiac": lambda x: fm.diagnostics.psis(x),
    "fermiac_1_thread": _one_thread,
    "arviz_stats": _arviz,
}


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("size", list(SIZES))
def bench_psis(benchmark: Any, size: str, method: str) -> None:
    x = 1.5 * np.random.default_rng(1).standard_normal(SIZES[size])
    call = METHODS[method]
    _, khat = call(x)
    benchmark.group = f"psis: {size}"
    benchmark.extra_info["mean_khat"] = float(np.mean(khat))
    benchmark.pedantic(call, args=(x,), rounds=3)


CHAINS = {"100 quantities, 4 x 1000": (4, 1000, 100), "one quantity, 4 x 100000": (4, 100_000, 1)}
CORRELATIONS = {"mixing": 0.5, "slow": 0.999}


def _chains(size: str, speed: str) -> Array:
    x = np.random.default_rng(2).standard_normal(CHAINS[size])
    for t in range(1, x.shape[1]):
        x[:, t] += CORRELATIONS[speed] * x[:, t - 1]
    return x


def _convergence(x: Array, n_threads: int | None = None) -> Array:
    """Return R-hat, bulk and tail ESS, and the standard error of the mean of each quantity."""
    call = fm.diagnostics
    with fm.Plan(n_threads=n_threads):
        return np.stack([call.rhat(x), call.ess(x), call.ess(x, kind="tail"), call.mcse(x)])


def _convergence_arviz(x: Array) -> Array:
    az = pytest.importorskip("arviz")
    data = az.convert_to_dataset({"x": x})
    found = [az.rhat(data), az.ess(data), az.ess(data, method="tail"), az.mcse(data)]
    return np.stack([one["x"].to_numpy() for one in found])


CONVERGENCE: dict[str, Callable[[Array], Array]] = {
    "fermiac": _convergence,
    "fermiac_1_thread": lambda x: _convergence(x, 1),
    "arviz": _convergence_arviz,
}


@pytest.mark.parametrize("method", list(CONVERGENCE))
@pytest.mark.parametrize("speed", list(CORRELATIONS))
@pytest.mark.parametrize("size", list(CHAINS))
def bench_convergence(benchmark: Any, size: str, speed: str, method: str) -> None:
    x = _chains(size, speed)
    call = CONVERGENCE[method]
    found = call(x)
    benchmark.group = f"convergence: {size}, {speed}"
    benchmark.extra_info["mean_ess"] = float(found[1].mean())
    benchmark.pedantic(call, args=(x,), rounds=3)
