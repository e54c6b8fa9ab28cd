"""Labels of nodes: the names that other libraries and tables give them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base.validate import shown, suggestion
from fermiac.errors import ArgumentError

__all__ = ["Labels", "array_of", "lookup", "number_of", "numbered", "numbers_of", "stored", "take"]

Labels: TypeAlias = "NDArray[np.int64] | NDArray[np.object_]"
"""The labels of all nodes, shape (n_nodes,)."""

#: Types that cannot be labels of nodes in edges.
_NO_NAMES = (float, complex, np.inexact, np.datetime64, np.timedelta64, np.void)
#: The types of labels in files, besides tuples of them.
_STORED = (str, int, float, bool, np.generic)


def take(labels: Any, n: int | None) -> tuple[Any, ...] | None:
    """Return the labels of n nodes from an argument, or of any number of nodes for n None."""
    if labels is None:
        return None
    if isinstance(labels, (str, bytes)):
        raise ArgumentError("labels: one text was given; a sequence of names is needed")
    try:
        given = tuple(labels.tolist() if isinstance(labels, np.ndarray) else labels)
    except Exception as error:  # not an iterable, or an iterator that fails
        raise ArgumentError(
            f"labels: {shown(labels)} was given; a sequence of names is needed ({error})"
        ) from error
    if n is not None and len(given) != n:
        raise ArgumentError(f"labels: {len(given)} given for {n} nodes; one for each is needed")
    try:
        different = len(set(given))
    except TypeError:
        raise ArgumentError("labels: names that are hashable are needed") from None
    if different != len(given):
        raise ArgumentError("labels: two nodes have the same name; all must differ")
    return given


def array_of(labels: tuple[Any, ...]) -> Labels:
    """Return labels as an array: of int64 if all are whole numbers, else of objects."""
    if all(map(_is_whole, labels)):
        try:
            return np.array(labels, dtype=np.int64)
        except OverflowError:
            pass
    return np.fromiter(labels, dtype=object, count=len(labels))


def _is_whole(label: Any) -> bool:
    return isinstance(label, int | np.integer) and not isinstance(label, bool)


def number_of(argument: str, label: Any, known: dict[Any, int]) -> int:
    """Return the number of the node with a label."""
    try:
        return known[label]
    except (KeyError, TypeError):
        texts = [name for name in known if isinstance(name, str)] if len(known) < 10_000 else []
        hint = suggestion(label, texts).rstrip() if isinstance(label, str) else ""
        raise ArgumentError(
            f"{argument}: no node is called {shown(label)}{'; ' if hint else ''}{hint}"
        ) from None


def numbers_of(argument: str, given: Any, known: dict[Any, int]) -> Any:
    """Return nodes given by their labels as numbers; numbers of nodes are unchanged.

    Whole numbers count as labels if any label is a whole number, otherwise as numbers of nodes.
    """
    by_number = not any(map(_is_whole, known))
    if isinstance(given, np.ndarray):
        if given.ndim > 1 or (by_number and given.dtype.kind in "iu"):
            return given
        given = given.tolist()
    if isinstance(given, Mapping):
        return given
    try:
        if given in known:  # one label, which may be a tuple
            return np.array([known[given]])
    except TypeError:  # a list, which is not hashable
        pass
    items = list(given) if isinstance(given, Collection) and not isinstance(given, str) else [given]
    return np.array(
        [
            item if by_number and _is_whole(item) else number_of(argument, item, known)
            for item in items
        ],
        dtype=None if items else np.int64,
    )


def lookup(name: str, given: Any) -> Callable[[Any], list[Any]] | None:
    """Return a mapping, or a pandas Series or DataFrame, as a function of an array of labels.

    None for anything else.
    """
    table = given if isinstance(given, Mapping) else _of_frame(name, given)
    if table is None:
        return None

    def values(nodes: Any) -> list[Any]:
        try:
            return [table[node] for node in nodes.tolist()]
        except KeyError as error:
            raise ArgumentError(
                f"{name}: there is no value for the node {shown(error.args[0])}; one is needed for "
                "each node that is looked at"
            ) from None

    return values


def _of_frame(name: str, given: Any) -> dict[Any, Any] | None:
    """Return the values of a pandas Series or DataFrame by its index; None for anything else."""
    if not all(hasattr(given, method) for method in ("index", "reindex", "to_numpy")):
        return None
    index = given.index.tolist()
    table = dict(zip(index, given.to_numpy(), strict=True))
    if len(table) < len(index):
        raise ArgumentError(
            f"{name}: the index of the table has {len(index) - len(table)} labels twice; one value "
            "for each node is needed"
        )
    return table


def stored(value: Any, sizes: fit.Sizes) -> None:
    """Accept the labels of all nodes in a file."""
    if isinstance(value, np.ndarray):
        fit.array("i", "nodes")(value, sizes)
        different = len(np.unique(value))
    else:
        fit.listed(_stored_label, "nodes")(value, sizes)
        if not isinstance(value, tuple):
            raise fit.Misfit("labels in a list")
        different = len(set(value))
    if different < len(value):
        raise fit.Misfit("labels of which two are equal")


def _stored_label(value: Any, sizes: fit.Sizes) -> None:
    if isinstance(value, tuple):
        for part in value:
            _stored_label(part, sizes)
    elif value is not None and not isinstance(value, _STORED):
        raise fit.Misfit(f"{shown(value)} for a label, which is a number, a text or a tuple")


def numbered(argument: str, ends: Any) -> tuple[NDArray[np.int64], tuple[Any, ...] | None]:
    """Return names as numbers of nodes, and the labels; None if these are 0, 1, ….

    Whole numbers are numbered in ascending order, other names in order of appearance.
    """
    if isinstance(ends, np.ndarray) and ends.dtype.kind in "iu":
        names, places = np.unique(ends, return_inverse=True)
        if np.array_equal(names, np.arange(len(names))):
            return places, None
        return places, tuple(names.tolist())
    known: dict[Any, int] = {}
    try:
        found = [known.setdefault(name, len(known)) for name in ends]
    except TypeError as error:
        raise ArgumentError(f"{argument}: names that are hashable are needed: {error}") from None
    for name in known:
        if _is_missing(name):
            raise ArgumentError(
                f"{argument}: an edge with the end {shown(name)} was given; leave out edges "
                "without two ends"
            )
        if isinstance(name, _NO_NAMES):
            raise ArgumentError(
                f"{argument}: an edge with the end {shown(name)} was given; names of nodes, or "
                "whole numbers, are needed"
            )
    return np.array(found, dtype=np.int64), tuple(known)


def _is_missing(name: Any) -> bool:
    """Return whether a name is a missing value of a table: None, NaN, NA, NaT."""
    try:
        return name is None or bool(name != name)
    except (TypeError, ValueError):
        return True
