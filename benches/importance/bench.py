"""Many expectations from one sample: fermiac beside NumPy and plain Monte Carlo of equal accuracy.

``pytest benches/importance/bench.py --benchmark-group-by=group``. Each row's extra_info says how
far off the answers were, in standard errors, so that speed is never read without accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from benches.importance import peers
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
N = 20_000
J = 10
SEED = 7
LOG_2PI = float(np.log(2.0 * np.pi))
MOMENTS = f"moments d=1 J={J} n={N}"
# Plain Monte Carlo of these heavy tails warns, and rightly.
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
EVEN = f"even powers d=5 J={J} n={N}"
N_LARGE = 2_000_000
EVEN_LARGE = f"even powers d=5 J={J} n={N_LARGE}"
TILTS = f"exponential-quadratic d=5 J={J} n={N}"
# Plain Monte Carlo beyond this many evaluations is timed at this many and scaled.
MC_LIMIT = {"callable": 4_000_000, "builtin": 100_000_000}


class Problem(NamedTuple):
    """A vector integrand under the standard normal law, with its exact first two moments."""

    dim: int
    f: Callable[[Array], Array]
    mean: Array
    second: Array

    @property
    def criterion_mc(self) -> float:
        """Summed relative variance of plain Monte Carlo, per evaluation."""
        return float(np.sum(self.second / self.mean**2 - 1.0))

    def law(self) -> Any:
        """The standard normal law of the problem's dimension."""
        return fm.distributions.MultivariateNormal(np.zeros(self.dim), np.eye(self.dim))


def moments() -> Problem:
    """x^2, x^4, ..., x^20."""
    odd = np.cumprod(np.arange(1.0, 40.0, 2.0))

    def f(x: Array) -> Array:
        out = np.empty((len(x), J))
        np.multiply(x[:, 0], x[:, 0], out=out[:, 0])
        for j in range(1, J):
            np.multiply(out[:, j - 1], out[:, 0], out=out[:, j])
        return out

    return Problem(1, f, odd[:J], odd[1::2])


def even_exponents() -> NDArray[np.int64]:
    """The squares and fourth powers of five coordinates, as rows of exponents."""
    return np.vstack([2 * np.eye(5, dtype=np.int64), 4 * np.eye(5, dtype=np.int64)])


def even() -> Problem:
    """x_i^2 and x_i^4 of five coordinates."""

    def f(x: Array) -> Array:
        squares = x * x
        return np.hstack([squares, squares * squares])

    return Problem(5, f, np.repeat([1.0, 3.0], 5), np.repeat([3.0, 105.0], 5))


def tilts() -> Problem:
    """exp(a.x) (1 + (b.x)^2) for ten pairs (a, b): positive, not Gaussian, with known moments."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, J, 5))
    a *= 1.5 / np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)

    def f(x: Array) -> Array:
        quadratic = x @ b.T
        quadratic *= quadratic
        quadratic += 1.0
        values: Array = np.exp(x @ a.T)
        values *= quadratic
        return values

    # Under the law tilted by c a, b.x is normal with mean c a.b and variance |b|^2 = 1.
    norm2, along = np.sum(a * a, axis=1), np.sum(a * b, axis=1)
    mean = np.exp(norm2 / 2.0) * (2.0 + along**2)
    m2 = (2.0 * along) ** 2
    second = np.exp(2.0 * norm2) * (1.0 + 2.0 * (m2 + 1.0) + m2**2 + 6.0 * m2 + 3.0)
    return Problem(5, f, mean, second)


def normal_law(dim: int) -> tuple[peers.LogDensity, peers.Sampler]:
    """The standard normal law as the NumPy peer takes it."""

    def log_density(x: Array) -> Array:
        values: Array = -0.5 * np.einsum("na,na->n", x, x)[:, None] - 0.5 * dim * LOG_2PI
        return values

    def sample(rng: np.random.Generator, n: int, _law: int) -> Array:
        return rng.standard_normal((n, dim))

    return log_density, sample


def shortest(benchmark: Any) -> float | None:
    """Shortest round in seconds; None under --benchmark-disable."""
    return None if benchmark.stats is None else float(benchmark.stats.stats.min)


def record(benchmark: Any, problem: Problem, mean: Array, stderr: Array, n_evals: int) -> None:
    """Say how accurate the timed run was, and refuse a wrong one."""
    pull = np.abs(np.asarray(mean) - problem.mean) / np.asarray(stderr)
    benchmark.extra_info.update(
        n_evals=int(n_evals),
        criterion=float(np.sum((np.asarray(stderr) / problem.mean) ** 2)),
        max_error_in_stderr=round(float(pull.max()), 2),
    )
    if (seconds := shortest(benchmark)) is not None:
        benchmark.extra_info["ns_per_eval_component"] = round(1e9 * seconds / (n_evals * J), 2)
    assert pull.max() < 5.0


def time_fermiac(benchmark: Any, problem: Problem, f: Any, n: int = N) -> None:
    law = problem.law()
    weights = 1.0 / problem.mean**2

    def call() -> Any:
        return fm.importance.expect(
            f, law, n=n, weights=weights, family="gaussian", rng=SEED, plan=fm.Plan(n_threads=1)
        )

    result = benchmark(call)
    record(benchmark, problem, result.mean, result.stderr, result.n_evals)


def time_peer(benchmark: Any, problem: Problem) -> None:
    log_density, sample = normal_law(problem.dim)
    weights = 1.0 / problem.mean**2

    def call() -> dict[str, Any]:
        return peers.expect(problem.f, log_density, sample, N, weights=weights, seed=SEED)

    result = benchmark(call)
    record(benchmark, problem, result["mean"], result["stderr"], result["n_evals"])


def time_plain(benchmark: Any, problem: Problem, f: Any, limit: int) -> None:
    """Plain Monte Carlo with so many points that its exact variance is the adaptive run's."""
    law = problem.law()
    weights = 1.0 / problem.mean**2
    adaptive = fm.importance.expect(
        problem.f, law, n=N, weights=weights, family="gaussian", rng=SEED, plan=fm.Plan(n_threads=1)
    )
    criterion = float(np.sum((adaptive.stderr / problem.mean) ** 2))
    needed = int(problem.criterion_mc / criterion)
    n = min(needed, limit)

    def call() -> Any:
        return fm.importance.expect(f, law, n=n, method="mc", rng=SEED, plan=fm.Plan(n_threads=1))

    # One round: at equal accuracy one takes seconds.
    result = benchmark.pedantic(call, rounds=1, iterations=1)
    # The exact standard error: a sample of heavy-tailed powers underestimates its own.
    exact_stderr = np.sqrt((problem.second - problem.mean**2) / n)
    record(benchmark, problem, result.mean, exact_stderr, n)
    benchmark.extra_info["n_for_equal_accuracy"] = needed
    if (seconds := shortest(benchmark)) is not None:
        benchmark.extra_info["seconds_for_equal_accuracy"] = seconds * needed / n


@pytest.mark.benchmark(group=MOMENTS)
def test_moments_fermiac_builtin(benchmark: Any) -> None:
    time_fermiac(benchmark, moments(), fm.targets.powers(2.0 * np.arange(1, J + 1), dim=1))


@pytest.mark.benchmark(group=MOMENTS)
def test_moments_fermiac_callable(benchmark: Any) -> None:
    problem = moments()
    time_fermiac(benchmark, problem, problem.f)


@pytest.mark.benchmark(group=MOMENTS)
def test_moments_numpy(benchmark: Any) -> None:
    time_peer(benchmark, moments())


@pytest.mark.benchmark(group=MOMENTS)
def test_moments_plain_mc_equal_accuracy(benchmark: Any) -> None:
    powers = fm.targets.powers(2.0 * np.arange(1, J + 1), dim=1)
    time_plain(benchmark, moments(), powers, MC_LIMIT["builtin"])


@pytest.mark.benchmark(group=EVEN)
def test_even_fermiac_builtin(benchmark: Any) -> None:
    time_fermiac(benchmark, even(), fm.targets.powers(even_exponents()))


@pytest.mark.benchmark(group=EVEN)
def test_even_fermiac_callable(benchmark: Any) -> None:
    problem = even()
    time_fermiac(benchmark, problem, problem.f)


@pytest.mark.benchmark(group=EVEN)
def test_even_numpy(benchmark: Any) -> None:
    time_peer(benchmark, even())


@pytest.mark.benchmark(group=EVEN)
def test_even_plain_mc_equal_accuracy(benchmark: Any) -> None:
    time_plain(benchmark, even(), fm.targets.powers(even_exponents()), MC_LIMIT["builtin"])


@pytest.mark.benchmark(group=EVEN_LARGE)
def test_even_large_fermiac_builtin(benchmark: Any) -> None:
    time_fermiac(benchmark, even(), fm.targets.powers(even_exponents()), N_LARGE)


@pytest.mark.benchmark(group=TILTS)
def test_tilts_fermiac_callable(benchmark: Any) -> None:
    problem = tilts()
    time_fermiac(benchmark, problem, problem.f)


@pytest.mark.benchmark(group=TILTS)
def test_tilts_numpy(benchmark: Any) -> None:
    time_peer(benchmark, tilts())


@pytest.mark.benchmark(group=TILTS)
def test_tilts_plain_mc_equal_accuracy(benchmark: Any) -> None:
    problem = tilts()
    time_plain(benchmark, problem, problem.f, MC_LIMIT["callable"])
