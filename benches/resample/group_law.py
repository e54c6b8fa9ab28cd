"""The law of the difference of two means against all groups of the observations.

``python -m benches.resample.group_law`` compares the transform of `permutation_test` with counts of
all groups (by meeting in the middle) at seven distances from the mean in each of several data sets.
It prints, for each distribution of the data and each power of ten of the number of groups beyond
the observed sum, the largest relative error of the p-value, and the share of tails for which the
transform converges. From ten million groups on the transform is used; fewer are counted. The
constants of the transform were chosen on data with seeds below 1000; the table has seeds from 1000
on.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from fermiac import _core

Array = NDArray[np.float64]
LAWS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda g, n: g.normal(size=n),
    "exponential": lambda g, n: g.exponential(size=n),
    "lognormal": lambda g, n: g.lognormal(size=n),
    "Student-t, 3": lambda g, n: g.standard_t(3, size=n),
    "Cauchy": lambda g, n: g.standard_cauchy(size=n),
    "two clusters": lambda g, n: 10.0 * (g.random(n) < 0.5) + g.normal(0, 0.01, n),
}
#: Observations of both samples, and of the first one.
SIZES = ((30, 15), (36, 18), (40, 20), (40, 10))
#: Distances of the observed sum from its mean, in standard deviations.
DISTANCES = (0.1, 0.7, 1.5, 2.3, 3.0, 3.6, 4.2)


def errors(law: str, sets: int) -> dict[int, list[float]]:
    """Return relative errors by powers of ten of the numbers of groups; NaN without a value."""
    found = defaultdict(list)
    for n, m in SIZES:
        log_all = float(gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1))
        for key in range(sets):
            y = LAWS[law](np.random.default_rng([1000 + key, n, m]), n)
            y = np.ascontiguousarray(y - np.round(y.mean()))
            sd = math.sqrt(m * (n - m) / n * y.var(ddof=1))
            for z in DISTANCES:
                observed = float(y.sum()) * m / n + z * sd
                exact, _ = _core.resample_tails("middle", None, y, m, observed, 0.0)
                count = exact * math.exp(log_all)
                if count < 1e6:
                    continue
                log_count = _core.resample_log_groups_above(y, m, observed, 0.0)
                error = math.nan
                if log_count is not None:
                    error = abs(math.exp(log_count - log_all) / exact - 1)
                found[int(math.log10(count))].append(error)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=6, help="data sets of each size")
    sets = parser.parse_args().sets
    print("| data | groups | tails | converged | largest relative error |")
    print("|---|---|---|---|---|")
    for law in LAWS:
        for power, found in sorted(errors(law, sets).items()):
            good = [e for e in found if not math.isnan(e)]
            share, worst = len(good) / len(found), max(good, default=math.nan)
            print(f"| {law} | 10^{power} | {len(found)} | {share:.2f} | {worst:.1e} |", flush=True)


if __name__ == "__main__":
    main()
