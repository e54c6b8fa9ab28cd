"""Series: block lengths, effective sample sizes, fixed-b intervals."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.exponents import exponents, scaled
from fermiac._base.validate import all_finite, real_numbers
from fermiac.errors import ArgumentError
from fermiac.results.provenance import provenance
from fermiac.results.result import Result
from fermiac.results.summary import Summary

__all__ = [
    "BlockLength",
    "block_length",
    "effective_size",
    "fixed_b",
    "length",
    "most_orders",
    "of_blocks",
]

Array = NDArray[np.float64]
_NUMBERS = fit.either(fit.single("outputs"), fit.array("f", "outputs"))
#: The smallest effective sample size for reliable intervals: by a sieve or with a fixed bandwidth,
#: and by blocks, whose variance is too small for dependent data.
FEW, FEW_FOR_BLOCKS = 15, 80
#: Autocorrelations within this many standard errors of white noise count as zero.
_NOISE = 2.0


def most_orders(n: int) -> int:
    """Return the largest order of an autoregression of `n` observations."""
    return min(int(10 * math.log10(n)), n // 10)


def _autocovariances(x: Array, most: int) -> Array:
    """Return Σ (xₜ - m)(xₜ₊ₖ - m) / n for k from 0 to `most`."""
    from scipy.fft import irfft, next_fast_len, rfft

    n = x.size
    d = x - x.mean()
    if most <= 64:
        return np.array([d[k:] @ d[: n - k] for k in range(most + 1)]) / n
    size = next_fast_len(2 * n, real=True)
    return np.asarray(irfft(np.abs(rfft(d, size)) ** 2, size)[: most + 1]) / n


def length(x: Array) -> float:
    """Return the mean length of stationary blocks."""
    n = x.size
    most = math.ceil(math.sqrt(n)) + _run(n)
    r = _autocovariances(x, min(2 * most, n - 1))
    if not r[0] > 0:
        return 1.0
    return _of_width(r, min(2 * max(_last_significant(r[: most + 1], n), 1), r.size - 1), n)


def _run(n: int) -> int:
    """Return the number of consecutive autocorrelations that must be small."""
    return max(5, math.ceil(math.sqrt(math.log10(n))))


def _last_significant(r: Array, n: int) -> int:
    """Return the lag after which a run of autocorrelations is small."""
    small = np.abs(r[1:] / r[0]) < _NOISE * math.sqrt(math.log10(n) / n)
    runs = np.convolve(small, np.ones(_run(n)), "valid") == _run(n)
    if runs.any():
        return int(np.argmax(runs))
    large = np.flatnonzero(~small)
    return int(large[-1]) + 1 if large.size else 0


def _of_width(r: Array, width: int, n: int) -> float:
    """Return the length from autocovariances up to the width of the window."""
    longest = float(math.ceil(min(3 * math.sqrt(n), n / 3)))
    k = np.arange(-width, width + 1)
    own = r[np.abs(k)] * np.minimum(1.0, 2 * (1 - np.abs(k) / width))
    spectrum, slope = float(own.sum()), float((np.abs(k) * own).sum())
    if spectrum == 0:
        return 1.0
    ratio = 2 * (slope / spectrum) ** 2 * n
    return min(max(float((ratio / 2.0) ** (1 / 3)), 1.0), longest)


def effective_size(x: Array) -> float:
    """Return the number of independent observations whose mean has the variance of the mean of `x`.

    It is computed from a fitted autoregression. For AR(1) it is n (1 - φ) / (1 + φ).
    """
    n = x.size
    if n < 10 or not np.ptp(x) > 0:
        return float(n)
    return float(_core.resample_sieve_fit(np.ascontiguousarray(x), 0, most_orders(n), 0)[4])


def of_blocks(mean_length: float, u: Array) -> float:
    """Return the standard deviation of the sum of a resample of `u` in stationary blocks."""
    from scipy.fft import irfft, rfft

    n = u.size
    d = u - u.mean()
    r = irfft(np.abs(rfft(d)) ** 2, n) / n
    k = np.arange(1, n)
    shares = (1 - k / n) * (1 - 1 / mean_length) ** k
    return math.sqrt(max(n * float(r[0] + 2 * (shares @ r[1:])), 0.0))


def _fixed_b_tail(c: float) -> float:
    """Return P(|t| > c) for the t statistic of the mean of a series with bandwidth n.

    In the limit t is Z / √(2 ∫B²) with a normal Z and a Brownian bridge B. Craig's integral of the
    normal tail and E exp(-s ∫B²) = √(u / sinh u), u = √(2s), reduce it to one integral.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    angle = 0.25 * math.pi * (nodes + 1)
    u = math.sqrt(2) * max(c, 1e-300) / np.sin(angle)
    # √(u / sinh u) without an overflow.
    root = np.sqrt(2 * u / -np.expm1(-2 * u)) * np.exp(-0.5 * u)
    return float(0.5 * (weights * root).sum())


@lru_cache(maxsize=64)
def _fixed_b_quantile(tail: float) -> float:
    """Return c with P(|t| > c) = 2 `tail`."""
    from scipy.optimize import brentq

    top = 10.0
    while _fixed_b_tail(top) > 2 * tail:
        top *= 2
    return float(brentq(lambda c: _fixed_b_tail(c) - 2 * tail, 0.0, top))


def fixed_b(x: Array, tail: float) -> tuple[float, float]:
    """Return the interval of the mean of a series with Bartlett's kernel and bandwidth n."""
    n = x.size
    mean = float(x.mean())
    sums = np.cumsum(x - mean)
    stderr = math.sqrt(2 * float(sums @ sums)) / n / math.sqrt(n)
    c = _fixed_b_quantile(tail)
    return mean - c * stderr, mean + c * stderr


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BlockLength(Result):
    """Block lengths for the stationary bootstrap of a series.

    Attributes
    ----------
    stationary : float or ndarray, shape (k,)
        The mean block length of the stationary bootstrap, for each column.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).normal(400)
    >>> fm.resample.block_length(x).stationary < 3
    True
    """

    stationary: float | Array

    _layout: ClassVar[fit.Layout] = {"stationary": _NUMBERS}

    def _headline(self) -> str:
        shown = ", ".join(f"{v:.4g}" for v in np.atleast_1d(self.stationary)[:3])
        return f"BlockLength: stationary {shown}"

    def summary(self) -> Summary:
        """Return a table with a row for each column of the data."""
        column = np.atleast_1d(np.asarray(self.stationary, float))
        names = ("x",) if column.size == 1 else tuple(f"x[{j}]" for j in range(column.size))
        return Summary(names, {"stationary": column})


@public
def block_length(x: ArrayLike) -> BlockLength:
    """Return block lengths for the stationary bootstrap of the mean of a series [1]_ [2]_.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, k)
        A series in the order of time, or several series in columns. At least 8 observations.

    Returns
    -------
    BlockLength
        Lengths in observations, not rounded, at least 1.

    Raises
    ------
    ArgumentError
        If `x` has another shape, fewer observations, or numbers that are not finite.

    Notes
    -----
    The length with the smallest mean squared error of the variance of the mean is (2 G² n /
    D)^(1/3). G is the sum of abs(k) R(k) over the autocovariances and D is 2 g² with g = Σ R(k).
    Both sums have a flat-top window whose width is twice the lag after which no autocorrelation is
    significant.

    References
    ----------
    .. [1] D. N. Politis, H. White, "Automatic block-length selection for the dependent bootstrap",
       Econometric Reviews, 2004, doi:10.1081/ETC-120028836.
    .. [2] A. Patton, D. N. Politis, H. White, "Correction to 'Automatic block-length selection for
       the dependent bootstrap'", Econometric Reviews, 2009, doi:10.1080/07474930802459016.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> e = fm.random.Stream(1).normal(1000)
    >>> x = np.zeros(1000)
    >>> for t in range(1, 1000):
    ...     x[t] = 0.5 * x[t - 1] + e[t]
    >>> bool(5 < fm.resample.block_length(x).stationary < 30)
    True
    """
    began = time.perf_counter()
    given = real_numbers("x", x)
    if given.ndim not in (1, 2) or given.size == 0 or len(given) < 8:
        raise ArgumentError(
            f"x: an array of shape {given.shape} given; (n,) or (n, k) is needed, with at least 8 "
            "observations"
        )
    if not all_finite(given):
        raise ArgumentError("x: NaN or an infinity given; finite numbers are needed")
    table = given.reshape(len(given), -1)
    found = [length(column) for column in scaled(table, exponents(table, 0)).T]
    return BlockLength(
        stationary=found[0] if given.ndim == 1 else np.array(found),
        **provenance({}, began),
    )
