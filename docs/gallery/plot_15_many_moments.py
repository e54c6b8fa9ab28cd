"""
Ten moments from one sample
===========================

Errors of the estimates of E[x^k], in standard errors.
"""

import numpy as np
from scipy.special import factorial2

import fermiac as fm

powers = np.arange(2, 22, 2)
law = fm.distributions.Normal()
e = fm.importance.expect(
    lambda x: x**powers, law, n=20_000, names=[f"x^{p}" for p in powers], rng=0
)
e.plot_estimates(truth=factorial2(powers - 1))
