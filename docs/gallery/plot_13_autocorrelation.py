"""
Autocorrelations of a random walk
=================================

Autocorrelations of two coordinates with different scales.
"""

import fermiac as fm

law = fm.distributions.Normal([0.0, 0.0], [1.0, 3.0])
s = fm.mcmc.sample(law, kernel="rwm", names=["narrow", "wide"], n_draws=5000, rng=0)
s.plot_autocorrelation(max_lag=60)
