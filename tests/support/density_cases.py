"""Built-in log-densities with independent formulas of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from fermiac import distributions as laws
from fermiac import targets
from fermiac.targets import LogDensity

Array = NDArray[np.float64]

RNG = np.random.default_rng(20250101)
# 83 observations: no whole number of blocks of eight, nor of panels.
X = RNG.normal(size=(83, 4))
BETA = np.array([0.4, -1.0, 0.5, 0.0, 2.0])
ETA = BETA[0] + X @ BETA[1:]
BINARY = (RNG.random(83) < 1 / (1 + np.exp(-ETA))).astype(float)
COUNTS = RNG.poisson(np.exp(0.3 * ETA)).astype(float)
REAL = ETA + 0.7 * RNG.normal(size=83)
OFFSET = RNG.normal(size=83)
SD = np.array([3.0, 1.0, 0.5, 2.0, 1.5])
MEAN = np.array([0.1, 0.2, -0.3, 0.0, 1.0])
EFFECT = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERROR = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def predictor(b: Array) -> Array:
    return b[:, :1] + b[:, 1:5] @ X.T


def prior(b: Array) -> Array:
    return scipy.stats.norm.logpdf(b[:, :5], MEAN, SD).sum(axis=1)


def logistic(b: Array) -> Array:
    odds = predictor(b) + OFFSET
    return prior(b) - np.logaddexp(0.0, np.where(BINARY == 1, -odds, odds)).sum(axis=1)


def poisson(b: Array) -> Array:
    mean = np.exp(predictor(b) + OFFSET)
    return prior(b) + scipy.stats.poisson.logpmf(COUNTS, mean).sum(axis=1)


def linear_known(b: Array) -> Array:
    return prior(b) + scipy.stats.norm.logpdf(REAL, predictor(b), 0.7).sum(axis=1)


def linear_unknown(b: Array) -> Array:
    sigma = np.exp(b[:, 5:])
    noise = scipy.stats.halfnorm.logpdf(sigma[:, 0], scale=2.0) + b[:, 5]
    return prior(b) + noise + scipy.stats.norm.logpdf(REAL, predictor(b), sigma).sum(axis=1)


def schools(x: Array, centered: bool) -> Array:
    mu, tau = x[:, :1], np.exp(x[:, 1:2])
    theta = x[:, 2:] if centered else mu + tau * x[:, 2:]
    value = scipy.stats.norm.logpdf(x[:, 0], 0, 5) + x[:, 1]
    value += scipy.stats.halfcauchy.logpdf(tau[:, 0], scale=5)
    spread = scipy.stats.norm.logpdf(x[:, 2:], mu, tau) if centered else None
    value += (scipy.stats.norm.logpdf(x[:, 2:]) if spread is None else spread).sum(axis=1)
    return value + scipy.stats.norm.logpdf(EFFECT, theta, ERROR).sum(axis=1)


def rosenbrock(x: Array) -> Array:
    # Two blocks of three coordinates, the first of which they share.
    value = scipy.stats.norm.logpdf(x[:, 0], 0.5, np.sqrt(1 / 0.6))
    for before, at in ((0, 1), (1, 2), (0, 3), (3, 4)):
        value += scipy.stats.norm.logpdf(x[:, at], x[:, before] ** 2, np.sqrt(1 / 4.0))
    return value


def banana(x: Array) -> Array:
    bent = x[:, 1] + 0.03 * (x[:, 0] ** 2 - 100.0)
    value = scipy.stats.norm.logpdf(x[:, 0], 0, 10) + scipy.stats.norm.logpdf(bent)
    return value + scipy.stats.norm.logpdf(x[:, 2:]).sum(axis=1)


def funnel(x: Array) -> Array:
    value = scipy.stats.norm.logpdf(x[:, 0], 0, 3)
    return value + scipy.stats.norm.logpdf(x[:, 1:], 0, np.exp(x[:, :1] / 2)).sum(axis=1)


# An autoregression of the second order on 21 coordinates: its precision has two diagonals below.
STEPS = np.eye(21) - 0.5 * np.eye(21, k=-1) + 0.3 * np.eye(21, k=-2)
PRECISION = STEPS.T @ STEPS * 1.7
LEVEL = np.linspace(-1, 2, 21)

COV = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])
CENTRE = np.array([1.0, -2.0, 0.5])
MIXED = laws.Mixture(
    [0.3, 0.7], [laws.MultivariateNormal(CENTRE, COV), laws.MultivariateT(3.0, -CENTRE, COV)]
)
PRODUCT = laws.Product(
    [laws.Gamma(2.5, 0.5), laws.MultivariateNormal(CENTRE, COV), laws.Beta(3, 2)]
)


def mixed(x: Array) -> Array:
    return np.logaddexp(
        np.log(0.3) + scipy.stats.multivariate_normal.logpdf(x, CENTRE, COV),
        np.log(0.7) + scipy.stats.multivariate_t.logpdf(x, -CENTRE, COV, df=3.0),
    )


def product(x: Array) -> Array:
    value = scipy.stats.gamma.logpdf(x[:, 0], 2.5, scale=0.5)
    value = value + scipy.stats.multivariate_normal.logpdf(x[:, 1:4], CENTRE, COV)
    return value + scipy.stats.beta.logpdf(x[:, 4], 3, 2)


def of_law(law: laws.Law) -> LogDensity:
    return targets.law_density(law)


def columns(logpdf: Callable[..., Any], **parameters: Any) -> Callable[[Array], Array]:
    return lambda x: logpdf(x, **parameters).sum(axis=1)


GLM = {"prior_sd": SD, "prior_mean": MEAN}

# name: (target, the same in NumPy and SciPy, points: low, high)
CASES: dict[str, tuple[LogDensity, Callable[[Array], Array], Any, Any]] = {
    "logistic": (
        targets.logistic_regression(X, BINARY, offset=OFFSET, **GLM),
        logistic,
        -2.0,
        2.0,
    ),
    "poisson": (targets.poisson_regression(X, COUNTS, offset=OFFSET, **GLM), poisson, -1.0, 1.0),
    "linear_known": (
        targets.linear_regression(X, REAL, noise_sd=0.7, **GLM),
        linear_known,
        -2.0,
        2.0,
    ),
    "linear_unknown": (
        targets.linear_regression(X, REAL, noise_scale=2.0, **GLM),
        linear_unknown,
        -2.0,
        2.0,
    ),
    "schools": (targets.eight_schools(), lambda x: schools(x, False), -3.0, 3.0),
    "schools_centered": (targets.eight_schools(True), lambda x: schools(x, True), -3.0, 3.0),
    "banana": (targets.banana(4, 0.03), banana, -8.0, 8.0),
    "funnel": (targets.funnel(5), funnel, -4.0, 4.0),
    "rosenbrock": (
        targets.rosenbrock(2, 3, mean=0.5, a=0.3, b=2.0),
        rosenbrock,
        -2.0,
        2.0,
    ),
    "gaussian": (
        targets.gaussian(LEVEL, precision=PRECISION),
        lambda x: scipy.stats.multivariate_normal.logpdf(x, LEVEL, np.linalg.inv(PRECISION)),
        -4.0,
        4.0,
    ),
    "normal": (
        of_law(laws.Normal([1.0, 2.0], [0.5, 3.0])),
        columns(scipy.stats.norm.logpdf, loc=[1.0, 2.0], scale=[0.5, 3.0]),
        -5.0,
        5.0,
    ),
    "log_normal": (
        of_law(laws.LogNormal([0.3, 1.0], [0.5, 2.0])),
        columns(scipy.stats.lognorm.logpdf, s=[0.5, 2.0], scale=np.exp([0.3, 1.0])),
        0.05,
        9.0,
    ),
    "uniform": (
        of_law(laws.Uniform(-1.0, 3.0)),
        columns(scipy.stats.uniform.logpdf, loc=-1.0, scale=4.0),
        -0.9,
        2.9,
    ),
    "student_t": (
        of_law(laws.StudentT([2.0, 7.5], 1.0, 0.5)),
        columns(scipy.stats.t.logpdf, df=[2.0, 7.5], loc=1.0, scale=0.5),
        -9.0,
        9.0,
    ),
    "gamma": (
        of_law(laws.Gamma([0.5, 1.0, 1.7, 30.0], 0.7)),
        columns(scipy.stats.gamma.logpdf, a=[0.5, 1.0, 1.7, 30.0], scale=0.7),
        0.1,
        30.0,
    ),
    "beta": (
        of_law(laws.Beta([0.5, 1.0, 1.0, 3.0, 200.0], [0.7, 1.0, 3.0, 2.5, 90.0])),
        columns(scipy.stats.beta.logpdf, a=[0.5, 1, 1, 3.0, 200.0], b=[0.7, 1, 3.0, 2.5, 90.0]),
        0.05,
        0.95,
    ),
    "exponential": (
        of_law(laws.Exponential(2.5)),
        columns(scipy.stats.expon.logpdf, scale=2.5),
        0.1,
        20.0,
    ),
    "multivariate_normal": (
        of_law(laws.MultivariateNormal(CENTRE, COV)),
        lambda x: scipy.stats.multivariate_normal.logpdf(x, CENTRE, COV),
        -4.0,
        4.0,
    ),
    "multivariate_t": (
        of_law(laws.MultivariateT(3.0, CENTRE, COV)),
        lambda x: scipy.stats.multivariate_t.logpdf(x, CENTRE, COV, df=3.0),
        -9.0,
        9.0,
    ),
    "mixture": (of_law(MIXED), mixed, -4.0, 4.0),
    "product": (
        of_law(PRODUCT),
        product,
        np.array([0.1, -3, -3, -3, 0.05]),
        np.array([4.0, 3, 3, 3, 0.95]),
    ),
}


def points(name: str, n: int) -> Array:
    target, _, low, high = CASES[name]
    return np.random.default_rng(7).uniform(low, high, size=(n, target.dim))


def differences(f: Callable[[Array], Array], x: Array, step: float) -> Array:
    """Gradients by central differences of the sixth order."""
    columns = []
    for j in range(x.shape[1]):
        e = np.zeros(x.shape[1])
        e[j] = step
        d1, d2, d3 = (f(x + k * e) - f(x - k * e) for k in (1, 2, 3))
        columns.append((45 * d1 - 9 * d2 + d3) / (60 * step))
    return np.stack(columns, axis=1)
