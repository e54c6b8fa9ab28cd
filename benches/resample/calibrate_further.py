"""Coverage of wild and double bootstrap intervals, as `docs/resample.md` gives it.

Each row gives the coverage of nominal 95 % intervals from 999 resamples, in data sets with seeds
from 1000 on, and beside it that of the usual method: a standard error that is robust to unequal
variances (White) or clusters with quantiles of Student's t, or the percentile interval.

``python -m benches.resample.calibrate_further`` prints the tables, in half an hour; ``--sets`` sets
the number of data sets.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
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


def wild(make: Callable[..., Any], n: int, sets: int, **more: Any) -> tuple[float, float]:
    """Return the coverage of the wild bootstrap, and of robust standard errors."""
    held = robust = 0
    for seed in range(FIRST, FIRST + sets):
        x, y, g, slope = make(fm.random.Stream(seed), n)
        r = fm.resample.wild_bootstrap((x, y), clusters=g, n_resamples=999, rng=seed, **more)
        df = len(x) - 2 if g is None else r.n_clusters - 1
        held += bool(r.lower[1] < slope < r.upper[1])
        robust += bool(abs(r.estimate[1] - slope) < r.stderr[1] * stats.t.ppf(0.975, df))
    return held / sets, robust / sets


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
    """Return the coverage of calibrated and of percentile intervals."""
    held = np.zeros(2)
    for seed in range(FIRST, FIRST + sets):
        x = make(fm.random.Stream(seed))
        r = fm.resample.double_bootstrap(x, statistic, n_resamples=999, n_inner=250, rng=seed)
        held += [r.lower < truth < r.upper, r.plain_lower < truth < r.plain_upper]
    return (held / sets).tolist()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="data sets of a row")
    sets = parser.parse_args().sets
    warnings.simplefilter("ignore", fm.errors.FermiacWarning)
    print("| data | wild bootstrap | robust standard error |\n|---|---|---|")
    for n in (15, 30, 100):
        held, robust = wild(unequal, n, sets)
        print(f"| {n} observations | {held:.3f} | {robust:.3f} |", flush=True)
    held, robust = wild(unequal, 30, sets, restricted=False)
    print(f"| 30 observations, not restricted | {held:.3f} | {robust:.3f} |", flush=True)
    for count in (6, 8, 12, 20):
        held, robust = wild(clustered, count, sets)
        print(f"| {count} clusters | {held:.3f} | {robust:.3f} |", flush=True)
    print("\n| statistic | percentile | calibrated |\n|---|---|---|")
    for name, (make, statistic, truth) in STATISTICS.items():
        calibrated, plain = double(make, statistic, truth, max(sets // 2, 1))
        print(f"| {name} | {plain:.3f} | {calibrated:.3f} |", flush=True)


if __name__ == "__main__":
    main()
