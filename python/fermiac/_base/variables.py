"""Named parameters: the shapes of variables, and their positions among the coordinates of a point.

A point of a model is a row of numbers; the parameters have names and shapes. The names of the
coordinates encode both: ``mu`` is a scalar, ``theta[0]`` and ``theta[1]`` are a vector, ``m[0,
0]``, ``m[0, 1]`` and so on are a matrix in C order. A list of names is therefore all that has to be
kept.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import MOST_NAMES, listed, shown, suggestion, whole
from fermiac.errors import ArgumentError, UnknownNameError

__all__ = ["Params", "Variables"]

Array = NDArray[np.float64]
#: The types of ``params=``; see `Variables.of_params`.
Params: TypeAlias = "Mapping[str, int | Sequence[int] | None] | Sequence[str] | Variables"

#: The most axes of a variable; a batch has one more, and NumPy has a limit.
_MOST_AXES = 30
_INDEXED = re.compile(r"(.+?)\[(\d+(?:, ?\d+)*)\]")


@dataclass(frozen=True)
class Variables:
    """The variables of a point, in the order of its coordinates.

    Attributes
    ----------
    shapes : mapping of str to tuple of int
        The shape of each variable, () for a scalar. A variable with axes is stored in C order.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of_names(cls, names: Iterable[str]) -> Variables:
        """Return the variables that the names of coordinates describe.

        Indexed names that are not complete, or not in C order and side by side, stay scalars.
        """
        names = list(names)
        known = set(names)
        sizes = Counter(match[1] for match in map(_INDEXED.fullmatch, names) if match)
        shapes: dict[str, tuple[int, ...]] = {}
        start = 0
        while start < len(names):
            base, shape = _block(names, start)
            if shape and (sizes[base] != math.prod(shape) or base in known):
                base, shape = names[start], ()  # its other elements are not adjacent
            shapes[base] = shape
            start += math.prod(shape)
        return cls(shapes)

    @classmethod
    def of_params(cls, params: Any, argument: str = "params") -> Variables:
        """Return the variables that a user gave.

        Parameters
        ----------
        params : mapping, sequence of str or Variables
            The shape of each variable by its name: None or () for a scalar, a length, or lengths of
            axes. The variables of a sequence of names are scalars.
        argument : str
            The name of the argument, for messages.

        Raises
        ------
        ArgumentError
            If `params` is of another type or empty, a name occurs twice, or there are too many
            coordinates.
        """
        if isinstance(params, cls):
            return params
        if isinstance(params, Mapping):
            items: list[tuple[Any, Any]] = list(params.items())
        else:
            names = None if isinstance(params, str | bytes) else listed(params, MOST_NAMES)
            if names is None:
                raise ArgumentError(
                    f"{argument}: {shown(params)} was given; the shapes of variables by their "
                    'names, {"mu": (), "theta": 8}, or a sequence of names of scalars is needed'
                )
            items = [(name, ()) for name in names]
        shapes = {_name(argument, name): _shape(argument, name, shape) for name, shape in items}
        if not shapes or len(shapes) != len(items):
            raise ArgumentError(
                f"{argument}: {shown(params)} was given; at least one variable is needed, each once"
            )
        if sum(map(math.prod, shapes.values())) > MOST_NAMES:
            raise ArgumentError(
                f"{argument}: more than {MOST_NAMES} coordinates were given; write the function of "
                "points, (n, d), for so many"
            )
        return cls(shapes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return tuple(name for base, shape in self.shapes.items() for name in _names(base, shape))

    @cached_property
    def dim(self) -> int:
        """The number of coordinates."""
        return sum(map(math.prod, self.shapes.values()))

    @cached_property
    def places(self) -> dict[str, slice]:
        """The coordinates of each variable."""
        places, start = {}, 0
        for base, shape in self.shapes.items():
            places[base] = slice(start, start + math.prod(shape))
            start = places[base].stop
        return places

    def pick(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        """Return a variable, or one coordinate, of points (..., d), with shape (..., *its shape).

        Raises
        ------
        UnknownNameError
            If there is no such name; the message suggests the nearest one.
        """
        if name in self.places:
            return x[..., self.places[name]].reshape((*x.shape[:-1], *self.shapes[name]))
        return x[..., self.columns(name)[0]]

    def columns(self, name: str) -> list[int]:
        """Return the positions of the coordinates of a variable, or of one coordinate.

        Raises
        ------
        UnknownNameError
            If there is no such name; the message suggests the nearest one.
        """
        if name in self.places:
            place = self.places[name]
            return list(range(place.start, place.stop))
        tight = re.sub(r",\s*", ", ", name)
        if tight in self.names:
            return [self.names.index(tight)]
        known = list(self.shapes)
        hint = suggestion(name, known)
        raise UnknownNameError(
            f"no parameter {shown(name)}; {hint}{'There' if hint else 'there'} are "
            f"{', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
        )

    def positions(self, names: Any, what: str = "var_names") -> list[int]:
        """Return the positions of the coordinates of variables or coordinates, all by default.

        Raises
        ------
        ArgumentError
            If a name is unknown, a coordinate occurs twice, or no name is given.
        """
        if names is None:
            return list(range(self.dim))
        given = [names] if isinstance(names, str) else listed(names, self.dim)
        if not given or not all(isinstance(name, str) for name in given):
            raise ArgumentError(
                f"{what}: {shown(names)} given; names of variables or coordinates are needed, out "
                f"of {', '.join(list(self.shapes)[:12])}"
            )
        found = [j for name in given for j in self.columns(name)]
        if len(set(found)) < len(found):
            raise ArgumentError(f"{what}: {shown(names)} given, in which a coordinate comes twice")
        return found

    def split(self, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return all variables of points (..., d)."""
        return {name: self.pick(x, name) for name in self.shapes}

    def join(self, values: Mapping[str, ArrayLike], what: str = "values") -> Array:
        """Return points (..., d) from the values of all variables, each of shape (..., *shape).

        Raises
        ------
        ArgumentError
            If a variable is missing or unknown, or the shapes do not fit.
        """
        if unknown := [name for name in values if name not in self.shapes]:
            hint = suggestion(str(unknown[0]), list(self.shapes))
            raise ArgumentError(
                f"{what}: no parameter {shown(unknown[0])}; {hint}"
                f"{'There' if hint else 'there'} are {list(self.shapes)}"
            )
        if missing := [name for name in self.shapes if name not in values]:
            raise ArgumentError(f"{what}: {missing[0]!r} is missing; give {list(self.shapes)}")
        arrays, leads = [], []
        for name, shape in self.shapes.items():
            array = np.asarray(values[name], dtype=np.float64)
            lead = array.shape[: array.ndim - len(shape)]
            if array.shape[len(lead) :] != shape:
                raise ArgumentError(
                    f"{what}: {name} of shape {array.shape} given; its last axes must be {shape}"
                )
            arrays.append(array.reshape(*lead, math.prod(shape)))
            leads.append(lead)
        try:
            lead = np.broadcast_shapes(*leads)
        except ValueError as error:
            raise ArgumentError(
                f"{what}: the leading axes {leads} of {list(self.shapes)} do not broadcast"
            ) from error
        return np.concatenate([np.broadcast_to(a, (*lead, a.shape[-1])) for a in arrays], axis=-1)


def _name(argument: str, name: object) -> str:
    """Return the name of a variable, which must not look like the name of a coordinate."""
    if not isinstance(name, str) or not name or "[" in name:
        raise ArgumentError(
            f"{argument}: {shown(name)} was given as a name; text without brackets is needed"
        )
    return name


def _shape(argument: str, name: str, given: Any) -> tuple[int, ...]:
    """Return the shape of a variable."""
    if given is None:
        return ()
    sizes = listed(given, _MOST_AXES) if isinstance(given, list | tuple) else [given]
    if sizes is None:
        raise ArgumentError(
            f"{argument}: {shown(given)} was given for {name!r}; at most {_MOST_AXES} axes"
        )
    return tuple(whole(f"{argument}[{name!r}]", size, 1, MOST_NAMES) for size in sizes)


def _names(base: str, shape: Sequence[int]) -> list[str]:
    if not shape:
        return [base]
    return [f"{base}[{', '.join(map(str, index))}]" for index in product(*map(range, shape))]


def _block(names: list[str], start: int) -> tuple[str, tuple[int, ...]]:
    """Return the variable that begins at a coordinate: a complete array, else a scalar."""
    match = _INDEXED.fullmatch(names[start])
    if match is None or set(match[2]) - set("0, "):
        return names[start], ()
    base, rank = match[1], match[2].count(",") + 1
    stop, last = start, (0,) * rank
    while stop < len(names) and (found := _INDEXED.fullmatch(names[stop])) and found[1] == base:
        index = tuple(map(int, found[2].split(",")))
        if len(index) != rank:
            break
        last = tuple(map(max, last, index))
        stop += 1
    shape = tuple(i + 1 for i in last)
    block = [re.sub(r",\s*", ", ", name) for name in names[start:stop]]
    if block != _names(base, shape):
        return names[start], ()
    return base, shape
