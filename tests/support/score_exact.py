"""Mixtures of normal laws in 50 digits, and random cases of every form, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIGITS = 50

#: Three components in the plane, with one covariance that is not diagonal.
WEIGHTS_A = np.array([0.5, 0.3, 0.2])
MEANS_A = np.array([[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]])
COVARIANCES_A = np.array(
    [[[0.25, 0.0], [0.0, 0.25]], [[0.36, 0.12], [0.12, 0.16]], [[0.09, 0.0], [0.0, 0.64]]]
)


@dataclass(frozen=True)
class Exact:
    """What 50 digits say of one noisy point."""

    log_density: Any
    score: list[Any]
    denoised: list[Any]
    trace: Any
    shares: list[Any]


def matrices(covariances: Array, k: int, d: int) -> Array:
    """Covariances of any form as full matrices."""
    if covariances.ndim == 3:
        return covariances
    if covariances.ndim == 2:
        return np.stack([np.diag(v) for v in covariances])
    return np.stack([v * np.eye(d) for v in np.broadcast_to(covariances, (k,))])


def exact(weights: Array, means: Array, covariances: Array, y: Array, s: float) -> Exact:
    """Evaluate a mixture at a point by the textbook formulas, with inverses and determinants."""
    k, d = means.shape
    with mp.workdps(DIGITS):
        total = sum(mpf(float(w)) for w in weights)
        square = mpf(float(s)) ** 2
        terms, us, ms, gains = [], [], [], []
        for w, mean, full in zip(weights, means, matrices(covariances, k, d), strict=True):
            own = mp.matrix(full.tolist())
            noisy = own + square * mp.eye(d)
            off = mp.matrix([mpf(float(a)) - mpf(float(b)) for a, b in zip(y, mean, strict=True)])
            u = mp.lu_solve(noisy, off)
            shrunk = own * u
            density = mp.exp(-(off.T * u)[0] / 2) / mp.sqrt((2 * mp.pi) ** d * mp.det(noisy))
            terms.append(mpf(float(w)) / total * density)
            us.append(u)
            ms.append([mpf(float(m)) + x for m, x in zip(mean, shrunk, strict=True)])
            inverse = mp.inverse(noisy)
            gains.append(sum((own * inverse)[i, i] for i in range(d)))
        p = sum(terms)
        r = [t / p for t in terms]
        denoised = [sum(r[c] * ms[c][j] for c in range(k)) for j in range(d)]
        score = [-sum(r[c] * us[c][j] for c in range(k)) for j in range(d)]
        # s² Σ r |u - ū|² is the scatter of the posterior means over s².
        scatter = sum(r[c] * (us[c][j] + score[j]) ** 2 for c in range(k) for j in range(d))
        trace = sum(a * g for a, g in zip(r, gains, strict=True)) + square * scatter
        return Exact(mp.log(p), score, denoised, trace, r)


def case(rng: np.random.Generator, form: str) -> tuple[Array, Array, Array]:
    """Weights, means and covariances of a random mixture."""
    d, k = int(rng.integers(1, 9)), int(rng.integers(1, 7))
    weights, means = rng.uniform(0.1, 1, k), rng.normal(0, 2, (k, d))
    if form == "isotropic":
        return weights, means, rng.choice([0.01, 0.25, 1.5], k)
    if form == "diagonal":
        return weights, means, rng.uniform(0.01, 2, (k, d))
    if form == "empirical":
        return weights, means, np.zeros(k)
    roots = rng.normal(size=(k, d, 3 * d + 4)) / np.sqrt(3 * d)
    full = roots @ roots.transpose(0, 2, 1)
    return weights, means, (full + full.transpose(0, 2, 1)) / 2
