"""Confidence intervals of proportions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.binomial import clopper_pearson
from fermiac._base.calls import public
from fermiac._base.validate import choice, numbers, probability, require, unwrapped
from fermiac.errors import ArgumentError

__all__ = ["proportion_interval"]

Array = NDArray[np.float64]
Method: TypeAlias = Literal["wilson", "clopper-pearson", "mid-p", "jeffreys", "agresti-coull"]
#: Steps of the bisection, which halve the interval to the last bit.
_STEPS = 60


def _wilson(x: Array, n: Array, tail: float) -> tuple[Array, Array]:
    from scipy.special import ndtri

    z, p = -ndtri(tail), x / n
    centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    return np.where(x == 0, 0.0, low), np.where(x == n, 1.0, high)


def _agresti_coull(x: Array, n: Array, tail: float) -> tuple[Array, Array]:
    from scipy.special import ndtri

    z = -ndtri(tail)
    n = n + z * z
    p = (x + z * z / 2) / n
    half = z * np.sqrt(p * (1 - p) / n)
    return np.maximum(p - half, 0.0), np.minimum(p + half, 1.0)


def _jeffreys(x: Array, n: Array, tail: float) -> tuple[Array, Array]:
    from scipy.special import betaincinv

    low = np.where(x > 0, betaincinv(x + 0.5, n - x + 0.5, tail), 0.0)
    high = np.where(x < n, betaincinv(x + 0.5, n - x + 0.5, 1 - tail), 1.0)
    return low, high


def _mid_p(x: Array, n: Array, tail: float) -> tuple[Array, Array]:
    """Return the proportions at which each mid-p tail has the probability `tail`."""
    from scipy.special import bdtr

    trials = n.astype(np.int64)

    def below(p: Array, k: Array) -> Array:
        """Return P(X < k) + P(X = k) / 2."""
        less = np.where(k > 0, bdtr(np.maximum(k - 1, 0), trials, p), 0.0)
        return np.asarray(0.5 * (less + bdtr(k, trials, p)))

    def solved(wanted: float) -> Array:
        low, high = np.zeros_like(x), np.ones_like(x)
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            above = below(middle, x) > wanted
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.asarray(0.5 * (low + high))

    return np.where(x == 0, 0.0, solved(1 - tail)), np.where(x == n, 1.0, solved(tail))


_METHODS: dict[Method, Callable[[Array, Array, float], tuple[Array, Array]]] = {
    "wilson": _wilson,
    "clopper-pearson": clopper_pearson,
    "mid-p": _mid_p,
    "jeffreys": _jeffreys,
    "agresti-coull": _agresti_coull,
}


@public
def proportion_interval(
    successes: ArrayLike, n: ArrayLike, *, method: Method = "wilson", prob: float = 0.95
) -> tuple[Any, Any]:
    """Return confidence intervals of proportions.

    Parameters
    ----------
    successes : array_like
        Whole numbers of successes.
    n : array_like
        Whole numbers of trials; both broadcast.
    method : str, default "wilson"
        ``"wilson"`` [1]_ is the score interval. ``"clopper-pearson"`` [2]_ has at least its nominal
        coverage for every proportion. ``"mid-p"`` counts half of the probability of the observed
        count. ``"jeffreys"`` and ``"agresti-coull"`` are in [3]_.
    prob : float, default 0.95
        The confidence, above 0 and below 1.

    Returns
    -------
    lower, upper : float or ndarray

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
       Journal of the American Statistical Association, 1927, doi:10.1080/01621459.1927.10502953.
    .. [2] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika, 1934, doi:10.1093/biomet/26.4.404.
    .. [3] L. D. Brown, T. T. Cai, A. DasGupta, "Interval estimation for a binomial proportion",
       Statistical Science, 2001, doi:10.1214/ss/1009213286.

    Examples
    --------
    >>> import fermiac as fm
    >>> low, high = fm.evaluate.proportion_interval(81, 100)
    >>> round(low, 6), round(high, 6)
    (0.722212, 0.874852)
    """
    chosen = choice("method", method, tuple(_METHODS))
    level = probability("prob", prob)
    x, trials = numbers("successes", successes), numbers("n", n)
    whole = "whole numbers from 0 to 2**53 are needed"
    require("successes", x, (x >= 0) & (x <= 2**53) & (x == np.floor(x)), whole)
    whole = "whole numbers from 1 to 2**53 are needed"
    require("n", trials, (trials >= 1) & (trials <= 2**53) & (trials == np.floor(trials)), whole)
    try:
        x, trials = np.broadcast_arrays(x, trials)
    except ValueError as error:
        raise ArgumentError(
            f"successes: the shapes {x.shape} and {trials.shape} of n do not broadcast"
        ) from error
    require("successes", x, x <= trials, "numbers of at most n are needed")
    low, high = _METHODS[chosen](x, trials, round((1 - level) / 2, 15))
    return unwrapped(np.asarray(low)), unwrapped(np.asarray(high))
