"""Probability laws: densities, draws, and maps from the unit cube.

Parameters of the univariate laws are numbers, or arrays that broadcast: an array of length d gives
the law of d independent coordinates.
"""

from __future__ import annotations

from fermiac.distributions.compound import Mixture, Product
from fermiac.distributions.law import Law
from fermiac.distributions.multivariate import MultivariateNormal, MultivariateT
from fermiac.distributions.named import Joint
from fermiac.distributions.scipy import as_law
from fermiac.distributions.univariate import (
    Beta,
    Exponential,
    Gamma,
    LogNormal,
    Normal,
    StudentT,
    Uniform,
)

__all__ = [
    "Beta",
    "Exponential",
    "Gamma",
    "Joint",
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


def __dir__() -> list[str]:
    return sorted(__all__)
