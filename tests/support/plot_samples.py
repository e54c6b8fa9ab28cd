"""Samples that tests of plots draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import fermiac as fm


def weighted(d: int = 3, n: int = 4000) -> fm.Sample:
    """N(0, 1) from N(0, 1.5²)."""
    x = 1.5 * fm.random.Stream(0).normal((n, d))
    log_weights = np.sum((x / 1.5) ** 2 - x**2, axis=1) / 2
    return fm.Sample.from_arrays(x, log_weights, names=[f"p{j}" for j in range(d)])


def chains(d: int = 3, n: int = 300) -> fm.Sample:
    """Four chains of correlations 0.6^t; the first is apart in the second coordinate."""
    x = fm.random.Stream(0).normal((4, n, d))
    x[:, 1:] *= 0.8
    for t in range(1, n):
        x[:, t] += 0.6 * x[:, t - 1]
    x[0, :, 1] += 2
    flags = np.zeros((4, n), bool)
    flags[2, [10, 20]] = True
    s = fm.Sample.from_arrays(x, names=[f"p{j}" for j in range(d)])
    return replace(s, stats={"energy": (x**2).sum(axis=2), "diverging": flags})
