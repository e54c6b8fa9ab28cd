"""Mixtures of a law and a trained sampler, from which a run draws its points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac.distributions import Mixture
from fermiac.distributions.law import Law
from fermiac.errors import ArgumentError

__all__ = ["blend", "has_unit_map"]

Array = NDArray[np.float64]


class UnitBlend(Law):
    """A mixture of a law and a sampler, with a map from the unit cube.

    The first coordinate of a point also chooses the part.

    Parameters
    ----------
    law, sampler : Law
    share : float
        The share of the law, above 0 and below 1.
    """

    def __init__(self, law: Law, sampler: Law, share: float) -> None:
        self.dim = law.dim
        self._parts = law, sampler
        self._share = share

    def log_density(self, x: Array) -> Array:
        """Return the normalised log-density."""
        first, second = (np.asarray(part.log_density(x)) for part in self._parts)
        logs = np.log([self._share, 1 - self._share])
        both: Array = np.logaddexp(first + logs[0], second + logs[1])
        return both

    def from_unit(self, u: ArrayLike) -> Array:
        """Map points of the unit cube to points of the mixture."""
        rows = np.array(u, dtype=np.float64)
        is_law = rows[:, 0] < self._share
        out = np.empty_like(rows)
        tiny, near = np.finfo(float).tiny, 1 - np.finfo(float).epsneg
        ends = (0.0, self._share), (self._share, 1.0)
        for part, which, (low, high) in zip(self._parts, (is_law, ~is_law), ends, strict=True):
            if which.any():
                own = rows[which]
                own[:, 0] = np.clip((own[:, 0] - low) / (high - low), tiny, near)
                out[which] = part.from_unit(own)
        return out

    def _support(self) -> list[tuple[float, float]]:
        pairs = zip(*(part._support() for part in self._parts), strict=True)
        return [(min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs]


def has_unit_map(law: Law) -> bool:
    """Return whether a law can map points of the unit cube."""
    try:
        law.from_unit(np.full((1, law.dim), 0.5))
    except ArgumentError:
        return False
    return True


def blend(law: Law, sampler: Law, share: float) -> Law:
    """Return the mixture of a law with this share and a sampler."""
    if share <= 0:
        return sampler
    if has_unit_map(law) and has_unit_map(sampler):
        return UnitBlend(law, sampler, share)
    return Mixture([share, 1 - share], [law, sampler])
