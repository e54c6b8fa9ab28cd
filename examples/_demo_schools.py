"""Eight schools: evidence and posterior of a hierarchical model from weighted draws."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]

# Rubin (1981): estimated effects of coaching on test scores, and their standard errors.
EFFECT: Array = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERROR: Array = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
# mu ~ N(0, 5^2); tau half-Cauchy of scale 5; theta_j ~ N(mu, tau^2).
SCALE = 5.0
SCHOOLS = "ABCDEFGH"
QUANTITIES = ["log evidence", "mean of mu", "mean of tau", *(f"mean, school {s}" for s in SCHOOLS)]


def start() -> fm.distributions.Law:
    """Return the initial law of the adaptation for (mu, log tau, eight standardised effects).

    Below, log tau has an exponential tail, which a normal law would not cover.
    """
    return fm.distributions.Product(
        [
            fm.distributions.Normal(0.0, SCALE),
            fm.distributions.StudentT(4.0, 1.0, 1.5),
            fm.distributions.Normal(np.zeros(8), 1.0),
        ]
    )


def estimate(target: fm.targets.LogDensity, n: int, seed: int) -> tuple[Any, Array, Array]:
    """Return the evidence and all quantities with their standard errors from one run."""
    z = fm.importance.evidence(target, start(), n=n, rng=seed)
    means = z.sample.expect(functions)
    return (
        z,
        np.concatenate([[z.log_evidence], means.mean]),
        np.concatenate([[z.log_evidence_stderr], means.stderr]),
    )


def functions(x: Array) -> Array:
    """Return mu, tau and the eight effects from draws of the model, (n, 10) -> (n, 10)."""
    mu, tau = x[:, :1], np.exp(x[:, 1:2])
    return np.hstack([mu, tau, mu + tau * x[:, 2:]])


def python_log_density(x: Array) -> Array:
    """Return the log-density of the same model, written in NumPy."""
    mu, log_tau, eta = x[:, 0], x[:, 1], x[:, 2:]
    tau = np.exp(log_tau)
    theta = mu[:, None] + tau[:, None] * eta
    normal = -0.5 * np.log(2 * np.pi)
    out: Array = (
        (normal - 0.5 * ((EFFECT - theta) / ERROR) ** 2 - np.log(ERROR)).sum(axis=1)
        + (normal - 0.5 * eta**2).sum(axis=1)
        + (normal - 0.5 * (mu / SCALE) ** 2 - np.log(SCALE))
        + np.log(2 / (np.pi * SCALE))
        - np.log1p((tau / SCALE) ** 2)
        + log_tau
    )
    return out


class Known(NamedTuple):
    """Quadrature results: an answer for each quantity, and the posterior density of log tau."""

    answers: Array
    log_tau: Array
    density: Array


def quadrature() -> Known:
    """Return known answers; effects are integrated out, mu and log tau are on a grid."""
    mu = np.linspace(-40.0, 50.0, 361)[:, None, None]
    log_tau = np.linspace(-30.0, 20.0, 501)[None, :, None]
    tau = np.exp(log_tau)
    variance = tau**2 + ERROR**2
    log_p = (
        -0.5 * ((EFFECT - mu) ** 2 / variance + np.log(2 * np.pi * variance)).sum(axis=2)
        - 0.5 * ((mu / SCALE) ** 2 + np.log(2 * np.pi * SCALE**2))[..., 0]
        + np.log(2 / (np.pi * SCALE))
        - np.log1p((tau / SCALE) ** 2)[..., 0]
        + log_tau[..., 0]
    )
    top = log_p.max()
    p = np.exp(log_p - top)
    step = log_tau[0, 1, 0] - log_tau[0, 0, 0]
    cell = (mu[1, 0, 0] - mu[0, 0, 0]) * step
    total = p.sum()
    shrunk = [
        (p * ((mu * ERROR[j] ** 2 + EFFECT[j] * tau**2) / (tau**2 + ERROR[j] ** 2))[..., 0]).sum()
        for j in range(8)
    ]
    means = np.array([(p * mu[..., 0]).sum(), (p * tau[..., 0]).sum(), *shrunk]) / total
    answers = np.concatenate([[top + np.log(total * cell)], means])
    return Known(answers, log_tau[0, :, 0], p.sum(axis=0) / (total * step))
