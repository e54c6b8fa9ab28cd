"""Univariate laws that are restricted to intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import real_numbers, shown
from fermiac.distributions.law import Array
from fermiac.distributions.scipy import BUILT_IN, as_law
from fermiac.distributions.univariate import Marginal, Normal, UnivariateLaw
from fermiac.errors import ArgumentError

# The quantiles between which moments are integrated.
_EDGES = (0.0, 1e-9, 1e-3, 0.1, 0.5, 0.9, 1.0 - 1e-3, 1.0 - 1e-9, 1.0)


class Truncated(UnivariateLaw):
    r"""A univariate law, given that it lies in an interval.

    Its density is :math:`p(x) / P(l \le X \le h)` inside, and 0 outside.

    Parameters
    ----------
    law : univariate law
        A law of this package, or one of scipy.stats that this package has too. A law of d
        independent coordinates is truncated coordinate by coordinate.
    low : float or array_like of shape (d,), default -inf
    high : float or array_like of shape (d,), default inf
        Above ``low``. A law of one coordinate with d bounds gives d independent coordinates.

    Raises
    ------
    ArgumentError
        If the law is not univariate, an interval is empty, or it has probability 0.

    Notes
    -----
    The probability of an interval is computed on the logarithmic scale, from the tail on its side
    of the median; that of a narrow interval by quadrature of the density. An interval may therefore
    lie so far in a tail that its probability underflows, as long as the logarithm is finite.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Truncated(fm.distributions.Normal(), 30.0, 31.0)
    >>> round(law.mean, 6)
    30.03326
    >>> law.cdf([29.0, 31.0])
    array([0., 1.])
    """

    def __init__(self, law: Any, low: ArrayLike = -np.inf, high: ArrayLike = np.inf) -> None:
        of = as_law(law)
        if not isinstance(of, UnivariateLaw):
            raise ArgumentError(
                f"law: {shown(law)} was given; a univariate law of fermiac.distributions is needed"
            )
        bounds = [real_numbers("low", low), real_numbers("high", high)]
        shapes = [of._shape, *(bound.shape for bound in bounds)]
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            shape = ()
        if len(shape) > 1 or 0 in shape or (of.dim > 1 and shape != (of.dim,)):
            raise ArgumentError(
                f"low, high: arrays of shapes {shapes[1]} and {shapes[2]} were given for a law of "
                f"{of.dim} coordinate{'s' if of.dim > 1 else ''}; numbers, or one bound for each "
                "coordinate, are needed"
            )
        lows, highs = (np.broadcast_to(b, shape).copy() for b in bounds)
        wholes = of._marginals * (lows.size // of.dim)
        pairs = zip(np.atleast_1d(lows).tolist(), np.atleast_1d(highs).tolist(), strict=True)
        marginals = [_cut(whole, *pair) for whole, pair in zip(wholes, pairs, strict=True)]
        object.__setattr__(self, "_marginals", marginals)
        self._freeze(
            len(marginals),
            _core.Law.independent(marginals),
            law=of,
            low=lows if shape else float(lows),
            high=highs if shape else float(highs),
        )

    @property
    def _shape(self) -> tuple[int, ...]:
        return np.shape(self._values["low"])

    @property
    def mean(self) -> float | Array:
        """The mean, by quadrature; infinite if one tail makes it infinite, NaN if both tails do."""
        return self._moments(lambda law: _moments(law)[0])

    @property
    def variance(self) -> float | Array:
        """The variance, by quadrature; infinite or NaN where it does not exist."""
        return self._moments(lambda law: _moments(law)[1])

    def _moments(self, of: Callable[[_core.Law], float]) -> float | Array:
        moments = [of(_core.Law.independent([marginal])) for marginal in self._marginals]
        return np.array(moments) if self._shape else moments[0]


def _cut(whole: Marginal, low: float, high: float) -> Marginal:
    """Return a marginal restricted to an interval in addition to the interval that it had."""
    name, parameters, known = whole
    if known is not None:
        low, high = max(low, known[0]), min(high, known[1])
    return name, parameters, (low, high)


def _moments(law: _core.Law) -> tuple[float, float]:
    """Return the mean and the variance of a law of one coordinate."""
    # Not at the top: scipy.integrate takes long to import.
    from scipy.integrate import quad

    powers = [_tail_power(law, end) for end in law.support[0]]
    infinite = [end for end, power in zip((-np.inf, np.inf), powers, strict=True) if power <= 1.0]
    if infinite:
        return (infinite[0] if len(infinite) == 1 else np.nan), np.nan
    edges = law.from_unit(np.array(_EDGES)[:, None])[:, 0]
    scale = edges[-3] - edges[2]
    if scale == 0.0:  # an interval with only a few doubles
        return float(edges[4]), 0.0

    def moment(centre: float, power: int) -> float:
        def integrand(x: float) -> float:
            density = np.exp(law.log_density(np.array([[x]]))[0])
            return float(((x - centre) / scale) ** power * density) if density > 0.0 else 0.0

        parts = [
            quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
            for a, b in pairwise(edges)
            if a < b
        ]
        return float(sum(parts) * scale**power)

    with warnings.catch_warnings():
        # Ignore warnings about rounding, which limits the accuracy before the tolerance does.
        warnings.simplefilter("ignore")
        middle = float(edges[4])
        mean = middle + moment(middle, 1)
        variance = moment(mean, 2) if min(powers) > 2.0 else np.inf
    return mean, variance


def _tail_power(law: _core.Law, end: float) -> float:
    """Return the power of x with which the tail towards an end falls; inf at a finite end."""
    if np.isfinite(end):
        return np.inf
    far = np.copysign(np.array([[1e50], [1e60]]), end)
    near, beyond = law.log_density(far)
    if beyond == -np.inf:
        return np.inf
    # The density has one power more than the tail. The margin keeps rounding from deciding at
    # integers.
    return float((near - beyond) / (10.0 * np.log(10.0))) - 1.0 - 1e-9


def _truncated_normal(a: Any, b: Any, loc: Any, scale: Any) -> Truncated:
    low, high = (np.add(loc, np.multiply(end, scale)) for end in (a, b))
    return Truncated(Normal(loc, scale), low, high)


BUILT_IN["truncnorm"] = ({}, _truncated_normal)
