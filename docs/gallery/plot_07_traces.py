"""
Traces and ranks of chains
==========================

Four chains of the eight schools, and the ranks of their draws.
"""

import matplotlib.pyplot as plt

import fermiac as fm

s = fm.mcmc.sample(fm.targets.eight_schools(), rng=0)
fig, axes = plt.subplots(2, 2, figsize=(9, 5), layout="constrained")
s.plot_trace(axes[0], columns=["mu", "log_tau"])
s.plot_ranks(axes[1], columns=["mu", "log_tau"])
