"""
A banana by four kernels
========================

The same density, a thousand draws of each kernel.
"""

import warnings

import matplotlib.pyplot as plt

import fermiac as fm

fig, axes = plt.subplots(
    1, 4, figsize=(11, 3), sharex=True, sharey=True, layout="constrained"
)
for ax, name in zip(axes, ["nuts", "mala", "slice", "de"], strict=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)  # short runs
        s = fm.mcmc.sample(
            fm.targets.banana(2), kernel=name, n_chains=10, n_draws=1000, rng=0
        )
    ax.plot(*s.draws[:, ::10].reshape(-1, 2).T, ".", markersize=2)
    ax.set(title=name)
