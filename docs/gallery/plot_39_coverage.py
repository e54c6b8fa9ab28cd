"""
Coverage of intervals
=====================

Coverage of 95 % intervals for the mean of exponential numbers, in 200 data sets of each
size.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import fermiac as fm

sizes = (10, 15, 20, 40)
held = {"fermiac": [], "SciPy, BCa": [], "SciPy, percentile": []}
for n in sizes:
    inside = np.zeros((3, 200), bool)
    for seed in range(200):
        x = fm.random.Stream(seed, index=n).exponential(n)
        r = fm.resample.bootstrap(
            x, "mean", method="studentised", n_resamples=499, rng=seed
        )
        ends = [(r.lower, r.upper)]
        for method in ("BCa", "percentile"):
            s = stats.bootstrap((x,), np.mean, method=method, n_resamples=499, rng=seed)
            ends.append(s.confidence_interval)
        inside[:, seed] = [low <= 1 <= high for low, high in ends]
    for shares, share in zip(held.values(), inside.mean(1), strict=True):
        shares.append(share)

fig, ax = plt.subplots(layout="constrained")
for (label, shares), style in zip(held.items(), ("o-", "s--", "x:"), strict=True):
    ax.errorbar(
        sizes, shares, np.sqrt(0.05 * 0.95 / 200), fmt=style, capsize=2, label=label
    )
ax.axhline(0.95, color="0.6", linewidth=1)
ax.set(
    xlabel="observations",
    ylabel="share of intervals that hold the truth",
    ylim=(0.75, 1),
)
ax.legend(loc="lower right")
