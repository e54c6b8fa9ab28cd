"""Calibration of failure probabilities: errors, coverage and warnings on known problems.

For each method and problem: ``error``, the relative root mean square error times the square root of
all evaluations; ``bias``, the mean relative error; ``within 2``, the share of runs whose error is
below two reported ones; ``warned``, the share with a typed warning (``converged`` is False then);
``held``, the share of the others whose 95 % interval holds the truth; and ``silent``, the runs more
than five reported errors off without a warning. A row is right where at least 0.91 of the intervals
hold, and for ``auto`` at most 0.99, or the estimates are exact to 1e-5, or 95 % of the runs are
warned, and where at most one run in a hundred is silent. Of 200 intervals with a coverage of 0.95
less than 0.91 hold by chance in one row in 160. Most errors of walks are too
large: their first levels are quasi-random points, errors of levels are taken to be correlated, and
an error is as large at least as what the second look has seen of it.

Half-spaces at distances beta, four branches, a parabola, a paraboloid, the outside of a sphere, and
the pair of limit states by which Breitung leads subset simulation astray.

``python -m benches.importance.calibrate_failure`` prints the table, in ten minutes; ``--methods``,
``--seeds``, ``--n`` and ``--only`` restrict it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benches.importance.failure_problems import PROBLEMS, Problem

import fermiac as fm

METHODS = ("auto", "subset", "line", "form")


class Row(NamedTuple):
    """The results of the runs of one problem."""

    error: float
    bias: float
    within: float
    held: float
    warned: float
    silent: int
    seconds: float

    def is_right(self, method: str, n_seeds: int) -> bool:
        """Return whether errors hold, or runs say that they do not."""
        most = 0.99 if method == "auto" else 1.0
        held = 0.91 <= self.held <= most or self.warned >= 0.95 or self.error < 1e-3
        return held and self.silent <= 0.01 * n_seeds


def measure(problem: Problem, n: int, seeds: range, method: str) -> Row:
    """Return the row of a problem."""
    law = fm.distributions.Normal(np.zeros(problem.dim), np.ones(problem.dim))
    relative, pulls, evals, held = [], [], [], []
    silent = warned = 0
    start = time.process_time()
    for seed in seeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            p = fm.importance.failure_probability(
                problem.g,
                law,
                n,
                method=method,
                rng=seed,
                check=False,
                plan=fm.Plan(progress=False),
            )
        relative.append(p.mean / problem.probability - 1)
        pulls.append(abs(p.mean - problem.probability) / p.stderr)
        evals.append(p.n_evals)
        warned += not p.converged
        if p.converged:
            low, high = p.interval(0.95)
            held.append(low <= problem.probability <= high)
            silent += bool(pulls[-1] > 5)
    return Row(
        math.sqrt(np.mean(np.square(relative)) * np.mean(evals)),
        float(np.mean(relative)),
        float(np.mean(np.array(pulls) < 2)),
        float(np.mean(held)) if held else math.nan,
        warned / len(seeds),
        silent,
        (time.process_time() - start) / len(seeds),
    )


def line(method: str, name: str, n_seeds: int, row: Row) -> str:
    """Return the line of a row in the table."""
    held = "-" if math.isnan(row.held) else f"{row.held:.2f}"
    return (
        f"| {method} | {name} | {n_seeds} | {row.error:.2f} | {row.bias:+.4f} | {row.within:.2f} | "
        f"{row.warned:.2f} | {held} | {row.silent} | {1e3 * row.seconds:.0f} | "
        f"{'yes' if row.is_right(method, n_seeds) else 'NO'} |"
    )


def table(methods: Collection[str], only: str, n: int, seeds: range) -> Iterator[str]:
    """Yield the lines of the table, as Markdown."""
    yield f"{n} evaluations at most."
    yield ""
    head = ("method", "problem", "seeds", "error", "bias", "within 2", "warned", "held", "silent")
    yield f"| {' | '.join(head)} | CPU ms | right |"
    yield "|" + "---|" * (len(head) + 2)
    summary = []
    for method in methods:
        rows = []
        for name, problem in PROBLEMS.items():
            if only in name:
                rows.append(measure(problem, n, seeds, method))
                yield line(method, name, len(seeds), rows[-1])
        silent, runs = sum(row.silent for row in rows), len(rows) * len(seeds)
        within = np.mean([row.within for row in rows])
        held = np.nanmean([row.held for row in rows])
        summary.append(
            f"`{method}`: {within:.3f} of all estimates lie within 2 errors, {held:.3f} of the "
            f"intervals without a warning hold, {silent} of {runs} runs are silent."
        )
    yield ""
    yield "\n\n".join(summary)


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["auto", "subset", "line"])
    parser.add_argument("--only", default="", help="a part of the names of problems")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    seeds = range(given.start, given.start + given.seeds)
    lines = []
    for text in table(given.methods, given.only, given.n, seeds):
        print(text, flush=True)
        lines.append(text)
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip().split("\n", 1)
        page = "# Calibration of failure probabilities\n\n" + intro[0] + "\n" + intro[1] + "\n\n"
        given.out.write_text(page + "\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(any("| NO |" in text for text in lines))


if __name__ == "__main__":
    main()
