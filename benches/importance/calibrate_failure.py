"""Calibration of `failure_probability`: errors, coverage and silent failures on known problems.

    python -m benches.importance.calibrate_failure --seeds 50 --n 20000

For each problem: the relative root mean square error times the square root of all evaluations, the
share of runs within two reported errors, the runs more than five errors off without a warning, and
the runs with one.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from typing import NamedTuple

import numpy as np
from benches.importance.failure_problems import PROBLEMS, Problem

import fermiac as fm


class Row(NamedTuple):
    """The results of the runs of one problem."""

    cost: float
    bias: float
    within: float
    covered: float
    silent: int
    announced: int
    seconds: float


def calibrate(problem: Problem, n: int, seeds: range, method: str) -> Row:
    """Return the row of a problem."""
    law = fm.distributions.Normal(np.zeros(problem.dim), np.ones(problem.dim))
    relative, pulls, evals, covered = [], [], [], []
    silent = announced = 0
    start = time.process_time()
    for seed in seeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            p = fm.importance.failure_probability(
                problem.g, law, n=n, method=method, rng=seed, check=False
            )
        relative.append(p.mean / problem.probability - 1)
        pulls.append((p.mean - problem.probability) / p.stderr)
        low, high = p.interval(0.95)
        covered.append(low <= problem.probability <= high)
        evals.append(p.n_evals)
        announced += not p.converged
        silent += bool(p.converged and abs(pulls[-1]) > 5)
    seconds = (time.process_time() - start) / len(seeds)
    cost = math.sqrt(np.mean(np.square(relative)) * np.mean(evals))
    within = float(np.mean(np.abs(pulls) < 2))
    return Row(
        cost,
        float(np.mean(relative)),
        within,
        float(np.mean(covered)),
        silent,
        announced,
        seconds,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    seeds = range(options.start, options.start + options.seeds)
    print(f"method {options.method}, n = {options.n}, {options.seeds} seeds")
    print(
        f"{'problem':<26} {'cv*sqrt(n)':>10} {'bias':>8} {'|pull|<2':>8} {'95 %':>6} "
        f"{'silent':>6} {'warned':>6} {'CPU s':>6}"
    )
    within, covered = [], []
    for name, problem in PROBLEMS.items():
        if options.only not in name:
            continue
        row = calibrate(problem, options.n, seeds, options.method)
        within.append(row.within)
        covered.append(row.covered)
        print(
            f"{name:<26} {row.cost:>10.2f} {row.bias:>+8.4f} {row.within:>8.2f} "
            f"{row.covered:>6.2f} {row.silent:>6} {row.announced:>6} {row.seconds:>6.2f}",
            flush=True,
        )
    print(
        f"pooled: |pull| < 2 in {np.mean(within):.3f}, 95 % intervals cover {np.mean(covered):.3f}"
    )


if __name__ == "__main__":
    main()
