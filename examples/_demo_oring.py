"""The O-ring problem: posterior of a logistic regression from one sample of its prior law."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

import fermiac as fm

Array = NDArray[np.float64]

# Model: P(distress | T) = expit(a + b (T - 70) / 10), T in degrees Fahrenheit; a, b ~ N(0, 5^2).
# One prior standard deviation of b changes the odds e^5-fold in 10 degrees: weakly informative.
CENTRE, UNIT, PRIOR_SD = 70.0, 10.0, 5.0
TEMPERATURES: Array = np.array([31.0, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85])
# The likelihood is multiplied by e^10 to be of order one; its maximum is e^-10.16.
LOG_SCALE = 10.0
EVIDENCE, A, B, AA, AB, BB = range(6)
DISTRESS = slice(6, 6 + len(TEMPERATURES))
NAMES = ["L", "aL", "bL", "aaL", "abL", "bbL", *(f"p({t:.0f})L" for t in TEMPERATURES)]


class Launches(NamedTuple):
    """The launches before the accident: temperature and distress, (23,) each."""

    temperature: Array
    distress: Array


class OringAnswer(NamedTuple):
    """The quantities of the demo, one entry for each name in ``QUANTITIES``."""

    mean: Array
    stderr: Array
    cov: Array


QUANTITIES = [
    "log evidence",
    "posterior mean of a",
    "posterior mean of b",
    "posterior sd of a",
    "posterior sd of b",
    "posterior correlation",
    *(f"P(distress | {t:.0f} F)" for t in TEMPERATURES),
]


def load(path: Path) -> Launches:
    """Read the 23 launches."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Launches(
        np.array([float(row["temperature_f"]) for row in rows]),
        np.array([float(row["distress"]) for row in rows]),
    )


def integrand(launches: Launches, temperatures: Array = TEMPERATURES) -> Any:
    """Return the likelihood times (1, a, b, a^2, ab, b^2, p(T)): (n, 2) -> (n, 6 + K)."""
    x = (launches.temperature - CENTRE) / UNIT
    x_new = (temperatures - CENTRE) / UNIT

    def f(ab: Array) -> Array:
        a, b = ab[:, :1], ab[:, 1:]
        logit = a + b * x
        log_likelihood = np.sum(launches.distress * logit - np.logaddexp(0.0, logit), axis=1)
        moments = np.hstack([np.ones_like(a), a, b, a * a, a * b, b * b, expit(a + b * x_new)])
        scaled: Array = np.exp(log_likelihood + LOG_SCALE)[:, None] * moments
        return scaled

    return f


def answers(integrals: Array) -> Array:
    """Return ``QUANTITIES`` from the integrals, (..., 6 + K) -> (..., 6 + K)."""
    z = integrals[..., EVIDENCE]
    a, b = integrals[..., A] / z, integrals[..., B] / z
    sd_a = np.sqrt(integrals[..., AA] / z - a * a)
    sd_b = np.sqrt(integrals[..., BB] / z - b * b)
    correlation = (integrals[..., AB] / z - a * b) / (sd_a * sd_b)
    head = np.stack([np.log(z) - LOG_SCALE, a, b, sd_a, sd_b, correlation], axis=-1)
    return np.concatenate([head, integrals[..., DISTRESS.start :] / z[..., None]], axis=-1)


def estimate(launches: Launches, n: int, seed: int, method: str = "aiscv") -> Any:
    """Return all seventeen integrals from one sample of the prior."""
    prior = fm.distributions.MultivariateNormal(np.zeros(2), PRIOR_SD**2 * np.eye(2))
    return fm.importance.expect(
        integrand(launches), prior, n=n, method=method, rng=seed, names=NAMES
    )


def derive(integrals: Any) -> OringAnswer:
    """Return the answers with delta-method errors; posterior means are ratios of integrals."""
    derived = integrals.transform(answers)
    return OringAnswer(derived.mean, derived.stderr, derived.cov)


def quadrature(
    launches: Launches,
    temperatures: Array = TEMPERATURES,
    half_width: float = 40.0,
    step: float = 0.08,
) -> Array:
    """Return the answers from the trapezoidal rule on a grid over eight prior deviations.

    The integrands are analytic and vanish at the ends, so the rule converges geometrically: at this
    step the answers are exact to about 1e-12.
    """
    grid = np.arange(-half_width, half_width + step / 2, step)
    f = integrand(launches, temperatures)
    total = np.zeros(DISTRESS.start + len(temperatures))
    for a in grid:
        ab = np.stack([np.full_like(grid, a), grid], axis=1)
        prior = np.exp(-0.5 * (a * a + grid * grid) / PRIOR_SD**2) / (2 * np.pi * PRIOR_SD**2)
        total += prior @ f(ab)
    return answers(total * step * step)
