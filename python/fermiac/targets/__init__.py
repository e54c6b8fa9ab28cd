"""Targets: what the methods evaluate, in four forms.

Built-in ones run in Rust on all threads, native ones (`native`) are C pointers that all threads
call, torch modules (`torch`) are evaluated in batches on their device. Every method also takes a
batched Python callable as it is, (n, d) -> (n,) or (n, k); `vectorize` makes one of a function of
one point, at a cost. `as_target` takes a log-density in any of these forms.
"""

from __future__ import annotations

from fermiac.targets import transforms
from fermiac.targets._as_target import as_target
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
from fermiac.targets._factory import factory
from fermiac.targets._native import NativeTarget, native
from fermiac.targets._posteriors import (
    eight_schools,
    law_density,
    linear_regression,
    logistic_regression,
    poisson_regression,
)
from fermiac.targets._shapes import banana, funnel, gaussian, rosenbrock
from fermiac.targets._torch import TorchTarget, torch
from fermiac.targets._transformed import TransformedDensity, transformed
from fermiac.targets._vectorize import vectorize

__all__ = [
    "BuiltinDensity",
    "BuiltinIntegrand",
    "LogDensity",
    "NativeTarget",
    "TorchTarget",
    "TransformedDensity",
    "as_target",
    "banana",
    "cantilever",
    "eight_schools",
    "factory",
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
    "powers",
    "rosenbrock",
    "sobol_pick_freeze",
    "torch",
    "transformed",
    "transforms",
    "vectorize",
]
