"""What ``rng=``, ``size=`` and the numbers beside them may be."""

from __future__ import annotations

import math
import operator
import secrets
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fermiac.errors import ArgumentError

__all__ = ["RngLike", "Size", "key_of", "plain", "positive", "shape_of", "whole"]

RngLike: TypeAlias = "int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None"
"""What every ``rng=`` argument takes; see `key_of`."""

Size: TypeAlias = "int | Sequence[int]"
"""The shape of an array."""


def key_of(rng: RngLike) -> int:
    """Give the key that an ``rng=`` argument stands for.

    Parameters
    ----------
    rng : int, numpy.random.SeedSequence, numpy.random.Generator or None
        A whole number from 0 to 2**64 - 1 is the key. A `~numpy.random.SeedSequence` gives its
        first 64-bit word; a `~numpy.random.Generator` gives its next one (and moves on). None
        takes a key from the operating system.

    Returns
    -------
    int
        The key, from 0 to 2**64 - 1. Given as ``rng=`` it repeats the computation.

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
    """Pass `value` on, unless NumPy would make numbers of it that were not meant."""
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
    """Take `value` as an int from `low` to `high`."""
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


def positive(name: str, value: Any, infinite: bool = False) -> float:
    """Take `value` as a positive float."""
    needed = "a positive number is needed" if infinite else "a positive, finite number is needed"
    if isinstance(value, (bool, np.bool_)):
        raise ArgumentError(f"{name}: the bool {value} was given; {needed}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, (str, bytes)):
        raise ArgumentError(f"{name}: {value!r:.60} was given; {needed}")
    if not number > 0 or (math.isinf(number) and not infinite):
        raise ArgumentError(f"{name}: {number} was given; {needed}")
    return number


def shape_of(size: Size) -> tuple[int, ...]:
    """Take `size` as the shape of an array."""
    sizes = size if isinstance(size, (tuple, list)) else (size,)
    return tuple(whole("size", n, 0, 2**63 - 1) for n in sizes)
