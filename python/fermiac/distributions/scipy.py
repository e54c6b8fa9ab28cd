"""Conversion of objects to laws: `as_law`, and the distributions of scipy.stats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.validate import shown
from fermiac.distributions.constrained import Dirichlet
from fermiac.distributions.discrete import Binomial, NegativeBinomial, Poisson
from fermiac.distributions.law import Array, Law, points, unit_points
from fermiac.distributions.multivariate import MultivariateNormal, MultivariateT
from fermiac.distributions.univariate import (
    Beta,
    Cauchy,
    Chi2,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Laplace,
    Logistic,
    LogNormal,
    Normal,
    StudentT,
    Triangular,
    Uniform,
    Weibull,
)
from fermiac.errors import ArgumentError

#: By the name in scipy: the parameters that a built-in law fixes, and its maker from the others.
#: `fermiac.distributions.truncated` adds its law, for which it converts laws by this module.
BUILT_IN: dict[str, tuple[dict[str, float], Callable[..., Law]]] = {
    "norm": ({}, lambda loc, scale: Normal(loc, scale)),
    "lognorm": ({"loc": 0.0}, lambda s, loc, scale: LogNormal(np.log(scale), s)),
    "uniform": ({}, lambda loc, scale: Uniform(loc, np.add(loc, scale))),
    "t": ({}, lambda df, loc, scale: StudentT(df, loc, scale)),
    "gamma": ({"loc": 0.0}, lambda a, loc, scale: Gamma(a, scale)),
    "beta": ({"loc": 0.0, "scale": 1.0}, lambda a, b, loc, scale: Beta(a, b)),
    "expon": ({"loc": 0.0}, lambda loc, scale: Exponential(scale)),
    "laplace": ({}, lambda loc, scale: Laplace(loc, scale)),
    "cauchy": ({}, lambda loc, scale: Cauchy(loc, scale)),
    "halfnorm": ({"loc": 0.0}, lambda loc, scale: HalfNormal(scale)),
    "halfcauchy": ({"loc": 0.0}, lambda loc, scale: HalfCauchy(scale)),
    "logistic": ({}, lambda loc, scale: Logistic(loc, scale)),
    "weibull_min": ({"loc": 0.0}, lambda c, loc, scale: Weibull(c, scale)),
    "gumbel_r": ({}, lambda loc, scale: Gumbel(loc, scale)),
    "invgamma": ({"loc": 0.0}, lambda a, loc, scale: InverseGamma(a, scale)),
    "chi2": ({"loc": 0.0, "scale": 1.0}, lambda df, loc, scale: Chi2(df)),
    "poisson": ({"loc": 0.0}, lambda mu, loc, scale: Poisson(mu)),
    "binom": ({"loc": 0.0}, lambda n, p, loc, scale: Binomial(n, p)),
    "nbinom": ({"loc": 0.0}, lambda n, p, loc, scale: NegativeBinomial(n, p)),
    "triang": (
        {},
        lambda c, loc, scale: Triangular(
            loc, np.add(loc, np.multiply(c, scale)), np.add(loc, scale)
        ),
    ),
}

#: By the class of scipy's distribution objects: the makers from their parameters.
_OBJECTS: dict[str, Callable[..., Law]] = {
    "Normal": lambda mu, sigma: Normal(mu, sigma),
    "StandardNormal": lambda: Normal(),
    "Uniform": lambda a, b, **_: Uniform(a, b),
    "Logistic": lambda: Logistic(),
    "Binomial": lambda n, p: Binomial(n, p),
    "Poisson": lambda mu: Poisson(mu),
}


class ScipyLaw(Law):
    """A univariate continuous distribution of scipy.stats: a frozen one, or an object."""

    dim = 1

    def __init__(self, distribution: Any) -> None:
        self._distribution = distribution
        # Distribution objects call the quantile icdf.
        self._quantile = getattr(distribution, "icdf", None) or distribution.ppf

    def __repr__(self) -> str:
        frozen = getattr(self._distribution, "dist", None)
        return f"ScipyLaw({shown(self._distribution) if frozen is None else frozen.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._distribution,)

    def log_density(self, x: ArrayLike) -> Array:
        """Return the log-density; see `fermiac.distributions.Law.log_density`."""
        rows, shape = points(x, 1)
        values = np.asarray(self._distribution.logpdf(rows[:, 0]), dtype=np.float64)
        return values.reshape(shape)[()]

    def cdf(self, x: ArrayLike) -> Array:
        """Return P(X <= x), elementwise."""
        return np.asarray(self._distribution.cdf(x), dtype=np.float64)[()]

    def ppf(self, q: ArrayLike) -> Array:
        """Return the quantiles, elementwise."""
        return np.asarray(self._quantile(unit_points("q", q)), dtype=np.float64)[()]

    def from_unit(self, u: ArrayLike) -> Array:
        """Map uniform numbers by the quantile; see `fermiac.distributions.Law.from_unit`."""
        rows, shape = points(unit_points("u", u), 1)
        return np.asarray(self._quantile(rows), dtype=np.float64).reshape((*shape, 1))

    def _support(self) -> list[tuple[float, float]]:
        low, high = self._distribution.support()
        return [(float(low), float(high))]

    @property
    def mean(self) -> float:
        """The mean."""
        return float(self._distribution.mean())

    @property
    def variance(self) -> float:
        """The variance."""
        moment = getattr(self._distribution, "variance", None) or self._distribution.var
        return float(moment())


def as_law(obj: object, name: str = "law") -> Law:
    """Return a law: one of fermiac's, of a subclass, or a distribution of scipy.stats.

    Parameters
    ----------
    obj : Law or scipy.stats distribution
        A frozen distribution (``scipy.stats.norm(0, 1)``) or a distribution object:
        ``scipy.stats.Normal()``, a result of ``scipy.stats.make_distribution``, or arithmetic with
        such objects. A distribution that fermiac has too becomes the built-in law. Any other
        univariate continuous distribution is wrapped, and its ``logpdf`` and its ``ppf`` or
        ``icdf`` are called.
    name : str, default "law"
        The argument's name, for the error message.

    Returns
    -------
    Law

    Raises
    ------
    ArgumentError
        If `obj` is none of these, for instance a discrete distribution or a list (use `Product`).

    Examples
    --------
    >>> import fermiac as fm
    >>> import scipy.stats
    >>> fm.distributions.as_law(scipy.stats.norm(1.0, 2.0))
    Normal(mean=1.0, sd=2.0)
    >>> fm.distributions.as_law(scipy.stats.weibull_min(1.5, scale=2.0))
    Weibull(shape=1.5, scale=2.0)
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
        "fermiac.distributions.Law or a scipy.stats distribution (a frozen one, or a distribution "
        "object) is needed"
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
    if kind == "dirichlet_frozen":
        return Dirichlet(obj.alpha)
    if not isinstance(obj, type) and hasattr(obj, "icdf") and hasattr(obj, "logpdf"):
        return _from_object(obj, name)
    dist = getattr(obj, "dist", None)
    if isinstance(dist, scipy.stats.rv_discrete):
        if dist.name not in BUILT_IN:
            raise _discrete(name, dist.name)
    elif not isinstance(dist, scipy.stats.rv_continuous):
        raise ArgumentError(
            f"{name}: {kind} of scipy.stats was given; a univariate continuous distribution with "
            "its parameters (such as scipy.stats.norm(0, 1) or scipy.stats.Normal(mu=0, sigma=1)), "
            "multivariate_normal or multivariate_t is needed"
        )
    names = [*(dist.shapes.split(", ") if dist.shapes else []), "loc", "scale"]
    if isinstance(dist, scipy.stats.rv_discrete):
        names.remove("scale")
    parameters = {"loc": 0.0, "scale": 1.0, **dict(zip(names, obj.args, strict=False)), **obj.kwds}
    if dist.name in BUILT_IN:
        fixed, make = BUILT_IN[dist.name]
        if all(np.all(np.asarray(parameters[p]) == value) for p, value in fixed.items()):
            return make(**parameters)
    if isinstance(dist, scipy.stats.rv_discrete):
        raise _discrete(name, f"{dist.name}, moved by loc,")
    if any(np.ndim(value) for value in parameters.values()):
        raise ArgumentError(
            f"{name}: {dist.name} with arrays of parameters was given; one frozen distribution for "
            "each coordinate, joined by fermiac.distributions.Product, is needed"
        )
    return ScipyLaw(obj)


def _discrete(name: str, what: str) -> ArgumentError:
    return ArgumentError(
        f"{name}: the discrete distribution {what} was given; poisson, binom and nbinom are the "
        "discrete ones that are laws here, without loc"
    )


def _from_object(obj: Any, name: str) -> Law:
    """Return the law of a distribution object of scipy.stats."""
    kind = type(obj).__name__
    try:
        made = _OBJECTS[kind](**obj._parameters) if kind in _OBJECTS else None
    except (AttributeError, TypeError):  # another release of SciPy, with other parameters
        made = None
    if made is not None:
        return made
    if not _is_continuous(obj):
        raise _discrete(name, shown(obj))
    shape = np.shape(obj.median())
    if shape:
        raise ArgumentError(
            f"{name}: {kind} with arrays of parameters was given; one distribution for each "
            "coordinate, joined by fermiac.distributions.Product, is needed"
        )
    return ScipyLaw(obj)


def _is_continuous(obj: Any) -> bool:
    """Return whether a distribution object has a density; that of a discrete one is infinite."""
    for kind in type(obj).__mro__:
        if kind.__name__ in ("ContinuousDistribution", "DiscreteDistribution"):
            return kind.__name__ == "ContinuousDistribution"
    # A mixture has the kind of its components.
    return all(_is_continuous(part) for part in getattr(obj, "components", []))
