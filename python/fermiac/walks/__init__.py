"""Random walks on graphs that know where they have been.

Graphs come from SciPy, networkx, igraph, arrays or files that are too large for the memory; `graphs`
has generators.
"""

from __future__ import annotations

from fermiac.walks._bases import MTM, Lazy, Node2Vec
from fermiac.walks._conversions import as_graph
from fermiac.walks._graph import Components, Graph
from fermiac.walks._more import corpus, extend, start
from fermiac.walks._result import Walk
from fermiac.walks._stop import StopWhen
from fermiac.walks._walk import walk

__all__ = [
    "MTM",
    "Components",
    "Graph",
    "Lazy",
    "Node2Vec",
    "StopWhen",
    "Walk",
    "as_graph",
    "corpus",
    "extend",
    "start",
    "walk",
]
