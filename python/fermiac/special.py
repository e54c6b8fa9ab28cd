"""Special functions of arrays, accurate in both tails, with the same bits on every machine.

The names are those of SciPy; SciPy has no ``log_`` forms of the incomplete functions. Arguments
broadcast. Numbers return a number and arrays an array, always in double precision: float32 is
converted first. Values that are not numbers, masked values and shapes that do not broadcast raise
an `ArgumentError`. Outside its domain a function returns NaN, as in SciPy: for probabilities
outside [0, 1], for arguments of incomplete functions below their range, and for parameters that are
not positive and finite.

Relative errors: 1.5 units in the last place for `exp`, `log`, `erf`, `erfc`, `ndtr` and `ndtri`;
about 1e-15 for `digamma` and the logarithms of gamma and beta functions (absolute errors near
zeros of a logarithm and below zero); about 1e-14 for the smaller tail of the incomplete functions,
plus a few roundings times the condition number x f(x) / tail, where f is the density. The larger
tail is accurate to the last place, so the two tails sum to 1. The incomplete beta function follows
Algorithm 708 [1]_.

References
----------
.. [1] A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
   incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992),
   doi:10.1145/131766.131776.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base import config
from fermiac._base.validate import columns, real_numbers

F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "betainc",
    "betaincc",
    "betainccinv",
    "betaincinv",
    "betaln",
    "digamma",
    "erf",
    "erfc",
    "exp",
    "gammainc",
    "gammaincc",
    "gammainccinv",
    "gammaincinv",
    "gammaln",
    "log",
    "log_betainc",
    "log_betaincc",
    "log_gammainc",
    "log_gammaincc",
    "log_ndtr",
    "ndtr",
    "ndtri",
]


def apply(name: str, **arguments: ArrayLike) -> Any:
    """Return the function of the broadcast arguments, in their shape."""
    threads = config.get_num_threads()
    arrays = {key: real_numbers(key, given, copy=None) for key, given in arguments.items()}
    flat, shape, size = columns(name, **arrays)
    return _core.special(name, flat, size, threads).reshape(shape)[()]


#: What the parameters have to be.
_DOMAINS = {
    "a": "Above 0.",
    "b": "Above 0.",
    "x": "",
    "p": "Probability, in [0, 1].",
    "q": "Probability, in [0, 1].",
}
_SHARED = """
    Returns
    -------
    float or ndarray
        An array of the broadcast shape.

    Examples
    --------
    >>> import fermiac as fm
"""


def _complete(function: F) -> F:
    """Add to a docstring, of a summary and an example, the sections that all functions share."""
    summary, _, example = (function.__doc__ or "").partition("\n\n")
    names = [name for name in function.__annotations__ if name != "return"]
    parameters = "".join(
        f"    {name} : array_like\n" + f"        {_DOMAINS[name]}\n" * bool(_DOMAINS[name])
        for name in names
    )
    function.__doc__ = (
        f"{summary}\n\n    Parameters\n    ----------\n{parameters}{_SHARED}{example}"
    )
    return function


@_complete
def exp(x: ArrayLike) -> Any:
    """Return the exponential function.

    >>> fm.special.exp(0.0)
    np.float64(1.0)
    """
    return apply("exp", x=x)


@_complete
def log(x: ArrayLike) -> Any:
    """Return the natural logarithm, -inf at 0 and NaN below.

    >>> fm.special.log(1.0)
    np.float64(0.0)
    """
    return apply("log", x=x)


@_complete
def erf(x: ArrayLike) -> Any:
    """Return the error function, 2/√π times the integral of exp(-t²) from 0 to x.

    >>> import numpy as np
    >>> fm.special.erf([0.0, np.inf])
    array([0., 1.])
    """
    return apply("erf", x=x)


@_complete
def erfc(x: ArrayLike) -> Any:
    """Return the complement of the error function, 1 - erf(x), without cancellation.

    >>> import numpy as np
    >>> fm.special.erfc([0.0, np.inf])
    array([1., 0.])
    """
    return apply("erfc", x=x)


@_complete
def ndtr(x: ArrayLike) -> Any:
    """Return the distribution function of the standard normal law.

    >>> import numpy as np
    >>> fm.special.ndtr([-np.inf, 0.0])
    array([0. , 0.5])
    """
    return apply("ndtr", x=x)


@_complete
def ndtri(p: ArrayLike) -> Any:
    """Return the quantile of the standard normal law, -inf at 0 and inf at 1.

    >>> fm.special.ndtri(0.5)
    np.float64(0.0)
    """
    return apply("ndtri", p=p)


@_complete
def log_ndtr(x: ArrayLike) -> Any:
    """Return the logarithm of `ndtr`, finite arbitrarily far in the tail.

    >>> fm.special.log_ndtr(-100.0)
    np.float64(-5005.52420869...)
    """
    return apply("log_ndtr", x=x)


@_complete
def gammaln(x: ArrayLike) -> Any:
    """Return the logarithm of the absolute value of the gamma function.

    >>> fm.special.gammaln([1.0, 4.0])
    array([0.        , 1.79175947])
    """
    return apply("gammaln", x=x)


@_complete
def digamma(x: ArrayLike) -> Any:
    """Return the derivative of the logarithm of the gamma function.

    >>> fm.special.digamma(1.0)
    np.float64(-0.57721566490153...)
    """
    return apply("digamma", x=x)


@_complete
def betaln(a: ArrayLike, b: ArrayLike) -> Any:
    """Return the logarithm of the beta function B(a, b), for parameters above 0.

    >>> fm.special.betaln(2.0, 3.0)
    np.float64(-2.4849066497880...)
    """
    return apply("betaln", a=a, b=b)


@_complete
def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Any:
    """Return the regularised incomplete beta function I_x(a, b): the probability below x.

    >>> fm.special.betainc(2.0, 3.0, [0.0, 1.0])
    array([0., 1.])
    """
    return apply("betainc", a=a, b=b, x=x)


@_complete
def betaincc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Any:
    """Return the complement of `betainc`: the probability above x, without cancellation.

    >>> fm.special.betaincc(2.0, 3.0, [0.0, 1.0])
    array([1., 0.])
    """
    return apply("betaincc", a=a, b=b, x=x)


@_complete
def betaincinv(a: ArrayLike, b: ArrayLike, p: ArrayLike) -> Any:
    """Return the point x with probability p below it: the inverse of `betainc` in x.

    >>> fm.special.betaincinv(2.0, 3.0, [0.0, 1.0])
    array([0., 1.])
    """
    return apply("betaincinv", a=a, b=b, p=p)


@_complete
def betainccinv(a: ArrayLike, b: ArrayLike, q: ArrayLike) -> Any:
    """Return the point x with probability q above it: the inverse of `betaincc` in x.

    >>> fm.special.betainccinv(2.0, 3.0, [0.0, 1.0])
    array([1., 0.])
    """
    return apply("betainccinv", a=a, b=b, q=q)


@_complete
def log_betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Any:
    """Return the logarithm of `betainc`, finite where that underflows.

    >>> fm.special.log_betainc(1e4, 1e4, 0.1)
    np.float64(-10222.16005469...)
    """
    return apply("log_betainc", a=a, b=b, x=x)


@_complete
def log_betaincc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Any:
    """Return the logarithm of `betaincc`, finite where that underflows.

    >>> fm.special.log_betaincc(1.0, 1e4, 0.5)
    np.float64(-6931.47180559...)
    """
    return apply("log_betaincc", a=a, b=b, x=x)


@_complete
def gammainc(a: ArrayLike, x: ArrayLike) -> Any:
    """Return the regularised lower incomplete gamma function P(a, x): the probability below x.

    >>> fm.special.gammainc(1.0, 0.0)
    np.float64(0.0)
    """
    return apply("gammainc", a=a, x=x)


@_complete
def gammaincc(a: ArrayLike, x: ArrayLike) -> Any:
    """Return the regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x).

    >>> fm.special.gammaincc(1.0, 0.0)
    np.float64(1.0)
    """
    return apply("gammaincc", a=a, x=x)


@_complete
def gammaincinv(a: ArrayLike, p: ArrayLike) -> Any:
    """Return the point x with probability p below it: the inverse of `gammainc` in x.

    >>> fm.special.gammaincinv(1.0, [0.0, 1.0])
    array([ 0., inf])
    """
    return apply("gammaincinv", a=a, p=p)


@_complete
def gammainccinv(a: ArrayLike, q: ArrayLike) -> Any:
    """Return the point x with probability q above it: the inverse of `gammaincc` in x.

    >>> fm.special.gammainccinv(1.0, [0.0, 1.0])
    array([inf,  0.])
    """
    return apply("gammainccinv", a=a, q=q)


@_complete
def log_gammainc(a: ArrayLike, x: ArrayLike) -> Any:
    """Return the logarithm of `gammainc`, finite where that underflows.

    >>> fm.special.log_gammainc(1e4, 10.0)
    np.float64(-59093.07590647...)
    """
    return apply("log_gammainc", a=a, x=x)


@_complete
def log_gammaincc(a: ArrayLike, x: ArrayLike) -> Any:
    """Return the logarithm of `gammaincc`, finite where that underflows.

    >>> fm.special.log_gammaincc(1.0, 1e4)
    np.float64(-10000.0)
    """
    return apply("log_gammaincc", a=a, x=x)


def __dir__() -> list[str]:
    return sorted(__all__)
