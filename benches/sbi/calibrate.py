"""Errors of approximate Bayesian computation, where the posterior is known for each distance.

The observation 1.5 is normal with standard deviation 1 and an unknown mean, whose prior is N(0,
2²). The mean and the variance of the posterior given a distance of at most epsilon are known by
quadrature for each epsilon. ``abc_smc`` runs until its acceptance rate is below 0.15, and ``abc``
has a table of 20,000 simulations. ``rejection`` is compared with the posterior for its own
distance, and the regression with that for distance zero, to which it corrects.

``ratio`` is the mean estimate of the variance over the exact one, with its standard error. ``held``
is the share of runs with an average within two standard errors of the exact value, and ``sd`` the
standard deviation of the difference in standard errors. The standard error of a share of 0.95 is
{error} for {runs} runs, and {few_error} for {few}. The last column is the share for the variance of
as many independent draws as the sample has effective ones: estimates of a variance from few draws
are skew, and the small ones come with small standard errors. Seeds are from 1000 on.

``python -m benches.sbi.calibrate --runs {runs}`` prints the table.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

import fermiac as fm

FIRST = 1000
GRID = np.linspace(-12, 12, 20_001)


def simulate(theta: Any, stream: Any) -> Any:
    """Return an observation."""
    return theta + stream.normal(1)


def known(epsilon: float) -> tuple[float, float, Any]:
    """Return the mean and the variance given |s - 1.5| <= epsilon, and the distribution function.

    For epsilon = 0 they are those of the posterior itself.
    """
    near = norm.cdf(1.5 + epsilon - GRID) - norm.cdf(1.5 - epsilon - GRID)
    w = norm.pdf(GRID, 0, 2) * (near if epsilon > 0 else norm.pdf(1.5 - GRID))
    w /= w.sum()
    mean = float(w @ GRID)
    return mean, float(w @ (GRID - mean) ** 2), np.cumsum(w)


def by_rounds(n: int) -> Callable[[int], Any]:
    """Return runs of `abc_smc` with n particles."""
    prior = fm.distributions.Normal(0.0, 2.0)
    return lambda seed: fm.sbi.abc_smc(
        simulate,
        prior,
        1.5,
        n,
        min_acceptance=0.15,
        scale="none",
        rng=seed,
        plan=fm.Plan(progress=False),
    )


def from_table(n: int, method: Any) -> Callable[[int], Any]:
    """Return runs of `abc` that accept n of the simulations of a table."""

    def run(seed: int) -> Any:
        stream = fm.random.Stream(seed)
        theta = 2 * stream.normal(20_000)
        summaries = theta + stream.normal(20_000)
        return fm.sbi.abc((theta, summaries), 1.5, method=method, n_accept=n, scale="none")

    return run


def _pulls(sample: Any, mean: float, variance: float) -> tuple[Any, float]:
    """Return the differences in standard errors, and the variance over the exact one."""
    e = sample.expect(lambda x: np.column_stack([x[:, 0], (x[:, 0] - mean) ** 2]))
    return (e.mean - [mean, variance]) / e.stderr, float(e.mean[1] / variance)


def row(name: str, run: Callable[[int], Any], n: int, runs: int, exact: bool = False) -> str:
    """Return the row of a method."""
    pulls, ratios, independent = [], [], 0
    for seed in range(FIRST, FIRST + runs):
        s = run(seed)
        mean, variance, below = known(0.0 if exact else s.epsilon)
        pull, ratio = _pulls(s, mean, variance)
        pulls.append(pull)
        ratios.append(ratio)
        w = np.ones(len(s)) if s.log_weights is None else np.exp(s.log_weights)
        count = round(float(w.sum() ** 2 / (w @ w)))
        drawn = np.interp(fm.random.Stream(seed, index=1).uniform(count), below, GRID)
        independent += abs(_pulls(fm.Sample.from_arrays(drawn), mean, variance)[0][1]) < 2
    held, sd = np.mean(np.abs(pulls) < 2, axis=0), np.std(pulls, axis=0)
    cells = [
        name,
        str(n),
        str(runs),
        f"{np.mean(ratios):.3f} ± {np.std(ratios) / math.sqrt(runs):.3f}",
    ]
    cells += [f"{x:{form}}" for i in (0, 1) for x, form in ((held[i], ".3f"), (sd[i], ".2f"))]
    return "| " + " | ".join([*cells, f"{independent / runs:.3f}"]) + " |"


def few_of(runs: int) -> int:
    """Return the runs of the case that takes longest."""
    return max(2 * runs // 5, 1)


def table(runs: int) -> Iterator[str]:
    """Yield the lines of the table, as Markdown."""
    columns = (
        "method",
        "draws",
        "runs",
        "ratio",
        "held: mean",
        "sd",
        "held: variance",
        "sd",
        "independent",
    )
    yield "| " + " | ".join(columns) + " |"
    yield "|---" * len(columns) + "|"
    for n, count in ((300, runs), (1000, few_of(runs))):
        yield row("`abc_smc`", by_rounds(n), n, count)
    for method in ("rejection", "local_linear"):
        for n in (300, 1000):
            more = method != "rejection"
            yield row(f'`abc`, "{method}"', from_table(n, method), n, runs, more)


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description="Errors of approximate Bayesian computation.")
    parser.add_argument("--runs", type=int, default=200, help="runs of a row")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    warnings.simplefilter("ignore", fm.errors.FermiacWarning)
    lines = []
    for line in table(given.runs):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        few = few_of(given.runs)
        error, few_error = (f"{math.sqrt(0.05 * 0.95 / n):.3f}" for n in (given.runs, few))
        words = {"runs": given.runs, "error": error, "few": few, "few_error": few_error}
        text = str(__doc__).replace("``", "`").format(**words)
        head = "# Calibration of inference from simulators\n\n" + text
        given.out.write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
