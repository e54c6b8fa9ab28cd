"""Confidence intervals from replicates, from exact laws and from order statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from fermiac._base.bca import level, share_below
from fermiac._base.bca import quantile as quantile_of
from fermiac.errors import FermiacWarning
from fermiac.resample.laws import KnownLaw
from fermiac.resample.series import fixed_b
from fermiac.resample.statistics import Scale
from fermiac.results.result import Finding

__all__ = ["METHODS", "WITHOUT_DRAWS", "Ends", "Method", "MethodName", "Output", "ends"]

Array = NDArray[np.float64]
Method: TypeAlias = Literal[
    "percentile", "basic", "expanded", "bca", "studentised", "order", "wilson", "fixed_b"
]
MethodName: TypeAlias = Literal["auto", Method]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
#: Methods that need neither replicates nor the law of the statistic.
WITHOUT_DRAWS: tuple[Method, ...] = ("order", "wilson", "fixed_b")


class Ends(NamedTuple):
    """An interval, and the Monte Carlo error of its ends."""

    lower: float
    upper: float
    lower_error: float = 0.0
    upper_error: float = 0.0


@dataclass(frozen=True)
class Output:
    """One output of a statistic, with all that its intervals need."""

    name: str
    estimate: float
    #: The value of the statistic under the law that the replicates are drawn from.
    centre: float
    #: The replicates and their standard errors, without those that are not defined.
    values: Array
    errors: Array | None
    #: The standard error of the estimate by the influence function; NaN if there is none.
    stderr: float
    law: KnownLaw | None
    acceleration: Callable[[], float]
    scale: Scale
    #: The number of observations of the smallest sample, or the effective size of a series.
    n: float
    #: The sample and the probability of a quantile of whole samples.
    sample: Array | None = None
    q: float | None = None
    #: The sizes of both samples of an area under the curve.
    pairs: tuple[int, int] | None = None
    found: list[Finding] = field(default_factory=list)

    @cached_property
    def ordered(self) -> Array:
        """The replicates in order."""
        return np.sort(self.values)

    @property
    def constant(self) -> bool:
        """Whether the statistic is the same in all resamples."""
        if self.law is not None:
            return self.law.sd <= 1e-12 * abs(self.estimate)
        return bool(self.values.size) and self.ordered[0] == self.ordered[-1]

    def quantile(self, p: float) -> float:
        """Return a quantile of the resampled statistic."""
        return self.law.quantile(p) if self.law is not None else quantile_of(self.ordered, p)

    def noise(self, p: float) -> float:
        """Return the Monte Carlo error of a quantile, half of its change over two errors of p."""
        if self.law is not None:
            return 0.0
        return _noise(self.ordered, p, math.sqrt(p * (1 - p) / self.values.size))

    def sd(self) -> float:
        """Return the standard deviation of the resampled statistic."""
        if self.law is not None:
            return self.law.sd
        return float(np.std(self.values, ddof=1))

    def warn(self, text: str) -> None:
        """Add a reason for doubt."""
        self.found.append((FermiacWarning, f"{self.name}: {text}"))


def _noise(ordered: Array, p: float, error: float) -> float:
    low, high = quantile_of(ordered, max(p - error, 0.0)), quantile_of(ordered, min(p + error, 1.0))
    return 0.5 * (high - low) if low < high else 0.0


def ends(output: Output, method: Method, prob: float) -> tuple[Ends, Method]:
    """Return the interval of an output by a method, and the method that gave it."""
    tail = round((1 - prob) / 2, 15)
    if method == "wilson":
        return _wilson(output, tail), method
    if method == "order":
        return _order(output, tail), method
    if method == "fixed_b":
        assert output.sample is not None
        return Ends(*fixed_b(output.sample, tail)), method
    if output.pairs is not None and output.estimate in (0.0, 1.0) and output.constant:
        return _apart(output, tail), "studentised"
    if output.constant:
        output.warn(
            "the statistic is the same in all resamples, so that the interval is a meaningless "
            "point; more observations, or others, are needed"
        )
        return Ends(output.estimate, output.estimate), method
    if method == "studentised":
        found = _studentised(output, tail)
        if found is not None:
            return found, method
        output.warn(
            "the estimate has no standard error on its scale, so that there is no studentised "
            "interval; that of BCa was taken"
        )
        return _bca(output, tail)
    if method == "bca":
        return _bca(output, tail)
    return _PLAIN[method](output, tail), method


def _percentile(output: Output, tail: float) -> Ends:
    low, high = output.quantile(tail), output.quantile(1 - tail)
    return Ends(low, high, output.noise(tail), output.noise(1 - tail))


def _basic(output: Output, tail: float) -> Ends:
    low, high, low_error, high_error = _percentile(output, tail)
    both = output.estimate + output.centre
    return Ends(both - high, both - low, high_error, low_error)


def _expanded(output: Output, tail: float) -> Ends:
    from scipy.special import ndtr, stdtrit

    n = output.n
    wider = float(ndtr(stdtrit(n - 1, tail) * math.sqrt(n / (n - 1))))
    return _percentile(output, wider)


_PLAIN: dict[str, Callable[[Output, float], Ends]] = {
    "percentile": _percentile,
    "basic": _basic,
    "expanded": _expanded,
}


def _bca(output: Output, tail: float) -> tuple[Ends, Method]:
    """Return the bias-corrected and accelerated interval."""
    from scipy.special import ndtri

    law = output.law
    share = (
        share_below(output.ordered, output.estimate)
        if law is None
        else float(law.below(output.estimate))
    )
    a = output.acceleration()
    if not 0 < share < 1 or not math.isfinite(a):
        what = (
            f"{share:.3g} of the resamples are below the estimate"
            if not 0 < share < 1
            else "the statistic does not change when an observation is left out"
        )
        instead: Method = "percentile" if output.q is None or output.sample is None else "order"
        output.warn(f"{what}, so that BCa has no meaning; the interval is that of {instead!r}")
        return (_order(output, tail) if instead == "order" else _percentile(output, tail)), instead
    z0 = float(ndtri(share))
    found = []
    for z in (float(ndtri(tail)), -float(ndtri(tail))):
        p, w, bend = level(z0, a, z)
        found.append((output.quantile(p), _bca_noise(output, p, share, z0, w, bend)))
    (low, low_error), (high, high_error) = found
    return Ends(low, high, low_error, high_error), "bca"


def _bca_noise(output: Output, p: float, share: float, z0: float, w: float, bend: float) -> float:
    """Return the Monte Carlo error of an end of BCa, with that of z0."""
    if output.law is not None or not 0 < p < 1 or bend <= 0:
        return 0.0 if output.law is not None else float("nan")
    density = math.exp(0.5 * (z0 * z0 - (z0 + w / bend) ** 2))
    # The derivative of p by the share of the replicates below the estimate.
    slope = density * (1 + 1 / bend**2)
    both = min(p, share) * (1 - max(p, share))
    variance = slope**2 * share * (1 - share) + p * (1 - p) - 2 * slope * both
    return _noise(output.ordered, p, math.sqrt(max(variance, 0.0) / output.values.size))


def _studentised(output: Output, tail: float) -> Ends | None:
    """Return the bootstrap-t interval on the stabilising scale, None without a standard error."""
    assert output.errors is not None
    scale, estimate, own = output.scale, output.estimate, output.stderr
    centre = np.asarray(output.centre)
    values, errors = output.values, output.errors
    if output.pairs is not None:
        m = output.pairs[0] * output.pairs[1]
        least = 1 / (4 * m)
        estimate, values = (m * estimate + 0.5) / (m + 1), (m * values + 0.5) / (m + 1)
        centre = np.asarray(estimate)
        errors, own = np.maximum(errors, least), max(own, least)
    point = np.asarray(estimate)
    with np.errstate(all="ignore"):
        to = float(scale.to(point))
        away = scale.to(values) - float(scale.to(centre))
        spread = errors * scale.slope(values)
        own = own * float(scale.slope(point))
        t = away / spread
        # Resamples with zero spread count as infinite, or as equal to the estimate.
        flat = (errors == 0) | ~np.isfinite(t)
        t[flat] = np.where(away[flat] == 0, 0.0, np.sign(away[flat]) * np.inf)
    t = np.sort(t[~np.isnan(t)])
    if not (t.size and math.isfinite(to) and own > 0):
        return None

    def back(at: float) -> float:
        with np.errstate(all="ignore"):
            value = float(scale.back(np.asarray(to - at * own)))
        if output.pairs is not None:
            m = output.pairs[0] * output.pairs[1]
            value = min(max((value * (m + 1) - 0.5) / m, 0.0), 1.0)
        return value

    found = []
    for p in (1 - tail, tail):
        error = math.sqrt(p * (1 - p) / t.size)
        near = [quantile_of(t, min(max(p + e, 0.0), 1.0)) for e in (-error, 0.0, error)]
        with np.errstate(invalid="ignore"):
            noise = 0.5 * abs(back(near[0]) - back(near[2]))
        found.append((back(near[1]), noise))
    (low, low_error), (high, high_error) = found
    if not (math.isfinite(low) and math.isfinite(high)):
        output.warn(
            f"many resamples of {output.n:g} observations have no spread, so an end of the "
            "studentised interval is infinite; more observations are needed"
        )
    return Ends(low, high, low_error, high_error)


def _apart(output: Output, tail: float) -> Ends:
    """Return the interval of samples that do not overlap: P(A = 1) is at most θ^min(n, m)."""
    assert output.pairs is not None
    end = tail ** (1 / min(output.pairs))
    output.warn(
        "the samples do not overlap, so that all resamples are alike; the interval is from the "
        "probability of that"
    )
    return Ends(end, 1.0) if output.estimate == 1.0 else Ends(0.0, 1 - end)


def _order(output: Output, tail: float) -> Ends:
    """Return the interval between order statistics, interpolated for the exact probability."""
    assert output.sample is not None
    assert output.q is not None
    x = np.sort(output.sample)
    low, high = _lower_end(x, output.q, tail), -_lower_end(-x[::-1], 1 - output.q, tail)
    if not (math.isfinite(low) and math.isfinite(high)):
        which = "lower" if math.isfinite(high) else "upper" if math.isfinite(low) else "finite"
        output.warn(
            f"{x.size} observations give no {which} end at this probability; the interval is open "
            "there"
        )
    return Ends(low, high)


def _lower_end(x: Array, q: float, tail: float) -> float:
    """Return the lower end; -inf if the least observation is too often above the quantile."""
    from scipy.special import bdtr, bdtrik

    n = x.size

    def above(r: int) -> float:
        """Return P(x_(r) > quantile), which rises with r from 1."""
        return float(bdtr(r - 1.0, n, q))

    if above(1) > tail:
        return -math.inf
    r = min(max(int(bdtrik(tail, n, q)) + 1, 1), n - 1)
    while r > 1 and above(r) > tail:
        r -= 1
    while r < n and above(r + 1) <= tail:
        r += 1
    if r == n:
        return float(x[-1])
    here, there = above(r), above(r + 1)
    if here == tail:
        return float(x[r - 1])
    odds = r * (1 - q) * (there - tail) / ((n - r) * q * (tail - here))
    share = 1 / (1 + odds)
    return float(x[r - 1] + share * (x[r] - x[r - 1]))


def _wilson(output: Output, tail: float) -> Ends:
    """Return the score interval of a proportion."""
    from scipy.special import ndtri

    n, p, z = output.n, output.estimate, -float(ndtri(tail))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if p == 0 else max(centre - half, 0.0)
    return Ends(low, 1.0 if p == 1 else min(centre + half, 1.0))
