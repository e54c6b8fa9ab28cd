"""Gradients of log-densities by central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.targets.density import LogDensity

__all__ = ["WITH_GRADIENT", "FiniteDensity", "central_differences", "unwrapped"]

Array = NDArray[np.float64]

#: The ways to a gradient, for messages.
WITH_GRADIENT = (
    "give gradient= a function, True if log_density returns a pair (value, gradient), or 'finite' "
    "for central differences (2 d + 1 evaluations each); or give a target that has one: "
    "fermiac.targets.from_jax, fermiac.targets.torch, or a numba function by "
    "fermiac.targets.native(pointer, dim, gradient=True)"
)
#: The step in units of max(|x|, 1). The error of the differences, h^2 |f'''| / 6 + eps |f| / h, is
#: smallest near the third root of the rounding unit where f and f''' are of one size.
STEP = float(np.cbrt(np.finfo(float).eps))
#: The most numbers of the points of one call.
_MOST = 2**22


class FiniteDensity(LogDensity):
    """A log-density whose gradient consists of central differences of its values.

    Parameters
    ----------
    source : LogDensity
        The log-density.
    """

    __slots__ = ("_more_evals", "dim", "form", "log_evidence", "names", "source")

    has_gradient = True
    _autodiff = True  # a gradient by differences needs no check by differences

    def __init__(self, source: LogDensity) -> None:
        if not isinstance(source, LogDensity):
            raise ArgumentError(
                f"source: a {type(source).__name__} was given; a log-density is needed, such as "
                "as_target makes of a callable"
            )
        self.source = source
        self.dim = source.dim
        self.form = source.form
        self.names = source.names
        self.log_evidence = source.log_evidence
        #: Evaluations in addition to one for each point.
        self._more_evals = 0

    def __repr__(self) -> str:
        return f"as_target({self.source!r}, gradient='finite')"

    def __reduce__(self) -> tuple[Any, ...]:
        return FiniteDensity, (self.source,)

    def _support(self) -> list[tuple[float, float]]:
        return self.source._support()

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        return self.differenced(lambda y: self.source._evaluate(y, False)[0], x, with_gradient)

    def differenced(
        self, values: Callable[[Array], Array], x: Array, with_gradient: bool
    ) -> tuple[Array, Array | None]:
        """Return values and differences of a function of this density, and count them here."""
        if not with_gradient:
            return values(x), None
        self._more_evals += 2 * x.size
        return central_differences(values, x)


def central_differences(values: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    """Return the values of a function at points, and its slopes by central differences.

    If the density is 0 at one of the two neighbours, the slope is one-sided; if it is 0 at both,
    the slope is 0. All points of a batch are evaluated in one call, up to 2**22 numbers.

    Parameters
    ----------
    values : callable (m, d) -> (m,)
    x : ndarray of shape (n, d)

    Returns
    -------
    values : ndarray of shape (n,)
    slopes : ndarray of shape (n, d)
    """
    n, d = x.shape
    rows = max(1, min(n, _MOST // (d * (2 * d + 1))))
    block = d if rows * d * (2 * d + 1) <= _MOST else max(1, _MOST // (2 * d))
    centre, slopes = np.empty(n), np.empty((n, d))
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        for first in range(0, d, block):
            _differences(values, x[part], first, block, centre[part], slopes[part])
    return centre, slopes


def _differences(
    values: Callable[[Array], Array], x: Array, first: int, block: int, centre: Array, slopes: Array
) -> None:
    """Fill the slopes along a block of axes, and at the first one the values."""
    axes = np.arange(first, min(first + block, x.shape[1]))
    each, m = np.arange(len(axes)), len(axes)
    with np.errstate(invalid="ignore"):
        size = np.maximum(np.abs(x[:, axes]), 1.0)
    step = STEP * np.where(np.isfinite(size), size, 1.0)
    points = np.repeat(x[:, None, :], 2 * m + (first == 0), axis=1)
    points[:, each, axes] += step
    points[:, m + each, axes] -= step
    # The steps as they are after rounding.
    with np.errstate(invalid="ignore"):
        up, down = points[:, each, axes] - x[:, axes], x[:, axes] - points[:, m + each, axes]
    got = values(points.reshape(-1, x.shape[1])).reshape(len(x), -1)
    if first == 0:
        centre[:] = got[:, -1]
    above, below, here = got[:, :m], got[:, m : 2 * m], centre[:, None]
    has_above, has_below = np.isfinite(above), np.isfinite(below)
    with np.errstate(invalid="ignore"):
        rise = np.where(has_above, above, here) - np.where(has_below, below, here)
        run = np.where(has_above, up, 0.0) + np.where(has_below, down, 0.0)
    known = (has_above | has_below) & np.isfinite(here)
    slopes[:, axes] = np.divide(rise, run, out=np.zeros_like(rise), where=known)


def unwrapped(target: LogDensity) -> LogDensity:
    """Return the log-density whose values are evaluated."""
    return target.source if isinstance(target, FiniteDensity) else target
