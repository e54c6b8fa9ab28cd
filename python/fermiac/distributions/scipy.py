"""Objects as laws: `as_law`, and frozen distributions of scipy.stats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac.distributions.law import Array, Law, points, unit_points
from fermiac.distributions.multivariate import MultivariateNormal, MultivariateT
from fermiac.distributions.univariate import (
    Beta,
    Exponential,
    Gamma,
    LogNormal,
    Normal,
    StudentT,
    Uniform,
)
from fermiac.errors import ArgumentError

# By the name in scipy: the parameters that a built-in law fixes, and its maker from the others.
_BUILT_IN: dict[str, tuple[dict[str, float], Callable[..., Law]]] = {
    "norm": ({}, lambda loc, scale: Normal(loc, scale)),
    "lognorm": ({"loc": 0.0}, lambda s, loc, scale: LogNormal(np.log(scale), s)),
    "uniform": ({}, lambda loc, scale: Uniform(loc, np.add(loc, scale))),
    "t": ({}, lambda df, loc, scale: StudentT(df, loc, scale)),
    "gamma": ({"loc": 0.0}, lambda a, loc, scale: Gamma(a, scale)),
    "beta": ({"loc": 0.0, "scale": 1.0}, lambda a, b, loc, scale: Beta(a, b)),
    "expon": ({"loc": 0.0}, lambda loc, scale: Exponential(scale)),
}


class ScipyLaw(Law):
    """A frozen univariate continuous distribution of scipy.stats."""

    dim = 1

    def __init__(self, frozen: Any) -> None:
        self._frozen = frozen

    def __repr__(self) -> str:
        return f"ScipyLaw({self._frozen.dist.name})"

    def log_density(self, x: ArrayLike) -> Array:
        """Return the log-density; see `fermiac.distributions.Law.log_density`."""
        rows, shape = points(x, 1)
        values = np.asarray(self._frozen.logpdf(rows[:, 0]), dtype=np.float64)
        return values.reshape(shape)[()]

    def cdf(self, x: ArrayLike) -> Array:
        """Return P(X <= x), elementwise."""
        return np.asarray(self._frozen.cdf(x), dtype=np.float64)[()]

    def ppf(self, q: ArrayLike) -> Array:
        """Return the quantiles, elementwise."""
        return np.asarray(self._frozen.ppf(unit_points("q", q)), dtype=np.float64)[()]

    def from_unit(self, u: ArrayLike) -> Array:
        """Map uniform numbers by the quantile; see `fermiac.distributions.Law.from_unit`."""
        rows, shape = points(unit_points("u", u), 1)
        return np.asarray(self._frozen.ppf(rows), dtype=np.float64).reshape((*shape, 1))

    def _support(self) -> list[tuple[float, float]]:
        low, high = self._frozen.support()
        return [(float(low), float(high))]

    @property
    def mean(self) -> float:
        """The mean."""
        return float(self._frozen.mean())

    @property
    def variance(self) -> float:
        """The variance."""
        return float(self._frozen.var())


def as_law(obj: object, name: str = "law") -> Law:
    """Return a law: one of fermiac's, of a subclass, or a frozen distribution of scipy.stats.

    Parameters
    ----------
    obj : Law or frozen scipy.stats distribution
        ``norm``, ``lognorm``, ``uniform``, ``t``, ``gamma``, ``beta``, ``expon``,
        ``multivariate_normal`` and ``multivariate_t`` become the built-in laws; any other
        univariate continuous distribution is wrapped (its ``logpdf`` and ``ppf`` are called).
    name : str, default "law"
        The argument's name, for the error message.

    Returns
    -------
    Law

    Raises
    ------
    ArgumentError
        If it is none of these, for instance a discrete distribution, or a list (use `Product`).

    Examples
    --------
    >>> import fermiac as fm
    >>> import scipy.stats
    >>> fm.distributions.as_law(scipy.stats.norm(1.0, 2.0))
    Normal(mean=1.0, sd=2.0)
    """
    if isinstance(obj, Law):
        return obj
    if type(obj).__module__.startswith("scipy.stats"):
        return _from_scipy(obj, name)
    if isinstance(obj, list | tuple):
        raise ArgumentError(
            f"{name}: a {type(obj).__name__} was given; join the laws of independent coordinates "
            "by fermiac.distributions.Product(laws)"
        )
    raise ArgumentError(
        f"{name}: {type(obj).__name__} was given; a law of fermiac.distributions, a subclass of "
        "fermiac.distributions.Law or a frozen scipy.stats distribution is needed"
    )


def _from_scipy(obj: Any, name: str) -> Law:
    """Return the law of an object of scipy.stats; `name` is the argument's name."""
    # Not at the top: scipy.stats takes longer to import than all of fermiac.
    import scipy.stats

    kind = type(obj).__name__
    if kind == "multivariate_normal_frozen":
        return MultivariateNormal(obj.mean, obj.cov)
    if kind == "multivariate_t_frozen":
        if np.isinf(obj.df):
            return MultivariateNormal(obj.loc, obj.shape)
        return MultivariateT(obj.df, obj.loc, obj.shape)
    dist = getattr(obj, "dist", None)
    if isinstance(dist, scipy.stats.rv_discrete):
        raise ArgumentError(
            f"{name}: the discrete distribution {dist.name} was given; a continuous law, which "
            "has a density, is needed"
        )
    if not isinstance(dist, scipy.stats.rv_continuous):
        raise ArgumentError(
            f"{name}: {kind} of scipy.stats was given; a frozen univariate continuous "
            "distribution (such as scipy.stats.norm(0, 1)), multivariate_normal or multivariate_t "
            "is needed"
        )
    names = [*(dist.shapes.split(", ") if dist.shapes else []), "loc", "scale"]
    parameters = {"loc": 0.0, "scale": 1.0, **dict(zip(names, obj.args, strict=False)), **obj.kwds}
    if dist.name in _BUILT_IN:
        fixed, make = _BUILT_IN[dist.name]
        if all(np.all(np.asarray(parameters[p]) == value) for p, value in fixed.items()):
            return make(**parameters)
    if any(np.ndim(value) for value in parameters.values()):
        raise ArgumentError(
            f"{name}: {dist.name} with arrays of parameters was given; one frozen distribution for "
            "each coordinate, joined by fermiac.distributions.Product, is needed"
        )
    return ScipyLaw(obj)
