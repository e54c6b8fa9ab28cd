"""Conversions between Gaussian and approximate differential privacy."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import get_num_threads
from fermiac._base.validate import columns, unwrapped
from fermiac.privacy.checks import at_least_zero, fraction

__all__ = ["gdp_delta", "gdp_epsilon", "gdp_mu"]


@public
def gdp_delta(epsilon: ArrayLike, *, mu: ArrayLike) -> Any:
    r"""Return the delta at which mu-GDP is (epsilon, delta)-differential privacy.

    A mechanism is :math:`\mu`-GDP if its outputs on neighbouring data are at least as hard to
    distinguish as N(0, 1) and N(:math:`\mu`, 1) [1]_. It is then (epsilon, delta)-differentially
    private if and only if

    .. math:: \delta \ge \Phi(\mu/2 - \varepsilon/\mu)
              - e^\varepsilon \Phi(-\mu/2 - \varepsilon/\mu).

    Parameters
    ----------
    epsilon : array_like
        Nonnegative, of any size.
    mu : array_like
        Nonnegative, of any size; the two arguments broadcast.

    Returns
    -------
    float or numpy.ndarray
        Delta, with the broadcast shape, accurate to a few units in the last place at any size.

    Raises
    ------
    ArgumentError
        If an argument is negative, NaN or not a number, or the shapes do not broadcast.

    References
    ----------
    .. [1] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> f"{fm.privacy.gdp_delta(4.377178095670, mu=1.0):.6e}"
    '1.000000e-05'
    """
    x = at_least_zero("epsilon", epsilon)
    y = at_least_zero("mu", mu)
    return _convert("delta", epsilon=x, mu=y)


@public
def gdp_epsilon(delta: ArrayLike, *, mu: ArrayLike) -> Any:
    """Return the epsilon at which mu-GDP is (epsilon, delta)-differential privacy.

    Parameters
    ----------
    delta : array_like
        From 0 to 1.
    mu : array_like
        Nonnegative; the two arguments broadcast.

    Returns
    -------
    float or numpy.ndarray
        The inverse of `gdp_delta`: 0 if `delta` is at least ``gdp_delta(0, mu=mu)``, infinite if
        `delta` is 0 and `mu` is not.

    Raises
    ------
    ArgumentError
        If an argument is out of range, NaN or not a number, or the shapes do not broadcast.

    References
    ----------
    .. [1] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.gdp_epsilon(1e-5, mu=[0.5, 1.0, 2.0]).round(10).tolist()
    [1.9930914044, 4.3771780957, 9.9972561464]
    """
    x = fraction("delta", delta, zero=True, one=True)
    y = at_least_zero("mu", mu)
    return _convert("epsilon", delta=x, mu=y)


@public
def gdp_mu(epsilon: ArrayLike, *, delta: ArrayLike) -> Any:
    """Return the mu at which mu-GDP is (epsilon, delta)-differential privacy.

    Parameters
    ----------
    epsilon : array_like
        Nonnegative.
    delta : array_like
        From 0 to 1; the two arguments broadcast.

    Returns
    -------
    float or numpy.ndarray
        The largest mu whose `gdp_delta` at `epsilon` is `delta`: 0 for `delta` = 0, infinite for
        `delta` = 1.

    Raises
    ------
    ArgumentError
        If an argument is out of range, NaN or not a number, or the shapes do not broadcast.

    References
    ----------
    .. [1] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.privacy.gdp_mu(4.377178095670, delta=1e-5), 10)
    1.0
    """
    x = at_least_zero("epsilon", epsilon)
    y = fraction("delta", delta, zero=True, one=True)
    return _convert("mu", epsilon=x, delta=y)


def _convert(name: str, **arrays: Any) -> Any:
    threads = get_num_threads()
    flat, shape, n = columns(f"gdp_{name}", **arrays)
    return unwrapped(_core.privacy_gaussian(name, flat, n, threads).reshape(shape))
