"""
Expectations and an evidence by nets
====================================

Errors of a mean and of an evidence with random and with Sobol' points, against the
number of evaluations.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

law = fm.distributions.MultivariateNormal(np.zeros(4), np.eye(4))
start = fm.distributions.MultivariateNormal(np.zeros(4), 4 * np.eye(4))


def mean(n, points, seed):
    f = lambda x: np.exp(0.4 * x.sum(axis=1))  # noqa: E731
    return fm.importance.expect(f, law, n=n, points=points, rng=seed).mean - np.exp(
        0.32
    )


def evidence(n, points, seed):
    f = lambda x: -0.5 * ((x - 1) ** 2).sum(axis=1) / 0.25  # noqa: E731
    z = fm.importance.evidence(f, start, n=n, points=points, rng=seed)
    return z.log_evidence - 2 * np.log(0.5 * np.pi)


sizes = 2 ** np.arange(10, 18)
fig, axes = plt.subplots(1, 2, layout="constrained", figsize=(9, 4))
for ax, error in zip(axes, (mean, evidence), strict=True):
    for points in ("random", "sobol"):
        runs = [[error(int(n), points, seed) for seed in range(8)] for n in sizes]
        ax.loglog(sizes, np.sqrt(np.mean(np.square(runs), axis=1)), "o-", label=points)
    ax.set(xlabel="evaluations", ylabel="error", title=f"{error.__name__}")
    ax.legend(frameon=False)
