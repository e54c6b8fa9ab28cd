"""The joint law of named parameters, whose laws may depend on those before them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import key_of, shown, suggestion, whole
from fermiac._base.variables import Params, Variables
from fermiac.distributions.compound import Product, common_measure, density_rows, sample_rows
from fermiac.distributions.law import Array, Law, Measure, points, subkey, unit_points
from fermiac.distributions.rows import RowLaws, support_of
from fermiac.distributions.scipy import as_law
from fermiac.distributions.univariate import UnivariateLaw
from fermiac.errors import ArgumentError
from fermiac.random import Stream

__all__ = ["Joint"]


class Joint(Law):
    r"""The joint law of named parameters: their laws in order, each given those before it.

    The density is :math:`\prod_j p_j(x_j \mid x_1, \dots, x_{j - 1})`.

    Parameters
    ----------
    laws : mapping of str to law or callable
        The law of each parameter, or a function that returns it. A law has one coordinate for a
        number and k coordinates for a vector of length k; frozen laws of scipy.stats are accepted.
        A function takes some of the earlier parameters by name, as arrays of shapes (n, \*shape),
        and returns the laws of the n rows. For a vector these are ``lambda mu, tau:
        Normal.rows(mu[:, None], tau[:, None])``, with parameters that broadcast to (n, k); for a
        number the parameters broadcast to (n,), and ``Normal(mu, tau)`` of n coordinates will do.
        The function may also return a law of one coordinate, which then holds for all rows.
    shapes : mapping of str to int or tuple of int, optional
        Shapes of parameters that the laws do not determine. For a law of one coordinate, or laws of
        rows of shape (n, 1), the entries are independent copies. The coordinates of a law of k
        coordinates are laid out in C order.

    Attributes
    ----------
    dim : int
        The number of coordinates.
    names : tuple of str
        The names of the coordinates: ``mu``, ``theta[0]``, ``theta[1]``, ...

    Raises
    ------
    ArgumentError
        If there is no law, a value is neither a law nor a function, a function has an argument that
        is not an earlier parameter, or it does not return a law of the right shape.

    Notes
    -----
    Functions are called twice when the law is made, with two and with three rows, to learn the
    shape. Afterwards they are called once for each batch of points, with only those rows that are
    inside the support of the earlier parameters.

    The map from the unit cube applies the laws in order, so `fermiac.nested.sample` accepts any
    joint law whose parts have such maps. A joint law of independent built-in laws runs in Rust and
    gives the same bits as their `Product`. A joint law with functions has no gradient.

    Examples
    --------
    >>> import fermiac as fm
    >>> Normal, Gamma = fm.distributions.Normal, fm.distributions.Gamma
    >>> law = fm.distributions.Joint(
    ...     {
    ...         "mu": Normal(0.0, 5.0),
    ...         "tau": Gamma(2.0),
    ...         "theta": lambda mu, tau: Normal.rows(mu[:, None], tau[:, None]),
    ...     },
    ...     shapes={"theta": 3},
    ... )
    >>> law.names
    ('mu', 'tau', 'theta[0]', 'theta[1]', 'theta[2]')
    >>> law.log_density([[0.0, 1.0, 0.0, 1.0, 2.0]]).round(6)
    array([-8.785192])
    """

    variables: Variables

    def __init__(self, laws: Mapping[str, Any], shapes: Params | None = None) -> None:
        given: object = laws
        if not isinstance(given, Mapping) or not laws:
            raise ArgumentError(
                f"laws: {shown(laws)} was given; a dictionary from names of parameters to their "
                "laws, with one at least, is needed"
            )
        wanted = {} if shapes is None else _shapes(shapes, laws)
        parts: list[_Part] = []
        for name, one in laws.items():
            Variables.of_params([name], "laws")  # checks the name
            if _is_function(one):
                parts.append(_conditional(name, one, wanted.get(name), parts))
            else:
                parts.append(_independent(name, as_law(one, f"laws[{name!r}]"), wanted.get(name)))
        self._parts = tuple(parts)
        self._laws = dict(laws)
        self.variables = Variables.of_params({part.name: part.shape for part in parts}, "laws")
        self.dim = self.variables.dim
        self._handle: _core.Law | None = None
        fixed = [part.law for part in parts if part.law is not None]
        if len(fixed) == len(parts):
            self._handle = Product(fixed)._handle

    def _measure(self) -> Measure:
        # Functions return laws with densities.
        return common_measure(tuple(part.law for part in self._parts if part.law is not None))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return self.variables.names

    def __repr__(self) -> str:
        return f"Joint({{{', '.join(f'{part.name!r}: {part!r}' for part in self._parts)}}})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Joint, (self._laws, dict(self.variables.shapes))

    def log_density(self, x: ArrayLike) -> Array:
        """Return the normalised log-density.

        Parameters
        ----------
        x : array_like of shape (..., d)

        Returns
        -------
        ndarray of shape (...)
            -inf outside the support.

        Raises
        ------
        ArgumentError
            If the last axis does not have the law's dimension, or a function does not return laws
            of the rows.
        """
        rows, shape = points(x, self.dim)
        if self._handle is not None:
            return self._handle.log_density(rows).reshape(shape)[()]
        total = np.zeros(len(rows))
        for part, place in zip(self._parts, self.variables.places.values(), strict=True):
            # A later law need not exist where an earlier parameter lies outside its support.
            inside = np.flatnonzero(total > -np.inf)
            if not len(inside):
                break
            some = rows[inside]
            block = np.ascontiguousarray(some[:, place])
            total[inside] += part.log_density(block, self._before(part, some))
        return total.reshape(shape)[()]

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube parameter by parameter.

        Parameters
        ----------
        u : array_like of shape (n, d)
            Numbers in [0, 1].

        Returns
        -------
        ndarray of shape (n, d)

        Raises
        ------
        ArgumentError
            If a law has no such map, the shape is another, or a number is not in [0, 1].
        """
        rows, shape = points(unit_points("u", u), self.dim)
        out = np.empty(rows.shape)
        for part, place in zip(self._parts, self.variables.places.values(), strict=True):
            block = np.ascontiguousarray(rows[:, place])
            out[:, place] = part.from_unit(block, self._before(part, out))
        return out.reshape((*shape, self.dim))

    def sample(self, n: int, rng: Any = None) -> Array:
        """Draw ``n`` independent points; see `Law.sample`."""
        if self._handle is not None:
            return Product([part.law for part in self._parts]).sample(n, rng)
        n, key = whole("n", n, 0, 2**62), key_of(rng)
        out = np.empty((n, self.dim))
        for i, (part, place) in enumerate(
            zip(self._parts, self.variables.places.values(), strict=True)
        ):
            out[:, place] = part.sample(n, subkey(key, i), self._before(part, out))
        return out

    def _support(self) -> list[tuple[float, float]]:
        return [bounds for part in self._parts for bounds in part.support()]

    def _before(self, part: _Part, x: Array) -> dict[str, Array]:
        """Return the parameters of points that the law of a part depends on."""
        # A function may write to its arrays.
        return {name: self.variables.pick(x, name).copy() for name in part.depends}


@dataclass(frozen=True)
class _Part:
    """A parameter with its law, or with the function that gives the law for each row."""

    name: str
    shape: tuple[int, ...]
    law: Law | None
    function: Callable[..., Any] | None = None
    depends: tuple[str, ...] = ()
    kind: str = ""

    def __repr__(self) -> str:
        # The name of a function is the same in every process.
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return repr(self.law) if self.function is None else name

    def log_density(self, block: Array, before: Mapping[str, Array]) -> Array:
        """Return the log-densities of rows, given the parameters that the law depends on."""
        if self.law is not None:
            return density_rows(self.law, block)
        with self.named():
            laws = self.rows(before, len(block))
            values = laws.log_density(block.reshape(len(block), *self.shape)).reshape(block.shape)
        outside = (values == -np.inf).any(axis=1) & ~np.isnan(values).any(axis=1)
        total = np.where(outside[:, None], 0.0, values).sum(axis=1)
        return np.where(outside, -np.inf, total)

    def from_unit(self, block: Array, before: Mapping[str, Array]) -> Array:
        """Map rows of the unit cube, given the parameters that the law depends on."""
        if self.law is not None:
            return self.law.from_unit(block)
        with self.named():
            laws = self.rows(before, len(block))
            return laws.ppf(block.reshape(len(block), *self.shape)).reshape(block.shape)

    def sample(self, n: int, key: int, before: Mapping[str, Array]) -> Array:
        """Draw n rows, given the parameters that the law depends on."""
        if self.law is not None:
            return sample_rows(self.law, n, key)
        u = np.asarray(Stream(key).uniform((n, math.prod(self.shape))), dtype=np.float64)
        return self.from_unit(u, before) if n else u

    def rows(self, before: Mapping[str, Array], n: int) -> RowLaws:
        """Return the laws of n rows."""
        assert self.function is not None
        return _rows(self.name, self.function(**before), n)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name the law in errors about its parameters."""
        try:
            yield
        except ArgumentError as error:
            error.add_note(f"raised by the law of {self.name!r}")
            raise

    def support(self) -> list[tuple[float, float]]:
        """Return bounds of every coordinate that hold for all values of the other parameters."""
        if self.law is not None:
            return list(self.law._support())
        return [support_of(self.kind)] * math.prod(self.shape)


def _is_function(given: Any) -> bool:
    """Return whether a value is a function and not a law, since laws may be callable too."""
    frozen = type(given).__module__.startswith("scipy.stats")
    return callable(given) and not isinstance(given, Law | type) and not frozen


def _shapes(shapes: Any, laws: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that were given, whose names must be those of laws."""
    given = dict(Variables.of_params(shapes, "shapes").shapes)
    if unknown := [name for name in given if name not in laws]:
        known = [str(name) for name in laws]
        raise ArgumentError(
            f"shapes: {unknown[0]!r} has no law; {suggestion(unknown[0], known)}there are {known}"
        )
    return given


def _independent(name: str, law: Law, shape: tuple[int, ...] | None) -> _Part:
    """Return the part of a law that depends on nothing."""
    if shape is None:
        # An array of parameters of length 1 makes a vector of length 1.
        vector = isinstance(law, UnivariateLaw) and any(
            isinstance(value, np.ndarray) for value in law._values.values()
        )
        shape = (law.dim,) if vector or law.dim > 1 else ()
    size = math.prod(shape)
    if law.dim == 1 and size > 1:
        law = Product([law] * size)
    if law.dim != size:
        raise ArgumentError(
            f"shapes: {name!r} has the shape {shape}, {size} coordinates, and a law of {law.dim}"
        )
    return _Part(name, shape, law)


def _conditional(
    name: str,
    function: Callable[..., Any],
    shape: tuple[int, ...] | None,
    parts: list[_Part],
) -> _Part:
    """Return the part that a function defines; the function is called to learn its shape."""
    depends = _asked(name, function, [part.name for part in parts])
    laws = []
    for n in (2, 3):
        values: dict[str, Array] = {}
        for part in parts:
            drawn = part.sample(n, 0, {key: values[key] for key in part.depends})
            values[part.name] = drawn.reshape(n, *part.shape)
        laws.append(_rows(name, function(**{key: values[key] for key in depends}), n))
        told = laws[-1].shape[1:]
        if shape is None:
            shape = told
        laws[-1]._parameters((n, *shape))  # refuses shapes that do not broadcast
    return _Part(name, shape or (), None, function, depends, laws[0]._kind)


def _asked(name: str, function: Callable[..., Any], known: list[str]) -> tuple[str, ...]:
    """Return the parameters that a function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"laws[{name!r}]: {shown(function)} has no signature that tells what it depends on; "
            "wrap it in a lambda"
        ) from error
    asked = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            asked += [other for other in known if other not in asked]
        elif parameter.name in known and parameter.kind is not parameter.POSITIONAL_ONLY:
            asked.append(parameter.name)
        elif parameter.default is parameter.empty:
            hint = suggestion(parameter.name, known)
            there = f"those are {', '.join(known)}" if known else "there are none"
            raise ArgumentError(
                f"laws[{name!r}]: the function asks for {parameter.name!r}, which is no parameter "
                f"before {name!r}; {hint}{there}"
            )
    return tuple(asked)


def _rows(name: str, given: Any, n: int) -> RowLaws:
    """Return what a function gave for n rows as laws of rows."""
    if isinstance(given, RowLaws):
        if given.shape[:1] not in ((), (1,), (n,)):
            raise ArgumentError(
                f"laws[{name!r}]: laws of {given.shape[0]} rows were given for a batch of {n}"
            )
        return given
    law = as_law(given, f"laws[{name!r}]")
    if not isinstance(law, UnivariateLaw) or law.dim not in (1, n):
        raise ArgumentError(
            f"laws[{name!r}]: the function gave {shown(law)} for {n} rows; a law of one "
            "coordinate for each row is needed: Normal(mu, sd) with arrays (n,), or "
            "Normal.rows(mu, sd) with arrays (n, ...)"
        )
    return RowLaws(type(law).__name__, dict(law._values))
