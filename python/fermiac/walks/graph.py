"""Graphs in compressed rows, and their constructors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.config import resolve_threads
from fermiac._base.validate import choice, yes
from fermiac.errors import ArgumentError
from fermiac.walks import arrays
from fermiac.walks import labels as labels_module
from fermiac.walks.rows import Rows

if TYPE_CHECKING:
    from os import PathLike

    from fermiac.walks.oracle import Neighbors, Oracle

__all__ = ["Graph"]

Validate: TypeAlias = Literal["full", "sample", "none"]
VALIDATE: tuple[str, ...] = get_args(Validate)


class Graph(Rows):
    """A graph, in compressed rows.

    Row i, ``indices[indptr[i]:indptr[i + 1]]``, has the nodes to which edges lead from node i. An
    edge of an undirected graph is in the rows of both ends, and a loop is once in the row of its
    node. A graph is immutable: it copies the arrays, except those of files that are mapped
    read-only. It can be pickled; a graph from `Graph.open` is pickled by its path.

    Parameters
    ----------
    indptr : array_like of int, shape (n_nodes + 1,)
        The start of each row, and the end.
    indices : array_like of int
        The rows, one after the other. Integers of 32 and 64 bits keep their type.
    weights : array_like, optional
        A positive weight for each entry of `indices`; float32 and float64 keep their type. By
        default edges have no weights.
    directed : bool, default False
        Whether edges are directed. If not, each edge must have a reverse with the same weight.
    labels : sequence, optional
        Names of the nodes, all different. Callables and mappings of nodes take them, as do `walk`
        (``init=``) and `index`; arrays of values stay in the order of the nodes.
    validate : {"full", "sample", "none"}, default "full"
        The part that is checked: everything, including the reverse edges of an undirected graph; a
        few thousand rows; or only the lengths, for arrays on a disk that are known to be valid.

    Raises
    ------
    ArgumentError
        For invalid arrays: lengths that do not fit, a decreasing `indptr`, a node that does not
        exist, a weight that is not positive and finite, floating-point or boolean indices, an edge
        of an undirected graph without a reverse. The message names the edge.

    See Also
    --------
    fermiac.walks.as_graph : Takes graphs of other libraries.
    fermiac.walks.graphs : Generators.

    Examples
    --------
    A path of three nodes:

    >>> import fermiac as fm
    >>> g = fm.walks.Graph([0, 1, 3, 4], [1, 0, 2, 1])
    >>> g.n_nodes, g.n_edges
    (3, 2)
    >>> g.degrees
    array([1, 2, 1])
    """

    def __init__(
        self,
        indptr: ArrayLike,
        indices: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        directed: bool = False,
        labels: Sequence[Any] | None = None,
        validate: Validate = "full",
    ) -> None:
        choice("validate", validate, VALIDATE)
        one_way = yes("directed", directed)
        starts = arrays.whole_numbers("indptr", indptr)
        ids, signed = arrays.nodes("indices", indices)
        edge_weights = None if weights is None else arrays.edge_weights("weights", weights)
        if len(starts) < 2:
            raise ArgumentError("indptr: a graph without nodes was given; one node is needed")
        starts = np.ascontiguousarray(starts, dtype=np.int64)
        self._fill(starts, ids, edge_weights, one_way, labels_module.take(labels, len(starts) - 1))
        if validate != "none":
            threads = resolve_threads(None)
            found = self._core.survey(validate == "full", signed, threads)
            if validate == "full":
                self._known.update(zip(("sorted", "repeated", "loops"), found, strict=True))
                if not one_way:
                    self._require_symmetric(
                        "an edge of an undirected graph stands in the rows of both its ends; give "
                        "both (Graph.from_edges does it), or pass directed=True"
                    )

    @classmethod
    def from_csr(
        cls,
        indptr: ArrayLike,
        indices: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        directed: bool = False,
        labels: Sequence[Any] | None = None,
        validate: Validate = "full",
    ) -> Self:
        """Make a graph from compressed rows; the same as ``Graph(…)``.

        Parameters
        ----------
        indptr, indices, weights, directed, labels, validate
            As in `Graph`.

        Returns
        -------
        Graph
            The graph.
        """
        return cls(indptr, indices, weights, directed=directed, labels=labels, validate=validate)

    @classmethod
    def from_edges(
        cls,
        edges: ArrayLike,
        n_nodes: int | None = None,
        weights: ArrayLike | None = None,
        *,
        directed: bool = False,
        multi: Literal["merge", "keep"] = "merge",
        labels: Sequence[Any] | None = None,
    ) -> Self:
        """Make a graph from a list of edges.

        Parameters
        ----------
        edges : array_like of int or of str, shape (m, 2)
            The ends of each edge. Give an edge of an undirected graph once, in either direction;
            without weights both directions are harmless. Names, such as ``[("a", "b"), ("b",
            "c")]``, become the labels of nodes 0, 1, … in order of appearance.
        n_nodes : int, optional
            The number of nodes; by default one more than the largest node of an edge.
        weights : array_like, shape (m,), optional
            A positive weight for each edge.
        directed : bool, default False
            Whether edges are directed, from the first to the second node.
        multi : {"merge", "keep"}, default "merge"
            Repeated edges become one with the sum of their weights, or stay separate; a walk then
            takes each of them with the same probability.
        labels : sequence, optional
            Names of the nodes. For edges between names: all names, in the order of the nodes.

        Returns
        -------
        Graph
            The graph, with rows in ascending order.

        Raises
        ------
        ArgumentError
            For edges that are not pairs of whole numbers from 0 to ``n_nodes - 1``, and weights
            that are not positive and finite.

        Examples
        --------
        >>> import fermiac as fm
        >>> g = fm.walks.Graph.from_edges([(0, 1), (1, 2), (2, 0), (0, 1)])
        >>> g.n_edges
        3
        >>> g = fm.walks.Graph.from_edges([("Rome", "Milan"), ("Milan", "Turin")])
        >>> g.labels
        ('Rome', 'Milan', 'Turin')
        """
        from fermiac.walks.conversions import of_edges

        choice("multi", multi, ("merge", "keep"))
        return cast(
            Self, of_edges(edges, n_nodes, weights, directed, multi == "merge", labels=labels)
        )

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        *,
        directed: bool | None = None,
        labels: Sequence[Any] | None = None,
        validate: Validate = "full",
    ) -> Self:
        """Make a graph from a sparse adjacency matrix in any format of SciPy.

        Parameters
        ----------
        matrix : sparse matrix or array, shape (n_nodes, n_nodes)
            Entry (i, j) is the weight of the edge from i to j. If all entries are 1 or True, the
            graph has no weights. Repeated entries are summed.
        directed : bool, optional
            Whether edges are directed; by default the symmetry of the matrix decides.
        labels : sequence, optional
            Names of the nodes.
        validate : {"full", "sample", "none"}, default "full"
            As in `Graph`. A matrix that is not checked in full counts as symmetric unless
            `directed` is given.

        Returns
        -------
        Graph
            The graph.

        Raises
        ------
        ArgumentError
            As for `Graph`; also for stored entries of zero (``matrix.eliminate_zeros()`` drops
            them).

        Examples
        --------
        >>> import scipy.sparse
        >>> import fermiac as fm
        >>> a = scipy.sparse.diags_array([1.0, 1.0], offsets=[-1, 1], shape=(9, 9))
        >>> fm.walks.Graph.from_scipy(a)
        Graph: 9 nodes, 8 edges, undirected, without weights
        """
        from fermiac.walks.conversions import of_scipy

        return cast(Self, of_scipy(matrix, directed, labels, validate))

    @classmethod
    def from_dataframe(
        cls,
        frame: Any,
        source: Any = None,
        target: Any = None,
        weight: Any = "weight",
        *,
        directed: bool = False,
        multi: str = "merge",
    ) -> Self:
        """Make a graph from a table of pandas or polars with an edge in each row.

        Parameters
        ----------
        frame : DataFrame
            The table.
        source, target : column names, optional
            The columns with the ends of the edges; by default ``"source"`` and ``"target"``, or
            the first two columns. Their values are the labels of the nodes: whole numbers in
            ascending order, others in order of appearance. If they are 0, 1, … without a gap, there
            are no labels.
        weight : column name or None, default "weight"
            The column with positive weights, if there is one; None leaves weights out.
        directed : bool, default False
            Whether edges are directed, from `source` to `target`.
        multi : {"merge", "keep"}, default "merge"
            As in `from_edges`.

        Returns
        -------
        Graph
            The graph, with all nodes that occur in an edge.

        Raises
        ------
        ArgumentError
            If a column is missing, an end is missing (None, NaN), or a weight is not a positive,
            finite number.

        See Also
        --------
        fermiac.walks.as_graph : Accepts tables, too.
        """
        from fermiac.walks.conversions import of_frame

        choice("multi", multi, ("merge", "keep"))
        return cast(Self, of_frame(frame, source, target, weight, directed, multi == "merge"))

    @classmethod
    def from_networkx(cls, graph: Any, weight: str | None = "weight") -> Self:
        """Convert a graph of networkx.

        Parameters
        ----------
        graph : networkx Graph, DiGraph, MultiGraph or MultiDiGraph
            The graph. Its nodes become 0, 1, … in its order; their names are the labels, unless
            they are 0, 1, … themselves.
        weight : str or None, default "weight"
            The edge attribute with the weights; an edge without it has the weight 1. None leaves
            weights out. Parallel edges become one with the sum of their weights.

        Returns
        -------
        Graph
            The graph.

        Raises
        ------
        ArgumentError
            If the graph has no nodes, or a weight that is not a positive, finite number.
        """
        from fermiac.walks.conversions import of_networkx

        return cast(Self, of_networkx(graph, weight))

    @classmethod
    def from_igraph(cls, graph: Any, weight: str | None = "weight") -> Self:
        """Convert a graph of python-igraph.

        Parameters
        ----------
        graph : igraph.Graph
            The graph. The vertex attribute ``name`` gives the labels, if all names are different.
        weight : str or None, default "weight"
            The edge attribute with the weights, if there is one; None leaves weights out. Parallel
            edges become one with the sum of their weights.

        Returns
        -------
        Graph
            The graph.

        Raises
        ------
        ArgumentError
            If the graph has no nodes, or a weight that is not a positive, finite number.
        """
        from fermiac.walks.conversions import of_igraph

        return cast(Self, of_igraph(graph, weight))

    @staticmethod
    def from_oracle(neighbors: Neighbors) -> Oracle:
        """Make a graph that is accessed through an oracle; the same as ``Oracle(neighbors)``.

        Parameters
        ----------
        neighbors : callable
            As in `Oracle`.

        Returns
        -------
        Oracle
            An oracle for `Crawler`, or for `walk` instead of a graph.
        """
        from fermiac.walks.oracle import Oracle

        return Oracle(neighbors)

    @classmethod
    def open(cls, folder: str | PathLike[str], *, validate: str = "sample") -> Self:
        """Open a graph of `write_csr` or `Graph.save`, whose arrays stay on the disk.

        Parameters
        ----------
        folder : str or path-like
            The folder.
        validate : {"full", "sample", "none"}, default "sample"
            As in `Graph`. The files are compared with their digests in the same way: in full, by 64
            parts of each file, or by their lengths. Open graphs of unknown origin with ``"full"``.

        Returns
        -------
        Graph
            The graph; the system reads from the disk what a walk needs, and caches it in memory. A
            file that becomes shorter while the graph is in use ends the process by a signal.

        Raises
        ------
        CheckpointError
            If the folder has no such graph, or files that do not fit together.
        """
        from fermiac.walks.files import opened

        return cast(Self, opened(folder, validate))

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the arrays to a folder, for `Graph.open`. Labels are not written.

        Parameters
        ----------
        folder : str or path-like
            The folder, which must not exist yet.
        overwrite : bool, default False
            Replace an existing graph.

        Raises
        ------
        CheckpointError
            If the folder exists, or cannot be written.
        """
        from fermiac.walks.files import saved

        saved(self, folder, overwrite)
