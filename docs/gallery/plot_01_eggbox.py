"""
Eighteen modes on an egg box
============================

Nested sampling draws from all modes of a likelihood, without a gradient or a starting
point.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm


def log_likelihood(x):
    return (2 + np.cos(x[:, 0] / 2) * np.cos(x[:, 1] / 2)) ** 5


side = fm.distributions.Uniform(0, 10 * np.pi)
r = fm.nested.sample(log_likelihood, [side, side], rng=0)
draws = r.posterior(3000, rng=0).draws

fig, ax = plt.subplots(layout="constrained")
ax.scatter(*r.draws.T, s=2, c=log_likelihood(r.draws), cmap="Blues")
ax.plot(*draws.T, ".", color="tab:orange", markersize=2)
ax.set(
    aspect="equal", title=f"log Z = {r.log_evidence:.2f} ± {r.log_evidence_stderr:.2f}"
)
