"""Runs of a kernel by the core, with all settings, for tests of compositions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac.mcmc.composition import as_kernel
from fermiac.mcmc.kernel import NoDensity, Oracles
from fermiac.targets import as_target

Array = NDArray[np.float64]

RHO = 0.5
PRECISION = np.array([[1.0, -RHO], [-RHO, 1.0]]) / (1 - RHO**2)


def log_density(x: Array) -> Array:
    """Return the log-density of a normal law with unit variances and correlation 0.5."""
    a, b = x[:, 0], x[:, 1]
    return -0.5 * (a * a - 2 * RHO * a * b + b * b) / (1 - RHO**2)


def gradient(x: Array) -> Array:
    a, b = x[:, 0], x[:, 1]
    return -np.stack([a - RHO * b, b - RHO * a], axis=1) / (1 - RHO**2)


def conditional(i: int) -> Any:
    """Return the exact draw of coordinate `i` of that law."""
    return lambda x, rng: rng.normal(RHO * x[:, 1 - i], np.sqrt(1 - RHO**2))


class Run:
    """A run that can be cut in slices."""

    def __init__(
        self,
        kernel: Any,
        x0: ArrayLike,
        target: Any = None,
        *,
        warmup: tuple[int, int, int, int] = (0, 0, 0, 0),
        key: int = 1,
        names: Any = None,
    ) -> None:
        self.x0 = np.ascontiguousarray(x0, np.float64)
        kernel = as_kernel(kernel)
        dim = self.x0.shape[1]
        self.target = (
            NoDensity(kernel, dim)
            if target is None
            else target
            if hasattr(target, "dim")
            else as_target(target, dim)
        )
        self.oracles = Oracles(self.target, names)
        spec = kernel._spec(dim, self.oracles)
        self.sampler = _core.Sampler(spec, dim, self.x0, warmup, True, key)
        self.names = self.sampler.stat_names
        self.done = 0

    def go(self, n: int, *, driver: str = "auto", n_threads: int = 1) -> Any:
        """Return draws (chains, n, d), log-densities (chains, n) and statistics (chains, n)."""
        chains, dim = self.x0.shape
        draws, values = np.empty((chains, n, dim)), np.empty((chains, n))
        stats = np.empty((chains, n, len(self.names)))
        record = {
            "first": self.done,
            "thin": 1,
            "n_slots": n,
            "draws": draws,
            "log_densities": values,
            "gradients": None,
            "stats": stats,
        }
        self.done += n
        _, error = self.sampler.run(
            self.oracles, self.done, record, None, n_threads, 1, None, driver
        )
        if error is not None:
            raise error
        return draws, values, dict(zip(self.names, stats.transpose(2, 0, 1), strict=True))


def z_scores(x: Array, mean: ArrayLike, sd: ArrayLike) -> Array:
    """Return the differences of averages over independent rows in standard errors."""
    return np.abs((x.mean(axis=0) - mean) / (np.asarray(sd) / np.sqrt(len(x))))
