"""
Sobol' indices of a beam
========================

The shares of the inputs in the variance of a cantilever's displacement, with 95 %
intervals.
"""

import fermiac as fm

Normal = fm.distributions.Normal
law = {
    "FX": Normal(556.8, 80.0),
    "FY": Normal(453.6, 80.0),
    "E": Normal(200.0, 12.0),
    "w": Normal(0.062, 0.001),
    "t": Normal(0.0987, 0.002),
    "L": Normal(4.29, 0.1),
}


def displacement(FX, FY, E, w, t, L):  # each (n,) -> (n,), in m
    bending = ((FX / w**2) ** 2 + (FY / t**2) ** 2) ** 0.5
    return 4 * L**3 / (1e9 * E * w * t) * bending


# A hundred rows of eight runs: enough for the order of the inputs.
s = fm.importance.sobol_indices(displacement, law, n=800, controls="none", rng=0)
s.plot_indices()
