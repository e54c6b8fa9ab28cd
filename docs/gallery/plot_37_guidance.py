"""
The bias of guidance
====================

Guidance with scale 4, its intended law, and weighted particles of that law.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

c = fm.score.GaussianMixture([0.5, 0.5], [[-2], [1]], 0.25)
u = fm.score.GaussianMixture([0.25] * 4, [[-2], [1], [2.5], [4]], 0.25)
levels = {"n_steps": 60, "sigma_range": (0.01, 80)}
x = fm.score.sample(fm.score.guided(c, u, scale=4), 5000, **levels, rng=0).draws
s = fm.score.sample_power(c, u, 4, 10_000, **levels, rng=0)

at = np.linspace(-4, 3, 400)
p = np.exp(4 * c.log_density(at[:, None], 0) - 3 * u.log_density(at[:, None], 0))
bins = np.linspace(-4, 3, 71)
weights = np.exp(s.log_weights - s.log_weights.max())

fig, ax = plt.subplots(layout="constrained")
ax.hist(x[:, 0], bins, density=True, alpha=0.5, label="guidance")
ax.hist(
    s.draws[:, 0], bins, density=True, weights=weights, alpha=0.5, label="sample_power"
)
ax.plot(at, p / (p.sum() * (at[1] - at[0])), "k", label="exact")
ax.set(xlabel="x", ylabel="density")
ax.legend()
