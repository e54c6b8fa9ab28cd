"""Probability laws: densities, draws, and maps from the unit cube.

Parameters of the univariate laws are numbers, or arrays that broadcast: an array of length d gives
the law of d independent coordinates.
"""

from __future__ import annotations

from fermiac.distributions.compound import Mixture, Product
from fermiac.distributions.constrained import LKJ, Dirichlet
from fermiac.distributions.copula import GaussianCopula
from fermiac.distributions.discrete import Binomial, Categorical, NegativeBinomial, Poisson
from fermiac.distributions.law import Law
from fermiac.distributions.multivariate import MultivariateNormal, MultivariateT
from fermiac.distributions.named import Joint
from fermiac.distributions.scipy import as_law
from fermiac.distributions.truncated import Truncated
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

__all__ = [
    "LKJ",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "Dirichlet",
    "Exponential",
    "Gamma",
    "GaussianCopula",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "InverseGamma",
    "Joint",
    "Laplace",
    "Law",
    "LogNormal",
    "Logistic",
    "Mixture",
    "MultivariateNormal",
    "MultivariateT",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "Product",
    "StudentT",
    "Triangular",
    "Truncated",
    "Uniform",
    "Weibull",
    "as_law",
]


def __dir__() -> list[str]:
    return sorted(__all__)
