"""Laws of counts: their points are whole numbers, their densities are probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import real_numbers
from fermiac.distributions.law import Array, BuiltInLaw, Measure, points, unit_points
from fermiac.distributions.univariate import parameters_of
from fermiac.errors import ArgumentError


class DiscreteLaw(BuiltInLaw):
    """A law of counts, or independent counts of one kind.

    ``log_density`` is the logarithm of the probability, and -inf if a coordinate is not a whole
    number. ``from_unit`` maps a uniform number u to the least count whose distribution function is
    at least u. Such a law can be a prior of nested sampling and a law of plain Monte Carlo. Methods
    that need a density refuse it.
    """

    _mean: ClassVar[Callable[..., Array]]
    _variance: ClassVar[Callable[..., Array]]

    def _setup(self, *values: ArrayLike) -> None:
        law = type(self).__name__
        names = _core.COUNT_LAWS[law]
        arrays, shape = parameters_of(law, names, values)
        rows = np.stack([np.atleast_1d(a) for a in arrays], axis=1).tolist()
        parameters = dict(zip(names, (a if shape else float(a) for a in arrays), strict=True))
        self._freeze(len(rows), _core.Law.counts([(law, row) for row in rows]), **parameters)

    def _measure(self) -> Measure:
        return "counting"

    def _support(self) -> list[tuple[float, float]]:
        assert self._handle is not None
        ends = self._handle.from_unit(np.repeat([[0.0], [1.0]], self.dim, axis=1))
        return [(float(low), float(high)) for low, high in ends.T]

    def _moment(self, of: Callable[..., Array]) -> float | Array:
        values = {name: np.atleast_1d(np.asarray(x)) for name, x in self._values.items()}
        moment = np.broadcast_to(of(**values), (self.dim,))
        is_array = any(isinstance(x, np.ndarray) for x in self._values.values())
        return moment.copy() if is_array else float(moment[0])

    @property
    def mean(self) -> float | Array:
        """The mean."""
        return self._moment(type(self)._mean)

    @property
    def variance(self) -> float | Array:
        """The variance."""
        return self._moment(type(self)._variance)

    def cdf(self, x: ArrayLike) -> Array:
        """Return P(X <= x), elementwise.

        Parameters
        ----------
        x : array_like
            Of any shape.

        Returns
        -------
        ndarray
            Of the shape of ``x``.

        Raises
        ------
        ArgumentError
            If the law has more than one coordinate.
        """
        if self.dim != 1:
            raise ArgumentError(
                f"cdf is of one coordinate; this {type(self).__name__} has {self.dim}: make the "
                "law of one coordinate"
            )
        array = real_numbers("x", x)
        assert self._handle is not None
        return self._handle.cdf(array.reshape(-1, 1)).reshape(array.shape)[()]

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube to counts, by the quantiles of the coordinates.

        Parameters
        ----------
        u : array_like of shape (n, d)
            Numbers in [0, 1]; 0 and 1 map to the least and the largest count.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If the shape is another, or a number is not in [0, 1].
        """
        rows, shape = points(unit_points("u", u), self.dim)
        assert self._handle is not None
        return self._handle.from_unit(rows).reshape((*shape, self.dim))

    def logpmf(self, x: ArrayLike) -> Array:
        """Return log-probabilities: `log_density` under the name that scipy.stats uses.

        Parameters
        ----------
        x : array_like of shape (..., d)

        Returns
        -------
        ndarray of shape (...)
        """
        return self.log_density(x)

    def pmf(self, x: ArrayLike) -> Array:
        """Return probabilities, exp(`log_density`), under the name that scipy.stats uses.

        Parameters
        ----------
        x : array_like of shape (..., d)

        Returns
        -------
        ndarray of shape (...)
        """
        return self.pdf(x)


class Poisson(DiscreteLaw):
    """The Poisson law.

    Parameters
    ----------
    rate : float or array_like of shape (d,)
        The mean, above 0.

    Raises
    ------
    ArgumentError
        If it is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Poisson(3.0).ppf(0.5)
    np.float64(3.0)
    """

    def __init__(self, rate: ArrayLike) -> None:
        self._setup(rate)

    _mean = staticmethod(lambda rate: rate)
    _variance = staticmethod(lambda rate: rate)


class Binomial(DiscreteLaw):
    """The binomial law: the number of successes in n independent trials.

    Parameters
    ----------
    n : int or array_like of shape (d,)
        Trials, from 0 to 2**53.
    p : float or array_like of shape (d,)
        Probability of a success, from 0 to 1.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Binomial(2, 0.5).pmf([0.0, 1.0, 2.0, 0.5])
    array([0.25, 0.5 , 0.25, 0.  ])
    """

    def __init__(self, n: ArrayLike, p: ArrayLike) -> None:
        self._setup(n, p)

    _mean = staticmethod(lambda n, p: n * p)
    _variance = staticmethod(lambda n, p: n * p * (1.0 - p))


class NegativeBinomial(DiscreteLaw):
    """The negative binomial law: the number of failures before the n-th success.

    Parameters
    ----------
    n : float or array_like of shape (d,)
        Number of successes, above 0; it may be fractional.
    p : float or array_like of shape (d,)
        Probability of a success, above 0 and up to 1.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.NegativeBinomial(2.0, 0.25).mean
    6.0
    """

    def __init__(self, n: ArrayLike, p: ArrayLike) -> None:
        self._setup(n, p)

    _mean = staticmethod(lambda n, p: n * (1.0 - p) / p)
    _variance = staticmethod(lambda n, p: n * (1.0 - p) / p**2)


class Categorical(DiscreteLaw):
    """The law of one of the numbers 0 to k - 1.

    Parameters
    ----------
    p : array_like of shape (k,)
        The probabilities: nonnegative numbers with a positive sum, by which they are divided.

    Raises
    ------
    ArgumentError
        If the probabilities are invalid.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Categorical([1.0, 2.0, 1.0]).cdf([0.0, 1.0, 2.0])
    array([0.25, 0.75, 1.  ])
    """

    def __init__(self, p: ArrayLike) -> None:
        shares = real_numbers("p", p)
        if shares.ndim != 1:
            raise ArgumentError(
                f"p: an array of shape {shares.shape} was given; one probability for each of the "
                "numbers, shape (k,), is needed"
            )
        handle = _core.Law.counts([("Categorical", shares.tolist())])
        self._freeze(1, handle, p=shares)

    @property
    def mean(self) -> float:
        """The mean."""
        return self._average(lambda k: k)

    @property
    def variance(self) -> float:
        """The variance."""
        mean = self.mean
        return self._average(lambda k: (k - mean) ** 2)

    def _average(self, of: Callable[[Array], Array]) -> float:
        p: Array = self._values["p"]
        return float(p / p.sum() @ of(np.arange(p.size, dtype=np.float64)))
