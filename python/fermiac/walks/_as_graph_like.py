"""Graphs from sparse matrices, edges and from anything that has their arrays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fermiac.errors import ArgumentError


def _as_graph_like(graph: Any) -> Any:
    """Give `graph` the attributes of a Graph."""
    if hasattr(graph, "indptr") and hasattr(graph, "n_nodes"):
        return graph
    from scipy import sparse

    if sparse.issparse(graph):
        matrix = sparse.csr_array(graph, dtype=np.float64)
    else:
        i, j = np.asarray(graph, dtype=np.int64).reshape(-1, 2).T
        n = 1 + max(i.max(), j.max())
        matrix = sparse.csr_array((np.ones(len(i)), (i, j)), shape=(n, n))
        matrix = ((matrix + matrix.T) > 0).astype(np.float64)
    if matrix.shape[0] != matrix.shape[1] or not matrix.shape[0]:
        raise ArgumentError(
            f"graph: a matrix of shape {matrix.shape} was given; a square one that is not empty "
            "is needed"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not (np.isfinite(matrix.data).all() and (matrix.data > 0).all()):
        raise ArgumentError("graph: weights must be positive and finite")
    pattern = matrix.astype(bool)
    indptr = matrix.indptr.astype(np.int64)
    return SimpleNamespace(
        indptr=indptr,
        indices=matrix.indices.astype(np.uint32),
        weights=matrix.data,
        degrees=np.diff(indptr),
        strengths=np.asarray(matrix.sum(axis=1)).reshape(-1),
        n_nodes=matrix.shape[0],
        directed=bool((pattern != pattern.T).nnz),
    )
