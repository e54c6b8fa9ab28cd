"""A straightforward adaptive multiple importance sampling in NumPy, to compare with.

Stages of equal size, one Student-t fitted to all points by their balance weights, all points in the
estimate, as J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, "Adaptive multiple importance
sampling", Scandinavian Journal of Statistics, 2012, publish it; tempered while the weights are
uneven, without which it finds nothing in ten dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]
DF = 8.0


class Found(NamedTuple):
    """The estimate, its naive standard error and the effective sample size."""

    log_evidence: float
    stderr: float
    ess: float


def _log_t(x: Array, mean: Array, factor: Array) -> Array:
    d = len(mean)
    y = np.linalg.solve(factor, (x - mean).T)
    constant = math.lgamma((DF + d) / 2) - math.lgamma(DF / 2) - d / 2 * math.log(DF * math.pi)
    log_det = np.log(np.diag(factor)).sum()
    out: Array = constant - log_det - (DF + d) / 2 * np.log1p(np.sum(y * y, axis=0) / DF)
    return out


def _temper(log_w: Array, wanted: float) -> Array:
    def weights(power: float) -> Array:
        w: Array = np.exp(power * (log_w - log_w.max()))
        return w / w.sum()

    power = 1.0
    while 1 / np.sum(weights(power) ** 2) < wanted and power > 1e-12:
        power *= 0.8
    return weights(power)


def amis(
    log_density: Callable[[Array], Array], sd: float, dim: int, n: int, n_stages: int, seed: int
) -> Found:
    """From a centred normal law with this standard deviation in every coordinate."""
    rng = np.random.default_rng(seed)
    size = n // n_stages
    mean, factor = np.zeros(dim), sd * np.eye(dim) * math.sqrt((DF - 2) / DF)
    x = np.empty((0, dim))
    log_p = np.empty(0)
    sources: list[tuple[Array, Array]] = []
    log_q = np.empty(0)
    for _ in range(n_stages):
        noise = rng.standard_normal((size, dim))
        stretch = np.sqrt(DF / rng.chisquare(DF, size))
        new = mean + stretch[:, None] * (noise @ factor.T)
        old = np.array([_log_t(new, *source) for source in sources])
        sources.append((mean, factor))
        log_q = np.concatenate(
            [
                np.logaddexp(log_q, _log_t(x, mean, factor)),
                logsumexp(np.vstack([*old, _log_t(new, mean, factor)]), axis=0),
            ]
        )
        x = np.vstack([x, new])
        log_p = np.concatenate([log_p, log_density(new)])
        log_w = log_p - log_q + math.log(len(sources))
        w = _temper(log_w, max(10.0 * (dim + 1), size / 10))
        mean = w @ x
        centred = x - mean
        covariance = (centred.T * w) @ centred
        covariance[np.diag_indices(dim)] *= 1 + 1e-6
        factor = np.linalg.cholesky(covariance * (DF - 2) / DF)
    w = np.exp(log_w - log_w.max())
    total = w.sum()
    return Found(
        float(log_w.max() + math.log(total / len(w))),
        float(np.sqrt(np.var(w) * len(w)) / total),
        float(total**2 / np.sum(w**2)),
    )
