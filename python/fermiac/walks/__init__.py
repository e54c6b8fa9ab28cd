"""Random walks on graphs that know where they have been, and what is estimated with them.

Graphs come from SciPy, networkx, igraph, arrays or files that are too large for the memory;
`graphs` has generators.
"""

from __future__ import annotations

from fermiac.runs.background import starter as _starter
from fermiac.walks import graphs
from fermiac.walks.api import walk
from fermiac.walks.chains import MTM, Lazy, Node2Vec
from fermiac.walks.conversions import as_graph
from fermiac.walks.crawl import Crawl
from fermiac.walks.csr_writer import write_csr
from fermiac.walks.extension import corpus, extend
from fermiac.walks.files import open_csr
from fermiac.walks.gradients import NativeLoss, TorchLoss
from fermiac.walks.graph import Graph
from fermiac.walks.losses import Quadratic
from fermiac.walks.oracle import Crawler, Oracle
from fermiac.walks.regressions import LeastSquares, Logistic
from fermiac.walks.result import Walk
from fermiac.walks.rows import Components
from fermiac.walks.stop import StopAtStderr
from fermiac.walks.token_api import optimize
from fermiac.walks.token_result import Optimum
from fermiac.walks.token_theory import predict, token_covariance
from fermiac.walks.variance import asymptotic_variance, spectral_gap

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
    "StopAtStderr",
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

start = _starter("walks", walk, extend, optimize)
