"""Calibration of `sobol_indices`: error and coverage against functions with known indices.

For Ishigami's function and the g-function in 8 dimensions, at 2,500 to 40,000 runs of the model,
the table has the root mean square errors of first-order and total indices, with and without
polynomial controls, and those of `scipy.stats.sobol_indices` with the nearest power of two of rows.
It also has the coverage of 95 % intervals, for all indices of a kind together and for the worst
index, and the share of `n` that was used. The indices of one run are correlated. The standard error
of a coverage is therefore between those for the number of runs and for the number of indices.
Constants of the library were chosen on seeds below 1000, and the table has seeds from 1000 on.

A row is in the band if its coverages are from 0.92 to 0.98, up to two standard errors of a share of
the seeds. The coverage of the worst index is not judged, since it is the least of many.

``python -m benches.importance.calibrate_sensitivity`` prints it, in about five minutes.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm

Array = NDArray[np.float64]
RUNS = (2_500, 5_000, 10_000, 20_000, 40_000)


class Case(NamedTuple):
    """A model with independent uniform inputs on an interval, and its indices."""

    model: Any
    low: float
    high: float
    first: Array
    total: Array

    @property
    def law(self) -> fm.distributions.Law:
        """The law of the inputs."""
        dim = len(self.first)
        return fm.distributions.Uniform([self.low] * dim, [self.high] * dim)


def ishigami() -> Case:
    """Return Ishigami's function."""
    first = np.array([0.313905191147811, 0.442411144790041, 0.0])
    total = np.array([0.557588855209959, 0.442411144790041, 0.243683664062148])
    return Case(fm.targets.ishigami(), -np.pi, np.pi, first, total)


def g_function() -> Case:
    """Return the g-function with two inputs that matter, two that hardly do, and four others."""
    a = np.array([0.0, 1.0, 4.5, 9.0, 99.0, 99.0, 99.0, 99.0])
    parts = 1 / 3 / (1 + a) ** 2
    whole = np.prod(1 + parts)
    first, total = parts / (whole - 1), parts * whole / (1 + parts) / (whole - 1)
    return Case(fm.targets.g_function(a), 0.0, 1.0, first, total)


def rms(errors: Array) -> float:
    """Return the root mean square of all errors."""
    return float(np.sqrt(np.mean(errors**2)))


class Found(NamedTuple):
    """Errors, coverage and runs: of first-order and of total indices."""

    error: tuple[float, float]
    cover: tuple[float, float]
    worst: float
    runs: float

    def __str__(self) -> str:
        return (
            f"{self.error[0]:.1e} {self.error[1]:.1e} | {self.cover[0]:.3f} {self.cover[1]:.3f} | "
            f"{self.worst:.2f} | {self.runs:.2f}"
        )


def ours(case: Case, n: int, seeds: range, controls: Any) -> Found:
    """Return errors and coverage of `sobol_indices`, and the share of `n` that it used."""
    errors, held, share = [], [], 0.0
    truth = np.stack([case.first, case.total])
    for seed in seeds:
        s = fm.importance.sobol_indices(
            case.model, case.law, n, controls=controls, rng=seed, plan=fm.Plan(n_threads=1)
        )
        ends = [s.interval(0.95, kind) for kind in ("first", "total")]  # type: ignore[arg-type]
        errors.append(np.stack([s.first_order, s.total_order]) - truth)
        held.append([(low <= t) & (t <= high) for (low, high), t in zip(ends, truth, strict=True)])
        share = s.n_evals / n
    error, cover = np.array(errors), np.mean(held, axis=0)
    return Found(
        (rms(error[:, 0]), rms(error[:, 1])),
        (float(cover[0].mean()), float(cover[1].mean())),
        float(cover.min()),
        share,
    )


def scipy_errors(case: Case, n: int, seeds: range) -> tuple[float, float, int]:
    """Return the errors of SciPy, and its runs.

    It takes a power of two of rows. It gets the one that is nearest to `n` runs.
    """
    dim = len(case.first)
    rows = 2 ** round(np.log2(n / (dim + 2)))
    errors = []
    for seed in seeds:
        got = stats.sobol_indices(
            func=lambda x: case.model(x.T),
            n=rows,
            dists=[stats.uniform(case.low, case.high - case.low)] * dim,
            rng=seed,
        )
        errors.append([got.first_order - case.first, got.total_order - case.total])
    error = np.array(errors)
    return rms(error[:, 0]), rms(error[:, 1]), rows * (dim + 2)


HEAD = (
    "| function | n | RMSE first, total | cover 95 % first, total | worst index | of n | "
    "without controls: RMSE | cover | worst | of n | SciPy: RMSE | runs | in band |"
)
#: The band of the coverage, and the standard deviations by which chance may miss it.
BAND, CHANCE = (0.92, 0.98), 2.0


def in_band(found: Found, seeds: int) -> bool:
    """Return whether the coverages are in the band, up to chance."""
    slack = CHANCE * math.sqrt(0.05 * 0.95 / seeds)
    return all(BAND[0] - slack <= c <= min(BAND[1] + slack, 1.0) for c in found.cover)


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--only", choices=["ishigami", "g"], default=None)
    parser.add_argument("--start", type=int, default=1000, help="the first seed")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    options = parser.parse_args()
    seeds, only = range(options.start, options.start + options.seeds), options.only
    lines = [HEAD, "|" + "---|" * 13]
    print("\n".join(lines), flush=True)
    right = []
    for name, case in (("ishigami", ishigami()), ("g", g_function())):
        if only in (None, name):
            for n in RUNS:
                with_controls, without = (ours(case, n, seeds, c) for c in ("auto", "none"))
                first, total, runs = scipy_errors(case, n, seeds)
                right.append(all(in_band(found, len(seeds)) for found in (with_controls, without)))
                word = "yes" if right[-1] else "NO"
                peer = f"{first:.1e} {total:.1e} | {runs} | {word}"
                lines.append(f"| {name} | {n} | {with_controls} | {without} | {peer} |")
                print(lines[-1], flush=True)
    lines += ["", f"{sum(right)} of {len(right)} rows are in the band, of {len(seeds)} seeds each."]
    print("\n" + lines[-1])
    if options.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip()
        page = ["# Calibration of Sobol' indices", "", intro, "", *lines]
        options.out.write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
