"""Chains for tests of kernels: with any driver, from any state, from exact draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fermiac as fm
from fermiac import _core

Array = NDArray[np.float64]


class Chains:
    """Chains that start at the rows of `x0` and run step by step."""

    def __init__(
        self,
        kernel: fm.mcmc.Kernel,
        target: Any,
        x0: ArrayLike,
        *,
        n_warmup: int = 0,
        rng: int = 0,
        pool: bool = True,
    ) -> None:
        self.target = fm.targets.as_target(target)
        self.x0 = np.array(x0, dtype=float)
        spec = kernel._spec(self.target.dim, [])
        warmup = (n_warmup, 75, 25, 50)
        self.sampler = _core.Sampler(spec, self.target.dim, self.x0, warmup, pool, rng)
        self.names = self.sampler.stat_names
        self.done = 0

    def run(self, n: int, *, n_threads: int = 2, driver: str = "auto") -> tuple[Array, Array]:
        """Return draws (chains, n, d) and statistics (chains, n, names) of n transitions."""
        chains, dim = self.x0.shape
        draws, stats = np.empty((chains, n, dim)), np.empty((chains, n, len(self.names)))
        record = {
            "first": self.done,
            "thin": 1,
            "n_slots": n,
            "draws": draws,
            "log_densities": None,
            "gradients": None,
            "stats": stats,
        }
        oracles = [("density", self.target._handle)]
        self.done += n
        _, error = self.sampler.run(oracles, self.done, record, None, n_threads, 0, None, driver)
        if error is not None:
            raise error
        return draws, stats

    def stat(self, stats: Array, name: str) -> Array:
        return stats[..., self.names.index(name)]


def z_scores(x: Array, mean: ArrayLike, sd: ArrayLike) -> Array:
    """Return the differences of the means of the rows of x, (n, k), in standard errors."""
    return (x.mean(axis=0) - np.asarray(mean)) / (np.asarray(sd) / np.sqrt(len(x)))


def normal_target(covariance: ArrayLike) -> Any:
    covariance = np.asarray(covariance, dtype=float)
    return fm.targets.as_target(
        fm.distributions.MultivariateNormal(np.zeros(len(covariance)), covariance)
    )


def draws_of(name: str, n: int, seed: int) -> Array:
    """Return exact draws of the targets of `target_of`."""
    rng = np.random.default_rng(seed)
    if name == "normal":
        return rng.multivariate_normal(np.zeros(3), COVARIANCE, size=n)
    if name == "banana":
        z = rng.normal(size=(n, 2))
        x = 10.0 * z[:, :1]
        return np.concatenate([x, z[:, 1:] - 0.1 * (x**2 - 100.0)], axis=1)
    if name == "mixture":
        centre = np.where(rng.uniform(size=(n, 1)) < 0.3, -2.0, 2.0)
        z = rng.normal(size=(n, 2))
        return z + centre * np.array([1.0, 0.0])
    v = 1.5 * rng.normal(size=(n, 1))
    return np.concatenate([v, np.exp(v / 2) * rng.normal(size=(n, 3))], axis=1)


COVARIANCE = np.array([[2.0, 0.9, 0.0], [0.9, 1.0, -0.3], [0.0, -0.3, 0.5]])


def mixture(x: Array) -> tuple[Array, Array]:
    low, high = np.log(0.3) - 0.5 * (x[:, 0] + 2) ** 2, np.log(0.7) - 0.5 * (x[:, 0] - 2) ** 2
    value = np.logaddexp(low, high)
    share = np.exp(low - value)
    gradient = -x.copy()
    gradient[:, 0] += 2 * (1 - share) - 2 * share
    return value - 0.5 * x[:, 1] ** 2, gradient


def target_of(name: str) -> Any:
    """Return a target with exact draws."""
    if name == "normal":
        return normal_target(COVARIANCE)
    if name == "banana":
        return fm.targets.banana()
    if name == "mixture":
        return fm.targets.as_target(mixture, 2, gradient=True)
    return fm.targets.funnel(4, scale=1.5)


TARGETS = ("normal", "banana", "mixture", "funnel")


def law_is_kept(kernel: fm.mcmc.Kernel, name: str, *, n: int = 20_000, steps: int = 3) -> None:
    """Assert that chains keep the law of exact draws: moments, and shares below quantiles."""
    start = draws_of(name, n, 1)
    other = draws_of(name, n, 2)
    chains = Chains(kernel, target_of(name), start, rng=3)
    end = chains.run(steps)[0][:, -1]
    moved = np.abs(end - start).max(axis=1) > 0
    assert 0.2 < moved.mean()

    def features(x: Array) -> Array:
        clipped = np.tanh(x / scale)
        below = [x[:, j] < q for j in range(x.shape[1]) for q in cuts[:, j]]
        products = clipped[:, :1] * clipped[:, 1:]
        return np.concatenate([clipped, clipped**2, products, np.array(below, float).T], axis=1)

    scale = other.std(axis=0)
    cuts = np.quantile(other, [0.1, 0.5, 0.9], axis=0)
    # The same chain before and after: the difference of its features has mean 0.
    change = features(end) - features(start)
    error = change.std(axis=0) / np.sqrt(n)
    z = change.mean(axis=0)[error > 0] / error[error > 0]
    assert np.abs(z).max() < 5, z
