"""Exact score models in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac.score import Model

Array = NDArray[np.float64]


class NumpyMixture(Model):
    """A mixture of Gaussians, by the textbook formulas.

    Covariances are (K, d, d); singular ones will do where the level is above 0.
    """

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> None:
        self.weights = np.asarray(weights, dtype=float)
        self.means = np.asarray(means, dtype=float)
        self.covariances = np.asarray(covariances, dtype=float)
        self.dim = self.means.shape[1]
        self.n_rows = 0

    @property
    def has_log_density(self) -> bool:
        return True

    def _parts(self, y: Array, sigma: Array) -> tuple[Array, Array, Array]:
        """Log-masses (n, K), means of the data behind (n, K, d), and their slopes.

        The slopes are (1, K, d, d) for one level, else (n, K, d, d).
        """
        s2 = np.square(sigma)[:, None, None, None]
        noisy = self.covariances + s2 * np.eye(self.dim)
        inverse = np.linalg.inv(noisy)
        z = y[:, None, :] - self.means
        scaled = np.einsum("nkij,nkj->nki", inverse, z)
        mass = np.log(self.weights) - 0.5 * (z * scaled).sum(-1)
        mass -= 0.5 * np.linalg.slogdet(2 * np.pi * noisy)[1]
        gain = self.covariances @ inverse
        return mass, self.means + np.einsum("nkij,nkj->nki", gain, z), gain

    def _log_density(self, y: Array, sigma: Array) -> Array:
        return np.asarray(np.logaddexp.reduce(self._parts(y, sigma)[0], axis=1))

    def _denoise(self, y: Array, sigma: Array) -> Array:
        self.n_rows += len(y)
        mass, means, _ = self._parts(y, sigma)
        shares = np.exp(mass - np.logaddexp.reduce(mass, axis=1)[:, None])
        return np.asarray(np.einsum("nk,nki->ni", shares, means))

    def jacobian(self, y: ArrayLike, sigma: ArrayLike) -> Array:
        """∂D/∂y, shape (n, d, d)."""
        points, levels = self._asked(y, sigma)
        mass, means, gain = self._parts(points, levels)
        shares = np.exp(mass - np.logaddexp.reduce(mass, axis=1)[:, None])
        centred = means - np.einsum("nk,nki->ni", shares, means)[:, None]
        spread = np.einsum("nk,nki,nkj->nij", shares, centred, centred)
        s2 = np.broadcast_to(np.square(levels), len(points))[:, None, None]
        return np.asarray(np.einsum("nk,nkij->nij", shares, gain) + spread / s2)

    def sample(self, n: int, sigma: float = 0.0, rng: Any = None) -> Array:
        """Points of the law, seen through noise."""
        source = np.random.default_rng(rng)
        which = source.choice(len(self.weights), n, p=self.weights)
        z = source.normal(size=(n, self.dim))
        roots = [v * np.sqrt(np.maximum(w, 0)) for w, v in map(np.linalg.eigh, self.covariances)]
        x = self.means[which] + np.einsum("nij,nj->ni", np.array(roots)[which], z)
        return x + sigma * source.normal(size=x.shape)

    def tilted(self, slope: ArrayLike, alpha: float) -> tuple[Array, Array, float]:
        """Weights and means of the law times exp(slope · x / alpha), and the log of its mass."""
        a = np.asarray(slope, dtype=float) / alpha
        shift = self.covariances @ a
        logs = np.log(self.weights) + self.means @ a + 0.5 * shift @ a
        mass = np.logaddexp.reduce(logs)
        return np.exp(logs - mass), self.means + shift, float(mass)

    def soft_value(self, y: Array, sigma: float, slope: ArrayLike, alpha: float) -> Array:
        """Alpha log E[exp(slope · x / alpha) | y], shape (n,)."""
        a = np.asarray(slope, dtype=float) / alpha
        mass, means, gain = self._parts(y, np.array([sigma]))
        # The covariance of the data behind a point of a component is s² times its slope.
        spread = sigma**2 * np.einsum("i,nkij,j->nk", a, gain, a)
        logs = mass + means @ a + 0.5 * spread
        return alpha * np.asarray(
            np.logaddexp.reduce(logs, axis=1) - np.logaddexp.reduce(mass, axis=1)
        )


def two_peaks() -> NumpyMixture:
    """Two components in one dimension, one of them narrow."""
    return NumpyMixture([0.35, 0.65], [[-1.7], [2.2]], [[[0.04]], [[0.49]]])
