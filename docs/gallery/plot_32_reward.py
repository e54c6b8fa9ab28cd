"""
Draws that prefer a reward
==========================

A mixture tilted towards large x, without a gradient of the reward.
"""

import matplotlib.pyplot as plt

import fermiac as fm

m = fm.score.GaussianMixture(
    [0.5, 0.3, 0.2], [[0, 0], [3, 1], [-2, 3]], [0.25, 0.1, 0.3]
)
x = fm.score.sample(m, 2000, n_steps=30, sigma_range=(0.02, 20), rng=0).draws
t = fm.score.svdd(
    m,
    lambda x: 2 * x[:, 0],
    2000,
    n_steps=30,
    sigma_range=(0.02, 20),
    n_candidates=8,
    rng=0,
)

fig, ax = plt.subplots(layout="constrained")
ax.plot(*x.T, ".", markersize=2, label="draws")
ax.plot(*t.draws.T, ".", markersize=2, label="tilted by exp(2x)")
ax.set(aspect="equal")
ax.legend()
