"""Checks of graphs before a walk: symmetric edges, components, nodes without edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import choice
from fermiac.errors import ArgumentError

if TYPE_CHECKING:
    from fermiac.walks.rows import Rows

__all__ = ["check_walkable", "require_symmetric"]


def require_symmetric(graph: Rows, reason: str) -> None:
    """Refuse a graph with an edge that differs from its reverse, and give the reason."""
    if graph.asymmetry is None:
        return
    start, end, there, back = graph.asymmetry
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


def check_walkable(
    graph: Rows,
    start: NDArray[np.int64] | None,
    component: str,
    on_stuck: str,
    argument: str,
) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """Return the nodes that walks may visit (None: all), and warnings.

    `start` has the first nodes of walks, or None if these may be any; `argument` is its name.
    """
    choice("component", component, ("error", "start", "largest"))
    if not len(graph.indices):
        raise ArgumentError("graph: it has no edges, along which a walk could go")
    labels, sizes, _ = graph.components
    allowed, notes = None, []
    real = np.ones(len(sizes), dtype=bool)
    # A component of one node has an edge if that is a loop.
    is_single = sizes == 1
    alone = is_single[labels] & (graph.degrees == 0) if is_single.any() else None
    if alone is not None and alone.any():
        if start is not None and alone[start].any():
            node = int(start[alone[start]][0])
            raise ArgumentError(
                f"{argument}: node {node} has no edge, along which a walk could leave"
            )
        allowed = ~alone
        real[labels[alone]] = False
        if component == "error":
            first, n_alone = int(np.flatnonzero(alone)[0]), int(alone.sum())
            which = f"node {first} has" if n_alone == 1 else f"{n_alone} nodes (first {first}) have"
            notes.append(f"{which} no edges; walks never visit them, and they count for nothing")
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
                raise ArgumentError(f'{argument}: component="start" needs the nodes to start from')
            chosen = int(labels[start[0]])
        allowed = labels == chosen
        if start is not None and not allowed[start].all():
            node = int(start[~allowed[start]][0])
            raise ArgumentError(
                f"{argument}: node {node} is not in the component of {sizes[chosen]} nodes where "
                f'the walks go (component="{component}"); start all walks in one component'
            )
    if graph.directed and on_stuck == "error":
        stuck = graph.degrees == 0
        if allowed is not None:
            stuck &= allowed
        if stuck.any():
            raise ArgumentError(
                f"graph: no arc leaves node {int(np.flatnonzero(stuck)[0])} (and "
                f"{stuck.sum() - 1} others), where a walk would be stuck; "
                'on_stuck="stop" or on_stuck="restart" says what to do there'
            )
    return allowed, notes


def _sizes(sizes: NDArray[np.int64]) -> str:
    largest = np.sort(sizes)[::-1]
    shown = ", ".join(map(str, largest[:5].tolist()))
    return shown if len(sizes) <= 5 else f"{shown}, …"
