"""
The course of a nested sampling run
===================================

Live points, likelihood, weights and evidence along the shrinking prior mass.
"""

import numpy as np

import fermiac as fm

prior = fm.distributions.Normal([0.0] * 5, 1.0)
r = fm.nested.sample(lambda x: -0.5 * ((x - 1) ** 2).sum(axis=1) / 0.04, prior, rng=0)
exact = 5 * (0.5 * np.log(0.04 / 1.04) - 0.5 / 1.04)
r.plot_run(truth=exact)
