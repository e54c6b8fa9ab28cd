"""
Is the sampler right?
=====================

Ranks of parameters among the draws of a right sampler and of a sampler with too narrow draws. The
band contains the ranks of a right sampler with probability 95 %.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

prior = fm.distributions.Normal()


def simulate(theta, stream):
    return theta + stream.normal(1)


def sampler(scale):  # the posterior is normal, with mean y / 2 and variance 1/2
    def sample(y, rng):
        return y / 2 + scale * 0.5**0.5 * fm.random.Stream(rng).normal((99, 1))

    return sample


fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for ax, scale, title in zip(axes, (1.0, 0.8), ("right", "20 % too narrow"), strict=True):
    c = fm.evaluate.sbc(prior, simulate, sampler(scale), 500, rng=0)
    ax.fill_between(c.at, c.lower - c.at, c.upper - c.at, color="0.85", label="95 % band")
    ax.plot(c.at, c.ecdf()[:, 0] - c.at, color="tab:blue", label=f"ranks, p = {c.pvalue[0]:.2g}")
    ax.axhline(0, color="0.5", linewidth=0.8)
    ax.set(title=title, xlabel="rank over 100", xticks=np.linspace(0, 1, 5))
    ax.legend()
axes[0].set_ylabel("distribution function less the uniform one")
