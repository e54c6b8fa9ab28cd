"""
The strength of repellence
==========================

Asymptotic variances from theory, against the strength of the history.
"""

import matplotlib.pyplot as plt
import numpy as np

import fermiac as fm

graph = fm.walks.graphs.ring_of_cliques(20, 10)
f = (np.arange(200) < 100) * 1.0
alphas = np.geomspace(0.1, 50, 12)

fig, ax = plt.subplots(layout="constrained")
for kernel, base in (("srrw", "mhrw"), ("hdt", "mhda")):
    v = [fm.walks.asymptotic_variance(graph, f, kernel, base, alpha=a) for a in alphas]
    ax.loglog(alphas, v, "o-", label=f"{kernel} on {base}")
ax.axhline(
    fm.walks.asymptotic_variance(graph, f, "none", "mhrw"), color="grey", label="plain"
)
ax.set(xlabel="alpha", ylabel="asymptotic variance")
ax.legend()
