"""What the arguments of the privacy domain may be: numbers, counts, probabilities, rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._rng import plain
from fermiac.errors import ArgumentError

__all__ = ["Array", "at_least_zero", "choice", "counts", "fraction", "numbers", "provenance", "rows", "scores", "single"]

Array = NDArray[np.float64]


def numbers(name: str, value: ArrayLike) -> Array:
    """Take `value` as an array of real numbers, none of them NaN."""
    value = plain(name, value)
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ArgumentError(f"{name}: no array of numbers was given ({error})") from error
    if given.dtype.kind not in "iuf":
        raise ArgumentError(
            f"{name}: an array of type {given.dtype} was given; integers or floats are needed"
        )
    array = given.astype(np.float64)
    if np.isnan(array).any():
        raise ArgumentError(f"{name}: NaN was given; leave such entries out")
    return array


def counts(name: str, value: ArrayLike) -> Array:
    """Take `value` as counts, which need not be whole."""
    array = numbers(name, value)
    return _inside(name, array, (array >= 0) & np.isfinite(array), "counts of at least 0 are")


def fraction(name: str, value: ArrayLike, zero: bool = False, one: bool = False) -> Array:
    """Take `value` as numbers between 0 and 1, with or without the ends."""
    array = numbers(name, value)
    good = ((array > 0) | (zero & (array == 0))) & ((array < 1) | (one & (array == 1)))
    ends = f"{'[' if zero else '('}0, 1{']' if one else ')'}"
    return _inside(name, array, good, f"a number in {ends} is")


def single(name: str, value: ArrayLike, zero: bool = False) -> float:
    """Take `value` as one number between 0 and 1."""
    array = fraction(name, value, zero=zero)
    if array.ndim:
        raise ArgumentError(f"{name}: {value!r:.60} was given; one number is needed")
    return float(array)


def at_least_zero(name: str, value: ArrayLike) -> Array:
    """Take `value` as numbers from 0 to +inf."""
    array = numbers(name, value)
    return _inside(name, array, array >= 0, "a number of at least 0 is")


def _inside(name: str, array: Array, good: NDArray[np.bool_], needed: str) -> Array:
    if not np.all(good):
        bad = array[~good].flat[0]
        raise ArgumentError(f"{name}: {bad} was given; {needed} needed")
    return array


def scores(name: str, value: ArrayLike) -> Array:
    """Take `value` as the scores of an attack."""
    array = numbers(name, value)
    if array.ndim != 1 or array.size == 0:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} was given; shape (n,) is needed, with a score "
            "at least"
        )
    return np.ascontiguousarray(array)


def choice(name: str, value: object, known: tuple[str, ...]) -> str:
    """Take `value` as one of the known words."""
    if not isinstance(value, str) or value not in known:
        words = ", ".join(repr(word) for word in known)
        raise ArgumentError(f"{name}: {value!r:.60} was given; one of {words} is needed")
    return value


def rows(call: str, **arrays: Array) -> tuple[list[Array], tuple[int, ...], int]:
    """Broadcast the arrays: columns of one number or one a row, their shape, the rows."""
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError as error:
        given = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ArgumentError(
            f"{call}: the shapes {given} do not broadcast; give numbers, or arrays whose shapes do"
        ) from error
    columns = [
        array.reshape(1)
        if array.size == 1
        else np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)
        for array in arrays.values()
    ]
    return columns, shape, int(np.prod(shape, dtype=np.int64))


def provenance(settings: Mapping[str, Any], wall_time: float, seed: int | None = None) -> Any:
    """The fields of a result that evaluates no target."""
    return {
        "seed": seed,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": 0,
        "wall_time": wall_time,
    }
