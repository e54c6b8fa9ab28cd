"""Batches of paths at one level of multilevel Monte Carlo, and the sums of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.ask import ask, real_answer
from fermiac.distributions.law import subkey
from fermiac.errors import TargetError
from fermiac.importance.level_points import LevelPoints
from fermiac.importance.moments import Moments
from fermiac.random import Stream

__all__ = ["NUMBERS", "REPLICATES", "Level", "LevelBatches", "LevelSums"]

Array = NDArray[np.float64]
Level = Callable[[int, int, Stream], Any]

#: Replicates of Sobol' points, as in the paper.
REPLICATES = 32
#: Numbers of a batch for each output: the moments of the difference, and means and sums of squares
#: of fine and coarse values.
NUMBERS = 8


class LevelBatches:
    """A level function as a target: rows (level, batch, paths) give moments of the batches.

    For Sobol' points a row has a fourth number, the index of the first point, and the moments are
    those of each replicate.
    """

    def __init__(self, level: Level, key: int) -> None:
        self._level = level
        self._key = key

    def __call__(self, x: Array) -> Array:
        """Return for each row whether values are scalar, then `NUMBERS` for each output."""
        return np.array([self._row(*(int(v) for v in row)) for row in x])

    def _row(self, at: int, batch: int, n: int, first: int | None = None) -> Array:
        stream: Any = Stream(self._key, batch, at)
        replicates = 1
        if first is not None:
            replicates = REPLICATES
            stream = LevelPoints(n, replicates, subkey(self._key, at), first)
            n *= replicates
        given = ask(self._level, (at, n, stream), f"level({at}, {n}, stream)", f"in batch {batch}")
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise TargetError(
                f"level({at}, {n}, stream) gave a {type(given).__name__}; a pair (fine, coarse) is "
                "needed"
            )
        fine = _values(given[0], at, n, "fine")
        # There is no level below the first, so its coarse values are ignored.
        coarse = np.zeros_like(fine) if at == 0 else _values(given[1], at, n, "coarse")
        if coarse.shape != fine.shape:
            raise TargetError(
                f"level({at}, {n}, stream) gave arrays of shapes {fine.shape} and {coarse.shape}; "
                "they must be equal"
            )
        scalar, fine, coarse = fine.ndim == 1, fine.reshape(n, -1), coarse.reshape(n, -1)
        rows = [np.array([float(scalar)])]
        for own in np.split(np.arange(n), replicates):
            parts = [Moments.of(y[own]) for y in (fine - coarse, fine, coarse)]
            d = parts[0]
            rows += [d.mean, d.m2, d.m3, d.m4, parts[1].mean, parts[1].m2]
            rows += [parts[2].mean, parts[2].m2]
        return np.concatenate(rows)


def _values(given: Any, at: int, n: int, what: str) -> Array:
    """Return the values of n paths, checked."""
    which = f"level({at}, {n}, stream), for its {what} values,"
    return real_answer(given, which, (n,), (n, "k"), finite=True)


class LevelSums:
    """The moments of one level so far."""

    def __init__(self, outputs: int) -> None:
        self.difference = Moments.none(outputs)
        self.fine = Moments.none(outputs)
        self.coarse = Moments.none(outputs)
        #: Batches that were drawn.
        self.batches = 0
        #: For Sobol' points: the points of each replicate, and the sums of the differences.
        self.points = 0
        self.sums = np.zeros((REPLICATES, outputs))

    @property
    def n(self) -> int:
        """The number of paths."""
        return int(self.difference.n)

    @property
    def square(self) -> Array:
        """The squared error of the mean difference."""
        if not self.points:
            return self.difference.variance / max(self.n, 1)
        means = self.sums / self.points
        out: Array = means.var(axis=0, ddof=1) / len(means)
        return out
