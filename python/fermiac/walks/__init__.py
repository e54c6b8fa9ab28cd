"""Random walks on graphs that know where they have been.

Graphs come from SciPy, networkx, igraph, arrays or files that are too large for the memory; `graphs`
has generators.
"""

from __future__ import annotations

from fermiac.walks._conversions import as_graph
from fermiac.walks._gradients import NativeLoss, TorchLoss
from fermiac.walks._graph import Components, Graph
from fermiac.walks._losses import LeastSquares, Logistic, Quadratic
from fermiac.walks._optimize import optimize
from fermiac.walks._optimum import Optimum

__all__ = [
    "Components",
    "Graph",
    "LeastSquares",
    "Logistic",
    "NativeLoss",
    "Optimum",
    "Quadratic",
    "TorchLoss",
    "as_graph",
    "optimize",
]
