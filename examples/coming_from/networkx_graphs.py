"""For users of networkx: averages over the nodes of a graph that keeps its labels."""

import itertools

import networkx as nx
import numpy as np

import fermiac as fm

G = nx.les_miserables_graph()

# The mean degree, by walkers that only see the neighbours of a node.
w = fm.walks.walk(G, n_steps=20_000, rng=0)
print(w.summary())
e = w.expect(dict(G.degree()))  # values by label
exact = 2 * G.number_of_edges() / G.number_of_nodes()
print(f"mean degree {e.mean:.4f} ± {e.stderr:.4f}, networkx {exact:.4f}")
assert abs(e.mean - exact) < 5 * e.stderr

# A share of the nodes, by a function of their labels.
long = w.expect(lambda names: np.array([len(name) > 8 for name in names]))
exact = np.mean([len(name) > 8 for name in G])
print(f"long names {long.mean:.4f} ± {long.stderr:.4f}, networkx {exact:.4f}")
assert abs(long.mean - exact) < 5 * long.stderr

# Several averages at once, and a ratio of them.
clustering = nx.clustering(G)
table = np.array([[clustering[v], G.degree(v)] for v in G])
both = w.expect(table, names=["clustering", "degree"])
ratio = both.ratio("clustering", "degree")
exact = table[:, 0].mean() / table[:, 1].mean()
print(f"clustering per degree {ratio.mean:.5f} ± {ratio.stderr:.5f}, networkx {exact:.5f}")
assert abs(ratio.mean - exact) < 5 * ratio.stderr

# PageRank without damping: a plain random walk visits nodes by their (weighted) degrees.
plain = fm.walks.walk(G, "none", "weighted", init="Valjean", n_steps=20_000, rng=0)
strength = dict(G.degree(weight="weight"))
share = strength["Valjean"] / sum(strength.values())
at = plain.expect(lambda names: names == "Valjean")
print(f"visits of Valjean {at.mean:.5f} ± {at.stderr:.5f}, networkx {share:.5f}")
assert abs(at.mean - share) < 5 * at.stderr

# The number of nodes of a network that can only be crawled.
crawl = fm.walks.walk(G, "none", "srw", n_steps=2000, rng=0)
size = crawl.estimate_size()
truth = np.array([G.number_of_nodes(), G.number_of_edges()])
print(size, "networkx", truth)
assert np.all(abs(size.mean - truth) < 5 * size.stderr)

# Paths, as igraph's random_walk gives them, with the labels.
graph = fm.walks.Graph.from_networkx(G)
path = fm.walks.walk(
    graph, "none", "srw", init="Valjean", n_walkers=1, n_steps=10, record="path", rng=0
).paths[0]
names = graph.nodes[path]
print(" -> ".join(names))
assert all(G.has_edge(a, b) for a, b in itertools.pairwise(names))
