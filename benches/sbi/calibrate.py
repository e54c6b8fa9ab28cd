"""Errors of sequential ABC, as `docs/sbi.md` gives them.

The observation 1.5 is normal with an unknown mean, whose prior is N(0, 2²). The posterior given a
distance of at most epsilon is known by quadrature for each epsilon. ``held`` is the share of runs
with an average within two standard errors of it, and ``sd`` the standard deviation of the
difference in standard errors. Seeds are from 1000 on.

``python -m benches.sbi.calibrate`` prints the table, in a few minutes.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
from scipy.stats import norm

import fermiac as fm

FIRST = 1000
GRID = np.linspace(-12, 12, 20_001)


def simulate(theta: Any, stream: Any) -> Any:
    """Return an observation."""
    return theta + stream.normal(1)


def known(epsilon: float) -> tuple[float, float]:
    """Return the mean and the variance given |s - 1.5| <= epsilon."""
    w = norm.pdf(GRID, 0, 2) * (norm.cdf(1.5 + epsilon - GRID) - norm.cdf(1.5 - epsilon - GRID))
    w /= w.sum()
    mean = float(w @ GRID)
    return mean, float(w @ (GRID - mean) ** 2)


def row(n: int, runs: int) -> str:
    """Return the row of a number of particles."""
    pulls = []
    prior = fm.distributions.Normal(0.0, 2.0)
    for seed in range(FIRST, FIRST + runs):
        s = fm.sbi.abc_smc(
            simulate, prior, 1.5, n, min_acceptance=0.15, scale="none", rng=seed, progress=False
        )
        mean, variance = known(s.epsilon)
        e = s.expect(lambda x, m=mean: np.column_stack([x[:, 0], (x[:, 0] - m) ** 2]))
        pulls.append((e.mean - [mean, variance]) / e.stderr)
    held, sd = np.mean(np.abs(pulls) < 2, axis=0), np.std(pulls, axis=0)
    return f"| {n} | {held[0]:.3f} | {sd[0]:.2f} | {held[1]:.3f} | {sd[1]:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=150, help="runs of a row")
    runs = parser.parse_args().runs
    warnings.simplefilter("ignore", fm.errors.FermiacWarning)
    print("| particles | held: mean | sd | held: variance | sd |\n" + "|---" * 5 + "|")
    for n in (300, 1000):
        print(row(n, runs), flush=True)


if __name__ == "__main__":
    main()
