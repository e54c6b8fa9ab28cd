"""
The distribution of a permutation test
======================================

The means after all 32,768 sign flips of Darwin's fifteen pairs of plants, and the
observed mean.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

d = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
p = fm.resample.permutation_test(d)
signs = 1 - 2 * (np.arange(2**15)[:, None] >> np.arange(15) & 1)
means = signs @ d / 15

fig, ax = plt.subplots(layout="constrained")
_, edges, bars = ax.hist(means, bins=81, color="0.8")
for edge, bar in zip(edges, bars, strict=False):
    if abs(edge + np.diff(edges[:2])[0] / 2) >= p.statistic:
        bar.set_color("tab:orange")
ax.axvline(p.statistic, color="tab:blue", label=f"observed, p = {p.pvalue:.4f} exactly")
ax.set(xlabel="mean of the differences (eighths of an inch)", ylabel="flips of signs")
ax.legend()
