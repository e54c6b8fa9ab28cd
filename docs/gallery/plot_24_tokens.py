"""
A token learns along its walk
=============================

The distance of parameters to the minimum of the mean loss, with and without history.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

graph = fm.walks.graphs.ring_of_cliques(20, 10)
loss = fm.walks.Quadratic(1.0, np.arange(200.0))
best = loss.minimum()

fig, ax = plt.subplots(layout="constrained")
for kernel, options in (("none", {}), ("srrw", {"alpha": 5.0})):
    o = fm.walks.optimize(
        loss, graph, kernel=kernel, n_tokens=64, n_steps=50_000, rng=0, **options
    )
    square = (o.distance(best) ** 2).mean(axis=0)
    ax.loglog(o.trace.steps, square, label=kernel)
ax.set(xlabel="steps", ylabel="mean square distance")
ax.legend()
