"""Known answers for the tests: stored constants, and the quadratures that produce them."""

from __future__ import annotations

import csv
import math
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

Array = NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / "examples" / "data"

# E[X^(2j)] of a standard normal law, j = 1..10: double factorials of odd numbers.
GAUSSIAN_MOMENTS: Array = np.cumprod(np.arange(1.0, 20.0, 2.0))

# Summed relative variance of the ten moments at 20 000 evaluations (weights 1 / I^2): plain Monte
# Carlo's exact value, (I_2j / I_j^2 - 1) / n, and the published one of the adaptive method.
_EVEN_MOMENTS = np.cumprod(np.arange(1.0, 40.0, 2.0))
MOMENTS_CRITERION_MC = float(np.sum(_EVEN_MOMENTS[1::2] / GAUSSIAN_MOMENTS**2 - 1.0) / 20_000)
MOMENTS_CRITERION_PUBLISHED = 1.63e-3

# --- Genz's families on the unit cube, d = 5 -----------------------------------------------------
GENZ_A: Array = 0.5 * np.arange(1.0, 6.0)
GENZ_W: Array = 0.1 * np.arange(1.0, 6.0)
GENZ = {
    "oscillatory": -0.180646193209203,
    "product_peak": 5.2973693306121,
    "corner_peak": 4.0771392732177e-4,
    "gaussian": 0.305251473466303,
    "continuous": 0.144861405975302,
    "discontinuous": 0.752990889233781,
}


def genz_integral(family: str, a: Array, w: Array) -> float:
    """Closed form of one of Genz's integrals over [0, 1]^d.

    Parameters
    ----------
    family
        A key of ``GENZ``.
    a, w
        Difficulty and location, (d,).

    References
    ----------
    A. Genz, "Testing multidimensional integration routines", in Tools, Methods and Languages for
    Scientific and Engineering Computation, 1984.
    """
    a, w = np.asarray(a, dtype=np.float64), np.asarray(w, dtype=np.float64)
    if family == "oscillatory":
        wave = np.exp(2j * np.pi * w[0]) * np.prod(np.expm1(1j * a) / (1j * a))
        return float(wave.real)
    if family == "product_peak":
        return float(np.prod(a * (np.arctan(a * (1.0 - w)) + np.arctan(a * w))))
    if family == "corner_peak":
        corners = (
            (-1.0) ** sum(corner) / (1.0 + float(np.dot(corner, a)))
            for corner in product((0, 1), repeat=len(a))
        )
        return math.fsum(corners) / (math.factorial(len(a)) * float(np.prod(a)))
    if family == "gaussian":
        return float(np.prod(np.sqrt(np.pi) / (2.0 * a) * (erf(a * (1.0 - w)) + erf(a * w))))
    if family == "continuous":
        return float(np.prod((2.0 - np.exp(-a * w) - np.exp(-a * (1.0 - w))) / a))
    if family == "discontinuous":
        upper = np.where(np.arange(len(a)) < 2, w, 1.0)
        return float(np.prod(np.expm1(a * upper) / a))
    raise ValueError(f"family must be one of {sorted(GENZ)}, got {family!r}")


# --- Cantilever beam, inputs (FX, FY, E, w, t, L) ------------------------------------------------
CANTILEVER_MEANS: Array = np.array([556.8, 453.6, 200.0, 0.062, 0.0987, 4.29])
CANTILEVER_CVS: Array = np.array([0.08, 0.08, 0.06, 0.1, 0.1, 0.1])  # three lognormal, three normal
CANTILEVER_MEAN = 0.043856494183
CANTILEVER_SECOND_MOMENT = 0.00234660784216
CANTILEVER_VARIANCE = 4.23215760138e-4
CANTILEVER_SOBOL: Array = np.array(
    [0.0235523883, 0.0002957027, 0.0163609491, 0.4280750523, 0.0729426988, 0.4010301125]
)
# Summed variance of the six indices at 20 000 model calls, as published for the adaptive method.
CANTILEVER_SOBOL_VARIANCE_PUBLISHED = 1.73e-4
# Summed variance of 100 expectations at 20 000 calls, as published: separate runs, adaptive method.
BEAM_VARIANCE_SEPARATE_PUBLISHED = 1.31e-4
BEAM_VARIANCE_PUBLISHED = 4.38e-6


def cantilever_deflection(x: Array) -> Array:
    """Tip deflection, (n, 6) -> (n,)."""
    fx, fy, e, w, t, length = np.asarray(x, dtype=np.float64).T
    deflection: Array = 4e-9 * length**3 / (e * w * t) * np.hypot(fx / w**2, fy / t**2)
    return deflection


class CantileverMoments(NamedTuple):
    """Moments of the deflection under the independent law of ``CANTILEVER_MEANS``."""

    mean: float
    second_moment: float
    first_order: Array  # (6,)


def cantilever_moments(n_size: int = 64, n_force: int = 12) -> CantileverMoments:
    """Mean, second moment and first-order Sobol' indices by a product rule.

    The deflection factorises into functions of E, of L and of (FX, FY, w, t), so only the last
    needs a tensor grid. Sections are conditioned on lying within six standard deviations.
    """
    node, omega = np.polynomial.hermite_e.hermegauss(n_force)
    omega = omega / omega.sum()
    s = math.sqrt(math.log1p(0.08**2))
    force = np.exp(s * node - 0.5 * s * s)
    z, legendre = np.polynomial.legendre.leggauss(n_size)
    z = 6.0 * z
    section = legendre * np.exp(-0.5 * z * z)
    section /= section.sum()

    fx, fy, w, t = np.ix_(
        CANTILEVER_MEANS[0] * force,
        CANTILEVER_MEANS[1] * force,
        CANTILEVER_MEANS[3] * (1.0 + 0.1 * z),
        CANTILEVER_MEANS[4] * (1.0 + 0.1 * z),
    )
    bending = 4e-9 * np.hypot(fx / w**2, fy / t**2) / (w * t)
    weights = (omega, omega, section, section)
    core_mean = float(np.einsum("abcd,a,b,c,d->", bending, *weights, optimize=True))
    core_second = float(np.einsum("abcd,a,b,c,d->", bending**2, *weights, optimize=True))

    cv2 = CANTILEVER_CVS[2] ** 2
    inverse_e = (1.0 + cv2) / CANTILEVER_MEANS[2]
    inverse_e_second = (1.0 + cv2) ** 3 / CANTILEVER_MEANS[2] ** 2
    u = CANTILEVER_CVS[5] ** 2
    cube = CANTILEVER_MEANS[5] ** 3 * (1.0 + 3.0 * u)
    sixth = CANTILEVER_MEANS[5] ** 6 * (1.0 + 15.0 * u + 45.0 * u**2 + 15.0 * u**3)

    mean = float(inverse_e * cube * core_mean)
    second = float(inverse_e_second * sixth * core_second)
    # Explained variance of each input, relative to the squared mean.
    explained = np.empty(6)
    for index, axis in zip((0, 1, 3, 4), range(4), strict=True):
        others = [k for k in range(4) if k != axis]
        conditional = bending
        for k in reversed(others):
            conditional = np.tensordot(conditional, weights[k], axes=(k, 0))
        explained[index] = weights[axis] @ conditional**2 / core_mean**2 - 1.0
    explained[2] = inverse_e_second / inverse_e**2 - 1.0
    explained[5] = sixth / cube**2 - 1.0
    variance = second - mean**2
    return CantileverMoments(mean, second, explained * mean**2 / variance)


def beam_laws() -> tuple[Array, Array]:
    """The 100 input laws, (100, 9), and their exact mean deflections, (100,)."""
    table = np.loadtxt(DATA / "beam_laws.csv", delimiter=",", skiprows=1)
    return table[:, :9], table[:, 9]


# --- O-ring distress: logistic regression of 23 launches -----------------------------------------
# P(distress | T) = expit(a + b (T - 70) / 10), a and b ~ N(0, 5^2) independently.
ORING_PRIOR_SD = 5.0
ORING_TEMPERATURES: Array = np.array([31.0, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85])
ORING_LOG_EVIDENCE = -14.0194062639
ORING_MEAN: Array = np.array([-1.31453822426, -2.69440077898])
ORING_COV: Array = np.array([[0.391578905978, 0.271953312302], [0.271953312302, 1.36318524565]])
ORING_DISTRESS: Array = np.array(
    [
        0.987445550834,
        0.976363955626,
        0.962765858463,
        0.935932836848,
        0.878919678251,
        0.753057793248,
        0.50647585193,
        0.228918325912,
        0.0900467203114,
        0.0391882716926,
        0.0195739671951,
    ]
)


class OringPosterior(NamedTuple):
    """Evidence and posterior moments of the O-ring model."""

    log_evidence: float
    mean: Array  # (2,), of a and b
    cov: Array  # (2, 2)
    distress: Array  # (11,), posterior mean of P(distress | T) at ORING_TEMPERATURES


def oring_launches() -> tuple[Array, Array]:
    """Temperatures in degrees Fahrenheit and distress (0 or 1) of the 23 launches."""
    with (DATA / "challenger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return (
        np.array([float(row["temperature_f"]) for row in rows]),
        np.array([float(row["distress"]) for row in rows]),
    )


def oring_log_likelihood(ab: Array) -> Array:
    """Log-likelihood of the 23 launches, (n, 2) -> (n,)."""
    temperature, distress = oring_launches()
    logit = ab[:, :1] + ab[:, 1:] * (temperature - 70.0) / 10.0
    log_likelihood: Array = np.sum(distress * logit - np.logaddexp(0.0, logit), axis=1)
    return log_likelihood


def oring_posterior(n_nodes: int = 600) -> OringPosterior:
    """Posterior by a Gauss-Legendre product rule over eight prior standard deviations."""
    x, omega = np.polynomial.legendre.leggauss(n_nodes)
    x, omega = 8.0 * ORING_PRIOR_SD * x, 8.0 * ORING_PRIOR_SD * omega
    a, b = (grid.ravel() for grid in np.meshgrid(x, x, indexing="ij"))
    log_prior = -0.5 * (a * a + b * b) / ORING_PRIOR_SD**2
    log_prior -= math.log(2.0 * math.pi * ORING_PRIOR_SD**2)
    log_joint = oring_log_likelihood(np.stack([a, b], axis=1)) + log_prior
    top = log_joint.max()
    mass = np.outer(omega, omega).ravel() * np.exp(log_joint - top)
    total = mass.sum()
    mass /= total
    mean = np.array([mass @ a, mass @ b])
    da, db = a - mean[0], b - mean[1]
    cross = mass @ (da * db)
    cov = np.array([[mass @ (da * da), cross], [cross, mass @ (db * db)]])
    distress = np.array([mass @ expit(a + b * (t - 70.0) / 10.0) for t in ORING_TEMPERATURES])
    return OringPosterior(float(top + math.log(total)), mean, cov, distress)
