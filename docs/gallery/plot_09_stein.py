"""
Gradients reduce errors
=======================

Standard errors of ten posterior means, with and without Stein control variates.
"""

import matplotlib.pyplot as plt

import fermiac as fm

s = fm.mcmc.sample(fm.targets.eight_schools(), rng=0)
plain = s.expect(lambda x: x)
linear = s.expect(lambda x: x, controls="stein", degree=1)
square = s.expect(lambda x: x, controls="stein", degree=2)

fig, ax = plt.subplots(layout="constrained")
for e, label in ((plain, "plain"), (linear, "degree 1"), (square, "degree 2")):
    ax.semilogy(range(10), e.stderr, "o", label=label)
ax.set(xticks=range(10), ylabel="standard error")
ax.set_xticklabels(s.names, rotation=60)
ax.legend()
