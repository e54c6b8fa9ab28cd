"""Random walks on graphs that know where they have been.

Graphs come from SciPy, networkx, igraph, arrays or files; `graphs` has generators.
"""

from __future__ import annotations

from fermiac.walks import graphs
from fermiac.walks._bases import MTM, Lazy, Node2Vec
from fermiac.walks._conversions import as_graph
from fermiac.walks._files import open_csr
from fermiac.walks._graph import Graph
from fermiac.walks._rows import Components
from fermiac.walks._tokens import predict, token_covariance
from fermiac.walks._variance import asymptotic_variance, spectral_gap
from fermiac.walks._write_csr import write_csr

__all__ = [
    "MTM",
    "Components",
    "Graph",
    "Lazy",
    "Node2Vec",
    "as_graph",
    "asymptotic_variance",
    "graphs",
    "open_csr",
    "predict",
    "spectral_gap",
    "token_covariance",
    "write_csr",
]
