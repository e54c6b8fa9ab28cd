"""The evidence of ten-dimensional densities: fermiac beside AMIS in NumPy.

``pytest benches/importance/bench_evidence.py --benchmark-group-by=group``. Each row's
extra_info says how far off the answers of ten seeds were, what error they claimed, and the
effective sample size for each evaluation, so that speed is never read without accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from benches.importance import peer_amis
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
DIM = 10
N = 50_000
SEEDS = range(10)
LOG_2PI = math.log(2 * math.pi)
# The banana's heavy tails are announced.
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")


class Problem(NamedTuple):
    """A density, the standard deviation of the law to start from, and log Z."""

    log_density: Callable[[Array], Array]
    sd: float
    log_evidence: float


def _gaussian() -> Problem:
    centre = np.linspace(-2.0, 2.0, DIM)

    def f(x: Array) -> Array:
        y = x - centre
        return -0.5 * np.einsum("ij,ij->i", y, y)

    return Problem(f, 3.0, DIM / 2 * LOG_2PI)


def _student(df: float = 5.0) -> Problem:
    centre = np.linspace(-2.0, 2.0, DIM)

    def f(x: Array) -> Array:
        y = x - centre
        return -0.5 * (df + DIM) * np.log1p(np.einsum("ij,ij->i", y, y) / df)

    constant = math.lgamma(df / 2) - math.lgamma((df + DIM) / 2)
    return Problem(f, 3.0, constant + DIM / 2 * math.log(df * math.pi))


def _banana() -> Problem:
    def f(x: Array) -> Array:
        bent = x[:, 1] + 0.1 * (x[:, 0] ** 2 - 9.0)
        rest = x[:, 2:]
        squares = np.einsum("ij,ij->i", rest, rest)
        return -0.5 * (x[:, 0] ** 2 / 9.0 + bent**2 + squares)

    return Problem(f, 4.0, DIM / 2 * LOG_2PI + math.log(3.0))


PROBLEMS = {"gaussian": _gaussian, "student": _student, "banana": _banana}


def _fermiac(problem: Problem, seed: int, **settings: Any) -> peer_amis.Found:
    law = fm.distributions.MultivariateNormal(np.zeros(DIM), problem.sd**2 * np.eye(DIM))
    z = fm.importance.evidence(problem.log_density, law, n=N, rng=seed, **settings)
    return peer_amis.Found(z.log_evidence, z.log_evidence_stderr, z.ess)


METHODS: dict[str, Callable[[Problem, int], peer_amis.Found]] = {
    "fermiac_amis": lambda problem, seed: _fermiac(problem, seed),
    "fermiac_amis_1_thread": lambda problem, seed: _fermiac(
        problem, seed, plan=fm.Plan(n_threads=1)
    ),
    "fermiac_pmc": lambda problem, seed: _fermiac(problem, seed, scheme="pmc"),
    "numpy_amis": lambda problem, seed: peer_amis.amis(
        problem.log_density, problem.sd, DIM, N, 20, seed
    ),
}


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("name", list(PROBLEMS))
def bench_evidence(benchmark: Any, name: str, method: str) -> None:
    problem = PROBLEMS[name]()
    call = METHODS[method]
    found = [call(problem, seed) for seed in SEEDS]
    error = np.array([f.log_evidence - problem.log_evidence for f in found])
    claimed = np.array([f.stderr for f in found])
    benchmark.group = f"evidence: {name} d={DIM} n={N}"
    benchmark.extra_info |= {
        "rms_error": float(np.sqrt(np.mean(error**2))),
        "claimed_error": float(np.mean(claimed)),
        "mean_pull": float(np.mean(error / claimed)),
        "ess_per_evaluation": float(np.mean([f.ess for f in found]) / N),
    }
    benchmark.pedantic(call, args=(problem, 0), rounds=5, warmup_rounds=1)
