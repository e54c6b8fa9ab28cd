"""Laws, settings and states of chains over noise levels, for their tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

import fermiac as fm

Array = NDArray[np.float64]


class Mixture(fm.score.Model):
    """An isotropic mixture in NumPy, which counts the rows that it is asked for."""

    def __init__(self, weights: Any, means: Any, variances: Any, known: bool = True) -> None:
        self.weights = np.asarray(weights) / np.sum(weights)
        self.means = np.asarray(means, dtype=float)
        self.variances = np.asarray(variances, dtype=float)
        self.dim = self.means.shape[1]
        self.known = known
        self.n_rows = 0

    def _logs(self, y: Array, sigma: Array) -> tuple[Array, Array]:
        v = self.variances + np.broadcast_to(sigma, len(y))[:, None] ** 2
        q = np.square(y[:, None] - self.means).sum(axis=-1)
        logs = np.log(self.weights) - 0.5 * (q / v + self.means.shape[1] * np.log(2 * np.pi * v))
        return logs, v

    @property
    def has_log_density(self) -> bool:
        return self.known

    def _log_density(self, y: Array, sigma: Array) -> Array:
        return np.asarray(logsumexp(self._logs(y, sigma)[0], axis=1))

    def _denoise(self, y: Array, sigma: Array) -> Array:
        self.n_rows += len(y)
        logs, v = self._logs(y, sigma)
        shares = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
        pulled = self.means + (self.variances / v)[..., None] * (y[:, None] - self.means)
        return np.asarray(np.einsum("nk,nkd->nd", shares, pulled))


class Point(fm.score.Model):
    """All data at 0, in many dimensions."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return np.zeros_like(y)


def points_of(result: fm.score.LangevinGibbs) -> Array:
    """Where the chains stand, noise and all."""
    assert result.state is not None
    n, dim = len(result.draws), result.dim
    return result.state["words"][: n * dim].view(np.float64).reshape(n, dim)


def posterior(model: Any, levels: Array) -> Any:
    """The logits of a perfect classifier."""

    def logits(x: Array) -> Array:
        columns = [model._log_density(x, np.array([s])) for s in levels]
        return np.stack(columns, axis=1)

    return logits


def same(a: Any, b: Any) -> None:
    """Require the same bits of two runs."""
    np.testing.assert_array_equal(a.draws, b.draws)
    for name in a.stats:
        np.testing.assert_array_equal(a.stats[name], b.stats[name])
    np.testing.assert_array_equal(a.level_counts, b.level_counts)
    np.testing.assert_array_equal(a.passages, b.passages)
    assert a.calls == b.calls
    assert a.n_evals == b.n_evals


PARTS = ([0.3, 0.7], [[-2.0, 0.0, 1.0], [2.0, 1.0, 0.0]], [0.2, 0.1])
EXACT, PLAIN = fm.score.GaussianMixture(*PARTS), Mixture(*PARTS)
LEVELS = np.geomspace(10.0, 0.1, 15)
HOW: dict[str, Any] = {
    "levels": LEVELS,
    "n_chains": 70,
    "n_draws": 6,
    "n_warmup": 8,
    "n_skip": 3,
    "rng": 17,
}
