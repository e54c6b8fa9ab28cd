"""Errors of bridge sampling on normal targets, whose evidence is known.

Four chains are autoregressive, with the target as their law, so that they need no warm-up; the
correlation is that of neighbouring draws. ``held`` is the share of runs with log Z within two
standard errors of the exact value (its own standard error for 1000 runs is 0.007), ``sd`` the
standard deviation of the difference in standard errors, and ``warned`` the share of runs with a
warning. Seeds are from 1000 on.

``python -m benches.importance.calibrate_bridge`` prints the table, in a few minutes.
"""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import fermiac as fm

FIRST = 1000


def chains(seed: int, n: int, d: int, rho: float) -> Any:
    """Return four autoregressive chains of a standard normal law."""
    noise = fm.random.Stream(seed).normal((n, 4, d))
    x = np.empty_like(noise)
    x[0] = noise[0]
    for t in range(1, n):
        x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * noise[t]
    return np.ascontiguousarray(x.transpose(1, 0, 2))


def row(d: int, n: int, rho: float, runs: int, **more: Any) -> str:
    """Return the row of a case."""
    pulls, warned = [], 0
    for seed in range(FIRST, FIRST + runs):
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            z = fm.importance.bridge(
                chains(seed, n, d, rho),
                lambda x: -0.5 * (x**2).sum(axis=1),
                rng=seed,
                check=False,
                **more,
            )
        warned += bool(given)
        pulls.append((z.log_evidence - d / 2 * math.log(2 * math.pi)) / z.log_evidence_stderr)
    held, sd = np.mean(np.abs(pulls) < 2), np.std(pulls)
    family = more.get("family", "gaussian")
    return f"| {d} | {n} | {rho:g} | {family} | {held:.3f} | {sd:.2f} | {warned / runs:.2f} |"


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="runs of a row")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    lines = ["| d | draws | correlation | family | held | sd | warned |", "|---" * 7 + "|"]
    for d, n, rho, more in (
        (5, 1000, 0.7, {}),
        (20, 1000, 0.7, {}),
        (20, 400, 0.9, {}),
        (5, 1000, 0.0, {}),
        (5, 1000, 0.7, {"family": "t"}),
    ):
        lines.append(row(d, n, rho, given.runs, **more))
        print(lines[-1], flush=True)
    if given.out is not None:
        head = "# Calibration of bridge sampling\n\n" + str(__doc__).replace("``", "`")
        given.out.write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
