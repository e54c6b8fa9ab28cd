"""
Two distant modes by tempering
==============================

Plain chains stay in the mode where they start, and no diagnostic shows it. Tempered
chains find the right share of each mode.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

N = fm.distributions.Normal
target = fm.distributions.Mixture([0.7, 0.3], [N([-6.0, 0.0]), N([6.0, 0.0])])
tempered = fm.mcmc.Tempered("mala", reference=N([0.0, 0.0], 6.0))
plain = fm.mcmc.sample(target, kernel="mala", init=[-6.0, 0.0], n_draws=4000, rng=0)
good = fm.mcmc.sample(target, kernel=tempered, init=[-6.0, 0.0], n_draws=4000, rng=0)

fig, ax = plt.subplots(layout="constrained")
line = np.linspace(-10, 10, 400)
density = 0.7 * np.exp(-0.5 * (line + 6) ** 2) + 0.3 * np.exp(-0.5 * (line - 6) ** 2)
ax.plot(line, density / np.sqrt(2 * np.pi), "k", label="target")
for s, label in ((plain, "MALA"), (good, "tempered MALA")):
    ax.hist(
        s.draws[..., 0].ravel(), bins=100, density=True, histtype="step", label=label
    )
ax.legend()
