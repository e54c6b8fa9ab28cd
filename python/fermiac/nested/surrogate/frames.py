"""The cubes in which runs on a surrogate move: that of the prior, or of a mixture with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Mixture"]

Array = NDArray[np.float64]
#: The share of the mass that does not come from the prior.
_SHARE = 0.5
#: Degrees of freedom of the other part, and how much wider it is than the points it was fitted to.
_FREEDOM, _WIDER = 5, 2.0
_LEAST = 1e-3


class Frame:
    """The unit cube of the prior."""

    def __init__(self, dim: int) -> None:
        #: Coordinates of a point of the run.
        self.dim = dim

    def to_unit(self, v: Array) -> Array:
        """Points of the cube of the prior, from those of the run."""
        return v

    def log_density(self, u: Array) -> Array:
        """Of what the run takes for the prior, by the prior."""
        return np.zeros(len(u))


class Mixture(Frame):
    """Half of the prior's mass laid about some points, by one more coordinate that tells the part.

    The other part has independent Student coordinates, cut to the cube.
    """

    def __init__(self, elite: Array) -> None:
        from scipy.stats import t as student  # takes long to import

        super().__init__(elite.shape[1] + 1)
        self._law = student(
            _FREEDOM, np.median(elite, axis=0), _WIDER * np.maximum(elite.std(axis=0), _LEAST)
        )
        self._ends = self._law.cdf(0.0), self._law.cdf(1.0)

    def to_unit(self, v: Array) -> Array:
        """Map points of the run to the unit cube of the prior."""
        u = v[:, :-1].copy()
        near = v[:, -1] < _SHARE
        low, high = self._ends
        found = self._law.ppf(low + u[near] * (high - low))
        u[near] = np.clip(found, np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0))
        return u

    def log_density(self, u: Array) -> Array:
        """Return the log-density of the run's cube at points of the unit cube."""
        low, high = self._ends
        log_q = (self._law.logpdf(u) - np.log(high - low)).sum(axis=1)
        out: Array = np.logaddexp(np.log1p(-_SHARE), np.log(_SHARE) + log_q)
        return out
