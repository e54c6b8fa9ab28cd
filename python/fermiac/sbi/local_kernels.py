"""Normal perturbation kernels whose covariance differs from particle to particle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import NumericalError
from fermiac.random.stream import Stream

__all__ = ["LocalKernels"]

Array = NDArray[np.float64]
#: The numbers of a block of pairs of particles, between which Ctrl-C is answered.
_BLOCK = 2**21
#: The share of points with wider kernels, and the factor of their standard deviations. Without them
#: the weights of points far from the particles have a heavy tail.
_SHARE, _WIDER = 0.1, 2.0
#: The smallest standard deviation of a direction, as a share of the largest.
_FLAT = 1e-10


class LocalKernels:
    """A mixture of normal laws about weighted particles, with optimal local covariances.

    The covariance about a particle θ is the weighted mean of (θₖ - θ)(θₖ - θ)' over those particles
    that the next round would accept. It is C + u u', where m and C are the mean and the covariance
    of those particles and u = m - θ. A tenth of the points have kernels of twice the width.

    Parameters
    ----------
    particles : ndarray, shape (n, d)
    weights : ndarray, shape (n,)
        They sum to one.
    kept : ndarray of bool, shape (n,)
        The particles that the next round would accept.
    """

    def __init__(self, particles: Array, weights: Array, kept: NDArray[np.bool_]) -> None:
        self.particles, self.weights = particles, weights
        self._sums = np.cumsum(weights)
        w = weights * kept
        w = w / w.sum() if w.sum() > 0 else weights
        middle = w @ particles
        parts = particles - middle
        spread = np.sqrt(w @ parts**2)
        if not (np.isfinite(spread).all() and (spread > 0).all()):
            raise NumericalError(
                "the particles of a round are all equal in a coordinate, so that they cannot be "
                "perturbed; more particles are needed"
            )
        scaled = parts / spread
        values, vectors = np.linalg.eigh((w[:, None] * scaled).T @ scaled)
        deviations = np.sqrt(np.maximum(values, (_FLAT * np.sqrt(values[-1])) ** 2))
        #: C = factor factor', and its inverse factor.
        self._factor = spread[:, None] * vectors * deviations
        self._inverse = (vectors / deviations).T / spread
        self._log_det = float(np.log(deviations).sum() + np.log(spread).sum())
        self._shifts = middle - particles
        white = self._shifts @ self._inverse.T
        self._white = white
        self._size = np.einsum("nd,nd->n", white, white)

    def draw(self, stream: Stream) -> Array:
        """Return a point of the mixture."""
        n, d = self.particles.shape
        i = int(np.searchsorted(self._sums, stream.uniform() * self._sums[-1], side="right"))
        i = min(i, n - 1)
        noise = stream.normal(d + 1) * (_WIDER if stream.uniform() < _SHARE else 1.0)
        point: Array = self.particles[i] + self._factor @ noise[:d] + self._shifts[i] * noise[d]
        return point

    def log_density(self, points: Array) -> Array:
        """Return the log-density of the mixture at points, (m, d) to (m,)."""
        n, d = self.particles.shape
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights) - 0.5 * np.log1p(self._size)
        logs = logs - self._log_det - 0.5 * d * np.log(2 * np.pi)
        white = self.particles @ self._inverse.T
        out = np.empty(len(points))
        step = max(1, _BLOCK // (n * d))
        for at in range(0, len(points), step):
            gap = (points[at : at + step] @ self._inverse.T)[:, None] - white
            square = np.einsum("mnd,mnd->mn", gap, gap)
            along = np.einsum("mnd,nd->mn", gap, self._white)
            # The inverse of C + u u' by the formula of Sherman and Morrison.
            square -= along**2 / (1 + self._size)
            near = np.log(1 - _SHARE) - 0.5 * square
            wide = np.log(_SHARE) - d * np.log(_WIDER) - 0.5 * square / _WIDER**2
            terms = logs + np.logaddexp(near, wide)
            top = terms.max(1)
            out[at : at + step] = top + np.log(np.exp(terms - top[:, None]).sum(1))
        return out
