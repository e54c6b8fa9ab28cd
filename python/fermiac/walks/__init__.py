"""Random walks on graphs that know where they have been.

Graphs come from SciPy, networkx, igraph, arrays or files that are too large for the memory;
`graphs` has generators.
"""

from __future__ import annotations

from fermiac.walks._bases import MTM, Lazy, Node2Vec
from fermiac.walks._conversions import as_graph
from fermiac.walks._gradients import NativeLoss, TorchLoss
from fermiac.walks._graph import Components, Graph
from fermiac.walks._losses import LeastSquares, Logistic, Quadratic
from fermiac.walks._optimize import optimize
from fermiac.walks._optimum import Optimum
from fermiac.walks._tokens import predict, token_covariance
from fermiac.walks._variance import asymptotic_variance, spectral_gap

__all__ = [
    "MTM",
    "Components",
    "Graph",
    "Lazy",
    "LeastSquares",
    "Logistic",
    "NativeLoss",
    "Node2Vec",
    "Optimum",
    "Quadratic",
    "TorchLoss",
    "as_graph",
    "asymptotic_variance",
    "optimize",
    "predict",
    "spectral_gap",
    "token_covariance",
]
