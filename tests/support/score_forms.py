"""One score model in all forms of a model, and calls that are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]

DIM = 2
WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-2.0, 0.5], [1.0, -1.0]])
VARIANCES = np.array([0.09, 0.36])
LEVELS = fm.score.karras(8, 0.05, 8.0, final="zero")


def denoise(y: Array, sigma: Array) -> Array:
    """The mean of the data behind noisy points, sums in the order of the components."""
    s = np.broadcast_to(sigma, len(y))
    logs, means = [], []
    for w, mu, v in zip(WEIGHTS, MEANS, VARIANCES, strict=True):
        t = v + s * s
        u = y - mu
        square = u[:, 0] * u[:, 0] + u[:, 1] * u[:, 1]
        logs.append(np.log(w) - 0.5 * square / t - np.log(t))
        means.append(mu + u * (v / t)[:, None])
    top = np.maximum(logs[0], logs[1])
    shares = [np.exp(a - top) for a in logs]
    total = shares[0] + shares[1]
    out: Array = (shares[0] / total)[:, None] * means[0] + (shares[1] / total)[:, None] * means[1]
    return out


class Numbers(fm.score.Model):
    """The model in NumPy, which counts its calls and may stop at one of them."""

    dim = DIM

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None) -> None:
        self.calls = 0
        self.stop_at = stop_at
        self.error = KeyboardInterrupt() if error is None else error

    def _denoise(self, y: Array, sigma: Array) -> Array:
        self.calls += 1
        if self.calls == self.stop_at:
            raise self.error
        return denoise(y, sigma)


def made() -> Numbers:
    """What a worker makes for itself."""
    return Numbers()


def exact() -> Any:
    """The model in Rust."""
    return fm.score.GaussianMixture(WEIGHTS, MEANS, VARIANCES)


def points(n: int = 100, seed: int = 0) -> Array:
    """Points of the highest level."""
    return 8.0 * np.random.default_rng(seed).standard_normal((n, DIM))


def named(integrator: Any) -> str:
    """The name of an integrator, for the names of tests."""
    return integrator if isinstance(integrator, str) else type(integrator).__name__


#: For tests over some integrators, more than half of them with noise.
each = pytest.mark.parametrize(
    "integrator",
    [
        "dpmpp_2m",
        "heun",
        "unipc3",
        "ancestral",
        "dpmpp_2m_sde",
        "dpmpp_2s_ancestral",
        "dpmpp_sde",
        fm.score.Heun(churn=4.0),
    ],
    ids=named,
)
