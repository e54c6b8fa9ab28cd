"""Benchmarks of random streams and quasi-random points, NumPy and SciPy, with errors of means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import qmc

import fermiac as fm
from fermiac.random import Stream, sobol

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


def ours(n: int, dim: int, key: int, scramble: str | None = "linear") -> Any:
    """Return the points on one thread."""
    with fm.Plan(n_threads=1):
        return sobol(n, dim, key, scramble)


#: New points of each call: fermiac makes them from the address, SciPy from a new engine. The engine
#: of SciPy with 30 bits, its default, is the fastest; its scramble is the linear one.
POINTS: dict[str, Callable[[int, int, int], Any]] = {
    "fermiac_linear": ours,
    "fermiac_owen": lambda n, dim, key: ours(n, dim, key, "owen"),
    "fermiac_none": lambda n, dim, key: ours(n, dim, key, None),
    "scipy_linear": lambda n, dim, key: qmc.Sobol(dim, rng=key).random(n),
    "scipy_none": lambda n, dim, key: qmc.Sobol(dim, scramble=False).random(n),
    "numpy_random": lambda n, dim, key: np.random.default_rng(key).random((n, dim)),
}


@pytest.mark.parametrize("shape", [(2**10, 8), (2**17, 8), (2**14, 64)], ids=str)
@pytest.mark.parametrize("source", POINTS)
@pytest.mark.benchmark(group="sobol")
def test_sobol(benchmark: Any, source: str, shape: tuple[int, int]) -> None:
    n, dim = shape
    u = benchmark(POINTS[source], n, dim, 1)
    # The mean of the product of (1 + (u - 1/2) / 4) is 1.
    benchmark.extra_info["error"] = float((1 + (u - 0.5) / 4).prod(axis=1).mean() - 1)
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["ns_per_coordinate"] = benchmark.stats.stats.min / u.size * 1e9
    assert abs(benchmark.extra_info["error"]) < 0.05
