"""Random walks on graphs that know where they have been, and what is estimated with them.

Graphs come from SciPy, networkx, igraph, arrays or files that are too large for the memory;
`graphs` has generators.
"""

from __future__ import annotations

from fermiac.walks import graphs
from fermiac.walks._bases import MTM, Lazy, Node2Vec
from fermiac.walks._conversions import as_graph
from fermiac.walks._crawl import Crawl
from fermiac.walks._files import open_csr
from fermiac.walks._gradients import NativeLoss, TorchLoss
from fermiac.walks._graph import Graph
from fermiac.walks._losses import Quadratic
from fermiac.walks._more import corpus, extend, start
from fermiac.walks._optimize import optimize
from fermiac.walks._optimum import Optimum
from fermiac.walks._oracle import Crawler, Oracle
from fermiac.walks._regressions import LeastSquares, Logistic
from fermiac.walks._result import Walk
from fermiac.walks._rows import Components
from fermiac.walks._stop import StopWhen
from fermiac.walks._tokens import predict, token_covariance
from fermiac.walks._variance import asymptotic_variance, spectral_gap
from fermiac.walks._walk import walk
from fermiac.walks._write_csr import write_csr

__all__ = [
    "MTM",
    "Components",
    "Crawl",
    "Crawler",
    "Graph",
    "Lazy",
    "LeastSquares",
    "Logistic",
    "NativeLoss",
    "Node2Vec",
    "Optimum",
    "Oracle",
    "Quadratic",
    "StopWhen",
    "TorchLoss",
    "Walk",
    "as_graph",
    "asymptotic_variance",
    "corpus",
    "extend",
    "graphs",
    "open_csr",
    "optimize",
    "predict",
    "spectral_gap",
    "start",
    "token_covariance",
    "walk",
    "write_csr",
]
