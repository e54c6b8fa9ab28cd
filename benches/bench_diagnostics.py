"""Pareto-smoothed importance weights: fermiac beside arviz-stats.

``pytest benches/bench_diagnostics.py --benchmark-group-by=group``. arviz-stats runs where it is
installed.
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


METHODS: dict[str, Callable[[Array], Any]] = {
    "fermiac": lambda x: fm.diagnostics.psis(x),
    "fermiac_1_thread": lambda x: fm.diagnostics.psis(x, n_threads=1),
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
