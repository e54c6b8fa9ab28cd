"""Integrals over boxes: fermiac beside vegas, SciPy's ``qmc_quad`` and ``cubature``.

``pytest benches/importance/bench_integrate.py --benchmark-group-by=group``. Each row's extra_info
has the true and the reported error, the pull, the evaluations, and the nanoseconds of one, all with
one thread. The figure that counts is ``time_to_1e-4``: the time that a relative error of 1e-4
would take if errors fell as n^-1/2, which favours the methods whose errors fall more slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from benches.importance import calibrate_integrate as runs
from benches.importance import integrals

import fermiac as fm

N = 100_000
PROBLEMS = {
    "gaussian d=8": lambda: integrals.genz("gaussian", 8),
    "continuous d=8": lambda: integrals.genz("continuous", 8),
    "discontinuous d=8": lambda: integrals.genz("discontinuous", 8),
    "correlated peak d=5": integrals.equicorrelated,
    "singular d=3": integrals.singular,
}
SOLVERS: dict[str, Callable[[Any, int, int], runs.Run]] = {
    "fermiac": lambda problem, seed, n: runs.ours(problem, seed, n, "auto"),
    "vegas": runs.vegas,
    "scipy qmc_quad": runs.qmc_quad,
}
# Unbounded integrands warn, and rightly.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Run every solver on one thread."""
    before = fm.get_num_threads()
    fm.set_num_threads(1)
    yield
    fm.set_num_threads(before)


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("name", list(PROBLEMS))
def bench_integral(benchmark: Any, name: str, solver: str) -> None:
    if solver == "vegas":
        pytest.importorskip("vegas")
    benchmark.group = f"{name} n={N}"
    problem = PROBLEMS[name]()
    call = SOLVERS[solver]
    run = benchmark.pedantic(call, (problem, 0, N), rounds=3, iterations=1, warmup_rounds=1)
    several = [call(problem, seed, N) for seed in range(10)]
    error = float(np.sqrt(np.mean([(r.mean / problem.truth - 1) ** 2 for r in several])))
    seconds = float(np.median([r.seconds for r in several]))
    benchmark.extra_info |= {
        "true_error": error,
        "reported_error": run.stderr / abs(problem.truth),
        "pull": float(runs.pulls(problem, [run])[0]),
        "evaluations": N,
        "ns_per_evaluation": 1e9 * seconds / N,
        "time_to_1e-4": seconds * (error / 1e-4) ** 2,
    }


@pytest.mark.parametrize("solver", ["fermiac", "scipy cubature"])
def bench_few_dimensions(benchmark: Any, solver: str) -> None:
    """Up to three dimensions a smooth integrand is best left to cubature."""
    problem = integrals.genz("gaussian", 3)
    benchmark.group = "gaussian d=3, rtol 1e-5"

    def ours() -> float:
        e = fm.importance.integrate(problem.f, problem.bounds, rtol=1e-5, rng=0)
        return float(e.mean)

    def cubature() -> float:
        quadrature = pytest.importorskip("scipy.integrate").cubature
        return float(quadrature(problem.f, *problem.bounds.T, rtol=1e-5).estimate)

    value = benchmark(ours if solver == "fermiac" else cubature)
    benchmark.extra_info["true_error"] = abs(value / problem.truth - 1)


@pytest.mark.parametrize("method", ["sobol", "map", "stratified", "mixture"])
@pytest.mark.parametrize("form", ["batched", "built-in"])
def bench_engine(benchmark: Any, form: str, method: str) -> None:
    """The cost of an evaluation beside that of the integrand."""
    built_in = fm.targets.genz("gaussian", np.full(8, 0.9), np.full(8, 0.5))
    f = built_in if form == "built-in" else lambda x: x[:, 0]
    benchmark.group = "engine d=8 n=1e6"
    e = benchmark.pedantic(
        lambda: fm.importance.integrate(
            f, (0, 1), dim=8, n=1_000_000, method=method, rng=0, check=False
        ),
        rounds=3,
        iterations=1,
        warmup_rounds=1,
    )
    seconds = benchmark.stats.stats.min if benchmark.stats else 0.0
    benchmark.extra_info["ns_per_evaluation"] = 1e9 * seconds / e.n_evals
