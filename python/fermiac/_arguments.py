"""Arguments that broadcast: what may be given, the columns of their rows, and the common shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._rng import plain
from fermiac.errors import ArgumentError

__all__ = ["choice", "columns", "labels", "numbers", "require", "unwrapped", "yes"]

Array = NDArray[np.float64]


def numbers(name: str, given: ArrayLike) -> Array:
    """Take what was given as float64, without NaN; booleans and texts are no numbers."""
    value = plain(name, given)
    try:
        kind = np.asarray(value).dtype.kind
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name}: {type(value).__name__} was given whose parts make no array; numbers are "
            "needed, as many in each part"
        ) from error
    if kind not in "iufO":
        what = {"b": "booleans were", "U": "text was", "S": "text was"}.get(kind, f"{kind!r} was")
        raise ArgumentError(f"{name}: {what} given; numbers are needed")
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name}: {type(value).__name__} was given; numbers are needed"
        ) from error
    if np.isnan(array).any():
        raise ArgumentError(f"{name}: NaN was given; numbers are needed; leave such rows out")
    return array


def require(name: str, array: Array, good: NDArray[np.bool_], needed: str) -> None:
    """Refuse `array` where it is not `good`."""
    if not good.all():
        raise ArgumentError(f"{name}: {array[~good].flat[0]:g} was given; {needed}")


def choice(name: str, value: object, known: tuple[str, ...]) -> str:
    """Take `value` as one of the known words."""
    if not isinstance(value, str) or value not in known:
        words = ", ".join(repr(word) for word in known)
        raise ArgumentError(f"{name}: {value!r:.60} was given; one of {words} is needed")
    return value


def labels(names: Sequence[str] | None, dim: int) -> tuple[str, ...]:
    """Take the names of the coordinates; none where there are none."""
    if names is None:
        return ()
    given = tuple(str(name) for name in names)
    if isinstance(names, str) or len(set(given)) != len(given) or len(given) != dim:
        raise ArgumentError(
            f"names: {names!r:.100} given; a sequence of {dim} different names is needed, one for "
            "each coordinate"
        )
    return given


def columns(call: str, **arrays: Array) -> tuple[list[Array], tuple[int, ...], int]:
    """Broadcast: a column for each argument (one number where it is one), the shape, the rows."""
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError as error:
        given = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ArgumentError(
            f"{call}: the shapes {given} do not broadcast; give numbers, or arrays whose shapes do"
        ) from error
    flat = [
        array.reshape(1)
        if array.size == 1
        else np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)
        for array in arrays.values()
    ]
    return flat, shape, math.prod(shape)


def unwrapped(array: NDArray[Any]) -> Any:
    """Give a number for a result without axes."""
    return array.item() if array.ndim == 0 else array


def yes(name: str, value: Any) -> bool:
    """Take `value` as a flag."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name}: {value!r:.60} given; it must be True or False")
    return bool(value)
