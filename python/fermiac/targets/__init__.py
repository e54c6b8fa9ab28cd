"""Targets: the functions that the methods evaluate, in four forms.

Built-in ones run in Rust on all threads, native ones (`native`) are C pointers that all threads
call, torch modules (`torch`) are evaluated in batches on their device. Every method also takes a
batched Python callable, (n, d) -> (n,) or (n, k); `vectorize` makes one from a function of one
point, which is slow. `as_target` takes a log-density in any of these forms. `from_pymc`,
`from_stan`, `from_numpyro` and `from_jax` convert models of other libraries.
"""

from __future__ import annotations

from fermiac.targets import transforms
from fermiac.targets.builtin import BuiltinIntegrand
from fermiac.targets.callables import vectorize
from fermiac.targets.conversion import as_target
from fermiac.targets.density import BuiltinDensity, LogDensity
from fermiac.targets.factories import factory
from fermiac.targets.integrands import (
    cantilever,
    g_function,
    genz,
    indicator,
    ishigami,
    linear,
    powers,
    sobol_pick_freeze,
)
from fermiac.targets.jax_density import JaxDensity, from_jax
from fermiac.targets.model import ModelTarget
from fermiac.targets.native_pointer import NativeTarget, native
from fermiac.targets.numpyro_model import from_numpyro
from fermiac.targets.posterior_density import PosteriorDensity, posterior
from fermiac.targets.posteriors import (
    eight_schools,
    law_density,
    linear_regression,
    logistic_regression,
    poisson_regression,
)
from fermiac.targets.pymc_model import from_pymc
from fermiac.targets.shapes import banana, funnel, gaussian, rosenbrock
from fermiac.targets.stan_model import from_stan
from fermiac.targets.torch_target import TorchTarget, torch
from fermiac.targets.transformed_density import TransformedDensity, transformed

__all__ = [
    "BuiltinDensity",
    "BuiltinIntegrand",
    "JaxDensity",
    "LogDensity",
    "ModelTarget",
    "NativeTarget",
    "PosteriorDensity",
    "TorchTarget",
    "TransformedDensity",
    "as_target",
    "banana",
    "cantilever",
    "eight_schools",
    "factory",
    "from_jax",
    "from_numpyro",
    "from_pymc",
    "from_stan",
    "funnel",
    "g_function",
    "gaussian",
    "genz",
    "indicator",
    "ishigami",
    "law_density",
    "linear",
    "linear_regression",
    "logistic_regression",
    "native",
    "poisson_regression",
    "posterior",
    "powers",
    "rosenbrock",
    "sobol_pick_freeze",
    "torch",
    "transformed",
    "transforms",
    "vectorize",
]


def __dir__() -> list[str]:
    return sorted(__all__)
