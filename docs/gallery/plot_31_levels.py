"""
Chains over noise levels
========================

The visited levels of chains, compared with their exact law.
"""

import fermiac as fm

m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
r = fm.score.langevin_gibbs(m, sigma_range=(0.05, 20.0), n_draws=100, n_skip=20, rng=0)
fm.plotting.plot_levels(r)
