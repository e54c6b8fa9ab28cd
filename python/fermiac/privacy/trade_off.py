"""Trade-off curves: smallest false-negative rates of attacks at given false-positive rates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac import special
from fermiac._base.calls import public
from fermiac._base.validate import columns, require, taken, unwrapped
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import Array, Layout, at_least_zero, confusion_counts, fraction, single
from fermiac.privacy.gaussian import gdp_delta

__all__ = ["TradeOff", "violation_probability"]

#: The number of tangents for a Gaussian mechanism, and the quantile of the last tangent.
_N_POINTS, _FAR = 4001, 9.0
#: Nodes per panel and panels of the quadrature rule for integrals over posteriors.
_N_NODES, _N_PANELS = 8, 64


class TradeOff:
    r"""The trade-off curve f of f-differential privacy.

    f(x) is the smallest false-negative rate of any attack with false-positive rate x. A mechanism
    is f-differentially private if no attack is below the curve [1]_.

    Parameters
    ----------
    fpr, fnr : array_like, shape (k,)
        Points of the curve, in increasing order of the false-positive rate. The points (0, 1) and
        (1, 0) are added if these rates are missing. The curve is the lower convex hull of all
        points. Between two points it is a line, which lies above a smooth curve: give many points,
        or use `from_deltas`, which is never above the true curve.

    Attributes
    ----------
    fpr, fnr : ndarray
        The corners of the curve.

    Raises
    ------
    ArgumentError
        If the arrays differ in shape, are not one-dimensional or have numbers outside [0, 1], or
        `fpr` does not increase.

    References
    ----------
    .. [1] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> f = fm.privacy.TradeOff.from_epsilon(1.0, delta=0.01)
    >>> round(float(f(0.1)), 6), round(f.delta(1.0), 6), round(f.epsilon(0.01), 6)
    (0.718172, 0.01, 1.0)
    """

    __slots__ = ("fnr", "fpr")

    fpr: Array
    fnr: Array

    @public
    def __init__(self, fpr: ArrayLike, fnr: ArrayLike) -> None:
        x, y = _pair("fpr", fpr, "fnr", fnr)
        x, y = fraction("fpr", x, zero=True, one=True), fraction("fnr", y, zero=True, one=True)
        require("fpr", x[1:], np.diff(x) > 0, "increasing rates are needed")
        if x[0] > 0:
            x, y = np.append(0.0, x), np.append(1.0, y)
        if x[-1] < 1:
            x, y = np.append(x, 1.0), np.append(y, 0.0)
        # A coin flip that ignores the data is always possible.
        corners = _lower_hull(x, np.minimum(y, 1.0 - x))
        self.fpr, self.fnr = x[corners], np.minimum(y, 1.0 - x)[corners]
        self.fpr.flags.writeable = self.fnr.flags.writeable = False

    def __repr__(self) -> str:
        return f"TradeOff({len(self.fpr)} corners)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TradeOff):
            return NotImplemented
        same = np.array_equal(self.fpr, other.fpr)
        return same and np.array_equal(self.fnr, other.fnr)

    def __hash__(self) -> int:
        return hash((self.fpr.tobytes(), self.fnr.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        return TradeOff, (np.array(self.fpr), np.array(self.fnr))

    @classmethod
    def from_epsilon(cls, epsilon: float, *, delta: float = 0.0) -> TradeOff:
        """Return the curve of (epsilon, delta)-differential privacy.

        Parameters
        ----------
        epsilon : float
            Not negative.
        delta : float, default 0
            In [0, 1).

        Returns
        -------
        TradeOff

        Raises
        ------
        ArgumentError
            If an argument is outside its domain.

        Examples
        --------
        >>> import fermiac as fm
        >>> fm.privacy.TradeOff.from_epsilon(0.0).fnr
        array([1., 0.])
        """
        return cls.from_deltas([_number("epsilon", epsilon)], [single("delta", delta, zero=True)])

    @classmethod
    def from_gdp(cls, mu: float) -> TradeOff:
        r"""Return the curve of mu-Gaussian differential privacy.

        Parameters
        ----------
        mu : float
            Not negative.

        Returns
        -------
        TradeOff
            :math:`\Phi(\Phi^{-1}(1 - x) - \mu)`, bounded from below by 4001 tangents.

        Raises
        ------
        ArgumentError
            If `mu` is negative, infinite or not a number.

        Examples
        --------
        >>> import fermiac as fm
        >>> f = fm.privacy.TradeOff.from_gdp(1.0)
        >>> bool(1e-5 <= f.delta(4.377178095670) < 1.0001e-5)
        True
        """
        m = _number("mu", mu)
        epsilons = m * np.linspace(0.0, _FAR, _N_POINTS)
        return cls.from_deltas(epsilons, gdp_delta(epsilons, mu=m))

    @classmethod
    def from_deltas(cls, epsilons: ArrayLike, deltas: ArrayLike) -> TradeOff:
        r"""Return the curve of a mechanism from its privacy profile.

        Each pair (epsilon, delta) bounds the curve from below by two lines, and the curve is the
        largest of these bounds. It is therefore never above the curve of the mechanism, even for
        few pairs.

        Parameters
        ----------
        epsilons : array_like, shape (k,)
            Not negative.
        deltas : array_like, shape (k,)
            The delta at each epsilon, from an accountant or a privacy-loss distribution; in [0, 1].

        Returns
        -------
        TradeOff

        Raises
        ------
        ArgumentError
            If the arrays differ in shape, are not one-dimensional or are outside their domains.

        References
        ----------
        .. [1] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
           Statistical Society B, 2022, arXiv:1905.02383.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> epsilons = np.linspace(0, 10, 100)
        >>> f = fm.privacy.TradeOff.from_deltas(
        ...     epsilons, fm.privacy.gdp_delta(epsilons, mu=1.0)
        ... )
        >>> exact = fm.privacy.TradeOff.from_gdp(1.0)
        >>> bool(f(0.1) <= exact(0.1)), round(float(exact(0.1) - f(0.1)), 4)
        (True, 0.0001)
        """
        e, d = _pair("epsilons", epsilons, "deltas", deltas)
        e, d = at_least_zero("epsilons", e), fraction("deltas", d, zero=True, one=True)
        # Lines a - b x.
        with np.errstate(over="ignore"):
            slopes = np.concatenate([np.exp(e), np.exp(-e), [0.0]])
            heights = np.concatenate([1 - d, np.exp(-e) * (1 - d), [0.0]])
        finite = np.isfinite(slopes)
        return cls(*_upper_envelope(heights[finite], slopes[finite]))

    def __call__(self, fpr: ArrayLike) -> Any:
        """Return the smallest false-negative rates at false-positive rates.

        Parameters
        ----------
        fpr : array_like
            In [0, 1].

        Returns
        -------
        float or ndarray
        """
        x = fraction("fpr", fpr, zero=True, one=True)
        return unwrapped(np.interp(x, self.fpr, self.fnr))

    def delta(self, epsilon: ArrayLike) -> Any:
        """Return the delta at which the curve implies (epsilon, delta)-differential privacy.

        Parameters
        ----------
        epsilon : array_like
            Not negative.

        Returns
        -------
        float or ndarray
            The maximum of 1 - fnr - exp(epsilon) fpr over the corners, also with the two rates
            exchanged.
        """
        e = at_least_zero("epsilon", epsilon)[..., None]
        with np.errstate(over="ignore", invalid="ignore"):
            scale = np.exp(e)
            one = 1 - self.fnr - np.where(self.fpr > 0, scale * self.fpr, 0.0)
            two = 1 - self.fpr - np.where(self.fnr > 0, scale * self.fnr, 0.0)
        return unwrapped(np.maximum(np.maximum(one, two).max(axis=-1), 0.0))

    def epsilon(self, delta: float) -> float:
        """Return the epsilon at which the curve implies (epsilon, delta)-differential privacy.

        Parameters
        ----------
        delta : float
            In [0, 1).

        Returns
        -------
        float
            +inf if no epsilon has so small a delta.
        """
        d = single("delta", delta, zero=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            one = np.log((1 - d - self.fnr) / self.fpr)
            two = np.log((1 - d - self.fpr) / self.fnr)
        both = np.concatenate([one, two])
        return float(max(0.0, both[~np.isnan(both)].max(initial=0.0)))

    def symmetric(self) -> TradeOff:
        """Return the largest symmetric curve that is nowhere above this one and its inverse.

        It is valid for both orders of two neighbouring data sets.

        Returns
        -------
        TradeOff
        """
        x, y = np.append(self.fpr, self.fnr), np.append(self.fnr, self.fpr)
        order = np.lexsort((y, x))
        first = np.append(True, np.diff(x[order]) > 0)
        return TradeOff(x[order][first], y[order][first])


def _number(name: str, value: ArrayLike) -> float:
    array = at_least_zero(name, value)
    if array.ndim:
        raise ArgumentError(f"{name}: shape {array.shape} was given; one number is needed")
    require(name, array, np.isfinite(array), "a finite number is needed")
    return float(array)


def _pair(first: str, x: ArrayLike, second: str, y: ArrayLike) -> tuple[Any, Any]:
    """Return two arrays of one axis and one length."""
    one, other = taken(first, x), taken(second, y)
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise ArgumentError(
            f"{first}, {second}: shapes {one.shape} and {other.shape} were given; (k,) with k > 0 "
            "is needed for both"
        )
    return one, other


def _lower_hull(x: Array, y: Array) -> list[int]:
    """Return the corners of the lower convex hull, for increasing x."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return hull


def _upper_envelope(heights: Array, slopes: Array) -> tuple[Array, Array]:
    """Return the corners in [0, 1] of the largest of the lines height - slope x."""
    # In order of slope, steepest first; the highest of lines with equal slopes.
    order = np.lexsort((-heights, -slopes))
    lines: list[tuple[float, float]] = []
    starts: list[float] = []
    for a, b in zip(heights[order].tolist(), slopes[order].tolist(), strict=True):
        if lines and b == lines[-1][1]:
            continue
        start = 0.0
        while lines:
            start = max((lines[-1][0] - a) / (lines[-1][1] - b), 0.0)
            if start > starts[-1]:
                break
            lines.pop()
            starts.pop()
            start = 0.0
        lines.append((a, b))
        starts.append(start)
    inside = [(x, a - b * x) for x, (a, b) in zip(starts, lines, strict=True) if x < 1]
    a, b = lines[len(inside) - 1]
    x, y = np.array([*inside, (1.0, a - b)]).T
    return x, np.clip(y, 0.0, 1.0)


@public
def violation_probability(
    tp: ArrayLike | None = None,
    fp: ArrayLike | None = None,
    fn: ArrayLike | None = None,
    tn: ArrayLike | None = None,
    *,
    claim: TradeOff,
    table: ArrayLike | None = None,
    layout: Layout | None = None,
) -> Any:
    """Return the posterior probability that an attack violates a trade-off curve.

    The two error rates of the attack have independent posteriors under Jeffreys' priors [1]_. The
    result is the posterior probability of a false-negative rate below ``claim(fpr)``, which
    contradicts the claim [2]_.

    Parameters
    ----------
    tp, fp, fn, tn : array_like
        True positives, false positives, false negatives and true negatives, which broadcast.
    claim : TradeOff
        The curve that is claimed for the mechanism.
    table, layout
        The counts as a table; see `epsilon_interval`.

    Returns
    -------
    float or ndarray
        The probabilities, to about 1e-8.

    Raises
    ------
    ArgumentError
        If counts are not numbers of at least 0, shapes do not broadcast, or the claim is not a
        `TradeOff`.

    References
    ----------
    .. [1] S. Zanella-Béguelin et al., "Bayesian estimation of differential privacy", ICML, 2023,
       arXiv:2206.05199.
    .. [2] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> claim = fm.privacy.TradeOff.from_gdp(1.0)
    >>> round(fm.privacy.violation_probability(400, 60, 100, 440, claim=claim), 4)
    1.0
    >>> round(fm.privacy.violation_probability(340, 160, 160, 340, claim=claim), 3)
    0.215
    """
    curve = claimed(claim)
    given = confusion_counts((tp, fp, fn, tn), table, layout)
    flat, shape, n = columns(
        "violation_probability", tp=given[0], fp=given[1], fn=given[2], tn=given[3]
    )
    hits, alarms, misses, rest = (np.broadcast_to(column, n)[:, None] for column in flat)
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    left = np.arange(_N_PANELS)[:, None]
    u = ((left + 0.5 * (nodes + 1)) / _N_PANELS).ravel()
    w = np.tile(0.5 * weights / _N_PANELS, _N_PANELS)
    x = special.betaincinv(alarms + 0.5, rest + 0.5, u)
    below = special.betainc(misses + 0.5, hits + 0.5, np.interp(x, curve.fpr, curve.fnr))
    return unwrapped((below @ w).reshape(shape))


def claimed(claim: object) -> TradeOff:
    """Return a claim, which must be a trade-off curve."""
    if not isinstance(claim, TradeOff):
        raise ArgumentError(
            f"claim: a {type(claim).__name__} was given; a fermiac.privacy.TradeOff is needed, "
            "such as TradeOff.from_epsilon(1.0)"
        )
    return claim
