"""Deterministic graphs: grids, rings, complete graphs and others with names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import whole, yes
from fermiac.errors import ArgumentError
from fermiac.walks.conversions import of_edges
from fermiac.walks.graph import Graph

__all__ = [
    "barbell",
    "complete",
    "cycle",
    "grid",
    "path",
    "petersen",
    "ring_of_cliques",
    "star",
]

_MOST = 2**32


@public
def grid(shape: int | Sequence[int], *, periodic: bool | Sequence[bool] = False) -> Graph:
    """Return a grid: each node is joined to the next one along each axis.

    Parameters
    ----------
    shape : int or sequence of int
        The numbers of nodes along each axis; nodes are numbered in C order.
    periodic : bool or sequence of bool, default False
        Whether the last node along an axis is joined to the first; one value for all axes or one
        for each. Axes with one or two nodes are not closed.

    Returns
    -------
    Graph
        The grid.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.grid((3, 4)).n_edges
    17
    """
    many = isinstance(shape, Sequence) or (isinstance(shape, np.ndarray) and shape.ndim > 0)
    lengths: Any = shape if many else [shape]
    sides = [whole("shape", side, 1, _MOST) for side in lengths]
    n = whole("shape", int(np.prod(sides, dtype=object)), 1, _MOST)
    several = isinstance(periodic, Sequence) or (isinstance(periodic, np.ndarray) and periodic.ndim)
    given: Any = periodic if several else [periodic] * len(sides)
    closed = [yes("periodic", side) for side in given]
    if len(closed) != len(sides):
        raise ArgumentError(f"periodic: {len(closed)} given for {len(sides)} axes")
    nodes = np.arange(n, dtype=np.uint32).reshape(sides)
    parts = [np.empty((0, 2), dtype=np.uint32)]
    for axis, (side, ring) in enumerate(zip(sides, closed, strict=True)):
        along = np.moveaxis(nodes, axis, 0)
        parts.append(np.stack([along[:-1].ravel(), along[1:].ravel()], axis=1))
        if ring and side > 2:
            parts.append(np.stack([along[-1].ravel(), along[0].ravel()], axis=1))
    return of_edges(np.concatenate(parts), n, merge=False)


@public
def ring_of_cliques(n_cliques: int, size: int) -> Graph:
    """Return a ring of complete graphs, each joined to the next by one edge.

    Parameters
    ----------
    n_cliques : int
        The number of complete graphs, 2 or more.
    size : int
        The number of nodes of each complete graph, 2 or more. The second node of one is joined to
        the first node of the next.

    Returns
    -------
    Graph
        The graph.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.ring_of_cliques(4, 5).n_edges
    44
    """
    n_cliques = whole("n_cliques", n_cliques, 2, _MOST)
    size = whole("size", size, 2, _MOST)
    n = whole("n_cliques * size", n_cliques * size, 1, _MOST)
    clique = _pairs(size)
    firsts = np.arange(0, n, size, dtype=np.uint32)
    inner = (firsts[:, None, None] + clique).reshape(-1, 2)
    outer = np.stack([firsts + 1, np.roll(firsts, -1)], axis=1)
    return of_edges(np.concatenate([inner, outer]), n)


@public
def cycle(n: int) -> Graph:
    """Return a ring of `n` nodes, 3 or more.

    Parameters
    ----------
    n : int
        The number of nodes.

    Returns
    -------
    Graph
        The ring.

    Raises
    ------
    ArgumentError
        If `n` is out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.cycle(9).n_edges
    9
    """
    return grid(whole("n", n, 3, _MOST), periodic=True)


@public
def path(n: int) -> Graph:
    """Return a path of `n` nodes.

    Parameters
    ----------
    n : int
        The number of nodes.

    Returns
    -------
    Graph
        The path.

    Raises
    ------
    ArgumentError
        If `n` is out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.path(6).degrees
    array([1, 2, 2, 2, 2, 1])
    """
    return grid(whole("n", n, 1, _MOST))


@public
def complete(n: int) -> Graph:
    """Return the complete graph of `n` nodes.

    Parameters
    ----------
    n : int
        The number of nodes.

    Returns
    -------
    Graph
        The complete graph.

    Raises
    ------
    ArgumentError
        If `n` is out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.complete(6).n_edges
    15
    """
    n = whole("n", n, 1, 2**20)
    return of_edges(_pairs(n), n, merge=False)


@public
def star(n_leaves: int) -> Graph:
    """Return a star: node 0 is joined to each of the others.

    Parameters
    ----------
    n_leaves : int
        The number of other nodes.

    Returns
    -------
    Graph
        The star, with ``n_leaves + 1`` nodes.

    Raises
    ------
    ArgumentError
        If `n_leaves` is out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.star(5).degrees
    array([5, 1, 1, 1, 1, 1])
    """
    n = whole("n_leaves", n_leaves, 1, _MOST - 1)
    leaves = np.arange(1, n + 1, dtype=np.uint32)
    return of_edges(np.stack([np.zeros_like(leaves), leaves], axis=1), n + 1, merge=False)


@public
def barbell(m1: int, m2: int) -> Graph:
    """Return two complete graphs that are joined by a path.

    Parameters
    ----------
    m1 : int
        The number of nodes of each complete graph, 2 or more.
    m2 : int
        The number of nodes of the path between them, which may be 0.

    Returns
    -------
    Graph
        The graph: nodes 0 to m1 - 1 are the first complete graph, followed by the path.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.barbell(5, 2).n_edges
    23
    """
    m1 = whole("m1", m1, 2, 2**20)
    m2 = whole("m2", m2, 0, _MOST - 2 * m1)
    clique = _pairs(m1)
    between = np.arange(m1 - 1, m1 + m2, dtype=np.uint32)
    bridge = np.stack([between, between + 1], axis=1)
    edges = np.concatenate([clique, bridge, clique + np.uint32(m1 + m2)])
    return of_edges(edges, 2 * m1 + m2, merge=False)


def petersen() -> Graph:
    """Return the Petersen graph: a ring of five nodes, and a five-pointed star within it.

    Returns
    -------
    Graph
        Nodes 0 to 4 are the ring; node i + 5 of the star is joined to node i.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.petersen()
    Graph: 10 nodes, 15 edges, undirected, without weights
    """
    ring = np.arange(5, dtype=np.uint32)
    outer = np.stack([ring, (ring + 1) % 5], axis=1)
    spokes = np.stack([ring, ring + 5], axis=1)
    inner = np.stack([ring + 5, (ring + 2) % 5 + 5], axis=1)
    return of_edges(np.concatenate([outer, spokes, inner]), 10, merge=False)


def _pairs(n: int) -> NDArray[np.uint32]:
    """Return all pairs of n nodes."""
    first, second = np.triu_indices(n, 1)
    return np.stack([first, second], axis=1).astype(np.uint32)
