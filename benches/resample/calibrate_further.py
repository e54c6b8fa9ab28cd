"""Coverage of wild and double bootstrap intervals, and of the bag of little bootstraps.

Each row gives the coverage of nominal 95 % intervals, in data sets with seeds from 1000 on.

The first table is for the slope of a regression, by ``wild_bootstrap`` with 999 resamples, in
{first} data sets (standard error {first_error}). In the rows that count observations, the
standard deviation of an error rises with the regressor. In the rows that count clusters, each of
ten observations, the regressor and the errors share a part within clusters, and the shared part of
the errors has unequal variances. The third column is the interval of a standard error that is
robust to unequal variances (White) or clusters, with quantiles of Student's t. "Warned" is the
share of data sets with a typed warning.

The second table is for ``double_bootstrap`` with 999 resamples and 250 of each, in {second} data
sets ({second_error}), beside the percentile interval that it starts from, and ``bootstrap`` with
its default.

The third table is for ``little_bootstraps`` of 20,000 observations, in {third} data sets
({third_error}).

``python -m benches.resample.calibrate_further --sets {first}`` prints the tables.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import fermiac as fm

FIRST = 1000


def unequal(stream: Any, n: int) -> tuple[Any, Any, Any, float]:
    """Return a regression whose errors grow with the regressor, and its slope."""
    x = stream.exponential(n)
    return x, 1 + 2 * x + (0.5 + x) * stream.normal(n), None, 2.0


def clustered(stream: Any, count: int) -> tuple[Any, Any, Any, float]:
    """Return a regression with clusters of ten, and its slope."""
    g = np.repeat(np.arange(count), 10)
    x = stream.normal(count)[g] + 0.5 * stream.normal(10 * count)
    shared = stream.normal(count) * (1 + 0.5 * np.abs(x[::10]))
    return x, x + shared[g] + stream.normal(10 * count), g, 1.0


def wild(make: Callable[..., Any], n: int, sets: int) -> list[float]:
    """Return the coverage of the wild bootstrap and of robust errors, and the share of warnings."""
    held = np.zeros(3)
    for seed in range(FIRST, FIRST + sets):
        x, y, g, slope = make(fm.random.Stream(seed), n)
        r = fm.resample.wild_bootstrap((x, y), clusters=g, n_resamples=999, rng=seed)
        df = len(x) - 2 if g is None else r.n_clusters - 1
        half = r.stderr[1] * stats.t.ppf(0.975, df)
        held += [
            r.lower[1] < slope < r.upper[1],
            abs(r.estimate[1] - slope) < half,
            bool(r.warnings),
        ]
    return (held / sets).tolist()


def pairs(stream: Any) -> tuple[Any, Any]:
    """Return fifteen pairs with the correlation 0.8."""
    z = stream.normal((15, 2))
    return z[:, 0], 0.8 * z[:, 0] + 0.6 * z[:, 1]


#: The data, the statistic and its truth.
STATISTICS: dict[str, tuple[Callable[[Any], Any], Any, float]] = {
    "mean, exponential, n = 10": (lambda s: s.exponential(10), "mean", 1.0),
    "mean, exponential, n = 20": (lambda s: s.exponential(20), "mean", 1.0),
    "mean, lognormal, n = 20": (lambda s: np.exp(s.normal(20)), "mean", math.exp(0.5)),
    "Pearson 0.8, n = 15": (pairs, "pearson", 0.8),
    "sd, normal, n = 20": (lambda s: s.normal(20), "sd", 1.0),
    "skewness, normal, n = 30": (lambda s: s.normal(30), "skewness", 0.0),
}


def double(make: Callable[[Any], Any], statistic: Any, truth: float, sets: int) -> list[float]:
    """Return the coverage of percentile, calibrated and default intervals, and the warnings."""
    held = np.zeros(4)
    for seed in range(FIRST, FIRST + sets):
        x = make(fm.random.Stream(seed))
        r = fm.resample.double_bootstrap(x, statistic, n_resamples=999, n_inner=250, rng=seed)
        one = fm.resample.bootstrap(x, statistic, n_resamples=999, rng=seed)
        held += [
            r.plain_lower < truth < r.plain_upper,
            r.lower < truth < r.upper,
            bool(r.warnings),
            one.lower < truth < one.upper,
        ]
    return (held / sets).tolist()


#: The statistics of large data, from two columns of exponential numbers, and their truths.
LARGE: dict[str, tuple[Any, float]] = {
    "mean": ("mean", 1.0),
    "sd": ("sd", 1.0),
    "ratio of means": ("ratio_of_means", 1.0),
    "Pearson": ("pearson", 0.0),
}


def little(statistic: Any, truth: float, sets: int) -> list[float]:
    """Return the coverage of the bag of little bootstraps, and the share of warnings."""
    held = np.zeros(2)
    for seed in range(FIRST, FIRST + sets):
        x = fm.random.Stream(seed).exponential((20_000, 2))
        data = x[:, 0] if statistic in ("mean", "sd") else (x[:, 0], x[:, 1])
        r = fm.resample.little_bootstraps(data, statistic, rng=seed)
        held += [r.lower < truth < r.upper, bool(r.warnings)]
    return (held / sets).tolist()


def counts(sets: int) -> tuple[int, int, int]:
    """Return the numbers of data sets of the three tables."""
    return sets, max(sets // 2, 1), max(3 * sets // 10, 1)


def text(sets: int) -> str:
    """Return the text of the page."""
    values: dict[str, str] = {}
    for name, count in zip(("first", "second", "third"), counts(sets), strict=True):
        values |= {name: str(count), f"{name}_error": f"{math.sqrt(0.05 * 0.95 / count):.3f}"}
    return str(__doc__).replace("``", "`").format(**values)


def tables(sets: int) -> Iterator[str]:
    """Yield the lines of the tables, as Markdown."""

    def row(name: str, cells: list[float]) -> str:
        return f"| {name} | {' | '.join(f'{c:.3f}' for c in cells)} |"

    yield "| data | wild bootstrap | robust standard error | warned |"
    yield "|---" * 4 + "|"
    for n in (15, 30, 100):
        yield row(f"{n} observations", wild(unequal, n, sets))
    for count in (6, 8, 12, 20):
        yield row(f"{count} clusters", wild(clustered, count, sets))
    yield ""
    yield "| statistic | percentile | calibrated | warned | `bootstrap` |"
    yield "|---" * 5 + "|"
    for name, (make, statistic, truth) in STATISTICS.items():
        yield row(name, double(make, statistic, truth, counts(sets)[1]))
    yield ""
    yield "| statistic | little bootstraps | warned |"
    yield "|---" * 3 + "|"
    for name, (statistic, truth) in LARGE.items():
        yield row(name, little(statistic, truth, counts(sets)[2]))


def main() -> None:
    """Print the tables, or write them to a page of the documentation."""
    parser = argparse.ArgumentParser(description="Coverage of wild, double and little bootstraps.")
    parser.add_argument("--sets", type=int, default=400, help="data sets of the first table")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    warnings.simplefilter("ignore", fm.errors.FermiacWarning)
    lines = []
    for line in tables(given.sets):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        head = "# Calibration of further bootstraps\n\n" + text(given.sets)
        given.out.write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
