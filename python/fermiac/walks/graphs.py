"""Generators of graphs: random graphs, and small graphs with names.

A random graph with a given seed is the same on any machine and any number of threads. Functions
that end in ``_edges`` yield the edges block by block, for `fermiac.walks.write_csr` and graphs that
exceed the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.validate import (
    MOST_NAMES,
    RngLike,
    key_of,
    listed,
    numbers,
    real,
    shown,
    whole,
    yes,
)
from fermiac.errors import ArgumentError
from fermiac.walks.conversions import of_edges
from fermiac.walks.graph import Graph
from fermiac.walks.named_graphs import (
    barbell,
    complete,
    cycle,
    grid,
    path,
    petersen,
    ring_of_cliques,
    star,
)

__all__ = [
    "barabasi_albert",
    "barbell",
    "complete",
    "cycle",
    "erdos_renyi",
    "erdos_renyi_edges",
    "grid",
    "path",
    "petersen",
    "random_regular",
    "ring_of_cliques",
    "rmat",
    "rmat_edges",
    "star",
    "stochastic_block",
    "watts_strogatz",
]

_MOST = 2**32
#: Edges per task of the core; blocks consist of whole tasks.
_TASK = 2**15

Edges = NDArray[np.uint32]


@public
def erdos_renyi(n: int, m: int, *, directed: bool = False, rng: RngLike = None) -> Graph:
    """Draw a graph uniformly from those of `n` nodes and `m` edges, G(n, m).

    Parameters
    ----------
    n : int
        Nodes, from 1 to 2**32.
    m : int
        The number of edges, which are all different and not loops; at most n (n - 1) / 2, or n (n -
        1) if directed.
    directed : bool, default False
        Whether edges lead one way only.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed; see `fermiac.random.key_of`.

    Returns
    -------
    Graph
        The graph. It need not be connected.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    Notes
    -----
    The edges are the first m of all pairs in the order of a keyed permutation [1]_. No edge is
    therefore drawn twice, and no table is needed.

    References
    ----------
    .. [1] J. Black and P. Rogaway (2002), "Ciphers with arbitrary finite domains", CT-RSA,
       doi:10.1007/3-540-45760-7_9.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.erdos_renyi(1000, 6000, rng=0)
    Graph: 1000 nodes, 6000 edges, undirected, without weights
    """
    m = _edges_of(n, m, yes("directed", directed))
    edges = _core.walks_erdos_renyi(n, m, directed, (0, m), key_of(rng), resolve_threads(None))
    return of_edges(edges, n, None, directed, merge=False)


@public
def erdos_renyi_edges(
    n: int, m: int, *, directed: bool = False, block: int = 2**20, rng: RngLike = None
) -> Iterator[Edges]:
    """Yield the edges of `erdos_renyi` block by block.

    Parameters
    ----------
    n, m, directed, rng
        As in `erdos_renyi`; the same seed gives the same graph.
    block : int, default 2**20
        The number of edges of a block, rounded up to a multiple of 32768.

    Yields
    ------
    ndarray of uint32, shape (k, 2)
        The ends of the edges.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> blocks = fm.walks.graphs.erdos_renyi_edges(10**7, 10**8, rng=0)
    >>> next(blocks).shape
    (1048576, 2)
    """
    m = _edges_of(n, m, yes("directed", directed))
    key = key_of(rng)

    def make(span: tuple[int, int]) -> Edges:
        return _core.walks_erdos_renyi(n, m, directed, span, key, resolve_threads(None))

    return (make(span) for span in _spans(m, block))


@public
def rmat(
    scale: int,
    edge_factor: float = 16,
    *,
    a: float = 0.57,
    b: float = 0.19,
    c: float = 0.19,
    directed: bool = False,
    rng: RngLike = None,
) -> Graph:
    """Draw an R-MAT graph, with few nodes of very large degree.

    Each of ``edge_factor * 2**scale`` draws picks a quarter of the adjacency matrix, a quarter of
    that, and so on down to one entry [1]_. Loops are dropped, and repeated edges become one.

    Parameters
    ----------
    scale : int
        There are ``2**scale`` nodes, from 2 to 2**32; many may have no edge.
    edge_factor : float, default 16
        The number of draws for each node.
    a, b, c : float
        The probabilities of the quarters low–low, low–high and high–low; high–high has the rest.
        The defaults are those of the Graph500 benchmark.
    directed : bool, default False
        Whether edges lead one way only.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed; see `fermiac.random.key_of`.

    Returns
    -------
    Graph
        The graph. Nodes of low numbers have the large degrees.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    References
    ----------
    .. [1] D. Chakrabarti, Y. Zhan and C. Faloutsos (2004), "R-MAT: A recursive model for graph
       mining", SDM, doi:10.1137/1.9781611972740.43.

    Examples
    --------
    >>> import fermiac as fm
    >>> g = fm.walks.graphs.rmat(10, 8, rng=0)
    >>> g.n_nodes, bool(g.degrees.max() > 100)
    (1024, True)
    """
    (edges,) = rmat_edges(scale, edge_factor, a=a, b=b, c=c, block=2**62, rng=rng)
    return of_edges(edges, 2**scale, None, directed)


@public
def rmat_edges(
    scale: int,
    edge_factor: float = 16,
    *,
    a: float = 0.57,
    b: float = 0.19,
    c: float = 0.19,
    block: int = 2**20,
    rng: RngLike = None,
) -> Iterator[Edges]:
    """Yield the draws of `rmat` block by block, without loops.

    Parameters
    ----------
    scale, edge_factor, a, b, c, rng
        As in `rmat`; the same seed gives the same graph.
    block : int, default 2**20
        The number of draws of a block, rounded up to a multiple of 32768.

    Yields
    ------
    ndarray of uint32, shape (k, 2)
        The ends of the edges; some are repeated.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> blocks = list(fm.walks.graphs.rmat_edges(8, edge_factor=4, rng=0))
    >>> blocks[0].shape[1], blocks[0].dtype.name
    (2, 'uint32')
    """
    scale = whole("scale", scale, 1, 32)
    needed = "a number above 0, at most 2**20, is needed"
    factor = real("edge_factor", edge_factor, needed, lambda x: 0 < x <= 2**20)
    shares = [_chance(name, x) for name, x in (("a", a), ("b", b), ("c", c))]
    if min(shares) < 0 or sum(shares) > 1 + 1e-12:
        raise ArgumentError(
            f"a, b, c: {a}, {b} and {c} were given; chances whose sum is 1 at most are needed"
        )
    key = key_of(rng)

    def make(span: tuple[int, int]) -> Edges:
        return _core.walks_rmat(scale, shares, span, key, resolve_threads(None))

    return (make(span) for span in _spans(round(factor * 2**scale), block))


@public
def barabasi_albert(n: int, m: int, *, rng: RngLike = None) -> Graph:
    """Draw a graph of preferential attachment.

    It starts as a star of m + 1 nodes. Each further node is joined to `m` different nodes, drawn
    with probabilities proportional to their degrees [1]_.

    Parameters
    ----------
    n : int
        Nodes, up to 2**32.
    m : int
        The number of edges of each new node, from 1 to n - 1.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed; see `fermiac.random.key_of`.

    Returns
    -------
    Graph
        The connected graph, with m (n - m) edges.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    References
    ----------
    .. [1] A.-L. Barabási and R. Albert (1999), "Emergence of scaling in random networks", Science
       286, doi:10.1126/science.286.5439.509.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.barabasi_albert(1000, 3, rng=0)
    Graph: 1000 nodes, 2991 edges, undirected, without weights
    """
    n = whole("n", n, 2, _MOST)
    m = whole("m", m, 1, n - 1)
    return of_edges(_core.walks_barabasi_albert(n, m, key_of(rng)), n, merge=False)


@public
def watts_strogatz(n: int, k: int, p: float, *, rng: RngLike = None) -> Graph:
    """Draw a small-world graph: a ring with rewired edges.

    Parameters
    ----------
    n : int
        Nodes, up to 2**32.
    k : int
        Each node of the ring is joined to its `k` nearest; an even number from 2 to n - 1.
    p : float
        The probability that an edge is rewired, to a uniform node among those to which its first
        end is not yet joined [1]_.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed; see `fermiac.random.key_of`.

    Returns
    -------
    Graph
        The graph, with n k / 2 edges. It need not be connected.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    References
    ----------
    .. [1] D. J. Watts and S. H. Strogatz (1998), "Collective dynamics of 'small-world' networks",
       Nature 393, doi:10.1038/30918.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.graphs.watts_strogatz(1000, 6, 0.1, rng=0).n_edges
    3000
    """
    n = whole("n", n, 3, _MOST)
    k = whole("k", k, 2, n - 1)
    edges = _core.walks_watts_strogatz(n, k, _chance("p", p), key_of(rng))
    return of_edges(edges, n, merge=False)


@public
def stochastic_block(
    sizes: Sequence[int], p: ArrayLike, *, directed: bool = False, rng: RngLike = None
) -> Graph:
    """Draw a stochastic block model: the groups of two nodes determine the probability of an edge.

    Parameters
    ----------
    sizes : sequence of int
        The number of nodes of each group, in this order.
    p : array_like, shape (groups, groups)
        The probability of an edge between nodes of two groups; symmetric unless `directed`.
    directed : bool, default False
        Whether edges are directed, from the group of the row to that of the column.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed; see `fermiac.random.key_of`.

    Returns
    -------
    Graph
        The graph, without loops. It need not be connected.

    Raises
    ------
    ArgumentError
        For numbers out of range, and shapes that do not fit.

    References
    ----------
    .. [1] P. W. Holland, K. B. Laskey and S. Leinhardt (1983), "Stochastic blockmodels: first
       steps", Social Networks 5, doi:10.1016/0378-8733(83)90021-7.
    .. [2] V. Batagelj and U. Brandes (2005), "Efficient generation of large random networks",
       Physical Review E 71, doi:10.1103/PhysRevE.71.036113.

    Examples
    --------
    >>> import fermiac as fm
    >>> g = fm.walks.graphs.stochastic_block([50, 50], [[0.5, 0.01], [0.01, 0.5]], rng=0)
    >>> g.n_nodes
    100
    """
    each = listed(sizes, MOST_NAMES)
    if each is None:
        raise ArgumentError(f"sizes: {shown(sizes)} was given; a sequence of numbers is needed")
    counts = [whole("sizes", size, 1, _MOST) for size in each]
    chances = numbers("p", p)
    one_way = yes("directed", directed)
    if chances.shape != (len(counts), len(counts)):
        raise ArgumentError(
            f"p: shape {chances.shape} was given; {(len(counts),) * 2} is needed for "
            f"{len(counts)} groups"
        )
    if not one_way and not np.array_equal(chances, chances.T):
        raise ArgumentError("p: it is not symmetric; make it so, or pass directed=True")
    edges = _core.walks_stochastic_block(
        counts, chances.ravel().tolist(), one_way, key_of(rng), resolve_threads(None)
    )
    return of_edges(edges, sum(counts), None, one_way, merge=False)


@public
def random_regular(n: int, d: int, *, rng: RngLike = None) -> Graph:
    """Draw a random regular graph: all nodes have the same degree.

    Parameters
    ----------
    n : int
        Nodes, up to 2**32.
    d : int
        The degree, below `n`; ``n * d`` must be even.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed; see `fermiac.random.key_of`.

    Returns
    -------
    Graph
        The graph, without loops or repeated edges. It need not be connected.

    Raises
    ------
    ArgumentError
        For numbers out of range.

    Notes
    -----
    The ends of all edges are paired at random [1]_. If ``n * d * exp((d**2 - 1) / 4)`` is at most
    2e7, this is repeated until there is no loop and no repeated edge; all graphs are then equally
    likely. Otherwise a loop or repeated edge exchanges an end with a random edge [2]_; this law
    converges to the uniform one as n grows.

    References
    ----------
    .. [1] B. Bollobás (1980), "A probabilistic proof of an asymptotic formula for the number of
       labelled regular graphs", European Journal of Combinatorics 1(4),
       doi:10.1016/S0195-6698(80)80030-8.
    .. [2] B. D. McKay and N. C. Wormald (1990), "Uniform generation of random regular graphs of
       moderate degree", Journal of Algorithms 11(1), doi:10.1016/0196-6774(90)90029-E.

    Examples
    --------
    >>> import fermiac as fm
    >>> g = fm.walks.graphs.random_regular(100, 3, rng=0)
    >>> bool((g.degrees == 3).all())
    True
    """
    n = whole("n", n, 1, _MOST)
    d = whole("d", d, 0, n - 1)
    return of_edges(_core.walks_random_regular(n, d, key_of(rng)), n, merge=False)


def _chance(name: str, given: Any) -> float:
    """Return a number; the core refuses one outside [0, 1]."""
    return real(name, given, "a number from 0 to 1 is needed", lambda x: x == x)


def _edges_of(n: Any, m: Any, directed: bool) -> int:
    """Take the number of edges of G(n, m)."""
    n = whole("n", n, 1, _MOST)
    pairs = n * (n - 1) if directed else n * (n - 1) // 2
    return whole("m", m, 0, pairs, f"; {n} nodes have no more pairs")


def _spans(m: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of blocks of m edges; one empty block if there are none."""
    step = -(-whole("block", block, 1, 2**62) // _TASK) * _TASK
    return ((at, min(at + step, m)) for at in range(0, max(m, 1), step))


def __dir__() -> list[str]:
    return sorted(__all__)
