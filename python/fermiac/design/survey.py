"""Random samples of a finite population with unequal probabilities, and estimates of totals."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public, users_level
from fermiac._base.validate import RngLike, choice, key_of, numbers, whole
from fermiac.design.cube import balanced
from fermiac.errors import ArgumentError
from fermiac.random.stream import Stream
from fermiac.results.result import Result
from fermiac.results.unseen import all_equal, equal_finding

__all__ = ["SurveySample", "SurveyTotal", "sample"]

Array = NDArray[np.float64]
#: Probabilities or densities of all units at some times, (times,) to (N, times).
Law: TypeAlias = "Callable[[Array], Array]"
Method = Literal["conditional_poisson", "systematic", "poisson", "pareto", "successive", "balanced"]
_METHODS = ("conditional_poisson", "systematic", "poisson", "pareto", "successive", "balanced")
#: The largest number of units times draws for probabilities by recursion, and of units and of units
#: times draws for the integral of successive and of Pareto sampling.
_RECURSION, _UNITS, _INTEGRAL = 10**7, 5000, 2 * 10**6
#: The nodes of that integral, and the numbers of a table of counts.
_NODES, _TABLE = 128, 2**22
#: The largest error of an inclusion probability, and iterations.
_CLOSE, _ITERATIONS = 1e-11, 100
_TINY = 1e-300


class SurveyTotal(NamedTuple):
    """The estimate of a total.

    Attributes
    ----------
    value : float
        The estimate.
    stderr : float
        Its standard error.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.design.sample([1.0] * 100, 20, rng=0)
    >>> s.total(s.units * 1.0).stderr > 0
    True
    """

    value: float
    stderr: float


def told(total: SurveyTotal, drawn: Array) -> SurveyTotal:
    """Return a total, after a warning if the values of the units drawn by chance are all equal."""
    if total.stderr <= 1e-12 * abs(total.value) and drawn.size and all_equal(drawn):
        kind, text = equal_finding(drawn.size, "y / π", "population")
        warnings.warn(text, kind, stacklevel=users_level())
    return total


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SurveySample(Result):
    """A random sample of the units of a finite population.

    Attributes
    ----------
    units : ndarray of int, shape (m,)
        The units of the sample, in ascending order.
    probabilities : ndarray, shape (N,)
        The inclusion probability of each unit of the population.
    method : str
        How the sample was drawn.
    balance : ndarray, shape (m, q), or None
        The variables of the units of a balanced sample.
    balance_totals : ndarray, shape (q,), or None
        The totals of the variables over the population.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> size = np.arange(1.0, 101.0)  # turnover is about proportional to it
    >>> turnover = 3 * size + fm.random.Stream(1).normal(100)
    >>> s = fm.design.sample(size, 20, rng=0)
    >>> t = s.total(turnover[s.units])
    >>> bool(abs(t.value - turnover.sum()) < 5 * t.stderr)
    True
    """

    units: NDArray[np.int64]
    probabilities: Array
    method: str
    balance: Array | None = None
    balance_totals: Array | None = None

    _layout: ClassVar[fit.Layout] = {
        "units": fit.array("i", "m", low=0),
        "probabilities": fit.array("f", "units"),
        "method": fit.text(*_METHODS),
        "balance": fit.maybe(fit.array("f", "m", "q")),
        "balance_totals": fit.maybe(fit.array("f", "q")),
    }

    def _headline(self) -> str:
        return f"SurveySample: {self.units.size} of {self.probabilities.size} units, {self.method}"

    def total(
        self, y: ArrayLike, kind: Literal["horvitz_thompson", "hajek"] = "horvitz_thompson"
    ) -> SurveyTotal:
        r"""Estimate the total of a quantity over the population.

        Parameters
        ----------
        y : array_like, shape (m,)
            Its values for the units of the sample, in the order of `units`.
        kind : {"horvitz_thompson", "hajek"}, default "horvitz_thompson"
            The sum of y / π, which is unbiased and exact if y is proportional to π and the size of
            the sample is fixed; or that sum, times the size of the population over its estimate,
            which is better if y does not depend on π.

        Returns
        -------
        SurveyTotal
            With ``value`` and ``stderr``; the error is infinite for fewer than two units.

        Warns
        -----
        ConvergenceWarning
            If y / π, or what Hájek's estimate has for it, is the same for all units that were drawn
            by chance. Their spread is then 0, and tells nothing of a large unit that was not drawn.

        Raises
        ------
        ArgumentError
            If there is not a finite value for each unit of the sample.

        Notes
        -----
        For a Poisson sample the variance is :math:`\sum (1 - \pi) y^2 / \pi^2`. For the other
        methods it is Hájek's approximation, m / (m - 1) times the sum of :math:`(1 - \pi) (y / \pi
        - A)^2`, where A is the mean of y / π with the weights 1 - π. For Hájek's estimate y is
        replaced by its difference from the estimated mean.

        For a balanced sample A is the regression of y / π on one and the q variables over π, with
        the same weights, and the factor is m / (m - 1 - q) [1]_. The totals of the variables are
        known. What the sample does not balance of them is corrected by this regression, so that the
        estimate is unbiased only for large samples.

        References
        ----------
        .. [1] J.-C. Deville, Y. Tillé, "Variance approximation under balanced sampling", Journal of
           Statistical Planning and Inference, 2005, doi:10.1016/j.jspi.2003.11.011.
        """
        values = numbers("y", y)
        if values.shape != self.units.shape or not np.isfinite(values).all():
            raise ArgumentError(
                f"y: an array of shape {values.shape} given; finite numbers of shape "
                f"{self.units.shape} are needed, one for each unit of the sample"
            )
        chosen = choice("kind", kind, ("horvitz_thompson", "hajek"))
        pi = self.probabilities[self.units]
        m, population = len(pi), len(self.probabilities)
        total, factor, rest = float((values / pi).sum()), 1.0, values
        if chosen == "hajek" and m:
            count = float((1 / pi).sum())
            factor = population / count
            rest = values - total / count
            total *= factor
        scaled, free = rest / pi, 1 - pi
        drawn = scaled[free > 0]
        if m < 2:
            return SurveyTotal(total, np.inf if m == 0 or free.any() else 0.0)
        if self.balance is not None and self.balance_totals is not None and free.sum() > 0:
            shares = self.balance / pi[:, None]
            known, root = np.column_stack([np.ones(m), shares]), np.sqrt(free)
            slope, _, rank, _ = np.linalg.lstsq(root[:, None] * known, root * scaled, rcond=None)
            if m <= rank:
                return SurveyTotal(total, np.inf)
            missed = self.balance_totals - shares.sum(axis=0)
            variance = m / (m - rank) * (free @ (scaled - known @ slope) ** 2)
            corrected = float(total + factor * slope[1:] @ missed)
            return told(SurveyTotal(corrected, float(factor * np.sqrt(variance))), drawn)
        if self.method != "poisson" and free.sum() > 0:
            scaled = scaled - free @ scaled / free.sum()
            factor *= np.sqrt(m / (m - 1))
        return told(SurveyTotal(total, float(factor * np.sqrt(free @ scaled**2))), drawn)


@public
def sample(
    weights: ArrayLike,
    n: int,
    *,
    method: Method = "conditional_poisson",
    balance: ArrayLike | None = None,
    rng: RngLike = None,
) -> SurveySample:
    r"""Draw units of a finite population without replacement, with unequal probabilities [1]_.

    Parameters
    ----------
    weights : array_like, shape (N,)
        A positive number for each unit, such as its size.
    n : int
        The size of the sample, at most the number of units; its mean for ``"poisson"``.
    method : str, default "conditional_poisson"
        ``"conditional_poisson"``: the sample of largest entropy with inclusion probabilities
        proportional to the weights. ``"systematic"``: equal steps through the units in random
        order, with the same probabilities. ``"poisson"``: each unit by itself; the size is random.
        ``"pareto"``: the units with the smallest ranks U / (1 - U) · (1 - π) / π, for uniform U;
        the probabilities are nearly proportional. ``"successive"``: draw after draw, each with
        probabilities proportional to the weights of the units that are left. ``"balanced"``: the
        cube method, whose sample gives the totals of `balance` almost without error.
    balance : array_like, shape (N,) or (N, q), optional
        Variables that are known for each unit of the population, for ``"balanced"``; the most
        important one first, and fewer than n.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Returns
    -------
    SurveySample
        ``units``, ``probabilities``, and the method ``total``.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the population is too large for the exact
        probabilities of the method: for ``"conditional_poisson"`` more than 10⁷ units times draws,
        for ``"successive"`` and ``"pareto"`` more than 5000 units or 2 · 10⁶ units times draws.

    Notes
    -----
    Inclusion probabilities proportional to the weights are n w / Σw. Units for which that exceeds 1
    are certain, and the others share the rest. Those of successive draws are integrals over
    exponential times of arrival, with the exact distribution of the number of earlier arrivals;
    those of Pareto samples [3]_ are the same integrals over their ranks [4]_. Those of conditional
    Poisson sampling are reached by changing the odds of a Poisson sample [2]_.

    The cube method [5]_ moves the inclusion probabilities at random to 0 or 1, so that each has its
    mean and the totals of the variables stay the same, in steps of q + 2 units [6]_. When fewer
    units are left, it gives up the last variables first, and the size of the sample never.

    References
    ----------
    .. [1] Y. Tillé, "Sampling Algorithms", Springer, 2006, doi:10.1007/0-387-34240-0.
    .. [2] X.-H. Chen, A. P. Dempster, J. S. Liu, "Weighted finite population sampling to maximize
       entropy", Biometrika, 1994, doi:10.1093/biomet/81.3.457.
    .. [3] B. Rosén, "On sampling with probability proportional to size", Journal of Statistical
       Planning and Inference, 1997, doi:10.1016/S0378-3758(96)00186-3.
    .. [4] N. Aires, "Algorithms to find exact inclusion probabilities for conditional Poisson
       sampling and Pareto πps sampling designs", Methodology and Computing in Applied Probability,
       1999, doi:10.1023/A:1010091628740.
    .. [5] J.-C. Deville, Y. Tillé, "Efficient balanced sampling: the cube method", Biometrika,
       2004, doi:10.1093/biomet/91.4.893.
    .. [6] G. Chauvet, Y. Tillé, "A fast algorithm for balanced sampling", Computational Statistics,
       2006, doi:10.1007/s00180-006-0250-2.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.design.sample([1.0, 2.0, 3.0], 2, method="successive", rng=0)
    >>> s.probabilities.round(6).tolist()  # 5/12, 11/15 and 17/20
    [0.416667, 0.733333, 0.85]
    >>> fm.design.sample([1.0, 2.0, 3.0], 2, rng=0).probabilities.round(6).tolist()
    [0.333333, 0.666667, 1.0]
    """
    began = time.perf_counter()
    w = numbers("weights", weights)
    if w.ndim != 1 or w.size == 0 or not ((w > 0) & np.isfinite(w)).all():
        raise ArgumentError(
            f"weights: an array of shape {w.shape} given; positive, finite numbers of shape (N,) "
            "are needed"
        )
    count = whole("n", n, 1, w.size)
    chosen = choice("method", method, _METHODS)
    key = key_of(rng)
    known = _balance(balance, w.size, count, chosen)
    stream = Stream(key)
    w = np.exp(np.log(w) - np.log(w).max())
    pi = _successive(w, count) if chosen == "successive" else _proportional(w, count)
    if chosen == "successive":
        times = stream.exponential(w.size) / w
        taken = np.argsort(times, kind="stable")[:count]
    elif chosen == "pareto":
        pi, taken = _pareto(pi, count, stream)
    elif chosen == "balanced":
        taken = balanced(pi, np.column_stack([pi, known]), stream)
    elif chosen == "poisson":
        taken = np.flatnonzero(stream.uniform(w.size) < pi)
    elif chosen == "systematic":
        taken = _steps(pi, count, stream)
    else:
        taken = _conditional(pi, count, stream)
    taken = np.sort(taken).astype(np.int64)
    return SurveySample(
        units=taken,
        probabilities=pi,
        method=chosen,
        balance=known[taken] if chosen == "balanced" else None,
        balance_totals=known.sum(axis=0) if chosen == "balanced" else None,
        seed=key,
        version=_core.__version__,
        isa=_core.isa_level,
        settings={"n": count, "method": chosen},
        n_evals=0,
        wall_time=time.perf_counter() - began,
    )


def _balance(given: ArrayLike | None, units: int, n: int, method: str) -> Array:
    """Return the variables of a balanced sample, shape (N, q)."""
    if given is None:
        return np.empty((units, 0))
    if method != "balanced":
        raise ArgumentError(
            f"balance: variables given with method={method!r}; method='balanced' is needed"
        )
    x = numbers("balance", given)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or len(x) != units or x.shape[1] >= n or not np.isfinite(x).all():
        raise ArgumentError(
            f"balance: an array of shape {np.shape(given)} given; finite numbers of shape "
            f"({units}, q) are needed, with a row for each unit and q < {n}"
        )
    return x


def _proportional(w: Array, n: int) -> Array:
    """Return inclusion probabilities proportional to weights, at most 1."""
    order = np.argsort(-w, kind="stable")
    ordered = w[order]
    # The sum of a weight and all smaller ones.
    left = np.cumsum(ordered[::-1])[::-1]
    certain = int(np.argmin(np.append((n - np.arange(n)) * ordered[:n] >= left[:n], False)))
    pi = np.ones(w.size)
    if certain < w.size:
        rest = order[certain:]
        pi[rest] = np.clip((n - certain) * w[rest] / left[certain], _TINY, 1.0)
    return pi


def _steps(pi: Array, n: int, stream: Stream) -> NDArray[np.int64]:
    """Return a systematic sample of the units in random order."""
    order = np.argsort(stream.uniform(pi.size), kind="stable")
    ends = np.cumsum(pi[order])
    ends *= n / ends[-1]
    marks = np.arange(n) + stream.uniform()
    places = np.searchsorted(ends, marks, side="right")
    return np.asarray(order[np.minimum(places, pi.size - 1)])


def _conditional(pi: Array, n: int, stream: Stream) -> NDArray[np.int64]:
    """Return a Poisson sample given its size, with these inclusion probabilities."""
    certain = np.flatnonzero(pi >= 1)
    free = np.flatnonzero(pi < 1)
    rest = n - certain.size
    if rest <= 0 or not free.size:
        return certain
    chances = _working(pi[free], rest)
    while True:
        drawn = np.flatnonzero(stream.uniform(free.size) < chances)
        if drawn.size == rest:
            return np.concatenate([certain, free[drawn]])


def _working(pi: Array, n: int) -> Array:
    """Return the probabilities of a Poisson sample that has `pi` given its size n."""
    from scipy.special import expit, logit

    if pi.size * n > _RECURSION:
        raise ArgumentError(
            f"n: {n} draws of {pi.size} units given to 'conditional_poisson', whose probabilities "
            "would take too long; method='systematic' has no such limit"
        )
    wanted = logit(pi)
    logs = wanted.copy()
    for _ in range(_ITERATIONS):
        got = _given_size(np.asarray(expit(logs)), n)
        if np.abs(got - pi).max() < _CLOSE:
            break
        logs += wanted - logit(got)
    return np.asarray(expit(logs))


def _given_size(p: Array, n: int) -> Array:
    """Return the inclusion probabilities of a Poisson sample, given its size n."""
    before = np.zeros((p.size, n))
    counts = np.zeros((1, n))
    counts[0, 0] = 1.0
    for i in range(p.size):
        before[i] = counts[0]
        counts = _with(counts, p[i : i + 1])
    counts = np.zeros((1, n))
    counts[0, 0] = 1.0
    out = np.empty(p.size)
    for i in range(p.size - 1, -1, -1):
        # n - 1 of the others: k before it and n - 1 - k after it.
        out[i] = p[i] * (before[i] @ counts[0, ::-1])
        counts = _with(counts, p[i : i + 1])
    return np.asarray(out * (n / out.sum()))


def _pareto(pi: Array, n: int, stream: Stream) -> tuple[Array, NDArray[np.int64]]:
    """Return the inclusion probabilities of a Pareto sample, and its units."""
    free = np.flatnonzero(pi < 1)
    certain, rest = np.flatnonzero(pi >= 1), n - (pi.size - free.size)
    exact = np.ones(pi.size)
    if not free.size or rest <= 0:
        return exact, certain
    _small_enough(free.size, rest, "pareto")
    odds = pi[free] / (1 - pi[free])
    u = stream.uniform(free.size)
    with np.errstate(divide="ignore"):
        ranks = u / (1 - u) / odds
    taken = free[np.argsort(ranks, kind="stable")[:rest]]

    def arrived(t: Array) -> Array:
        x = odds[:, None] * t
        return np.asarray(x / (1 + x))

    def density(t: Array) -> Array:
        return np.asarray(odds[:, None] / (1 + odds[:, None] * t) ** 2)

    # At time 1 unit i has arrived with the probability pi[i], and their sum is the size.
    exact[free] = _first(arrived, density, free.size, rest, 1.0)
    return exact, np.concatenate([certain, taken])


def _small_enough(units: int, n: int, method: str) -> None:
    """Refuse populations whose integrals would take too long."""
    if units > _UNITS or units * n > _INTEGRAL:
        raise ArgumentError(
            f"weights: {units} units and {n} draws given to {method!r}; at most {_UNITS} units "
            f"and {_INTEGRAL} units times draws are possible; method='systematic' has no such limit"
        )


def _successive(w: Array, n: int) -> Array:
    """Return the inclusion probabilities of n successive draws.

    Unit i arrives at an exponential time with rate w_i, and the first n units are the sample.
    """
    if n == w.size:
        return np.ones(n)
    if n == 1:
        return np.asarray(w / w.sum())
    _small_enough(w.size, n, "successive")
    # The time at which n units are expected to have arrived is the scale of the integral.
    low, high = 0.0, 1.0
    while -np.expm1(-w * high).sum() < n:
        high *= 2
        if high > 1e300:
            break
    for _ in range(60):
        middle = 0.5 * (low + high)
        if -np.expm1(-w * middle).sum() < n:
            low = middle
        else:
            high = middle
    return _first(
        lambda t: np.asarray(-np.expm1(-w[:, None] * t)),
        lambda t: np.asarray(w[:, None] * np.exp(-w[:, None] * t)),
        w.size,
        n,
        high,
    )


def _first(arrived: Law, density: Law, units: int, n: int, scale: float) -> Array:
    """Return the probability of each unit to be among the first n that arrive.

    Given the time of a unit, the number of others that arrived before is a sum of independent
    indicators.
    """
    x, mass = _rule()
    x = 0.5 * (x + 1)
    t, mass = scale * x / (1 - x), 0.5 * mass * scale / (1 - x) ** 2
    pi = np.zeros(units)
    step = max(1, min(_NODES, _TABLE // (units * n)))
    for i in range(0, _NODES, step):
        part = t[i : i + step]
        pi += _earlier(arrived(part), density(part) * mass[i : i + step], n)
    return np.asarray(np.minimum(pi * (n / pi.sum()), 1.0))


@cache
def _rule() -> tuple[Array, Array]:
    x, mass = np.polynomial.legendre.leggauss(_NODES)
    return np.asarray(x), np.asarray(mass)


def _earlier(arrived: Array, mass: Array, n: int) -> Array:
    """Return the part of the integrals of all units at some times; both have shape (N, times)."""
    units, times = arrived.shape
    before = np.zeros((units, times, n))
    counts = np.zeros((times, n))
    counts[:, 0] = 1.0
    for i, p in enumerate(arrived):
        before[i] = counts
        counts = _with(counts, p)
    counts = np.zeros((times, n))
    counts[:, 0] = 1.0
    out = np.empty(units)
    for i in range(units - 1, -1, -1):
        # Fewer than n of the others: k before it and at most n - 1 - k after it.
        fewer = np.einsum("tk,tk->t", before[i], np.cumsum(counts, axis=1)[:, ::-1])
        out[i] = mass[i] @ fewer
        counts = _with(counts, arrived[i])
    return out


def _with(counts: Array, p: Array) -> Array:
    """Return the distribution of a count with one more indicator, for counts below its length."""
    new = counts * (1 - p)[:, None]
    new[:, 1:] += counts[:, :-1] * p[:, None]
    return new
