"""Score models in NumPy with closed solutions, for tests of integrators."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtri

from fermiac.score import GaussianMixture, Model

Array = NDArray[np.float64]

#: Where the tables of integrators start, and the number of their points.
HIGH, LOW = 10.0, 0.05


class Mixture(Model):
    """A mixture of normal laws; `knows` says what it tells of itself."""

    def __init__(self, weights: Any, means: Any, covariances: Any, knows: str = "dlt") -> None:
        self._log_weights = np.log(np.asarray(weights, dtype=float))
        self._means = np.asarray(means, dtype=float)
        self._covariances = np.asarray(covariances, dtype=float)
        self._knows = knows
        self.dim = self._means.shape[1]
        self.calls = 0
        self.rows = 0

    @property
    def has_log_density(self) -> bool:
        return "l" in self._knows

    @property
    def has_trace(self) -> bool:
        return "t" in self._knows

    def _parts(self, y: Array, sigma: Array) -> tuple[Array, Array, Array]:
        """Per row and component: log weight and density, posterior mean, and its derivative."""
        self.calls += 1
        self.rows += len(y)
        d = y.shape[1]
        s2 = np.broadcast_to(np.square(sigma), (len(y),))[:, None, None, None]
        spread = self._covariances[None] + s2 * np.eye(d)
        away = y[:, None, :] - self._means[None]
        solved = np.linalg.solve(spread, away[..., None])[..., 0]
        _, log_det = np.linalg.slogdet(spread)
        log_p = self._log_weights - 0.5 * (
            (away * solved).sum(-1) + log_det + d * np.log(2 * np.pi)
        )
        shrink = self._covariances[None] @ np.linalg.inv(spread)
        means = self._means + (self._covariances[None] @ solved[..., None])[..., 0]
        return log_p, means, shrink

    def _denoise(self, y: Array, sigma: Array) -> Array:
        log_p, means, _ = self._parts(y, sigma)
        r = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))
        return np.ascontiguousarray((r[..., None] * means).sum(axis=1))

    def _log_density(self, y: Array, sigma: Array) -> Array:
        return np.ascontiguousarray(logsumexp(self._parts(y, sigma)[0], axis=1))

    def _with_trace(self, y: Array, sigma: Array) -> tuple[Array, Array]:
        log_p, means, shrink = self._parts(y, sigma)
        r = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))
        mean = (r[..., None] * means).sum(axis=1)
        between = (r * np.square(means - mean[:, None]).sum(-1)).sum(1)
        within = (r * np.trace(shrink, axis1=2, axis2=3)).sum(1)
        return np.ascontiguousarray(mean), within + between / np.square(sigma)


#: Three components in the plane: weights, means, covariances.
PARTS = (
    np.array([0.5, 0.3, 0.2]),
    np.array([(0.0, 0.0), (3.0, 1.0), (-2.0, 3.0)]),
    np.array([np.diag([0.25, 0.25]), [[0.36, 0.12], [0.12, 0.16]], np.diag([0.09, 0.64])]),
)


def model_a(knows: str = "dlt") -> Mixture:
    """The mixture of these parts in NumPy."""
    return Mixture(*PARTS, knows)


def exact_a() -> GaussianMixture:
    """The same in compiled code."""
    return GaussianMixture(*PARTS)


def probe_points(n: int = 256) -> Array:
    """Quasi-random normal points at level 10, from the plastic number."""
    g = 1.32471795724474602596
    i = np.arange(1, n + 1)[:, None]
    u = (0.5 + i * np.array([1 / g, 1 / g**2])) % 1.0
    return HIGH * np.asarray(ndtri(u))


class Single(Model):
    """One normal law with independent coordinates, whose flow is known in closed form."""

    def __init__(self, mean: Any, variances: Any) -> None:
        self._mean = np.asarray(mean, dtype=float)
        self._variances = np.asarray(variances, dtype=float)
        self.dim = self._mean.size

    def _denoise(self, y: Array, sigma: Array) -> Array:
        s2 = np.square(sigma)[:, None]
        out: Array = self._mean + (y - self._mean) * self._variances / (self._variances + s2)
        return out

    def flow(self, y: Array, start: float, end: float) -> Array:
        """Where points at level `start` are at level `end`."""
        ratio = (self._variances + end**2) / (self._variances + start**2)
        return np.asarray(self._mean + (y - self._mean) * np.sqrt(ratio))

    def log_p(self, y: Array, sigma: float) -> Array:
        variances = self._variances + sigma**2
        terms = np.square(y - self._mean) / variances + np.log(2 * np.pi * variances)
        return np.asarray(-0.5 * terms.sum(axis=1))
