"""Random walks on graphs that know where they have been.

Graphs come from SciPy, networkx, igraph, arrays or files; `graphs` has generators.
"""

from __future__ import annotations

from fermiac.walks import graphs
from fermiac.walks._conversions import as_graph
from fermiac.walks._files import open_csr
from fermiac.walks._graph import Graph
from fermiac.walks._rows import Components
from fermiac.walks._write_csr import write_csr

__all__ = ["Components", "Graph", "as_graph", "graphs", "open_csr", "write_csr"]
