"""Benchmarks of special functions and of scipy.special on one thread, with their errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.special

import fermiac as fm

SIZE = 20_000
VALUES = np.load(Path(__file__).resolve().parents[2] / "tests" / "support" / "special_values.npz")
# Sizes of a and b; the points lie within four spreads of the mean.
COUNTS = {"1-10": (0, 1), "10-1e3": (1, 3), "1e3-1e5": (3, 5), "1e5-1e8": (5, 8)}
TRUTHS: dict[str, Callable[[Any], Any]] = {
    "erf": mp.erf,
    "erfc": mp.erfc,
    "ndtr": mp.ncdf,
    "ndtri": lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1),
    "log_ndtr": lambda x: mp.log(mp.ncdf(x)),
    "gammaln": mp.loggamma,
    "digamma": mp.digamma,
}
RELATIVE = {"erf", "erfc", "ndtr", "ndtri", "log_ndtr"}
LIBRARIES: dict[str, Any] = {"fermiac": fm.special, "scipy": scipy.special}


def call(library: str, name: str) -> Callable[..., Any]:
    """Return the function of one library."""
    function: Callable[..., Any] = getattr(LIBRARIES[library], name)
    return function


def measure(benchmark: Any, library: str, name: str, *arguments: Any) -> None:
    """Time one call, on one thread."""
    with fm.Plan(n_threads=1):
        benchmark(call(library, name), *arguments)
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["ns_per_value"] = benchmark.stats.stats.min / SIZE * 1e9


def table_error(library: str, rows: Any, lower: str, upper: str) -> float:
    """Return the largest error of the smaller tail over its condition number."""
    arguments, truth = rows[:-4], np.minimum(rows[-4], rows[-3])
    tails = [call(library, name)(*arguments) for name in (lower, upper)]
    value = np.where(rows[-4] <= rows[-3], *tails)
    usable = truth > 1e-300
    step = 1e-7 * np.minimum(arguments[-1], 1.0)
    moved = [*arguments[:-1], arguments[-1] + step]
    change = np.where(
        rows[-4] <= rows[-3],
        call("fermiac", "log_" + lower)(*moved) - rows[-2],
        call("fermiac", "log_" + upper)(*moved) - rows[-1],
    )
    condition = np.maximum(np.abs(change) * 1e7, 1.0)
    error = np.abs(value[usable] / truth[usable] - 1.0) / condition[usable]
    return float(np.nanmax(error))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("law", ["one", "many"])
def test_incomplete_beta(benchmark: Any, counts: str, law: str, library: str) -> None:
    benchmark.group = f"betainc, a and b {counts}, {law} law"
    rng = np.random.default_rng(1)
    a, b = 10.0 ** rng.uniform(*COUNTS[counts], (2, SIZE))
    if law == "one":
        a, b = a[0], b[0]
    logit = np.log(a / b) + rng.uniform(-4.0, 4.0, SIZE) * np.sqrt(1.0 / a + 1.0 / b)
    x = 1.0 / (1.0 + np.exp(-logit))
    measure(benchmark, library, "betainc", a, b, x)
    benchmark.extra_info["max_error_over_condition"] = table_error(
        library, VALUES["beta"].T, "betainc", "betaincc"
    )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("counts", COUNTS)
def test_beta_quantile(benchmark: Any, counts: str, library: str) -> None:
    benchmark.group = f"betaincinv, a and b {counts}"
    rng = np.random.default_rng(2)
    a, b = 10.0 ** rng.uniform(*COUNTS[counts], (2, SIZE))
    p = rng.random(SIZE)
    measure(benchmark, library, "betaincinv", a, b, p)
    # The error of the probability below the quantile, by the function of fermiac.
    back = fm.special.betainc(a, b, call(library, "betaincinv")(a, b, p))
    benchmark.extra_info["max_error_of_probability"] = float(np.nanmax(np.abs(back - p)))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("counts", COUNTS)
def test_incomplete_gamma(benchmark: Any, counts: str, library: str) -> None:
    benchmark.group = f"gammainc, a {counts}"
    rng = np.random.default_rng(3)
    a = 10.0 ** rng.uniform(*COUNTS[counts], SIZE)
    x = a * np.exp(rng.uniform(-4.0, 4.0, SIZE) / np.sqrt(a))
    measure(benchmark, library, "gammainc", a, x)
    benchmark.extra_info["max_error_over_condition"] = table_error(
        library, VALUES["gamma"].T, "gammainc", "gammaincc"
    )


def one_argument_error(library: str, name: str, x: Any) -> float:
    """Return the largest error against mpmath: relative, or absolute below 1."""
    value = call(library, name)(x)
    with mp.workdps(40):
        truth = np.array([float(TRUTHS[name](mp.mpf(float(v)))) for v in x])
    size = np.abs(truth) if name in RELATIVE else np.maximum(np.abs(truth), 1.0)
    return float(np.max(np.abs(value - truth) / size))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["erf", "erfc", "ndtr", "ndtri", "log_ndtr", "gammaln", "digamma"])
def test_one_argument(benchmark: Any, name: str, library: str) -> None:
    benchmark.group = name
    rng = np.random.default_rng(4)
    x = rng.random(SIZE) if name == "ndtri" else rng.standard_normal(SIZE) * 3.0
    x = np.abs(x) if name in {"gammaln", "digamma"} else x
    measure(benchmark, library, name, x)
    benchmark.extra_info["max_error"] = one_argument_error(library, name, x[:500])
