"""Graphs in compressed rows: the arrays, what is known of them, and where walks may go."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._arguments import choice
from fermiac._config import resolve_threads
from fermiac._rng import whole
from fermiac.errors import ArgumentError
from fermiac.walks import _arrays

if TYPE_CHECKING:
    from os import PathLike

    import scipy.sparse

__all__ = ["Components", "Graph"]

Nodes: TypeAlias = "NDArray[np.uint32] | NDArray[np.uint64]"
Weights: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"

VALIDATE = ("full", "sample", "none")


class Components(NamedTuple):
    """The connected components of a graph, in the order of their first nodes."""

    labels: NDArray[np.int64]
    """The component of each node, shape (n_nodes,)."""
    sizes: NDArray[np.int64]
    """The nodes of each component."""
    bipartite: NDArray[np.bool_]
    """Whether all edges of a component go between two sides; empty for strong components."""


class Graph:
    """A graph, in compressed rows.

    Row i, ``indices[indptr[i]:indptr[i + 1]]``, has the nodes to which edges lead from node i. An
    edge of an undirected graph stands in the rows of both its ends, a loop once in its own. Arrays
    of a fitting type are used where they lie, without a copy; they must not be changed afterwards.
    A graph never changes; it can be pickled, by its path if it is one of `Graph.open`.

    Parameters
    ----------
    indptr : array_like of int, shape (n_nodes + 1,)
        Where each row begins, and the end.
    indices : array_like of int
        The rows, one after the other. 32 and 64 bits, with or without sign, are used as they are.
    weights : array_like, optional
        A positive weight for each entry of `indices`; float32 and float64 are used as they are. By
        default the edges have none.
    directed : bool, default False
        Whether edges lead one way only. If not, each must have its way back, of the same weight.
    labels : sequence, optional
        The user's names of the nodes, all different.
    validate : {"full", "sample", "none"}, default "full"
        What is looked at: all of it, with the ways back of an undirected graph; a few thousand
        rows; or nothing but the lengths, for arrays on a disk that are known to be right.

    Raises
    ------
    ArgumentError
        For arrays that are no graph: lengths that do not fit, an `indptr` that falls, a node that
        does not exist, a weight that is not positive and finite, floating-point or boolean
        indices, an edge of an undirected graph that leads one way only. It names the edge.

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

    directed: bool
    """Whether edges lead one way only."""
    indptr: NDArray[np.int64]
    """Where each row begins, and the end; shape (n_nodes + 1,)."""
    indices: Nodes
    """The rows, one after the other."""
    weights: Weights | None
    """A weight for each entry of `indices`, or None."""
    labels: tuple[Any, ...] | None
    """The user's names of the nodes, or None."""

    _known: dict[str, Any]
    _folder: str | None

    def __init__(
        self,
        indptr: ArrayLike,
        indices: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        directed: bool = False,
        labels: Sequence[Any] | None = None,
        validate: str = "full",
    ) -> None:
        choice("validate", validate, VALIDATE)
        if not isinstance(directed, bool | np.bool_):
            raise ArgumentError(f"directed: {directed!r:.60} was given; True or False is needed")
        starts = _arrays.whole_numbers("indptr", indptr)
        ids, signed = _arrays.nodes("indices", indices)
        edge_weights = None if weights is None else _arrays.edge_weights("weights", weights)
        if len(starts) < 2:
            raise ArgumentError("indptr: a graph without nodes was given; one node is needed")
        starts = np.ascontiguousarray(starts, dtype=np.int64)
        self._fill(starts, ids, edge_weights, bool(directed), _names(labels, len(starts) - 1))
        if validate != "none":
            threads = resolve_threads(None)
            found = self._core.survey(validate == "full", signed, threads)
            if validate == "full":
                self._known.update(zip(("sorted", "repeated", "loops"), found, strict=True))
                if not directed:
                    self._require_symmetric(
                        "an edge of an undirected graph stands in the rows of both its ends; give "
                        "both (Graph.from_edges does it), or say directed=True"
                    )

    def _fill(
        self,
        indptr: NDArray[np.int64],
        indices: Nodes,
        weights: Weights | None,
        directed: bool,
        labels: tuple[Any, ...] | None,
        folder: str | None = None,
        **known: Any,
    ) -> None:
        # Past __setattr__, which refuses.
        self.__dict__.update(
            directed=directed,
            indptr=_arrays.locked(indptr),
            indices=_arrays.locked(indices),
            weights=None if weights is None else _arrays.locked(weights),
            labels=labels,
            _known=known,
            _folder=folder,
        )
        self._core  # noqa: B018  # refuses arrays that do not fit together

    @classmethod
    def _of(cls, *arrays: Any, **known: Any) -> Self:
        """The graph of arrays that are known to be right: those of `_fill`."""
        graph = cls.__new__(cls)
        graph._fill(*arrays, **known)
        return graph

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a graph does not change; make another one")

    def __reduce__(self) -> tuple[Any, ...]:
        if self._folder is not None:
            return Graph.open, (self._folder,)
        arrays = (self.indptr, self.indices, self.weights, self.directed, self.labels)
        return _again, (arrays, self._known)

    @cached_property
    def _core(self) -> _core.Graph:
        return _core.Graph(self.indptr.view(np.uint64), self.indices, self.weights)

    # Other makers

    @classmethod
    def from_csr(
        cls,
        indptr: ArrayLike,
        indices: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        directed: bool = False,
        labels: Sequence[Any] | None = None,
        validate: str = "full",
    ) -> Self:
        """Make a graph of compressed rows; the same as ``Graph(…)``.

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
        multi: str = "merge",
        labels: Sequence[Any] | None = None,
    ) -> Self:
        """Make a graph of a list of edges.

        Parameters
        ----------
        edges : array_like of int, shape (m, 2)
            The ends of each edge. An edge of an undirected graph is given once, in either
            direction; without weights it does no harm to give both.
        n_nodes : int, optional
            The number of nodes; by default one more than the largest node of an edge.
        weights : array_like, shape (m,), optional
            A positive weight for each edge.
        directed : bool, default False
            Whether edges lead from the first to the second node only.
        multi : {"merge", "keep"}, default "merge"
            Edges that are given several times become one, which has the sum of their weights, or
            stay apart: then a walk takes either with the same chance.
        labels : sequence, optional
            The user's names of the nodes.

        Returns
        -------
        Graph
            The graph, whose rows are in ascending order.

        Raises
        ------
        ArgumentError
            For edges that are no pairs of whole numbers from 0 to ``n_nodes - 1``, and weights
            that are not positive and finite.

        Examples
        --------
        >>> import fermiac as fm
        >>> g = fm.walks.Graph.from_edges([(0, 1), (1, 2), (2, 0), (0, 1)])
        >>> g.n_edges
        3
        """
        from fermiac.walks._conversions import of_edges

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
        validate: str = "full",
    ) -> Self:
        """Make a graph of the adjacency matrix, sparse in any format of SciPy.

        Parameters
        ----------
        matrix : sparse matrix or array, shape (n_nodes, n_nodes)
            Entry (i, j) is the weight of the edge from i to j. Where all entries are 1 or True, the
            graph has no weights. Compressed rows (``csr``) are used where they lie; entries that
            are repeated are summed.
        directed : bool, optional
            Whether edges lead one way only; by default this is seen from the symmetry of the
            matrix.
        labels : sequence, optional
            The user's names of the nodes.
        validate : {"full", "sample", "none"}, default "full"
            As in `Graph`. A matrix that is not looked at in full is taken for symmetric unless
            `directed` says otherwise.

        Returns
        -------
        Graph
            The graph.

        Raises
        ------
        ArgumentError
            As `Graph` does; entries that are stored and zero are refused
            (``matrix.eliminate_zeros()`` drops them).

        Examples
        --------
        >>> import scipy.sparse
        >>> import fermiac as fm
        >>> a = scipy.sparse.diags_array([1.0, 1.0], offsets=[-1, 1], shape=(9, 9))
        >>> fm.walks.Graph.from_scipy(a)
        Graph: 9 nodes, 8 edges, undirected, without weights
        """
        from fermiac.walks._conversions import of_scipy

        return cast(Self, of_scipy(matrix, directed, labels, validate))

    @classmethod
    def from_networkx(cls, graph: Any, weight: str | None = "weight") -> Self:
        """Make a graph of one of networkx.

        Parameters
        ----------
        graph : networkx Graph, DiGraph, MultiGraph or MultiDiGraph
            The graph. Its nodes become 0, 1, … in its order; their names are the labels.
        weight : str or None, default "weight"
            The attribute of the edges with their weights, 1 where an edge has none; None leaves
            weights out. Parallel edges become one with the sum of their weights.

        Returns
        -------
        Graph
            The graph.

        Raises
        ------
        ArgumentError
            If it has no nodes, or a weight that is not a positive, finite number.
        """
        from fermiac.walks._conversions import of_networkx

        return cast(Self, of_networkx(graph, weight))

    @classmethod
    def from_igraph(cls, graph: Any, weight: str | None = "weight") -> Self:
        """Make a graph of one of python-igraph.

        Parameters
        ----------
        graph : igraph.Graph
            The graph. The vertex attribute ``name`` gives the labels, if all have one and they differ.
        weight : str or None, default "weight"
            The attribute of the edges with their weights, where there is one; None leaves weights
            out. Parallel edges become one with the sum of their weights.

        Returns
        -------
        Graph
            The graph.

        Raises
        ------
        ArgumentError
            If it has no nodes, or a weight that is not a positive, finite number.
        """
        from fermiac.walks._conversions import of_igraph

        return cast(Self, of_igraph(graph, weight))

    @classmethod
    def open(cls, folder: str | PathLike[str], *, validate: str = "sample") -> Self:
        """Open a graph of `write_csr` or `Graph.save`, whose arrays stay on the disk.

        Parameters
        ----------
        folder : str or path-like
            The folder.
        validate : {"full", "sample", "none"}, default "sample"
            As in `Graph`.

        Returns
        -------
        Graph
            The graph; the system reads from the disk what a walk needs, and keeps what fits in
            the memory.

        Raises
        ------
        CheckpointError
            If the folder has no such graph, or files that do not fit together.
        """
        from fermiac.walks._files import opened

        return cast(Self, opened(folder, validate))

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the arrays to a folder, for `Graph.open`. Labels are not written.

        Parameters
        ----------
        folder : str or path-like
            The folder, which must not exist yet.
        overwrite : bool, default False
            Replace a graph that is there.

        Raises
        ------
        CheckpointError
            If the folder exists, or cannot be written.
        """
        from fermiac.walks._files import saved

        saved(self, folder, overwrite)

    # What it is like

    @property
    def n_nodes(self) -> int:
        """The number of nodes."""
        return len(self.indptr) - 1

    @property
    def n_edges(self) -> int:
        """The number of edges: arcs of a directed graph; else each edge once, loops as well."""
        places = len(self.indices)
        if self.directed:
            return places
        loops = int(self._fact("loops"))
        return (places - loops) // 2 + loops

    @cached_property
    def degrees(self) -> NDArray[np.int64]:
        """The number of edges that leave each node, a loop counting once; shape (n_nodes,)."""
        return _arrays.locked(np.diff(self.indptr))

    @cached_property
    def strengths(self) -> NDArray[np.float64]:
        """The sum of the weights of the edges that leave each node; shape (n_nodes,)."""
        return _arrays.locked(self._core.strengths(resolve_threads(None)))

    @property
    def is_symmetric(self) -> bool:
        """Whether each edge has its way back, of the same weight to within rounding."""
        return self.asymmetry is None

    @property
    def asymmetry(self) -> tuple[int, int, float, float] | None:
        """The first edge that differs from its way back, or None.

        From, to, its weight and that of the way back; 0 if there is none.
        """
        if "asymmetry" not in self._known:
            ordered = bool(self._fact("sorted"))
            self._known["asymmetry"] = self._core.one_way(ordered, resolve_threads(None))
        return cast("tuple[int, int, float, float] | None", self._known["asymmetry"])

    @cached_property
    def components(self) -> Components:
        """The connected components; the directions of edges do not matter to them."""
        return Components(*map(_arrays.locked, self._core.parts()))

    @cached_property
    def strong_components(self) -> Components:
        """The sets of nodes each of which can be reached from each other along the arcs."""
        if not self.directed:
            return self.components
        return Components(*map(_arrays.locked, self._core.strong_parts()))

    @property
    def is_connected(self) -> bool:
        """Whether there is one component only."""
        return len(self.components.sizes) == 1

    @property
    def is_bipartite(self) -> bool:
        """Whether all edges go between two sides, so that walks alternate between them."""
        return bool(self.components.bipartite.all())

    def neighbors(self, node: int) -> Nodes:
        """Give the nodes to which edges lead from a node.

        Parameters
        ----------
        node : int
            From 0 to ``n_nodes - 1``.

        Returns
        -------
        ndarray of uint32 or uint64
            Its row: a view, which cannot be written.

        Raises
        ------
        ArgumentError
            If there is no such node.
        """
        node = whole("node", node, 0, self.n_nodes - 1)
        return self.indices[self.indptr[node] : self.indptr[node + 1]]

    def index(self, label: Any) -> int:
        """Give the number of the node with a label.

        Parameters
        ----------
        label : object
            One of `labels`, or a number where the nodes have none.

        Returns
        -------
        int
            The node.

        Raises
        ------
        ArgumentError
            If there is no such node.
        """
        if self.labels is None:
            return whole("label", label, 0, self.n_nodes - 1)
        try:
            return self._numbers[label]
        except (KeyError, TypeError):
            raise ArgumentError(f"label: no node is called {label!r:.60}") from None

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {label: i for i, label in enumerate(self.labels or ())}

    def to_scipy(self) -> scipy.sparse.csr_array:
        """Give the adjacency matrix.

        Returns
        -------
        scipy.sparse.csr_array
            Of float64, with 1 for edges without weights: a copy.
        """
        import scipy.sparse

        small = max(self.n_nodes, len(self.indices)) < 2**31
        kind = np.int32 if small else np.int64
        data = np.ones(len(self.indices)) if self.weights is None else self.weights.astype(float)
        parts = (data, self.indices.astype(kind), self.indptr.astype(kind))
        return scipy.sparse.csr_array(parts, shape=(self.n_nodes, self.n_nodes))

    def __len__(self) -> int:
        return self.n_nodes

    def __repr__(self) -> str:
        # A repr reads no row: they may be on a disk.
        if self.directed or "loops" in self._known:
            size = f"{self.n_edges} {'arcs' if self.directed else 'edges'}"
        else:
            size = f"{len(self.indices)} entries"
        way = "directed" if self.directed else "undirected"
        kind = "without weights" if self.weights is None else "weighted"
        line = f"Graph: {self.n_nodes} nodes, {size}, {way}, {kind}"
        return line if self._folder is None else f"{line}\n  in {self._folder}"

    def _fact(self, name: str) -> Any:
        if name not in self._known:
            found = self._core.survey(True, False, resolve_threads(None))
            self._known.update(zip(("sorted", "repeated", "loops"), found, strict=True))
        return self._known[name]

    # What walks ask

    def _require_symmetric(self, reason: str) -> None:
        """Refuse a graph with an edge that differs from its way back, for the `reason`."""
        if self.asymmetry is None:
            return
        start, end, there, back = self.asymmetry
        if back == 0:
            what = f"an edge leads from node {start} to node {end}, and none back"
        elif there == 0:
            what = f"an edge leads from node {end} to node {start}, and none back"
        else:
            what = (
                f"the edge from node {start} to node {end} has the weight {there:.6g}, and that "
                f"back {back:.6g}"
            )
        raise ArgumentError(f"graph: {what}; {reason}")

    def _check_walkable(
        self,
        start: NDArray[np.int64] | None = None,
        component: str = "error",
        on_stuck: str = "error",
    ) -> tuple[NDArray[np.bool_] | None, list[str]]:
        """Find the nodes where walks may go (None: all), and what is to be warned of.

        `start` has the nodes where walks start, or None if they may start anywhere.
        """
        choice("component", component, ("error", "start", "largest"))
        if not len(self.indices):
            raise ArgumentError("graph: it has no edges, along which a walk could go")
        labels, sizes, _ = self.components
        # A component of one node has an edge if that is a loop.
        alone = (sizes[labels] == 1) & (self.degrees == 0)
        if start is not None and alone[start].any():
            node = int(start[alone[start]][0])
            raise ArgumentError(f"start: node {node} has no edge, along which a walk could leave")
        notes = []
        n_alone = int(alone.sum())
        allowed = ~alone if n_alone else None
        if n_alone and component == "error":
            first = int(np.flatnonzero(alone)[0])
            which = f"node {first} has" if n_alone == 1 else f"{n_alone} nodes (first {first}) have"
            notes.append(f"{which} no edges; walks never visit them, and they count for nothing")
        real = np.ones(len(sizes), dtype=bool)
        real[labels[alone]] = False
        if real.sum() > 1:
            if component == "error":
                raise ArgumentError(
                    f"graph: it falls into {real.sum()} components of {_sizes(sizes[real])} nodes, "
                    'and a walk stays in one; component="largest" or component="start" walks in '
                    "one of them"
                )
            chosen = int(np.argmax(np.where(real, sizes, 0)))
            if component == "start":
                if start is None:
                    raise ArgumentError('start: component="start" needs the nodes to start from')
                chosen = int(labels[start[0]])
            allowed = labels == chosen
            if start is not None and not allowed[start].all():
                node = int(start[~allowed[start]][0])
                raise ArgumentError(
                    f"start: node {node} is not in the component of {sizes[chosen]} nodes where "
                    f'the walks go (component="{component}"); start all walks in one component'
                )
        if self.directed and on_stuck == "error":
            stuck = self.degrees == 0
            if allowed is not None:
                stuck &= allowed
            if stuck.any():
                raise ArgumentError(
                    f"graph: no arc leaves node {int(np.flatnonzero(stuck)[0])} (and "
                    f"{stuck.sum() - 1} others), where a walk would be stuck; "
                    'on_stuck="stop" or on_stuck="restart" says what to do there'
                )
        return allowed, notes


def _again(arrays: tuple[Any, ...], known: dict[str, Any]) -> Graph:
    """Unpickle."""
    return Graph._of(*arrays, **known)


def _names(labels: Sequence[Any] | None, n: int) -> tuple[Any, ...] | None:
    if labels is None:
        return None
    if isinstance(labels, str | bytes):
        raise ArgumentError("labels: one text was given; a sequence of names is needed")
    names = tuple(labels.tolist() if isinstance(labels, np.ndarray) else labels)
    if len(names) != n:
        raise ArgumentError(f"labels: {len(names)} given for {n} nodes; one for each is needed")
    try:
        different = len(set(names))
    except TypeError:
        raise ArgumentError("labels: names that are hashable are needed") from None
    if different != n:
        raise ArgumentError("labels: two nodes have the same name; all must differ")
    return names


def _sizes(sizes: NDArray[np.int64]) -> str:
    largest = np.sort(sizes)[::-1]
    shown = ", ".join(map(str, largest[:5].tolist()))
    return shown if len(sizes) <= 5 else f"{shown}, …"
