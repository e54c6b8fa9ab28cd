"""Quantities of conjugate blocks: numbers, arrays, coordinates of the state, and sums of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public_class
from fermiac._base.validate import all_finite, numbers, shown, taken
from fermiac.errors import ArgumentError
from fermiac.mcmc.kernel import Oracles

__all__ = ["Grouped", "Linear", "Parsed", "Quantity", "groups_of", "kept", "n_places", "parsed"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: The terms of a sum, at most.
_MOST_TERMS = 64


@dataclass(frozen=True, eq=False)
class Grouped:
    """Coordinates of the state, one for every group of observations.

    Parameters
    ----------
    name : str
        The name of the coordinates: a key of the ``blocks`` of `Gibbs`, or a name of coordinates of
        the target.
    groups : array_like of int, shape (n,)
        The group of each observation, counted from 0. The quantity of observation i is the
        coordinate ``groups[i]`` of those with this name.

    Raises
    ------
    ArgumentError
        If `name` is not a string, or `groups` is not an array of whole numbers of at least 0.

    Examples
    --------
    The common effect of three groups of observations with different means:

    >>> import fermiac as fm
    >>> of = fm.mcmc.conditionals
    >>> of.Grouped("mean", [0, 0, 1, 1, 2])
    Grouped(name='mean', groups=<5 numbers>)
    """

    name: str
    groups: ArrayLike

    def __post_init__(self) -> None:
        _named(self.name)
        object.__setattr__(self, "groups", groups_of("groups", self.groups))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grouped) and kept(self) == kept(other)

    def __hash__(self) -> int:
        return hash(kept(self))

    def __repr__(self) -> str:
        return f"Grouped(name={self.name!r}, groups=<{np.size(self.groups)} numbers>)"


@dataclass(frozen=True, eq=False)
class Linear:
    """The product of a matrix with coordinates of the state.

    Parameters
    ----------
    matrix : array_like of shape (n, k) or (n,)
        A row for every observation, a column for every coordinate. Shape (n,) stands for one
        coordinate.
    name : str
        The name of the coordinates: a key of the ``blocks`` of `Gibbs`, or a name of coordinates of
        the target.

    Raises
    ------
    ArgumentError
        If `name` is not a string, or `matrix` is not an array of finite numbers of these shapes.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.mcmc.conditionals.Linear([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], "beta")
    Linear(matrix=<3 x 2 numbers>, name='beta')
    """

    matrix: ArrayLike
    name: str

    def __post_init__(self) -> None:
        _named(self.name)
        matrix = np.array(numbers("matrix", self.matrix))
        if matrix.ndim == 1:
            matrix = matrix[:, None]
        if matrix.ndim != 2 or matrix.size == 0 or not all_finite(matrix):
            raise ArgumentError(
                f"matrix: an array of shape {np.shape(self.matrix)} given; finite numbers of shape "
                "(n, k), or (n,) for one coordinate, are needed"
            )
        object.__setattr__(self, "matrix", np.ascontiguousarray(matrix))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Linear) and kept(self) == kept(other)

    def __hash__(self) -> int:
        return hash(kept(self))

    def __repr__(self) -> str:
        n, k = np.shape(self.matrix)
        return f"Linear(matrix=<{n} x {k} numbers>, name={self.name!r})"


for _kind in (Grouped, Linear):
    public_class(_kind)

#: A number, an array, the name of coordinates, `Grouped`, `Linear`, or a list of these: their sum.
Quantity: TypeAlias = "ArrayLike | str | Grouped | Linear | Sequence[Any]"


@dataclass(frozen=True, eq=False)
class Parsed:
    """A checked quantity: a constant, and terms with their factors."""

    constant: Array
    terms: tuple[tuple[float, str | Grouped | Linear], ...] = ()

    def __repr__(self) -> str:
        numbers = repr(self.constant.item()) if self.constant.size == 1 else None
        parts = [repr(source) if f == 1 else f"{f:g} {source!r}" for f, source in self.terms]
        if not parts or self.constant.any():
            parts.insert(0, numbers or f"<{self.constant.size} numbers>")
        return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parsed) and kept(self) == kept(other)

    def __hash__(self) -> int:
        return hash(kept(self))

    @property
    def is_constant(self) -> bool:
        """Whether it does not depend on the state."""
        return not self.terms

    def minus(self, other: Parsed) -> Parsed:
        """Return the difference of two quantities."""
        terms = (*self.terms, *((-factor, source) for factor, source in other.terms))
        return Parsed(_sum("offset", self.constant, -other.constant), terms)

    def sizes(self, oracles: Oracles | None) -> set[int]:
        """Return the numbers of places of its parts, without those that are the same everywhere."""
        found = {self.constant.size} if self.constant.ndim else set()
        for _, source in self.terms:
            if isinstance(source, Grouped):
                found.add(np.size(source.groups))
            elif isinstance(source, Linear):
                found.add(len(np.asarray(source.matrix)))
            elif oracles is not None:
                found.add(len(oracles.find(source)))
        return found - {1}

    def resolved(self, what: str, n: int, oracles: Oracles) -> tuple[int, Array, list[Any]]:
        """Return the quantity at `n` places as the core takes it."""
        if self.sizes(oracles) - {n}:
            sizes = sorted(self.sizes(oracles))
            raise ArgumentError(
                f"{what}: {' and '.join(map(str, sizes))} numbers given; one, or {n}, are needed"
            )
        terms = [_term(what, factor, source, oracles) for factor, source in self.terms]
        return n, np.ascontiguousarray(np.atleast_1d(self.constant)), terms


def _term(what: str, factor: float, source: str | Grouped | Linear, oracles: Oracles) -> Any:
    """Return (factor, whether places share the coordinate, coordinates, matrix) for the core."""
    name = source if isinstance(source, str) else source.name
    at = oracles.find(name)
    own = sorted(set(map(int, at)) & set(map(int, oracles.coordinates)))
    if own:
        raise ArgumentError(
            f"{what}: {shown(name)} has the coordinate {own[0]}, which the block itself draws; a "
            "law given the other coordinates cannot depend on its own"
        )
    if isinstance(source, Linear):
        matrix = np.asarray(source.matrix)
        if matrix.shape[1] != len(at):
            raise ArgumentError(
                f"{what}: a matrix with {matrix.shape[1]} columns given for {shown(name)}, which "
                f"has {len(at)} coordinates; a column for each is needed"
            )
        return factor, False, at, matrix
    if isinstance(source, Grouped):
        groups = np.asarray(source.groups)
        if groups.max() >= len(at):
            raise ArgumentError(
                f"{what}: group {groups.max()} given for {shown(name)}, which has {len(at)} "
                "coordinates; groups are counted from 0"
            )
        return factor, False, np.ascontiguousarray(at[groups]), None
    return factor, len(at) == 1, at, None


def parsed(name: str, given: Any) -> Parsed:
    """Return a quantity that was given as an argument."""
    if isinstance(given, Parsed):
        return given
    if isinstance(given, str | Grouped | Linear):
        return Parsed(np.zeros(()), ((1.0, given),))
    if isinstance(given, list | tuple) and any(
        isinstance(part, str | Grouped | Linear) for part in given
    ):
        if len(given) > _MOST_TERMS:
            raise ArgumentError(
                f"{name}: a sum of {len(given)} terms given; at most {_MOST_TERMS} are allowed"
            )
        total = Parsed(np.zeros(()))
        for part in given:
            if isinstance(part, list | tuple) and any(
                isinstance(inner, str | Grouped | Linear | list | tuple) for inner in part
            ):
                raise ArgumentError(f"{name}: a sum within a sum given; one list is needed")
            term = parsed(name, part)
            constant = _sum(name, total.constant, term.constant)
            total = Parsed(constant, (*total.terms, *term.terms))
        return total
    array = np.array(numbers(name, given))
    if array.ndim > 1 or array.size == 0:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} given; a number, an array (n,), the name of "
            "coordinates, Grouped, Linear, or a list of these is needed"
        )
    return Parsed(array)


def n_places(what: str, oracles: Oracles | None, *quantities: Parsed) -> int:
    """Return the number of observations of quantities that broadcast."""
    sizes = {size for quantity in quantities for size in quantity.sizes(oracles)}
    if len(sizes) > 1:
        found = " and ".join(map(str, sorted(sizes)))
        raise ArgumentError(
            f"{what}: parts for {found} observations given; one number, or one for each "
            "observation, is needed"
        )
    return sizes.pop() if sizes else 1


def groups_of(name: str, given: Any) -> Integers:
    """Return groups (n,), whole numbers of at least 0."""
    array = taken(name, given)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} and type {array.dtype} given; whole numbers "
            "of shape (n,), the group of each observation, are needed"
        )
    if array.min() < 0 or array.max() >= 2**31:
        bad = array[(array < 0) | (array >= 2**31)][0]
        raise ArgumentError(f"{name}: {bad} given; groups are counted from 0")
    return array.astype(np.int64)


def kept(value: Any) -> Any:
    """Return a field of a block as the provenance of a result keeps it."""
    if isinstance(value, Grouped):
        return f"Grouped({value.name!r}, {kept(value.groups)})"
    if isinstance(value, Linear):
        return f"Linear({kept(value.matrix)}, {value.name!r})"
    if isinstance(value, Parsed):
        parts = [f"{factor:g} {kept(source)}" for factor, source in value.terms]
        return " + ".join(map(str, [kept(value.constant), *parts]))
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return value.item()
        digest = blake2b(np.ascontiguousarray(value).tobytes(), digest_size=8).hexdigest()
        return f"{value.dtype} {value.shape} {digest}"
    return value


def _sum(name: str, a: Array, b: Array) -> Array:
    """Return the sum of two constants."""
    if a.ndim and b.ndim and a.size != b.size and 1 not in (a.size, b.size):
        raise ArgumentError(
            f"{name}: {a.size} and {b.size} numbers given, which do not fit each other"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        total: Array = a + b
    return total


def _named(name: Any) -> None:
    if not isinstance(name, str):
        raise ArgumentError(
            f"name: {shown(name)} given; the name of coordinates, a string, is needed"
        )
