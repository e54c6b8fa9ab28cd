"""Base class of the built-in targets: frozen objects defined by their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.validate import numbered, real_numbers
from fermiac.errors import ArgumentError

__all__ = ["Built", "BuiltinIntegrand", "numbered", "real_numbers", "scalar"]

Array = NDArray[np.float64]


class Built:
    """Base class of objects that a function makes from arguments: frozen, comparable, picklable."""

    __slots__ = ()

    _arguments: MappingProxyType[str, Any]
    _make: Callable[..., Any]

    def _freeze(
        self, make: Callable[..., Any], arguments: Mapping[str, Any], **attributes: Any
    ) -> None:
        for value in arguments.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        attributes |= {"_make": make, "_arguments": MappingProxyType(dict(arguments))}
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Built):
            return NotImplemented
        return self._make is other._make and all(
            _equal(value, other._arguments[name]) for name, value in self._arguments.items()
        )

    def __hash__(self) -> int:
        # The sum makes 0.0 of -0.0: equal objects must have equal hashes.
        values = (
            (v.shape, (v + 0.0).tobytes()) if isinstance(v, np.ndarray) else v
            for v in self._arguments.values()
        )
        return hash((self._make, *values))

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (self._make, dict(self._arguments))

    def __repr__(self) -> str:
        by_name = inspect.unwrap(self._make).__kwdefaults__ or {}
        shown = (
            f"{name}={_short(value)}" if name in by_name else _short(value)
            for name, value in self._arguments.items()
            if name not in by_name or not _equal(value, by_name[name])
        )
        return f"{self._make.__name__}({', '.join(shown)})"


class BuiltinIntegrand(Built):
    """An integrand that runs in Rust, on all threads where a method evaluates it.

    The functions of `fermiac.targets` make them (`powers`, `genz`, ...). They are frozen, equal
    if they were made by the same function from equal arguments, hashable and picklable. The value
    of a point never depends on its batch.

    Attributes
    ----------
    dim : int
        Coordinates of a point.
    n_outputs : int
        Numbers per point.
    scalar : bool
        Whether a single output has shape (n,) and not (n, 1).

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> f = fm.targets.powers([2, 4])
    >>> f
    powers([2, 4])
    >>> f(np.array([[1.0], [3.0]]))
    array([[ 1.,  1.],
           [ 9., 81.]])
    """

    __slots__ = ("_arguments", "_handle", "_make", "dim", "n_outputs", "scalar")

    dim: int
    n_outputs: int
    scalar: bool
    _handle: _core.Integrand

    def __init__(
        self, make: Callable[..., BuiltinIntegrand], handle: _core.Integrand, **arguments: Any
    ) -> None:
        self._freeze(
            make,
            arguments,
            _handle=handle,
            dim=handle.dim,
            n_outputs=handle.n_outputs,
            scalar=handle.scalar,
        )

    def __call__(self, x: ArrayLike) -> Array:
        """Evaluate a batch of points.

        Parameters
        ----------
        x : array_like of shape (n, d)
            Points.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs)
            NaN where a coordinate that matters is NaN.

        Raises
        ------
        ArgumentError
            If `x` is not an array of numbers of this shape.
        """
        points = real_numbers("x", x)
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise ArgumentError(
                f"x: an array of shape {points.shape} given; {self._make.__name__} takes points of "
                f"{self.dim} coordinate{'s' if self.dim > 1 else ''} as rows, shape (n, {self.dim})"
            )
        return self._handle(points, resolve_threads(None))


def scalar(name: str, value: object) -> float:
    """Return one real number, or raise in the argument's name."""
    given = real_numbers(name, value)  # type: ignore[arg-type]
    if given.ndim:
        raise ArgumentError(f"{name}: an array of shape {given.shape} given; a number is needed")
    return float(given)


def _remake(make: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    return make(**arguments)


def _equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return bool(a == b)


def _short(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.size > 6:
        return f"<{' x '.join(map(str, value.shape))} array>"
    return repr(value.tolist())
