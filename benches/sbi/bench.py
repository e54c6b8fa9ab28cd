"""Inference from simulators on one thread, beside pyABC.

``pytest benches/sbi/bench.py --benchmark-group-by=group``, or ``python -m benches.sbi.bench``,
which prints CPU times.

Both run sequential ABC until the same distance, with a simulator in Python that takes a microsecond
or two, so that the times are those of the methods. Each row's extra_info has the error of the
posterior mean, in standard deviations of the posterior, and the simulations. The posterior for the
distance is known by quadrature. pyABC is left out where it is not installed.
"""

from __future__ import annotations

import importlib
import math
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from benches.sbi.calibrate import known, simulate

import fermiac as fm

EPSILON = 0.1
SIZES = (300, 1000)


class Found(NamedTuple):
    """The mean of the posterior, and the simulations that it took."""

    mean: float
    n_simulations: int


def ours(n: int) -> Found:
    """Run `abc_smc`."""
    s = fm.sbi.abc_smc(
        simulate,
        fm.distributions.Normal(0.0, 2.0),
        1.5,
        n,
        epsilon=EPSILON,
        min_acceptance=0.01,
        scale="none",
        rng=1,
        plan=fm.Plan(progress=False),
    )
    return Found(float(s.mean[0]), s.n_simulations)


def pyabc(n: int) -> Found:
    """Run pyABC with its defaults, on one core and with its database in memory."""
    package = importlib.import_module("pyabc")
    generator = np.random.default_rng(1)
    np.random.seed(1)  # noqa: NPY002, pyABC draws from it
    run = package.ABCSMC(
        lambda theta: {"s": theta["m"] + generator.standard_normal()},
        package.Distribution(m=package.RV("norm", 0.0, 2.0)),
        lambda x, y: abs(x["s"] - y["s"]),
        population_size=n,
        sampler=package.sampler.SingleCoreSampler(),
    )
    run.new("sqlite://", {"s": 1.5})
    history = run.run(minimum_epsilon=EPSILON)
    draws, weights = history.get_distribution()
    return Found(float(draws["m"].to_numpy() @ weights), int(history.total_nr_simulations))


def _installed() -> bool:
    try:
        importlib.import_module("pyabc")
    except ImportError:
        return False
    return True


SIDES: dict[str, Callable[[int], Found]] = {"ours": ours, "pyABC": pyabc}


def _error(found: Found) -> float:
    mean, variance, _ = known(EPSILON)
    return (found.mean - mean) / math.sqrt(variance)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", list(SIDES))
@pytest.mark.parametrize("n", SIZES)
def bench_abc_smc(benchmark: Any, n: int, side: str) -> None:
    if side != "ours" and not _installed():
        pytest.skip("pyABC is not installed")
    benchmark.group = f"sbi: Gaussian mean, {n} particles, distance {EPSILON}"
    found = SIDES[side](n)
    benchmark.extra_info["error"] = _error(found)
    benchmark.extra_info["simulations"] = found.n_simulations
    benchmark.pedantic(SIDES[side], args=(n,), rounds=2, warmup_rounds=0)


def main() -> None:
    """Print CPU times, simulations and errors."""
    warnings.simplefilter("ignore")
    print("| particles | | CPU time, s | simulations | error |\n" + "|---" * 5 + "|")
    for n in SIZES:
        for side, call in SIDES.items():
            if side != "ours" and not _installed():
                print(f"| {n} | {side} | not installed | – | – |")
                continue
            began = time.process_time()
            found = call(n)
            took = time.process_time() - began
            cells = f"{n} | {side} | {took:.2f} | {found.n_simulations} | {_error(found):.3f}"
            print(f"| {cells} |", flush=True)


if __name__ == "__main__":
    main()
