"""
From noise to data
==================

Paths of thirty points along the probability-flow equation of a mixture.
"""

import fermiac as fm

m = fm.score.GaussianMixture(
    [0.5, 0.3, 0.2], [[0, 0], [3, 1], [-2, 3]], [0.05, 0.05, 0.05]
)
y0 = 5 * fm.random.Stream(0).normal((30, 2))
levels = fm.score.karras(60, 0.02, 5.0)
path = fm.score.integrate(m, y0, levels, "heun", return_trajectory=True)
fm.plotting.plot_trajectory(path, levels)
