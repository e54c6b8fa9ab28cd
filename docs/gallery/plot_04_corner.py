"""
A corner plot
=============

All pairs of parameters of a spectral line, with the true values.
"""

import numpy as np

import fermiac as fm

x = np.linspace(0, 10, 60)
y = 2 * np.exp(-0.5 * ((x - 4) / 0.8) ** 2) + 0.3 * np.random.default_rng(1).normal(
    size=60
)


def log_likelihood(t):
    height, place, width = t.T[:, :, None]
    model = height * np.exp(-0.5 * ((x - place) / width) ** 2)
    return -0.5 * (((y - model) / 0.3) ** 2).sum(axis=1)


U = fm.distributions.Uniform
names = ["height", "place", "width"]
r = fm.nested.sample(log_likelihood, [U(0, 5), U(0, 10), U(0.1, 3)], names=names, rng=0)
r.plot_corner(truths=[2, 4, 0.8])
