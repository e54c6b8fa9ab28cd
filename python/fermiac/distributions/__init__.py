"""Probability laws: densities, draws, and maps from the unit cube.

Parameters of the univariate laws are numbers, or arrays that broadcast: an array of length d gives
the law of d independent coordinates.
"""

from __future__ import annotations

from fermiac.distributions.law import Law
from fermiac.distributions.multivariate import Mixture, MultivariateNormal, MultivariateT, Product
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

__all__ = [
    "Beta",
    "Exponential",
    "Gamma",
    "Law",
    "LogNormal",
    "Mixture",
    "MultivariateNormal",
    "MultivariateT",
    "Normal",
    "Product",
    "StudentT",
    "Uniform",
    "as_law",
]


def as_law(obj: object, name: str = "law") -> Law:
    """Take a law as it comes: one of fermiac's, a subclass's, or a frozen one of scipy.stats.

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
        If it is none of these: a discrete distribution, or a list (use `Product`).

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
        # Here, not at the top: scipy.stats takes longer to import than all of fermiac.
        from fermiac.distributions.scipy import from_scipy

        return from_scipy(obj, name)
    if isinstance(obj, list | tuple):
        raise ArgumentError(
            f"{name}: a {type(obj).__name__} was given; join the laws of independent coordinates "
            "by fermiac.distributions.Product(laws)"
        )
    raise ArgumentError(
        f"{name}: {type(obj).__name__} was given; a law of fermiac.distributions, a subclass of "
        "fermiac.distributions.Law or a frozen scipy.stats distribution is needed"
    )
