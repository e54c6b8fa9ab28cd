"""
Sobol' points
=============

Random and scrambled Sobol' points of the square, and the same points under a normal
law.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

n = 256
law = fm.distributions.MultivariateNormal(
    np.zeros(2), np.array([[1.0, 0.6], [0.6, 1.0]])
)
square = fm.distributions.Uniform([0.0, 0.0], [1.0, 1.0])
kinds = {
    "random": square.sample(n, rng=0),
    "Sobol', scrambled": fm.random.sobol(n, 2, rng=0),
}

fig, axes = plt.subplots(2, 2, layout="constrained", figsize=(7, 7))
for (top, bottom), (name, u) in zip(axes.T, kinds.items(), strict=True):
    top.plot(*u.T, ".")
    top.set(aspect="equal", xlim=(0, 1), ylim=(0, 1), title=name)
    top.set(xticks=np.linspace(0, 1, 17), yticks=np.linspace(0, 1, 17))
    top.tick_params(labelbottom=False, labelleft=False, length=0)
    top.grid(linewidth=0.4)  # each of the 256 cells has one Sobol' point
    bottom.plot(*law.from_unit(u).T, ".")
    bottom.set(aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
