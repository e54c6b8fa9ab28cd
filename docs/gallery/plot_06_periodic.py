"""
An angle with a mode at 0 and 360 degrees
=========================================

A periodic coordinate keeps one mode from being cut into two.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

angle = fm.distributions.Uniform(0, 2 * np.pi)
r = fm.nested.sample(lambda t: 8 * np.cos(t[:, 0]), [angle], periodic=[0], rng=0)
draws = r.posterior(4000, rng=0).draws[:, 0]

line = np.linspace(0, 2 * np.pi, 400)
fig, ax = plt.subplots(subplot_kw={"projection": "polar"}, layout="constrained")
ax.hist(draws, bins=90, density=True, alpha=0.6)
ax.plot(line, np.exp(8 * np.cos(line)) / (2 * np.pi * np.i0(8)))
