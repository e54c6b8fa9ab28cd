"""
Levels of a call option
=======================

The means and variances of the differences between levels of Euler steps, and the cost
of each level.
"""

import numpy as np

import fermiac as fm


def level(l, n, stream):  # noqa: E741
    steps, h = 2**l, 2.0**-l
    fine = coarse = np.full(n, 100.0)
    noise = 0.0
    for k in range(steps):
        before, noise = noise, np.sqrt(h) * stream.normal(n)
        fine = fine * (1 + 0.05 * h + 0.2 * noise)
        if k % 2:
            coarse = coarse * (1 + 0.05 * 2 * h + 0.2 * (before + noise))

    def pay(end):
        return np.exp(-0.05) * np.maximum(end - 100.0, 0.0)

    return pay(fine), pay(coarse) if l else None


m = fm.importance.multilevel(level, atol=0.02, rng=0)
m.plot_multilevel()
