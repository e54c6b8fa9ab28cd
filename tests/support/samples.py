"""Samples of known laws: weighted points and autoregressive chains; the warnings of calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.results.chain_summary import findings

Array = NDArray[np.float64]


def gaussian(n: int, seed: int, sd: float = 1.5, d: int = 2) -> fm.Sample:
    """Points of N(0, sd²) in each coordinate, weighted for N(0, 1)."""
    law = fm.distributions.MultivariateNormal(np.zeros(d), sd**2 * np.eye(d))
    target = fm.distributions.MultivariateNormal(np.zeros(d), np.eye(d))
    x = law.sample(n, rng=seed)
    log_densities = target.log_density(x)
    return fm.Sample.from_arrays(
        x,
        log_densities - law.log_density(x),
        log_densities=log_densities,
        gradients=-x,
        seed=seed,
    )


def walks(chains: int, draws: int, d: int = 1, rho: float = 0.8, *, seed: int = 0) -> Array:
    """Stationary chains with the law N(0, 1) and the correlations rho^t."""
    x = fm.random.Stream(seed).normal((chains, draws, d))
    x[:, 1:] *= np.sqrt(1 - rho**2)
    for t in range(1, draws):
        x[:, t] += rho * x[:, t - 1]
    return x


def variance_of_mean(chains: int, draws: int, rho: float) -> float:
    """The variance of the mean of such chains."""
    t = np.arange(1, draws)
    return float((1 + 2 * np.sum((1 - t / draws) * rho**t)) / (chains * draws))


def run(draws: Array | None = None, **stats: Any) -> fm.Sample:
    """A sample of four chains with statistics."""
    x = walks(4, 1000, 2, 0.3) if draws is None else draws
    return replace(
        fm.Sample.from_arrays(x, names=[f"p{j}" for j in range(x.shape[2])]), stats=stats
    )


def told(call: Callable[[], Any]) -> tuple[Any, list[FermiacWarning]]:
    """Return the result of a call and all its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [w.message for w in caught if isinstance(w.message, FermiacWarning)]


def texts(sample: fm.Sample) -> list[str]:
    """The texts of the warnings about a run."""
    found = findings(sample)
    assert all(category is ConvergenceWarning for category, _ in found)
    return [text for _, text in found]
