"""Nested sampling beside sequential Monte Carlo, on the same problems and seeds.

``python -m benches.nested.particles --page docs/calibration-nested.md`` runs
`fermiac.nested.sample` at its defaults and `fermiac.mcmc.smc` with 8192 and with 32,768 particles,
and puts a table into the page: the root mean square error of log Z, the mean claimed error,
likelihood calls, the number of batches, and CPU seconds. A batch is what a parallel or vectorised
likelihood gets at once, so that their number is the time of a run on enough processors.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benches.nested.calibration import ALL, CASES
from benches.nested.problem import Array, Problem
from benches.pages import into_page

import fermiac as fm

HEAD = (
    "| problem | sampler | rms error | claimed | within 2 | calls | batches | warned | CPU s |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


class Ran(NamedTuple):
    """The figures of one run."""

    error: float
    claimed: float
    n_evals: int
    batches: int
    warned: bool
    seconds: float


def ran(p: Problem, seed: int, call: Callable[[Any, int], Any]) -> Ran:
    """Return the figures of a call with a likelihood that counts its batches."""
    batches = 0

    def likelihood(x: Array) -> Array:
        nonlocal batches
        batches += 1
        return p.values(x)

    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        r = call(likelihood, seed)
    return Ran(
        float(r.log_evidence) - p.log_evidence,
        float(r.log_evidence_stderr),
        int(r.n_evals),
        batches,
        bool(r.warnings),
        time.process_time() - start,
    )


def rows(label: str, p: Problem, settings: dict[str, Any], seeds: range) -> list[str]:
    """Return the rows of one problem."""
    calls: dict[str, Callable[[Any, int], Any]] = {
        "nested": lambda f, seed: fm.nested.sample(
            f, p.prior, p.dim, rng=seed, periodic=p.periodic, plan=fm.Plan(n_threads=1), **settings
        )
    }
    for n in (8192, 32_768):
        calls[f"smc, {n:,}"] = lambda f, seed, n=n: fm.mcmc.smc(
            f, p.prior, n, rng=seed, plan=fm.Plan(n_threads=1)
        )
    lines = []
    for name, call in calls.items():
        runs = [ran(p, seed, call) for seed in seeds]
        errors, claimed, evals, batches, warned, seconds = map(np.array, zip(*runs, strict=True))
        cells = [
            label,
            name,
            f"{np.sqrt(np.mean(errors**2)):.4f}",
            f"{claimed.mean():.4f}",
            f"{np.mean(np.abs(errors) < 2 * claimed):.0%}",
            f"{evals.mean() / 1000:.1f} k",
            f"{batches.mean():,.0f}",
            f"{warned.mean():.0%}",
            f"{seconds.mean():.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Print the table, and put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--only", default="", help="a word of the labels of problems")
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    lines = [HEAD]
    for label, (name, settings) in CASES.items():
        if given.only in label and "n_live" not in settings:
            lines += rows(label, ALL[name](), settings, seeds)
    if given.page is not None:
        into_page(given.page, "particles", "\n".join(lines))


if __name__ == "__main__":
    main()
