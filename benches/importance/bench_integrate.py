"""Integrals over boxes: fermiac beside vegas, SciPy's ``qmc_quad`` and ``cubature``, and QMCPy.

``pytest benches/importance/bench_integrate.py --benchmark-group-by=group``. Each row's extra_info
has the true and the reported error, the pull, the evaluations, and the nanoseconds of one, all with
one thread. The figure that counts is ``time_to_1e-4``: the time that a relative error of 1e-4
would take if errors fell as n^-1/2, which favours the methods whose errors fall more slowly.

The last rows stop at the same tolerance: fermiac, QMCPy and ``cubature`` by themselves, vegas and
``qmc_quad`` by doubling their evaluations until the half-width that they report is small enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from benches.importance import calibrate_integrate as runs
from benches.importance import integrals
from scipy.special import stdtrit

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


class Stopped(NamedTuple):
    """An estimate at a tolerance; ``half`` is the half-width of its 95 % interval."""

    mean: float
    half: float


def stop_ours(problem: integrals.Integral, f: runs.Integrand, rtol: float) -> Stopped:
    """Stop by the rule of `integrate`."""
    e = fm.importance.integrate(
        f, problem.bounds, n=1 << 24, rtol=rtol, rng=0, check=False, plan=fm.Plan(n_threads=1)
    )
    return Stopped(float(e.mean), float(1.96 * e.stderr))


def stop_qmcpy(problem: integrals.Integral, f: runs.Integrand, rtol: float) -> Stopped:
    """Stop by the decay of Walsh coefficients, QMCPy's rule for Sobol' points."""
    peer = pytest.importorskip("qmcpy")
    low, high = problem.bounds.T
    points = peer.Uniform(peer.DigitalNetB2(problem.dim, seed=0), lower_bound=low, upper_bound=high)
    # The integrand of a measure is that of its density: the volume of the box is left to it.
    integrand = peer.CustomFun(points, lambda x: f(x) * np.prod(high - low))
    mean, data = peer.CubQMCSobolG(integrand, abs_tol=0, rel_tol=rtol, n_limit=2**24).integrate()
    ends = np.ravel(data.comb_bound_high) - np.ravel(data.comb_bound_low)
    return Stopped(float(np.ravel(mean)[0]), float(ends[0] / 2))


def stop_cubature(problem: integrals.Integral, f: runs.Integrand, rtol: float) -> Stopped:
    """Stop by the errors of SciPy's product rules."""
    quadrature = pytest.importorskip("scipy.integrate").cubature
    result = quadrature(f, *problem.bounds.T, rtol=rtol, atol=0)
    return Stopped(float(result.estimate), float(result.error))


def doubling(solver: Callable[[Any, int, int], runs.Run]) -> Any:
    """Double the evaluations of a solver until its half-width is small enough."""

    def stop(problem: integrals.Integral, f: runs.Integrand, rtol: float) -> Stopped:
        n = 1 << 12
        while True:
            run = solver(problem._replace(f=f), 0, n)
            half = 1.96 * run.stderr if np.isinf(run.df) else -stdtrit(run.df, 0.025) * run.stderr
            if half <= rtol * abs(run.mean) or n >= 1 << 22:
                return Stopped(run.mean, float(half))
            n *= 2

    return stop


STOPS = {
    "fermiac": stop_ours,
    "qmcpy": stop_qmcpy,
    "scipy cubature": stop_cubature,
    "scipy qmc_quad": doubling(runs.qmc_quad),
    "vegas": doubling(runs.vegas),
}
TOLERANCES = {
    "gaussian d=3": (lambda: integrals.genz("gaussian", 3), 1e-5),
    "product peak d=4": (lambda: integrals.genz("product peak", 4), 1e-4),
    "continuous d=8": (lambda: integrals.genz("continuous", 8), 1e-3),
}


@pytest.mark.parametrize("solver", list(STOPS))
@pytest.mark.parametrize("name", list(TOLERANCES))
def bench_tolerance(benchmark: Any, name: str, solver: str) -> None:
    """The time to the same tolerance; SciPy's cubature is for few dimensions."""
    if solver == "vegas":
        pytest.importorskip("vegas")
    make, rtol = TOLERANCES[name]
    problem = make()
    if solver == "scipy cubature" and problem.dim > 3:
        pytest.skip("product rules are for few dimensions")
    benchmark.group = f"{name}, rtol {rtol:g}"
    count = 0

    def f(x: runs.Array) -> runs.Array:
        nonlocal count
        count += len(x)
        return problem.f(np.ascontiguousarray(x))

    stopped = STOPS[solver](problem, f, rtol)
    evaluations = count
    benchmark.pedantic(STOPS[solver], (problem, f, rtol), rounds=3, iterations=1)
    off = stopped.mean - problem.truth
    benchmark.extra_info |= {
        "true_error": abs(off / problem.truth),
        "reported_error": stopped.half / abs(problem.truth),
        # Of the half-width; what is within a tolerance has at most 2.
        "pull": 1.96 * abs(off) / stopped.half if stopped.half > 0 else float("nan"),
        "evaluations": evaluations,
    }


class Engine(NamedTuple):
    """A call that integrates over eight axes, and whether the function is in Python."""

    call: Callable[[], int]
    is_batched: bool


def engine(form: str, method: str, trained: bool) -> Engine:
    """Return `integrate`, with its training or with a sampler that was trained before."""
    built_in = fm.targets.genz("gaussian", np.full(8, 0.9), np.full(8, 0.5))
    f: Any = built_in if form == "built-in" else gaussian
    common: dict[str, Any] = {"dim": 8, "check": False, "rng": 0}
    settings: dict[str, Any] = {"method": method}
    if trained:
        first = fm.importance.integrate(built_in, (0, 1), n=ENGINE_N, method=method, **common)
        settings = {"sampler": first.sampler}

    def call() -> int:
        return int(fm.importance.integrate(f, (0, 1), n=ENGINE_N, **settings, **common).n_evals)

    return Engine(call, form != "built-in")


def gaussian(x: runs.Array) -> runs.Array:
    """Return the Genz Gaussian, at a cost that is known."""
    y = x - 0.5
    value: runs.Array = np.exp(-0.81 * np.einsum("ij,ij->i", y, y))
    return value


def peer(solver: Callable[[Any, int, int], runs.Run]) -> Engine:
    """Return a peer with the integrand in Python, counting its evaluations."""
    count = 0

    def f(x: runs.Array) -> runs.Array:
        nonlocal count
        count += len(x)
        return gaussian(x)

    problem = integrals.genz("gaussian", 8)._replace(f=f)

    def call() -> int:
        before = count
        solver(problem, 0, ENGINE_N)
        return count - before

    return Engine(call, True)


ENGINE_N = 1_000_000
ENGINES: dict[str, Callable[[], Engine]] = {
    **{
        f"{form}, {method}{', trained' if trained else ''}": (
            lambda form=form, method=method, trained=trained: engine(form, method, trained)
        )
        for form in ("built-in", "batched")
        for method in ("sobol", "map", "stratified", "mixture")
        for trained in (False, True)
        if not trained or method == "map"
    },
    "vegas": lambda: peer(runs.vegas),
    "scipy qmc_quad": lambda: peer(runs.qmc_quad),
}


@pytest.mark.parametrize("name", list(ENGINES))
def bench_engine(benchmark: Any, name: str) -> None:
    """The CPU time of an evaluation; that of an integrand in Python is taken off."""
    if name == "vegas":
        pytest.importorskip("vegas")
    benchmark.group = "engine d=8 n=1e6"
    call, is_batched = ENGINES[name]()
    points = np.random.default_rng(0).random((1 << 16, 8))
    costs, own = [], []

    def run() -> None:
        start = time.process_time()
        for _ in range(8):
            gaussian(points)
        middle = time.process_time()
        n = call()
        costs.append((time.process_time() - middle) / n)
        own.append((middle - start) / (8 * len(points)))

    benchmark.pedantic(run, rounds=5, iterations=1, warmup_rounds=1)
    integrand = min(own) if is_batched else 0.0
    benchmark.extra_info["ns_per_evaluation"] = 1e9 * (min(costs) - integrand)
    benchmark.extra_info["ns_of_the_integrand"] = 1e9 * integrand
