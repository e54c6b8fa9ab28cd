"""The walk that drives tokens: its arguments, and its walkers at their starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._arguments import choice, numbers
from fermiac.errors import ArgumentError
from fermiac.walks._bases import base_of, inner_of, takes_target
from fermiac.walks._graph import Graph

__all__ = ["Drive", "drive_of"]

Array = NDArray[np.float64]


@dataclass
class Drive:
    """Walkers, and what is said of them."""

    walkers: _core.Walkers
    #: The weights of the law that nodes are visited by; None where all count the same.
    weights: Array | None
    repels: bool
    settings: dict[str, Any]


def drive_of(
    graph: Graph,
    *,
    kernel: Any,
    base: Any,
    alpha: Any,
    weights: Any,
    start: Any,
    step_exponent: float,
    n_walkers: int,
    key: int,
) -> Drive:
    """The walk as the core takes it."""
    name = choice("kernel", kernel, ("none", "srrw", "hdt"))
    chain = base_of(base)
    inner, laziness = inner_of(chain)
    choice("base", inner, ("srw", "mhrw", "mhda", "barker", "maxdeg"))
    strength = float(numbers("alpha", alpha))
    if not 0 <= strength < math.inf:
        raise ArgumentError(f"alpha: {strength} was given; a number from 0 on is needed")
    n = graph.n_nodes
    table = None if weights is None else numbers("weights", weights)
    if table is not None and not takes_target(chain):
        raise ArgumentError(f"weights: given with base={base!r}, whose law cannot be chosen")
    if table is not None and (table.shape != (n,) or not (table > 0).all()):
        raise ArgumentError(f"weights: shape {table.shape} was given; {n} positive ones are needed")
    total = float(graph.degrees.sum())
    target = ("uniform", 1.0, float(n)) if takes_target(chain) else ("degree", n / total, total)
    settings = {
        "kernel": name,
        "base": inner,
        "alpha": ("constant", strength, 0.0, 0.0),
        "laziness": laziness,
        "largest": int(graph.degrees.max()),
        "target": target if table is None else ("table", 0.0, 0.0),
        "weights": table,
        "pseudo": None if table is None else n * table / table.sum(),
        "pseudo_total": float(n),
        "step_exponent": step_exponent,
        "memory": "table",
    }
    if start is None:
        nodes = np.empty(n_walkers, dtype=np.int64)
        _core.Stream.start(key, 0).fill_below(nodes, n)
    else:
        nodes = np.broadcast_to(np.asarray(start, dtype=np.int64), (n_walkers,)).copy()
    walkers = _core.Walkers(graph._core, settings, nodes, key)
    law = table if takes_target(chain) else graph.degrees.astype(float)
    described = {"kernel": name, "base": repr(chain), "alpha": strength, "n_nodes": n}
    return Drive(walkers, law, name != "none" and strength > 0, described)
