"""A limit state in standard normal space: the map of a law, and the calls of the function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import special
from fermiac._base.ask import ask
from fermiac.distributions import LogNormal, MultivariateNormal, Normal, Product
from fermiac.distributions.law import Law
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.callables import as_batch

__all__ = ["LimitState", "NormalMap", "batch_of", "require_unit_map", "unit_moves"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: The largest number of points, and of their coordinates, in one call of the function.
_BATCH, _NUMBERS = 65536, 2**23
#: The largest double below 1: the quantile at 1 may be infinite.
_MOST = 1 - 2.0**-53
_LEAST = 2.0**-1022
#: The step of differences of the map.
_STEP = 1e-5


def batch_of(dim: int) -> int:
    """Return the number of points of this dimension in a batch."""
    return min(_BATCH, max(_NUMBERS // dim, 64))


class NormalMap:
    """The map of standard normal points to points of a law: from_unit(Phi(u)).

    Normal and log-normal laws are mapped directly, since Phi(u) rounds to 1 beyond 8.2.
    """

    def __init__(self, law: Law) -> None:
        self.dim = law.dim
        self._law = law
        self._affine = _affine(law)
        #: Whether the law is the standard normal one.
        self._same = self._affine is not None and _is_standard(*self._affine)

    def __call__(self, u: Array) -> Array:
        """Return the points of the law for the rows of `u`."""
        if self._affine is not None:
            loc, factor, exponent = self._affine
            if self._same:
                return np.array(u, np.float64, order="C")
            x = u * factor + loc if factor.ndim == 1 else u @ factor.T + loc
            if exponent.any():
                x[:, exponent] = np.exp(x[:, exponent])
            return np.ascontiguousarray(x)
        unit = np.asarray(special.ndtr(u))
        x = np.asarray(self._law.from_unit(np.clip(unit, _LEAST, _MOST)), np.float64)
        if x.shape != u.shape:
            raise TargetError(
                f"{type(self._law).__name__}.from_unit gave shape {x.shape} for points of shape "
                f"{u.shape}; the same shape is needed"
            )
        return np.ascontiguousarray(x)

    def gradient(self, u: Array, of_x: Array) -> Array:
        """Return the gradient with respect to u of a function with the gradient `of_x` at x(u)."""
        slope = np.empty_like(u)
        for rows, moves in unit_moves(u.size, _STEP):
            x = self(np.concatenate([u + moves, u - moves]))
            slope[rows] = (x[: len(moves)] - x[len(moves) :]) @ of_x / (2 * _STEP)
        return slope


def _affine(law: Law) -> tuple[Array, Array, Flags] | None:
    """Return location, factors and which coordinates are exponentials, for normal laws."""
    if isinstance(law, MultivariateNormal):
        factor = np.asarray(np.linalg.cholesky(law.cov), np.float64)
        return law.mean, factor, np.zeros(law.dim, bool)
    parts = law.laws if isinstance(law, Product) else (law,)
    columns = []
    for part in parts:
        if type(part) not in (Normal, LogNormal):
            return None
        loc, scale = part._values.values()  # type: ignore[attr-defined]
        columns.append(
            (
                np.broadcast_to(loc, part.dim),
                np.broadcast_to(scale, part.dim),
                np.full(part.dim, type(part) is LogNormal),
            )
        )
    locs, scales, exponents = zip(*columns, strict=True)
    return np.concatenate(locs), np.concatenate(scales), np.concatenate(exponents)


def _is_standard(loc: Array, factor: Array, exponent: Flags) -> bool:
    unit = 1.0 if factor.ndim == 1 else np.eye(len(factor))
    return bool((loc == 0).all() and (factor == unit).all() and not exponent.any())


def unit_moves(dim: int, step: float) -> Iterator[tuple[slice, Array]]:
    """Yield the rows of a multiple of the unit matrix, in parts that fit into memory."""
    n = batch_of(dim)
    for start in range(0, dim, n):
        rows = slice(start, min(start + n, dim))
        yield rows, step * np.eye(rows.stop - start, dim, start)


class LimitState:
    """A limit state of standard normal points, with K columns; it counts its evaluations.

    Parameters
    ----------
    f : callable
        Takes points of the law, (n, d); gives (n,) or (n, K).
    space : NormalMap
    on_nan : {"raise", "zero"}
        Values that are not finite are errors, or count as no failure.
    report : callable or None
        A function that is called with the number of evaluations.
    name : str
        The name of the function's argument, for messages.
    """

    def __init__(
        self,
        f: Any,
        space: NormalMap,
        on_nan: str,
        report: Callable[[int], object] | None,
        name: str = "g",
    ) -> None:
        self._f = f
        self.space = space
        self.dim = space.dim
        self._skip = on_nan == "zero"
        self._report = report
        self._name = name
        self._first: list[Callable[[int], object]] = []
        self.n_evals = 0
        self.n_non_finite = 0
        #: The form of the values, known after the first call.
        self.scalar: bool | None = None
        self.n_columns = 0

    def on_first(self, call: Callable[[int], object]) -> None:
        """Let a function be called with the number of columns, before the budget is spent."""
        self._first.append(call)

    def __call__(self, u: Array) -> Array:
        """Return the values at the rows of `u`, shape (n, K)."""
        rows = batch_of(self.dim)
        parts = [self._batch(u[i : i + rows]) for i in range(0, len(u), rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _batch(self, u: Array) -> Array:
        x = self.space(u)
        given = ask(self._f, (x,), self._name)
        values = self._checked(given, u, x)
        self.n_evals += len(u)
        if self._report is not None:
            self._report(self.n_evals)
        return values

    def _checked(self, y: Any, u: Array, x: Array) -> Array:
        values = as_batch(y, x)
        if values.dtype.kind == "b":
            raise ArgumentError(
                f"{self._name}: it gave bools; the value of g is needed, as the search for rare "
                "failures follows it down; for an indicator use fermiac.importance.expect"
            )
        if values.dtype.kind == "c":
            raise TargetError(f"{self._name}: it gave complex numbers; a limit state is real")
        if self.scalar is None:
            self.scalar = values.ndim == 1
            self.n_columns = 1 if self.scalar else values.shape[1]
            for call in self._first:
                call(self.n_columns)
        table = np.array(values, np.float64).reshape(len(x), -1)
        if (values.ndim == 1) != self.scalar or table.shape[1] != self.n_columns:
            was = "(n,)" if self.scalar else f"(n, {self.n_columns})"
            raise TargetError(
                f"{self._name}: it gave an array of shape {values.shape} for a batch of {len(x)} "
                f"points, and {was} before; the shape must not change"
            )
        bad = ~np.isfinite(table)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            if not self._skip:
                raise TargetError(
                    f"{self._name}: it gave {table[row, column]} at the point {x[row]}"
                    + ("" if self.scalar else f" (output {column})")
                    + "; return a finite number, or give on_nan='zero' to count such points as "
                    "no failure"
                )
            self.n_non_finite += int(bad.sum())
            # Above every threshold; the largest double keeps differences finite or infinite.
            table[bad] = np.finfo(float).max
        return table


def require_unit_map(law: Law) -> None:
    """Raise an error if a law has no map from the unit cube."""
    try:
        law.from_unit(np.full((1, law.dim), 0.5))
    except ArgumentError as error:
        raise ArgumentError(
            f"law: {type(law).__name__} has no map from the unit cube, which failure_probability "
            "needs; use a univariate law, a Product of such laws, MultivariateNormal or "
            "GaussianCopula, define from_unit, or estimate the indicator of failure with "
            "fermiac.importance.expect"
        ) from error
