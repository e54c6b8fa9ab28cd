"""
Estimates of one sample are correlated
======================================

The correlation matrix of the errors of six expectations.
"""

import numpy as np

import fermiac as fm

law = fm.distributions.Beta(2.0, 5.0)
names = [f"x^{k}" for k in range(1, 7)]
e = fm.importance.expect(lambda x: x ** np.arange(1, 7), law, names=names, rng=0)
e.plot_correlation()
