"""Growth, a river and household budgets: intervals of series and of a regression."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import _demo_evaluate as evaluate
import fermiac as fm
from _demo_pictures import BLUE, GREY, ORANGE, Z95
from _demo_table import Row, Section

Array = NDArray[np.float64]

N_RESAMPLES = 9999
#: The last year of the larger flow of the Nile (Cobb, 1978).
LAST_YEAR = 1898
#: The 97.5 % quantile of the t statistic with Bartlett's kernel and bandwidth n (Kiefer and
#: Vogelsang, 2002), and the error of its rounding.
FIXED_B, FIXED_B_ERROR = 4.771, 0.0005 / math.sqrt(3)
#: Engel's slope by least squares, and its standard error after White, as statsmodels prints them.
SLOPE, SLOPE_STDERR = 0.4852, 0.05199
#: The lags of the standard error that allows for autocorrelation.
N_LAGS = 4
#: The columns of the table of coverage that are drawn: mark, colour and name of each.
METHODS = {
    "auto": ("o", BLUE, "fermiac, sieve"),
    "fixed-b": ("^", BLUE, "fermiac, fixed-b"),
    "stationary": ("x", BLUE, "fermiac, blocks"),
    "arch stationary": ("s", ORANGE, "arch, blocks"),
}


class Data(NamedTuple):
    """The three data sets."""

    quarter: Array  # in years, (202,)
    growth: Array  # of real GDP, per cent a year
    year: Array  # (100,)
    flow: Array  # of the Nile, 10⁸ m³
    income: Array  # of 235 households, Belgian francs a year
    food: Array

    @property
    def before(self) -> Array:
        """The flows up to 1898."""
        return self.flow[self.year <= LAST_YEAR]

    @property
    def after(self) -> Array:
        """The flows from 1899 on."""
        return self.flow[self.year > LAST_YEAR]


def load(folder: Path) -> Data:
    """Read the data; growth is 400 times the difference of logarithms."""
    year, quarter, gdp = np.loadtxt(folder / "us_gdp.csv", delimiter=",", skiprows=1).T
    nile = np.loadtxt(folder / "nile.csv", delimiter=",", skiprows=1).T
    engel = np.loadtxt(folder / "engel.csv", delimiter=",", skiprows=1).T
    return Data((year + (quarter - 1) / 4)[1:], 400 * np.diff(np.log(gdp)), *nile, *engel)


def hac(x: Array, n_lags: int) -> float:
    """Return the standard error of a mean with Bartlett's kernel (Newey and West, 1987)."""
    d = x - x.mean()
    shares = 1 - np.arange(1, n_lags + 1) / (n_lags + 1)
    sums = [d[k:] @ d[:-k] for k in range(1, n_lags + 1)]
    return math.sqrt(d @ d + 2 * (shares @ sums)) / x.size


def error_of_blocks(x: Array, length: float) -> float:
    """Return the error of a mean from all stationary bootstrap series (Politis, Romano, 1994)."""
    n, d = x.size, x - x.mean()
    k = np.arange(1, n)
    around = np.array([d @ np.roll(d, -j) for j in k]) / n
    shares = (1 - k / n) * (1 - 1 / length) ** k
    return math.sqrt((d @ d / n + 2 * (shares @ around)) / n)


def textbook(x: Array, y: Array) -> tuple[float, float]:
    """Return a slope of least squares and its standard error for equal variances."""
    d = x - x.mean()
    slope = float(d @ y / (d @ d))
    residuals = y - y.mean() - slope * d
    return slope, math.sqrt(residuals @ residuals / (x.size - 2) / (d @ d))


def spread(name: str, r: Any, known: float) -> Row:
    """Return a row for the standard deviation of the replicates, with its Monte Carlo error."""
    d = r.replicates - r.replicates.mean()
    square = np.mean(d**2)
    error = r.stderr * math.sqrt((np.mean(d**4) / square**2 - 1) / d.size) / 2
    return Row(name, r.stderr, error, known, d.size)


def drawn_rows(data: Data, seed: int) -> list[Row]:
    """Return rows of drawn resamples, whose known answers are those of all resamples."""
    length = fm.resample.block_length(data.growth).stationary
    settings: dict[str, Any] = {"n_resamples": N_RESAMPLES, "rng": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)  # the blocks warn; see `run`
        blocks = fm.resample.bootstrap(
            data.growth, "mean", scheme=fm.resample.Stationary(length), **settings
        )
    flows = (data.before, data.after)
    nile = fm.resample.bootstrap(flows, "mean_difference", method="bca", exact=False, **settings)
    law = fm.resample.bootstrap(flows, "mean_difference", method="bca")
    share = data.food / data.income
    food = fm.resample.bootstrap(share, "median", method="percentile", exact=False, **settings)
    exact = fm.resample.bootstrap(share, "median", method="percentile")
    variance = sum(x.var() / x.size for x in flows)
    return [
        spread("growth: blocks, sd", blocks, error_of_blocks(data.growth, length)),
        spread("Nile: sd of difference", nile, math.sqrt(variance)),
        Row("Nile: upper end, BCa", nile.upper, nile.mc_error[1], law.upper, N_RESAMPLES),
        spread("Engel: sd of the median", food, exact.stderr),
    ]


def run(out: Path, folder: Path, seed: int, n_repeats: int) -> Section:
    """Compute intervals of the three data sets, and draw them."""
    data = load(folder)
    rows = drawn_rows(data, seed)
    repeats = [row.pull for s in range(n_repeats) for row in drawn_rows(data, s)]
    share = float(np.mean(np.abs(repeats) < 2))

    growth = data.growth
    settings: dict[str, Any] = {"n_resamples": N_RESAMPLES, "rng": seed}
    pairs = (growth[:-1], growth[1:])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        means = {
            scheme: fm.resample.bootstrap(
                growth, "mean", scheme=scheme, method="studentised", **settings
            )
            for scheme in ("iid", "stationary", "sieve")
        }
        lags = [
            fm.resample.bootstrap(growth, "autocorrelation", scheme="sieve", **settings),
            fm.resample.bootstrap(pairs, "pearson", scheme="stationary", paired=True, **settings),
        ]
    fixed, *flows = (
        fm.resample.bootstrap(x, "mean", scheme="series", method="fixed_b")
        for x in (growth, data.before, data.after)
    )
    flow = fm.resample.bootstrap((data.before, data.after), "mean_difference", **settings)
    test = fm.resample.permutation_test((data.before, data.after))
    wild = fm.resample.wild_bootstrap((data.income, data.food), rng=seed)
    slope, equal = textbook(data.income, data.food)
    median = fm.resample.bootstrap(data.food / data.income, "median")

    whole = 2 * hac(growth, growth.size - 1)
    digits = 0.5 / math.sqrt(3)  # the error of rounding, in units of the last digit
    rows += [
        Row(
            "growth: fixed-b width", fixed.upper - fixed.lower, FIXED_B_ERROR * whole,
            FIXED_B * whole, 0,
        ),
        Row("Engel: slope", float(wild.estimate[1]), 1e-4 * digits, SLOPE, 0),
        Row("Engel: its White error", float(wild.stderr[1]), 1e-5 * digits, SLOPE_STDERR, 0),
    ]  # fmt: skip
    some = hac(growth, N_LAGS)
    intervals = {
        "as if independent": (means["iid"].lower, means["iid"].upper),
        f"HAC, {N_LAGS} lags": (growth.mean() - Z95 * some, growth.mean() + Z95 * some),
        "stationary blocks": (means["stationary"].lower, means["stationary"].upper),
        "sieve": (means["sieve"].lower, means["sieve"].upper),
        "fixed-b": (fixed.lower, fixed.upper),
    }
    slopes = {
        "equal variances": (slope - Z95 * equal, slope + Z95 * equal),
        "White, normal": (slope - Z95 * wild.stderr[1], slope + Z95 * wild.stderr[1]),
        "wild bootstrap": (wild.lower[1], wild.upper[1]),
    }
    picture(out / "resample.png", data, intervals, flows, slopes)
    lines = [
        *_listed(f"95 % intervals of mean growth, {growth.mean():.2f} % a year", intervals),
        f"  correlation with the quarter before {lags[0].estimate:.2f}: sieve {lags[0].lower:.2f} "
        f"to {lags[0].upper:.2f}, blocks of pairs {lags[1].lower:.2f} to {lags[1].upper:.2f}",
        f"  mean flow of the Nile to {LAST_YEAR}, minus that after it: {flow.estimate:.0f}, 95 % "
        f"from {flow.lower:.0f} to {flow.upper:.0f}; permutation p = {test.pvalue:.1e} (exact)",
        f"  fixed-b intervals of both means: {flows[0].lower:.0f} to {flows[0].upper:.0f}, "
        f"{flows[1].lower:.0f} to {flows[1].upper:.0f}",
        *_listed(f"95 % intervals of the slope of food on income, {slope:.3f}", slopes),
        f"  median share of food {median.estimate:.3f}, 95 % from {median.lower:.3f} to "
        f"{median.upper:.3f} by order statistics",
    ]
    notes = [
        "Known answers of the first four rows: all resamples, by closed forms and exact laws. Over "
        f"{n_repeats} seeds {share:.0%} of the errors lie within two standard errors.",
        "Known answers of the last three: a published quantile times the HAC error of all lags; "
        "values of statsmodels. Their errors are those of rounding.",
        f"{LAST_YEAR} was chosen by the data. Times 99 for all years that could have been chosen, "
        f"the p-value is {99 * test.pvalue:.1e}.",
        *(f"Growth: {str(w.message).split(';')[0].split('. ')[0]}." for w in caught),
    ]
    record = {
        "share_within_two_stderr": share,
        "growth_intervals": intervals,
        "slope_intervals": slopes,
        "nile_pvalue": test.pvalue,
        "warnings": [str(w.message) for w in caught],
    }
    title = "Growth, the Nile and household budgets: intervals of series and of a slope"
    return Section(title, rows, notes, record, lines)


def _listed(title: str, intervals: dict[str, tuple[float, float]]) -> list[str]:
    """Return lines with the ends of intervals."""
    rows = [f"    {name:<20}{low:>9.3f}{high:>9.3f}" for name, (low, high) in intervals.items()]
    return [f"  {title}", *rows]


def _bars(axes: Any, intervals: dict[str, tuple[float, float]], estimate: float) -> None:
    """Draw intervals as horizontal bars: the naive one, that of other programs, and fermiac's."""
    for i, (low, high) in enumerate(intervals.values()):
        colour = (GREY, ORANGE, BLUE)[min(i, 2)]
        axes.plot([low, high], [-i, -i], "-|", color=colour, lw=2, ms=9)
    axes.axvline(estimate, color=GREY, lw=0.8)
    axes.set_yticks([-i for i in range(len(intervals))], list(intervals))
    axes.set_ylim(0.5 - len(intervals), 0.5)


def picture(
    path: Path,
    data: Data,
    growth: dict[str, tuple[float, float]],
    flows: list[Any],
    slopes: dict[str, tuple[float, float]],
) -> None:
    """Draw the data with their intervals, and the coverage of intervals of series."""
    figure, panels = plt.subplots(2, 3, figsize=(14, 7.6), layout="constrained")
    axes = panels[0, 0]
    axes.plot(data.quarter, data.growth, color=GREY, lw=0.8)
    axes.axhspan(*growth["sieve"], color=BLUE, alpha=0.2, lw=0)
    axes.axhline(data.growth.mean(), color=BLUE)
    axes.set(title="Growth of real GDP, United States", ylabel="per cent a year")
    axes = panels[0, 1]
    _bars(axes, growth, data.growth.mean())
    axes.set(title="95 % intervals of mean growth", xlabel="per cent a year")
    axes = panels[0, 2]
    names, coverage = evaluate.coverage_table(tuple(METHODS))
    height = np.arange(len(names))[::-1]
    axes.axvspan(0.93, 0.97, color="#e8eef6")
    for column, (mark, colour, label) in METHODS.items():
        axes.plot(coverage[column], height, mark, color=colour, ms=5, label=label)
    axes.set_yticks(height, names)
    axes.set(
        title="Coverage, mean of AR(1) series",
        xlabel="share of 95 % intervals that hold the truth",
        xlim=(0.76, 0.99),
    )
    axes.legend(fontsize=8, loc="lower left")
    axes = panels[1, 0]
    axes.plot(data.year, data.flow, ".-", color=GREY, lw=0.8, ms=4)
    ends = (data.year[0], LAST_YEAR + 0.5, data.year[-1])
    for r, left, right in zip(flows, ends[:-1], ends[1:], strict=True):
        axes.fill_between([left, right], r.lower, r.upper, color=BLUE, alpha=0.2, lw=0)
        axes.plot([left, right], [r.estimate, r.estimate], color=BLUE)
    axes.set(title="Flow of the Nile, fixed-b intervals", ylabel="10⁸ m³ a year")
    axes = panels[1, 1]
    axes.plot(data.income, data.food, ".", color=GREY, ms=4)
    x = np.array([data.income.min(), data.income.max()])
    low, high = (
        data.food.mean() + slope * (x - data.income.mean()) for slope in slopes["wild bootstrap"]
    )
    axes.fill_between(x, low, high, color=BLUE, alpha=0.2, lw=0)
    slope = sum(slopes["equal variances"]) / 2
    axes.plot(x, data.food.mean() + slope * (x - data.income.mean()), color=BLUE)
    axes.set(
        title="Households, wild interval of the slope",
        xlabel="income (francs)",
        ylabel="food (francs)",
    )
    axes = panels[1, 2]
    _bars(axes, slopes, slope)
    axes.set(title="95 % intervals of the slope", xlabel="francs for food of a further franc")
    figure.savefig(path, dpi=130)
    plt.close(figure)
