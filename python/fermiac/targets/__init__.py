"""Targets: integrands and log-densities, built in (they run in Rust on all threads) or wrapped.

Every method takes a batched Python callable as it is, (n, d) -> (n,) or (n, k); the functions here
give what runs faster (`powers`, `genz`, ...) or what needs a word of warning (`vectorize`).
"""

from __future__ import annotations

from fermiac.targets import transforms
from fermiac.targets._builtin import BuiltinIntegrand
from fermiac.targets._constructors import (
    cantilever,
    g_function,
    genz,
    indicator,
    ishigami,
    linear,
    powers,
    sobol_pick_freeze,
)
from fermiac.targets._density import BuiltinDensity, LogDensity
from fermiac.targets._posteriors import (
    banana,
    eight_schools,
    funnel,
    law_density,
    linear_regression,
    logistic_regression,
    poisson_regression,
)
from fermiac.targets._transformed import TransformedDensity, transformed
from fermiac.targets._vectorize import vectorize

__all__ = [
    "BuiltinDensity",
    "BuiltinIntegrand",
    "LogDensity",
    "TransformedDensity",
    "banana",
    "cantilever",
    "eight_schools",
    "funnel",
    "g_function",
    "genz",
    "indicator",
    "ishigami",
    "law_density",
    "linear",
    "linear_regression",
    "logistic_regression",
    "poisson_regression",
    "powers",
    "sobol_pick_freeze",
    "transformed",
    "transforms",
    "vectorize",
]
