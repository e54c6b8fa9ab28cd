"""Checks of arguments: numbers, arrays, names, choices, seeds and shapes."""

from __future__ import annotations

import math
import operator
import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.strategies import suggestion
from fermiac.errors import ArgumentError, MemoryLimitError

__all__ = [
    "RngLike",
    "Size",
    "choice",
    "columns",
    "key_of",
    "labels",
    "numbered",
    "numbers",
    "plain",
    "positive",
    "probability",
    "real",
    "real_numbers",
    "require",
    "shape_of",
    "unwrapped",
    "whole",
    "yes",
]

RngLike: TypeAlias = "int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None"
"""The types of ``rng=`` arguments; see `key_of`."""

Size: TypeAlias = "int | Sequence[int]"
"""The shape of an array."""


def key_of(rng: RngLike) -> int:
    """Return the key of an ``rng=`` argument.

    Parameters
    ----------
    rng : int, numpy.random.SeedSequence, numpy.random.Generator or None
        A whole number from 0 to 2**64 - 1 is the key. A `~numpy.random.SeedSequence` gives its
        first 64-bit word, a `~numpy.random.Generator` its next one. None takes a key from the
        operating system.

    Returns
    -------
    int
        The key, from 0 to 2**64 - 1. Given as ``rng=``, it repeats the computation.

    Raises
    ------
    ArgumentError
        If `rng` is a number out of range, a bool, or of another type.

    Examples
    --------
    >>> from fermiac.random import key_of
    >>> key_of(2024)
    2024
    """
    if rng is None:
        return secrets.randbits(64)
    if isinstance(rng, np.random.SeedSequence):
        return int(rng.generate_state(1, np.uint64)[0])
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**64, dtype=np.uint64))
    return whole("rng", rng, 0, 2**64 - 1, "; a SeedSequence, a Generator or None will do as well")


def plain(name: str, value: Any) -> Any:
    """Return `value` itself; None, text and masked values, which NumPy accepts, are errors."""
    if value is None or isinstance(value, str):
        raise ArgumentError(
            f"{name}: {value!r} was given; a number or an array of numbers is needed"
        )
    if np.ma.is_masked(value):
        raise ArgumentError(
            f"{name}: an array with masked values was given, which would count as if they were not "
            "masked; fill them, or leave them out"
        )
    return value


def whole(name: str, value: object, low: int, high: int, more: str = "") -> int:
    """Return `value` as an int from `low` to `high`."""
    needed = f"a whole number from {low} to {high} is needed{more}"
    if isinstance(value, (bool, np.bool_)):
        raise ArgumentError(f"{name}: the bool {value} was given; {needed}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        kind = type(value).__name__
        raise ArgumentError(f"{name}: a {kind}, {value!r:.60}, was given; {needed}") from None
    if not low <= number <= high:
        raise ArgumentError(f"{name}: {number} was given; {needed}")
    return number


def real(
    name: str,
    value: Any,
    needed: str = "a finite number is needed",
    good: Callable[[float], bool] = math.isfinite,
) -> float:
    """Return `value` as a float for which `good` holds; `needed` is the text of the message."""
    if isinstance(value, (bool, np.bool_)):
        raise ArgumentError(f"{name}: the bool {value} was given; {needed}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, (str, bytes)):
        raise ArgumentError(f"{name}: {value!r:.60} was given; {needed}")
    if not good(number):
        raise ArgumentError(f"{name}: {number} was given; {needed}")
    return number


def positive(name: str, value: Any, infinite: bool = False) -> float:
    """Return `value` as a positive float."""
    if infinite:
        return real(name, value, "a positive number is needed", lambda x: x > 0)
    return real(name, value, "a positive, finite number is needed", lambda x: 0 < x < math.inf)


def probability(name: str, value: Any, zero: bool = False, one: bool = False) -> float:
    """Return `value` as a float between 0 and 1; `zero` and `one` allow the ends."""
    low, high = "from 0" if zero else "above 0", "to 1" if one else "below 1"
    joint = " " if zero and one else " and " if not one else " up "
    return real(
        name,
        value,
        f"a number {low}{joint}{high} is needed",
        lambda x: 0 < x < 1 or (zero and x == 0) or (one and x == 1),
    )


def shape_of(size: Size) -> tuple[int, ...]:
    """Return `size` as the shape of an array."""
    sizes = size if isinstance(size, (tuple, list)) else (size,)
    shape = tuple(whole("size", n, 0, 2**63 - 1) for n in sizes)
    # NumPy raises a MemoryError for what it cannot hold, but a ValueError for what it cannot count.
    if math.prod(n for n in shape if n) > sys.maxsize // 8:
        raise MemoryLimitError(
            f"size: {size!r:.80} was given, more numbers than there are addresses; ask for fewer"
        )
    return shape


Array = NDArray[np.float64]


def numbers(name: str, given: ArrayLike) -> Array:
    """Return the argument as float64; NaN, booleans and text are errors."""
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


def real_numbers(name: str, given: ArrayLike, *, copy: bool | None = True) -> Array:
    """Return the argument as a C-contiguous float64 array, which may hold NaN.

    With ``copy=None`` an array that is one already is returned itself.
    """
    value = plain(name, given)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"its elements are of type {array.dtype.name}")
        return np.array(array, dtype=np.float64, order="C", copy=copy)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(
            f"{name}: {type(value).__name__} given that is no array of real numbers ({error})"
        ) from error


def require(name: str, array: Array, good: NDArray[np.bool_], needed: str) -> None:
    """Raise an error if `array` is not `good` everywhere."""
    if not good.all():
        raise ArgumentError(f"{name}: {array[~good].flat[0]:g} was given; {needed}")


def choice(name: str, value: object, known: tuple[str, ...]) -> str:
    """Return `value`, which must be one of the known words."""
    if not isinstance(value, str) or value not in known:
        words = ", ".join(repr(word) for word in known)
        hint = suggestion(value, list(known)) if isinstance(value, str) else ""
        raise ArgumentError(f"{name}: {value!r:.60} was given; {hint}one of {words} is needed")
    return value


def labels(names: Sequence[str] | None, n: int, of: str = "coordinate") -> tuple[str, ...]:
    """Return `n` different names of coordinates or other things, or () for None."""
    if names is None:
        return ()
    given: object = names
    listed = tuple(str(name) for name in names) if isinstance(given, Iterable) else ()
    if isinstance(names, str) or len(set(listed)) != len(listed) or len(listed) != n:
        raise ArgumentError(
            f"names: {names!r:.100} given; a sequence of {n} different names is needed, one for "
            f"each {of}"
        )
    return listed


def numbered(name: str, n: int) -> tuple[str, ...]:
    """Return the names ``name[0]``, ``name[1]`` and so on."""
    return tuple(f"{name}[{i}]" for i in range(n))


def columns(call: str, **arrays: Array) -> tuple[list[Array], tuple[int, ...], int]:
    """Broadcast arrays; return a column for each, the shape and the number of rows.

    The column of a single number has one entry.
    """
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
    """Return a number for an array without axes, and any other array as it is."""
    return array.item() if array.ndim == 0 else array


def yes(name: str, value: Any) -> bool:
    """Return `value` as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name}: {value!r:.60} given; it must be True or False")
    return bool(value)
