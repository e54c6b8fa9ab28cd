"""The base classes of laws: shapes of points, parameters, equality and pickling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.validate import real_numbers, whole
from fermiac.errors import ArgumentError
from fermiac.random import RngLike, Stream, key_of

Array = NDArray[np.float64]
#: The highest degree of orthogonal polynomials, and their number at most.
_HIGHEST, _MOST_POLYNOMIALS = 20, 100_000

#: The measure of densities: the volume of all coordinates, that of a surface such as a simplex, or
#: the number of points.
Measure: TypeAlias = Literal["volume", "surface", "counting"]


class Law:
    """A probability law on points of ``dim`` coordinates.

    Subclass it to define your own law: set ``dim``, define ``log_density``, and define either
    ``from_unit`` (from which draws are then made) or ``sample``. ``pdf``, ``logpdf`` and ``rvs``
    are aliases with the names of scipy.stats.

    Attributes
    ----------
    dim : int
        Coordinates of a point.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> class Ramp(fm.distributions.Law):
    ...     dim = 1
    ...
    ...     def log_density(self, x):
    ...         with np.errstate(divide="ignore"):
    ...             return np.log(np.clip(2.0 * x[:, 0] * (x[:, 0] <= 1.0), 0.0, None))
    ...
    ...     def from_unit(self, u):
    ...         return np.sqrt(u)
    >>> Ramp().sample(3, rng=0).shape
    (3, 1)
    """

    dim: int
    _handle: _core.Law | None = None

    def log_density(self, x: Array) -> Array:
        """Return the normalised log-density of every row of an (n, d) array.

        Parameters
        ----------
        x : ndarray of shape (n, d)

        Returns
        -------
        ndarray of shape (n,)
            -inf outside the support.

        Raises
        ------
        NotImplementedError
            If the subclass does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define log_density(x)")

    def from_unit(self, u: Array) -> Array:
        """Map points of the unit cube to points of the law.

        Parameters
        ----------
        u : ndarray of shape (n, d)
            Uniform numbers.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If the law has no such map.
        """
        raise ArgumentError(
            f"{type(self).__name__} has no map from the unit cube; use a law that has one "
            "(a univariate law, a Product of such laws, MultivariateNormal), or define from_unit"
        )

    def sample(self, n: int, rng: RngLike = None) -> Array:
        """Draw ``n`` independent points.

        Parameters
        ----------
        n : int
            The number of points.
        rng : int, numpy.random.SeedSequence, numpy.random.Generator or None, default None
            An int in [0, 2**64) is the key itself: equal keys give equal draws.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If the law has neither ``sample`` nor ``from_unit``, or an argument is invalid.
        """
        n = whole("n", n, 0, 2**62)
        u = np.asarray(Stream(key_of(rng)).uniform((n, self.dim)), dtype=np.float64)
        return self.from_unit(u)

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
            If the law has no distribution function, because it has more than one coordinate or does
            not define one.
        """
        raise ArgumentError(
            f"{type(self).__name__} has no distribution function; univariate laws of "
            "fermiac.distributions have one, as have mixtures of them"
        )

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
            If the law has more than one coordinate or no map from the unit interval, or a number
            is not in [0, 1].
        """
        if self.dim != 1:
            raise ArgumentError(
                f"ppf is of one coordinate; this {type(self).__name__} has {self.dim}: use "
                "from_unit(u), where the law has it"
            )
        levels = unit_points("q", q)
        return np.asarray(self.from_unit(levels.reshape(-1, 1))).reshape(levels.shape)[()]

    def logpdf(self, x: ArrayLike) -> Array:
        """Return the log-density: `log_density` under its name in scipy.stats.

        Parameters
        ----------
        x : array_like of shape (..., d)
            Points, as for `log_density`.

        Returns
        -------
        ndarray of shape (...)
        """
        return self.log_density(x)  # type: ignore[arg-type]

    def pdf(self, x: ArrayLike) -> Array:
        """Return the density, exp(`log_density`), under its name in scipy.stats.

        Parameters
        ----------
        x : array_like of shape (..., d)
            Points, as for `log_density`.

        Returns
        -------
        ndarray of shape (...)
        """
        density: Array = np.exp(self.log_density(x))  # type: ignore[arg-type]
        return density

    def rvs(self, size: int = 1, random_state: RngLike = None) -> Array:
        """Draw independent points: `sample` with the names of scipy.stats.

        Parameters
        ----------
        size : int, default 1
            The number of points, ``n`` of `sample`.
        random_state : int, numpy.random.SeedSequence, numpy.random.Generator or None, default None
            ``rng`` of `sample`.

        Returns
        -------
        ndarray of shape (size, d)
            One row for each point, also for laws of one coordinate.
        """
        return self.sample(size, rng=random_state)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The methods of a user's law are functions of the user.
        if cls.__module__.partition(".")[0] != "fermiac":
            for name in {"cdf", "from_unit", "log_density"} & vars(cls).keys():
                setattr(cls, name, _asked(vars(cls)[name]))

    def _support(self) -> list[tuple[float, float]]:
        return [(-np.inf, np.inf)] * self.dim

    def _measure(self) -> Measure:
        return "volume"


def _asked(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a method of a user's law, which gets an array of its own."""

    @wraps(method)
    def call(law: Any, x: Any) -> Any:
        return ask(partial(method, law), (x,), f"{method.__name__} of {type(law).__name__}")

    return call


class BuiltInLaw(Law):
    """Base class of laws that are defined by their parameters: frozen, comparable, picklable."""

    _values: Mapping[str, Any]

    def _freeze(self, dim: int, handle: _core.Law | None, **values: Any) -> None:
        for value in values.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        object.__setattr__(self, "dim", dim)
        object.__setattr__(self, "_handle", handle)
        object.__setattr__(self, "_values", values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a law is frozen: make a new {type(self).__name__} to change {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a law is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_equal(value, other._values[name]) for name, value in self._values.items())

    def __hash__(self) -> int:
        values = (v.tobytes() if isinstance(v, np.ndarray) else v for v in self._values.values())
        return hash((type(self), *values))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._values.values())

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={_short(value)}" for name, value in self._values.items())
        return f"{type(self).__name__}({parts})"

    def log_density(self, x: ArrayLike) -> Array:
        """Return the normalised log-density.

        Parameters
        ----------
        x : array_like of shape (..., d)
            Points. A one-dimensional law also takes a scalar, or an array of shape (n,) as n
            points.

        Returns
        -------
        ndarray of shape (...)
            -inf outside the support, NaN only where a coordinate is NaN.

        Raises
        ------
        ArgumentError
            If the last axis has not the law's dimension.
        """
        rows, shape = points(x, self.dim)
        return self._log_density_rows(rows).reshape(shape)[()]

    def sample(self, n: int, rng: RngLike = None) -> Array:
        """Draw ``n`` independent points.

        Parameters
        ----------
        n : int
            The number of points.
        rng : int, numpy.random.SeedSequence, numpy.random.Generator or None, default None
            An int in [0, 2**64) is the key itself: equal keys give equal draws.

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If an argument is invalid.
        """
        return self._sample_rows(whole("n", n, 0, 2**62), key_of(rng))

    def polynomials(self, x: ArrayLike, degree: int = 2) -> Array:
        """Return the polynomials that are orthonormal under the law, at points.

        Parameters
        ----------
        x : array_like of shape (n, d)
            Points. A one-dimensional law also takes an array of shape (n,).
        degree : int, default 2
            The degree at most, from 1 to 20.

        Returns
        -------
        ndarray of shape (n, K)
            Polynomials of one coordinate and products of those of two, in order of their degree;
            the constant is left out. Each has mean 0 and variance 1 under the law, and any two are
            uncorrelated. They can therefore be the ``controls`` of `fermiac.Sample.expect` for
            draws from the law.

        Raises
        ------
        ArgumentError
            If the law has no such polynomials, `degree` is out of range or makes more than 100,000
            polynomials, or the last axis of `x` does not have the law's dimension.

        Notes
        -----
        They are Hermite polynomials for normal coordinates (of the logarithm for log-normal ones),
        Legendre for uniform and Laguerre for exponential and gamma ones [1]_. Coordinates of other
        laws are left out. Those of a multivariate normal law are whitened by its Cholesky factor.

        References
        ----------
        .. [1] D. Xiu, G. E. Karniadakis, "The Wiener-Askey polynomial chaos for stochastic
           differential equations", SIAM Journal on Scientific Computing, 2002,
           doi:10.1137/S1064827501387826.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> law = fm.distributions.Normal(1.0, 2.0)
        >>> law.polynomials([3.0, 1.0], degree=2).round(3).tolist()
        [[1.0, 0.0], [0.0, -0.707]]
        >>> s = fm.Sample.from_arrays(law.sample(1000, rng=0))
        >>> e = s.expect(lambda x: x[:, 0] ** 2, controls=lambda x: law.polynomials(x))
        >>> bool(abs(e.mean - 5.0) < 1e-9)
        True
        """
        degree = whole("degree", degree, 1, _HIGHEST)
        rows, _ = points(x, self.dim)
        if self._handle is None:
            raise ArgumentError(
                f"law: the orthogonal polynomials of {type(self).__name__} are not known; they are "
                "for independent normal, uniform, exponential, gamma and log-normal coordinates, "
                "and for multivariate normal laws"
            )
        return self._handle.polynomials(rows, degree, _MOST_POLYNOMIALS)

    def _log_density_rows(self, x: Array) -> Array:
        assert self._handle is not None
        return self._handle.log_density(x)

    def _sample_rows(self, n: int, key: int) -> Array:
        assert self._handle is not None
        return self._handle.sample(n, key, 0)

    def _support(self) -> list[tuple[float, float]]:
        assert self._handle is not None
        return self._handle.support


def _equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return bool(a == b)


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        if value.size > 6:
            return f"<{' x '.join(map(str, value.shape))} array>"
        return np.array2string(value, precision=6, separator=", ").replace("\n", "")
    if isinstance(value, tuple):
        shown = ", ".join(map(repr, value[:3]))
        return f"[{shown}, ... {len(value)} laws]" if len(value) > 3 else f"[{shown}]"
    return repr(value)


def points(x: object, dim: int) -> tuple[Array, tuple[int, ...]]:
    """Return points as (n, dim), and the shape of one number per point."""
    array = real_numbers("x", x, copy=None)  # type: ignore[arg-type]
    shape = array.shape
    if dim == 1 and len(shape) < 2:
        return array.reshape(-1, 1), shape
    if not shape or shape[-1] != dim:
        raise ArgumentError(
            f"x: an array of shape {shape} was given; the law has {dim} "
            f"coordinate{'s' if dim > 1 else ''}, so shape (..., {dim}) is needed"
        )
    return array.reshape(-1, dim), shape[:-1]


def unit_points(name: str, u: object) -> Array:
    """Return an array of numbers from 0 to 1, checked."""
    array = real_numbers(name, u)  # type: ignore[arg-type]
    outside = ~((array >= 0.0) & (array <= 1.0))
    if outside.any():
        raise ArgumentError(
            f"{name}: {float(array[outside].flat[0])!r} was given; numbers from 0 to 1 are needed"
        )
    return array


def refuse_points(name: str, measure: Measure, by: str, instead: str) -> None:
    """Raise an error if the density is not with respect to Lebesgue measure in all coordinates.

    `by` names the method that needs it, and `instead` says what to do.
    """
    if measure == "volume":
        return
    what = "whole numbers" if measure == "counting" else "the points of a simplex"
    raise ArgumentError(
        f"{name}: a law of {what} was given; {by} needs a density over all coordinates; {instead}"
    )


def subkey(key: int, part: int) -> int:
    """Return the key of one part of a compound law."""
    state = np.random.SeedSequence(key, spawn_key=(part,)).generate_state(1, np.uint64)
    return int(state[0])
