"""Log-evidences of merged runs of few live points beside those of single runs with all points.

``python -m benches.nested.merged_runs --repeats 200`` compares ``sample(runs=16, n_live=64)`` with
``sample(n_live=1024)`` on problems of `benches.nested.problems` whose log-evidence is known, with
the seeds from 1000 on. A row has the shares of repeats within one and two reported errors, the mean
error with its standard error, the standard deviation of the errors beside the mean reported error,
and evaluations.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from typing import Any

import numpy as np
from benches.nested.problems import problem

import fermiac as fm

HEAD = (
    "| problem | runs | live points of each | within 1 error | within 2 errors | mean error | "
    "sd of errors | reported | evaluations | CPU seconds |\n|" + "---|" * 10
)


def row(name: str, runs: int | None, n_live: int, repeats: int, first: int) -> str:
    """Return the row of a table."""
    p = problem(name)
    likelihood = p.form("builtin" if p.builtin is not None else "batch")
    errors, claimed, n_evals = [], [], []
    start = time.process_time()
    for seed in range(first, first + repeats):
        given: dict[str, Any] = {} if runs is None else {"runs": runs}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            r = fm.nested.sample(
                likelihood, p.prior, p.dim, n_live=n_live, periodic=p.periodic, rng=seed,
                **given,
            )  # fmt: skip
        errors.append(float(r.log_evidence) - p.log_evidence)
        claimed.append(float(r.log_evidence_stderr))
        n_evals.append(int(r.n_evals))
    seconds = (time.process_time() - start) / repeats
    pulls = np.abs(np.array(errors) / claimed)
    mean, sd = np.mean(errors), np.std(errors, ddof=1)
    return (
        f"| {name} | {runs or 1} | {n_live} | {100 * np.mean(pulls < 1):.1f} % | "
        f"{100 * np.mean(pulls < 2):.1f} % | {mean:+.4f} ± {sd / math.sqrt(repeats):.4f} | "
        f"{sd:.4f} | {np.mean(claimed):.4f} | {np.mean(n_evals):,.0f} | {seconds:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=["gauss5", "shells2", "eggbox"])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--n-live", type=int, default=64, help="of each run")
    parser.add_argument("--seed", type=int, default=1000, help="the first seed")
    options = parser.parse_args()
    print(HEAD, flush=True)
    for name in options.problems:
        for runs, n_live in (
            (options.runs, options.n_live),
            (None, options.runs * options.n_live),
        ):
            print(row(name, runs, n_live, options.repeats, options.seed), flush=True)


if __name__ == "__main__":
    main()
