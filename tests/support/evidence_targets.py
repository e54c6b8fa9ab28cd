"""Densities of known evidence, with laws to start from, and the errors of runs on them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Density = Callable[[Array], Array]
LOG_2PI = math.log(2 * math.pi)


class Target(NamedTuple):
    """A density, where to start, and the logarithm of its integral."""

    log_density: Density
    law: Any
    log_evidence: float


def wide(dim: int, variance: float) -> Any:
    return fm.distributions.MultivariateNormal(np.zeros(dim), variance * np.eye(dim))


def _squares(dim: int) -> tuple[Callable[[Array], Array], float]:
    """Squared Mahalanobis distances about a shifted centre with correlations, and log det / 2."""
    j = np.arange(dim)
    factor = np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(j, j)))
    inverse = np.linalg.inv(factor)
    centre = np.linspace(-2.0, 2.0, dim)
    return (
        lambda x: np.sum(((x - centre) @ inverse.T) ** 2, axis=1),
        float(np.log(np.diag(factor)).sum()),
    )


def gaussian(dim: int = 10) -> Target:
    squares, log_det = _squares(dim)
    return Target(lambda x: -0.5 * squares(x), wide(dim, 9.0), dim / 2 * LOG_2PI + log_det)


def student(dim: int = 10, df: float = 5.0) -> Target:
    squares, log_det = _squares(dim)
    constant = math.lgamma(df / 2) - math.lgamma((df + dim) / 2) + dim / 2 * math.log(df * math.pi)
    return Target(
        lambda x: -0.5 * (df + dim) * np.log1p(squares(x) / df), wide(dim, 9.0), constant + log_det
    )


def banana(dim: int = 10) -> Target:
    def f(x: Array) -> Array:
        bent = x[:, 1] + 0.1 * (x[:, 0] ** 2 - 9.0)
        rest = np.sum(x[:, 2:] ** 2, axis=1)
        return -0.5 * (x[:, 0] ** 2 / 9.0 + bent**2 + rest)

    return Target(f, wide(dim, 16.0), dim / 2 * LOG_2PI + math.log(3.0))


def narrow(dim: int = 10) -> Target:
    """Twenty times narrower than the law, and five of its standard deviations off in each."""
    return Target(
        lambda x: -0.5 * np.sum(((x - 5.0) / 0.05) ** 2, axis=1),
        wide(dim, 1.0),
        dim * (LOG_2PI / 2 + math.log(0.05)),
    )


def two_modes(dim: int = 4) -> Target:
    def f(x: Array) -> Array:
        return np.logaddexp(
            -0.5 * np.sum((x - 4.0) ** 2, axis=1), -0.5 * np.sum((x + 4.0) ** 2, axis=1)
        )

    return Target(f, wide(dim, 16.0), math.log(2.0) + dim / 2 * LOG_2PI)


def small() -> Target:
    return Target(
        lambda x: -50.0 * np.sum((x - 1.0) ** 2, axis=1),
        wide(3, 1.0),
        1.5 * (LOG_2PI - math.log(100.0)),
    )


def run_evidence(target: Target, **settings: Any) -> fm.importance.Evidence:
    return fm.importance.evidence(target.log_density, target.law, **settings)


def pull(target: Target, z: fm.importance.Evidence) -> float:
    return (z.log_evidence - target.log_evidence) / z.log_evidence_stderr


def pulls(target: Target, seeds: range, **settings: Any) -> Array:
    with warnings.catch_warnings():
        # Some of the banana's tails are heavy, and said to be; here it is the numbers that count.
        warnings.simplefilter("ignore", fm.errors.WeightWarning)
        return np.array([pull(target, run_evidence(target, rng=s, **settings)) for s in seeds])
