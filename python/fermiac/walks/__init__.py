"""Random walks on graphs that know where they have been.

Graphs come from SciPy, networkx, igraph, arrays or files that are too large for the memory; `graphs`
has generators.
"""

from __future__ import annotations

from fermiac.walks._conversions import as_graph
from fermiac.walks._graph import Components, Graph

__all__ = ["Components", "Graph", "as_graph"]
