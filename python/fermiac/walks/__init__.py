"""Random walks on graphs, with and without history, and estimates from them.

Graphs come from SciPy, networkx, igraph, arrays, or files that are larger than the memory;
`graphs` has generators.
"""

from __future__ import annotations

from fermiac.runs.background import starter as _starter
from fermiac.walks import estimates as _estimates  # noqa: F401  (registers an error model)
from fermiac.walks import graphs
from fermiac.walks.api import walk
from fermiac.walks.chains import (
    MHDA,
    MHRW,
    MTM,
    NBRW,
    SRW,
    Barker,
    BaseChain,
    Lazy,
    MaxDegree,
    Node2Vec,
    Weighted,
)
from fermiac.walks.conversions import as_graph
from fermiac.walks.crawl import Crawl
from fermiac.walks.csr_writer import write_csr
from fermiac.walks.extension import corpus, extend
from fermiac.walks.files import open_csr
from fermiac.walks.gradients import NativeLoss, TorchLoss
from fermiac.walks.graph import Graph
from fermiac.walks.kernels import HDT, SAW, SRRW, TSAW, HistoryKernel, Plain, Rotor
from fermiac.walks.losses import Quadratic
from fermiac.walks.oracle import Crawler, Oracle
from fermiac.walks.regressions import LeastSquares, Logistic
from fermiac.walks.replicates import OptimizeReplicates
from fermiac.walks.result import WalkResult
from fermiac.walks.rows import Components
from fermiac.walks.stop import StopAtStderr
from fermiac.walks.token_api import optimize
from fermiac.walks.token_result import OptimizeResult
from fermiac.walks.token_theory import predict, token_covariance
from fermiac.walks.variance import asymptotic_variance, spectral_gap

__all__ = [
    "HDT",
    "MHDA",
    "MHRW",
    "MTM",
    "NBRW",
    "SAW",
    "SRRW",
    "SRW",
    "TSAW",
    "Barker",
    "BaseChain",
    "Components",
    "Crawl",
    "Crawler",
    "Graph",
    "HistoryKernel",
    "Lazy",
    "LeastSquares",
    "Logistic",
    "MaxDegree",
    "NativeLoss",
    "Node2Vec",
    "OptimizeReplicates",
    "OptimizeResult",
    "Oracle",
    "Plain",
    "Quadratic",
    "Rotor",
    "StopAtStderr",
    "TorchLoss",
    "WalkResult",
    "Weighted",
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


def __dir__() -> list[str]:
    return sorted(__all__)
