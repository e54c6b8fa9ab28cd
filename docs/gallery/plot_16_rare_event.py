"""
A rare event
============

Relative errors of P(X > t) by importance sampling and by plain Monte Carlo, 20,000
points each.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import fermiac as fm

law = fm.distributions.Normal()
limits = np.array([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0])
with warnings.catch_warnings():
    warnings.simplefilter("ignore", fm.errors.FermiacWarning)  # of plain Monte Carlo
    found = [
        fm.importance.expect(lambda x: x > limits, law, n=20_000, method=method, rng=0)
        for method in ("aiscv", "mc")
    ]

fig, ax = plt.subplots(layout="constrained")
for e, label in zip(found, ("importance sampling", "plain Monte Carlo"), strict=True):
    ax.semilogy(
        limits,
        np.where(e.mean > 0, e.stderr / stats.norm.sf(limits), np.nan),
        "o-",
        label=label,
    )
ax.set(xlabel="t", ylabel="standard error / probability")
ax.legend()
