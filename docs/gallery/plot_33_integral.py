"""
The map of an integral
======================

The grid of the trained map over the integrand, and the error against the number of
evaluations, compared with random points.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm


def f(x):
    return 1 / np.prod(0.01 + (x - [0.3, 0.6]) ** 2, axis=1)


truth = np.prod(
    [10 * (np.arctan(10 * (1 - c)) + np.arctan(10 * c)) for c in (0.3, 0.6)]
)

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
e = fm.importance.integrate(f, [(0, 1)] * 2, n=10_000, method="map", rng=0)
e.sampler.plot_sampler(left)
grid = np.linspace(0, 1, 200)
points = np.stack(np.meshgrid(grid, grid), axis=-1)
values = f(points.reshape(-1, 2)).reshape(200, 200)
left.contourf(
    grid, grid, np.log10(values), levels=12, cmap="Greys", alpha=0.5, zorder=-1
)
left.set(title="grid and points of the map", xlim=(0, 1), ylim=(0, 1))

sizes = 2 ** np.arange(10, 19)
for method, points in (("mc", "random"), ("sobol", "sobol"), ("map", "sobol")):
    errors = []
    for n in sizes:
        runs = [
            fm.importance.integrate(
                f, [(0, 1)] * 2, n=int(n), method=method, points=points, rng=r
            )
            for r in range(10)
        ]
        errors.append(np.sqrt(np.mean([(r.mean / truth - 1) ** 2 for r in runs])))
    right.loglog(sizes, errors, "o-", ms=3, label=method)
right.set(
    xlabel="evaluations", ylabel="relative error", title="error against evaluations"
)
right.legend(frameon=False)
