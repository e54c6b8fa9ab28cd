"""Simulation-based calibration of the samplers of fermiac: tests of uniform ranks.

The model is a logistic regression of 20 observations on two inputs, with an intercept. Its three
coefficients have independent normal priors with standard deviation 1.5. Four chains, or twelve
walkers, warm up for 500 draws, and 99 evenly spaced draws of them are kept. ``ChEES`` has 64 chains
of 20 draws, and chooses the length of its warm-up. Weighted samples are resampled. A sampler is
right if the smallest of its three p-values, adjusted by Holm's method, is at least 0.01, and at
most 5 % of the simulations have fewer than 99 effective draws (``short``). ``mean`` and ``spread``
of the ranks should be 1/2 and 1. The table has the values of the coefficient that is farthest from
these; for right samplers they are within 0.03 and 0.05. Samplers without an acceptance step have a
bias by design. The last row is a deliberate fault: draws that are 20 % too narrow.

``python -m benches.evaluate.sbc`` prints the table, in five minutes.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

import fermiac as fm

Array = NDArray[np.float64]
PRIOR_SD, N = 1.5, 20
INPUTS = np.asarray(fm.random.Stream(99).normal((N, 2)))
DESIGN = np.column_stack([np.ones(N), INPUTS])
PRIOR = fm.distributions.Normal(np.zeros(3), np.full(3, PRIOR_SD))
NAMES = ("intercept", "first", "second")


def simulate(theta: Array, stream: Any) -> NDArray[np.int64]:
    """Return labels."""
    return (stream.uniform(N) < expit(DESIGN @ theta)).astype(np.int64)


def _density(y: NDArray[np.int64]) -> Any:
    return fm.targets.logistic_regression(INPUTS, y, prior_sd=PRIOR_SD)


def chains(kernel: Any, n_draws: int, n_chains: int = 4) -> Callable[[Any, int], Any]:
    """Return a sampler by chains."""

    def sample(y: Any, rng: int) -> Any:
        return fm.mcmc.sample(
            _density(y), kernel=kernel, n_chains=n_chains, n_warmup=500, n_draws=n_draws, rng=rng,
            plan=fm.Plan(n_threads=1, progress=False),
        )  # fmt: skip

    return sample


def by_many_chains(y: Any, rng: int) -> Any:
    """Draw by 64 short chains, whose warm-up has its own length."""
    return fm.mcmc.sample(
        _density(y),
        kernel="chees",
        n_chains=64,
        n_draws=20,
        rng=rng,
        plan=fm.Plan(n_threads=1, progress=False),
    )


def by_nested_sampling(y: Any, rng: int) -> Any:
    """Draw by nested sampling."""
    signs = 2.0 * y - 1

    def log_likelihood(theta: Array) -> Array:
        return np.asarray(-np.logaddexp(0, -signs * (theta @ DESIGN.T)).sum(1))

    return fm.nested.sample(
        log_likelihood, PRIOR, n_live=200, rng=rng, plan=fm.Plan(n_threads=1, progress=False)
    )


def by_particles(y: Any, rng: int) -> Any:
    """Draw by sequential Monte Carlo."""
    signs = 2.0 * y - 1

    def log_likelihood(theta: Array) -> Array:
        return np.asarray(-np.logaddexp(0, -signs * (theta @ DESIGN.T)).sum(1))

    return fm.mcmc.smc(
        log_likelihood, PRIOR, 2048, rng=rng, plan=fm.Plan(n_threads=1, progress=False)
    )


def by_importance(y: Any, rng: int) -> Any:
    """Draw by adaptive importance sampling."""
    z = fm.importance.evidence(
        _density(y), PRIOR, n=4000, rng=rng, plan=fm.Plan(n_threads=1, progress=False)
    )
    return z.sample


def too_narrow(y: Any, rng: int) -> Any:
    """Draw by NUTS, and shrink the draws to their mean."""
    draws = chains(fm.mcmc.NUTS(), 250)(y, rng).draws
    return fm.Sample.from_arrays(draws.mean((0, 1)) + 0.8 * (draws - draws.mean((0, 1))))


#: Kernels that take turns with one coordinate and the two others.
BLOCKS = fm.mcmc.Gibbs(
    [("first", fm.mcmc.Slice()), ("rest", fm.mcmc.RWM())], blocks={"first": 0, "rest": [1, 2]}
)


def samplers() -> dict[str, tuple[Callable[[Any, int], Any], int]]:
    """Return the samplers, and how many times fewer simulations the slow ones get."""
    mcmc = fm.mcmc
    return {
        "mcmc, NUTS": (chains(mcmc.NUTS(), 250), 1),
        "mcmc, WALNUTS": (chains(mcmc.WALNUTS(), 250), 1),
        "mcmc, HMC": (chains(mcmc.HMC(), 250), 1),
        "mcmc, ChEES": (by_many_chains, 1),
        "mcmc, MALA": (chains(mcmc.MALA(), 1000), 1),
        "mcmc, RWM": (chains(mcmc.RWM(), 2000), 1),
        "mcmc, Slice": (chains(mcmc.Slice(), 250), 1),
        "mcmc, EllipticalSlice": (chains(mcmc.EllipticalSlice(PRIOR, "posterior"), 1000), 1),
        "mcmc, Gibbs of blocks": (chains(BLOCKS, 500), 1),
        "mcmc, Tempered": (chains(mcmc.Tempered(), 250), 4),
        "mcmc, smc": (by_particles, 1),
        "mcmc, DE": (chains(mcmc.DE(), 500, 12), 1),
        "mcmc, DE with snooker=1": (chains(mcmc.DE(snooker=1.0), 1000, 12), 1),
        "mcmc, ULA, not corrected": (chains(mcmc.ULA(), 1000), 1),
        "mcmc, MCLMC, not corrected": (chains(mcmc.MCLMC(), 1000), 1),
        "mcmc, UnderdampedLangevin, not corrected": (chains(mcmc.UnderdampedLangevin(), 1000), 1),
        "nested": (by_nested_sampling, 4),
        "importance, evidence": (by_importance, 1),
        "NUTS, 20 % too narrow": (too_narrow, 1),
    }


def rows(count: int, wanted: str) -> Iterator[list[str]]:
    """Yield the rows of the table."""
    yield ["sampler", "simulations", "least p", "mean", "spread", "short", "right"]
    for name, (sample, fewer) in samplers().items():
        if wanted not in name:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            c = fm.evaluate.sbc(
                PRIOR,
                simulate,
                sample,
                count // fewer,
                names=NAMES,
                rng=1,
                plan=fm.Plan(progress=False),
            )
        table, n = c.summary(), len(c.ranks)
        least = float(fm.evaluate.adjust(c.pvalue, "holm").min())
        mean = min(table["mean"], key=lambda m: -abs(m - 0.5))
        spread = min(table["spread"], key=lambda s: -abs(s - 1))
        good = least >= 0.01 and c.n_short <= 0.05 * n
        cells = [
            name,
            str(n),
            f"{least:.2g}",
            f"{mean:.3f}",
            f"{spread:.3f}",
            f"{c.n_short / n:.3f}",
        ]
        yield [*cells, "yes" if good else "no"]


def main() -> None:
    """Print the table, and write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000, help="simulations of each row")
    parser.add_argument("--only", default="", help="samplers whose names hold this text")
    parser.add_argument("--out", type=Path, help="file for the table, in Markdown")
    given = parser.parse_args()
    lines = []
    for i, row in enumerate(rows(given.simulations, given.only)):
        new = ["| " + " | ".join(row) + " |", *(["|---" * len(row) + "|"] if i == 0 else [])]
        print("\n".join(new), flush=True)
        lines += new
    if given.out is not None:
        head = "# Calibration of samplers\n\n" + str(__doc__).replace("``", "`")
        given.out.write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
