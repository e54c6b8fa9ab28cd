"""Checks of counts, probabilities and scores, and the common fields of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import choice, numbers, require, shown, taken
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.results.result import Result, warn

__all__ = [
    "MOST",
    "Array",
    "at_least_zero",
    "confusion_counts",
    "counts",
    "fraction",
    "provenance",
    "scores",
    "single",
    "two_groups",
    "warned",
    "whole_counts",
]

Array = NDArray[np.float64]
#: The largest count: far beyond it doubles do not distinguish integers.
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


def two_groups(
    members: ArrayLike, nonmembers: ArrayLike | None, labels: ArrayLike | None
) -> tuple[Array, Array]:
    """Return the scores of members and of non-members, given as two arrays or with labels.

    Two arrays are refused if one of them could be the labels of the other.
    """
    if labels is None:
        if nonmembers is None:
            raise ArgumentError("nonmembers: not given; give it, or labels= for scores of both")
        some, others = scores("members", members), scores("nonmembers", nonmembers)
        for name, array in (("members", some), ("nonmembers", others)):
            if some.size == others.size and np.array_equal(np.unique(array), [0.0, 1.0]):
                raise ArgumentError(
                    f"{name}: {array.size} scores, all of them 0 or 1, were given beside as many "
                    "others, so that they may be labels; for scores with labels give labels= (1 a "
                    "member, 0 none), also where the scores themselves are 0 or 1; the counts of "
                    "answers yes and no go to epsilon_interval or epsilon_posterior"
                )
        return some, others
    if nonmembers is not None:
        raise ArgumentError("labels: given with nonmembers; scores of both go into the first array")
    both, flags = scores("members", members), taken("labels", labels)
    if flags.dtype.kind not in "biuf" or not np.isin(flags, (0, 1)).all():
        raise ArgumentError(
            "labels: 1 (or True) for a member and 0 (or False) for others is needed"
        )
    if flags.shape != both.shape:
        raise ArgumentError(
            f"labels: an array of shape {flags.shape} was given for {both.size} scores; one for "
            "each is needed"
        )
    inside = flags.astype(bool)
    if inside.all() or not inside.any():
        raise ArgumentError("labels: all are equal; scores of members and of others are needed")
    return both[inside], both[~inside]


#: The names of the layouts of tables.
Layout: TypeAlias = Literal["sklearn", "members-first"]
#: Where the cells of a 2 × 2 table lie, by layout: rows and columns of tp, fp, fn, tn.
_LAYOUTS = {
    "sklearn": ((1, 1), (0, 1), (1, 0), (0, 0)),
    "members-first": ((0, 0), (1, 0), (0, 1), (1, 1)),
}


def confusion_counts(
    given: Sequence[ArrayLike | None], table: ArrayLike | None, layout: str | None
) -> tuple[Array, Array, Array, Array]:
    """Return (tp, fp, fn, tn), given as four arguments or as a 2 × 2 table of a layout."""
    names = ("tp", "fp", "fn", "tn")
    if table is None:
        missing = [name for name, value in zip(names, given, strict=True) if value is None]
        if missing or layout is not None:
            raise ArgumentError(
                f"{', '.join(missing)}: not given; all of tp, fp, fn, tn are needed, or table= "
                "with its layout="
                if missing
                else "layout: given without table=; it says where the cells of a table are"
            )
        tp, fp, fn, tn = (
            counts(name, value)  # type: ignore[arg-type]
            for name, value in zip(names, given, strict=True)
        )
        return tp, fp, fn, tn
    twice = [name for name, value in zip(names, given, strict=True) if value is not None]
    if twice:
        raise ArgumentError(f"table: given with {', '.join(twice)}; give the counts once")
    if layout is None:
        raise ArgumentError(
            'layout: not given with table=; "sklearn" for [[tn, fp], [fn, tp]], or '
            '"members-first" for [[tp, fn], [fp, tn]], is needed'
        )
    places = _LAYOUTS[choice("layout", layout, tuple(_LAYOUTS))]
    cells = counts("table", table)
    if cells.shape[-2:] != (2, 2):
        raise ArgumentError(
            f"table: an array of shape {cells.shape} was given; (..., 2, 2) is needed, the truth "
            "in rows and the answers of the attack in columns"
        )
    tp, fp, fn, tn = (cells[..., row, column] for row, column in places)
    return tp, fp, fn, tn


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
    """Return the result after its warnings, which point to the line of the caller's caller."""
    warn(((category, text) for text in result.warnings), result)
    return result
