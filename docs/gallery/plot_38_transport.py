"""
From one law to another
=======================

Paths of the exact flow between two mixtures, without and with noise.
"""

import matplotlib.pyplot as plt

import fermiac as fm

first = fm.score.GaussianMixture([0.5, 0.5], [[-3, -1], [-3, 1]], 0.1)
last = fm.score.GaussianMixture([0.3, 0.7], [[3, 2], [3, -1]], 0.2)
flow = fm.score.ExactInterpolant(first, last, fm.score.Interpolant(latent="sine"))
x0 = first.sample(60, rng=0)

fig, axes = plt.subplots(1, 2, layout="constrained", sharey=True)
for ax, diffusion, title in zip(
    axes, (None, 0.3), ("without noise", "with noise"), strict=True
):
    path = fm.score.transport(flow, x0, 60, diffusion, return_trajectory=True, rng=1)
    ax.plot(*path.transpose(2, 0, 1), "-", color="0.7", linewidth=0.5)
    ax.plot(*path[0].T, ".", *path[-1].T, ".", markersize=3)
    ax.set(title=title, aspect="equal")
