"""
Live points close in on two shells
==================================

The points that were alive at four levels of the likelihood of two thin rings.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm


def log_likelihood(x):
    left, right = (np.hypot(x[:, 0] - c, x[:, 1]) for c in (-3.5, 3.5))
    return np.logaddexp(-0.5 * ((left - 2) / 0.1) ** 2, -0.5 * ((right - 2) / 0.1) ** 2)


prior = fm.distributions.Uniform([-6, -6], [6, 6])
r = fm.nested.sample(log_likelihood, prior, n_live=2000, rng=0)
values, births = r.log_densities, np.array([-800.0, -100.0, -10.0, -1.0])

fig, axes = plt.subplots(1, 4, figsize=(10, 2.8), sharey=True, layout="constrained")
for ax, level in zip(axes, births, strict=True):
    above = r.draws[values > level]
    ax.plot(*above[:500].T, ".", markersize=3)
    ax.set(xlim=(-6, 6), ylim=(-6, 6), aspect="equal", title=f"log L > {level:g}")
