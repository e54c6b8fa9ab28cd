"""
Walkers that avoid where they have been
=======================================

The error of an average over *Les Misérables* along the walk, with and without history.
"""

import networkx as nx

import fermiac as fm

net = fm.walks.Graph.from_networkx(nx.les_miserables_graph())
walks = {
    label: fm.walks.walk(
        net, kernel, "mhrw", n_steps=20_000, burn_in=0, record="path", rng=0
    )
    for label, kernel in {
        "plain": "none",
        "history-driven": "hdt",
        "self-repellent": "srrw",
    }.items()
}
fm.plotting.plot_convergence(walks, f=net.degrees, truth=net.degrees.mean())
