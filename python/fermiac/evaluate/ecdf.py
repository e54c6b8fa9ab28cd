"""The exact joint distribution of the ECDF of uniform ranks, for bands and p-values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Band", "band_of"]

Array = NDArray[np.float64]
#: The largest number of points of the ECDF, for few ranks and for many, which take longer.
_POINTS, _FEWER, _MANY = 100, 20, 2000
#: The smallest pointwise level, and the number of bisections of its logarithm.
_LEAST, _HALVINGS = 1e-6, 15


@dataclass(frozen=True)
class Band:
    """A simultaneous band of the counts of ranks below some points."""

    n: int
    #: The points as ranks, and the number of possible ranks.
    below: NDArray[np.int64]
    n_ranks: int
    prob: float

    @property
    def at(self) -> Array:
        """The points between 0 and 1."""
        return self.below / self.n_ranks

    @cached_property
    def _tails(self) -> Array:
        """Twice the smaller tail of each count at each point, shape (k, n + 1)."""
        from scipy.special import bdtr, bdtrc

        c, p = np.arange(self.n + 1.0), self.at[:, None]
        with np.errstate(invalid="ignore"):
            upper = np.where(c > 0, bdtrc(np.maximum(c - 1, 0), self.n, p), 1.0)
            return np.asarray(2 * np.minimum(bdtr(c, self.n, p), upper))

    @cached_property
    def _log_factorials(self) -> Array:
        from scipy.special import gammaln

        return np.asarray(gammaln(np.arange(self.n + 1) + 1.0))

    def _inside(self, level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the smallest and the largest count at each point whose tails exceed a level."""
        kept = self._tails > level
        first = kept.argmax(1)
        last = self.n - kept[:, ::-1].argmax(1)
        return first, last

    def _stays(self, level: float) -> float:
        """Return the probability that no point has a tail at or below a level."""
        if not (self._tails > level).any(1).all():
            return 0.0
        first, last = self._inside(level)
        log = self._log_factorials
        at, chance = 0.0, np.ones(1)
        counts = np.zeros(1, np.int64)
        for p, low, high in zip(self.at, first, last, strict=True):
            share = (p - at) / (1 - at)  # of the ranks that are not below the previous point
            new = np.arange(low, high + 1)
            added, left = new - counts[:, None], self.n - counts[:, None]
            possible = added >= 0
            added = np.maximum(added, 0)
            rest = np.maximum(left - added, 0)
            terms = log[left] - log[added] - log[rest]
            terms = terms + added * np.log(share) + rest * np.log1p(-share)
            chance = chance @ np.where(possible, np.exp(terms), 0.0)
            at, counts = float(p), new
        return float(min(chance.sum(), 1.0))

    @cached_property
    def _level(self) -> float:
        """The largest pointwise level at which the band has at least the probability `prob`."""
        low, high = _LEAST, 1.0
        for _ in range(_HALVINGS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self._stays(middle) >= self.prob else (low, middle)
        return low

    @property
    def lower(self) -> Array:
        """The lower end of the band, as shares."""
        return self._inside(self._level)[0] / self.n

    @property
    def upper(self) -> Array:
        """The upper end."""
        return self._inside(self._level)[1] / self.n

    def pvalue(self, ranks: NDArray[np.int64]) -> float:
        """Return the probability that uniform ranks deviate as much as these."""
        counts = np.searchsorted(np.sort(ranks), self.below)
        least = float(self._tails[np.arange(len(counts)), counts].min())
        if least >= 1.0:
            return 1.0
        # Rounding of the tails must not exclude the count itself.
        return 1.0 - self._stays(least * (1 + 1e-12))


def band_of(n: int, n_draws: int, prob: float) -> Band:
    """Return the band of n ranks from 0 to `n_draws`."""
    points = min(n_draws, _POINTS if n <= _MANY else _FEWER)
    below = np.unique(np.round(np.linspace(1, n_draws, points)).astype(np.int64))
    return Band(n, below, n_draws + 1, prob)
