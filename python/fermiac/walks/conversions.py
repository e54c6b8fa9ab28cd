"""Conversion of lists of edges and of graphs of other libraries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.validate import shown, taken, whole, yes
from fermiac.errors import ArgumentError
from fermiac.walks import arrays as arrays_module
from fermiac.walks import labels as labels_module
from fermiac.walks.graph import Graph, Validate

__all__ = ["as_graph", "of_edges", "of_frame", "of_igraph", "of_networkx", "of_scipy"]


@public
def as_graph(graph: Any) -> Graph:
    """Convert an object to a graph, as all functions of `fermiac.walks` do.

    Parameters
    ----------
    graph : object
        A `Graph`; a sparse matrix or array of SciPy (`Graph.from_scipy`); a graph of networkx
        (`Graph.from_networkx`) or igraph (`Graph.from_igraph`), whose edge attribute ``weight``
        counts; a tuple ``(indptr, indices)`` or ``(indptr, indices, weights)`` of arrays
        (`Graph`); an array or list of edges, shape (m, 2), between numbers or names
        (`Graph.from_edges`); a table of edges of pandas or polars (`Graph.from_dataframe`); or the
        path of a folder (`Graph.open`).

    Returns
    -------
    Graph
        The graph. A `Graph` is returned unchanged, so convert a graph once if you use it several
        times.

    Raises
    ------
    ArgumentError
        If it cannot be converted.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> fm.walks.as_graph(np.array([[0, 1], [1, 2]]))
    Graph: 3 nodes, 2 edges, undirected, without weights
    """
    if isinstance(graph, Graph):
        return graph
    if scipy.sparse.issparse(graph):
        return of_scipy(graph)
    if isinstance(graph, str | os.PathLike):
        return Graph.open(graph)
    if isinstance(graph, tuple) and len(graph) in (2, 3) and np.ndim(graph[0]) == 1:
        return Graph(*graph)
    if _is_networkx(graph):
        return of_networkx(graph)
    if _is_igraph(graph):
        return of_igraph(graph)
    if _is_frame(graph):
        return of_frame(graph)
    if isinstance(graph, np.ndarray | list):
        edges = taken("graph", graph)
        if edges.ndim == 2 and edges.shape[1] == 2 and edges.dtype.kind in "iuUTO":
            return of_edges(edges if edges.dtype.kind in "iu" else graph)
        raise ArgumentError(
            f"graph: an array of shape {edges.shape} and type {edges.dtype} was given; as edges, "
            "whole numbers or names of shape (m, 2) are needed; a dense adjacency matrix goes "
            "through scipy.sparse.csr_array(matrix)"
        )
    raise ArgumentError(
        f"graph: a {type(graph).__name__} was given; a fermiac, SciPy, networkx or igraph graph, "
        "arrays (indptr, indices), an array or a table of edges or the path of a folder is needed"
    )


def _is_networkx(graph: Any) -> bool:
    return all(hasattr(graph, name) for name in ("adj", "nodes", "edges", "is_directed"))


def _is_frame(graph: Any) -> bool:
    return all(hasattr(graph, name) for name in ("columns", "dtypes", "__getitem__"))


def _is_igraph(graph: Any) -> bool:
    return all(hasattr(graph, name) for name in ("get_edgelist", "vcount", "es", "is_directed"))


def of_edges(
    edges: ArrayLike,
    n_nodes: int | None = None,
    weights: ArrayLike | None = None,
    directed: bool = False,
    merge: bool = True,
    *,
    labels: Sequence[Any] | None = None,
    plain_weights: bool = False,
) -> Graph:
    """Make a graph from edges; with `plain_weights`, weights are dropped if all of them are 1."""
    one_way = yes("directed", directed)
    if (named := _names_in(edges)) is not None:
        edges, labels, n_nodes = _numbered(named, labels, n_nodes)
    pairs, signed = arrays_module.nodes("edges", edges, 2)
    if not pairs.size:
        pairs = pairs.reshape(0, 2)
    if pairs.shape[1] != 2:
        raise ArgumentError(f"edges: shape {pairs.shape} was given; (m, 2) is needed")
    negative = pairs.view(pairs.dtype.name.lstrip("u")) < 0 if signed else None
    if negative is not None and negative.any():
        i = int(np.flatnonzero(negative.any(axis=1))[0])
        shown = np.asarray(edges)[i].tolist()
        raise ArgumentError(f"edges: edge {i} is {shown}; nodes are numbered from 0")
    least = int(pairs.max()) + 1 if len(pairs) else 0
    if n_nodes is None:
        n_nodes = least
        if not n_nodes:
            raise ArgumentError("edges: none were given; say how many nodes there are: n_nodes")
    n_nodes = whole("n_nodes", n_nodes, 1, 2**62)
    if n_nodes <= 2**32 and pairs.dtype == np.uint64 and least <= n_nodes:
        pairs = pairs.astype(np.uint32)
    strengths = None
    if weights is not None:
        strengths = arrays_module.edge_weights("weights", weights).astype(np.float64, copy=False)
        wrong = ~(np.isfinite(strengths) & (strengths > 0))
        if wrong.any() and len(strengths) == len(pairs):
            i = int(np.flatnonzero(wrong)[0])
            raise ArgumentError(
                f"weights: edge {i}, from node {pairs[i, 0]} to node {pairs[i, 1]}, has the weight "
                f"{strengths[i]:g}; positive, finite weights are needed; leave out edges that do "
                "not count"
            )
    threads = resolve_threads(None)
    rows = _core.walks_rows(pairs, strengths, n_nodes, one_way, merge, threads)
    summed = rows.weights
    if plain_weights and summed is not None and (summed == 1).all():
        summed = None
    names = labels_module.take(labels, n_nodes)
    # The rows are valid; this pass collects their properties.
    found = _core.Graph(rows.indptr, rows.indices).survey(True, False, threads)
    known: dict[str, Any] = dict(zip(("sorted", "repeated", "loops"), found, strict=True))
    if not one_way:
        known["asymmetry"] = None
    starts = rows.indptr.view(np.int64)
    return Graph._of(starts, rows.indices, summed, one_way, names, **known)


def _names_in(edges: Any) -> NDArray[np.object_] | None:
    """Return edges (m, 2) between names as an array of objects; None for edges between numbers."""
    given = taken("edges", edges)
    if given.dtype.kind not in "UTO" or given.ndim != 2 or given.shape[1] != 2:
        return None
    # NumPy turned numbers beside texts into texts.
    names = np.array(edges, dtype=object)
    return None if all(isinstance(end, int) for end in names.flat) else names


def _numbered(
    names: NDArray[np.object_], labels: Sequence[Any] | None, n_nodes: int | None
) -> tuple[NDArray[np.int64], Sequence[Any] | None, int]:
    """Return named edges as numbers, with the labels and the number of the nodes."""
    if labels is None:
        places, labels = labels_module.numbered("edges", names.reshape(-1).tolist())
    else:
        labels = labels_module.take(labels, None)
        known = {label: i for i, label in enumerate(labels or ())}
        flat = names.reshape(-1).tolist()
        places = np.array([labels_module.number_of("edges", end, known) for end in flat])
    n = len(labels or ())
    if n_nodes is not None and whole("n_nodes", n_nodes, 1, 2**62) != n:
        raise ArgumentError(
            f"n_nodes: {shown(n_nodes)} was given for edges between {n} names; leave it "
            "out, and give labels= if there are nodes without edges"
        )
    return places.reshape(-1, 2), labels, n


def of_frame(
    frame: Any,
    source: Any = None,
    target: Any = None,
    weight: Any = "weight",
    directed: bool = False,
    merge: bool = True,
) -> Graph:
    """Convert a table with an edge in each row."""
    if not _is_frame(frame):
        raise ArgumentError(
            f"frame: a {type(frame).__name__} was given; a DataFrame of pandas or polars is needed"
        )
    columns = list(frame.columns)
    if source is None and target is None:
        named = "source" in columns and "target" in columns
        source, target = ("source", "target") if named else (*columns, None, None)[:2]
    ends = [_column(frame, "source", source), _column(frame, "target", target)]
    if all(column.dtype.kind in "iu" for column in ends):
        flat: Any = np.stack(ends, axis=1).reshape(-1)
    else:
        flat = list(chain.from_iterable(zip(frame[source], frame[target], strict=True)))
    places, labels = labels_module.numbered("frame", flat)
    weights = None
    if weight is not None and (weight != "weight" or weight in columns):
        weights = _column(frame, "weight", weight)
    pairs = places.reshape(-1, 2)
    n = None if labels is None else len(labels)
    return of_edges(pairs, n, weights, directed, merge, labels=labels, plain_weights=True)


def _column(frame: Any, name: str, column: Any) -> NDArray[Any]:
    """Return a column of a table as an array."""
    columns = list(frame.columns)
    try:
        values = np.asarray(frame[column]) if column in columns else None
    except (TypeError, ValueError):  # not a name, for instance an array
        values = None
    if values is None or values.ndim != 1:
        raise ArgumentError(
            f"{name}: {shown(column)} was given; the name of one column is needed: "
            f"{shown(columns, 200)}"
        )
    return values


def of_scipy(
    matrix: Any,
    directed: bool | None = None,
    labels: Sequence[Any] | None = None,
    validate: Validate = "full",
) -> Graph:
    """Convert a sparse matrix."""
    if not scipy.sparse.issparse(matrix):
        raise ArgumentError(
            f"matrix: a {type(matrix).__name__} was given; a sparse matrix of SciPy is needed"
        )
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"matrix: shape {matrix.shape} was given; a square one is needed")
    if matrix.dtype.kind not in "biuf":
        raise ArgumentError(f"matrix: {matrix.dtype} was given; real numbers are needed")
    if directed is not None:
        directed = yes("directed", directed)
    rows = matrix.tocsr()
    if rows.data.dtype.kind == "b":
        if not rows.data.all():
            raise ArgumentError("matrix: entries that are False are stored; eliminate_zeros()")
        weights = None
    else:
        # The first entry decides for most weighted graphs, without the pass.
        plain = not rows.nnz or (rows.data[0] == 1 and (rows.data == 1).all())
        weights = None if plain else rows.data
    graph = Graph(
        rows.indptr,
        rows.indices,
        weights,
        directed=directed is not False,
        labels=labels,
        validate=validate,
    )
    if validate == "full" and graph._known["repeated"]:
        rows = rows.copy()
        if rows.data.dtype.kind == "b":
            rows = rows.astype(np.float64)
        rows.sum_duplicates()
        return of_scipy(rows, directed, labels, validate)
    if directed is True:
        return graph
    if validate == "full" and directed is None:
        directed = not graph.is_symmetric
    elif validate == "full":
        graph._require_symmetric(
            "the matrix of an undirected graph is symmetric; add its transpose, or pass "
            "directed=True"
        )
    arrays = (graph.indptr, graph.indices, graph.weights, bool(directed), graph.labels)
    return Graph._of(*arrays, **graph._known)


def of_networkx(graph: Any, weight: str | None = "weight") -> Graph:
    """Convert a graph of networkx."""
    if not _is_networkx(graph):
        raise ArgumentError(f"graph: a {type(graph).__name__} was given; one of networkx is needed")
    names = list(graph.nodes)
    if not names:
        raise ArgumentError("graph: it has no nodes; one is needed")
    numbers = {name: i for i, name in enumerate(names)}
    m = graph.number_of_edges()
    ends: Iterable[Any] = chain.from_iterable(graph.edges())
    flat = np.fromiter(map(numbers.__getitem__, ends), dtype=np.int64, count=2 * m)
    weights: list[Any] | None = None
    if weight is not None:
        weights = [w for _, _, w in graph.edges(data=weight, default=None)]
        if all(w is None for w in weights):
            weights = None
        else:
            weights = [1.0 if w is None else w for w in weights]
    if weights is None and graph.is_multigraph() and weight is not None:
        weights = [1.0] * m
    plain = names == list(range(len(names)))
    return of_edges(
        flat.reshape(m, 2),
        len(names),
        weights,
        graph.is_directed(),
        labels=None if plain else names,
        plain_weights=True,
    )


def of_igraph(graph: Any, weight: str | None = "weight") -> Graph:
    """Convert a graph of igraph."""
    if not _is_igraph(graph):
        raise ArgumentError(f"graph: a {type(graph).__name__} was given; one of igraph is needed")
    n = graph.vcount()
    if not n:
        raise ArgumentError("graph: it has no nodes; one is needed")
    edges = np.array(graph.get_edgelist(), dtype=np.int64).reshape(-1, 2)
    weights = None
    if weight is not None:
        known = weight in graph.es.attributes()
        weights = graph.es[weight] if known else [1.0] * len(edges)
    names = graph.vs["name"] if "name" in graph.vs.attributes() else None
    if names is not None and len(set(names)) < n:
        names = None
    return of_edges(edges, n, weights, graph.is_directed(), labels=names, plain_weights=True)
