"""Benchmarks of random streams and of the generators of NumPy, with the error of the mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fermiac.random import Stream

SIZES = [10**4, 10**6]
SOURCES: dict[str, Callable[[], Any]] = {
    "fermiac": lambda: Stream(1),
    "numpy_pcg64": lambda: np.random.Generator(np.random.PCG64(1)),
    "numpy_philox": lambda: np.random.Generator(np.random.Philox(1)),
}
# The calls of fermiac and NumPy, the mean and the standard deviation. `normal` and `exponential` of
# NumPy also shift and scale; the `standard_` forms do the same work as fermiac.
DRAWS: dict[str, tuple[Callable[[Any, int], Any], Callable[[Any, int], Any], float, float]] = {
    "uniform": (lambda s, n: s.uniform(n), lambda g, n: g.random(n), 0.5, 12**-0.5),
    "normal": (lambda s, n: s.normal(n), lambda g, n: g.standard_normal(n), 0.0, 1.0),
    "exponential": (
        lambda s, n: s.exponential(n),
        lambda g, n: g.standard_exponential(n),
        1.0,
        1.0,
    ),
    "gamma": (
        lambda s, n: s.gamma(2.5, n),
        lambda g, n: g.standard_gamma(2.5, n),
        2.5,
        2.5**0.5,
    ),
}


def measure(benchmark: Any, law: str, source: str, size: int) -> None:
    """Time one call and record the error of its mean in standard errors."""
    ours, numpys, mean, sd = DRAWS[law]
    draw = ours if source == "fermiac" else numpys
    generator = SOURCES[source]()
    x = benchmark(draw, generator, size)
    benchmark.extra_info["mean_error_in_sd"] = float((x.mean() - mean) / sd * size**0.5)
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["ns_per_value"] = benchmark.stats.stats.min / size * 1e9
    assert abs(benchmark.extra_info["mean_error_in_sd"]) < 5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.benchmark(group="uniform")
def test_uniform(benchmark: Any, source: str, size: int) -> None:
    measure(benchmark, "uniform", source, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.benchmark(group="normal")
def test_normal(benchmark: Any, source: str, size: int) -> None:
    measure(benchmark, "normal", source, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.benchmark(group="exponential")
def test_exponential(benchmark: Any, source: str, size: int) -> None:
    measure(benchmark, "exponential", source, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.benchmark(group="gamma")
def test_gamma(benchmark: Any, source: str, size: int) -> None:
    measure(benchmark, "gamma", source, size)
