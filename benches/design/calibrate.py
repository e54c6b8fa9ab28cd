"""Errors of totals of samples of a population, by all methods of `fermiac.design`.

The population has 300 units with sizes 0.5 + E for exponential E, and samples have 50 units. In the
rows with "sizes" the quantity is proportional to the size, with noise. In the rows with "constant"
it does not depend on the size, and in those with "variables" it depends on two other variables,
which are known for the whole population. ``error`` is the standard deviation of the estimated
total, and ``bias`` its mean error in such standard deviations. ``held`` is the share of samples
with the total within two standard errors of the truth, and ``sd`` the standard deviation of the
error in standard errors. There are {runs} samples in each row, so that the standard error of
``bias`` is {noise}, and that of a share of 0.95 is {error}. Seeds are from 1000 on.

``python -m benches.design.calibrate --runs {runs}`` prints the table.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fermiac as fm

FIRST, UNITS, N = 1000, 300, 50
_STREAM = fm.random.Stream(1)
SIZE = 0.5 + np.asarray(_STREAM.exponential(UNITS))
NOISE = np.asarray(_STREAM.normal(UNITS))
VARIABLES = np.asarray(_STREAM.normal((UNITS, 2)))
QUANTITIES = {
    "sizes": 2 * SIZE + 0.5 * NOISE,
    "constant": 5 + NOISE,
    "variables": 2 * SIZE + VARIABLES @ [3.0, -2.0] + 0.5 * NOISE,
}
KINDS = {"horvitz_thompson": "Horvitz and Thompson", "hajek": "Hájek"}
Draw = Callable[[int], tuple[Any, Any]]


def survey(method: Any, y: Any, kind: Any) -> Draw:
    """Return runs of `sample`."""
    more = {"balance": VARIABLES} if method == "balanced" else {}

    def run(seed: int) -> tuple[Any, Any]:
        s = fm.design.sample(SIZE, N, method=method, rng=seed, **more)
        return s.total(y[s.units], kind)

    return run


def stream(method: Any, y: Any) -> Draw:
    """Return runs of `sample_stream` on three shards."""

    def run(seed: int) -> tuple[Any, Any]:
        shards = [
            fm.design.sample_stream([SIZE[i : i + 100]], N, method=method, first=i, rng=seed)
            for i in range(0, UNITS, 100)
        ]
        s = shards[0].merge(*shards[1:])
        return s.total(y[s.units])

    return run


def cases() -> Iterator[tuple[str, str, str, Draw]]:
    """Yield the method, the estimate, the quantity and runs of each row."""
    both = (("horvitz_thompson", "sizes"), ("hajek", "constant"))
    for method in ("conditional_poisson", "systematic", "poisson", "pareto", "successive"):
        for kind, name in both:
            yield f'"{method}"', kind, name, survey(method, QUANTITIES[name], kind)
    for kind, name in (("horvitz_thompson", "variables"), ("hajek", "constant")):
        yield '"balanced"', kind, name, survey("balanced", QUANTITIES[name], kind)
    kind, name = "horvitz_thompson", "variables"
    yield '"systematic"', kind, name, survey("systematic", QUANTITIES[name], kind)
    for method in ("priority", "reservoir"):
        for name in ("sizes", "constant"):
            yield f'stream, "{method}"', "–", name, stream(method, QUANTITIES[name])


def table(runs: int) -> Iterator[str]:
    """Yield the lines of the table, as Markdown."""
    columns = "method", "estimate", "quantity", "error", "bias", "held", "sd"
    yield "| " + " | ".join(columns) + " |"
    yield "|---" * len(columns) + "|"
    for method, kind, name, run in cases():
        found = np.array([run(seed) for seed in range(FIRST, FIRST + runs)])
        errors = found[:, 0] - QUANTITIES[name].sum()
        pulls, spread = errors / found[:, 1], float(errors.std())
        cells = [method, KINDS.get(kind, kind), name]
        cells += [f"{spread:.3g}", f"{errors.mean() / spread:.3f}"]
        cells += [f"{np.mean(np.abs(pulls) < 2):.3f}", f"{pulls.std():.2f}"]
        yield "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description="Errors of totals of samples of a population.")
    parser.add_argument("--runs", type=int, default=500, help="samples of a row")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    lines = []
    for line in table(given.runs):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        error = math.sqrt(0.05 * 0.95 / given.runs)
        words = str(__doc__).replace("``", "`")
        text = words.format(runs=given.runs, noise=f"{given.runs**-0.5:.3f}", error=f"{error:.3f}")
        head = "# Calibration of samples of a population\n\n" + text
        given.out.write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
