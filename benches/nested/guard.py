"""The share of runs that warn of a bound which cuts off a part of the prior above the level.

``python -m benches.nested.guard`` runs funnels, whose necks ellipsoids cut off, and problems that
ellipsoids fit, from many seeds. It prints a table in Markdown: the share of runs that are warned of
the bound, the share whose evidence from prior masses is wrong by more than two of its errors, the
mean error of this log Z with the mean error that is claimed, and of the points just outside of the
bound how many were evaluated, how many lay above the level, and how many were expected to by
chance.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from benches.nested.problems import gauss, problem
from scipy.integrate import quad
from scipy.special import erf

import fermiac as fm
from fermiac.nested.checks import LEFT_OUT


class Case(NamedTuple):
    """A problem, and whether ellipsoids cut it."""

    likelihood: Any
    low: Any
    high: Any
    log_evidence: float
    is_cut: bool = False


def funnel(dim: int, v: float, x: float) -> Case:
    """Neal's funnel in the box |v| < `v`, |x| < `x`."""

    def slice_of(at: float) -> float:
        inside = erf(x / math.exp(at / 2) / math.sqrt(2)) ** (dim - 1)
        return float(math.exp(-at * at / 18) / math.sqrt(18 * math.pi) * inside)

    volume = math.log(2 * v) + (dim - 1) * math.log(2 * x)
    ends = np.array([v, *[x] * (dim - 1)])
    exact = math.log(quad(slice_of, -v, v, limit=500)[0]) - volume
    return Case(fm.targets.funnel(dim), -ends, ends, exact, is_cut=True)


def banana(dim: int) -> Case:
    """A normal law bent along a parabola, in a box that holds all but 1e-7 of it."""
    low, high = np.full(dim, -60.0), np.full(dim, 60.0)
    low[1], high[1] = -30.0, 150.0
    return Case(fm.targets.banana(dim), low, high, -float(np.sum(np.log(high - low))))


def of(name: str) -> Case:
    """A problem of `benches.nested.problems`."""
    p = problem(name)
    return Case(p.values, p.low, p.high, p.log_evidence)


def normal(dim: int) -> Case:
    """A correlated normal law."""
    p = gauss(dim)
    return Case(p.form("builtin"), p.low, p.high, p.log_evidence)


CASES: dict[str, Callable[[], Case]] = {
    "funnel, d = 7, v in ±9, x in ±20": lambda: funnel(7, 9.0, 20.0),
    "funnel, d = 7, v in ±10, x in ±10": lambda: funnel(7, 10.0, 10.0),
    "funnel, d = 7, v in ±10, x in ±30": lambda: funnel(7, 10.0, 30.0),
    "normal, d = 2": lambda: normal(2),
    "normal, d = 5": lambda: normal(5),
    "normal, d = 9": lambda: normal(9),
    "eggbox": lambda: of("eggbox"),
    "shells, d = 2": lambda: of("shells2"),
    "banana, d = 2": lambda: banana(2),
    "banana, d = 4": lambda: banana(4),
    "rosenbrock, d = 2": lambda: of("rosenbrock2"),
}


def row(name: str, seeds: range, n_live: int, n_threads: int) -> str:
    """Run a problem from many seeds; return its row of the table."""
    case = CASES[name]()
    prior = fm.distributions.Uniform(case.low, case.high)
    found = []
    for seed in seeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            r = fm.nested.sample(
                case.likelihood, prior, n_live=n_live, rng=seed, plan=fm.Plan(n_threads=n_threads)
            )
        error = r.log_evidence_volumes - case.log_evidence
        probes, missed, expected = (
            float(np.sum(r.trace[key])) for key in ("probes", "missed", "expected")
        )
        by_chance = LEFT_OUT["multi"] * expected / n_live
        told = any("the bound cuts off" in text for text in r.warnings)
        stderr = r.log_evidence_volumes_stderr
        wrong = abs(error) > 2 * stderr
        share = probes / r.n_evals
        found.append((told, wrong, error, stderr, share, probes, missed, by_chance))
    told, wrong, error, claimed, share, probes, missed, by_chance = np.mean(found, axis=0)
    return (
        f"| {name} | {len(seeds)} | {100 * told:.1f} % | {100 * wrong:.0f} % | {error:+.3f} | "
        f"{claimed:.3f} | {100 * share:.1f} % | {probes:.0f} | {missed:.2f} | {by_chance:.2f} |"
    )


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How often a bound that cuts is warned of.")
    parser.add_argument("--seeds", type=int, default=40, help="runs of each problem")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--n-live", type=int, default=500)
    parser.add_argument("--n-threads", type=int, default=1)
    options = parser.parse_args(given)
    print(
        "| problem | runs | warned | beyond 2 errors | mean error | claimed | calls | probes | "
        "above | by chance |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for name in CASES:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        print(row(name, seeds, options.n_live, options.n_threads), flush=True)


if __name__ == "__main__":
    main()
