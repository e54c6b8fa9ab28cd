"""Longer walks, and walks from every node as a corpus for embeddings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.config import get_num_threads, resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import RngLike, key_of, shown, taken, whole
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError
from fermiac.results.result import told
from fermiac.runs.loop import run_and_warn
from fermiac.walks.api import BLOCK, MOST_STEPS
from fermiac.walks.chains import CHAINS, Base
from fermiac.walks.conversions import as_graph
from fermiac.walks.graph import Graph
from fermiac.walks.job import Job
from fermiac.walks.labels import numbers_of
from fermiac.walks.memory import require_room
from fermiac.walks.result import WalkResult
from fermiac.walks.run import WalkLoop, restore_walkers

if TYPE_CHECKING:
    pass

__all__ = ["corpus", "extend"]

#: Numbers of a part of a corpus.
_PART = 2**22


@public
def extend(
    walk: WalkResult,
    n_steps: int,
    *,
    plan: PlanLike | None = None,
) -> WalkResult:
    """Make a walk longer.

    Parameters
    ----------
    walk : WalkResult
        A result of `walk` or `extend`, also from a pickle.
    n_steps : int
        The number of further steps of each walker.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    WalkResult
        The whole walk, with the kernel and the burn-in of the first part. It has the same bits as
        `walk` with these settings and as many steps; sums of ``record="none"`` agree up to
        rounding.

    Raises
    ------
    ArgumentError
        If the walk does not have its graph or its state, because it was loaded from a file, merged,
        or made in parts. To extend a walk in another process, give its plan a store and repeat the
        call with a larger ``n_steps``.
    KeyboardInterrupt
        On Ctrl-C, with the walk so far as its ``partial_result``.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
    >>> w = fm.walks.walk(ring, n_steps=1000, rng=0)
    >>> longer = fm.walks.extend(w, 500)
    >>> bool((longer.visits == fm.walks.walk(ring, n_steps=1500, rng=0).visits).all())
    True
    """
    where = plan_of(plan)
    begun = time.perf_counter()
    job, state = getattr(walk, "_job", None), getattr(walk, "_state", None)
    if job is None or state is None:
        raise ArgumentError(
            f"walk: {shown(walk)} given, which cannot be continued: its graph and the state of its "
            "walkers are lost in files, in walks made in parts, and in a pickle if they cannot be "
            "pickled; give the graph again: fermiac.walks.walk with the same arguments, "
            "rng=walk.seed and a larger n_steps repeats the walk and goes on (and goes on from the "
            "end if both calls have the same store)"
        )
    more = whole("n_steps", n_steps, 1, MOST_STEPS - walk.n_steps)
    job = replace(job, n_steps=walk.n_steps + more)
    walkers = job.walkers()
    restore_walkers(walkers, state, {"nodes": job.graph.n_nodes, "walkers": job.n_walkers})
    found = told(walk)
    with reporter(where.progress, "extend", "steps") as report:
        loop = WalkLoop(
            job,
            walkers,
            workers=resolve_threads(where.n_threads),
            f=walk._f,
            block=max(BLOCK // job.n_walkers, 1),
            report=report,
            start=begun,
            earlier=walk.wall_time,
            before=walk,
        )
        return run_and_warn(loop.run, lambda _: found)


@public
def corpus(
    graph: Any,
    length: int = 80,
    n_repeats: int = 10,
    *,
    base: Base = "srw",
    init: ArrayLike | None = None,
    part_size: int | None = None,
    rng: RngLike = None,
) -> Iterator[NDArray[Any]]:
    """Walk from every node, several times, for embeddings of the nodes.

    Parameters
    ----------
    graph : graph
        As in `walk`; edges may be directed. Walks stay at nodes without outgoing edges.
    length : int, default 80
        The number of nodes of each walk, including the start.
    n_repeats : int, default 10
        The number of walks from each node.
    base : str or base chain, default "srw"
        ``"srw"``, ``"weighted"``, ``"nbrw"`` or a `Node2Vec`, or another base of `walk`.
    init : array_like of nodes, optional
        The first nodes, by label if the graph has labels, as in `walk`; by default all.
    part_size : int, optional
        The number of walks of a part; by default about four million nodes in total.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Yields
    ------
    ndarray of uint32 or uint64, shape (part_size, length)
        Walks in rows, in a random order in each repeat; the last part of a repeat is shorter. They
        contain the numbers of nodes; ``graph.nodes[part]`` has the labels.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.
    MemoryLimitError
        If a part would take more memory than the machine has.

    References
    ----------
    .. [1] B. Perozzi, R. Al-Rfou, S. Skiena, "DeepWalk: online learning of social representations",
       KDD, 2014, doi:10.1145/2623330.2623732.
    .. [2] A. Grover, J. Leskovec, "node2vec: Scalable feature learning for networks", KDD, 2016,
       doi:10.1145/2939672.2939754.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
    >>> walks = np.vstack(list(fm.walks.corpus(ring, length=5, n_repeats=3, rng=0)))
    >>> walks.shape, np.bincount(walks[:, 0]).tolist()
    ((27, 5), [3, 3, 3, 3, 3, 3, 3, 3, 3])
    """
    net = as_graph(graph)
    chain = CHAINS.resolve(base)
    steps = whole("length", length, 1, MOST_STEPS) - 1
    repeats = whole("n_repeats", n_repeats, 1, 2**40)
    size = max(_PART // (steps + 1), 1)
    if part_size is not None:
        size = whole("part_size", part_size, 1, 2**40)
    nodes = np.arange(net.n_nodes) if init is None else _nodes(init, net)
    room = 16 * min(size, len(nodes)) * (steps + 1)
    require_room(room, "a part of the corpus", "give a smaller part_size or length")
    workers, key = get_num_threads(), key_of(rng)
    kind = np.uint32 if net.n_nodes <= 2**32 else np.uint64

    def parts() -> Iterator[NDArray[Any]]:
        for repeat in range(repeats):
            own = subkey(key, repeat)
            order = np.random.default_rng(own).permutation(nodes)
            for i, at in enumerate(range(0, len(order), size)):
                some = np.ascontiguousarray(order[at : at + size], dtype=np.int64)
                out = np.empty((len(some), steps + 1), dtype=kind)
                out[:, 0] = some
                if steps:
                    job = Job(graph=net, base=chain, start=some, n_steps=steps, key=subkey(own, i))
                    paths = np.empty((len(some), steps), dtype=kind)
                    _, error = job.walkers().run(
                        steps, paths, 1, 1, None, workers, len(some) * steps, None
                    )
                    if error is not None:
                        raise error
                    out[:, 1:] = paths
                yield out

    return parts()


def _nodes(init: ArrayLike, graph: Graph) -> NDArray[np.int64]:
    if graph.labels is not None:
        init = numbers_of("init", init, graph._numbers)
    nodes = np.atleast_1d(taken("init", init))
    if nodes.ndim != 1 or nodes.dtype.kind not in "iu" or not nodes.size:
        raise ArgumentError(f"init: {shown(init)} was given; an array of nodes is needed")
    if nodes.min() < 0 or nodes.max() >= graph.n_nodes:
        raise ArgumentError(f"init: nodes go from 0 to {graph.n_nodes - 1}")
    return nodes.astype(np.int64)
