"""
A trained sampler
=================

The components that a call has fitted along a curved ridge. The same sampler is then
used for a neighbouring ridge, and its estimate is compared with that of a newly trained
sampler.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate, stats

import fermiac as fm

law = fm.distributions.Normal([0.0, 0.0], [1.0, 1.0])


def ridge(at):
    return lambda x: np.exp(-8 * (x[:, 1] + 0.5 * x[:, 0] ** 2 - at) ** 2)


def slice_of(x, at=2.2):  # the integral over the second coordinate
    return stats.norm.pdf(x) * np.exp(-8 * (at - 0.5 * x**2) ** 2 / 17) / np.sqrt(17)


trained = fm.importance.expect(ridge(2.0), law, family="mixture", n=20_000, rng=0)
again = fm.importance.expect(ridge(2.2), law, sampler=trained.sampler, n=4000, rng=1)
anew = fm.importance.expect(ridge(2.2), law, family="mixture", n=4000, rng=1)

fig, (left, right) = plt.subplots(1, 2, layout="constrained", figsize=(9, 4))
trained.sampler.plot_sampler(left)
x = np.linspace(-4, 4, 200)
for at, style in ((2.0, "-"), (2.2, "--")):
    left.plot(x, at - 0.5 * x**2, style, color="tab:red", label=f"ridge at {at}")
left.set(xlim=(-4, 4), ylim=(-4, 4), title="points, components and ridges")
left.legend(frameon=False)

means = np.array([again.mean, anew.mean])
errors = 2 * np.array([again.stderr, anew.stderr])
right.errorbar(["trained before", "trained anew"], means, errors, fmt="o", capsize=4)
right.axhline(integrate.quad(slice_of, -8, 8)[0], color="grey", linewidth=1)
right.set(xlim=(-0.5, 1.5), ylabel="expectation", title="4000 evaluations, ± 2 errors")
