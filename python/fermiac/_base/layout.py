"""Layouts of saved objects: the types, shapes and bounds that the fields of a file must have.

A class names the check of each of its fields in ``_layout``. The checks of one object share the
sizes of its arrays: a size is fixed at the first use of its name and must be the same afterwards.
A digest does not prove who wrote a file. Indices are therefore used only after a check that they
lie within their arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "Check",
    "Layout",
    "Misfit",
    "Sizes",
    "anything",
    "array",
    "either",
    "figures",
    "flag",
    "instance",
    "layout_of",
    "listed",
    "mapping",
    "maybe",
    "real",
    "record",
    "require",
    "row_starts",
    "scalar",
    "single",
    "size",
    "text",
    "texts",
    "whole",
]

Sizes: TypeAlias = "dict[str, Any]"
"""Sizes of arrays by name: an int, or for a name that begins with ``*`` a tuple of some axes."""
Check: TypeAlias = "Callable[[Any, Sizes], None]"
"""Raises `Misfit` if a value is not what it has to be."""
Layout: TypeAlias = "Mapping[str, Check]"
"""The checks of the fields of an object."""
Bound: TypeAlias = "float | str | None"

#: Larger integers cannot be counts, and are too long to show.
_MOST = 2**128
#: The longest axis of an array without elements: it takes no room in the file, but loops run over
#: it.
_MOST_BESIDE_NONE = 2**26
_KINDS = {"b": "flags", "i": "integers", "u": "counts", "f": "real numbers", "c": "complex numbers"}


class Misfit(Exception):
    """The defect of a value, as text for an error message."""


def require(content: Mapping[str, Any], layout: Layout, sizes: Sizes | None = None) -> None:
    """Raise `Misfit` unless all fields of a layout are valid; other fields are ignored."""
    known: Sizes = {} if sizes is None else sizes
    for name, check in layout.items():
        if name not in content:
            raise Misfit(f"no {name!r} in it")
        _named(name, content[name], check, known)


def layout_of(kind: type) -> dict[str, Check]:
    """Return the checks of a class and its bases."""
    found: dict[str, Check] = {}
    for base in reversed(kind.__mro__):
        found |= vars(base).get("_layout", {})
    return found


def _named(name: str, value: Any, check: Check, sizes: Sizes) -> None:
    try:
        check(value, sizes)
    except Misfit as misfit:
        raise Misfit(f"{name}: {misfit}") from None


def anything(value: Any, sizes: Sizes) -> None:
    """Accept every value."""


def real(value: Any, sizes: Sizes) -> None:
    """Accept one real number, NaN and infinities included."""
    if not isinstance(value, float | int | np.floating | np.integer) or isinstance(value, bool):
        raise Misfit(f"{_shown(value)} for a number")


def scalar(value: Any, sizes: Sizes) -> None:
    """Accept one real or complex number."""
    if not isinstance(value, complex | np.complexfloating):
        real(value, sizes)


def single(name: str) -> Check:
    """Accept one number if the size of this name is 1."""

    def check(value: Any, sizes: Sizes) -> None:
        scalar(value, sizes)
        _bind(sizes, name, 1)

    return check


def flag(value: Any, sizes: Sizes) -> None:
    """Accept True and False."""
    if not isinstance(value, bool | np.bool_):
        raise Misfit(f"{_shown(value)} for True or False")


def whole(low: int = -_MOST, high: int = _MOST, below: str | None = None) -> Check:
    """Accept integers between two limits, or below the size of a name."""

    def check(value: Any, sizes: Sizes) -> None:
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise Misfit(f"{_shown(value)} for an integer")
        if not low <= value <= high:
            raise Misfit(f"{_shown(value)} outside of {low} to {high}")
        if below is not None and value >= _size(below, sizes):
            raise Misfit(f"{value}, which is not below {_size(below, sizes)}")

    return check


def size(name: str) -> Check:
    """Accept the integer that is the size of this name."""

    def check(value: Any, sizes: Sizes) -> None:
        whole(0)(value, sizes)
        _bind(sizes, name, int(value))

    return check


def text(*choices: str) -> Check:
    """Accept a string, or one of some strings."""

    def check(value: Any, sizes: Sizes) -> None:
        if not isinstance(value, str) or (choices and value not in choices):
            raise Misfit(f"{_shown(value)} for {' or '.join(choices) or 'a text'}")

    return check


def maybe(check: Check) -> Check:
    """Accept None, and every value that another check accepts."""

    def optional(value: Any, sizes: Sizes) -> None:
        if value is not None:
            check(value, sizes)

    return optional


def either(*checks: Check) -> Check:
    """Accept a value that at least one check accepts; the message is that of the last check."""

    def check(value: Any, sizes: Sizes) -> None:
        for one in checks[:-1]:
            trial = dict(sizes)
            with suppress(Misfit):
                one(value, trial)
                sizes.update(trial)
                return
        checks[-1](value, sizes)

    return check


def listed(check: Check, count: str | None = None, least: int = 0) -> Check:
    """Accept a list or tuple whose items pass another check; its length is the size of a name."""

    def of_all(value: Any, sizes: Sizes) -> None:
        if not isinstance(value, list | tuple):
            raise Misfit(f"{_shown(value)} for a list")
        if len(value) < least:
            raise Misfit(f"{len(value)} items; {least} are needed")
        if count is not None:
            _bind(sizes, count, len(value))
        for i, item in enumerate(value):
            _named(f"[{i}]", item, check, sizes)

    return of_all


texts = listed(text())
"""Accepts a list or tuple of strings."""


def mapping(check: Check = anything) -> Check:
    """Accept a mapping from strings to values that pass another check."""

    def of_all(value: Any, sizes: Sizes) -> None:
        _is_mapping(value)
        for key, item in value.items():
            _named(key, item, check, sizes)

    return of_all


def record(
    fields: Layout, optional: Layout | None = None, *, own: tuple[str, ...] = (), rest: bool = True
) -> Check:
    """Accept a mapping with these fields.

    Parameters
    ----------
    fields, optional : mapping of str to callable
        The checks of the required fields, and those of the optional fields.
    own : tuple of str
        Sizes that belong to this mapping alone.
    rest : bool
        Whether other fields are allowed.
    """
    more = {} if optional is None else optional

    def check(value: Any, sizes: Sizes) -> None:
        _is_mapping(value)
        foreign = [name for name in value if name not in fields and name not in more]
        if foreign and not rest:
            raise Misfit(f"{foreign[0]!r} is not known")
        inner = {name: n for name, n in sizes.items() if name not in own}
        there = {name: check for name, check in more.items() if name in value}
        require(value, {**fields, **there}, inner)
        sizes.update({name: n for name, n in inner.items() if name not in own})

    return check


def instance(*names: str) -> Check:
    """Accept an object of a class of one of these names, or derived from it."""

    def check(value: Any, sizes: Sizes) -> None:
        if not any(base.__name__ in names for base in type(value).__mro__):
            raise Misfit(f"{_shown(value)} for a {' or '.join(names)}")

    return check


def array(
    kinds: str,
    *shape: int | str,
    low: Bound = None,
    high: Bound = None,
    below: Bound = None,
    finite: bool = False,
    rising: bool = False,
    least: int = 0,
    bits: int = 8,
) -> Check:
    """Accept an array.

    Parameters
    ----------
    kinds : str
        Kinds of its type, as ``dtype.kind`` has them.
    *shape : int or str
        Sizes of its axes: numbers, names, names with 1 more like ``"n+1"``. A name that begins
        with ``*`` stands for any number of axes. Without any, all shapes are accepted.
    low, high, below : float or str, optional
        Limits of its numbers, or names of sizes. NaN violates every limit.
    finite : bool
        Whether all numbers must be finite.
    rising : bool
        Whether the numbers must be nondecreasing along the last axis.
    least : int
        The least number of entries.
    bits : int
        The least number of bits of an entry.
    """

    def check(value: Any, sizes: Sizes) -> None:
        if not isinstance(value, np.ndarray):
            raise Misfit(f"{_shown(value)} for an array")
        if value.dtype.kind not in kinds or 8 * value.dtype.itemsize < bits:
            raise Misfit(f"{value.dtype} for {' or '.join(_KINDS[kind] for kind in kinds)}")
        if shape:
            _fit(value.shape, shape, sizes)
        if not value.size and max(value.shape, default=0) > _MOST_BESIDE_NONE:
            raise Misfit(f"an empty array of shape {value.shape}")
        if value.size < max(least, 1):
            if least:
                raise Misfit(f"{value.size} numbers; {least} are needed")
            return
        # Arrays on disk, which may exceed the memory, are checked part by part.
        for part in value if isinstance(value, np.memmap) and value.ndim > 1 else (value,):
            _within(part, _limit(low, sizes), _limit(high, sizes), _limit(below, sizes))
            if finite and not np.isfinite(part).all():
                raise Misfit("numbers that are not finite")
            if rising and not (part[..., 1:] >= part[..., :-1]).all():
                raise Misfit("numbers that fall")

    return check


def figures(shape: str = "") -> Check:
    """Accept a number, or an array of numbers; all of one name have the same shape."""

    def check(value: Any, sizes: Sizes) -> None:
        if isinstance(value, np.ndarray):
            array("fiu", *([shape] if shape else []))(value, sizes)
            return
        real(value, sizes)
        if shape:
            _bind(sizes, shape, ())

    return check


def row_starts(rows: str, entries: str) -> Check:
    """Accept the starts of compressed rows, and their end."""

    def check(value: Any, sizes: Sizes) -> None:
        array("iu", f"{rows}+1", low=0, rising=True, least=1, bits=32)(value, sizes)
        if value[0] != 0:
            raise Misfit("the first row does not start at 0")
        _bind(sizes, entries, int(value[-1]))

    return check


def _is_mapping(value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Misfit(f"{_shown(value)} for a mapping from strings")


def _bind(sizes: Sizes, name: str, n: Any) -> None:
    if sizes.setdefault(name, n) != n:
        raise Misfit(f"{name.lstrip('*')} is {n} here and {sizes[name]} elsewhere")


def _fit(found: tuple[int, ...], wanted: tuple[int | str, ...], sizes: Sizes) -> None:
    """Bind the sizes of a shape."""
    stars = [i for i, name in enumerate(wanted) if isinstance(name, str) and name[0] == "*"]
    short = len(found) - len(wanted) + len(stars)
    if short < 0 or (short and not stars):
        raise Misfit(f"an array of shape {found} for ({', '.join(map(str, wanted))})")
    at = 0
    for name in wanted:
        if isinstance(name, str) and name[0] == "*":
            _bind(sizes, name, found[at : at + short])
            at += short
            continue
        n = found[at]
        at += 1
        if isinstance(name, str) and name.endswith("+1"):
            _bind(sizes, name[:-2], n - 1)
        elif isinstance(name, str):
            _bind(sizes, name, n)
        elif n != name:
            raise Misfit(f"an array of shape {found} for ({', '.join(map(str, wanted))})")


def _limit(bound: Bound, sizes: Sizes) -> float | None:
    return _size(bound, sizes) if isinstance(bound, str) else bound


def _size(name: str, sizes: Sizes) -> int:
    if name not in sizes:
        raise Misfit(f"the number of {name} is not known")
    return int(sizes[name])


def _within(
    values: np.ndarray[Any, Any], low: float | None, high: float | None, below: float | None
) -> None:
    """Raise `Misfit` if a number is outside its limits."""
    if low is not None and not (values >= low).all():
        raise Misfit(f"a number below {low}, or NaN")
    if high is not None and not (values <= high).all():
        raise Misfit(f"a number above {high}, or NaN")
    if below is not None and not (values < below).all():
        raise Misfit(f"a number that is not below {below}")


def _shown(value: Any) -> str:
    """Return a short name of a value."""
    if isinstance(value, str | float | bool) or value is None:
        return repr(value)[:40]
    if isinstance(value, int) and abs(value) <= _MOST:
        return str(value)
    return f"a {type(value).__name__}"
