"""Checks of arguments: numbers, arrays, names, choices, seeds and shapes.

Every argument that a user gives as numbers passes `numbers`, `real_numbers` or `real`. They refuse
what NumPy would convert with a loss: complex numbers, dates and durations, structured arrays, text.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
import secrets
import sys
from collections.abc import Callable, Iterable, Sequence, Sized
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac.errors import ArgumentError, MemoryLimitError

__all__ = [
    "MOST_NAMES",
    "RngLike",
    "Size",
    "all_finite",
    "choice",
    "columns",
    "key_of",
    "labels",
    "listed",
    "numbered",
    "numbers",
    "path_of",
    "plain",
    "positive",
    "probability",
    "real",
    "real_numbers",
    "require",
    "shape_of",
    "shown",
    "suggestion",
    "taken",
    "texts",
    "unwrapped",
    "whole",
    "yes",
]

#: One of some words.
Word = TypeVar("Word", bound=str)
RngLike: TypeAlias = "int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None"
"""The types of ``rng=`` arguments; see `key_of`."""

Size: TypeAlias = "int | Sequence[int]"
"""The shape of an array."""


#: The refused contents of an array, by the kind of its type.
_KINDS = {
    "b": "booleans were",
    "c": "complex numbers were",
    "M": "dates were",
    "m": "durations were",
    "S": "bytes were",
    "U": "text was",
    "T": "text was",
    "V": "records were",
}
#: Elements of object arrays that can be converted to floats, but are not real numbers.
_NO_NUMBERS = (
    str,
    bytes,
    bytearray,
    complex,
    np.complexfloating,
    np.datetime64,
    np.timedelta64,
    np.flexible,
)
#: The most names of one object: a longer iterable is assumed to be endless.
MOST_NAMES = 2**20
#: The longest container whose repr is written in full before it is cut.
_LONGEST = 1000


def shown(value: object, width: int = 60) -> str:
    """Return the repr of an argument for a message, at most `width` characters.

    An object whose repr fails, such as a list nested too deeply, is shown by its type.
    """
    try:
        long = isinstance(value, tuple | list | dict | set | str | bytes) and len(value) > _LONGEST
        text = reprlib.repr(value) if long else repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text[:width]


def suggestion(word: str, known: list[str]) -> str:
    """Return "did you mean ...? " with the known word closest to `word`, or an empty string."""
    lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), lower, n=1)
    return f"did you mean {lower[close[0]]!r}? " if close else ""


def listed(given: Any, most: int) -> list[Any] | None:
    """Return the items of an iterable; None for other objects, or for more than `most` items.

    Text does not count as an iterable here, nor does an object that raises an error when its items
    are read. An endless iterable is read only up to `most` + 1 items.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return None
    try:
        if isinstance(given, Sized) and len(given) > most:
            return None
        items = list(islice(given, most + 1))
    except Exception:  # an array without axes, for instance
        return None
    return None if len(items) > most else items


def texts(name: str, given: Any, most: int) -> tuple[str, ...] | None:
    """Return the items of an iterable as texts; see `listed`."""
    items = listed(given, most)
    try:
        return None if items is None else tuple(str(item) for item in items)
    except Exception as error:
        raise ArgumentError(
            f"{name}: {shown(given, 100)} given, of which an item has no text ({error})"
        ) from error


def path_of(name: str, given: Any) -> str:
    """Return a path as text."""
    try:
        path = os.fsdecode(given)
    except Exception as error:
        raise ArgumentError(
            f"{name}: {shown(given)} was given; a path is needed, a str or os.PathLike"
        ) from error
    if not path or "\0" in path:
        raise ArgumentError(
            f"{name}: {shown(path)} was given; a path that is not empty and holds no NUL is needed"
        )
    return path


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
    if value is None or isinstance(value, str | bytes):
        raise ArgumentError(
            f"{name}: {shown(value)} was given; a number or an array of numbers is needed"
        )
    try:
        masked = np.ma.is_masked(value)
    except Exception:  # of an object that fails when it is asked for its mask
        masked = False
    if masked:
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
        number = None if _is_no_number(value) else operator.index(value)  # type: ignore[arg-type]
    except Exception:
        number = None
    if number is None:
        kind = type(value).__name__
        raise ArgumentError(f"{name}: a {kind}, {shown(value)}, was given; {needed}")
    if not low <= number <= high:
        raise ArgumentError(f"{name}: {shown(number)} was given; {needed}")
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
        number = None if _is_no_number(value) else float(value)
    except Exception:
        number = None
    if number is None:
        raise ArgumentError(f"{name}: {shown(value)} was given; {needed}")
    if not good(number):
        raise ArgumentError(f"{name}: {number} was given; {needed}")
    return number


def _is_no_number(value: Any) -> bool:
    """Return whether a value is of a type that Python converts to a number, but with a loss."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return isinstance(value, _NO_NUMBERS) or (isinstance(kind, str) and kind in tuple("cMmSUTV"))


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
    # NumPy raises a MemoryError for arrays that are too large, but a ValueError beyond its largest
    # size.
    if math.prod(n for n in shape if n) > sys.maxsize // 8:
        raise MemoryLimitError(
            f"size: {size!r:.80} was given, more numbers than there are addresses; ask for fewer"
        )
    return shape


Array = NDArray[np.float64]


#: Up to this size a mask is cheaper than the sum of `all_finite`.
_SMALL = 10_000


def numbers(name: str, given: ArrayLike) -> Array:
    """Return the argument as an aligned float64 array; NaN and booleans are errors."""
    array = _real_array(name, given, "iufO")
    if array.size > _SMALL and all_finite(array):
        return array
    if np.isnan(array).any():
        raise ArgumentError(f"{name}: NaN was given; numbers are needed; leave such rows out")
    return array


def real_numbers(name: str, given: ArrayLike, *, copy: bool | None = True) -> Array:
    """Return the argument as an aligned, C-contiguous float64 array, which may hold NaN.

    With ``copy=None`` a suitable array is returned itself.
    """
    array = np.require(_real_array(name, given, "biufO"), requirements=["C"])
    # The argument may share memory, for example if an object with __array__ returned a view.
    return array.copy() if copy and (array is given or array.base is not None) else array


def taken(name: str, given: Any) -> NDArray[Any]:
    """Return the argument as an aligned array of any type except those that NumPy has to guess."""
    value = plain(name, given)
    try:
        array: NDArray[Any] = np.asanyarray(value)
        return array if array.flags.aligned else array.copy()
    except Exception as error:
        raise ArgumentError(
            f"{name}: {type(value).__name__} was given whose parts make no array; numbers are "
            "needed, as many in each part"
        ) from error


def _real_array(name: str, given: Any, kinds: str) -> Array:
    """Return the argument as an aligned float64 array, if its type is of one of the kinds."""
    # Common types skip the checks, which would take longer than the core in small calls.
    if type(given) is float or (type(given) is int and -(2**53) <= given <= 2**53):
        return np.asarray(given, np.float64)
    if type(given) is np.ndarray and given.dtype == np.float64 and given.flags.aligned:
        return given
    array, kind = taken(name, given), type(given).__name__
    if array.dtype.kind not in kinds:
        what = _KINDS.get(array.dtype.kind, f"{array.dtype.name} was")
        needed = "real numbers" if array.dtype.kind == "c" else "numbers"
        raise ArgumentError(f"{name}: {what} given; {needed} are needed")
    if array.dtype.kind == "O":
        refused = (*_NO_NUMBERS, type(None), *(() if "b" in kinds else (bool, np.bool_)))
        for item in array.flat:
            if isinstance(item, refused):
                raise ArgumentError(
                    f"{name}: {kind} was given with the element {shown(item)}; real numbers are "
                    "needed"
                )
    try:
        return np.asarray(array, np.float64)
    except Exception as error:
        raise ArgumentError(
            f"{name}: {kind} was given that is not an array of real numbers ({error}); real "
            "numbers are needed"
        ) from error


def require(name: str, array: Array, good: NDArray[np.bool_], needed: str) -> None:
    """Raise an error if `array` is not `good` everywhere."""
    if not good.all():
        raise ArgumentError(f"{name}: {array[~good].flat[0]:g} was given; {needed}")


#: The numbers of a sum that takes about a tenth of a second.
_BLOCK = 2**27


def all_finite(array: NDArray[Any]) -> bool:
    """Whether all numbers of an array are finite.

    A sum is finite only if all its terms are. A sum reads ten gigabytes per second, several times
    the speed of a mask, and in most cases it answers the question. Large arrays are summed in
    blocks, between which Ctrl-C is answered.
    """
    if array.size > _BLOCK and array.ndim:
        if len(array) == 1:
            return all_finite(array[0])
        step = max(1, _BLOCK * len(array) // array.size)
        return all(all_finite(array[i : i + step]) for i in range(0, len(array), step))
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


@overload
def choice(name: str, value: Word, known: tuple[str, ...]) -> Word: ...
@overload
def choice(name: str, value: object, known: tuple[str, ...]) -> str: ...
def choice(name: str, value: object, known: tuple[str, ...]) -> str:
    """Return `value`, which must be one of the known words."""
    if not isinstance(value, str) or value not in known:
        words = ", ".join(repr(word) for word in known)
        hint = suggestion(value, list(known)) if isinstance(value, str) else ""
        raise ArgumentError(f"{name}: {shown(value)} was given; {hint}one of {words} is needed")
    return value


def labels(names: Sequence[str] | None, n: int, of: str = "coordinate") -> tuple[str, ...]:
    """Return `n` different names of coordinates or other things, or () for None."""
    if names is None:
        return ()
    given = texts("names", names, n) or ()
    if len(set(given)) != len(given) or len(given) != n:
        raise ArgumentError(
            f"names: {shown(names, 100)} given; "
            + ("a sequence of one name" if n == 1 else f"a sequence of {n} different names")
            + f" is needed, one for each {of}"
        )
    return given


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
    """Return an array without axes as a number, and any other array unchanged."""
    return array.item() if array.ndim == 0 else array


def yes(name: str, value: Any) -> bool:
    """Return `value` as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name}: {shown(value)} given; it must be True or False")
    return bool(value)
