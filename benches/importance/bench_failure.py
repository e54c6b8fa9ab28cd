"""Failure probabilities: fermiac beside OpenTURNS and UQpy, where they are installed.

``pytest benches/importance/bench_failure.py --benchmark-group-by=group``. Each row's extra_info has
the relative error of ten seeds times the square root of all evaluations, the share of pulls below
2, and the runs more than five errors off, so that speed is never read without accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from benches.importance.failure_problems import PROBLEMS, Problem

import fermiac as fm

N = 20_000
SEEDS = range(10)
pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")

#: A run: (estimate, standard error, evaluations).
Run = tuple[float, float, int]


def fermiac(problem: Problem, seed: int) -> Run:
    """Return the answer of fermiac."""
    law = fm.distributions.Normal(np.zeros(problem.dim), np.ones(problem.dim))
    p = fm.importance.failure_probability(
        problem.g, law, N, rng=seed, check=False, plan=fm.Plan(n_threads=1, progress=False)
    )
    return p.mean, p.stderr, p.n_evals


def _event(problem: Problem) -> tuple[Any, list[int]]:
    """Return the event of a problem, and its count of evaluations."""
    ot = pytest.importorskip("openturns")

    calls = [0]

    def batch(x: Any) -> Any:
        calls[0] += len(x)
        return problem.g(np.asarray(x))[:, None]

    g = ot.PythonFunction(problem.dim, 1, func_sample=batch)
    vector = ot.RandomVector(ot.Normal(problem.dim))
    return ot.ThresholdEvent(ot.CompositeRandomVector(g, vector), ot.LessOrEqual(), 0.0), calls


def openturns_subset(problem: Problem, seed: int) -> Run:
    """Return the answer of subset simulation in OpenTURNS, with about N evaluations."""
    ot = pytest.importorskip("openturns")
    ot.RandomGenerator.SetSeed(seed)
    event, calls = _event(problem)
    algorithm = ot.SubsetSampling(event)
    levels = max(math.ceil(-math.log10(problem.probability)), 1)
    algorithm.setBlockSize(N // (10 * levels))
    algorithm.setMaximumOuterSampling(10)
    algorithm.run()
    result = algorithm.getResult()
    p = result.getProbabilityEstimate()
    return p, p * result.getCoefficientOfVariation(), calls[0]


def openturns_nais(problem: Problem, seed: int) -> Run:
    """Return the answer of NAIS in OpenTURNS."""
    ot = pytest.importorskip("openturns")
    ot.RandomGenerator.SetSeed(seed)
    event, calls = _event(problem)
    algorithm = ot.NAIS(event, 0.1)
    levels = max(math.ceil(-math.log10(problem.probability)), 1)
    algorithm.setMaximumOuterSampling(1)
    algorithm.setBlockSize(N // (levels + 1))
    algorithm.run()
    result = algorithm.getResult()
    p = result.getProbabilityEstimate()
    return p, math.sqrt(result.getVarianceEstimate()), calls[0]


def uqpy_subset(problem: Problem, seed: int) -> Run:
    """Return the answer of subset simulation in UQpy, with about N evaluations."""
    reliability = pytest.importorskip("UQpy.reliability")
    from UQpy.distributions import JointIndependent, Normal
    from UQpy.run_model import RunModel
    from UQpy.sampling import ModifiedMetropolisHastings

    calls = [0]

    class Direct(RunModel):  # type: ignore[misc]
        """The limit state, without the files that a model of UQpy is read from."""

        def __init__(self) -> None:
            self.qoi_list: list[float] = []

        def run(self, samples: Any = None, **_: Any) -> None:
            calls[0] += len(samples)
            self.qoi_list.extend(problem.g(np.asarray(samples)).tolist())

    levels = max(math.ceil(-math.log10(problem.probability)), 1)
    # The first level is drawn anew, nine tenths of each further one.
    size = 100 * round(N / (1 + 0.9 * (levels - 1)) / 100)
    first = np.random.default_rng(seed).standard_normal((size, problem.dim))
    # The law of a coordinate, the usual proposal, and the chains of the first level.
    chains = ModifiedMetropolisHastings(
        dimension=problem.dim,
        log_pdf_target=[Normal().log_pdf] * problem.dim,
        proposal=JointIndependent([Normal()] * problem.dim),
        seed=first[: size // 10].tolist(),
        random_state=seed,
    )
    found = reliability.SubsetSimulation(
        Direct(), chains, first, nsamples_per_subset=size, max_level=30
    )
    p = float(found.failure_probability)
    return p, p * float(found.dependent_chains_CoV), calls[0]


PEERS: dict[str, Callable[[Problem, int], Run]] = {
    "fermiac": fermiac,
    "openturns subset": openturns_subset,
    "openturns NAIS": openturns_nais,
    "uqpy subset": uqpy_subset,
}


def accuracy(run: Callable[[Problem, int], Run], problem: Problem) -> dict[str, float]:
    """Return how far off the answers of ten seeds are, and what they claim."""
    found = [run(problem, seed) for seed in SEEDS]
    means, errors, evals = (np.array(column, float) for column in zip(*found, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = np.abs(means - problem.probability) / errors
    relative = means / problem.probability - 1
    return {
        "cv_sqrt_n": float(np.sqrt(np.mean(relative**2) * evals.mean())),
        "within_2": float(np.mean(pulls < 2)),
        "beyond_5": float(np.sum(~(pulls <= 5))),
        "n_evals": float(evals.mean()),
    }


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_failure_probability(benchmark: Any, name: str, peer: str) -> None:
    """Measure one run, and the accuracy of ten."""
    problem, run = PROBLEMS[name], PEERS[peer]
    benchmark.group = name
    benchmark.extra_info |= accuracy(run, problem)
    benchmark.pedantic(run, (problem, 0), rounds=3)
