"""
Kernels on a correlated Gaussian
================================

Effective sample sizes per thousand evaluations of the density or gradient, d = 10.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

covariance = 0.9 * np.ones((10, 10)) + 0.1 * np.eye(10)
target = fm.targets.gaussian(np.zeros(10), np.linalg.inv(covariance))
names = ["nuts", "hmc", "mala", "slice", "rwm"]
worth = []
for name in names:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)
        s = fm.mcmc.sample(target, kernel=name, n_draws=2000, rng=0)
    worth.append(1000 * float(np.min(fm.diagnostics.ess(s.draws))) / s.n_evals)

fig, ax = plt.subplots(layout="constrained")
ax.barh(names[::-1], worth[::-1])
ax.set(xlabel="least bulk ESS per 1000 evaluations, warm-up included")
