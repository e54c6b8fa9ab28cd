"""External sorting of edges into a graph on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import choice, taken, whole, yes
from fermiac.errors import ArgumentError
from fermiac.walks.arrays import edge_weights, nodes
from fermiac.walks.files import describe, opened, replaced
from fermiac.walks.graph import Graph

if TYPE_CHECKING:
    pass

__all__ = ["write_csr"]


@public
def write_csr(
    folder: str | PathLike[str],
    edges: ArrayLike | str | PathLike[str] | Iterable[Any],
    n_nodes: int | None = None,
    *,
    directed: bool = False,
    multi: Literal["merge", "keep"] = "merge",
    memory: int = 2**29,
    overwrite: bool = False,
    plan: PlanLike | None = None,
) -> Graph:
    """Write edges, which may exceed the memory, as a graph for `Graph.open`.

    Parameters
    ----------
    folder : str or path-like
        The folder of the graph, with ``indptr.npy``, ``indices.npy``, ``weights.npy`` and a JSON
        file. It appears only when everything is written.
    edges : iterable of arrays, array_like or path
        Blocks of edges: integer arrays, shape (k, 2); or pairs of such an array and its weights,
        shape (k,); or float arrays, shape (k, 3), with the weights in the third column. A single
        array is accepted too, or the path of a NumPy file (``.npy``), which is read block by block.
    n_nodes : int, optional
        The number of nodes, up to 2**32; by default one more than the largest node of an edge.
    directed : bool, default False
        Whether edges are directed. If not, give each edge once, in either direction.
    multi : {"merge", "keep"}, default "merge"
        Repeated edges become one with the sum of their weights, or stay separate.
    memory : int, default 2**29
        Bytes of memory for sorting, at least 2**20, in addition to a block of edges.
    overwrite : bool, default False
        Replace a graph in the folder.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    Graph
        The graph of `Graph.open`.

    Raises
    ------
    ArgumentError
        For invalid edges or weights; it names the edge.
    CheckpointError
        If the folder exists, or cannot be written.

    Notes
    -----
    Entries are sorted in memory in runs, which are written to the disk and merged at the end. This
    temporarily takes 16 bytes of disk per edge (32 with weights), half as much for directed graphs,
    in addition to the graph itself.

    Examples
    --------
    >>> import os, tempfile
    >>> import fermiac as fm
    >>> blocks = fm.walks.graphs.erdos_renyi_edges(1000, 5000, rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     g = fm.walks.write_csr(os.path.join(folder, "graph"), blocks, 1000)
    ...     g.n_nodes, g.n_edges
    (1000, 5000)
    """
    where = plan_of(plan)
    choice("multi", multi, ("merge", "keep"))
    one_way = yes("directed", directed)
    n = None if n_nodes is None else whole("n_nodes", n_nodes, 1, 2**32)
    memory = whole("memory", memory, 2**20, 2**62)
    threads = resolve_threads(where.n_threads)
    blocks = _blocks(edges)
    first = next(blocks, (np.empty((0, 2), dtype=np.uint32), None))
    weighted = first[1] is not None
    with replaced(folder, overwrite) as place:
        sorter = _core.EdgeSorter(place, n, weighted, one_way, multi == "merge", memory)
        for pairs, weights in chain([first], blocks):
            sorter.push(pairs, weights, threads)
        with reporter(where.progress, "write_csr", "entries") as bar:
            written, entries, loops, repeated = sorter.finish(threads, bar)
        describe(
            place,
            n_nodes=written,
            n_entries=entries,
            directed=one_way,
            weighted=weighted,
            known={
                "sorted": True,
                "repeated": repeated,
                "loops": loops,
                "symmetric": not one_way,
            },
        )
    return opened(folder)


#: Rows of an array per block.
_BLOCK = 2**20


def _blocks(edges: Any) -> Iterator[tuple[Any, NDArray[np.float64] | None]]:
    """Yield blocks of pairs and weights."""
    if isinstance(edges, str | os.PathLike):
        try:
            edges = np.load(edges, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise ArgumentError(f"edges: the file cannot be read: {error}") from error
    if isinstance(edges, list) and edges and _is_row(edges[0]):
        edges = taken("edges", edges)
    if isinstance(edges, np.ndarray) and edges.ndim:
        edges = map(edges.__getitem__, _slices(len(edges)))
    try:
        iterator = iter(edges)
    except TypeError:
        raise ArgumentError(
            f"edges: a {type(edges).__name__} was given; blocks of edges are needed"
        ) from None
    return map(_block, iterator)


def _is_row(first: Any) -> bool:
    """Return whether a list begins with an edge and not with a block of edges."""
    return isinstance(first, list | tuple) and all(np.isscalar(end) for end in first)


def _slices(n: int) -> Iterator[slice]:
    return (slice(at, at + _BLOCK) for at in range(0, n, _BLOCK))


def _block(given: Any) -> tuple[Any, NDArray[np.float64] | None]:
    """Take one block."""
    if isinstance(given, tuple) and len(given) == 2 and np.ndim(given[0]) == 2:
        edges, weights = given
        weights = np.asarray(edge_weights("edges", weights), dtype=np.float64)
    else:
        edges, weights = taken("edges", given), None
        if edges.ndim == 2 and edges.shape[1] == 3:
            edges, weights = edges[:, :2], np.array(edges[:, 2], dtype=np.float64)
            whole_ends = edges.astype(np.int64)
            if (whole_ends != edges).any():
                raise ArgumentError(
                    "edges: an end is not a whole number; nodes are numbered from 0"
                )
            edges = whole_ends
    pairs, _ = nodes("edges", edges, 2)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ArgumentError(
            f"edges: a block of shape {np.shape(edges)} was given; (k, 2), or (k, 3) with weights, "
            "is needed"
        )
    return pairs, weights
