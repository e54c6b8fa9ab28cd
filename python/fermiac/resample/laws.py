"""Exact laws of resampled statistics: means, differences of means, quantiles, roots.

The law of a resampled sum is a convolution of empirical laws. For few observations it is
enumerated. Otherwise it is computed by Fourier transforms of the data on a fine periodic grid. If
all sums are multiples of one number, the cells of the grid are the atoms. Some statistics are roots
of a decreasing sum, such as a ratio of means or an M-estimate of location. Such a root is at most t
if the sum at t is at most 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "KnownLaw",
    "law_of_huber",
    "law_of_mean",
    "law_of_quantile",
    "law_of_ratio",
    "spacing",
    "unit_of",
]

Array = NDArray[np.float64]
#: Cells of the periodic grid, and its width in standard deviations of the sum.
_CELLS, _WIDTH = 2**16, 20.0
#: Fewer cells are enough for smooth sums, in this range of numbers of observations: interval ends
#: are accurate to 4e-7 standard errors. Roots use them for few observations as well, because each
#: of their probabilities takes a grid.
_FEWER_CELLS, _FEWER_FROM, _FEWER_UP_TO = 2**14, 1000, 20_000
#: The largest number in units of a common unit that is searched for.
_MOST_UNITS = 2**20
#: The largest number of atoms of a law on a lattice.
_MOST_ATOMS = 2**17
#: The largest number of enumerated outcomes, and of observations of a sample for it.
_MOST_OUTCOMES, _FEW = 10**6, 8
#: Standard deviations of its index beyond which an order statistic is negligible.
_REACH = 9.0
#: The standard deviation of an index from which on its law is integrated by a rule, and minus the
#: logarithm of a weight that is negligible.
_WIDE, _NEGLIGIBLE = 15.0, 42.0


class KnownLaw(Protocol):
    """The law of a resampled statistic."""

    @property
    def mean(self) -> float:
        """Its mean."""
        ...

    @property
    def sd(self) -> float:
        """Its standard deviation."""
        ...

    def below(self, value: float) -> float:
        """Return P(θ* < value) + P(θ* = value) / 2."""
        ...

    def quantile(self, p: float) -> float:
        """Return the smallest value that θ* does not exceed with probability `p`."""
        ...


class _Atoms:
    """A law with few outcomes."""

    def __init__(self, values: Array, weights: Array) -> None:
        order = np.argsort(values)
        self._values, weights = values[order], weights[order] / weights.sum()
        self._reached = np.cumsum(weights)
        self.mean = float(self._values @ weights)
        self.sd = math.sqrt(float((self._values - self.mean) ** 2 @ weights))
        # Sums of one outcome in different orders differ by their rounding.
        self._same = 1e-12 * max(float(np.abs(values).max()), 1e-300)

    def below(self, value: float) -> float:
        """Return P(θ* < value), and half of P(θ* = value)."""
        reached = np.append(0.0, self._reached)
        low, high = np.searchsorted(self._values, (value - self._same, value + self._same))
        return 0.5 * float(reached[low] + reached[high])

    def quantile(self, p: float) -> float:
        """Return the quantile of `p`."""
        at = int(np.searchsorted(self._reached, p * (1 - 1e-12)))
        return float(self._values[min(at, self._values.size - 1)])


class _Circle:
    """A law on the cells of a periodic grid."""

    def __init__(self, edges: Array, reached: Array, mean: float, sd: float) -> None:
        self._edges, self._reached = edges, reached
        self.mean, self.sd = mean, sd

    def below(self, value: float) -> float:
        """Return P(θ* < value), and half of P(θ* = value)."""
        return float(np.interp(value, self._edges, self._reached))

    def quantile(self, p: float) -> float:
        """Return the quantile of `p`."""
        return float(np.interp(p, self._reached, self._edges))


class _Point:
    """The law of a statistic that never changes."""

    sd = 0.0

    def __init__(self, value: float) -> None:
        self.mean = value

    def below(self, value: float) -> float:
        """Return P(θ* < value), and half of P(θ* = value)."""
        return 0.5 if value == self.mean else float(value > self.mean)

    def quantile(self, p: float) -> float:
        """Return the quantile of `p`."""
        return self.mean


def law_of_mean(parts: list[Array], unit: float | None = None) -> KnownLaw:
    """Return the law of a sum of draws; each part gives as many draws as it has values.

    All differences of values are multiples of `unit`, where one is given.
    """
    mean = math.fsum(float(part.sum()) for part in parts)
    variance = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    if variance == 0.0:
        return _Point(mean)
    outcomes = math.prod(math.comb(2 * p.size - 1, p.size) if p.size <= _FEW else 10**9
                         for p in parts)  # fmt: skip
    if outcomes <= _MOST_OUTCOMES:
        return _enumerated(parts)
    if unit is not None:
        atoms = sum(p.size * round(float(np.ptp(p)) / unit) for p in parts) + 1
        if atoms <= _MOST_ATOMS:
            return _latticed(parts, unit, atoms)
    sizes = [part.size for part in parts]
    fewer = min(sizes) >= _FEWER_FROM and max(sizes) <= _FEWER_UP_TO
    return _transformed(parts, mean, math.sqrt(variance), _FEWER_CELLS if fewer else _CELLS)


def unit_of(x: Array) -> float | None:
    """Return 1 for whole numbers, 0.1, 0.01 or 0.001 for decimals, or another `spacing`."""
    for digits in range(4):
        y = x * 10.0**digits
        whole = np.rint(y)
        if (np.abs(y - whole) <= 4e-16 * np.abs(y)).all():
            return 10.0**-digits
        if digits == 0 and (np.abs(x[:64] * 1e3 - np.rint(x[:64] * 1e3)) > 1e-9).any():
            break
    return spacing(x)


def spacing(x: Array) -> float | None:
    """Return the largest unit of which all numbers are multiples, up to rounding, or None.

    It is that of whole numbers after a change of units, and at most 2**20 times smaller than the
    largest number.
    """
    largest = float(np.abs(x).max())
    least = largest / _MOST_UNITS
    unit = 0.0
    for size in np.unique(np.abs(x[:64])).tolist():
        # Euclid's algorithm, with remainders of either sign.
        rest = size
        while rest > 0.01 * least:
            unit, rest = rest, abs(unit - rest * round(unit / rest))
        if 0 < unit < least:
            return None
    if unit == 0:
        return None
    counts = np.rint(x / unit)
    unit = float(np.abs(x).sum() / np.abs(counts).sum())
    return unit if (np.abs(x - counts * unit) <= 2e-15 * largest).all() else None


def _latticed(parts: list[Array], unit: float, atoms: int) -> KnownLaw:
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(atoms, real=True)
    product: NDArray[np.complex128] | None = None
    lowest = 0.0
    for part in parts:
        low = float(part.min())
        lowest += low * part.size
        counts = np.bincount(np.rint((part - low) / unit).astype(np.int64), minlength=size)
        factor = _power(rfft(counts / part.size), part.size)
        product = factor if product is None else product * factor
    masses = np.maximum(irfft(product, size)[:atoms], 0.0)
    values: Array = lowest + unit * np.arange(atoms, dtype=np.float64)
    return _Atoms(values, masses)


def _enumerated(parts: list[Array]) -> KnownLaw:
    values, weights = np.zeros(1), np.ones(1)
    for part in parts:
        n = part.size
        drawn = np.array(list(combinations_with_replacement(range(n), n)))
        counts = (drawn[:, :, None] == np.arange(n)).sum(1)
        factorials = np.array([math.factorial(k) for k in range(n + 1)], float)
        ways = factorials[n] / factorials[counts].prod(1)
        sums = (part[drawn]).sum(1)
        values = (values[:, None] + sums).ravel()
        weights = (weights[:, None] * (ways / float(n) ** n)).ravel()
    return _Atoms(values, weights)


def _transformed(parts: list[Array], mean: float, sd: float, cells: int = _CELLS) -> KnownLaw:
    from scipy.fft import irfft, rfft

    deviations = [part - part.mean() for part in parts]
    width = _WIDTH * sd + 2 * max(float(np.abs(d).max()) for d in deviations)
    cell = width / cells
    product: NDArray[np.complex128] | None = None
    for d in deviations:
        factor = _power(rfft(_spread(d / cell, cells) / d.size), d.size)
        product = factor if product is None else product * factor
    masses = np.roll(irfft(product, cells), cells // 2)
    reached = np.cumsum(masses)
    np.maximum.accumulate(reached, out=reached)
    reached /= reached[-1]
    edges = mean + np.arange(0.5 - cells // 2, cells // 2, 1.0) * cell
    return _Circle(edges, reached, mean, sd)


def _spread(places: Array, cells: int) -> Array:
    """Return the counts of cells; each value is split over four cells by cubic weights.

    The split keeps the first three moments.
    """
    base = np.floor(places)
    f = places - base
    first = base.astype(np.int64) - 1
    weights = (
        -f * (f - 1) * (f - 2) / 6,
        (f + 1) * (f - 1) * (f - 2) / 2,
        -(f + 1) * f * (f - 2) / 2,
        (f + 1) * f * (f - 1) / 6,
    )
    lowest = int(first.min())
    size = int(first.max()) - lowest + 4
    near = np.zeros(size)
    for k, weight in enumerate(weights):
        near[k : size - 3 + k] += np.bincount(first - lowest, weight, size - 3)
    counts = np.zeros(cells)
    counts[np.arange(lowest, lowest + size) % cells] = near
    return counts


def _power(x: NDArray[np.complex128], n: int) -> NDArray[np.complex128]:
    """Return x to the n-th power by squaring; powers below exp(-80) are 0."""
    kept = np.flatnonzero(x.real * x.real + x.imag * x.imag > math.exp(-160 / n))
    base = x[kept]
    found: NDArray[np.complex128] | None = None
    k = n
    while k:
        if k & 1:
            found = base.copy() if found is None else found * base
        k >>= 1
        if k:
            base = base * base
    result = np.zeros(x.size, np.complex128)
    result[kept] = found
    return result


class _Root:
    """The law of the root of a decreasing sum: θ* <= t if the resampled Σ ψ(x*, t) <= 0."""

    def __init__(
        self, psi: Callable[[float], list[Array]], estimate: float, spread: float, n: int
    ) -> None:
        self._psi, self._estimate, self._spread = psi, estimate, spread
        self._cells = _FEWER_CELLS if n <= _FEWER_UP_TO else _CELLS
        self._moments: tuple[float, float] | None = None

    def below(self, value: float) -> float:
        """Return P(θ* < value), and half of P(θ* = value)."""
        parts = self._psi(value)
        mean = math.fsum(float(part.sum()) for part in parts)
        sd = math.sqrt(sum(float(((part - part.mean()) ** 2).sum()) for part in parts))
        if sd == 0.0:
            return 0.5 if mean == 0 else float(mean < 0)
        return _transformed(parts, mean, sd, self._cells).below(0.0)

    def quantile(self, p: float) -> float:
        """Return the quantile of `p`."""
        from scipy.optimize import brentq

        reach = 2.0 * self._spread
        low, high = self._estimate - reach, self._estimate + reach
        while self.below(low) > p:
            low, reach = low - reach, 2 * reach
        reach = 2.0 * self._spread
        while self.below(high) < p:
            high, reach = high + reach, 2 * reach
        tight = 1e-9 * self._spread
        return float(brentq(lambda t: self.below(t) - p, low, high, xtol=tight, rtol=1e-14))

    def _both(self) -> tuple[float, float]:
        """Return the mean and the standard deviation, from sums of the distribution function.

        The rule of trapezia is exact for smooth functions that end flat; steps of 0.7 standard
        deviations leave an error of exp(-40).
        """
        if self._moments is not None:
            return self._moments
        step = 0.7 * self._spread
        places, reached = [0.0], [self.below(self._estimate)]
        for side in (-1, 1):
            k = side
            while k * side < 200:
                at = self.below(self._estimate + k * step)
                places.append(k * step)
                reached.append(at)
                if min(at, 1 - at) < 1e-12:
                    break
                k += side
        order = np.argsort(places)
        t, f = np.array(places)[order], np.array(reached)[order]
        top = t[-1]
        # The function is constant at both ends, so half weights there make no difference.
        mean = top - step * float(f.sum() - 0.5 * f[-1])
        # The integrand 2 t F has slope 2 at the end; the Euler-Maclaurin term corrects for it.
        second = top * top - step * float((2 * t * f).sum() - t[-1] * f[-1]) + step * step / 6
        self._moments = self._estimate + mean, math.sqrt(max(second - mean * mean, 0.0))
        return self._moments

    @property
    def mean(self) -> float:
        """The mean of the law."""
        return self._both()[0]

    @property
    def sd(self) -> float:
        """The standard deviation of the law."""
        return self._both()[1]


def law_of_ratio(above: list[Array], below: list[Array]) -> KnownLaw | None:
    """Return the law of the ratio of two sums, or None if a denominator is not positive."""
    if min(float(y.min()) for y in below) <= 0 or max(map(len, below)) <= _FEW:
        return None
    estimate = math.fsum(map(np.sum, above)) / math.fsum(map(np.sum, below))

    def psi(t: float) -> list[Array]:
        return [x - t * y for x, y in zip(above, below, strict=True)]

    variance = sum(float(((p - p.mean()) ** 2).sum()) for p in psi(estimate))
    spread = math.sqrt(variance) / math.fsum(map(np.sum, below))
    if spread <= 1e-13 * abs(estimate):
        return _Point(estimate)
    return _Root(psi, estimate, spread, sum(map(len, above)))


def law_of_huber(parts: list[Array], cut: float, estimate: float) -> KnownLaw | None:
    """Return the law of Huber's estimate with a fixed scale, or None for few observations."""
    if max(map(len, parts)) <= _FEW:
        return None

    def psi(t: float) -> list[Array]:
        return [np.clip(x - t, -cut, cut) for x in parts]

    inside = sum(int((np.abs(x - estimate) < cut).sum()) for x in parts)
    variance = sum(float(((p - p.mean()) ** 2).sum()) for p in psi(estimate))
    if not (inside and variance > 0):
        return None
    return _Root(psi, estimate, math.sqrt(variance) / inside, sum(map(len, parts)))


class _Order:
    """The law of a quantile, interpolated between two order statistics of a resample.

    The k-th of n ordered draws has an index of at most i with probability I(k, n - k + 1) at i / n.
    The joint law of two neighbours is a product of a function of i and one of j for i < j.
    """

    def __init__(self, x: Array, q: float) -> None:
        from scipy.special import betainc, gammaln

        n = x.size
        place = (n - 1) * q
        k = min(int(place), n - 1)
        self._share = place - k
        k += 1
        reach = _REACH * math.sqrt(k * (n - k + 1) / n) + _REACH
        low, high = max(int(k - reach), 0), min(int(k + reach) + 1, n)
        at = np.arange(low, high + 1)
        #: The indices within reach, from 1, and their values.
        self._i = at[1:]
        self._x = x[low:high]
        if k * (n - k + 1) < _WIDE**2 * n:
            reached = betainc(k, n - k + 1, at / n)
            self._mass = np.diff(reached)
        else:
            self._mass = _beta_masses(k, n - k + 1, at / n)
            reached = np.append(0.0, np.cumsum(self._mass))
        if not self._share:
            self.mean, self.sd = _moments(self._mass, self._x, 0.0)
            return
        self._n, self._k = n, k
        self._ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        i = self._i
        with np.errstate(divide="ignore"):
            self._shrink = np.exp(k * (np.log(np.maximum(i - 1, 0)) - np.log(i)))
            # ln of (1 - (j - 1) / n)^(n - k) - (1 - j / n)^(n - k)
            before, after = (n - k) * np.log1p(-(i - 1) / n), (n - k) * np.log1p(-i / n)
            self._tail = before + np.log(-np.expm1(after - before))
            self._alone = np.exp(self._ways + k * np.log(i / n) + after)
        #: The probability that only the lower one has the index, and that both have it.
        self._lower_only = self._alone * (1 - self._shrink)
        self._both = np.maximum(self._mass - self._lower_only, 0.0)
        self._find_moments(reached)

    def _find_moments(self, reached: Array) -> None:
        """Set the mean and the standard deviation."""
        from scipy.special import betainc

        g, x, n, k = self._share, self._x, self._n, self._k
        # The upper one is at most at an index if the lower one is, and k draws alone are not.
        first = float(betainc(k + 1, n - k, (self._i[0] - 1) / n))
        upper = np.diff(np.append(first, reached[1:] - self._alone))
        self._upper = upper
        centre = float(self._mass @ x)
        d = x - centre
        # The mean of the lower one below each index, weighted by its law.
        means, mean = [0.0], 0.0
        for share, value in zip(self._shrink[:-1].tolist(), d[:-1].tolist(), strict=True):
            mean = share * mean + (1 - share) * value
            means.append(mean)
        together = self._below(self._i - 1)
        product = float((self._both * d * d).sum() + (together * np.array(means) * d).sum())
        low, high = float(self._mass @ d), float(upper @ d)
        mean = (1 - g) * low + g * high
        second = (
            (1 - g) ** 2 * float(self._mass @ d**2)
            + 2 * g * (1 - g) * product
            + g * g * float(upper @ d**2)
        )
        self.mean, self.sd = centre + mean, math.sqrt(max(second - mean * mean, 0.0))

    def _far(self) -> int:
        """Return the number of indices below another one that the lower one can have."""
        slowest = -math.log(max(float(self._shrink[-1]), 1e-300))
        return max(min(self._x.size - 1, int(_NEGLIGIBLE / max(slowest, 1e-300)) + 2), 1)

    def _below(self, last: NDArray[np.int64], upper: Any = slice(None)) -> Array:
        """Return P(lower one at most at index last[j], upper one at j), where last[j] < j.

        `upper` are the places of the indices j, by default all.
        """
        with np.errstate(divide="ignore"):
            logs = self._ways + self._k * np.log(np.maximum(last, 0) / self._n) + self._tail[upper]
        return np.where(last > 0, np.exp(logs), 0.0)

    def _reached(self, value: float, side: str) -> float:
        """Return P(θ* <= value), or P(θ* < value) with the side "left"."""
        g, x = self._share, self._x
        if not g:
            at = int(np.searchsorted(x, value, "right" if side == "right" else "left"))
            return float(self._mass[:at].sum())
        rest = (value - g * x) / (1 - g)
        first = int(self._i[0]) - 1
        last = np.searchsorted(x, rest, "right" if side == "right" else "left") + first
        both = self._both[x <= value] if side == "right" else self._both[x < value]
        inside = np.minimum(last, self._i - 1)
        return float(self._below(inside).sum() + both.sum())

    def below(self, value: float) -> float:
        """Return P(θ* < value), and half of P(θ* = value)."""
        return 0.5 * (self._reached(value, "left") + self._reached(value, "right"))

    def quantile(self, p: float) -> float:
        """Return the quantile of `p`."""
        if not self._share:
            at = int(np.searchsorted(np.cumsum(self._mass), p * (1 - 1e-12)))
            return float(self._x[min(at, self._x.size - 1)])
        # The quantile lies between the quantiles of the two order statistics.
        ends = (np.cumsum(self._mass), np.cumsum(self._upper))
        x, last = self._x, self._x.size - 1
        low, high = (min(int(np.searchsorted(reached, p * (1 - 1e-9))), last) for reached in ends)
        low = max(int(np.searchsorted(x, x[low])) - 1, 0)
        return self._between(p, float(x[low]), float(x[high]))

    def _between(self, p: float, low: float, high: float) -> float:
        """Return the quantile of `p` among the outcomes above `low` and up to `high`."""
        g, x, far = self._share, self._x, self._far()
        first = int(np.searchsorted(x, low, "right"))
        stop = min(int(np.searchsorted(x, high, "right")) + far, x.size)
        upper = np.arange(first, stop)
        lower = upper[:, None] - np.arange(1, far + 1)
        inside = lower >= 0
        lower = np.maximum(lower, 0)
        values = np.append((1 - g) * x[lower] + g * x[upper][:, None], x[upper][:, None], axis=1)
        each = self._below(self._i[lower], upper[:, None]) * (1 - self._shrink[lower]) * inside
        masses = np.append(each, self._both[upper][:, None], axis=1)
        chosen = (values > low) & (values <= high)
        values, masses = values[chosen], masses[chosen]
        order = np.argsort(values)
        reached = self._reached(low, "right") + np.cumsum(masses[order])
        at = int(np.searchsorted(reached, p * (1 - 1e-12)))
        return float(values[order[at]]) if at < order.size else high


def _moments(mass: Array, x: Array, start: float) -> tuple[float, float]:
    mean = float(mass @ x) / float(mass.sum())
    return mean, math.sqrt(float(mass @ (x - mean) ** 2) / float(mass.sum()))


@lru_cache(maxsize=1)
def _rule() -> tuple[Array, Array]:
    """Return nodes and weights of the rule of Gauss and Legendre on (-1, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(4)
    return np.asarray(nodes), np.asarray(weights)


def _beta_masses(a: float, b: float, edges: Array) -> Array:
    """Return the probabilities of Beta(a, b) between edges, by the rule of Gauss and Legendre.

    The edges are a small share of the standard deviation apart.
    """
    from scipy.special import betaln

    nodes, weights = _rule()
    step = np.diff(edges)[:, None]
    u = edges[:-1, None] + step * (0.5 * (nodes + 1))
    logs = (a - 1) * np.log(u) + (b - 1) * np.log1p(-u) - betaln(a, b)
    return np.asarray((np.exp(logs) @ (0.5 * weights)) * step[:, 0])


def law_of_quantile(x: Array, q: float) -> KnownLaw:
    """Return the law of the quantile of a resample of `x`."""
    ordered = np.sort(x)
    if ordered[0] == ordered[-1]:
        return _Point(float(ordered[0]))
    return _Order(ordered, q)
