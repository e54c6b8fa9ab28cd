"""Coverage of bootstrap intervals: those of fermiac beside those of SciPy, arch and resample.

``python -m benches.resample.calibrate`` prints a table for 400 data sets of each problem, and
``--sets 2000`` takes more. Packages that are not installed are left out. Each row also has the
share of data sets in which a method gave no finite interval; those count as misses.
"""

from __future__ import annotations

import argparse
import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm

Array = NDArray[np.float64]
Data = tuple[Array, ...]


class Problem(NamedTuple):
    """A statistic of data sets with a known truth."""

    draw: Callable[[np.random.Generator], Data]
    statistic: str
    #: The same for SciPy, a function of samples and an axis.
    function: Callable[..., Any]
    truth: float
    paired: bool = False


def _area(a: Array, b: Array, axis: int = -1) -> Any:
    """Return the areas under the ROC curve of batches of samples."""
    above = (a[..., :, None] > b[..., None, :]).mean((-2, -1))
    return above + 0.5 * (a[..., :, None] == b[..., None, :]).mean((-2, -1))


def _pearson(a: Array, b: Array, axis: int = -1) -> Any:
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def _sd(x: Array, axis: int = -1) -> Any:
    return x.std(axis=axis, ddof=1)


def _difference(a: Array, b: Array, axis: int = -1) -> Any:
    return a.mean(axis=axis) - b.mean(axis=axis)


def _normal_pair(rng: np.random.Generator, n: int, rho: float) -> Data:
    x = rng.standard_normal(n)
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(n)


#: The shift of a normal law for an area of 0.95.
_SHIFT = float(np.sqrt(2) * stats.norm.ppf(0.95))
PROBLEMS: dict[str, Problem] = {
    **{
        f"mean, exponential, n = {n}": Problem(
            lambda g, n=n: (g.exponential(size=n),), "mean", np.mean, 1.0
        )
        for n in (10, 20, 50)
    },
    "mean, lognormal, n = 20": Problem(
        lambda g: (g.lognormal(size=20),), "mean", np.mean, float(np.exp(0.5))
    ),
    "mean, normal, n = 10": Problem(lambda g: (g.standard_normal(10),), "mean", np.mean, 0.0),
    "sd, normal, n = 20": Problem(lambda g: (g.standard_normal(20),), "sd", _sd, 1.0),
    "Pearson 0.8, n = 15": Problem(
        lambda g: _normal_pair(g, 15, 0.8), "pearson", _pearson, 0.8, True
    ),
    "median, exponential, n = 15": Problem(
        lambda g: (g.exponential(size=15),), "median", np.median, float(np.log(2))
    ),
    "median, counts of mean 5, n = 30": Problem(
        lambda g: (g.poisson(5.0, 30).astype(float),), "median", np.median, 5.0
    ),
    "AUC 0.95, 20 against 20": Problem(
        lambda g: (g.standard_normal(20) + _SHIFT, g.standard_normal(20)), "auc", _area, 0.95
    ),
    "AUC 0.8, 10 against 30": Problem(
        lambda g: (
            g.standard_normal(10) + float(np.sqrt(2) * stats.norm.ppf(0.8)),
            g.standard_normal(30),
        ),
        "auc",
        _area,
        0.8,
    ),
    "mean difference, exponential, 10 against 30": Problem(
        lambda g: (g.exponential(size=10), g.exponential(size=30)),
        "mean_difference",
        _difference,
        0.0,
    ),
    "proportion 0.05, n = 40": Problem(
        lambda g: (g.binomial(1, 0.05, 40).astype(float),), "mean", np.mean, 0.05
    ),
}
Interval = Callable[[Problem, Data, int, int], tuple[float, float]]


def _ours(method: str) -> Interval:
    def interval(problem: Problem, data: Data, key: int, n: int) -> tuple[float, float]:
        x = data[0] if len(data) == 1 else data
        try:
            r = fm.resample.bootstrap(
                x, problem.statistic, n_resamples=n, method=method, rng=key, n_threads=1
            )
        except fm.errors.ArgumentError:
            return float("nan"), float("nan")
        return float(r.lower), float(r.upper)

    return interval


def _scipy(method: str) -> Interval:
    def interval(problem: Problem, data: Data, key: int, n: int) -> tuple[float, float]:
        found = stats.bootstrap(
            data,
            problem.function,
            paired=problem.paired,
            n_resamples=n,
            method=method,
            vectorized=True,
            rng=np.random.default_rng(key),
        ).confidence_interval
        return float(found.low), float(found.high)

    return interval


def _arch(problem: Problem, data: Data, key: int, n: int) -> tuple[float, float]:
    kinds = importlib.import_module("arch.bootstrap")
    independent = len(data) > 1 and not problem.paired
    kind = kinds.IndependentSamplesBootstrap if independent else kinds.IIDBootstrap
    low, high = kind(*data, seed=np.random.default_rng(key)).conf_int(
        lambda *x: float(problem.function(*x)), n, method="bca"
    )
    return float(np.ravel(low)[0]), float(np.ravel(high)[0])


def _resample(problem: Problem, data: Data, key: int, n: int) -> tuple[float, float]:
    if len(data) > 1:
        return float("nan"), float("nan")
    module = importlib.import_module("resample.bootstrap")
    found = module.confidence_interval(
        lambda x: float(problem.function(x)),
        data[0],
        size=n,
        ci_method="bca",
        random_state=np.random.default_rng(key),
    )
    return float(found[0]), float(found[1])


METHODS: dict[str, Interval] = {
    "ours, auto": _ours("auto"),
    "ours, BCa": _ours("bca"),
    "SciPy percentile": _scipy("percentile"),
    "SciPy basic": _scipy("basic"),
    "SciPy BCa": _scipy("BCa"),
}


def methods(peers: bool) -> dict[str, Interval]:
    """Return the methods of the table, with the peers that are installed."""
    found = dict(METHODS)
    for name, module, interval in (
        ("arch BCa", "arch", _arch),
        ("resample BCa", "resample.bootstrap", _resample),
    ):
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        if peers:
            found[name] = interval
    return found


def coverage(
    problem: Problem, interval: Interval, sets: int, n_resamples: int
) -> tuple[float, float]:
    """Return the share of data sets whose interval holds the truth, and that without one."""
    held = lost = 0
    for key in range(sets):
        data = problem.draw(np.random.default_rng([2024, key]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            low, high = interval(problem, data, key, n_resamples)
        lost += not (np.isfinite(low) and np.isfinite(high))
        held += low <= problem.truth <= high
    return held / sets, lost / sets


def table(
    sets: int, n_resamples: int, peers: bool, wanted: str, method: str
) -> Iterator[list[str]]:
    """Yield the rows of the table."""
    chosen = {k: v for k, v in methods(peers).items() if method in k}
    yield ["problem", *chosen]
    for name, problem in PROBLEMS.items():
        if wanted not in name:
            continue
        row = [name]
        for label, interval in chosen.items():
            slow = not label.startswith(("ours", "SciPy"))
            held, lost = coverage(problem, interval, min(sets, 200) if slow else sets, n_resamples)
            row.append(f"{held:.3f}" + (f" ({100 * lost:.0f} % none)" if lost >= 0.005 else ""))
        yield row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Coverage of bootstrap intervals.")
    parser.add_argument("--sets", type=int, default=400, help="data sets of each problem")
    parser.add_argument("--resamples", type=int, default=999, help="resamples of each data set")
    parser.add_argument("--only", default="", help="problems whose names hold this text")
    parser.add_argument("--method", default="", help="methods whose names hold this text")
    parser.add_argument("--peers", action="store_true", help="take arch and resample too (slow)")
    given = parser.parse_args()
    for i, row in enumerate(
        table(given.sets, given.resamples, given.peers, given.only, given.method)
    ):
        print("| " + " | ".join(row) + " |", flush=True)
        if i == 0:
            print("|---" * len(row) + "|")


if __name__ == "__main__":
    main()
