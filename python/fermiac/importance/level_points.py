"""Sobol' points for the paths of a level, in place of a random stream."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.random import sobol
from fermiac.special import ndtri

__all__ = ["LevelPoints"]

Array = NDArray[np.float64]

#: The number of coordinates that are computed first; it doubles each further time.
_FIRST = 8


class LevelPoints:
    """Coordinates of Sobol' points, in the order in which a level draws them.

    Parameters
    ----------
    n : int
        Points of each replicate. The paths of all replicates follow one after the other.
    replicates : int
        The number of scrambles.
    key : int
        The key of the scrambles.
    start : int
        The index of the first point.
    """

    def __init__(self, n: int, replicates: int, key: int, start: int) -> None:
        self._n = n * replicates
        self._address = n, replicates, key, start
        self._table = np.empty((self._n, 0))
        self._used = 0

    def uniform(self, size: Any = None) -> Array:
        """Return the next coordinates, which are uniform, in an array with n on the first axis."""
        shape = self._shape(size)
        count = math.prod(shape[1:])
        stop = self._used + count
        if stop > self._table.shape[1]:
            n, replicates, key, start = self._address
            dim = max(stop, 2 * self._table.shape[1], _FIRST)
            nets = [sobol(n, dim, key, start=start, replicate=r) for r in range(replicates)]
            self._table = np.concatenate(nets)
        part = self._table[:, self._used : stop].reshape(shape)
        self._used = stop
        return part.copy()

    def normal(self, size: Any = None) -> Array:
        """Return the normal quantiles of the next coordinates."""
        return np.asarray(ndtri(self.uniform(size)), np.float64)

    def exponential(self, size: Any = None) -> Array:
        """Return the exponential quantiles of the next coordinates."""
        return -np.log(self.uniform(size))

    def _shape(self, size: Any) -> tuple[int, ...]:
        shape = tuple(size) if isinstance(size, tuple | list) else (size,)
        whole = all(isinstance(k, int | np.integer) and k >= 0 for k in shape)
        if not whole or shape[0] != self._n:
            raise ArgumentError(
                f"size: {shown(size)} given for the stream of {self._n} Sobol' points; a row for "
                "each path is needed, n or (n, k)"
            )
        return tuple(int(k) for k in shape)

    def __getattr__(self, name: str) -> NoReturn:
        # Copies and pickles look for special methods.
        if name.startswith("_"):
            raise AttributeError(name)
        raise ArgumentError(
            f"stream.{name}: not available with points='sobol', whose stream has only uniform, "
            "normal and exponential; draw by these, or leave points out"
        )
