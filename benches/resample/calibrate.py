"""Calibration of bootstrap intervals: coverage of nominal 95 % intervals, compared with peers.

Each row gives the coverage of an interval from 999 resamples, in 2000 data sets of a problem whose
truth is known. Its standard error is 0.005. The columns ``auto`` and ``BCa`` are fermiac's. The
others are SciPy's, and arch's in 400 data sets (standard error 0.011). "None" is the share of data
sets without a finite interval, which count as misses. A row is right if the coverage of ``auto`` is
0.92 to 0.97. For twenty lognormal numbers and for 10 against 30 exponential ones 0.90 to 0.97 is
right, because these are too few observations. For the median of counts, whose intervals end on
whole numbers, 0.92 to 1 is right.

The second table is for the mean of autoregressive series y(t) = φ y(t - 1) + e(t) with normal e.
``auto`` is the sieve bootstrap-t, and ``fixed-b`` the t-test with Bartlett's kernel and bandwidth
n. ``stationary`` is the default interval of stationary blocks, which is studentised; arch has the
percentile interval of it, in 400 data sets. "Warned" is the share of data sets in which the
interval of the sieve or of blocks carries a warning. A row is right if the coverage of ``auto`` is
0.92 to 0.97, and if blocks have a coverage of 0.90 or more or warn in 0.90 of the data sets.

``python -m benches.resample.calibrate`` prints the tables; ``--sets`` sets the number of data sets.
Without arch its columns are left out. [Other packages](calibration-resample-peers.md) have a page
of their own.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

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
    #: The shares of the data sets between which the default is right.
    least: float = 0.92
    most: float = 0.97


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
        lambda g: (g.lognormal(size=20),), "mean", np.mean, float(np.exp(0.5)), least=0.90
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
        lambda g: (g.poisson(5.0, 30).astype(float),), "median", np.median, 5.0, most=1.0
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
        least=0.90,
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
                x,
                problem.statistic,
                n_resamples=n,
                method=method,
                rng=key,
                plan=fm.Plan(n_threads=1),
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
    made = kind(*data, seed=np.random.default_rng(key))
    try:
        low, high = made.conf_int(lambda *x: float(problem.function(*x)), n, method="bca")
    except (ValueError, RuntimeError):  # no acceleration or bias, or samples of unequal sizes
        return float("nan"), float("nan")
    return float(np.ravel(low)[0]), float(np.ravel(high)[0])


#: Data sets of methods that take long, at most.
_FEW = 400
METHODS: dict[str, Interval] = {
    "auto": _ours("auto"),
    "BCa": _ours("bca"),
    "SciPy percentile": _scipy("percentile"),
    "SciPy basic": _scipy("basic"),
    "SciPy BCa": _scipy("BCa"),
    "arch BCa": _arch,
}


def drawn(problem: Problem, key: int) -> Data:
    """Return a data set of a problem."""
    return problem.draw(np.random.default_rng([2024, key]))


def coverage(
    problem: Problem, interval: Interval, sets: int, n_resamples: int, first: int = 0
) -> tuple[float, float]:
    """Return the share of data sets whose interval holds the truth, and that without one."""
    held = lost = 0
    for key in range(first, first + sets):
        data = drawn(problem, key)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            low, high = interval(problem, data, key, n_resamples)
        lost += not (np.isfinite(low) and np.isfinite(high))
        held += low <= problem.truth <= high
    return held / sets, lost / sets


def cell(held: float, lost: float) -> str:
    """Return the text of a coverage, with the share of data sets without an interval."""
    none = f" ({100 * lost:.0f} % none)" if lost >= 0.005 else ""
    return f"{held:.3f}{none}" if lost < 1 else "–"


def rows(sets: int, n_resamples: int, wanted: str, methods: dict[str, Interval]) -> Iterator[str]:
    """Yield the lines of the table of independent data, as Markdown."""
    yield f"| problem | {' | '.join(methods)} | right |"
    yield "|" + "---|" * (len(methods) + 2)
    for name, problem in PROBLEMS.items():
        if wanted not in name:
            continue
        cells, right = [], True
        for label, interval in methods.items():
            few = min(sets, _FEW) if label.startswith("arch") else sets
            held, lost = coverage(problem, interval, few, n_resamples)
            cells.append(cell(held, lost))
            if label == "auto":
                # By chance in so many data sets.
                slack = 2 * (0.05 * 0.95 / sets) ** 0.5 if sets < 2000 else 0.0
                right = problem.least - slack <= held <= problem.most + slack
        yield f"| {name} | {' | '.join(cells)} | {'yes' if right else 'NO'} |"


def _series(phi: float, n: int, key: int) -> Array:
    e = np.random.default_rng([2025, key]).standard_normal(n + 500)
    return np.asarray(lfilter([1.0], [1.0, -phi], e)[500:])


def _arch_series(x: Array, key: int, n: int) -> tuple[float, float]:
    kinds = importlib.import_module("arch.bootstrap")
    length = float(kinds.optimal_block_length(x)["stationary"].iloc[0])
    made = kinds.StationaryBootstrap(max(length, 1.0), x, seed=np.random.default_rng(key))
    low, high = made.conf_int(np.mean, n, method="percentile")
    return float(np.ravel(low)[0]), float(np.ravel(high)[0])


#: Calls of fermiac for series: the scheme and the method.
SERIES = {
    "auto": ("series", "auto"),
    "fixed-b": ("series", "fixed_b"),
    "stationary": ("stationary", "auto"),
    "stationary, percentile": ("stationary", "percentile"),
}


def series_rows(sets: int, n_resamples: int, arch: bool) -> Iterator[str]:
    """Yield the lines of the table of series, as Markdown."""
    names = [*SERIES, *(["arch stationary"] if arch else [])]
    yield f"| φ | n | {' | '.join(names)} | warned: sieve | warned: blocks | right |"
    yield "|" + "---|" * (len(names) + 5)
    for n in (100, 400):
        for phi in (0.0, 0.5, 0.8):
            held, warned = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
            for key in range(sets):
                x = _series(phi, n, key)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    for name, (scheme, method) in SERIES.items():
                        r = fm.resample.bootstrap(
                            x,
                            "mean",
                            scheme=scheme,
                            method=method,
                            n_resamples=n_resamples,
                            rng=key,
                            plan=fm.Plan(n_threads=1),
                        )
                        held[name] += r.lower <= 0 <= r.upper
                        warned[name] += bool(r.warnings)
                    if arch and key < _FEW:
                        low, high = _arch_series(x, key, n_resamples)
                        held["arch stationary"] += low <= 0 <= high
            share = {k: h / (min(sets, _FEW) if "arch" in k else sets) for k, h in held.items()}
            told = {k: w / sets for k, w in warned.items()}
            slack = 2 * (0.05 * 0.95 / sets) ** 0.5 if sets < 2000 else 0.0
            right = 0.92 - slack <= share["auto"] <= 0.97 + slack
            right &= share["stationary"] >= 0.90 - slack or told["stationary"] >= 0.90
            cells = " | ".join(f"{share[k]:.3f}" for k in names)
            yield (
                f"| {phi} | {n} | {cells} | {told['auto']:.2f} | {told['stationary']:.2f} | "
                f"{'yes' if right else 'NO'} |"
            )


def installed(methods: dict[str, Interval]) -> dict[str, Interval]:
    """Return the methods whose packages are installed."""
    try:
        importlib.import_module("arch")
    except ImportError:
        print("arch is not installed: its columns are left out", flush=True)
        return {name: method for name, method in methods.items() if "arch" not in name}
    return methods


def main() -> None:
    """Print the tables, or write them to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000, help="data sets of each problem")
    parser.add_argument("--resamples", type=int, default=999, help="resamples of each data set")
    parser.add_argument("--only", default="", help="problems whose names hold this text")
    parser.add_argument("--method", default="", help="methods whose names hold this text")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    chosen = {k: v for k, v in installed(METHODS).items() if given.method in k}
    tables = [rows(given.sets, given.resamples, given.only, chosen)]
    if not (given.only or given.method):
        tables.append(series_rows(given.sets, given.resamples, "arch BCa" in chosen))
    lines = []
    for table in tables:
        for line in table:
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip().split("\n", 1)
        text = "# Calibration of bootstrap intervals\n\n" + intro[0] + "\n" + intro[1] + "\n\n"
        given.out.write_text(text + "\n".join(lines), encoding="utf-8")
    sys.exit(any("| NO |" in line for line in lines))


if __name__ == "__main__":
    main()
