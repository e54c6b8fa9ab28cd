"""Sobol' indices: fermiac beside SciPy, SALib and OpenTURNS, at equal runs of the model.

``pytest benches/importance/bench_sensitivity.py --benchmark-group-by=group``. Each row's extra_info
has the runs, the root mean square errors of first and total indices over some seeds, and the share
of 95 % intervals that cover, so that speed is never read without accuracy. A peer that is not
installed is skipped. The bootstraps of SciPy and SALib take 100 resamples. One thread each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from benches.importance.calibrate_sensitivity import Case, g_function, ishigami
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm

Array = NDArray[np.float64]
SEEDS = range(20)
RESAMPLES = 100
#: Rows of the design: runs are d + 2 times as many.
ROWS = {"ishigami": 4096, "g": 256}
CASES: dict[str, Case] = {"ishigami": ishigami(), "g": g_function()}


class Found(NamedTuple):
    """Indices, first then total, with the ends of their 95 % intervals."""

    values: Array
    low: Array
    high: Array
    runs: int


def _batch(case: Case) -> Callable[[Array], Array]:
    return lambda x: np.asarray(case.model(np.ascontiguousarray(x)))


def ours(case: Case, rows: int, seed: int, controls: Any) -> Found:
    """Return the indices by `fermiac.importance.sobol_indices`."""
    n = rows * (len(case.first) + 2)
    s = fm.importance.sobol_indices(
        case.model, case.law, n, controls=controls, rng=seed, plan=fm.Plan(n_threads=1)
    )
    ends = [s.interval(0.95, kind) for kind in ("first", "total")]  # type: ignore[arg-type]
    low, high = (np.stack([e[k] for e in ends]) for k in (0, 1))
    return Found(np.stack([s.first_order, s.total_order]), low, high, s.n_evals)


def by_scipy(case: Case, rows: int, seed: int) -> Found:
    """Return the indices by `scipy.stats.sobol_indices`."""
    f, dim = _batch(case), len(case.first)
    got = stats.sobol_indices(
        func=lambda x: f(x.T),
        n=rows,
        dists=[stats.uniform(case.low, case.high - case.low)] * dim,
        rng=seed,
    )
    boot = got.bootstrap(n_resamples=RESAMPLES)
    ends = [boot.first_order.confidence_interval, boot.total_order.confidence_interval]
    return Found(
        np.stack([got.first_order, got.total_order]),
        np.stack([e.low for e in ends]),
        np.stack([e.high for e in ends]),
        rows * (dim + 2),
    )


def by_salib(case: Case, rows: int, seed: int) -> Found:
    """Return the indices by SALib, from its scrambled Sobol' points."""
    sample = pytest.importorskip("SALib.sample.sobol").sample
    analyze = pytest.importorskip("SALib.analyze.sobol").analyze
    dim = len(case.first)
    problem = {
        "num_vars": dim,
        "names": [f"x{i}" for i in range(dim)],
        "bounds": [[case.low, case.high]] * dim,
    }
    x = sample(problem, rows, calc_second_order=False, seed=seed)
    si = analyze(
        problem, _batch(case)(x), calc_second_order=False, num_resamples=RESAMPLES, seed=seed
    )
    values = np.stack([si["S1"], si["ST"]])
    half = np.stack([si["S1_conf"], si["ST_conf"]])
    return Found(values, values - half, values + half, len(x))


def by_openturns(case: Case, rows: int, seed: int) -> Found:
    """Return the indices by OpenTURNS' Martinez estimator, with its asymptotic intervals."""
    ot = pytest.importorskip("openturns")
    ot.RandomGenerator.SetSeed(seed)
    dim = len(case.first)
    law = ot.JointDistribution([ot.Uniform(case.low, case.high)] * dim)
    f = _batch(case)
    model = ot.PythonFunction(dim, 1, func_sample=lambda x: f(np.asarray(x))[:, None])
    algorithm = ot.MartinezSensitivityAlgorithm(law, rows, model, False)
    algorithm.setUseAsymptoticDistribution(True)
    first, total = algorithm.getFirstOrderIndices(), algorithm.getTotalOrderIndices()
    ends = [algorithm.getFirstOrderIndicesInterval(), algorithm.getTotalOrderIndicesInterval()]
    return Found(
        np.array([list(first), list(total)]),
        np.array([list(e.getLowerBound()) for e in ends]),
        np.array([list(e.getUpperBound()) for e in ends]),
        rows * (dim + 2),
    )


METHODS: dict[str, Callable[[Case, int, int], Found]] = {
    "fermiac": lambda case, rows, seed: ours(case, rows, seed, "auto"),
    "fermiac_no_controls": lambda case, rows, seed: ours(case, rows, seed, "none"),
    "scipy": by_scipy,
    "salib": by_salib,
    "openturns": by_openturns,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_indices(benchmark: Any, name: str, method: str) -> None:
    """Time one call, and report errors and coverage over the seeds."""
    case, rows, run = CASES[name], ROWS[name], METHODS[method]
    truth = np.stack([case.first, case.total])
    found = [run(case, rows, seed) for seed in (SEEDS if benchmark.enabled else SEEDS[:1])]
    errors = np.array([f.values - truth for f in found])
    cover = np.mean([(f.low <= truth) & (truth <= f.high) for f in found], axis=(0, 2))
    benchmark.group = f"{name}, {rows} rows"
    benchmark.extra_info.update(
        runs=found[0].runs,
        rmse_first=float(np.sqrt(np.mean(errors[:, 0] ** 2))),
        rmse_total=float(np.sqrt(np.mean(errors[:, 1] ** 2))),
        cover_first=float(cover[0]),
        cover_total=float(cover[1]),
    )
    benchmark.pedantic(run, args=(case, rows, 0), rounds=3)
