"""Subjects of plots: their class, their coordinates, and the most that fit into a figure."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fermiac._base.validate import listed, shown, whole
from fermiac.errors import ArgumentError, FermiacWarning

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["Columns", "Names", "chosen", "of_class", "positions", "readable"]

Columns = Sequence[int | str] | None
Names = str | Sequence[str] | None


def of_class(name: str, value: object, path: str) -> None:
    """Raise an ArgumentError unless a value is of the public class of this path.

    The class is looked up only among imported modules: a plot does not import a domain, and a
    domain that is not imported has no results.
    """
    module, _, kind = path.rpartition(".")
    if module not in sys.modules or not isinstance(value, getattr(sys.modules[module], kind)):
        raise ArgumentError(f"{name}: {type(value).__name__} given; a {path} is needed")


def chosen(sample: Sample, columns: Columns, var_names: Names) -> list[int] | None:
    """Return the positions of coordinates that are given in one of two ways, or None."""
    if columns is not None and var_names is not None:
        raise ArgumentError("columns, var_names: both given; give one of them")
    if var_names is not None:
        return sample.variables.positions(var_names)
    return None if columns is None else positions(sample, columns)


def positions(sample: Sample, columns: Sequence[int | str]) -> list[int]:
    """Return the positions of coordinates that are given by position or name."""
    keys = listed(columns, sample.dim) if getattr(columns, "ndim", 1) == 1 else None
    if not keys:
        raise ArgumentError(
            f"columns: {shown(columns)} given; a sequence of positions or names is needed"
        )
    found: list[int] = []
    for key in keys:
        if isinstance(key, str):
            if key not in sample._labels:
                raise ArgumentError(
                    f"columns: {shown(key)} given, which is not a name of a coordinate"
                )
            found.append(sample._labels.index(key))
        else:
            found.append(whole("columns", key, 0, sample.dim - 1))
    if len(set(found)) < len(found):
        raise ArgumentError(f"columns: {shown(columns)} given, in which a coordinate comes twice")
    return found


def readable(n: int, most: int, limit: int) -> None:
    """Warn if a figure has more coordinates than can be read, and refuse absurd numbers."""
    if n > limit:
        raise ArgumentError(
            f"{n} coordinates given, of which {limit} at most are drawn in one figure; choose some "
            "by var_names= or columns="
        )
    if n > most:
        text = (
            f"{n} coordinates in one figure, of which {most} can be read well; choose some by "
            "var_names= or columns="
        )
        # A plot is called by the user, by a method, or by another plot.
        level, frame = 2, sys._getframe(1)
        while frame.f_back and frame.f_globals.get("__name__", "").startswith("fermiac."):
            level, frame = level + 1, frame.f_back
        warnings.warn(FermiacWarning(text), stacklevel=level)
