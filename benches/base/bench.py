"""Benchmarks of what every session pays: the import, public calls, the card of a result.

Run ``pytest -p benchmark benches/base/bench.py``. The tests count the work of the same calls.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import fermiac as fm
from fermiac._base.calls import public


@pytest.mark.parametrize("modules", ["numpy", "numpy, fermiac"])
def bench_import(benchmark: Any, modules: str) -> None:
    """A process that imports and ends: below 0.2 s more with fermiac."""
    benchmark.group = "import in a new process"
    command = [sys.executable, "-c", f"import {modules}"]
    benchmark.pedantic(subprocess.run, args=(command,), kwargs={"check": True}, rounds=5)


@public
def _drawn(log_density: Any, dim: Any = None, *, n_draws: int = 10, rng: Any = None) -> Any:
    return log_density, dim, n_draws, rng


@pytest.mark.parametrize("form", ["plain", "public"])
def bench_public_call(benchmark: Any, form: str) -> None:
    """Below a microsecond more for a public function."""
    benchmark.group = "call"
    call = _drawn if form == "public" else _drawn.__wrapped__  # type: ignore[attr-defined]
    benchmark(call, 1, 2, n_draws=3, rng=4)


@pytest.mark.parametrize("shape", [(4, 20_000, 30), (100_000, 30)], ids=str)
def bench_card(benchmark: Any, shape: tuple[int, ...]) -> None:
    """The HTML of a sample whose headline is known: below 50 ms."""
    benchmark.group = "card"
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal(shape))
    s._repr_html_()
    benchmark(s._repr_html_)
