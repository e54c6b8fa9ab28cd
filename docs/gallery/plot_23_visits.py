"""
Visits to the nodes
===================

The share of visits to each node of a small-world graph, compared with the target.
"""

import fermiac as fm

graph = fm.walks.graphs.watts_strogatz(100, 4, 0.1, rng=0)
w = fm.walks.walk(graph, "srrw", "mhrw", n_steps=20_000, n_walkers=8, rng=0)
w.plot_visits()
