"""
A failure probability
=====================

The series system of four branches: the levels of subset simulation, the regions found,
and the probabilities from subset simulation and from the final sample.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm


def g(x):
    along, across = (x[:, 0] + x[:, 1]) / np.sqrt(2), x[:, 0] - x[:, 1]
    bend, edge = 3 + 0.1 * across**2, 7 / np.sqrt(2)
    return np.minimum.reduce([bend - along, bend + along, edge + across, edge - across])


law = fm.distributions.Normal([0.0, 0.0], [1.0, 1.0])
p = fm.importance.failure_probability(g, law, n=20_000, rng=1)

grid = np.linspace(-5, 5, 201)
x, y = np.meshgrid(grid, grid)
values = g(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
walk = [level for level in p.levels if level["walk"] == 0]
thresholds = [level["threshold"] for level in walk[1:]]

fig, (left, right) = plt.subplots(1, 2, layout="constrained", figsize=(9, 4))
left.contourf(x, y, values, levels=[-np.inf, 0.0], colors=["tab:red"], alpha=0.25)
lines = left.contour(x, y, values, levels=sorted({0.0, *thresholds}), colors="tab:blue")
left.clabel(lines, fmt="%.2g")
for region in p.regions:
    a, b = region["point"]
    left.plot(a, b, "k*", markersize=12)
    left.annotate(
        f"{100 * region['weight']:.0f} %",
        (a, b),
        xytext=(6, 6),
        textcoords="offset points",
    )
left.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$", title="levels and regions")

names = ["walk", "sample"]
means = np.array([p.subset["mean"], p.mean])
errors = np.array([p.subset["stderr"], p.stderr])
right.errorbar(names, means, 2 * errors, fmt="o", capsize=4)
right.axhline(2.2227950661944393e-3, color="grey", linewidth=1)
right.set(xlim=(-0.5, 1.5), ylabel="probability", title="two opinions, ± 2 errors")
