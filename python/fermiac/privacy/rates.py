"""Epsilon, delta and the advantage at the error rates of an attack."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import get_num_threads
from fermiac._base.validate import choice, columns, shown, unwrapped
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import Array, at_least_zero, fraction, single

__all__ = ["DIRECTIONS", "advantage_bound", "delta_of_rates", "epsilon_of_rates", "privacy_region"]

Direction: TypeAlias = Literal["both", "attack", "forward", "reverse"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)


@public
def epsilon_of_rates(
    fnr: ArrayLike,
    fpr: ArrayLike,
    *,
    delta: ArrayLike = 0.0,
    direction: Direction = "both",
) -> Any:
    r"""Return the least epsilon at which differential privacy allows these error rates.

    If :math:`x` and :math:`y` are the false-negative and the false-positive rate, it is

    .. math:: \max\Bigl\{0, \ln\frac{1-\delta-y}{x}, \ln\frac{1-\delta-x}{y},
       \ln\frac{y-\delta}{1-x}, \ln\frac{x-\delta}{1-y}\Bigr\},

    where the logarithm of a number that is not positive counts as :math:`-\infty`.

    Parameters
    ----------
    fnr, fpr : array_like
        False-negative and false-positive rates of an attack, in [0, 1].
    delta : array_like, default 0
        In [0, 1).
    direction : {"both", "attack", "forward", "reverse"}, default "both"
        The attack and the same attack with its answers flipped (all four ratios); the attack alone
        (the first two); true positives over false positives (the second); true negatives over
        false negatives (the first).

    Returns
    -------
    float or ndarray
        Epsilon, with the broadcast shape of the arguments; +inf if an error rate is 0 and delta
        does not account for it.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    References
    ----------
    .. [1] P. Kairouz, S. Oh, P. Viswanath, "The composition theorem for differential privacy",
       ICML, 2015, arXiv:1311.0776.
    .. [2] S. Zanella-Béguelin et al., "Bayesian estimation of differential privacy", ICML, 2023,
       arXiv:2206.05199.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.privacy.epsilon_of_rates(0.2, 0.1), 6)
    2.079442
    >>> fm.privacy.epsilon_of_rates([0.5, 0.0], 0.5)
    array([ 0., inf])
    """
    return _apply(
        "epsilon",
        choice("direction", direction, DIRECTIONS),
        fnr=fraction("fnr", fnr, zero=True, one=True),
        fpr=fraction("fpr", fpr, zero=True, one=True),
        delta=fraction("delta", delta, zero=True),
    )


@public
def delta_of_rates(
    fnr: ArrayLike,
    fpr: ArrayLike,
    *,
    epsilon: ArrayLike,
    direction: Direction = "both",
) -> Any:
    r"""Return the least delta at which differential privacy allows these error rates.

    If :math:`x` and :math:`y` are the false-negative and the false-positive rate, it is

    .. math:: \max\{0, 1-y-e^\varepsilon x, 1-x-e^\varepsilon y,
       y-e^\varepsilon(1-x), x-e^\varepsilon(1-y)\}.

    Parameters
    ----------
    fnr, fpr : array_like
        False-negative and false-positive rates of an attack, in [0, 1].
    epsilon : array_like
        At least 0. At +inf the result is positive only if an error rate is 0 or 1.
    direction : {"both", "attack", "forward", "reverse"}, default "both"
        The terms that are included; see `epsilon_of_rates`.

    Returns
    -------
    float or ndarray
        Of the shape that the arguments broadcast to.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    References
    ----------
    .. [1] P. Kairouz, S. Oh, P. Viswanath, "The composition theorem for differential privacy",
       ICML, 2015, arXiv:1311.0776.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.privacy.delta_of_rates(0.2, 0.1, epsilon=1.0), 6)
    0.528172
    """
    return _apply(
        "delta",
        choice("direction", direction, DIRECTIONS),
        fnr=fraction("fnr", fnr, zero=True, one=True),
        fpr=fraction("fpr", fpr, zero=True, one=True),
        epsilon=at_least_zero("epsilon", epsilon),
    )


@public
def advantage_bound(epsilon: ArrayLike, *, delta: ArrayLike = 0.0) -> Any:
    r"""Return the largest advantage, TPR - FPR, of an attack on a differentially private mechanism.

    It is :math:`(e^\varepsilon - 1 + 2\delta) / (e^\varepsilon + 1)`. For equally likely members
    and non-members the largest accuracy is (1 + advantage) / 2.

    Parameters
    ----------
    epsilon : array_like
        At least 0.
    delta : array_like, default 0
        In [0, 1).

    Returns
    -------
    float or ndarray
        Of the shape that the arguments broadcast to.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    References
    ----------
    .. [1] P. Kairouz, S. Oh, P. Viswanath, "The composition theorem for differential privacy",
       ICML, 2015, arXiv:1311.0776.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> round(fm.privacy.advantage_bound(np.log(3.0)), 12)
    0.5
    """
    return _apply(
        "advantage",
        "both",
        epsilon=at_least_zero("epsilon", epsilon),
        delta=fraction("delta", delta, zero=True),
    )


def _apply(name: str, direction: str, **arrays: Array) -> Any:
    flat, shape, n = columns(name, **arrays)
    threads = get_num_threads()
    return unwrapped(_core.privacy_rates(name, direction, flat, n, threads).reshape(shape))


@public
def privacy_region(epsilon: float, *, delta: float = 0.0) -> Array:
    """Return the corners of the region of error rates that differential privacy allows.

    Parameters
    ----------
    epsilon : float
        At least 0.
    delta : float, default 0
        In [0, 1).

    Returns
    -------
    ndarray, shape (8, 2)
        Points (false-positive rate, false-negative rate) around the region, starting on the axis of
        the first rate; corners coincide if delta is 0. The rates of every attack on a mechanism
        with (epsilon, delta)-differential privacy lie inside.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] P. Kairouz, S. Oh, P. Viswanath, "The composition theorem for differential privacy",
       ICML, 2015, arXiv:1311.0776.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> fm.privacy.privacy_region(np.log(3.0))[:3].round(6)
    array([[1.  , 0.  ],
           [0.25, 0.25],
           [0.  , 1.  ]])
    """
    given = at_least_zero("epsilon", epsilon)
    if given.ndim:
        raise ArgumentError(f"epsilon: {shown(epsilon)} was given; one number is needed")
    # For a larger epsilon the corner is 0 to the last digit.
    e = np.exp(min(float(given), 709.0))
    c = 1.0 - single("delta", delta, zero=True)
    corner = c / (1.0 + e)
    lower = np.array([[c, 0.0], [corner, corner], [0.0, c]])
    return np.concatenate([lower, [[0.0, 1.0]], 1.0 - lower, [[1.0, 0.0]]])
