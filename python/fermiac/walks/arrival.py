"""Checks that walkers have left the surroundings of their starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.walks.estimates import parts_of, ratio
from fermiac.walks.node_functions import NodeFunction
from fermiac.walks.transient import far_from, later

if TYPE_CHECKING:
    from fermiac.walks.graph import Graph
    from fermiac.walks.result import WalkResult

__all__ = ["arrived", "distances"]

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

#: Entries of rows that a sweep reads, and the distances that it tells apart.
_MOST_ENTRIES, _FARTHEST = 2**23, 2**12

#: Errors by which the later part of a walk differs from the law if its walkers have not arrived.
_STILL = 2.5


def arrived(walk: WalkResult) -> list[tuple[type[FermiacWarning], str]]:
    """Return a warning if walkers that were given starts are too close to them.

    The average distance of the nodes from the starts is known under the law. That of the walkers
    must also differ from it after the first part of the walk: the bias which is left by a first
    part alone has tests of its own (`remaining`, `unsettled`).
    """
    graph, starts = walk._graph, walk._starts
    known = walk.settings["weights"] != "unknown" and walk.exact_target and walk.record != "none"
    if graph is None or starts is None or not known or walk.n_replicas < 2:
        return []
    columns = [distances(graph, starts)]
    if len(starts) > 1:  # those on both sides of a border are near to every node
        columns.append(distances(graph, starts[:1]))
    f = np.column_stack(columns)
    parts = parts_of(walk, NodeFunction("f", f, graph.n_nodes), None, False)
    mean, cov = ratio(parts)
    error, right = np.sqrt(np.diag(cov)), walk._shares() @ f
    far = far_from(walk, mean, right, error)
    if parts.early is not None:
        after, its_error = later(walk, parts.early, mean, error)
        far &= far_from(walk, after, right, its_error, _STILL)
    if not far.any():
        return []
    at = int(np.argmax(far))
    text = (
        "the walkers have not left the surroundings of their starts: their mean distance from "
        f"{'these' if at == 0 else f'node {starts[0]}'} is {mean[at]:.4g} ± {error[at]:.2g}, and "
        f"{right[at]:.4g} under their law. Averages are biased, and their errors do not show it; "
        "use more steps or a longer burn_in=, or leave out init= so that walkers start from the law"
    )
    return [(ConvergenceWarning, text)]


def distances(graph: Graph, starts: Ids) -> Array:
    """Return the steps from the nearest start to each node, by a breadth-first sweep.

    The sweep ends where it would take too long; all nodes beyond are at one step more.
    """
    out = np.full(graph.n_nodes, -1, dtype=np.int16)
    here, steps, room = starts, 0, _MOST_ENTRIES
    out[here] = 0
    while len(here) and steps < _FARTHEST:
        steps += 1
        many = graph.degrees[here]
        ends = np.cumsum(many)
        here, many, ends = (a[ends <= room] for a in (here, many, ends))
        if not len(here):
            break
        room -= int(ends[-1])
        offsets = np.repeat(graph.indptr[here] - (ends - many), many)
        offsets += np.arange(len(offsets))
        near = graph.indices[offsets]
        near = near[out[near] < 0]
        out[near] = steps
        # Every node once: a sweep over all is faster than a long sort.
        here = np.unique(near) if 64 * len(near) < len(out) else np.flatnonzero(out == steps)
    out[out < 0] = steps + 1
    return out.astype(np.float64)
