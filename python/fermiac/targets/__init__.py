"""Targets: built-in integrands, which run in Rust on all threads, and wrappers of Python functions.

Every method takes a batched Python callable as it is, (n, d) -> (n,) or (n, k); the functions here
give what runs faster (`powers`, `genz`, ...) or what needs a word of warning (`vectorize`).
"""

from __future__ import annotations

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
from fermiac.targets._vectorize import vectorize

__all__ = [
    "BuiltinIntegrand",
    "as_target",
    "cantilever",
    "g_function",
    "genz",
    "indicator",
    "ishigami",
    "linear",
    "powers",
    "sobol_pick_freeze",
    "vectorize",
]
