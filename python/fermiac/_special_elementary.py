"""Special functions of one argument, and the logarithm of the beta function."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fermiac._special_apply import apply


def exp(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The exponential function.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.special.exp(0.0)
    np.float64(1.0)
    """
    return apply("exp", n_threads, x=x)


def log(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The natural logarithm: -inf at 0, NaN below.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.special.log(1.0)
    np.float64(0.0)
    """
    return apply("log", n_threads, x=x)


def erf(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The error function, 2/√π times the integral of exp(-t²) from 0 to x.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> fm.special.erf([0.0, np.inf])
    array([0., 1.])
    """
    return apply("erf", n_threads, x=x)


def erfc(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The complement of the error function, 1 - erf(x), without cancellation.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> fm.special.erfc([0.0, np.inf])
    array([1., 0.])
    """
    return apply("erfc", n_threads, x=x)


def ndtr(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The distribution function of the standard normal law.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> fm.special.ndtr([-np.inf, 0.0])
    array([0. , 0.5])
    """
    return apply("ndtr", n_threads, x=x)


def ndtri(p: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The quantile of the standard normal law: -inf at 0, inf at 1.

    Parameters
    ----------
    p : array_like
        Probability, in [0, 1].
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.special.ndtri(0.5)
    np.float64(0.0)
    """
    return apply("ndtri", n_threads, p=p)


def log_ndtr(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The logarithm of `ndtr`, finite however far down the tail.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.special.log_ndtr(-100.0)
    np.float64(-5005.52420869...)
    """
    return apply("log_ndtr", n_threads, x=x)


def gammaln(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The logarithm of the absolute value of the gamma function.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.special.gammaln([1.0, 4.0])
    array([0.        , 1.79175947])
    """
    return apply("gammaln", n_threads, x=x)


def digamma(x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The derivative of the logarithm of the gamma function.

    Parameters
    ----------
    x : array_like
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.special.digamma(1.0)
    np.float64(-0.57721566490153...)
    """
    return apply("digamma", n_threads, x=x)


def betaln(a: ArrayLike, b: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The logarithm of the beta function B(a, b), for parameters above 0.

    Parameters
    ----------
    a : array_like
        Above 0.
    b : array_like
        Above 0.
    n_threads : int, optional
        Threads for long arrays; as set by `fermiac.set_num_threads` by default.

    Returns
    -------
    float or ndarray
        Of the broadcast shape.

    Raises
    ------
    ArgumentError
        If an argument is not numbers, or the shapes do not broadcast.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.special.betaln(2.0, 3.0)
    np.float64(-2.4849066497880...)
    """
    return apply("betaln", n_threads, a=a, b=b)
