"""Checks of counts, probabilities and scores, and the common fields of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import numbers, require, shown
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.results.result import Result, warn

__all__ = [
    "MOST",
    "Array",
    "at_least_zero",
    "counts",
    "fraction",
    "provenance",
    "scores",
    "single",
    "warned",
    "whole_counts",
]

Array = NDArray[np.float64]
#: A count at most: doubles do not tell whole numbers apart much beyond.
MOST = 1.0e15
R = TypeVar("R", bound=Result)


def counts(name: str, value: ArrayLike) -> Array:
    """Return `value` as counts, which need not be whole."""
    array = numbers(name, value)
    good = (array >= 0) & (array <= MOST)
    require(name, array, good, f"counts from 0 to {MOST:g} are needed")
    return array


def whole_counts(name: str, value: ArrayLike) -> Array:
    """Return `value` as whole counts."""
    array = numbers(name, value)
    good = (array >= 0) & (array <= 2**53) & (array == np.floor(array))
    require(name, array, good, "whole numbers from 0 to 2**53 are needed")
    return array


def fraction(name: str, value: ArrayLike, zero: bool = False, one: bool = False) -> Array:
    """Return `value` as numbers between 0 and 1, with or without the ends."""
    array = numbers(name, value)
    good = ((array > 0) | (zero & (array == 0))) & ((array < 1) | (one & (array == 1)))
    ends = f"{'[' if zero else '('}0, 1{']' if one else ')'}"
    require(name, array, good, f"a number in {ends} is needed")
    return array


def single(name: str, value: ArrayLike, zero: bool = False) -> float:
    """Return `value` as one number between 0 and 1."""
    array = fraction(name, value, zero=zero)
    if array.ndim:
        raise ArgumentError(f"{name}: {shown(value)} was given; one number is needed")
    return float(array)


def at_least_zero(name: str, value: ArrayLike) -> Array:
    """Return `value` as numbers from 0 to +inf."""
    array = numbers(name, value)
    require(name, array, array >= 0, "a number of at least 0 is needed")
    return array


def scores(name: str, value: ArrayLike) -> Array:
    """Return `value` as the scores of an attack."""
    array = numbers(name, value)
    if array.ndim != 1 or array.size == 0:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} was given; shape (n,) is needed, with a "
            "score at least"
        )
    return np.ascontiguousarray(array)


def provenance(settings: Mapping[str, Any], wall_time: float, seed: int | None = None) -> Any:
    """Return the common fields of a result that evaluates no target."""
    return {
        "seed": seed,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": 0,
        "wall_time": wall_time,
    }


def warned(result: R, category: type[FermiacWarning]) -> R:
    """Return the result after its warnings, which are given in the name of the caller's caller."""
    warn(((category, text) for text in result.warnings), result)
    return result
