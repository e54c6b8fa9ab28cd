"""The likelihood on the unit cube, which counts, times and keeps what it is asked."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import TargetError
from fermiac.nested.prior import Prior

__all__ = ["Asked", "Cube", "Truth"]

Array = NDArray[np.float64]
#: Points that are evaluated at a time outside of runs.
_PART = 4096


class Cube(Prior):
    """The unit cube as its own space of parameters."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, np.copy, None)

    @property
    def handle(self) -> Any:
        """Return the prior as the core takes it."""
        return self.dim


class Asked:
    """A log-likelihood as `Job` takes it, of a handle for the core."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle


class Truth:
    """The log-likelihood at points of the cube.

    Attributes
    ----------
    n : int
        Points that it was asked for.
    seconds : float
        Of the wall, in the likelihood and the map of the prior.
    """

    def __init__(self, prior: Prior, target: Any, nan: str) -> None:
        self.prior = prior
        self.n = 0
        self.seconds = 0.0
        self._target = target
        self._nan = nan
        self._u: list[Array] = []
        self._ell: list[Array] = []

    @property
    def dim(self) -> int:
        """Return the number of parameters."""
        return self.prior.dim

    @property
    def _handle(self) -> Any:
        return (self._evaluate, self.dim, False)

    def _evaluate(self, u: Array, _with_gradient: bool) -> tuple[Array, None]:
        start = time.perf_counter()
        kept = u.copy()  # the map of the prior may write to its points
        values, _ = self._target._evaluate(self.prior.transform(u), False)
        self.seconds += time.perf_counter() - start
        self.n += len(kept)
        self._u.append(kept)
        self._ell.append(values.copy())
        return values, None

    def at(self, u: Array) -> Array:
        """Values at points that no run asks for: -inf for a NaN that is let pass."""
        parts = [self._evaluate(np.ascontiguousarray(part), False)[0] for part in _parts(u)]
        values = np.concatenate(parts)
        if self._nan == "-inf":
            values[np.isnan(values)] = -np.inf
        wrong = np.flatnonzero(~(values < np.inf))
        if len(wrong):
            row = wrong[0]
            raise TargetError(
                f"the log-likelihood is {values[row]} at u = {u[row][:6]}, "
                f"x = {self.prior.transform(u[row : row + 1])[0][:6]}; give -inf where the "
                "likelihood is 0, and a finite number elsewhere"
            )
        return values

    @property
    def n_known(self) -> int:
        """Points whose values are known."""
        return sum(map(len, self._ell))

    def forget(self) -> None:
        """Let what was asked so far not be known; it stays counted."""
        self._u, self._ell = [], []

    def known(self) -> tuple[Array, Array]:
        """All points that it was asked for so far, and the values, -inf for NaN."""
        ell = np.concatenate(self._ell)
        return np.concatenate(self._u), np.where(np.isnan(ell), -np.inf, ell)


def _parts(u: Array) -> list[Array]:
    return np.array_split(u, max(1, -(-len(u) // _PART)))
