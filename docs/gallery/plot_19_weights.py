"""
Good and bad importance weights
===============================

Weights of a wide and of a narrow proposal for the same normal law, with Pareto k-hat.
"""

import warnings

import matplotlib.pyplot as plt

import fermiac as fm

target = fm.distributions.Normal(0.0, 1.0)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for ax, scale in zip(axes, (1.5, 0.5), strict=True):
    proposal = fm.distributions.Normal(0.0, scale)
    s = fm.Sample.from_arrays(proposal.sample(4000, rng=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.WeightWarning)  # of the narrow one
        t = s.reweight(target, old=proposal)
    t.plot_weights(ax)
    ax.set(title=f"proposal of scale {scale}: k-hat {t.khat:.2f}, ESS {t.ess:.0f}")
