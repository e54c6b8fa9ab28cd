"""The arrays of graphs in compressed rows, and facts derived from them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.validate import whole
from fermiac.walks import arrays as arrays_module
from fermiac.walks import labels as labels_module
from fermiac.walks.walkable import check_walkable, require_symmetric

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["Components", "Rows"]

Nodes: TypeAlias = "NDArray[np.uint32] | NDArray[np.uint64]"
Weights: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"


class Components(NamedTuple):
    """The connected components of a graph, in the order of their first nodes.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> graph = fm.walks.Graph.from_edges(np.array([[0, 1], [1, 2], [2, 0], [3, 4]]))
    >>> graph.components.sizes
    array([3, 2])
    """

    labels: NDArray[np.int64]
    """The component of each node, shape (n_nodes,)."""
    sizes: NDArray[np.int64]
    """The number of nodes of each component."""
    bipartite: NDArray[np.bool_]
    """Whether each component is bipartite; empty for strong components."""


class Rows:
    """The arrays of a `fermiac.walks.Graph`, and their properties."""

    directed: bool
    """Whether edges lead one way only."""
    indptr: NDArray[np.int64]
    """The start of each row, and the end; shape (n_nodes + 1,)."""
    indices: Nodes
    """The rows, one after the other."""
    weights: Weights | None
    """A weight for each entry of `indices`, or None."""
    labels: tuple[Any, ...] | None
    """The names of the nodes, or None."""

    _core: _core.Graph
    _known: dict[str, Any]
    _folder: str | None

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
        # Refuses arrays that do not fit together, and copies those that others can write.
        core = _core.Graph(indptr.view(np.uint64), indices, weights)
        # Bypasses __setattr__, which refuses.
        self.__dict__.update(
            directed=directed,
            indptr=core.indptr.view(np.int64),
            indices=core.indices,
            weights=core.weights,
            labels=labels,
            _core=core,
            _known=known,
            _folder=folder,
        )

    @classmethod
    def _of(cls, *arrays: Any, **known: Any) -> Self:
        """Return the graph of valid arrays, the arguments of `_fill`."""
        graph = cls.__new__(cls)
        graph._fill(*arrays, **known)
        return graph

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a graph does not change; make another one")

    def __reduce__(self) -> tuple[Any, ...]:
        if self._folder is not None:
            return type(self).open, (self._folder,)  # type: ignore[attr-defined]
        arrays = (self.indptr, self.indices, self.weights, self.directed, self.labels)
        return _again, (type(self), arrays, self._known)

    @property
    def n_nodes(self) -> int:
        """The number of nodes."""
        return len(self.indptr) - 1

    @property
    def n_edges(self) -> int:
        """The number of edges, with each undirected edge and each loop counted once."""
        places = len(self.indices)
        if self.directed:
            return places
        loops = int(self._fact("loops"))
        return (places - loops) // 2 + loops

    @cached_property
    def degrees(self) -> NDArray[np.int64]:
        """The number of edges that leave each node, with loops counted once; shape (n_nodes,)."""
        return arrays_module.locked(np.diff(self.indptr))

    @cached_property
    def _degree_weights(self) -> NDArray[np.float64]:
        """The degrees as weights of a law."""
        return arrays_module.locked(self.degrees.astype(np.float64))

    @cached_property
    def _degree_counts(self) -> NDArray[np.float64]:
        """Pseudo-counts in proportion to the degrees, 1 on average."""
        weights = self._degree_weights
        return arrays_module.locked(self.n_nodes * weights / weights.sum())

    @cached_property
    def _sojourns(self) -> dict[Any, float]:
        """The mean steps at a node of chains whose law is uniform, where a walk has asked."""
        return {}

    @cached_property
    def strengths(self) -> NDArray[np.float64]:
        """The sum of the weights of the edges that leave each node; shape (n_nodes,)."""
        return arrays_module.locked(self._core.strengths(resolve_threads(None)))

    @property
    def is_symmetric(self) -> bool:
        """Whether each edge has a reverse of the same weight, up to rounding."""
        return self.asymmetry is None

    @property
    def asymmetry(self) -> tuple[int, int, float, float] | None:
        """The first edge that differs from its reverse, or None.

        It consists of from, to, its weight and that of the reverse (0 if there is none).
        """
        if "asymmetry" not in self._known:
            ordered = bool(self._fact("sorted"))
            self._known["asymmetry"] = self._core.one_way(ordered, resolve_threads(None))
        return cast("tuple[int, int, float, float] | None", self._known["asymmetry"])

    @cached_property
    def components(self) -> Components:
        """The connected components, regardless of directions."""
        self._fact("loops")  # refuses invalid rows that were not checked before
        return Components(*self._core.parts())

    @cached_property
    def strong_components(self) -> Components:
        """The strongly connected components."""
        if not self.directed:
            return self.components
        self._fact("loops")
        return Components(*self._core.strong_parts())

    @property
    def is_connected(self) -> bool:
        """Whether there is only one component."""
        return len(self.components.sizes) == 1

    @property
    def is_bipartite(self) -> bool:
        """Whether the graph is bipartite, so that walks alternate between two sides."""
        return bool(self.components.bipartite.all())

    def neighbors(self, node: int) -> Nodes:
        """Return the nodes to which edges lead from a node.

        Parameters
        ----------
        node : int
            From 0 to ``n_nodes - 1``.

        Returns
        -------
        ndarray of uint32 or uint64
            The row of the node, a read-only view.

        Raises
        ------
        ArgumentError
            If there is no such node.
        """
        node = whole("node", node, 0, self.n_nodes - 1)
        return self.indices[self.indptr[node] : self.indptr[node + 1]]

    def index(self, label: Any) -> int:
        """Return the number of the node with a label.

        Parameters
        ----------
        label : object
            One of `labels`, or a number if there are none.

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
        return labels_module.number_of("label", label, self._numbers)

    @property
    def nodes(self) -> labels_module.Labels:
        """The labels of all nodes in an array, or their numbers; shape (n_nodes,).

        Callables and mappings of nodes take its values. Labels that are whole numbers make an array
        of int64, other labels an array of objects. ``graph.nodes[numbers]`` converts numbers to
        labels.
        """
        return np.arange(self.n_nodes) if self._node_labels is None else self._node_labels

    @cached_property
    def _node_labels(self) -> labels_module.Labels | None:
        """The labels as an array, or None if there are none."""
        if self.labels is None:
            return None
        return arrays_module.locked(labels_module.array_of(self.labels))

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {label: i for i, label in enumerate(self.labels or ())}

    def to_scipy(self) -> scipy.sparse.csr_array:
        """Return the adjacency matrix.

        Returns
        -------
        scipy.sparse.csr_array
            A copy as float64, with 1 for edges without weights.
        """
        import scipy.sparse

        self._check_rows()  # SciPy does not check columns
        small = max(self.n_nodes, len(self.indices)) < 2**31
        kind = np.int32 if small else np.int64
        data = np.ones(len(self.indices)) if self.weights is None else self.weights.astype(float)
        parts = (data, self.indices.astype(kind), self.indptr.astype(kind))
        return scipy.sparse.csr_array(parts, shape=(self.n_nodes, self.n_nodes))

    def __len__(self) -> int:
        return self.n_nodes

    def __repr__(self) -> str:
        # A repr reads no row, because rows may be on disk.
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

    def _check_rows(self) -> None:
        """Refuse nonexistent nodes in rows that were not checked."""
        self._core.survey(True, False, resolve_threads(None))

    # Checks of walks

    def _require_symmetric(self, reason: str) -> None:
        require_symmetric(self, reason)

    def _check_walkable(
        self,
        start: NDArray[np.int64] | None = None,
        component: str = "error",
        on_stuck: str = "error",
        argument: str = "init",
    ) -> tuple[NDArray[np.bool_] | None, list[str]]:
        return check_walkable(self, start, component, on_stuck, argument)


def _again(cls: type[Rows], arrays: tuple[Any, ...], known: dict[str, Any]) -> Rows:
    """Return the unpickled graph."""
    return cls._of(*arrays, **known)
