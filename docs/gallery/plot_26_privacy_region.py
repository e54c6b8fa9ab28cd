"""
Error rates and the region of privacy
=====================================

Draws of the two error rates of an attack, and the rates that epsilon = 1 allows.
"""

import fermiac as fm

p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
p.plot_region(epsilon=1.0)
