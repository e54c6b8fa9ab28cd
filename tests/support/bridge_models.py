"""Models that several tests of bridges share, with values from PyMC."""

from __future__ import annotations

from typing import Any

import numpy as np

Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
SCHOOLS = ("A", "B", "C", "D", "E", "F", "G", "H")


def eight_schools() -> Any:
    """Rubin's eight schools in PyMC, not centred, with theta as a deterministic quantity."""
    import pymc as pm

    with pm.Model(coords={"school": SCHOOLS}) as model:
        mu = pm.Normal("mu", 0.0, 5.0)
        tau = pm.HalfCauchy("tau", 5.0)
        z = pm.Normal("z", dims="school")
        theta = pm.Deterministic("theta", mu + tau * z, dims="school")
        pm.Normal("y", theta, SIGMA, observed=Y, dims="school")
    return model


def constrained() -> Any:
    """A model with transforms of all kinds."""
    import pymc as pm

    with pm.Model() as model:
        pm.HalfNormal("scale", 2.0)
        low = pm.Normal("low")
        pm.Uniform("between", low, low + 3.0)
        pm.Beta("share", 2.0, 3.0, shape=(2, 3))
        pm.Dirichlet("mix", np.array([1.0, 2.0, 3.0]))
        pm.Normal(
            "cuts",
            0.0,
            2.0,
            shape=4,
            transform=pm.distributions.transforms.ordered,
            initval=np.arange(4.0),
        )
        pm.ZeroSumNormal("effect", shape=4)
        pm.LKJCholeskyCov("chol", n=3, eta=2.0, sd_dist=pm.Exponential.dist(1.0))
        pm.VonMises("angle", 0.0, 2.0)
    return model
