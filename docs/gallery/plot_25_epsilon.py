"""
The posterior of epsilon
========================

An attack that is right for 400 of 500 members and 400 of 500 others, against a claim of
1.5.
"""

import fermiac as fm

p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
p.plot(claim=1.5)
