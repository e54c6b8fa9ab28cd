"""The incomplete beta and gamma functions, their logarithms and inverses."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fermiac._special_apply import apply


def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The regularised incomplete beta function I_x(a, b): the probability below x.

    Parameters
    ----------
    a : array_like
        Above 0.
    b : array_like
        Above 0.
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
    >>> fm.special.betainc(2.0, 3.0, [0.0, 1.0])
    array([0., 1.])

    References
    ----------
    A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
    incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992).
    """
    return apply("betainc", n_threads, a=a, b=b, x=x)


def betaincc(a: ArrayLike, b: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The complement of `betainc`: the probability above x, without cancellation.

    Parameters
    ----------
    a : array_like
        Above 0.
    b : array_like
        Above 0.
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
    >>> fm.special.betaincc(2.0, 3.0, [0.0, 1.0])
    array([1., 0.])

    References
    ----------
    A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
    incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992).
    """
    return apply("betaincc", n_threads, a=a, b=b, x=x)


def betaincinv(a: ArrayLike, b: ArrayLike, p: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The point x with probability p below it: the inverse of `betainc` in x.

    Parameters
    ----------
    a : array_like
        Above 0.
    b : array_like
        Above 0.
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
    >>> fm.special.betaincinv(2.0, 3.0, [0.0, 1.0])
    array([0., 1.])

    References
    ----------
    A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
    incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992).
    """
    return apply("betaincinv", n_threads, a=a, b=b, p=p)


def betainccinv(a: ArrayLike, b: ArrayLike, q: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The point x with probability q above it: the inverse of `betaincc` in x.

    Parameters
    ----------
    a : array_like
        Above 0.
    b : array_like
        Above 0.
    q : array_like
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
    >>> fm.special.betainccinv(2.0, 3.0, [0.0, 1.0])
    array([1., 0.])

    References
    ----------
    A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
    incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992).
    """
    return apply("betainccinv", n_threads, a=a, b=b, q=q)


def log_betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The logarithm of `betainc`, finite where that underflows.

    Parameters
    ----------
    a : array_like
        Above 0.
    b : array_like
        Above 0.
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
    >>> fm.special.log_betainc(1e4, 1e4, 0.1)
    np.float64(-10222.16005469...)

    References
    ----------
    A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
    incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992).
    """
    return apply("log_betainc", n_threads, a=a, b=b, x=x)


def log_betaincc(a: ArrayLike, b: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The logarithm of `betaincc`, finite where that underflows.

    Parameters
    ----------
    a : array_like
        Above 0.
    b : array_like
        Above 0.
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
    >>> fm.special.log_betaincc(1.0, 1e4, 0.5)
    np.float64(-6931.47180559...)

    References
    ----------
    A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
    incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992).
    """
    return apply("log_betaincc", n_threads, a=a, b=b, x=x)


def gammainc(a: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The regularised lower incomplete gamma function P(a, x): the probability below x.

    Parameters
    ----------
    a : array_like
        Above 0.
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
    >>> fm.special.gammainc(1.0, 0.0)
    np.float64(0.0)
    """
    return apply("gammainc", n_threads, a=a, x=x)


def gammaincc(a: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x).

    Parameters
    ----------
    a : array_like
        Above 0.
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
    >>> fm.special.gammaincc(1.0, 0.0)
    np.float64(1.0)
    """
    return apply("gammaincc", n_threads, a=a, x=x)


def gammaincinv(a: ArrayLike, p: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The point x with probability p below it: the inverse of `gammainc` in x.

    Parameters
    ----------
    a : array_like
        Above 0.
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
    >>> fm.special.gammaincinv(1.0, [0.0, 1.0])
    array([ 0., inf])
    """
    return apply("gammaincinv", n_threads, a=a, p=p)


def gammainccinv(a: ArrayLike, q: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The point x with probability q above it: the inverse of `gammaincc` in x.

    Parameters
    ----------
    a : array_like
        Above 0.
    q : array_like
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
    >>> fm.special.gammainccinv(1.0, [0.0, 1.0])
    array([inf,  0.])
    """
    return apply("gammainccinv", n_threads, a=a, q=q)


def log_gammainc(a: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The logarithm of `gammainc`, finite where that underflows.

    Parameters
    ----------
    a : array_like
        Above 0.
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
    >>> fm.special.log_gammainc(1e4, 10.0)
    np.float64(-59093.07590647...)
    """
    return apply("log_gammainc", n_threads, a=a, x=x)


def log_gammaincc(a: ArrayLike, x: ArrayLike, *, n_threads: int | None = None) -> Any:
    """The logarithm of `gammaincc`, finite where that underflows.

    Parameters
    ----------
    a : array_like
        Above 0.
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
    >>> fm.special.log_gammaincc(1.0, 1e4)
    np.float64(-10000.0)
    """
    return apply("log_gammaincc", n_threads, a=a, x=x)
