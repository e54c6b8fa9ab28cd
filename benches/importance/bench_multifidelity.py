"""Models of several fidelities and levels: fermiac beside MXMCPy and plain Monte Carlo.

``pytest benches/importance/bench_multifidelity.py --benchmark-group-by=group``. The allocations are
for the published monomials x^5 … x with costs that fall by tens: extra_info has the forecast gain
over plain Monte Carlo from the exact covariance. The estimates have gains that came out, root mean
square errors and coverage over some seeds. For options under geometric Brownian motion extra_info
has the root mean square error over the tolerance and the cost times its square.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from benches.importance.options import EXACT, PAYOFFS, TOLERANCES, level

import fermiac as fm
from fermiac.importance.allocation import allocate

POWERS = np.arange(5.0, 0.0, -1.0)
COSTS = 10.0 ** -np.arange(5.0)
COV = 1 / (POWERS[:, None] + POWERS + 1) - 1 / ((POWERS[:, None] + 1) * (POWERS + 1))
MODELS = [lambda x, p=p: x[:, 0] ** p for p in POWERS]
BUDGET = 300
SEEDS = range(60)
#: Methods of MXMCPy beside ours: a chain, and around the first model without and with a group.
THEIRS = {"mfmc": "mfmc", "acv": "acvmf", "acvkl": "acvkl"}


@pytest.mark.parametrize("method", ["mfmc", "acv", "auto"])
def test_allocation(benchmark: Any, method: str) -> None:
    """Time an allocation to five models."""
    benchmark.group = "allocation, 5 models"
    found = benchmark(allocate, COV, COSTS, method)
    benchmark.extra_info["gain"] = float(COV[0, 0] * COSTS[0] / found.product)


@pytest.mark.parametrize("method", THEIRS)
@pytest.mark.filterwarnings("ignore")
def test_allocation_of_mxmcpy(benchmark: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time an allocation of MXMCPy for the same models and budget."""
    mxmc, torch = pytest.importorskip("mxmc"), pytest.importorskip("torch")
    # It calls a function that newer versions of torch have removed.
    monkeypatch.setattr(torch, "solve", lambda b, a: (torch.linalg.solve(a, b), None))
    benchmark.group = "allocation, 5 models"
    optimizer = mxmc.Optimizer(COSTS, COV)
    found = benchmark.pedantic(
        optimizer.optimize, args=(THEIRS[method], float(BUDGET)), rounds=3, iterations=1
    )
    benchmark.extra_info["gain"] = float(COV[0, 0] * COSTS[0] / BUDGET / found.variance)


@pytest.mark.parametrize("method", ["auto", "mfmc", "acv", "mc"])
def test_estimate(benchmark: Any, method: Any) -> None:
    """Time an estimate with its pilot, and report its errors."""
    law = fm.distributions.Uniform(0.0, 1.0)

    def run(seed: int) -> fm.importance.Multifidelity:
        return fm.importance.multifidelity(
            MODELS, law, BUDGET, COSTS, method=method, check=False, rng=seed
        )

    found = [run(seed) for seed in SEEDS]
    errors = np.array([float(m.mean) - 1 / 6 for m in found])
    held = [low <= 1 / 6 <= high for low, high in (m.interval() for m in found)]
    plain = COV[0, 0] * COSTS[0] / BUDGET
    benchmark.group = f"estimate, 5 models, {BUDGET} runs"
    benchmark.extra_info.update(
        rmse=float(np.sqrt(np.mean(errors**2))),
        gain=float(plain / np.mean(errors**2)),
        gain_reported=float(np.median([m.gain for m in found])),
        cover=float(np.mean(held)),
    )
    benchmark(run, 0)


@pytest.mark.parametrize("points", ["random", "sobol"])
@pytest.mark.parametrize("factor", [1.0, 0.5, 0.25])
@pytest.mark.parametrize("name", PAYOFFS)
def test_option(benchmark: Any, name: str, factor: float, points: Any) -> None:
    """Time an option with random or Sobol' points, and report its errors."""
    atol, f = TOLERANCES[name] * factor, level(PAYOFFS[name])

    def run(seed: int) -> fm.importance.Multilevel:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)
            return fm.importance.multilevel(f, atol, points=points, rng=seed)

    found = [run(seed) for seed in range(20 if benchmark.enabled else 1)]
    errors = np.array([float(m.mean) - EXACT[name] for m in found])
    benchmark.group = f"{name} option, atol {atol:g}"
    benchmark.extra_info.update(
        atol=atol,
        rmse_over_atol=float(math.sqrt(np.mean(errors**2)) / atol),
        within_2_atol=float(np.mean(np.abs(errors) < 2 * atol)),
        cost_atol2=float(np.mean([m.cost for m in found]) * atol**2),
    )
    benchmark.pedantic(run, args=(0,), rounds=1)


# A few levels have too few paths for their kurtosis.
@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
@pytest.mark.parametrize("scheme", ["euler", "milstein"])
def test_cost_exponent(benchmark: Any, scheme: str) -> None:
    """Report how the cost of the European option rises as the tolerance falls.

    Theory says -2 for Milstein's scheme. For Euler's, where variances fall as costs rise, it is -2
    with a factor of the squared logarithm, which makes the exponent steeper over any range.
    """
    f = level(PAYOFFS["european"], scheme == "milstein")
    tolerances = 0.1 * 2.0 ** -np.arange(0, 3.1, 0.5)
    # Few paths of many fine levels at least, which would have a share of the cost of their own. The
    # few levels of Euler's scheme need more of them for their rates.
    n_start = 200 if scheme == "milstein" else 1000

    def run(atol: float, seed: int) -> fm.importance.Multilevel:
        return fm.importance.multilevel(f, atol, n_start=n_start, rng=seed)

    found = [[run(float(atol), seed) for seed in range(4)] for atol in tolerances]
    costs = [np.mean([m.cost for m in runs]) for runs in found]
    benchmark.group = "cost exponent"
    benchmark.extra_info.update(
        exponent=float(np.polyfit(np.log(tolerances), np.log(costs), 1)[0]),
        beta=float(np.mean([m.beta for m in found[-1]])),
        levels=[float(np.mean([len(m.n_paths) for m in runs])) for runs in found],
        cost_atol2=[float(c * t * t) for c, t in zip(costs, tolerances, strict=True)],
    )
    benchmark.pedantic(run, args=(float(tolerances[0]), 0), rounds=1)
