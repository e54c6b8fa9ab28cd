"""Univariate laws; arrays of parameters give the laws of independent coordinates."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.calls import public_class
from fermiac._base.validate import real_numbers
from fermiac.distributions.law import Array, BuiltInLaw, points, unit_points
from fermiac.distributions.rows import RowLaws
from fermiac.errors import ArgumentError
from fermiac.special import gammaln

#: Name and parameters of a law of one coordinate, and the interval that it is restricted to.
Marginal: TypeAlias = "tuple[str, list[float], tuple[float, float] | None]"


class UnivariateLaw(BuiltInLaw):
    """A univariate law, or independent coordinates of one kind.

    A subclass has the name and the parameters of a law of the core (`_core.UNIVARIATE_LAWS`), and
    defines ``_mean`` and ``_variance`` as functions of these parameters.
    """

    _marginals: list[Marginal]
    _mean: ClassVar[Callable[..., Array]]
    _variance: ClassVar[Callable[..., Array]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        public_class(cls)

    def _setup(self, *values: ArrayLike) -> None:
        law = type(self).__name__
        names = _core.UNIVARIATE_LAWS[law]
        arrays, shape = parameters_of(law, names, values)
        columns = np.stack([np.atleast_1d(a) for a in arrays], axis=1)
        marginals: list[Marginal] = [(law, row, None) for row in columns.tolist()]
        object.__setattr__(self, "_marginals", marginals)
        parameters = dict(zip(names, (a if shape else float(a) for a in arrays), strict=True))
        self._freeze(len(marginals), _core.Law.independent(marginals), **parameters)

    @property
    def _shape(self) -> tuple[int, ...]:
        """The shape of the parameters: () for numbers."""
        return next((x.shape for x in self._values.values() if isinstance(x, np.ndarray)), ())

    @classmethod
    def rows(cls, *args: ArrayLike, **kwargs: ArrayLike) -> RowLaws:
        """Return a law for each row of a batch, for functions of a `Joint`.

        Parameters
        ----------
        *args, **kwargs : array_like The parameters of the class, by position or by name: arrays
        that
            broadcast to (n, ...), one law for each of n rows and for each coordinate of a row.

        Returns
        -------
        RowLaws
            The laws, for the return value of a function of a `Joint`.

        Raises
        ------
        ArgumentError
            If the parameters do not broadcast, or are not those of the law. Values outside their
            domain raise it where the laws are used.

        Examples
        --------
        >>> import numpy as np
        >>> import fermiac as fm
        >>> mu, tau = np.zeros(5), np.ones(5)
        >>> fm.distributions.Normal.rows(mu[:, None] + [0.0, 1.0, 2.0], tau[:, None])
        Normal.rows(mean (5, 3), sd (5, 1))
        """
        names = _core.UNIVARIATE_LAWS.get(cls.__name__)
        if names is None:
            raise ArgumentError(
                f"{cls.__name__}.rows: there is no {cls.__name__} law for each row; the laws that "
                f"have one are {', '.join(sorted(_core.UNIVARIATE_LAWS))}"
            )
        try:
            given = inspect.signature(cls).bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(
                f"{cls.__name__}.rows: {error}; the parameters are {', '.join(names)}"
            ) from None
        given.apply_defaults()
        return RowLaws(cls.__name__, dict(given.arguments))

    def _moment(self, of: Callable[..., Array]) -> float | Array:
        """Return a function of the parameters, in their shape."""
        values = self._values.items()
        moment = of(**{name: np.atleast_1d(np.asarray(x, np.float64)) for name, x in values})
        return np.broadcast_to(moment, (self.dim,)).copy() if self._shape else float(moment[0])

    @property
    def mean(self) -> float | Array:
        """The mean; NaN where it does not exist."""
        return self._moment(type(self)._mean)

    @property
    def variance(self) -> float | Array:
        """The variance; infinite or NaN where it does not exist."""
        return self._moment(type(self)._variance)

    def _cdf_rows(self, x: Array) -> Array:
        assert self._handle is not None
        return self._handle.cdf(x)

    def _ppf_rows(self, u: Array) -> Array:
        assert self._handle is not None
        return self._handle.from_unit(u)

    def _check_univariate(self, what: str) -> None:
        if self.dim != 1:
            raise ArgumentError(
                f"{what} is of one coordinate; this {type(self).__name__} has {self.dim}: make the "
                "law of one coordinate, or use from_unit(u)"
            )

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
        self._check_univariate("cdf")
        rows, _ = points(np.ravel(real_numbers("x", x)), 1)
        return self._cdf_rows(rows).reshape(np.shape(x))[()]

    def ppf(self, q: ArrayLike) -> Array:
        """Return the quantiles: the inverse of `cdf`, elementwise.

        Parameters
        ----------
        q : array_like
            Probabilities, of any shape.

        Returns
        -------
        ndarray
            Of the shape of ``q``.

        Raises
        ------
        ArgumentError
            If the law has more than one coordinate, or a number is not in [0, 1].
        """
        self._check_univariate("ppf")
        return self._ppf_rows(unit_points("q", q).reshape(-1, 1)).reshape(np.shape(q))[()]

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube to points of the law, by the quantiles of the coordinates.

        Parameters
        ----------
        u : array_like of shape (n, d)
            Numbers in [0, 1]; 0 and 1 map to the ends of the support.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If the shape is another, or a number is not in [0, 1].
        """
        rows, shape = points(unit_points("u", u), self.dim)
        return self._ppf_rows(rows).reshape((*shape, self.dim))


class Normal(UnivariateLaw):
    """The normal law.

    Parameters
    ----------
    mean : float or array_like of shape (d,), default 0
    sd : float or array_like of shape (d,), default 1
        Standard deviation, above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Normal(1.0, 2.0).ppf(0.5)
    np.float64(1.0)
    >>> fm.distributions.Normal([0.0, 1.0], 1.0).dim
    2
    """

    def __init__(self, mean: ArrayLike = 0.0, sd: ArrayLike = 1.0) -> None:
        self._setup(mean, sd)

    _mean = staticmethod(lambda mean, sd: mean)
    _variance = staticmethod(lambda mean, sd: sd**2)


class LogNormal(UnivariateLaw):
    """The log-normal law: that of exp(Z) for a normal Z.

    Parameters
    ----------
    mu : float or array_like of shape (d,), default 0
        Mean of the logarithm.
    sigma : float or array_like of shape (d,), default 1
        Standard deviation of the logarithm, above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.LogNormal.from_moments(mean=200.0, cv=0.06)
    >>> round(law.mean, 9)
    200.0
    """

    def __init__(self, mu: ArrayLike = 0.0, sigma: ArrayLike = 1.0) -> None:
        self._setup(mu, sigma)

    @classmethod
    def from_moments(cls, mean: ArrayLike, cv: ArrayLike) -> LogNormal:
        """Make the law from its mean and coefficient of variation.

        Parameters
        ----------
        mean : float or array_like of shape (d,)
            Mean, above 0.
        cv : float or array_like of shape (d,)
            Standard deviation divided by the mean, above 0.

        Returns
        -------
        LogNormal

        Raises
        ------
        ArgumentError
            If one is not above 0.

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.LogNormal.from_moments(1.0, 0.5)
        >>> round(law.variance, 12)
        0.25
        """
        mean, cv = real_numbers("mean", mean), real_numbers("cv", cv)
        for name, value in (("mean", mean), ("cv", cv)):
            if not (np.isfinite(value) & (value > 0.0)).all():
                raise ArgumentError(f"{name}: {value} was given; numbers above 0 are needed")
        square = np.log1p(cv**2)
        return cls(np.log(mean) - 0.5 * square, np.sqrt(square))

    _mean = staticmethod(lambda mu, sigma: np.exp(mu + 0.5 * sigma**2))

    @staticmethod
    def _variance(mu: Array, sigma: Array) -> Array:
        square = sigma**2
        return np.asarray(np.expm1(square) * np.exp(2.0 * mu + square))


class Uniform(UnivariateLaw):
    """The uniform law on a closed interval.

    Parameters
    ----------
    low : float or array_like of shape (d,), default 0
    high : float or array_like of shape (d,), default 1
        Above ``low``.

    Raises
    ------
    ArgumentError
        If an interval is empty or not finite.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Uniform([0.0, 0.0], [1.0, 2.0]).log_density([0.5, 3.0])
    np.float64(-inf)
    """

    def __init__(self, low: ArrayLike = 0.0, high: ArrayLike = 1.0) -> None:
        self._setup(low, high)

    _mean = staticmethod(lambda low, high: low + 0.5 * (high - low))
    _variance = staticmethod(lambda low, high: (high - low) ** 2 / 12.0)


class StudentT(UnivariateLaw):
    """Student's t law.

    Parameters
    ----------
    df : float or array_like of shape (d,)
        Degrees of freedom, above 0.
    loc : float or array_like of shape (d,), default 0
        Centre.
    scale : float or array_like of shape (d,), default 1
        Above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.StudentT(4.0).variance
    2.0
    """

    def __init__(self, df: ArrayLike, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self._setup(df, loc, scale)

    _mean = staticmethod(lambda df, loc, scale: np.where(df > 1.0, loc, np.nan))
    _variance = staticmethod(lambda df, loc, scale: t_variance(df, scale**2))


class Gamma(UnivariateLaw):
    """The gamma law, with mean ``shape * scale``.

    Parameters
    ----------
    shape : float or array_like of shape (d,)
        Above 0.
    scale : float or array_like of shape (d,), default 1
        Above 0 (the inverse of the rate).

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Gamma(3.0, 2.0).mean
    6.0
    """

    def __init__(self, shape: ArrayLike, scale: ArrayLike = 1.0) -> None:
        self._setup(shape, scale)

    _mean = staticmethod(lambda shape, scale: shape * scale)
    _variance = staticmethod(lambda shape, scale: shape * scale**2)


class Beta(UnivariateLaw):
    """The beta law on [0, 1].

    Parameters
    ----------
    a, b : float or array_like of shape (d,)
        Above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Beta(1.0, 3.0).mean
    0.25
    """

    def __init__(self, a: ArrayLike, b: ArrayLike) -> None:
        self._setup(a, b)

    _mean = staticmethod(lambda a, b: a / (a + b))
    _variance = staticmethod(lambda a, b: (a / (a + b)) * (b / (a + b)) / (a + b + 1.0))


class Exponential(UnivariateLaw):
    """The exponential law.

    Parameters
    ----------
    scale : float or array_like of shape (d,), default 1
        The mean, above 0 (the inverse of the rate).

    Raises
    ------
    ArgumentError
        If it is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Exponential(2.0).ppf([0.0, 1.0])
    array([ 0., inf])
    """

    def __init__(self, scale: ArrayLike = 1.0) -> None:
        self._setup(scale)

    _mean = staticmethod(lambda scale: scale)
    _variance = staticmethod(lambda scale: scale**2)


class Laplace(UnivariateLaw):
    """The Laplace law: an exponential one on each side of its centre.

    Parameters
    ----------
    loc : float or array_like of shape (d,), default 0
        The mean and the mode.
    scale : float or array_like of shape (d,), default 1
        Above 0; the mean distance from ``loc``.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Laplace(1.0, 2.0).variance
    8.0
    """

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self._setup(loc, scale)

    _mean = staticmethod(lambda loc, scale: loc)
    _variance = staticmethod(lambda loc, scale: 2.0 * scale**2)


class Cauchy(UnivariateLaw):
    """The Cauchy law: Student's t law with one degree of freedom, which has no mean.

    Parameters
    ----------
    loc : float or array_like of shape (d,), default 0
        The median.
    scale : float or array_like of shape (d,), default 1
        Above 0; the quartiles are ``loc - scale`` and ``loc + scale``.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Cauchy(1.0, 2.0).ppf(0.5)
    np.float64(1.0)
    """

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self._setup(loc, scale)

    _mean = staticmethod(lambda loc, scale: np.full_like(loc, np.nan))
    _variance = staticmethod(lambda loc, scale: np.full_like(loc, np.nan))


class HalfNormal(UnivariateLaw):
    """The half-normal law: that of abs(Z) for a normal Z with mean 0.

    Parameters
    ----------
    scale : float or array_like of shape (d,), default 1
        Above 0; the standard deviation of Z.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.HalfNormal(2.0).cdf([-1.0, 0.0])
    array([0., 0.])
    """

    def __init__(self, scale: ArrayLike = 1.0) -> None:
        self._setup(scale)

    _mean = staticmethod(lambda scale: scale * np.sqrt(2.0 / np.pi))
    _variance = staticmethod(lambda scale: scale**2 * (1.0 - 2.0 / np.pi))


class HalfCauchy(UnivariateLaw):
    """The half-Cauchy law: that of abs(C) for a Cauchy C around 0.

    Parameters
    ----------
    scale : float or array_like of shape (d,), default 1
        Above 0; the median.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.distributions.HalfCauchy(2.5).ppf(0.5), 12)
    np.float64(2.5)
    """

    def __init__(self, scale: ArrayLike = 1.0) -> None:
        self._setup(scale)

    _mean = staticmethod(lambda scale: np.full_like(scale, np.inf))
    _variance = staticmethod(lambda scale: np.full_like(scale, np.inf))


class Logistic(UnivariateLaw):
    """The logistic law.

    Parameters
    ----------
    loc : float or array_like of shape (d,), default 0
        The mean.
    scale : float or array_like of shape (d,), default 1
        Above 0; the standard deviation is ``pi / sqrt(3)`` times it.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Logistic(1.0, 2.0).ppf(0.5)
    np.float64(1.0)
    """

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self._setup(loc, scale)

    _mean = staticmethod(lambda loc, scale: loc)
    _variance = staticmethod(lambda loc, scale: (np.pi * scale) ** 2 / 3.0)


class Weibull(UnivariateLaw):
    """The Weibull law of smallest values: P(X > x) = exp(-(x / scale)**shape).

    Parameters
    ----------
    shape : float or array_like of shape (d,)
        Above 0.
    scale : float or array_like of shape (d,), default 1
        Above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Weibull(1.0, 2.0).mean
    2.0
    """

    def __init__(self, shape: ArrayLike, scale: ArrayLike = 1.0) -> None:
        self._setup(shape, scale)

    _mean = staticmethod(lambda shape, scale: scale * np.exp(gammaln(1.0 + 1.0 / shape)))

    @staticmethod
    def _variance(shape: Array, scale: Array) -> Array:
        first = gammaln(1.0 + 1.0 / shape)
        # E[X]² (E[X²] / E[X]² - 1), which does not cancel for large shapes.
        excess = np.expm1(gammaln(1.0 + 2.0 / shape) - 2.0 * first)
        return np.asarray(scale**2 * np.exp(2.0 * first) * excess)


class Gumbel(UnivariateLaw):
    """The Gumbel law of largest values: P(X <= x) = exp(-exp(-(x - loc) / scale)).

    Parameters
    ----------
    loc : float or array_like of shape (d,), default 0
        The mode.
    scale : float or array_like of shape (d,), default 1
        Above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.distributions.Gumbel().mean, 6)
    0.577216
    """

    def __init__(self, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self._setup(loc, scale)

    _mean = staticmethod(lambda loc, scale: loc + np.euler_gamma * scale)
    _variance = staticmethod(lambda loc, scale: (np.pi * scale) ** 2 / 6.0)


class InverseGamma(UnivariateLaw):
    """The inverse gamma law: that of scale / G for a gamma variate G with this shape.

    Parameters
    ----------
    shape : float or array_like of shape (d,)
        Above 0.
    scale : float or array_like of shape (d,), default 1
        Above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.InverseGamma(3.0, 4.0).mean
    2.0
    """

    def __init__(self, shape: ArrayLike, scale: ArrayLike = 1.0) -> None:
        self._setup(shape, scale)

    @staticmethod
    def _mean(shape: Array, scale: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.where(shape > 1.0, scale / (shape - 1.0), np.inf)

    @staticmethod
    def _variance(shape: Array, scale: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            finite = (scale / (shape - 1.0)) ** 2 / (shape - 2.0)
        return np.where(shape > 2.0, finite, np.inf)


class Chi2(UnivariateLaw):
    """The chi-squared law: that of a sum of ``df`` squared standard normal numbers.

    Parameters
    ----------
    df : float or array_like of shape (d,)
        Degrees of freedom, above 0.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Chi2(3.0).variance
    6.0
    """

    def __init__(self, df: ArrayLike) -> None:
        self._setup(df)

    _mean = staticmethod(lambda df: df)
    _variance = staticmethod(lambda df: 2.0 * df)


class Triangular(UnivariateLaw):
    """The triangular law on a closed interval.

    Parameters
    ----------
    low : float or array_like of shape (d,), default 0
    mode : float or array_like of shape (d,), default 0.5
        From ``low`` to ``high``.
    high : float or array_like of shape (d,), default 1
        Above ``low``.

    Raises
    ------
    ArgumentError
        If a parameter is outside its domain.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.distributions.Triangular(0.0, 3.0, 3.0).mean
    2.0
    """

    def __init__(self, low: ArrayLike = 0.0, mode: ArrayLike = 0.5, high: ArrayLike = 1.0) -> None:
        self._setup(low, mode, high)

    _mean = staticmethod(lambda low, mode, high: low + ((mode - low) + (high - low)) / 3.0)

    @staticmethod
    def _variance(low: Array, mode: Array, high: Array) -> Array:
        width, rise = high - low, mode - low
        return np.asarray((width**2 - width * rise + rise**2) / 18.0)


def parameters_of(
    law: str, names: list[str], values: tuple[ArrayLike, ...]
) -> tuple[list[Array], tuple[int, ...]]:
    """Return the parameters of a law as arrays of one shape, () or (d,), and this shape."""
    arrays = [real_numbers(name, value) for name, value in zip(names, values, strict=True)]
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError as error:
        given = ", ".join(f"{name} {a.shape}" for name, a in zip(names, arrays, strict=True))
        raise ArgumentError(
            f"{law}: the shapes {given} do not broadcast; give numbers, or arrays of one length"
        ) from error
    if len(shape) > 1 or 0 in shape:
        raise ArgumentError(
            f"{law}: parameters of shape {shape} were given; numbers, or arrays of shape (d,) "
            f"with d at least 1 are needed (for one law a row, in a Joint: {law}.rows)"
        )
    return [np.broadcast_to(a, shape).copy() for a in arrays], shape


def t_variance(df: Array, square: Array) -> Array:
    """Return the variance of t laws with these squared scales."""
    with np.errstate(divide="ignore", invalid="ignore"):
        finite = square * (df / (df - 2.0))
    return np.where(df > 2.0, finite, np.where(df > 1.0, np.inf, np.nan))
