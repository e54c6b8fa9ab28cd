"""Four models in PyMC. All data are synthetic but those of eight schools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["PROBLEMS"]


def eight_schools() -> Any:
    """Rubin's eight schools, not centred: 10 free coordinates."""
    import pymc as pm

    y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    sigma = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
        mu = pm.Normal("mu", 0.0, 5.0)
        tau = pm.HalfCauchy("tau", 5.0)
        z = pm.Normal("z", dims="school")
        theta = pm.Deterministic("theta", mu + tau * z, dims="school")
        pm.Normal("y", theta, sigma, observed=y, dims="school")
    return model


def radon() -> Any:
    """Varying intercepts and slopes of 85 counties, 919 houses: 175 free coordinates.

    The sizes and the design are those of the radon data of Gelman and Hill; the numbers are drawn
    from the model.
    """
    import pymc as pm

    rng = np.random.default_rng(1)
    county = np.sort(np.concatenate([np.arange(85), rng.integers(0, 85, 919 - 85)]))
    floor = (rng.random(919) < 0.17).astype(float)
    a, b = 1.5 + 0.33 * rng.normal(size=85), -0.65 + 0.25 * rng.normal(size=85)
    y = a[county] + b[county] * floor + 0.73 * rng.normal(size=919)
    with pm.Model(coords={"county": np.arange(85)}) as model:
        mu_a, mu_b = pm.Normal("mu_a", 0.0, 2.0), pm.Normal("mu_b", 0.0, 2.0)
        sd_a, sd_b = pm.HalfNormal("sd_a", 1.0), pm.HalfNormal("sd_b", 1.0)
        z_a, z_b = pm.Normal("z_a", dims="county"), pm.Normal("z_b", dims="county")
        intercept = pm.Deterministic("intercept", mu_a + sd_a * z_a, dims="county")
        slope = pm.Deterministic("slope", mu_b + sd_b * z_b, dims="county")
        noise = pm.HalfNormal("noise", 1.0)
        pm.Normal("y", intercept[county] + slope[county] * floor, noise, observed=y)
    return model


def logistic_regression() -> Any:
    """1000 rows and 24 correlated predictors, as in the German credit data: 25 coordinates."""
    import pymc as pm

    rng = np.random.default_rng(2)
    x = rng.normal(size=(1000, 24)) @ np.linalg.cholesky(0.6 * np.eye(24) + 0.4).T
    beta = rng.normal(size=24) * 0.5
    y = (rng.random(1000) < 1 / (1 + np.exp(-(x @ beta - 0.5)))).astype(int)
    with pm.Model() as model:
        intercept = pm.Normal("intercept", 0.0, 2.0)
        slopes = pm.Normal("slopes", 0.0, 1.0, shape=24)
        pm.Bernoulli("y", logit_p=intercept + pm.math.dot(x, slopes), observed=y)
    return model


def gaussian_process() -> Any:
    """The hyperparameters of a Gaussian process at 60 points: 3 coordinates, one Cholesky each."""
    import pymc as pm

    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(0.0, 10.0, 60))[:, None]
    y = np.sin(x[:, 0]) + 0.3 * rng.normal(size=60)
    with pm.Model() as model:
        scale = pm.Gamma("scale", 2.0, 1.0)
        height = pm.HalfNormal("height", 2.0)
        noise = pm.HalfNormal("noise", 1.0)
        kernel = height**2 * pm.gp.cov.ExpQuad(1, ls=scale)
        pm.gp.Marginal(cov_func=kernel).marginal_likelihood("y", X=x, y=y, sigma=noise)
    return model


PROBLEMS: dict[str, Callable[[], Any]] = {
    "eight schools": eight_schools,
    "radon": radon,
    "logistic regression": logistic_regression,
    "Gaussian process": gaussian_process,
}
