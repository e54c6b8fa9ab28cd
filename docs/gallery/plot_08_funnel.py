"""
Neal's funnel, centred and not
==============================

NUTS cannot enter the neck of a funnel, which divergences show. The other
parametrisation has no neck.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

with warnings.catch_warnings():
    # The picture shows what it warns of.
    warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)
    centred = fm.mcmc.sample(fm.targets.funnel(10), n_draws=2000, rng=0)
other = fm.mcmc.sample(fm.distributions.Normal([0.0] * 10), n_draws=2000, rng=0)
v = 3 * other.draws[..., 0]
x = np.exp(v / 2) * other.draws[..., 1]
diverged = centred.stats["diverging"].astype(bool)

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 4), sharey=True, layout="constrained"
)
left.plot(
    centred.draws[..., 1].ravel(), centred.draws[..., 0].ravel(), ".", markersize=1
)
left.plot(
    *centred.draws[diverged][:, [1, 0]].T, "r.", label=f"{diverged.sum()} divergences"
)
right.plot(x.ravel(), v.ravel(), ".", markersize=1)
left.set(xlim=(-20, 20), title="centred", ylabel="log variance")
right.set(xlim=(-20, 20), title="not centred")
left.legend()
