"""Runs of single kernels by the core, and laws with exact draws, for tests of kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm
from fermiac import _core

Array = NDArray[np.float64]

#: A warm-up of 40 transitions with two windows: 5 to 15 and 15 to 35.
WARMUP = (40, 5, 10, 5)


def sampler(
    kernel: Any, target: Any, x0: Array, key: int = 0, warmup: Any = (0, 0, 0, 0), n_points: int = 1
) -> tuple[_core.Sampler, list[Any]]:
    """Return the core's sampler and the oracles of its `run`."""
    oracles = [("density", target._handle)]
    name, options = kernel._spec(target.dim, oracles)
    spec = (name, {**options, "n_points": n_points})
    x0 = np.ascontiguousarray(x0)
    return _core.Sampler(spec, target.dim, x0, warmup, True, key), oracles


def record(chains: Any, n: int, x0: Array, first: int = 0) -> dict[str, Any]:
    """Return a record with room for `n` transitions."""
    rows, dim = x0.shape
    return {
        "first": first,
        "thin": 1,
        "n_slots": n,
        "draws": np.empty((rows, n, dim)),
        "log_densities": np.empty((rows, n)),
        "gradients": None,
        "stats": np.empty((rows // chains.n_points, n, len(chains.stat_names))),
    }


def go(
    chains: Any,
    oracles: list[Any],
    until: int,
    out: dict[str, Any],
    driver: str = "auto",
    n_threads: int = 1,
    budget: float | None = None,
) -> bool:
    """Run to a transition, and return whether the chains got there."""
    reached, error = chains.run(oracles, until, out, budget, n_threads, 1, None, driver)
    if error is not None:
        raise error
    return bool(reached)


def draws(
    kernel: Any, target: Any, x0: Array, n: int, key: int = 0, n_points: int = 1, **how: Any
) -> dict[str, Any]:
    """Return the record of a run of `n` transitions without a warm-up."""
    chains, oracles = sampler(kernel, target, x0, key, n_points=n_points)
    out = record(chains, n, x0)
    assert go(chains, oracles, n, out, **how)
    return out


@dataclass(frozen=True)
class Law:
    """A target with independent standard normal numbers u behind its points."""

    target: Any
    to_normal: Callable[[Array], Array]
    from_normal: Callable[[Array], Array]

    def sample(self, n: int, seed: int) -> Array:
        return self.from_normal(np.random.default_rng(seed).normal(size=(n, self.target.dim)))

    def scores(self, x: Array) -> Array:
        """Return z-scores of means of functions of u, for points that should be exact draws."""
        u = self.to_normal(x)
        d = u.shape[1]
        pairs = [u[:, i] * u[:, j] for i in range(d) for j in range(i)]
        inside = [(np.abs(u[:, i]) < 0.6744897501960817) - 0.5 for i in range(d)]
        f = np.column_stack([u, (u**2 - 1) / np.sqrt(2), u**3 / np.sqrt(15), *pairs])
        return np.concatenate([f.mean(axis=0), 2 * np.mean(inside, axis=1)]) * np.sqrt(len(x))


def _gaussian() -> Law:
    mean = np.array([1.0, -2.0, 0.5])
    cov = np.array([[4.0, 1.8, 0.0], [1.8, 1.0, -0.2], [0.0, -0.2, 0.25]])
    root = np.linalg.cholesky(cov)
    return Law(
        fm.targets.law_density(fm.distributions.MultivariateNormal(mean, cov)),
        lambda x: np.linalg.solve(root, (x - mean).T).T,
        lambda u: u @ root.T + mean,
    )


def _banana() -> Law:
    b, s = 0.1, 3.0

    def bend(x: Array, sign: float) -> Array:
        return np.column_stack([x[:, 0], x[:, 1] - sign * b * (x[:, 0] ** 2 - s**2)])

    scale = np.array([s, 1.0])
    return Law(
        fm.targets.banana(2, b, s),
        lambda x: bend(x, -1.0) / scale,
        lambda u: bend(u * scale, 1.0),
    )


def _mixture() -> Law:
    d = fm.distributions
    law = d.Mixture([0.3, 0.7], [d.Normal(-2.0, 1.0), d.Normal(2.0, 0.5)])
    grid = np.linspace(-8.0, 8.0, 20_001)
    cdf = 0.3 * d.Normal(-2.0, 1.0).cdf(grid) + 0.7 * d.Normal(2.0, 0.5).cdf(grid)
    normal = d.Normal()
    quantiles = normal.ppf(np.clip(cdf, 1e-15, 1 - 1e-15))
    keep = np.append(True, np.diff(quantiles) > 0)
    return Law(
        fm.targets.law_density(law),
        lambda x: np.interp(x, grid[keep], quantiles[keep]),
        lambda u: np.interp(u, quantiles[keep], grid[keep]),
    )


def _funnel() -> Law:
    def spread(x: Array) -> Array:
        return np.exp(0.5 * x[:, :1])

    return Law(
        fm.targets.funnel(3, 1.5),
        lambda x: np.column_stack([x[:, 0] / 1.5, x[:, 1:] / spread(x)]),
        lambda u: np.column_stack([1.5 * u[:, 0], u[:, 1:] * spread(1.5 * u)]),
    )


LAWS = {"gaussian": _gaussian, "banana": _banana, "mixture": _mixture, "funnel": _funnel}
